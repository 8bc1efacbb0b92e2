"""`headway summarise`: a document in, its summary out."""

from itertools import tee
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway.cli.source_text import read_lines
from headway.cli.translate import Running, Searching, give_out, json_line, one_line, said
from headway.settings import to_dict


# More than six parameters with those inside: each is a word of the command line.
def summarise(
    model: Annotated[str, Parameter(help="A model folder or a bundled model's name.")],
    file: Annotated[str, Parameter(help="The document, or documents; - reads standard input.")],
    /,
    *,
    lines: Annotated[bool, Parameter(help="Every line of the file is a document of its own.")] = False,
    searching: Searching | None = None,
    place: Running | None = None,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Write to this file, whole or not at all.")
    ] = None,
    json: Annotated[bool, Parameter(help="Print one JSON object a document.")] = False,
) -> None:
    """Summarise a document; one that is too long is read in windows of whole sentences, and that is said.

    Example: headway summarise my-summariser report.txt
    """
    searching, place = searching or Searching(), place or Running()
    read = read_lines(None if file == "-" else Path(file))

    from headway.tasks.summariser import Summariser
    from headway.tasks.translator import windows

    summariser = Summariser(model, **to_dict(place))
    options = to_dict(searching)
    documents, sources = tee(read if lines else iter(["\n".join(read)]))
    found = (one for window in windows(documents) for one in summariser.summarise(window, **options))
    pairs = zip(sources, said(found), strict=True)
    give_out((json_line(source, one) if json else one_line(one.text) for source, one in pairs), output)
