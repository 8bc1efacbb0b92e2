"""Readers on files: the scores of their own task, a baseline beside a classifier, refusals that say the way out."""

import json
import math
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from headway.corpus.batches import IGNORED
from headway.corpus.layout_of_texts import lay_out
from headway.corpus.masking import masking_of
from headway.errors import ConfigError, DataError, FormatError, UsageError
from headway.evaluation.bootstrap import Resampling
from headway.evaluation.masked_text import HidingSettings, score_masked_text
from headway.evaluation.reading import ReaderFields, evaluate_reader, score_reader, tags_of_words
from headway.formats.reader_settings import ReaderSettings
from headway.models.bert import BERT
from headway.models.bert_sizes import BERTConfig
from headway.models.gpt2 import GPT2, GPT2Config
from headway.tasks.answering import answer
from headway.tasks.reader import Reader
from headway.tasks.reading import Opened
from headway.text.word_piece import WordPieceTokenizer
from headway.text.word_piece_training import train_word_piece

FEW = Resampling(resamples=19)
TEXTS = ["the red house by the sea", "a ship came home in the evening", "nobody saw the lighthouse keeper again"]
LABELS = ("bad", "fair", "good")


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    return train_word_piece(TEXTS * 3, 120)


def reader(tokenizer: WordPieceTokenizer, head: str, settings: ReaderSettings | None = None) -> Reader:
    torch.manual_seed(5)
    n_labels = len(settings.labels) if settings is not None else 0
    config = BERTConfig(
        vocabulary=tokenizer.size,
        context=17,
        width=12,
        n_layers=2,
        n_heads=3,
        feed_forward=19,
        initial_deviation=0.5,
        head=head,  # type: ignore[arg-type]
        n_labels=n_labels,
    )
    return Reader.of(BERT(config), tokenizer, settings)


@pytest.fixture(scope="module")
def judge(tokenizer: WordPieceTokenizer) -> Reader:
    return reader(tokenizer, "classify", ReaderSettings(task="classify", labels=LABELS))


def opened(reader: Reader) -> Opened:
    return Opened(name="it", model=reader.model, tokenizer=reader.tokenizer, settings=reader.settings)


def written(path: Path, rows: list[str]) -> Path:
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    rows = [f"{LABELS[number % 3]}\t{TEXTS[number % 2]} {number}" for number in range(11)]
    return written(tmp_path / "reviews.tsv", rows)


def test_a_classifier_is_scored_on_what_it_answers(judge: Reader, reviews: Path) -> None:
    rows = [line.split("\t") for line in reviews.read_text().splitlines()]
    found = evaluate_reader(judge, reviews, resampling=FEW)
    answers = [judge.classify(text) for _, text in rows]
    right = [answer.label == label for answer, (label, _) in zip(answers, rows, strict=True)]
    assert found["task"] == "classify" and found["examples"] == 11
    assert found["accuracy"] == pytest.approx(sum(right) / 11)
    assert 0 < found["accuracy"] < 1  # else the test shows little
    sure = [answer.probability for answer in answers]
    assert sum(part["examples"] for part in found["reliability"]) == 11
    assert sum(part["confidence"] * part["examples"] for part in found["reliability"]) == pytest.approx(sum(sure))
    assert json.loads(json.dumps(found))["confusion"] == [list(row) for row in found["confusion"]]


def test_gpt2_with_a_head_is_scored_alike(tokenizer: WordPieceTokenizer, reviews: Path) -> None:
    torch.manual_seed(7)
    config = GPT2Config(
        vocabulary=tokenizer.size, context=19, width=12, n_layers=2, n_heads=3, head="classify", n_labels=3
    )
    settings = ReaderSettings(task="classify", labels=LABELS)
    found = evaluate_reader(Reader.of(GPT2(config), tokenizer, settings), reviews, resampling=FEW)
    assert found["examples"] == 11 and 0.0 <= found["accuracy"] <= 1.0


