"""`headway look`: what a model attended to, what is inside a pass, what its layers do with a signal."""

import os
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from headway.cli.heads import show_heads
from headway.cli.inside import Wanted, show_inside
from headway.cli.output import note
from headway.cli.source_text import argument_text, model_and_text, read_lines
from headway.cli.translate import DEFAULT_MODEL, Place, compact
from headway.errors import DataError, UsageError

if TYPE_CHECKING:
    from headway.insight.alignment_grid import AlignmentGrid
    from headway.tasks.alignment import Alignment, Head
    from headway.tasks.translator import Translator


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Looking:
    """What is looked at."""

    target: Annotated[str | None, Parameter(help="Align this translation instead of the model's own.")] = None
    tokens: Annotated[bool, Parameter(help="The model's own tokens instead of words.")] = False
    layer: Annotated[int | None, Parameter(help="A layer of the decoder, counted from 0.")] = None
    head: Annotated[int | None, Parameter(help="A head of that layer, counted from 0; default: their mean.")] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Judging:
    """Which head aligns best, found on given pairs."""

    pairs: Annotated[Path | None, Parameter(help="Rank the model's heads on these pairs; no text is given then.")] = (
        None
    )
    gold: Annotated[Path | None, Parameter(help="The pairs' alignments, 0-0 1-2 a line: rank by error rate.")] = None
    remember: Annotated[bool, Parameter(help="Note the best head in the model's folder, for all later use.")] = False


# More than six parameters: each is a word of the command line.
def look(
    model: Annotated[str | None, Parameter(help="A model folder or a bundled model's name (en-fr, writer).")] = None,
    text: Annotated[str | None, Parameter(help="The text; - reads standard input.")] = None,
    /,
    *,
    looking: Looking | None = None,
    judging: Judging | None = None,
    place: Place | None = None,
    svg: Annotated[Path | None, Parameter(help="Write a picture to this file.")] = None,
    html: Annotated[Path | None, Parameter(help="Write a page to this file.")] = None,
    output: Annotated[
        Path | None, Parameter(name=("-o", "--output"), help="Write a page of all views, of any model, to this file.")
    ] = None,
    ablate: Annotated[
        list[str] | None,
        Parameter(help="Silence a head, as layer.head, or a layer's heads; may be given several times.", negative=()),
    ] = None,
    spectrum: Annotated[
        bool, Parameter(help="Of any model: what its layers do with a signal, and what can be read back.", negative=())
    ] = False,
    json: Annotated[bool, Parameter(help="Print one JSON object.")] = False,
) -> None:
    """Show what a model sees in a text: tokens, surprise, heads; of a translator, what each word was made from.

    Example: headway look en-fr "The agreement was signed in August 1992." --svg alignment.svg
    Example: headway look writer "The trophy did not fit in the suitcase." -o look.html
    Example: headway look writer --spectrum - < book.txt
    """
    looking, judging, place = looking or Looking(), judging or Judging(), place or Place()
    if (output is not None or ablate) and (spectrum or judging != Judging()):
        raise UsageError("-o and --ablate look at one text: leave out --spectrum, --pairs, --gold and --remember")
    if spectrum:
        _show_spectrum((model, text), looking, judging, place, {"svg": svg, "html": html}, json)
        return
    if judging.pairs is not None:
        name, _ = model_and_text(model, text, default=DEFAULT_MODEL, given=True)
        _require_source(name)
        show_heads(name, judging.pairs, gold=judging.gold, remember=judging.remember, place=place, json=json)
        return
    if judging.gold is not None or judging.remember:
        raise UsageError("--gold and --remember need --pairs: the pairs that heads are ranked on")
    if looking.head is not None and looking.layer is None:
        raise UsageError("--head needs --layer: heads are counted within a layer")
    name, given = model_and_text(model, text, default=DEFAULT_MODEL, given=False)
    source = "\n".join(read_lines(None)) if given is None else given
    if not source.strip():
        raise DataError("there is no text to look at\nGive one, or - for standard input.")
    if output is not None or ablate or not _reads_source(name):
        _refuse_alignment(name, looking, svg)
        if html is not None and _reads_source(name):
            raise UsageError("--html is the page of an alignment\nGive it by itself, or -o alone.")
        wanted = Wanted(page=output or html, json=json, layer=looking.layer, ablate=ablate or ())
        show_inside(name, source, wanted, place)
        return

    from headway.insight.alignment_grid import grid_of
    from headway.insight.alignment_html import alignment_html
    from headway.insight.alignment_svg import alignment_svg
    from headway.storage import replace_file
    from headway.tasks.translator import Translator

    translator = Translator(name, device=place.device, engine="torch", dtype=place.dtype)
    source = " ".join(source.split())
    if _head(looking) is not None:
        translator.sides = replace(translator.sides, head=_head(looking))
    alignment = _alignment(translator, source, looking.target)
    grid = grid_of(alignment, tokens=looking.tokens)
    if svg is not None:
        picture = alignment_svg(grid, title=f"What {name} read for each word")
        replace_file(svg, lambda partial: _write(partial, picture))
    if html is not None:
        page = alignment_html(grid, title=f"What {name} read for each word", note=_origin(translator.sides.head))
        replace_file(html, lambda partial: _write(partial, page))
    if json:
        print(compact({"model": name, **asdict(alignment)}))
        return
    if svg is None and html is None:
        print(f"{grid.source}\n{grid.target}\n")
        print_table(grid)
    else:
        note("".join(f"written: {path}\n" for path in (svg, html) if path is not None).rstrip())


