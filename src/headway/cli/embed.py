"""`headway embed`: texts in, vectors out."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from headway.cli.output import note
from headway.cli.reading_input import Given, in_parts, texts_of
from headway.cli.translate import Running, compact
from headway.errors import UsageError


def embed(
    model: Annotated[str, Parameter(help="A model folder or a bundled model's name.")],
    file: Annotated[str | None, Parameter(help="A file with a text a line; - or none reads standard input.")] = None,
    /,
    *,
    given: Given | None = None,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Write the vectors to this .npy file.")
    ] = None,
    pooling: Annotated[
        Literal["mean", "cls"] | None, Parameter(help="What of the states is taken; default: the folder's, else mean.")
    ] = None,
    place: Running | None = None,
    json: Annotated[bool, Parameter(help="Print one JSON object a line, with the text and its vector.")] = False,
) -> None:
    """Turn each text into a vector of length 1, so that a product of two says how alike the texts are.

    Example: headway embed minilm file.txt -o vectors.npy
    """
    import numpy

    from headway.storage import replace_file
    from headway.tasks.reader import Reader

    given, place = given or Given(), place or Running()
    if given.second is not None:
        raise UsageError("each text has a vector of its own: give them as two lines, without --second")
    if output is not None and output.suffix != ".npy":
        raise UsageError(f"vectors are written in NumPy's format: name the file {output}.npy, or leave out -o")
    texts = texts_of(file, given)
    reader = Reader(model, device=place.device, engine=place.engine, dtype=place.dtype, bits=place.bits)
    kept = []
    for part in in_parts(texts):
        vectors = reader.embed(part, pooling=pooling)
        if output is not None:
            kept.append(vectors)
            continue
        for text, vector in zip(part, vectors.tolist(), strict=True):
            print(compact({"text": text, "vector": vector}) if json else " ".join(f"{value:.6g}" for value in vector))
    if output is None:
        return
    whole = numpy.concatenate(kept)

    def write(partial: Path) -> None:
        with open(partial, "wb") as stream:
            numpy.save(stream, whole)

    replace_file(output, write)
    note(f"{len(whole):,} vectors of {whole.shape[1]} numbers.")
    print(output)