def test_the_baseline_is_fitted_on_its_file_and_compared(judge: Reader, reviews: Path, tmp_path: Path) -> None:
    training = written(
        tmp_path / "train.tsv",
        [f"{label}\t{label} word{number}" for number in range(17) for label in LABELS]
        + [f"bad\t{TEXTS[0]} 0"],  # stands in the test file too
    )
    found = score_reader(judge, reviews, baseline=training, resampling=FEW).baseline
    assert found is not None
    assert (found.texts, found.overlap, found.scores.examples) == (52, 1, 11)
    assert found.training.endswith("train.tsv")
    assert "points of accuracy" in found.verdict
    table = evaluate_reader(judge, reviews, baseline=training, resampling=FEW)
    assert table["baseline"]["scores"]["accuracy"] == found.scores.accuracy  # type: ignore[union-attr]
    assert found.comparison.difference.mid == pytest.approx(100 * (table["accuracy"] - found.scores.accuracy))  # type: ignore[union-attr]


def test_a_baseline_that_learns_beats_a_reader_that_has_not(judge: Reader, tmp_path: Path) -> None:
    rows = [f"{label}\t{label} {TEXTS[number % 3]}" for number in range(29) for label in LABELS]
    both = written(tmp_path / "both.tsv", rows)
    found = score_reader(judge, both, baseline=both)
    assert found.baseline is not None and found.baseline.scores.accuracy == 1.0  # type: ignore[union-attr]
    assert found.baseline.verdict.startswith("bag of words is better than the reader by")


def test_several_labels_a_text(tokenizer: WordPieceTokenizer, tmp_path: Path) -> None:
    settings = ReaderSettings(task="classify", labels=LABELS, multi_label=True)
    several = reader(tokenizer, "classify", settings)
    path = written(
        tmp_path / "topics.tsv", [f"{TEXTS[n % 3]} {n}\t{'bad|good' if n % 2 else 'fair'}" for n in range(13)]
    )
    fields = ReaderFields(text="1", label="2")
    found = evaluate_reader(several, path, fields=fields, baseline=path, resampling=FEW)
    answers = [several.classify(f"{TEXTS[n % 3]} {n}").labels for n in range(13)]
    wanted = [{"bad", "good"} if n % 2 else {"fair"} for n in range(13)]
    right = [set(answer) == true for answer, true in zip(answers, wanted, strict=True)]
    assert found["subset_accuracy"] == pytest.approx(sum(right) / 13)
    assert found["baseline"]["scores"]["micro_f1"] > 0.9


def test_pairs_are_read_as_pairs(tokenizer: WordPieceTokenizer, tmp_path: Path) -> None:
    pairs = reader(tokenizer, "classify", ReaderSettings(task="classify", labels=LABELS, pair=True))
    rows = [f"{TEXTS[n % 3]} {n}\t{TEXTS[n % 2]} {n}\t{LABELS[n % 3]}" for n in range(17)]
    found = evaluate_reader(pairs, written(tmp_path / "pairs.tsv", rows), resampling=FEW)
    answers = [pairs.classify((f"{TEXTS[n % 3]} {n}", f"{TEXTS[n % 2]} {n}")).label for n in range(17)]
    assert found["accuracy"] == pytest.approx(sum(answers[n] == LABELS[n % 3] for n in range(17)) / 17)


def test_single_texts_are_no_pairs(judge: Reader, tmp_path: Path) -> None:
    rows = [f"{TEXTS[n % 3]} {n}\t{TEXTS[n % 2]} {n}\t{LABELS[n % 3]}" for n in range(17)]
    with pytest.raises(DataError, match="reads single texts, but .*two texts"):
        evaluate_reader(judge, written(tmp_path / "pairs.tsv", rows))


@pytest.mark.parametrize(
    ("rows", "fields", "words"),
    [
        ([], {}, "it is empty"),
        (["bad\tone", "ugly\ttwo", "bad\tthree"], {"label": "1"}, "'ugly'\nIt knows 'bad', 'fair', 'good'"),
        (["bad\tone", "good\t ", "bad\tthree"], {"label": "1"}, "empty text"),
        (["one", "two"], {}, "has one column"),
        (["a\tb", "c\td", "e\tf"], {}, "which column"),
        (["bad\tone", "good\ttwo"], {"label": "mark"}, "no column 'mark'"),
    ],
)
def test_bad_files_are_named(
    judge: Reader, tmp_path: Path, rows: list[str], fields: dict[str, str], words: str
) -> None:
    with pytest.raises(DataError, match=words) as raised:
        evaluate_reader(judge, written(tmp_path / "bad.tsv", rows), fields=ReaderFields(**fields))
    assert len(str(raised.value).splitlines()) <= 6
    with pytest.raises(DataError, match="no file"):
        evaluate_reader(judge, tmp_path / "missing.tsv")


