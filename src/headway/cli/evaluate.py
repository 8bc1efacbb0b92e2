"""`headway evaluate`: how well a model predicts a text, translates pairs, or does what it reads for."""

import sys
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from headway.cli.evaluate_reader import OfReaders, evaluate_reading
from headway.cli.output import count_text, note, print_json, print_rows
from headway.errors import DataError, UsageError

if TYPE_CHECKING:
    from headway.evaluation.systems import SystemsReport
    from headway.evaluation.translation import TranslationScores


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class OfText:
    """For models that write; the engine for all others too, the texts' field for those that read."""

    stride: Annotated[int | None, Parameter(help="Tokens a window moves on; default: half the context.")] = None
    engine: Annotated[Literal["torch", "compiled"] | None, Parameter(help="What runs it; default: torch.")] = None
    bits: Annotated[int | None, Parameter(help="In the compiled engine at 32, 16, 8 or 4 bits a weight.")] = None
    text_field: Annotated[str | None, Parameter(help="The field of .jsonl, .csv, .parquet with the text.")] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class OfPairs:
    """For models that translate: the file, and what is translated."""

    target_path: Annotated[str | None, Parameter(help="FILE has the sources alone; their targets, line by line.")] = (
        None
    )
    source_field: Annotated[str | None, Parameter(help="The field, column or language of the sources.")] = None
    target_field: Annotated[str | None, Parameter(help="The field, column or language of the targets.")] = None
    single_reference: Annotated[
        bool, Parameter(help="Every line is a sentence of its own, even where sources are equal.")
    ] = False
    limit: Annotated[int | None, Parameter(help="The first N sentences alone.")] = None
    beam: Annotated[int | None, Parameter(help="Hypotheses of the search; default: the model's own, else 4.")] = None
    hypotheses: Annotated[
        str | None, Parameter(help="Score this file of translations, one a line for each distinct source in order.")
    ] = None
    against: Annotated[str | None, Parameter(help="Compare with another model, or a file of translations.")] = None
    training: Annotated[str | None, Parameter(help="Pairs it was trained on: say how many are in FILE too.")] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Scored:
    """For models that translate: how it is scored and shown."""

    by_length: Annotated[bool, Parameter(help="Show the scores by length of the source.")] = False
    length_unit: Annotated[
        Literal["words", "tokens", "characters"], Parameter(help="What the length of a source is counted in.")
    ] = "words"
    bucket_width: Annotated[int | None, Parameter(help="Lengths in a bucket; default: a round number.")] = None
    bucket_least: Annotated[int, Parameter(help="Buckets with fewer sentences are merged.")] = 100
    plot: Annotated[Path | None, Parameter(help="Draw the scores by length into this file (.svg).")] = None
    plot_score: Annotated[Literal["bleu", "chrf"], Parameter(help="Which score is drawn.")] = "bleu"
    tokenize: Annotated[
        Literal["13a", "intl", "zh", "char", "none"], Parameter(help="How BLEU splits words; zh, char for Chinese.")
    ] = "13a"


# More than six parameters with those inside: each is a word of the command line.
def evaluate(
    model: Annotated[str, Parameter(help="A model folder or a bundled model's name.")],
    file: Annotated[str | None, Parameter(help="Held-out text or pairs, as train takes it.")] = None,
    /,
    *,
    text: OfText | None = None,
    pairs: OfPairs | None = None,
    scored: Scored | None = None,
    readers: OfReaders | None = None,
    device: Annotated[str, Parameter(help="auto, cpu, cuda or cuda:N.")] = "auto",
    dtype: Annotated[str | None, Parameter(help="float32, bfloat16 or float16; default: as stored.")] = None,
    json: Annotated[bool, Parameter(help="Print one JSON object.")] = False,
) -> None:
    """A model that writes: perplexity per token and bits per byte of a text, lower is better for both. A model that
    translates: BLEU and chrF on pairs, higher is better; lines with an equal source are references of one sentence.
    A model that reads: the scores of its task, or of the words it guesses where it has none.

    Example: headway evaluate en-fr test.tsv --by-length --plot lengths.svg

    Example: headway evaluate judge reviews.tsv --baseline train.tsv
    """
    text, pairs, scored, readers = text or OfText(), pairs or OfPairs(), scored or Scored(), readers or OfReaders()
    system, place = _system_and_file(model, file, pairs.hypotheses)
    kind = "translates" if pairs.hypotheses is not None else _kind(system)
    if kind == "reads":
        _refuse("is of models that translate, and this one reads", replace(pairs, against=None), scored)
        _refuse("is of models that write, and this one reads", replace(text, text_field=None, engine=None, bits=None))
        _check_other(pairs.against)
        progress = _show_read if sys.stderr.isatty() else None
        evaluate_reading(
            (system, pairs.against),
            place,
            readers,
            running=text,
            device=device,
            dtype=dtype,
            json=json,
            progress=progress,
        )
        return
    _refuse(f"is of models that read, and this one {kind}", readers)
    if kind == "writes":
        _refuse("is of models that translate, and this one writes", pairs, scored)
        _evaluate_text(system, place, text, device=device, dtype=dtype, json=json)
        return
    own = text if pairs.hypotheses is not None else replace(text, engine=None, bits=None)
    _refuse("is of models that write, and here translations are scored", own)
    _evaluate_pairs(system, place, pairs, scored, text, device=device, dtype=dtype, json=json)