# Six parameters: the words of the command line that go with --spectrum, or may not.
def _show_spectrum(
    words: tuple[str | None, str | None],
    looking: Looking,
    judging: Judging,
    place: Place,
    pages: dict[str, Path | None],
    json: bool,
) -> None:
    """Raises UsageError without a model, and for options that say what to see of an alignment."""
    from headway.cli.spectrum import show_spectrum

    model, text = words
    if model is None:
        raise UsageError("--spectrum needs a model, for instance: headway look writer --spectrum - < book.txt")
    if looking != Looking() or judging != Judging():
        raise UsageError(
            "--spectrum shows all layers and heads\n"
            "--target, --tokens, --layer, --head, --pairs, --gold and --remember are for alignments: leave them out."
        )
    given = "\n".join(read_lines(None)) if text == "-" else None if text is None else argument_text(text)
    if given is not None and not given.strip():
        raise DataError("there is no text to look at\nGive one, - for standard input, or none for the weights alone.")
    show_spectrum(model, given, place=place, pages=pages, json=json)


def print_table(grid: "AlignmentGrid") -> None:
    """Print an alignment as wide as the terminal, in shades that it can show."""
    from headway.insight.alignment_table import PLAIN_SHADES, SHADES, alignment_table

    shades = SHADES if _can_print(SHADES) else PLAIN_SHADES
    print(alignment_table(grid, width=shutil.get_terminal_size((100, 24)).columns, shades=shades))


def _reads_source(name: str) -> bool:
    from headway.formats.bundled import locate
    from headway.formats.folder import family_of_folder
    from headway.models.registry import FAMILIES

    return FAMILIES[family_of_folder(locate(name))].reads_source


def _require_source(name: str) -> None:
    """Raises UsageError where the model reads no source, and so has no heads that align."""
    if not _reads_source(name):
        raise UsageError(
            f"{name} reads no source, so it has no alignment\n"
            "--pairs ranks the heads of translators and summarisers: give one of those."
        )


def _refuse_alignment(name: str, looking: Looking, svg: Path | None) -> None:
    """Raises UsageError for options that say how an alignment is shown, where none is."""
    if svg is not None or looking.target is not None or looking.tokens or looking.head is not None:
        raise UsageError(
            "--svg, --target, --tokens and --head are for the alignments of translators and summarisers\n"
            f"Leave them out to look into {name} itself: headway look {name} TEXT -o look.html"
        )


def _alignment(translator: "Translator", source: str, target: str | None) -> "Alignment":
    if target is not None:
        return translator.align([source], [argument_text(target)])[0]
    found = translator.translate(source, alignment=True)
    if found.windowed or found.alignment is None:
        raise DataError(
            "the text is too long to be read at once, so it has no single alignment\nGive one sentence at a time."
        )
    return found.alignment


def _head(looking: Looking) -> "Head | None":
    return None if looking.layer is None else (looking.layer, looking.head)


def _origin(head: "Head | None") -> str:
    """Which attention is shown, in words."""
    if head is None:
        return "Attention to the source: the mean over the heads of the last layer but one, or of the only one."
    layer, number = head
    return f"Attention to the source: layer {layer}, " + (
        "the mean over its heads." if number is None else f"head {number}."
    )


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return "TERM" not in os.environ or os.environ["TERM"] != "dumb"


def _write(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
