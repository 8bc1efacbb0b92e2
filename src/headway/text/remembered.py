"""Encoding text chunk by chunk with a memory of chunks met before: most text is made of few of them."""

from collections.abc import Callable, Iterable, Sequence

_MOST_CHUNKS, _LONGEST_CHUNK = 300_000, 40  # what is remembered: some 60 MB at most


class RememberedChunks:
    """The ids of chunks, for tokenizers of which no token crosses the border of one."""

    def __init__(self, encode: Callable[[str], Sequence[int]]) -> None:
        self._encode = encode
        self._known: dict[str, tuple[int, ...]] = {}

    def ids(self, chunks: Iterable[str]) -> list[int]:
        """The ids of the chunks, one after another."""
        known = self._known
        ids: list[int] = []
        for chunk in chunks:
            found = known.get(chunk)
            ids += self.one(chunk) if found is None else found
        return ids

    def one(self, chunk: str) -> tuple[int, ...]:
        """The ids of one chunk."""
        found = self._known.get(chunk)
        if found is None:
            found = tuple(self._encode(chunk))
            if len(chunk) <= _LONGEST_CHUNK and len(self._known) < _MOST_CHUNKS:
                self._known[chunk] = found
        return found
