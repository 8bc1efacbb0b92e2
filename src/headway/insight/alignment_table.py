"""An alignment as a table of shades for a terminal."""

from headway.insight.alignment_grid import AlignmentGrid, cells_of, shortened

SHADES = " \u2591\u2592\u2593\u2588"
PLAIN_SHADES = " .:*#"
_LONGEST_LABEL = 24
_LEAST = 0.05
_COLUMN = 2  # cells; a wide character fits


def alignment_table(grid: AlignmentGrid, *, width: int = 100, shades: str = SHADES) -> str:
    """Rows of shades, one a target word, under source words written downwards; in blocks where they are too wide.

    Behind each row of the last block stand the word it reads most and how much. width: cells of a line. shades: the
    first for less than 5 %, the others for equal parts of 0..1. Lines have no blanks at their end.
    """
    labels = [shortened(row, _LONGEST_LABEL) for row in grid.rows]
    margin = max(map(cells_of, labels), default=0)
    notes = [_note(grid, row) for row in range(len(grid.rows))]
    tail = max(map(cells_of, notes), default=0)
    n_columns = len(grid.columns)
    fitting = max(1, (width - margin - 2) // _COLUMN)
    blocks = [range(first, min(first + fitting, n_columns)) for first in range(0, n_columns, fitting)]
    notes_apart = bool(blocks) and margin + 4 + len(blocks[-1]) * _COLUMN + tail > width
    lines: list[str] = []
    for number, block in enumerate(blocks):
        if number:
            lines.append("")
        lines += _header([grid.columns[at] for at in block], margin + 2)
        ends = notes if number == len(blocks) - 1 and not notes_apart else [""] * len(notes)
        for row, label in enumerate(labels):
            cells = "".join(_shade(grid.weights[row][at], shades) * _COLUMN for at in block)
            lines.append(f"{' ' * (margin - cells_of(label))}{label}  {cells}  {ends[row]}".rstrip())
    if notes_apart:
        lines.append("")
        lines += [
            f"{' ' * (margin - cells_of(label))}{label}  {note}" for label, note in zip(labels, notes, strict=True)
        ]
    return "\n".join(lines)


def _header(columns: list[str], margin: int) -> list[str]:
    """The words downwards, their last characters on the same line."""
    words = [_clusters(shortened(column, _LONGEST_LABEL)) for column in columns]
    height = max(map(len, words), default=0)
    lines = []
    for at in range(height):
        line = " " * margin
        for word in words:
            sign = word[at - height + len(word)] if at >= height - len(word) else ""
            line += sign + " " * max(0, _COLUMN - cells_of(sign))
        lines.append(line.rstrip())
    return lines


def _clusters(word: str) -> list[str]:
    """The characters of a word, each with what combines with it."""
    clusters: list[str] = []
    for character in word:
        if clusters and (cells_of(character) == 0 or clusters[-1].endswith("\u200d")):
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


def _shade(weight: float, shades: str) -> str:
    if weight < _LEAST:
        return shades[0]
    return shades[1 + min(len(shades) - 2, int(weight * (len(shades) - 1)))]


def _note(grid: AlignmentGrid, row: int) -> str:
    best = grid.strongest(row)
    if best is None:
        return ""
    return f"{shortened(grid.columns[best], _LONGEST_LABEL)} {grid.weights[row][best]:.0%}"