def test_what_the_task_has_no_use_for_is_refused(judge: Reader, tokenizer: WordPieceTokenizer, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="task is classify"):
        evaluate_reader(judge, tmp_path / "x.tsv", hiding=HidingSettings())
    with pytest.raises(UsageError, match="task is fill"):
        evaluate_reader(reader(tokenizer, "masked"), tmp_path / "x.txt", baseline=tmp_path / "y.tsv")


TAGGED = "the\tO\nred\tB-HUE\nhouse\tO\n\na\tO\nship\tB-THING\ncame\tI-THING\nhome\tO\n\nkeeper\tB-HUE\n"


@pytest.fixture(scope="module")
def tagger(tokenizer: WordPieceTokenizer) -> Reader:
    labels = ("O", "B-HUE", "I-HUE", "B-THING", "I-THING")
    return reader(tokenizer, "tag", ReaderSettings(task="tag", labels=labels, scheme="BIO"))


def test_a_words_tag_is_that_of_its_first_token(tagger: Reader) -> None:
    words = ["nobody", "saw", "the", "sees", "sea"]
    found = tags_of_words(tagger, [words])[0]
    tokenizer: Any = tagger.tokenizer
    pieces = [tokenizer.encode(word) for word in words]
    assert max(map(len, pieces)) > 1
    ids, _ = lay_out(tokenizer, [id for some in pieces for id in some])
    with torch.no_grad():
        best = tagger.model(torch.tensor([ids])).argmax(dim=-1)[0].tolist()
    places = numpy.cumsum([1, *map(len, pieces)])[:-1]
    assert found == [tagger.settings.labels[best[place]] for place in places]


def test_tags_of_long_sentences_and_of_batches_are_those_of_their_windows(tagger: Reader) -> None:
    long = TEXTS[0].split() * 9
    together = tags_of_words(tagger, [long, TEXTS[1].split(), []])
    assert [len(tags) for tags in together] == [len(long), 7, 0]
    assert tags_of_words(tagger, [TEXTS[1].split()])[0] == together[1]
    assert tags_of_words(tagger, [["x" * 1000, "sea"]])[0][1] in tagger.settings.labels


def test_a_tagger_is_scored_leniently_and_strictly(tagger: Reader, tmp_path: Path) -> None:
    path = tmp_path / "tags.conll"
    path.write_text(TAGGED)
    found = evaluate_reader(tagger, path, resampling=FEW)
    assert (found["task"], found["sentences"], found["spans"]) == ("tag", 3, 3)
    given = tags_of_words(tagger, [["the", "red", "house"], ["a", "ship", "came", "home"], ["keeper"]])
    wanted = ["O", "B-HUE", "O", "O", "B-THING", "I-THING", "O", "B-HUE"]
    flat = [tag for tags in given for tag in tags]
    assert found["word_accuracy"] == pytest.approx(sum(a == b for a, b in zip(flat, wanted, strict=True)) / 8)
    assert found["strict"]["strict"] and found["strict"]["f1"] <= 1.0


def test_labels_of_spans_the_tagger_does_not_know_are_named(tagger: Reader, tmp_path: Path) -> None:
    path = tmp_path / "tags.conll"
    path.write_text(TAGGED.replace("THING", "PLACE"))
    with pytest.raises(DataError, match=r"'PLACE'\nIt knows 'HUE', 'THING'"):
        evaluate_reader(tagger, path)
    path.write_text("")
    with pytest.raises(DataError, match="it is empty"):
        evaluate_reader(tagger, path)


CONTEXT = "the red house by the sea where a ship came home in the evening and nobody saw the lighthouse keeper again"


