"""`headway write`: a prompt in, its continuation out, as it is written."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from headway.cli.output import note, print_json, print_rows
from headway.cli.prompt import model_and_prompt
from headway.settings import to_dict

if TYPE_CHECKING:
    from headway.tasks.continuation import Piece
    from headway.tasks.writer import Writer
    from headway.tasks.writing import Result


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Choosing:
    """How the next token is chosen, and how far."""

    max_new_tokens: Annotated[int, Parameter(help="The most tokens to write.")] = 200
    temperature: Annotated[float | None, Parameter(help="0: always the likeliest; default: the model's own.")] = None
    top_k: Annotated[int | None, Parameter(help="Only the K likeliest tokens.")] = None
    top_p: Annotated[float | None, Parameter(help="Only the likeliest tokens that together reach P.")] = None
    min_p: Annotated[float | None, Parameter(help="Only tokens at least P times as likely as the likeliest.")] = None
    repetition_penalty: Annotated[float, Parameter(help="Above 1: what stands there already, less.")] = 1.0
    frequency_penalty: Annotated[float, Parameter(help="Taken from a logit for each time it was written.")] = 0.0
    presence_penalty: Annotated[float, Parameter(help="Taken once from a logit that was written.")] = 0.0
    seed: Annotated[int | None, Parameter(help="The same seed writes the same; default: drawn, and said.")] = None
    stop: Annotated[tuple[str, ...], Parameter(help="End before this text. Repeatable.", show_default=False)] = ()
    logprobs: Annotated[int | None, Parameter(help="Show each token's log-probability and K alternatives.")] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Several:
    """More than one continuation, or the best of a search."""

    samples: Annotated[int, Parameter(name=["--samples", "-n"], help="How many continuations.")] = 1
    beam: Annotated[int | None, Parameter(help="A beam search of this width instead of drawing.")] = None
    length_penalty: Annotated[float, Parameter(help="Beam scores are divided by the length to this power.")] = 1.0
    echo: Annotated[bool, Parameter(help="Begin with the prompt; with --logprobs or --json score it too.")] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Place:
    """Where, how precisely and with what help the model runs."""

    device: Annotated[str, Parameter(help="auto, cpu, cuda or cuda:N.")] = "auto"
    engine: Annotated[str, Parameter(help="compiled, torch, or auto: compiled on a CPU if it knows the model.")] = (
        "auto"
    )
    bits: Annotated[int | None, Parameter(help="32, 16, 8 or 4 a weight, compiled; default: as stored.")] = None
    dtype: Annotated[str | None, Parameter(help="float32, bfloat16 or float16, in PyTorch; default: as stored.")] = None
    speculate: Annotated[
        str | None, Parameter(help="The same tokens in fewer steps: lookup (in the text itself), or a draft model.")
    ] = None


# More than six parameters with those inside: each is a word of the command line.
def write(
    model: Annotated[str | None, Parameter(help="A model folder or a bundled model's name (writer).")] = None,
    prompt: Annotated[str | None, Parameter(help="The text to go on from; - reads standard input.")] = None,
    /,
    *,
    file: Annotated[Path | None, Parameter(help="Read the prompt from this file.")] = None,
    choosing: Choosing | None = None,
    several: Several | None = None,
    place: Place | None = None,
    json: Annotated[bool, Parameter(help="Print one JSON object.")] = False,
) -> None:
    """Write on from a prompt. One word alone is the model if there is one of that name, else the prompt.

    Example: headway write my-model "Once upon a time" --temperature 0.8 --top-k 40 --seed 1
    """
    choosing, several, place = choosing or Choosing(), several or Several(), place or Place()
    name, text = model_and_prompt(model, prompt, file)

    from headway.tasks.writer import Writer

    writer = Writer(name, device=place.device, engine=place.engine, dtype=place.dtype, bits=place.bits)
    scores = json or choosing.logprobs is not None
    if several.samples == 1 and several.beam is None and not scores:
        if several.echo:
            print(text, end="", flush=True)
        print_pieces(
            writer.stream(text, speculate=place.speculate, **to_dict(choosing)), say_seed=choosing.seed is None
        )
        return
    options = {**to_dict(choosing), **to_dict(several), "echo": several.echo and scores, "speculate": place.speculate}
    answer = writer.write(text, **options)
    results: list[Result] = answer if isinstance(answer, list) else [answer]
    if json:
        print_json({"model": name, "prompt": text, "results": [asdict(result) for result in results]})
        return
    for number, result in enumerate(results, start=1):
        if len(results) > 1:
            print(f"--- {number} of {len(results)}")
        print(f"{text if several.echo else ''}{result.text}")
        if choosing.logprobs is not None:
            print_rows(_tokens(writer, text, result))
    _say(results[0].windowed, results[0].seed if choosing.seed is None and several.beam is None else None)


def print_pieces(pieces: "Iterator[Piece]", *, say_seed: bool) -> None:
    """Print the text as it comes, ending in a newline; then, on stderr, what else there is to know."""
    piece = None
    for piece in pieces:
        print(piece.text, end="", flush=True)
    print()
    if piece is not None:
        _say(piece.windowed, piece.seed if say_seed else None)


def _say(windowed: bool, seed: int | None) -> None:
    if windowed:
        note("(The text outgrew the model's context: it no longer saw the beginning.)")
    if seed is not None:
        note(f"(--seed {seed} writes this again.)")


def _tokens(writer: "Writer", prompt: str, result: "Result") -> list[tuple[str, str, str]]:
    """Rows of token, log-probability and alternatives; the prompt's tokens first where they were scored."""
    shown = [("token", "logprob", "alternatives")]
    if result.prompt_logprobs is not None:
        prompt_ids = writer.tokenizer.encode(prompt)
        for token, logprob in zip(prompt_ids, result.prompt_logprobs[-len(prompt_ids) or None :], strict=False):
            shown.append((_quoted(writer, token), "" if logprob is None else f"{logprob:.3f}", ""))
    for token, logprob, top in zip(result.ids, result.logprobs, result.top_logprobs, strict=True):
        alternatives = "  ".join(f"{_quoted(writer, other)} {value:.3f}" for other, value in top)
        shown.append((_quoted(writer, token), f"{logprob:.3f}", alternatives))
    return shown


def _quoted(writer: "Writer", token: int) -> str:
    return repr(writer.tokenizer.decode([token]))