def _system_and_file(model: str, file: str | None, hypotheses: str | None) -> tuple[str, str]:
    """What is scored, a model or a file of translations, and on which file."""
    if hypotheses is None:
        if file is None:
            raise UsageError(f"headway evaluate needs TEXT beside the model {model}\nSee: headway evaluate --help")
        return model, file
    if not Path(hypotheses).is_file():
        raise DataError(f"there is no file {hypotheses}\nGive a text file with one translation a line.")
    if file is not None:
        raise UsageError(
            f"--hypotheses scores translations that exist, so it takes no model, but got {model!r} too\n"
            f"headway evaluate {file} --hypotheses {hypotheses}"
        )
    return hypotheses, model


def _kind(model: str) -> Literal["translates", "reads", "writes"]:
    """By the folder: a model that could write reads where it was fine-tuned for a task."""
    from headway.formats.bundled import locate
    from headway.formats.folder import family_of_folder
    from headway.formats.reader_settings import read_reader_settings
    from headway.models.registry import FAMILIES

    family = FAMILIES[family_of_folder(model)]
    if family.reads_source:
        return "translates"
    return "reads" if not family.decoder or read_reader_settings(locate(model)).task is not None else "writes"


def _check_other(against: str | None) -> None:
    if against is not None and _kind(against) != "reads":
        raise UsageError(f"a model that reads is compared with another, but {against} {_kind(against)}\nGive a reader.")


def _refuse(why: str, *groups: Any) -> None:
    """An option that means nothing for this model is an error."""
    for group in groups:
        for field in fields(group):
            if getattr(group, field.name) != field.default:
                raise UsageError(f"--{field.name.replace('_', '-')} {why}\nLeave it out.")


def _evaluate_text(model: str, file: str, text: OfText, *, device: str, dtype: str | None, json: bool) -> None:
    from headway.evaluation.perplexity import evaluate_text

    found = evaluate_text(
        model,
        file,
        stride=text.stride,
        device=device,
        dtype=dtype,
        engine=text.engine or "torch",
        bits=text.bits,
        text_field=text.text_field,
        progress=_show_tokens if sys.stderr.isatty() else None,
    )
    _clear()
    if json:
        print_json(asdict(found))
        return
    documents = "document" if found.documents == 1 else "documents"
    print_rows(
        [
            ("bits per byte", f"{found.bits_per_byte:.4f}"),
            ("perplexity", f"{found.perplexity:.3f} per token"),
            ("loss", f"{found.loss:.4f} nats per token"),
            ("scored", f"{found.tokens:,} tokens, {found.bytes:,} bytes, {found.documents:,} {documents}"),
            ("windows", f"{found.window} tokens, moving on by {found.stride}"),
            ("speed", f"{found.tokens_per_second:,.0f} tokens/s on {found.device} in {found.dtype}"),
        ]
    )


