"""How one or two texts become a row for a reader: the ids before, between and behind (Devlin et al. 2018, figure 2)."""

from collections.abc import Sequence

from headway.errors import ConfigError
from headway.text.tokenizer import Tokenizer


def lay_out(
    tokenizer: Tokenizer, first: Sequence[int], second: Sequence[int] | None = None
) -> tuple[list[int], list[int]]:
    """(ids, segments) of [begin] first end (second end), for a tokenizer's ids of one text or two.

    There is no begin where the tokenizer has none. Segments are 0 for the first text with its end, 1 for the second.
    Raises ConfigError for a tokenizer without an end of text.
    """
    begin, end = tokenizer.begin_of_text, tokenizer.end_of_text
    if end is None:
        raise ConfigError("the tokenizer has no token that ends a text, which a reader needs; take another tokenizer")
    ids = [*([] if begin is None else [begin]), *first, end]
    segments = [0] * len(ids)
    if second is not None:
        ids += [*second, end]
        segments += [1] * (len(second) + 1)
    return ids, segments


def added(tokenizer: Tokenizer, pair: bool) -> int:
    """How many ids `lay_out` adds to a text, or to two."""
    return (tokenizer.begin_of_text is not None) + 1 + pair


def room_for_two(room: int, first: int, second: int) -> tuple[int, int]:
    """How many ids of two texts are kept where both together have `room`: the longer one is cut first."""
    half = room // 2
    if first + second <= room:
        return first, second
    if first <= half:
        return first, room - first
    if second <= room - half:
        return room - second, second
    return half, room - half
