"""How good a reader is at what its folder says it does, on a file of examples with their right answers."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy

from headway.corpus.labelled import Labelled, read_labelled
from headway.corpus.pairs import read_pairs
from headway.corpus.questions import read_questions
from headway.corpus.tag_schemes import split_tag
from headway.corpus.tagged import read_tagged
from headway.corpus.text_file import shown
from headway.errors import DataError, UsageError
from headway.evaluation.bag_of_words import BagOfWords, BagSettings, fit_bag_of_words
from headway.evaluation.bootstrap import ByExample, Comparison, Resampling, compare_paired, percent
from headway.evaluation.classification_scores import (
    ClassificationScores,
    LabelSetScores,
    check_labels,
    score_classes,
    score_label_sets,
)
from headway.evaluation.masked_text import HidingSettings, MaskedScores, score_masked_text
from headway.evaluation.question_scores import QuestionScores, answer_statistics, score_answers
from headway.evaluation.span_scores import SpanScores, score_tags, span_statistics
from headway.evaluation.vector_scores import (
    LikenessScores,
    RetrievalScores,
    retrieval_statistics,
    score_likeness,
    score_retrieval,
)
from headway.tasks.answering import answer
from headway.tasks.reader import Reader
from headway.tasks.reading import Opened
from headway.tasks.tagging import tag_words

_AT_ONCE = 1024  # texts between two reports of progress
_QUESTIONS_AT_ONCE = 32  # each may have many windows

Scores = (
    ClassificationScores
    | LabelSetScores
    | SpanScores
    | QuestionScores
    | RetrievalScores
    | LikenessScores
    | MaskedScores
)
Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class ReaderFields:
    """Which columns or fields of the file are which, as training names them; None: found as training finds them."""

    text: str | None = None
    label: str | None = None
    other: str | None = None


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """Logistic regression over the words of the training file, on the same examples.

    overlap: examples that stand in the training file, letter by letter. comparison: the baseline first, the reader
    second, by the share of examples that are right.
    """

    training: str
    texts: int
    penalty: float
    features: int
    overlap: int
    scores: ClassificationScores | LabelSetScores
    comparison: Comparison
    verdict: str


@dataclass(frozen=True, kw_only=True)
class ReaderEvaluation:
    """A reader's scores on a file. task: the folder's, or "fill" for one that guesses hidden words.

    strict: of a tagger, the scores with spans read strictly; `scores` are lenient. by_example: what two readers are
    compared by (two_readers.py); none for hidden words and likeness. seconds: of reading alone.
    """

    data: str
    task: str
    scores: Scores
    strict: SpanScores | None = None
    baseline: Baseline | None = None
    repaired: int = 0
    left_out: int = 0
    by_example: tuple[ByExample, ...] = field(default=(), repr=False, compare=False)
    examples: int
    seconds: float

    def table(self) -> dict[str, Any]:
        """One table: the scores' fields beside data, task, seconds; strict and baseline as tables of their own."""
        found: dict[str, Any] = {"task": self.task, "data": self.data, **asdict(self.scores), "seconds": self.seconds}
        found["examples_per_second"] = self.examples / max(self.seconds, 1e-9)
        if self.strict is not None:
            found["strict"] = asdict(self.strict)
            found["repaired"] = self.repaired
        if self.task == "answer":
            found["left_out"] = self.left_out
        if self.baseline is not None:
            found["baseline"] = asdict(self.baseline)
        return found


def evaluate_reader(
    reader: Reader,
    path: str | Path,
    *,
    fields: ReaderFields | None = None,
    baseline: str | Path | None = None,
    hiding: HidingSettings | None = None,
    resampling: Resampling | None = None,
) -> dict[str, Any]:
    """The table of score_reader's result, with the same arguments."""
    found = score_reader(reader, path, fields=fields, baseline=baseline, hiding=hiding, resampling=resampling)
    return found.table()


# More than six parameters: the same words as the command line's.
def score_reader(
    reader: Reader,
    path: str | Path,
    *,
    fields: ReaderFields | None = None,
    baseline: str | Path | None = None,
    hiding: HidingSettings | None = None,
    resampling: Resampling | None = None,
    progress: Progress | None = None,
) -> ReaderEvaluation:
    """Score a reader by its folder's task on a file that training would take for it; hidden words on any text.

    baseline: a file of labelled texts for a classifier to be compared with (evaluation/bag_of_words.py). Raises
    DataError for a bad file and for labels the model does not know, UsageError for what the task has no use for.
    """
    task, fields, resampling = reader.settings.task or "fill", fields or ReaderFields(), resampling or Resampling()
    if baseline is not None and task != "classify":
        raise UsageError(f"a baseline is of classifiers, but this model's task is {task}\nLeave the baseline out.")
    if hiding is not None and task != "fill":
        raise UsageError(f"words are hidden from a model that fills them in, but this one's task is {task}")
    if task == "classify":
        return _score_classes(reader, path, fields, baseline, resampling, progress)
    if task == "tag":
        return _score_tags(reader, path, fields, resampling)
    if task == "answer":
        return _score_questions(reader, path, resampling, progress)
    if task == "embed":
        return _score_vectors(reader, path, fields, resampling)
    found = score_masked_text(reader, path, hiding=hiding, text_field=fields.text, progress=progress)
    return ReaderEvaluation(data=str(path), task=task, scores=found, examples=found.masked, seconds=found.seconds)