def asked(path: Path, answers: list[str]) -> Path:
    """A file of questions, one an answer; "" has none."""
    rows = [
        {
            "context": CONTEXT,
            "question": f"who {number}",
            "answers": [{"text": answer, "answer_start": CONTEXT.index(answer)}] if answer else [],
        }
        for number, answer in enumerate(answers)
    ]
    return written(path, [json.dumps(row) for row in rows])


def test_answers_are_scored_as_they_are_given(tokenizer: WordPieceTokenizer, tmp_path: Path) -> None:
    answerer = reader(tokenizer, "answer", ReaderSettings(task="answer"))
    found = evaluate_reader(answerer, asked(tmp_path / "first.jsonl", ["red house", "a ship", "sea"]), resampling=FEW)
    assert (found["task"], found["version"], found["examples"], found["unanswerable"]) == ("answer", "1.1", 3, 0)
    given = [
        best[0].text
        for best in answer(opened(answerer), [("who 0", CONTEXT), ("who 1", CONTEXT)], top=1, no_answer=False)
    ]
    again = evaluate_reader(answerer, asked(tmp_path / "second.jsonl", given), resampling=FEW)
    assert all(given) and again["exact_match"] == 1.0 == again["f1"]


def test_the_threshold_decides_where_questions_may_have_no_answer(
    tokenizer: WordPieceTokenizer, tmp_path: Path
) -> None:
    path = asked(tmp_path / "second.jsonl", ["red house", "", ""])
    never = reader(tokenizer, "answer", ReaderSettings(task="answer", no_answer_threshold=1e9))
    always = reader(tokenizer, "answer", ReaderSettings(task="answer", no_answer_threshold=-1e9))
    found = evaluate_reader(always, path, resampling=FEW)
    assert (found["version"], found["exact_match"], found["exact_match_unanswerable"]) == ("2.0", 2 / 3, 1.0)
    other = evaluate_reader(never, path, resampling=FEW)
    assert other["exact_match_unanswerable"] == 0.0
    assert other["best_exact_match"] == found["best_exact_match"] >= 2 / 3


def test_answers_outside_their_context_are_counted_or_refused(tokenizer: WordPieceTokenizer, tmp_path: Path) -> None:
    answerer = reader(tokenizer, "answer", ReaderSettings(task="answer"))
    path = asked(tmp_path / "mixed.jsonl", ["sea", "red", "ship", "home", "saw", "evening"])
    with open(path, "a", encoding="utf-8") as opened_file:
        opened_file.write(json.dumps({"context": CONTEXT, "question": "who", "answer": "elephant"}) + "\n")
    assert evaluate_reader(answerer, path, resampling=FEW)["left_out"] == 1
    path = written(path, [json.dumps({"context": CONTEXT, "question": "who", "answer": "elephant"})])
    with pytest.raises(DataError, match="must stand in its context"):
        evaluate_reader(answerer, path)
    with pytest.raises(DataError, match="it is empty"):
        evaluate_reader(answerer, written(path, []))


def test_vectors_are_scored_by_partners_and_by_likeness(tokenizer: WordPieceTokenizer, tmp_path: Path) -> None:
    embedder = reader(tokenizer, "none", ReaderSettings(task="embed"))
    pairs = written(tmp_path / "pairs.tsv", [f"{text}\t{text}" for text in TEXTS])
    found = evaluate_reader(embedder, pairs)
    assert (found["retrieval_accuracy"], found["mean_reciprocal_rank"], found["pairs"]) == (1.0, 1.0, 3)
    rows = [f"{TEXTS[0]}\t{text}\t{score}" for text, score in zip(TEXTS, ("5", "1.5", "2"), strict=True)]
    judged = written(tmp_path / "judged.tsv", rows)
    found = evaluate_reader(embedder, judged, fields=ReaderFields(text="1", other="2", label="3"))
    vectors = embedder.embed(TEXTS)
    order = (vectors @ vectors[0]).argsort().argsort()
    assert found["spearman"] == pytest.approx(numpy.corrcoef(order, [2, 0, 1])[0, 1])
    judged.write_text(judged.read_text().replace("1.5", "much"))
    with pytest.raises(DataError, match="likeness is a number, but .*'much'"):
        evaluate_reader(embedder, judged, fields=ReaderFields(text="1", other="2", label="3"))