# Six parameters and more: each a word of the command line, or a group of them.
def _evaluate_pairs(
    system: str,
    file: str,
    pairs: OfPairs,
    scored: Scored,
    running: OfText,
    *,
    device: str,
    dtype: str | None,
    json: bool,
) -> None:
    from headway.evaluation.length_plot import draw_length_curves
    from headway.evaluation.systems import PairsFile, evaluate_pairs
    from headway.evaluation.translation import Scoring
    from headway.storage import replace_file

    if scored.plot is not None and scored.plot.suffix.lower() != ".svg":
        raise UsageError(f"a plot is an SVG file, but got {scored.plot}\nGive a name that ends in .svg.")
    report = evaluate_pairs(
        system,
        PairsFile(
            path=file,
            target_path=pairs.target_path,
            source_field=pairs.source_field,
            target_field=pairs.target_field,
            single_reference=pairs.single_reference,
            limit=pairs.limit,
        ),
        against=pairs.against,
        training=pairs.training,
        beam=pairs.beam,
        scoring=Scoring(
            tokenize=scored.tokenize,
            length_unit=scored.length_unit,
            bucket_width=scored.bucket_width,
            bucket_least=scored.bucket_least,
        ),
        device=device,
        dtype=dtype,
        engine=running.engine or "torch",
        bits=running.bits,
        progress=_show_sentences if sys.stderr.isatty() else None,
    )
    _clear()
    systems = [report.scores] if report.against is None else [report.scores, report.against]
    if scored.plot is not None:
        drawn = draw_length_curves(systems, text=file, score=scored.plot_score)
        replace_file(scored.plot, lambda partial: _write_text(partial, drawn))
    if json:
        print_json(_as_json(report))
    else:
        _print_report(report, systems, by_length=scored.by_length)
    if scored.plot is not None:
        note(f"(The plot is {scored.plot}.)")


def _as_json(report: "SystemsReport") -> dict[str, Any]:
    """One object: the scores, then, where two systems were compared, the other's and each score's comparison."""
    found: dict[str, Any] = {**asdict(report.scores), "text": report.text}
    if report.overlap is not None:
        found["training_overlap"] = asdict(report.overlap)
    if report.against is not None and report.comparison is not None:
        found["against"] = asdict(report.against)
        found["comparison"] = {
            score: compared.table(verdict)
            for (score, compared), verdict in zip(report.comparison.items(), report.verdicts(), strict=True)
        }
    return found


def _print_report(report: "SystemsReport", systems: "list[TranslationScores]", *, by_length: bool) -> None:
    scores = report.scores
    for number, system in enumerate(systems):
        if len(systems) > 1:
            print(f"{'' if number == 0 else chr(10)}{system.model}")
        print_rows(_score_rows(system))
        if by_length:
            print()
            print_rows(_length_rows(system))
    if len(systems) > 1:
        print()
        for verdict in report.verdicts():
            print(verdict)
    print()
    print_rows(
        [
            ("scored", f"{scores.sentences:,} sentences with {scores.references:,} references"),
            ("bands", f"{100 * scores.level:g} % of {scores.resamples:,} resamples of the sentences"),
            ("BLEU", scores.signatures["bleu"]),
            ("chrF", scores.signatures["chrf"]),
        ]
    )
    for system in systems:
        if system.windowed:
            note(f"({system.windowed} sources were too long for {system.model} and translated in pieces.)")
    if report.overlap is not None:
        note(f"({report.overlap})")


def _score_rows(scores: "TranslationScores") -> list[tuple[str, str]]:
    rows = [
        ("BLEU", f"{scores.bleu:.2f} ({_band(scores.bleu_band)})"),
        ("chrF", f"{scores.chrf:.2f} ({_band(scores.chrf_band)})"),
        ("length", f"{scores.length_ratio:.3f} words for each of the references"),
    ]
    if scores.sentences_per_second is not None:
        rows.append(("speed", f"{scores.sentences_per_second:,.1f} sentences/s, beam {scores.beam}"))
    return rows


def _length_rows(scores: "TranslationScores") -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [(scores.length_unit, "sentences", "BLEU", "band", "chrF", "band", "length")]
    for part in scores.by_length:
        rows.append(
            (
                str(part.low) if part.low == part.high else f"{part.low}-{part.high}",
                f"{part.sentences:,}",
                f"{part.bleu:.2f}",
                _band(part.bleu_band),
                f"{part.chrf:.2f}",
                _band(part.chrf_band),
                f"{part.length_ratio:.3f}",
            )
        )
    return rows


def _band(band: tuple[float, float]) -> str:
    return f"{band[0]:.1f} to {band[1]:.1f}"


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _show_tokens(tokens: int) -> None:
    _show(f"{count_text(tokens)} tokens scored")


def _show_sentences(done: int, of: int) -> None:
    _show(f"{done:,} of {of:,} sentences translated")


def _show_read(done: int) -> None:
    _show(f"{count_text(done)} read")


def _show(text: str) -> None:
    print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)


def _clear() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