def labelled_examples(path: str | Path, fields: ReaderFields, *, multi_label: bool, pair: bool) -> list[Labelled]:
    """A classifier's examples. Raises DataError for a bad file, an empty text, or a second text missing or too many."""
    found = list(
        read_labelled(
            path, text_field=fields.text, label_field=fields.label, other_field=fields.other, multi_label=multi_label
        )
    )
    for example in found:
        if not all(text.strip() for text in example.texts):
            raise DataError(f"{example.place} has an empty text, which has no label to score\nTake the line out.")
        if (example.other is not None) != pair:
            wanted = "pairs of texts" if pair else "single texts"
            raise DataError(
                f"the model reads {wanted}, but {example.place} has {'two texts' if example.other else 'one text'}\n"
                "Name the columns: --text-field, --other-field and --label-field."
            )
    return found


def _score_classes(
    reader: Reader,
    path: str | Path,
    fields: ReaderFields,
    baseline: str | Path | None,
    resampling: Resampling,
    progress: Progress | None,
) -> ReaderEvaluation:
    settings = reader.settings
    examples = labelled_examples(path, fields, multi_label=settings.multi_label, pair=settings.pair)
    check_labels({label for example in examples for label in example.labels}, settings.labels, shown(Path(path)))
    texts = [_text_or_pair(example) for example in examples]
    began = time.perf_counter()
    found = []
    for begin in range(0, len(texts), _AT_ONCE):
        found += reader.classify(texts[begin : begin + _AT_ONCE])  # type: ignore[arg-type]
        if progress is not None:
            progress(len(found))
    seconds = time.perf_counter() - began
    truth = [example.labels for example in examples]
    given = [one.labels for one in found]
    scores: ClassificationScores | LabelSetScores
    if settings.multi_label:
        probabilities = numpy.array([[one.probabilities[label] for label in settings.labels] for one in found])
        scores = score_label_sets(truth, given, settings.labels, probabilities=probabilities, resampling=resampling)
    else:
        sure = [one.probability for one in found]
        scores = score_classes(_single(truth), _single(given), settings.labels, confidences=sure, resampling=resampling)
    beside = None
    if baseline is not None:
        training = labelled_examples(baseline, fields, multi_label=settings.multi_label, pair=settings.pair)
        beside = compare_with_bag_of_words(training, examples, given, settings.multi_label, resampling)
    return ReaderEvaluation(
        data=str(path),
        task="classify",
        scores=scores,
        baseline=beside,
        by_example=(ByExample(key="accuracy", unit="points of accuracy", values=_right(truth, given), score=percent),),
        examples=len(texts),
        seconds=seconds,
    )


def compare_with_bag_of_words(
    training: Sequence[Labelled],
    examples: Sequence[Labelled],
    given: Sequence[Sequence[str]],
    multi_label: bool,
    resampling: Resampling,
) -> Baseline:
    """The baseline fitted on `training`, beside the labels a model gave to the examples.

    Raises DataError as fit_bag_of_words does.
    """
    bag = bag_of_words_of(training, multi_label=multi_label)
    texts, truth = [_text_or_pair(example) for example in examples], [example.labels for example in examples]
    ours = bag.classify_sets(texts) if multi_label else [(label,) for label in bag.classify(texts)]
    labels = tuple(sorted(set(bag.labels) | {label for chosen in (*truth, *given) for label in chosen}))
    scores = (
        score_label_sets(truth, ours, labels, probabilities=None, resampling=resampling)
        if multi_label
        else score_classes(
            _single(truth),
            _single(ours),
            labels,
            confidences=bag.probabilities(texts).max(axis=1),
            resampling=resampling,
        )
    )
    comparison = compare_paired(_right(truth, ours), _right(truth, given), percent, resampling)
    seen = {example.texts for example in training}
    return Baseline(
        training=training[0].place.rpartition(":")[0],
        texts=len(training),
        penalty=bag.penalty,
        features=len(bag.features),
        overlap=sum(example.texts in seen for example in examples),
        scores=scores,
        comparison=comparison,
        verdict=comparison.verdict("bag of words", "the reader", "points of accuracy"),
    )


def bag_of_words_of(
    training: Sequence[Labelled], *, multi_label: bool = False, settings: BagSettings | None = None
) -> BagOfWords:
    """The baseline of labelled texts, or pairs of them. Raises as fit_bag_of_words does."""
    labels = [example.labels if multi_label else example.labels[0] for example in training]
    return fit_bag_of_words(
        [_text_or_pair(example) for example in training],
        labels,
        multi_label=multi_label,
        settings=settings,
    )


