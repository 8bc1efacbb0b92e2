"""An alignment as one HTML page: the picture, and the same numbers as a table that a screen reader can walk through."""

from html import escape

from headway.insight.alignment_grid import AlignmentGrid, shown
from headway.insight.alignment_svg import alignment_svg

_STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --paper: #ffffff; --line: #d5dae1; --ink: 11, 92, 173; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e8eaed; --paper: #14171b; --line: #363c44; --ink: 109, 179, 248; } }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: var(--text); background: var(--paper);
  font: 1rem/1.5 system-ui, "Segoe UI", "Noto Sans", sans-serif; }
h1 { font-size: 1.4rem; }
dt { font-weight: 600; } dd { margin: 0 0 .6rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
caption { text-align: start; padding-bottom: .4rem; }
th, td { border: 1px solid var(--line); padding: .15rem .4rem; text-align: center; white-space: nowrap; }
th[scope=row] { text-align: end; }
td { font-variant-numeric: tabular-nums; background: rgba(var(--ink), calc(var(--weight) * .75)); }
"""


def alignment_html(grid: AlignmentGrid, *, title: str = "Alignment", note: str = "") -> str:
    """The whole page; it needs no script, no network and no other file. note: where the numbers are from."""
    title, note = shown(title), shown(note)
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            "</head>",
            "<body>",
            f"<h1>{escape(title)}</h1>",
            "<dl>",
            f'<dt>Source</dt><dd dir="auto">{escape(grid.source)}</dd>',
            f'<dt>Target</dt><dd dir="auto">{escape(grid.target)}</dd>',
            "</dl>",
            f"<p>{escape(note)}</p>" if note else "",
            f'<div class="wide">{alignment_svg(grid, title=title)}</div>',
            "<details>",
            "<summary>The same as a table</summary>",
            f'<div class="wide">{alignment_rows(grid)}</div>',
            "</details>",
            "</body>",
            "</html>",
            "",
        ]
    )


def alignment_rows(grid: AlignmentGrid) -> str:
    """The numbers as an HTML table, in percent, with a heading for each row and column."""
    heads = "".join(f'<th scope="col"><bdi>{escape(column)}</bdi></th>' for column in grid.columns)
    lines = [
        "<table>",
        "<caption>How much of each source word (columns) each target word (rows) read, in percent</caption>",
        f"<thead><tr><td></td>{heads}</tr></thead>",
        "<tbody>",
    ]
    for row, weights in zip(grid.rows, grid.weights, strict=True):
        cells = "".join(f'<td style="--weight: {weight:.3f}">{100 * weight:.0f}</td>' for weight in weights)
        lines.append(f'<tr><th scope="row"><bdi>{escape(row)}</bdi></th>{cells}</tr>')
    return "\n".join([*lines, "</tbody>", "</table>"])
