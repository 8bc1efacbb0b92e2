"""Curves with shaded bands as one SVG: no library, no script, nothing fetched; readable in a light and a dark page.

Every number drawn is also there as text: in the description for screen readers and where the pointer rests. Colours
follow Okabe and Ito (2008), told apart by the colour blind; each curve has its own marker too.
"""

import hashlib
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from headway.errors import UsageError


class Point(NamedTuple):
    """A value `mid` at x with its band low..high, from n sentences (or whatever is counted)."""

    x: float
    low: float
    mid: float
    high: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One system's points, left to right."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The words of a plot. caption: what the bands are and how much was measured, below it; counted: what n counts."""

    title: str
    x: str
    y: str
    caption: str = ""
    counted: str = "sentences"


LIGHT = ("#0072b2", "#b84f00", "#00795a", "#a84c86", "#8a5f00", "#5b5b5b")
DARK = ("#56b4e9", "#ff8c42", "#2ec79a", "#e29ac2", "#e6b422", "#c9c9c9")
"""A colour for each curve in turn, on a light and on a dark ground; all at least 4.5:1 against it, as text must be."""

GROUNDS = ("#ffffff", "#16181d")
INKS = ("#1b1e24", "#e8eaee")
FAINT = ("#5f6672", "#a3abb8")
GRID = ("#e3e6ea", "#2e333c")

WIDTH, TOP, LEFT, BOTTOM = 760, 64, 64, 62
PLOT_HEIGHT, STRIP_HEIGHT, STRIP_GAP = 300, 30, 8
LINE, SMALL = 16, 7.0  # height of a line of text, and width of a narrow letter, in px at 13 px
LONGEST_NAME, LONGEST_TITLE = 28, 72  # columns