def _score_tags(reader: Reader, path: str | Path, fields: ReaderFields, resampling: Resampling) -> ReaderEvaluation:
    settings = reader.settings
    scheme = settings.scheme or "BIO"
    read = read_tagged(path, word_field=fields.text, tag_field=fields.label, scheme=scheme)
    truth = [sentence.tags for sentence in read.sentences]
    known = sorted({_kind(tag) for tag in settings.labels} - {""})
    check_labels({_kind(tag) for tags in truth for tag in tags} - {""}, known, shown(Path(path)))
    began = time.perf_counter()
    given = tags_of_words(reader, [sentence.words for sentence in read.sentences])
    seconds = time.perf_counter() - began
    return ReaderEvaluation(
        data=str(path),
        task="tag",
        scores=score_tags(truth, given, scheme, resampling=resampling),
        strict=score_tags(truth, given, scheme, strict=True, resampling=resampling),
        repaired=read.repaired,
        by_example=(span_statistics(truth, given, scheme),),
        examples=len(truth),
        seconds=seconds,
    )


def tags_of_words(reader: Reader, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
    """The likeliest tag of each word of sentences whose words are divided already, as in files of tagged words."""
    texts = [" ".join(words) for words in sentences]
    places = []
    for words in sentences:
        ends = numpy.cumsum([len(word) + 1 for word in words]) - 1
        places.append([(int(end) - len(word), int(end)) for word, end in zip(words, ends, strict=True)])
    return [[tag for tag, _ in tags] for tags in tag_words(_opened(reader), texts, places)]


def _score_questions(
    reader: Reader, path: str | Path, resampling: Resampling, progress: Progress | None
) -> ReaderEvaluation:
    """Where every question has an answer one is given, as SQuAD 1.1 does; else the folder's threshold decides."""
    read = read_questions(path)
    asked = [(question.question, question.context) for question in read.questions]
    began = time.perf_counter()
    unforced = []
    for begin in range(0, len(asked), _QUESTIONS_AT_ONCE):
        for best in answer(_opened(reader), asked[begin : begin + _QUESTIONS_AT_ONCE], top=1, no_answer=False):
            unforced.append((best[0].text, best[0].no_answer_score - best[0].score))
        if progress is not None:
            progress(len(unforced))
    seconds = time.perf_counter() - began
    answers = [question.answers for question in read.questions]
    threshold = reader.settings.no_answer_threshold if not all(answers) else float("inf")
    given = [text if score <= threshold else "" for text, score in unforced]
    scores = score_answers(given, answers, unforced=unforced, resampling=resampling)
    return ReaderEvaluation(
        data=str(path),
        task="answer",
        scores=scores,
        by_example=answer_statistics(given, answers, scores.version),
        left_out=read.left_out,
        examples=len(asked),
        seconds=seconds,
    )


def _score_vectors(reader: Reader, path: str | Path, fields: ReaderFields, resampling: Resampling) -> ReaderEvaluation:
    judged = None
    if fields.label is not None:
        rows = list(read_labelled(path, text_field=fields.text, label_field=fields.label, other_field=fields.other))
        if any(row.other is None for row in rows):
            raise DataError(f"{rows[0].place} has one text, but likeness is of two\nName the columns: --other-field.")
        texts = [(row.text, row.other or "") for row in rows]
        judged = [_number(row) for row in rows]
    else:
        pairs = read_pairs(path, source_field=fields.text, target_field=fields.other)
        texts = [(pair.source, pair.target) for pair in pairs]
    began = time.perf_counter()
    firsts, seconds_ = (reader.embed([pair[place] for pair in texts]) for place in (0, 1))
    spent = time.perf_counter() - began
    scores: LikenessScores | RetrievalScores = (
        score_retrieval(firsts, seconds_, texts, resampling=resampling)
        if judged is None
        else score_likeness(firsts, seconds_, judged)
    )
    return ReaderEvaluation(
        data=str(path),
        task="embed",
        scores=scores,
        by_example=(retrieval_statistics(firsts, seconds_, texts),) if judged is None else (),
        examples=2 * len(texts),
        seconds=spent,
    )


def _opened(reader: Reader) -> Opened:
    return Opened(name="the model", model=reader.model, tokenizer=reader.tokenizer, settings=reader.settings)


def _text_or_pair(example: Labelled) -> str | tuple[str, str]:
    return example.text if example.other is None else (example.text, example.other)


def _single(sets: Sequence[Sequence[str]]) -> list[str]:
    return [chosen[0] for chosen in sets]


def _right(truth: Sequence[Sequence[str]], given: Sequence[Sequence[str]]) -> "numpy.ndarray[Any, Any]":
    """(N, 2): whether all labels of an example are right, and 1."""
    return numpy.array(
        [(set(true) == set(chosen), 1.0) for true, chosen in zip(truth, given, strict=True)], dtype=float
    )


def _kind(tag: str) -> str:
    """What a tag's span is labelled; "" for O."""
    return split_tag(tag)[1]


def _number(row: Labelled) -> float:
    try:
        return float(row.labels[0])
    except ValueError:
        raise DataError(f"likeness is a number, but {row.place} has {row.labels[0]!r}\nMend that line.") from None