@pytest.fixture(scope="module")
def filler(tokenizer: WordPieceTokenizer) -> Reader:
    return reader(tokenizer, "masked")


def test_hidden_words_score_as_the_whole_pass_says(filler: Reader, tmp_path: Path) -> None:
    path = written(tmp_path / "text.jsonl", [json.dumps({"text": text}) for text in TEXTS])
    hiding = HidingSettings(share=0.4, seed=3)
    found = score_masked_text(filler, path, hiding=hiding)
    masking = masking_of(filler.tokenizer, share=0.4, whole_words=False)
    loss, right, asked = 0.0, 0, 0
    for number, text in enumerate(TEXTS):
        row = numpy.array([lay_out(filler.tokenizer, filler.tokenizer.encode(text))[0]])
        seen, wanted = masking.hide(row, f"evaluation 3 {number}")
        with torch.no_grad():
            logits = filler.model(torch.from_numpy(seen))[0].log_softmax(dim=-1)
        for place in numpy.flatnonzero(wanted[0] != IGNORED):
            loss -= float(logits[place, wanted[0, place]])
            right += int(logits[place].argmax()) == wanted[0, place]
            asked += 1
    assert found.masked == asked and found.masked_accuracy == pytest.approx(right / asked)
    assert found.bits_per_masked_token == pytest.approx(loss / asked / math.log(2), rel=1e-4)
    assert found.pseudo_perplexity == pytest.approx(math.exp(loss / asked), rel=1e-4)
    assert found.tokens == sum(len(filler.tokenizer.encode(text)) for text in TEXTS)
    assert found.bytes == sum(map(len, TEXTS)) and found.documents == 3
    again = evaluate_reader(filler, path, hiding=hiding)
    assert again["task"] == "fill" and again["bits_per_masked_token"] == found.bits_per_masked_token
    other = score_masked_text(filler, path, hiding=HidingSettings(share=0.4, seed=4))
    assert other.bits_per_masked_token != found.bits_per_masked_token


def test_every_token_is_hidden_once_also_in_long_texts(filler: Reader, tmp_path: Path) -> None:
    text = " ".join(TEXTS * 3)
    path = written(tmp_path / "long.txt", [text])
    found = score_masked_text(filler, path, hiding=HidingSettings(every=True))
    ids = filler.tokenizer.encode(text)
    assert len(ids) > 3 * found.window
    assert found.masked == found.tokens == len(ids) and found.share is None
    bits = found.bits_per_masked_token * found.masked
    assert found.pseudo_bits_per_byte == pytest.approx(bits / found.bytes)
    few = score_masked_text(filler, path, hiding=HidingSettings(every=True, tokens=7))
    assert few.tokens == few.masked == 7
    assert few.bytes == pytest.approx(found.bytes * 7 / len(ids), abs=1)


def test_every_token_scores_as_masking_it_alone(filler: Reader, tmp_path: Path) -> None:
    path = written(tmp_path / "text.txt", [TEXTS[0]])
    found = score_masked_text(filler, path, hiding=HidingSettings(every=True))
    ids, _ = lay_out(filler.tokenizer, filler.tokenizer.encode(TEXTS[0]))
    loss = 0.0
    for place in range(1, len(ids) - 1):
        seen = torch.tensor([ids])
        seen[0, place] = filler.tokenizer.mask
        with torch.no_grad():
            loss -= float(filler.model(seen)[0, place].log_softmax(dim=-1)[ids[place]])
    assert found.bits_per_masked_token * found.masked * math.log(2) == pytest.approx(loss, rel=1e-4)


def test_texts_and_models_without_words_to_guess_are_refused(filler: Reader, judge: Reader, tmp_path: Path) -> None:
    blank = written(tmp_path / "blank.txt", [" "])
    with pytest.raises(DataError, match="no text"):
        score_masked_text(filler, blank)
    with pytest.raises(FormatError, match="no masked-word head"):
        score_masked_text(judge, blank)
    with pytest.raises(ConfigError, match="share"):
        HidingSettings(share=0.0)
    with pytest.raises(ConfigError, match="tokens"):
        HidingSettings(tokens=0)
