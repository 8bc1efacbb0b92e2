"""What `headway evaluate` does with a model that reads: its options, and how its scores are printed."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from headway.cli.output import note, print_json, print_rows

if TYPE_CHECKING:
    from headway.cli.evaluate import OfText
    from headway.evaluation.classification_scores import ClassificationScores, LabelScore, LabelSetScores
    from headway.evaluation.question_scores import QuestionScores
    from headway.evaluation.reading import ReaderEvaluation
    from headway.evaluation.span_scores import SpanScores
    from headway.evaluation.vector_scores import LikenessScores, RetrievalScores

_MOST_LABELS = 30  # printed; --json has all


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class OfReaders:
    """For models that read: the file's columns, a baseline, and what is hidden."""

    label_field: Annotated[
        str | None, Parameter(help="The field, or number of the column, of the labels, tags or likeness.")
    ] = None
    other_field: Annotated[str | None, Parameter(help="The field of the second text of a pair.")] = None
    baseline: Annotated[
        str | None, Parameter(help="Labelled texts: compare with a logistic regression over their words.")
    ] = None
    mask_share: Annotated[float, Parameter(help="The share of a text's tokens that is hidden.")] = 0.15
    mask_seed: Annotated[int, Parameter(help="Which tokens are hidden is drawn from it.")] = 1
    whole_words: Annotated[bool, Parameter(help="Hide whole words.")] = False
    every_token: Annotated[bool, Parameter(help="Hide each token in turn, alone; slow: see --tokens.")] = False
    tokens: Annotated[int | None, Parameter(help="The first N tokens of the text alone.")] = None


# More than six parameters: the same words as the command line's.
def evaluate_reading(
    models: tuple[str, str | None],
    file: str,
    options: OfReaders,
    *,
    running: "OfText",
    device: str,
    dtype: str | None,
    json: bool,
    progress: Callable[[int], None] | None,
) -> None:
    """Score a model that reads and print what its task is measured by; beside it another, where one is given."""
    from headway.errors import UsageError
    from headway.evaluation.masked_text import HidingSettings
    from headway.evaluation.reading import ReaderFields, score_reader
    from headway.evaluation.two_readers import ReadersReport, compare_readers
    from headway.tasks.reader import Reader

    hiding = HidingSettings(
        share=options.mask_share,
        seed=options.mask_seed,
        whole_words=options.whole_words,
        every=options.every_token,
        tokens=options.tokens,
    )
    model, other = models
    engine = running.engine or ("auto" if running.bits else "torch")
    reader, beside = (
        None if name is None else Reader(name, device=device, engine=engine, dtype=dtype, bits=running.bits)
        for name in models
    )
    assert reader is not None
    fills = reader.settings.task is None
    if not fills and hiding != HidingSettings():
        raise UsageError(
            "--mask-share, --mask-seed, --whole-words, --every-token and --tokens are of models that fill in hidden "
            f"words, but the task of {model} is {reader.settings.task}\nLeave them out."
        )
    fields = ReaderFields(text=running.text_field, label=options.label_field, other=options.other_field)
    if beside is not None:
        report = compare_readers(reader, beside, file, fields=fields, baseline=options.baseline, progress=progress)
    else:
        hidden = hiding if fills else None
        found = score_reader(reader, file, fields=fields, baseline=options.baseline, hiding=hidden, progress=progress)
        report = ReadersReport(scores=found)
    if sys.stderr.isatty():
        print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
    if json:
        print_json({"model": model, **report.table(model, other or "")})
        return
    if other is not None:
        print(model)
    _print(report.scores)
    if other is not None and report.against is not None:
        print(f"\n{other}")
        _print(report.against)
        print("\n" + "\n".join(report.verdicts(model, other).values()))


def _print(found: "ReaderEvaluation") -> None:
    from headway.evaluation.classification_scores import ClassificationScores, LabelSetScores
    from headway.evaluation.masked_text import MaskedScores
    from headway.evaluation.question_scores import QuestionScores
    from headway.evaluation.span_scores import SpanScores

    scores = found.scores
    rows: list[tuple[str, str]]
    if isinstance(scores, (ClassificationScores, LabelSetScores)):
        rows = _class_rows(scores)
    elif isinstance(scores, SpanScores):
        rows = _span_rows(scores, found.strict)
    elif isinstance(scores, QuestionScores):
        rows = _question_rows(scores)
    elif isinstance(scores, MaskedScores):
        rows = [
            ("bits per masked token", f"{scores.bits_per_masked_token:.4f}"),
            ("masked accuracy", f"{100 * scores.masked_accuracy:.2f} %"),
            ("pseudo-perplexity", f"{scores.pseudo_perplexity:.3f}"),
        ]
        if scores.pseudo_bits_per_byte is not None:
            rows.append(("pseudo-bits per byte", f"{scores.pseudo_bits_per_byte:.4f}, no code length: both sides seen"))
        hidden = "each token in turn" if scores.share is None else f"{100 * scores.share:g} %, seed {scores.seed}"
        rows.append(("hidden", f"{scores.masked:,} of {scores.tokens:,} tokens ({hidden})"))
    else:
        rows = _vector_rows(scores)
    rows.append(("speed", f"{found.examples / max(found.seconds, 1e-9):,.0f} {_counted(found)}/s"))
    if found.baseline is not None:
        rows += [(f"bag of words {name}", value) for name, value in _class_rows(found.baseline.scores)[:2]]
    print_rows(rows)
    if isinstance(scores, (ClassificationScores, LabelSetScores, SpanScores)) and scores.by_label:
        print()
        _print_labels(scores.by_label)
    if isinstance(scores, ClassificationScores) and len(scores.labels) <= 10:
        print("\nrows: the right label; columns: the one given")
        print_rows(
            [("", *scores.labels)]
            + [(label, *map(str, row)) for label, row in zip(scores.labels, scores.confusion, strict=True)]
        )
    if found.baseline is not None:
        print(f"\n{found.baseline.verdict}")
    _notes(found)


