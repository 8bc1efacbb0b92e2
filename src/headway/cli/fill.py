"""`headway fill`: a text with masks in, the likeliest words out."""

from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from headway.cli.output import print_json
from headway.cli.source_text import model_and_text, read_lines
from headway.cli.translate import Running

DEFAULT_MODEL = "reader"


def fill(
    model: Annotated[str | None, Parameter(help="A model folder or a bundled model's name (reader).")] = None,
    text: Annotated[str | None, Parameter(help="A text with [MASK] in it; - or none reads standard input.")] = None,
    /,
    *,
    top: Annotated[int, Parameter(help="So many guesses for each mask.")] = 5,
    place: Running | None = None,
    json: Annotated[bool, Parameter(help="Print one JSON object.")] = False,
) -> None:
    """Guess the words behind [MASK], from both sides. One word alone is the model if there is one.

    Example: headway fill reader "The [MASK] of the Union"
    """
    from headway.tasks.reader import Reader

    place = place or Running()
    name, given = model_and_text(model, text, default=DEFAULT_MODEL, given=False)
    whole = "\n".join(read_lines(None)) if given is None else given
    reader = Reader(name, device=place.device, engine=place.engine, dtype=place.dtype, bits=place.bits)
    guesses = reader.fill(whole, top=top)
    if json:
        print_json({"model": name, "text": whole, "guesses": [asdict(guess) for guess in guesses]})
        return
    last = 0
    for guess in guesses:
        if guess.place != last:
            print()
            last = guess.place
        print(f"{guess.probability:7.2%}  {guess.token:<16}  {guess.text}")