def draw_curves(curves: Sequence[Curve], labels: Labels, *, from_zero: bool = True) -> str:
    """The SVG of some curves, in the order given; points with a value that is not finite are left out.

    from_zero: the vertical axis begins at 0, where no value is below. Where all curves have the same x and n, a strip
    below shows n. Raises UsageError where there is nothing to draw.
    """
    curves = [Curve(name=curve.name, points=_finite(curve.points)) for curve in curves]
    drawn = [curve for curve in curves if curve.points]
    if not drawn:
        raise UsageError("there is no point to draw\nGive at least one curve with a finite value.")
    names = [_clipped(curve.name, LONGEST_NAME) for curve in curves]
    right = 28 + SMALL * max(_columns(name) for name in [*names, _clipped(labels.counted, LONGEST_NAME)])
    frame = _Frame.around(drawn, right=right, from_zero=from_zero)
    counts = _shared_counts(drawn)
    caption = _lines(labels.caption, int((WIDTH - 2 * 24) / (SMALL * 0.9)))
    axis_bottom = frame.bottom + (STRIP_GAP + STRIP_HEIGHT if counts else 0)
    height = axis_bottom + BOTTOM + LINE * len(caption)
    described = _description(curves, labels)
    key = hashlib.sha256(described.encode("utf-8", "replace")).hexdigest()[:10]  # ids must differ on a shared page
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="headway-plot" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'width="{WIDTH}" height="{height}" aria-labelledby="title-{key} description-{key}">',
        f'<title id="title-{key}">{xml_text(labels.title)}</title>',
        f'<desc id="description-{key}">{xml_text(described)}</desc>',
        f"<style>{_style()}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height}" rx="6"/>',
        f'<text class="heading" x="24" y="32">{xml_text(_clipped(labels.title, LONGEST_TITLE))}</text>',
        *_axes(frame, labels, axis_bottom),
        *(_strip(counts, frame, labels.counted) if counts else []),
    ]
    ends = _label_places([frame.y(curve.points[-1].mid) if curve.points else None for curve in curves], frame)
    for number, curve in enumerate(curves):
        if curve.points:
            parts += _curve(number, curve, frame, labels, end=(names[number], ends[number]))
    for place, line in enumerate(caption):
        y = axis_bottom + BOTTOM - 4 + LINE * place
        parts.append(f'<text class="small" x="24" y="{y}">{xml_text(line)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def xml_text(text: str) -> str:
    """Text as XML may hold it: markup escaped, and what XML forbids (control characters, halves of pairs) U+FFFD."""
    return escape("".join(letter if _allowed(letter) else "\ufffd" for letter in text))


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """Where values lie on the page, in px."""

    right: float
    x_range: tuple[float, float]
    y_ticks: tuple[float, ...]
    x_ticks: tuple[float, ...]
    bottom: int = TOP + PLOT_HEIGHT

    @classmethod
    def around(cls, curves: Sequence[Curve], *, right: float, from_zero: bool) -> "_Frame":
        points = [point for curve in curves for point in curve.points]
        lowest, highest = min(point.low for point in points), max(point.high for point in points)
        if from_zero and lowest >= 0:
            lowest = 0.0
        left, last = min(point.x for point in points), max(point.x for point in points)
        margin = (last - left) * 0.03 or 1.0
        x_range = (max(0.0, left - margin) if left >= 0 else left - margin, last + margin)
        x_ticks = tuple(tick for tick in _ticks(*x_range) if x_range[0] <= tick <= x_range[1])
        return cls(right=WIDTH - right, x_range=x_range, y_ticks=_ticks(lowest, highest), x_ticks=x_ticks)

    def x(self, value: float) -> float:
        low, high = self.x_range
        return LEFT + (value - low) / (high - low) * (self.right - LEFT)

    def y(self, value: float) -> float:
        low, high = self.y_ticks[0], self.y_ticks[-1]
        return self.bottom - (value - low) / (high - low) * PLOT_HEIGHT


def _curve(number: int, curve: Curve, frame: _Frame, labels: Labels, *, end: tuple[str, float]) -> list[str]:
    """Band, line, markers with their numbers, and the name at the line's end."""
    points, colour = curve.points, f"curve-{number % len(LIGHT)}"
    above = [f"{frame.x(point.x):.1f},{frame.y(point.high):.1f}" for point in points]
    below = [f"{frame.x(point.x):.1f},{frame.y(point.low):.1f}" for point in reversed(points)]
    middle = [f"{frame.x(point.x):.1f},{frame.y(point.mid):.1f}" for point in points]
    parts = [f'<g class="{colour}">']
    if len(points) > 1:
        parts.append(f'<polygon class="band" points="{" ".join(above + below)}"/>')
        parts.append(f'<polyline class="line" points="{" ".join(middle)}"/>')
    else:  # a band of one point has no area
        x, low, high = frame.x(points[0].x), frame.y(points[0].low), frame.y(points[0].high)
        parts.append(f'<path class="line" d="M{x:.1f} {low:.1f}V{high:.1f}"/>')
    for point in points:
        said = f"{curve.name}: {_said(point, labels)}"
        marker = _marker(number, frame.x(point.x), frame.y(point.mid))
        parts.append(f'<path class="marker" d="{marker}"><title>{xml_text(said)}</title></path>')
    name, y = end
    x = frame.x(points[-1].x)
    parts.append(
        f'<path class="leader" d="M{x + 7:.1f} {frame.y(points[-1].mid):.1f}L{frame.right + 10:.1f} {y - 4:.1f}"/>'
    )
    parts.append(
        f'<text class="name" x="{frame.right + 14:.1f}" y="{y:.1f}">'
        f"<title>{xml_text(curve.name)}</title>{xml_text(name)}</text>"
    )
    return [*parts, "</g>"]


def _axes(frame: _Frame, labels: Labels, axis_bottom: int) -> list[str]:
    parts = []
    for tick in frame.y_ticks:
        y = frame.y(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{frame.right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="small end" x="{LEFT - 8}" y="{y + 4:.1f}">{_number(tick)}</text>')
    for tick in frame.x_ticks:
        x = frame.x(tick)
        parts.append(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.bottom}" y2="{frame.bottom + 4}"/>')
        parts.append(f'<text class="small middle" x="{x:.1f}" y="{axis_bottom + 18}">{_number(tick)}</text>')
    middle = (LEFT + frame.right) / 2
    parts.append(f'<text class="axis middle" x="{middle:.1f}" y="{axis_bottom + 38}">{xml_text(labels.x)}</text>')
    parts.append(f'<text class="axis" x="24" y="{TOP - 12}">{xml_text(labels.y)}</text>')
    return parts


def _strip(counts: list[tuple[float, int]], frame: _Frame, counted: str) -> list[str]:
    """How many sentences stand behind each point, as bars below the plot."""
    most, top = max(n for _, n in counts), frame.bottom + STRIP_GAP
    places = [frame.x(x) for x, _ in counts]
    apart = min((right - left for left, right in zip(places, places[1:], strict=False)), default=40.0)
    wide = max(2.0, min(26.0, apart * 0.7))
    parts = ['<g class="counts">']
    for x, (_, n) in zip(places, counts, strict=True):
        tall = max(1.0, n / most * (STRIP_HEIGHT - 2))
        parts.append(
            f'<rect x="{x - wide / 2:.1f}" y="{top + STRIP_HEIGHT - tall:.1f}" width="{wide:.1f}" '
            f'height="{tall:.1f}"><title>{n:,} {xml_text(counted)}</title></rect>'
        )
    parts.append("</g>")
    parts.append(
        f'<text class="small" x="{frame.right + 14:.1f}" y="{top + STRIP_HEIGHT - 2}">'
        f"{xml_text(counted)}<title>up to {most:,}</title></text>"
    )
    return parts


def _marker(number: int, x: float, y: float) -> str:
    """A disc, square, diamond or triangle around a place, in turn."""
    size = 4.0
    kind = number % 4
    if kind == 0:
        return f"M{x - size:.1f} {y:.1f}a{size} {size} 0 1 0 {2 * size} 0a{size} {size} 0 1 0 {-2 * size} 0z"
    if kind == 1:
        return f"M{x - size:.1f} {y - size:.1f}h{2 * size}v{2 * size}h{-2 * size}z"
    if kind == 2:
        return f"M{x:.1f} {y - 5.5:.1f}l5.5 5.5l-5.5 5.5l-5.5 -5.5z"
    return f"M{x:.1f} {y - 5:.1f}l5 9h-10z"


def _label_places(wanted: Sequence[float | None], frame: _Frame) -> list[float]:
    """Where the names at the line ends stand: near the ends, at least a line apart, inside the plot where they fit."""
    order = sorted((y, number) for number, y in enumerate(wanted) if y is not None)
    places = [0.0] * len(wanted)
    taken = -math.inf
    for y, number in order:
        places[number] = taken = max(y + 4, taken + LINE)
    over = taken - (frame.bottom + 4)
    limit = math.inf
    for _, number in reversed(order):  # push back up what ran out of the bottom
        if over > 0:
            places[number] = min(places[number], limit, frame.bottom + 4)
            limit = places[number] - LINE
    return places


def _ticks(low: float, high: float) -> tuple[float, ...]:
    """About six round numbers from at most low to at least high."""
    if high - low < 1e-9 * max(1.0, abs(low), abs(high)):
        low, high = (0.0, 1.0) if low == high == 0 else (low - abs(low) * 0.1 - 1e-9, high + abs(high) * 0.1 + 1e-9)
    rough = (high - low) / 6
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * scale for factor in (1, 2, 5, 10) if factor * scale >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(step * number, 12) for number in range(first, last + 1))


def _shared_counts(curves: Sequence[Curve]) -> list[tuple[float, int]]:
    """The n at each x where all curves agree on them; nothing otherwise."""
    found = [[(point.x, point.n) for point in curve.points] for curve in curves]
    same = all(counts == found[0] for counts in found)
    return found[0] if same and max(n for _, n in found[0]) > 0 else []


def _description(curves: Sequence[Curve], labels: Labels) -> str:
    lines = [f"{labels.y} against {labels.x}."]
    for curve in curves:
        said = "; ".join(_said(point, labels) for point in curve.points) or "no point"
        lines.append(f"{curve.name}: {said}.")
    return "\n".join([*lines, labels.caption]).strip()


def _said(point: Point, labels: Labels) -> str:
    return (
        f"{labels.y} {point.mid:.2f} ({point.low:.2f} to {point.high:.2f}) at {_number(round(point.x, 2))}, "
        f"{point.n:,} {labels.counted}"
    )


def _style() -> str:
    """One style for both grounds; each rule is of this class alone, so that a page may hold several plots."""
    here = ".headway-plot"
    rules = [
        f"{here}{{font:13px system-ui,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;max-width:100%;height:auto}}",
        f"{here} .heading{{font-size:17px;font-weight:600}}{here} .small{{font-size:12px}}",
        f"{here} .middle{{text-anchor:middle}}{here} .end{{text-anchor:end}}{here} .name{{font-weight:600}}",
        f"{here} .line,{here} .leader{{fill:none;stroke-width:2.2;stroke-linejoin:round}}",
        f"{here} .leader{{stroke-width:1;opacity:.55}}{here} .band{{opacity:.18}}",
        f"{here} .grid,{here} .tick{{stroke-width:1}}",
        *_colours(0),
        "@media (prefers-color-scheme:dark){",
        *_colours(1),
        "}",
    ]
    return "\n".join(rules)


def _colours(ground: int) -> list[str]:
    here, palette = ".headway-plot", (LIGHT, DARK)[ground]
    rules = [
        f"{here} .ground{{fill:{GROUNDS[ground]}}}{here} text{{fill:{INKS[ground]}}}",
        f"{here} .small{{fill:{FAINT[ground]}}}{here} .counts rect{{fill:{FAINT[ground]};opacity:.45}}",
        f"{here} .grid{{stroke:{GRID[ground]}}}{here} .tick{{stroke:{FAINT[ground]}}}",
    ]
    for number, colour in enumerate(palette):
        of = f"{here} .curve-{number}"
        rules.append(f"{of} .line,{of} .leader{{stroke:{colour}}}{of} .band,{of} .marker,{of} .name{{fill:{colour}}}")
    return rules


def _finite(points: Sequence[Point]) -> list[Point]:
    found = [Point(*point) for point in points]
    return sorted(point for point in found if all(math.isfinite(value) for value in point))


def _clipped(text: str, columns: int) -> str:
    if _columns(text) <= columns:
        return text
    kept = ""
    for letter in text:
        if _columns(kept + letter) > columns - 3:
            break
        kept += letter
    return kept + "..."


def _lines(text: str, columns: int) -> list[str]:
    """The text broken at spaces into lines of at most so many columns; a word that is longer stands alone."""
    lines: list[str] = []
    for word in text.split():
        if lines and _columns(lines[-1]) + 1 + _columns(word) <= columns:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _number(value: float) -> str:
    return f"{value:,.10g}"


def _allowed(letter: str) -> bool:
    code = ord(letter)
    return code in (0x9, 0xA, 0xD) or 0x20 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or code > 0xFFFF