def _notes(found: "ReaderEvaluation") -> None:
    if found.repaired:
        note(f"({found.repaired:,} sentences of the file break the scheme of their tags; they were read leniently.)")
    if found.left_out:
        note(f"({found.left_out:,} questions were left out: their answer does not stand in the context.)")
    if found.baseline is not None and found.baseline.overlap:
        note(f"({found.baseline.overlap:,} of the examples stand in {found.baseline.training} too.)")


def _counted(found: "ReaderEvaluation") -> str:
    return {"tag": "sentences", "answer": "questions", "fill": "hidden tokens"}.get(found.task, "texts")


def _class_rows(scores: "ClassificationScores | LabelSetScores") -> list[tuple[str, str]]:
    from headway.evaluation.classification_scores import LabelSetScores

    if isinstance(scores, LabelSetScores):
        rows = [
            ("all labels right", _share(scores.subset_accuracy, scores.subset_accuracy_band)),
            ("macro-F1", _share(scores.macro_f1, scores.macro_f1_band)),
            ("micro-F1", _share(scores.micro_f1, scores.micro_f1_band)),
        ]
    else:
        rows = [
            ("accuracy", _share(scores.accuracy, scores.accuracy_band)),
            ("macro-F1", _share(scores.macro_f1, scores.macro_f1_band)),
        ]
    if scores.calibration_error is not None:
        rows.append(("calibration error", f"{100 * scores.calibration_error:.2f} points"))
    return [*rows, ("scored", f"{scores.examples:,} texts, {len(scores.labels)} labels")]


def _span_rows(scores: "SpanScores", strict: "SpanScores | None") -> list[tuple[str, str]]:
    rows = [
        ("F1 of spans", _share(scores.f1, scores.f1_band)),
        ("precision", f"{100 * scores.precision:.2f} %"),
        ("recall", f"{100 * scores.recall:.2f} %"),
        ("macro-F1", f"{100 * scores.macro_f1:.2f} %"),
    ]
    if strict is not None:
        rows.append(("F1, read strictly", _share(strict.f1, strict.f1_band)))
    if scores.word_accuracy is not None:
        rows.append(("words right", f"{100 * scores.word_accuracy:.2f} %"))
    return [*rows, ("scored", f"{scores.spans:,} spans in {scores.sentences:,} sentences; {scores.predicted:,} given")]


def _question_rows(scores: "QuestionScores") -> list[tuple[str, str]]:
    rows = [
        ("exact match", _share(scores.exact_match, scores.exact_match_band)),
        ("F1", _share(scores.f1, scores.f1_band)),
    ]
    if scores.unanswerable and scores.f1_answerable is not None:
        rows.append(("F1 of those with answers", f"{100 * scores.f1_answerable:.2f} %"))
    if scores.exact_match_unanswerable is not None:
        rows.append(("right that there is none", f"{100 * scores.exact_match_unanswerable:.2f} %"))
    if scores.best_f1 is not None:
        rows.append(
            ("best F1 by threshold", f"{100 * scores.best_f1:.2f} % at {scores.best_f1_threshold:.3f}, a bound")
        )
    without = f", {scores.unanswerable:,} without an answer" if scores.unanswerable else ""
    return [*rows, ("scored", f"{scores.examples:,} questions{without}, as SQuAD {scores.version}")]


def _vector_rows(scores: "RetrievalScores | LikenessScores") -> list[tuple[str, str]]:
    from headway.evaluation.vector_scores import LikenessScores

    if isinstance(scores, LikenessScores):
        return [("Spearman", f"{scores.spearman:.4f}"), ("scored", f"{scores.pairs:,} pairs")]
    return [
        ("partner nearest", _share(scores.retrieval_accuracy, scores.retrieval_accuracy_band)),
        ("mean reciprocal rank", f"{scores.mean_reciprocal_rank:.4f}"),
        ("scored", f"{scores.pairs:,} pairs, both ways"),
    ]


def _print_labels(labels: "tuple[LabelScore, ...]") -> None:
    rows = [("label", "precision", "recall", "F1", "right ones", "given")]
    for part in sorted(labels, key=lambda part: -part.examples)[:_MOST_LABELS]:
        shares = [f"{100 * value:.1f}" for value in (part.precision, part.recall, part.f1)]
        rows.append((part.label, shares[0], shares[1], shares[2], f"{part.examples:,}", f"{part.predicted:,}"))
    print_rows(rows)
    if len(labels) > _MOST_LABELS:
        print(f"and {len(labels) - _MOST_LABELS} more: --json has all")


def _share(value: float, band: tuple[float, float]) -> str:
    return f"{100 * value:.2f} % ({100 * band[0]:.1f} to {100 * band[1]:.1f})"
