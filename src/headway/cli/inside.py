"""`headway look` at a model by itself: its tokens with their surprise, its heads by kind, and the page of all views."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.cli.output import note, print_json, print_rows
from headway.cli.translate import Place
from headway.errors import DataError, FormatError, UsageError

if TYPE_CHECKING:
    from headway.insight.inspection import InspectionRequest, SourceText

_THUMBNAIL = 24
_MOST_CELLS = 1 << 23
_KINDS = {"previous": "previous token", "first": "first token", "repeat": "repeats"}
_HEADS_SHOWN = 3
_ABLATED = re.compile(r"(\d{1,4})(?:\.(\d{1,4}))?")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How it is shown. page: a file for all views; layer: whose maps are printed with `json`; ablate: "3.2" or "3"."""

    page: Path | None = None
    json: bool = False
    layer: int | None = None
    ablate: Sequence[str] = ()


def show_inside(name: str, text: str, wanted: Wanted, place: Place) -> None:
    """Look into one pass of a model over a text; a translator translates it first.

    Raises FormatError for a folder without a tokenizer, UsageError for layers and heads that are not there.
    """
    if wanted.layer is not None and not wanted.json:
        raise UsageError("--layer gives a layer's attention with --json; the page of -o has all layers")
    from headway.insight.inspection import inspect
    from headway.insight.look_html import look_html
    from headway.storage import replace_file

    model, tokenizer, ids, source = _opened(name, text, place)
    found = inspect(model, tokenizer, ids, _request(model, wanted, _length(tokenizer, ids, source)), source=source)
    if wanted.page is not None:
        page = look_html(found, title=f"What {name} sees")
        replace_file(wanted.page, lambda partial: _write(partial, page))
    if wanted.json:
        print_json({"model": name, **found})
    elif wanted.page is not None:
        note(f"written: {wanted.page}")
    else:
        _print(found)


def _opened(name: str, text: str, place: Place) -> "tuple[Any, Any, Sequence[int] | str, SourceText | None]":
    """The model in PyTorch, its tokenizer, what it is given, and a translator's source."""
    from headway.formats.bundled import locate
    from headway.formats.folder import family_of_folder, load
    from headway.insight.inspection import SourceText
    from headway.models.registry import FAMILIES
    from headway.tasks.placement import choose_device

    dtype = place.dtype or "float32"
    if FAMILIES[family_of_folder(locate(name))].reads_source:
        from headway.tasks.translator import Translator

        translator = Translator(name, device=place.device, engine="torch", dtype=dtype)
        sides, text = translator.sides, " ".join(text.split())
        translation = translator.translate(text)
        if translation.windowed:
            raise DataError("the text is too long to be read at once\nGive one sentence at a time.")
        source = SourceText(
            ids=[*sides.source.encode(text), sides.source_end], tokenizer=sides.source, start=sides.start
        )
        return sides.traced, sides.target, sides.target.encode(translation.text), source
    model, tokenizer = load(name, device=choose_device(place.device), dtype=dtype)
    if tokenizer is None:
        raise FormatError(f"{name} has no tokenizer that headway reads, so no text can be given to it")
    return model, tokenizer, text, None


def _length(tokenizer: Any, ids: Sequence[int] | str, source: "SourceText | None") -> int:
    length = len(tokenizer.encode(ids)) if isinstance(ids, str) else len(ids)
    return max(length + 2, 0 if source is None else len(source.ids))


def _request(model: Any, wanted: Wanted, length: int) -> "InspectionRequest":
    """What is asked for. The page has the whole maps of all layers, unless a long text would make it huge."""
    from headway.insight.anatomy import anatomy_of
    from headway.insight.inspection import InspectionRequest

    anatomy = anatomy_of(model)
    layers: tuple[int, ...] = () if wanted.layer is None else (wanted.layer,)
    if wanted.page is not None:
        every = sorted({*anatomy.attends, *anatomy.encoder_attends, *anatomy.cross_attends})
        kinds = 3 if anatomy.reads_source else 1
        if kinds * len(every) * max(1, anatomy.n_heads) * length * length <= _MOST_CELLS:
            layers = tuple({*every, *layers})
        else:
            note("the text is long: the page has small maps of all heads, and no whole ones")
    return InspectionRequest(
        attention=layers,
        thumbnails=0 if wanted.page is None else _THUMBNAIL,
        logit_lens=0 if wanted.page is None else 3,
        contributions=wanted.page is not None,
        heads=True,
        ablate=_ablated(wanted.ablate),
        encoding="json" if wanted.json else "u16",
    )


def _ablated(words: Sequence[str]) -> frozenset[tuple[int, int]]:
    found = set()
    for word in words:
        match = _ABLATED.fullmatch(word)
        if match is None:
            raise UsageError(
                f"--ablate takes layer.head, for instance 3.2, or a layer for all its heads, but got {word!r}"
            )
        found.add((int(match[1]), -1 if match[2] is None else int(match[2])))
    return frozenset(found)


def _print(found: dict[str, Any]) -> None:
    if found["surprise"] is not None:
        rows = [["token", "bits"]]
        for token, bits in zip(found["tokens"], found["surprise"], strict=True):
            rows.append([_quoted(token["text"]), "" if bits is None else f"{bits:.1f}"])
        print_rows(rows)
        _print_guesses("next", found["next"])
    for mask in found["masks"] or ():
        _print_guesses(f"mask at token {mask['position']}", mask["top"])
    if found.get("heads"):
        _print_heads(found["heads"])
    for what, why in found["notes"].items():
        if what != "contributions":
            print(f"{what}: {why}")


def _print_guesses(title: str, guesses: Sequence[dict[str, Any]]) -> None:
    said = "  ".join(f"{_quoted(one['text'])} {100 * one['probability']:.1f} %" for one in guesses[:5])
    print(f"\n{title}: {said}")


def _print_heads(heads: dict[str, Any]) -> None:
    """The strongest heads of each kind."""
    rows = [["heads", "layer.head and mean attention"]]
    for kind, title in _KINDS.items():
        scored = [
            (score, f"{layer}.{head}")
            for layer, scores in enumerate(heads[kind])
            for head, score in enumerate(scores or ())
        ]
        best = sorted(scored, key=lambda one: -one[0])[:_HEADS_SHOWN]
        rows.append([title, "  ".join(f"{where} {100 * score:.0f} %" for score, where in best)])
    print()
    print_rows(rows)
    if heads["repeat_measured_on"] == "random":
        print("(repeats: on random tokens said twice, since the text hardly repeats any)")


def _quoted(text: str) -> str:
    """A token's text in quotes; what a terminal would take for a command is shown as an escape."""
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
    return f'"{shown}"'


def _write(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
