"""Windows over what is longer than a model: overlapping ones for contexts, ones at word boundaries for tagging."""

from collections.abc import Sequence

from headway.errors import ConfigError


def windows(length: int, room: int, overlap: int) -> list[tuple[int, int]]:
    """[begin, end) of the windows over `length` tokens, each of at most `room`, `overlap` shared with the one before.

    The last one reaches the end and is as full as the others, so that no window is a mere rest. At least one window.
    Raises ConfigError where the windows would not move on.
    """
    if room < 1 or not 0 <= overlap < room:
        raise ConfigError(
            f"windows of {room} tokens cannot have {overlap} in common\n"
            "Set data.stride to less than what a window has room for beside the question."
        )
    if length <= room:
        return [(0, length)]
    begins = list(range(0, length - room, room - overlap))
    return [(begin, begin + room) for begin in begins] + [(length - room, length)]


def word_windows(lengths: Sequence[int], room: int) -> list[tuple[int, int]]:
    """[begin, end) in words of windows whose words have at most `room` tokens together; `lengths`: tokens a word.

    A word longer than `room` has a window to itself, and is cut by whoever lays it out.
    """
    if room < 1:
        raise ConfigError(f"a window must have room for a token, but has {room}")
    found, begin, held = [], 0, 0
    for place, length in enumerate(lengths):
        if place > begin and held + length > room:
            found.append((begin, place))
            begin, held = place, 0
        held += length
    return [*found, (begin, len(lengths))]
