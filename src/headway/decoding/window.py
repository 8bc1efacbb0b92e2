"""Past the context: which of a row's tokens the model sees (the row's length alone decides, never its neighbours).

A prompt longer than the context is cut to its last `context` tokens. A row that is full when its next token has to be
fed starts anew from its last `context // 2` tokens, that one included, at positions counted from 0.
"""

from collections.abc import Sequence


def fitting(ids: Sequence[int], context: int | None) -> Sequence[int]:
    """The last of the prompt's ids that fit; all where the context is unlimited."""
    return ids if context is None else ids[-context:]


def is_full(held: int, context: int | None) -> bool:
    """True where a row that holds so many tokens has no room for another."""
    return context is not None and held >= context


def restart(ids: Sequence[int], context: int) -> Sequence[int]:
    """The ids a full row starts anew from: half a context, at least one."""
    return ids[-max(1, context // 2) :]
