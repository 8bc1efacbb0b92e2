"""`headway classify`: texts in, labels out, line by line."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from headway.cli.reading_input import Given, in_parts, texts_of
from headway.cli.source_text import argument_text
from headway.cli.translate import Running, compact, give_out, one_line
from headway.errors import DataError, UsageError

if TYPE_CHECKING:
    from headway.tasks.classifying import Classification
    from headway.tasks.reader import Reader


def classify(
    model: Annotated[str, Parameter(help="A model folder or a bundled model's name (judge).")],
    file: Annotated[str | None, Parameter(help="A file with a text a line; - or none reads standard input.")] = None,
    /,
    *,
    given: Given | None = None,
    error_rate: Annotated[
        float | None, Parameter(help="Abstain so that at most this share of the answers is wrong: 0.05.")
    ] = None,
    threshold: Annotated[float | None, Parameter(help="Abstain below this probability.")] = None,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Write lines to this file, whole or not at all.")
    ] = None,
    place: Running | None = None,
    json: Annotated[bool, Parameter(help="Print one JSON object a line.")] = False,
) -> None:
    """Say what each text is. A line out has the label, its probability and the text; "?" where the model abstains.

    A model of pairs takes lines of two texts with a tab between, or --text with --second.

    Example: headway classify judge file.txt

    Example: headway classify judge --text "A warm and funny film."

    Example: headway classify judge reviews.csv --text-field review
    """
    from headway.tasks.reader import Reader

    given, place = given or Given(), place or Running()
    texts = texts_of(file, given)
    reader = Reader(model, device=place.device, engine=place.engine, dtype=place.dtype, bits=place.bits)

    def lines() -> Iterator[str]:
        for part in in_parts(texts):
            for text, found in zip(part, _classified(reader, part, given, error_rate, threshold), strict=True):
                if json:
                    yield compact({"text": text, **asdict(found)})
                else:
                    yield f"{_label(found)}\t{found.probability:.4f}\t{one_line(text)}"

    give_out(lines(), output)


def _classified(
    reader: "Reader", texts: list[str], given: Given, error_rate: float | None, threshold: float | None
) -> "list[Classification]":
    if given.second is not None and not reader.settings.pair:
        raise UsageError("--second is of models of pairs, and this one reads single texts\nLeave it out.")
    if not reader.settings.pair:
        return reader.classify(texts, error_rate=error_rate, threshold=threshold)
    if given.second is not None:
        pairs = [(texts[0], argument_text(given.second))]
    else:
        pairs = []
        for text in texts:
            first, tab, second = text.partition("\t")
            if not tab:
                raise DataError(
                    f"this model reads pairs: a line is two texts with a tab between, but got {text[:60]!r}\n"
                    "Write such lines, or give --text with --second."
                )
            pairs.append((first, second))
    return reader.classify(pairs, error_rate=error_rate, threshold=threshold)


def _label(found: "Classification") -> str:
    if found.abstained:
        return "?"
    return ",".join(found.labels) if found.label is not None else "-"
