"""Room for what answers hold while they are made: tokens, and the alternatives named beside each."""

import threading

from headway.errors import UsageError
from headway.serve.jobs import Refused

MOST_OF_ONE = 500_000
MOST_OF_ALL = 4_000_000


class AnswerRoom:
    """Bounds the entries, tokens and alternatives together, that all requests may come to hold; some 100 bytes each.

    A request for many long texts with hundreds of alternatives a token would otherwise fill the memory by itself.
    """

    def __init__(self, *, of_one: int = MOST_OF_ONE, of_all: int = MOST_OF_ALL) -> None:
        self._of_one, self._of_all = of_one, of_all
        self._lock = threading.Lock()
        self._taken = 0

    @property
    def taken(self) -> int:
        """How many are set aside now."""
        with self._lock:
            return self._taken

    def take(self, entries: int) -> None:
        """Set so many aside; give them back with `give`. Raises UsageError for too many, Refused for too many now."""
        if entries > self._of_one:
            raise UsageError(
                f"max_tokens, n, the prompts and logprobs together ask for up to {entries:,} entries, "
                f"and one request may have {self._of_one:,}\nAsk for less of one of them."
            )
        with self._lock:
            if self._taken + entries > self._of_all:
                raise Refused("too many large answers are being made\nTry again in a moment.", 5.0)
            self._taken += entries

    def give(self, entries: int) -> None:
        """They are free again."""
        with self._lock:
            self._taken -= entries
