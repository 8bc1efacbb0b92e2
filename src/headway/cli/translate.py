"""`headway translate`: text in, its translation out, line by line; and what the other verbs of its kind share."""

import json as json_module
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from headway.cli.output import note
from headway.cli.source_text import is_keyboard, model_and_text, read_lines
from headway.settings import to_dict

if TYPE_CHECKING:
    from headway.tasks.translating import Translation

DEFAULT_MODEL = "en-fr"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Searching:
    """How the translation is found."""

    beam: Annotated[int | None, Parameter(help="Hypotheses kept open; 1: greedy; default: the folder's, else 4.")] = (
        None
    )
    length_penalty: Annotated[
        Literal["none", "mean", "gnmt"] | None,
        Parameter(help="How a score is freed of its length; default: mean.", show_default=False),
    ] = None
    alpha: Annotated[float | None, Parameter(help="The length penalty's exponent; default: the folder's, else 1.")] = (
        None
    )
    min_ratio: Annotated[float, Parameter(help="Target tokens at least, for each of the source.")] = 0.0
    max_ratio: Annotated[
        float | None, Parameter(help="Target tokens at most, for each of the source; default: 3, and 10 more.")
    ] = None
    max_new_tokens: Annotated[int | None, Parameter(help="Target tokens at most.")] = None
    longest: Annotated[
        int | None, Parameter(help="Longer sources (in tokens) are read in pieces; default: the model's own limit.")
    ] = None
    batch_tokens: Annotated[int, Parameter(help="Source tokens read together.")] = 1600


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Wanting:
    """What the translation must or may be, beside the likeliest."""

    coverage_penalty: Annotated[float, Parameter(help="Above 0: every source word is to be read (Wu 2016).")] = 0.0
    prefix: Annotated[str | None, Parameter(help="The translation begins with this.")] = None
    temperature: Annotated[float | None, Parameter(help="Draw the words instead of searching.")] = None
    seed: Annotated[int | None, Parameter(help="The same seed draws the same; default: drawn, and said.")] = None
    unknown: Annotated[
        Literal["keep", "forbid", "copy"], Parameter(help="What becomes of a vocabulary's unknown word.")
    ] = "keep"
    by_sentence: Annotated[bool, Parameter(help="Translate every sentence of a line by itself.")] = False
    n_best: Annotated[int, Parameter(help="So many translations of each line.")] = 1


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and how precisely the model runs."""

    device: Annotated[str, Parameter(help="auto, cpu, cuda or cuda:N.")] = "auto"
    dtype: Annotated[str | None, Parameter(help="float32, bfloat16 or float16; default: as stored.")] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Running(Place):
    """Where, how precisely and on which engine the model runs."""

    engine: Annotated[str, Parameter(help="compiled, torch, or auto: compiled on a CPU if it knows the model.")] = (
        "auto"
    )
    bits: Annotated[int | None, Parameter(help="32, 16, 8 or 4 a weight, compiled; default: as stored.")] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class InAndOut:
    """Files in place of the command line."""

    input: Annotated[Path | None, Parameter(help="Read lines from this file.")] = None
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Write lines to this file, whole or not at all.")
    ] = None
    scores: Annotated[bool, Parameter(help="Put each translation's score and a tab before it.")] = False
    window: Annotated[
        int | None, Parameter(help="Lines read before the first is given out; default: 16, growing to 4096.")
    ] = None


# More than six parameters with those inside: each is a word of the command line.
def translate(
    model: Annotated[str | None, Parameter(help="A model folder or a bundled model's name (en-fr).")] = None,
    text: Annotated[str | None, Parameter(help="The text; - or none reads standard input.")] = None,
    /,
    *,
    searching: Searching | None = None,
    wanting: Wanting | None = None,
    place: Running | None = None,
    files: InAndOut | None = None,
    json: Annotated[bool, Parameter(help="Print one JSON object a line, with alignment.")] = False,
) -> None:
    """Translate a text, or every line of a file or of standard input. One word alone is the model if there is one.

    Example: headway translate en-fr "I had never seen such a beautiful garden."
    """
    searching, wanting = searching or Searching(), wanting or Wanting()
    place, files = place or Running(), files or InAndOut()
    name, given = model_and_text(model, text, default=DEFAULT_MODEL, given=files.input is not None)

    from headway.tasks.alignment import shows_attention
    from headway.tasks.request import draw_seed
    from headway.tasks.translator import Translator

    translator = Translator(name, **to_dict(place))
    sides = translator.sides
    seed = draw_seed() if wanting.seed is None else wanting.seed
    aligned = json and shows_attention(sides.traced, start=sides.start, end=sides.source_end)
    if json and not aligned:
        note("(This model reads the source as one fixed vector: it has no alignment.)")
    window = files.window
    if given is None and files.input is None and is_keyboard():
        note("(Reading lines from the keyboard; Ctrl-D ends.)")
        window = window or 1
    lines, sources = tee([given] if given is not None else read_lines(files.input))
    options = {**to_dict(searching), **to_dict(wanting), "seed": seed}
    found = translator.stream(lines, alignment=aligned, window=window, **options)
    pairs = zip(sources, said(found), strict=True)
    if json:
        shown = (json_line(source, one) for source, one in pairs)
    else:
        several = (_rows(number, one, files.scores, wanting.n_best) for number, (_, one) in enumerate(pairs, start=1))
        shown = (line for rows in several for line in rows)
    give_out(shown, files.output)
    if wanting.temperature is not None and wanting.seed is None:
        note(f"(--seed {seed} draws this again.)")


def json_line(source: str, translation: "Translation") -> str:
    """One JSON object on one line: the source, then what is known of its translation."""
    return compact({"source": source, **asdict(translation)})


def compact(value: Any) -> str:
    """A JSON document on one line."""
    return json_module.dumps(_rounded(value), ensure_ascii=False, allow_nan=False)


def one_line(text: str) -> str:
    """The text without what would break a line of output: every line in is one line out."""
    return text.replace("\r\n", " ").replace("\n", " ").replace("\r", " ")


def said(translations: "Iterable[Translation]") -> "Iterator[Translation]":
    """The same translations; once, on stderr, that one was too long to be read at once."""
    silent = True
    for number, one in enumerate(translations, start=1):
        if one.windowed and silent:
            note(
                f"(Text {number} was read in {len(one.pieces)} pieces, the model saw one at a time; so may others be.)"
            )
            silent = False
        yield one


def give_out(lines: Iterable[str], output: Path | None) -> None:
    """Print lines as they come, or write them to a file, which is there whole or not at all."""
    if output is None:
        for line in lines:
            print(line, flush=True)
        return

    from headway.storage import replace_file

    def write(partial: Path) -> None:
        with open(partial, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)

    replace_file(output, write)


def _rows(number: int, translation: "Translation", scores: bool, n_best: int) -> Iterator[str]:
    """The lines of one text: its translation; with scores, the score before; n-best ones begin with its number."""
    if n_best == 1:
        text = one_line(translation.text)
        yield f"{translation.score:.4f}\t{text}" if scores else text
        return
    found = [(translation.score, translation.text), *((one.score, one.text) for one in translation.alternatives)]
    for score, text in found:
        yield f"{number}\t{score:.4f}\t{one_line(text)}"


def _rounded(value: Any) -> Any:
    """Floats with seven significant digits: more is noise in single precision."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, (list, tuple)) else value
