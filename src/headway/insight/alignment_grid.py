"""What is drawn of an alignment: target rows, source columns, and their attention; and text made safe to show."""

import unicodedata
from dataclasses import dataclass

from headway.tasks.alignment import Alignment

_CONTROL_PICTURES = 0x2400  # U+2400 on are visible signs for the control characters 0..31
_UNSEEN = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufffe\uffff")


@dataclass(frozen=True, kw_only=True)
class AlignmentGrid:
    """Labels and weights: rows are target words, columns source words, weights (rows, columns) in 0..1."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]
    source: str
    target: str

    def strongest(self, row: int) -> int | None:
        """The column a row reads most, the first on ties; None without columns."""
        weights = self.weights[row]
        return max(range(len(weights)), key=lambda at: weights[at], default=None)


def grid_of(alignment: Alignment, *, tokens: bool = False) -> AlignmentGrid:
    """The grid of an alignment's words, or of its tokens, with labels that are safe to show."""
    rows, columns, weights = alignment.target_words, alignment.source_words, alignment.word_weights
    if tokens:
        rows, columns, weights = alignment.target_tokens, alignment.source_tokens, alignment.weights
    return AlignmentGrid(
        rows=tuple(_label(row) for row in rows),
        columns=tuple(_label(column) for column in columns),
        weights=tuple(tuple(min(1.0, max(0.0, weight)) for weight in row) for row in weights),
        source=shown(alignment.source_text),
        target=shown(alignment.target_text),
    )


def shown(text: str) -> str:
    """The text with visible signs for control characters, and none that could turn the text around it.

    A terminal obeys control characters, XML cannot hold them, and marks of direction reach past their own words.
    """
    return "".join(map(_visible, text))


def cells_of(text: str) -> int:
    """How many cells a terminal needs for the text: two for a wide character, none for a combining one."""
    from rich.cells import cell_len

    return cell_len(text)


def shortened(text: str, cells: int) -> str:
    """The text, its end replaced by an ellipsis where it needs more cells than that."""
    if cells_of(text) <= cells:
        return text
    kept = ""
    for character in text:
        if cells_of(kept + character) > cells - 1:
            break
        kept += character
    return f"{kept}\u2026"


def _label(word: str) -> str:
    return shown(word).replace(" ", "\u2423") or "\u2205"  # an open box for a blank in a token, a sign for an empty one


def _visible(character: str) -> str:
    code = ord(character)
    if code < 32:
        return chr(_CONTROL_PICTURES + code)
    if code == 127:
        return "\u2421"
    if character in _UNSEEN or unicodedata.category(character) in ("Cc", "Cs", "Cn", "Zl", "Zp"):
        return "\ufffd"
    return character
