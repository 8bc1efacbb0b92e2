"""Ids into text one at a time, for what is shown while it is written."""

import codecs
from collections.abc import Callable, Sequence


class StreamDecoder:
    """Feed ids, get text; never half a character.

    What `push` and `flush` gave out, joined, equals `decode` of all ids, invalid bytes (U+FFFD) included.
    """

    def __init__(self, decode_bytes: Callable[[Sequence[int]], bytes]) -> None:
        self._decode_bytes = decode_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, id: int) -> str:
        """The text this id completes; "" while a character is still open. Raises UsageError for an unknown id."""
        return self._decoder.decode(self._decode_bytes((id,)))

    def flush(self) -> str:
        """What is left: U+FFFD for a character that never ended, else "". The decoder can then be used anew."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest
