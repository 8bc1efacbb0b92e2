"""`headway look --spectrum`: how a model's layers treat a signal, as tables, a page, a picture or one object."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.cli.output import note, print_json
from headway.cli.translate import Place
from headway.errors import FormatError, UsageError

if TYPE_CHECKING:
    from headway.insight.spectrum_model import ModelSpectrum

_WINDOW = 64
_MOST_TOKENS = 8192


def show_spectrum(name: str, text: str | None, *, place: Place, pages: dict[str, Path | None], json: bool) -> None:
    """Measure a model and print it; text None: what the weights alone say. pages: "svg" and "html", files or None.

    At most the first 8,192 tokens of a text are read, in windows of 64. Raises FormatError for a folder without a
    tokenizer, UsageError for a picture of nothing.
    """
    from headway.formats.bundled import locate
    from headway.formats.folder import family_of_folder, load
    from headway.insight.spectrum_model import spectrum_of
    from headway.insight.spectrum_tables import spectrum_html, spectrum_text
    from headway.storage import replace_file
    from headway.tasks.placement import choose_device

    model, tokenizer = load(name, device=choose_device(place.device), dtype=place.dtype or "float32")
    family = family_of_folder(locate(name))
    windows = None
    if text is not None:
        if tokenizer is None:
            raise FormatError(f"{name} has no tokenizer that headway reads, so no text can be given to it")
        windows = _windows(model, tokenizer, text)
    found = spectrum_of(model, family, windows)
    title = f"What {name} does with a signal"
    figures = _figures(found)
    if pages["svg"] is not None:
        if not figures:
            raise UsageError("there is no curve to draw: give a text of some thousand tokens\nor use --html or --json")
        picture = figures[0]
        replace_file(pages["svg"], lambda partial: _write(partial, picture))
    if pages["html"] is not None:
        page = spectrum_html(found, title=title, figures=figures)
        replace_file(pages["html"], lambda partial: _write(partial, page))
    if json:
        print_json({"model": name, **asdict(found)})
    elif any(pages.values()):
        note("".join(f"written: {path}\n" for path in pages.values() if path is not None).rstrip())
    else:
        print(f"{title}\n\n{spectrum_text(found)}")


def _windows(model: Any, tokenizer: Any, text: str) -> Any:
    """The text's first tokens as rows of equal length, laid out as the model knows them."""
    from headway.insight.spectrum_model import cut_windows

    begin = getattr(tokenizer, "begin_of_text", None)
    end = tokenizer.end_of_text if begin is not None else None
    context = getattr(model, "context", None)
    window = _WINDOW if context is None else min(_WINDOW, context)
    return cut_windows(tokenizer.encode(text)[:_MOST_TOKENS], window, begin=begin, end=end)


def _figures(found: "ModelSpectrum") -> Sequence[str]:
    """Curves of what is read back by layer, and of the positions' spectrum."""
    from headway.evaluation.plot import Curve, Labels, Point, draw_curves

    drawn = []
    if found.readings:
        curves = []
        for where in dict.fromkeys(one.where for one in found.readings if one.layer is not None):
            points = [
                Point(float(one.layer or 0), one.identity * 100, one.identity * 100, one.identity * 100, found.tokens)
                for one in found.readings
                if one.where == where
            ]
            curves.append(Curve(name=where, points=points))
        labels = Labels(title="Frequent tokens read back by a linear probe", x="layer", y="percent", counted="tokens")
        drawn.append(draw_curves(curves, labels))
    if found.positions is not None:
        cumulated, total = [], 0.0
        for number, share in enumerate(found.positions.shares, start=1):
            total += 100 * share
            cumulated.append(Point(number / found.positions.positions, total, total, total, found.positions.positions))
        kept = cumulated[:: max(1, len(cumulated) // 64)]
        labels = Labels(
            title="Power of the learned positions up to a frequency",
            x="frequency, turns per token",
            y="percent",
            counted="positions",
        )
        drawn.append(draw_curves([Curve(name="positions", points=kept)], labels))
    return drawn


def _write(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
