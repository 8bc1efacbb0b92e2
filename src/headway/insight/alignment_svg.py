"""An alignment as an SVG picture: a field of shades, source words above, target words at the left."""

from html import escape

from headway.insight.alignment_grid import AlignmentGrid, cells_of, shortened, shown

_CELL = 24  # pixels
_FONT = 14
_CHARACTER = 9.2  # pixels a terminal cell of text needs at most, at that size
_LONGEST_LABEL = 28
_LEAST = 0.005  # a weight under it is not drawn

# Colours stand as attributes, which every program that draws SVG obeys; dark pages get others where styles work.
_PAPER, _TEXT, _INK, _LINE = "#ffffff", "#1b1f24", "#0b5cad", "#d5dae1"
_FAMILIES = "system-ui, 'Segoe UI', 'Noto Sans', 'Noto Sans CJK SC', 'Noto Sans Arabic', sans-serif"
_STYLE = """@media (prefers-color-scheme: dark) {
  .alignment .paper { fill: #14171b; } .alignment .labels { fill: #e8eaed; }
  .alignment .cells { fill: #6db3f8; } .alignment .lines { stroke: #363c44; }
}"""


def alignment_svg(grid: AlignmentGrid, *, title: str = "Alignment") -> str:
    """The picture as a document of its own, also for inside a page. It names and describes itself, and runs nothing.

    Each cell says its words and its weight to a pointer that rests on it.
    """
    title = shown(title)
    rows = [shortened(row, _LONGEST_LABEL) for row in grid.rows]
    columns = [shortened(column, _LONGEST_LABEL) for column in grid.columns]
    left = 16 + _pixels(rows)
    top = 16 + 0.9 * _pixels(columns)
    slant = 0.55 * _CHARACTER * cells_of(columns[-1]) if columns else 0.0  # words lean out at the right
    width = left + _CELL * len(columns) + 16 + max(8.0, slant)
    height = top + _CELL * len(rows) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="alignment" role="img" aria-label="{escape(title)}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'font-family="{_FAMILIES}" font-size="{_FONT}">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(description(grid))}</desc>",
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" fill="{_PAPER}" width="{width:.0f}" height="{height:.0f}"/>',
        f'<g class="lines" stroke="{_LINE}" fill="none">',
        *_lines(len(rows), len(columns), left, top),
        "</g>",
        f'<g class="labels" fill="{_TEXT}">',
        *_labels(rows, columns, left, top),
        "</g>",
        f'<g class="cells" fill="{_INK}">',
        *_cells(grid, left, top),
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def description(grid: AlignmentGrid) -> str:
    """The picture in words: what each target word reads most."""
    if not grid.rows:
        return "There are no target words."
    read = []
    for row, word in enumerate(grid.rows):
        best = grid.strongest(row)
        if best is not None:
            read.append(f"{word} reads {grid.columns[best]} most ({grid.weights[row][best]:.0%})")
    return f"Rows are target words, columns source words; the darker, the more is read. {'; '.join(read)}."


def _pixels(labels: list[str]) -> float:
    return _CHARACTER * max(map(cells_of, labels), default=0)


def _lines(n_rows: int, n_columns: int, left: float, top: float) -> list[str]:
    """The borders of all rows and columns."""
    right, bottom = left + _CELL * n_columns, top + _CELL * n_rows
    across = (f"M{left:.1f} {top + _CELL * at:.1f}H{right:.1f}" for at in range(n_rows + 1))
    down = (f"M{left + _CELL * at:.1f} {top:.1f}V{bottom:.1f}" for at in range(n_columns + 1))
    return [f'<path d="{"".join(across)}{"".join(down)}"/>']


def _labels(rows: list[str], columns: list[str], left: float, top: float) -> list[str]:
    shown = []
    for at, row in enumerate(rows):
        y = top + _CELL * (at + 0.5) + _FONT * 0.35
        shown.append(f'<text x="{left - 8:.1f}" y="{y:.1f}" text-anchor="end">{_bidirectional(row)}</text>')
    for at, column in enumerate(columns):
        x = left + _CELL * (at + 0.5) + _FONT * 0.2
        shown.append(
            f'<text x="{x:.1f}" y="{top - 8:.1f}" transform="rotate(-60 {x:.1f} {top - 8:.1f})">'
            f"{_bidirectional(column)}</text>"
        )
    return shown


def _cells(grid: AlignmentGrid, left: float, top: float) -> list[str]:
    cells = []
    for row, weights in enumerate(grid.weights):
        for column, weight in enumerate(weights):
            if weight >= _LEAST:
                words = escape(f"{grid.rows[row]} \u2190 {grid.columns[column]}: {weight:.0%}")
                x, y = left + _CELL * column + 1, top + _CELL * row + 1
                cells.append(
                    f'<rect x="{x:.1f}" y="{y:.1f}" width="{_CELL - 2}" height="{_CELL - 2}" '
                    f'fill-opacity="{weight:.3f}"><title>{words}</title></rect>'
                )
    return cells


def _bidirectional(label: str) -> str:
    """The label apart from the direction of its surroundings, so that a mark at its end stays at its end."""
    return f'<tspan unicode-bidi="isolate">{escape(label)}</tspan>'
