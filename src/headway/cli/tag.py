"""`headway tag`: texts in, the spans found in them out."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from headway.cli.reading_input import Given, in_parts, texts_of
from headway.cli.translate import Running, compact, give_out, one_line


def tag(
    model: Annotated[str, Parameter(help="A model folder.")],
    text: Annotated[str | None, Parameter(help="A text; none reads the lines of --input or of standard input.")] = None,
    /,
    *,
    input: Annotated[Path | None, Parameter(help="Read texts from the lines of this file.")] = None,
    text_field: Annotated[
        str | None, Parameter(help="Or from this field or column of it (.tsv, .csv, .jsonl, .parquet).")
    ] = None,
    repair: Annotated[
        Literal["lenient", "strict"], Parameter(help="Whether tags that break their scheme are spans nevertheless.")
    ] = "lenient",
    words: Annotated[bool, Parameter(help="Print every word with its tag in place of the spans.")] = False,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Write lines to this file, whole or not at all.")
    ] = None,
    place: Running | None = None,
    json: Annotated[bool, Parameter(help="Print one JSON object a line.")] = False,
) -> None:
    """Find what the model was trained to find: a line a span, with its label, place in characters, score and text.

    Example: headway tag tagger "Jane Austen lived in Chawton."
    """
    from headway.tasks.reader import Reader

    place = place or Running()
    given = Given(text=None if text == "-" else text, text_field=text_field)
    texts = texts_of(None if input is None else str(input), given)
    reader = Reader(model, device=place.device, engine=place.engine, dtype=place.dtype, bits=place.bits)

    def lines() -> Iterator[str]:
        for part in in_parts(texts):
            for one, found in zip(part, reader.tag(part, repair=repair), strict=True):
                if json:
                    yield compact({"text": one, **asdict(found)})
                elif words:
                    yield from (f"{word.text}\t{word.tag}\t{word.probability:.4f}" for word in found.words)
                    yield ""
                else:
                    for span in found.spans:
                        yield f"{span.label}\t{span.start}-{span.end}\t{span.score:.4f}\t{one_line(span.text)}"

    give_out(lines(), output)
