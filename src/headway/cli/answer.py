"""`headway answer`: a question and a context in, the stretch of the context that answers it out."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway.cli.output import note, print_json
from headway.cli.source_text import argument_text, read_lines
from headway.cli.translate import Running, one_line


def answer(
    model: Annotated[str, Parameter(help="A model folder.")],
    question: Annotated[str, Parameter(help="The question.")],
    /,
    *,
    context: Annotated[
        Path | None, Parameter(help="The text that holds the answer, of any length; none reads standard input.")
    ] = None,
    top: Annotated[int, Parameter(help="So many answers, none overlapping a likelier one.")] = 1,
    always: Annotated[bool, Parameter(help="Answer even where the model thinks that there is no answer.")] = False,
    place: Running | None = None,
    json: Annotated[bool, Parameter(help="Print one JSON object.")] = False,
) -> None:
    """Find the answer to a question in a text: its probability, its place in characters, the words that stand there.

    Example: headway answer qa --context page.txt "Who lived in Chawton?"
    """
    from headway.tasks.reader import Reader

    place = place or Running()
    text = "\n".join(read_lines(context))
    reader = Reader(model, device=place.device, engine=place.engine, dtype=place.dtype, bits=place.bits)
    (found,) = reader.answers([(argument_text(question), text)], top=top, no_answer=not always)
    if json:
        print_json({"question": question, "answers": [asdict(one) for one in found]})
        return
    for one in found:
        if one.text:
            print(f"{one.probability:.4f}\t{one.start}-{one.end}\t{one_line(one.text)}")
        else:
            note(f"(No answer in the text, with probability {one.probability:.4f}; --always finds one nevertheless.)")
