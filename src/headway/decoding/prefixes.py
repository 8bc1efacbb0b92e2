"""States of texts that were read before, so that a prompt that begins like one of them is read from there on.

A state cannot be cut at any length (a model promises to take back its latest step alone), so states are kept at the
lengths that come by: whole pages of a prompt being read, and where a row ended.
"""

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headway.decoding.row import Reading, Row
from headway.errors import ConfigError

PAGE = 16
"""Tokens; states of prompts are kept at multiples of it, which the compiled engine shares without copying."""
STRIDE = 64
"""Inside a prompt, states are kept at the last multiple of it that a step brought."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """A state of one row and the length of its text."""

    length: int
    state: Any


class Prefixes:
    """At most so many tokens of states, the least recently used let go first.

    Every state counts with its whole length, also where it shares memory with another, so the bound holds whatever
    the model shares. For one model and one thread.
    """

    def __init__(self, *, tokens: int) -> None:
        """Raises ConfigError for a negative number of tokens."""
        if tokens < 0:
            raise ConfigError(f"a prefix cache holds at least 0 tokens, but got {tokens}")
        self.limit = tokens
        self.tokens = 0  # held now
        self.hits = 0
        self.tokens_saved = 0
        self._held: OrderedDict[bytes, Held] = OrderedDict()  # the least recently used first

    def __len__(self) -> int:
        return len(self._held)

    def longest(self, ids: Sequence[int]) -> Held | None:
        """The longest held text that the ids begin with and go on from, or None. Copy its state before a step."""
        text = _bytes(ids)
        best: bytes | None = None
        for held in self._held:
            if len(held) < len(text) and (best is None or len(held) > len(best)) and text.startswith(held):
                best = held
        if best is None:
            return None
        self._held.move_to_end(best)
        self.hits += 1
        self.tokens_saved += self._held[best].length
        return self._held[best]

    def wants(self, ids: Sequence[int]) -> bool:
        """Whether `add` would keep a state of these ids: it is long enough, fits, and is not held; if so it is used."""
        key = _bytes(ids)
        if key in self._held:
            self._held.move_to_end(key)
            return False
        return PAGE <= len(ids) <= self.limit

    def add(self, ids: Sequence[int], state: Any) -> None:
        """Keep a state of one row that holds exactly these ids; it is the cache's own from here on."""
        key = _bytes(ids)
        if not self.wants(ids):
            return
        self._held[key] = Held(length=len(ids), state=state)
        self.tokens += len(ids)
        while self.tokens > self.limit:
            _, gone = self._held.popitem(last=False)
            self.tokens -= gone.length

    def remember_read(self, readings: Sequence[Reading], state: Any) -> None:
        """Keep the states of prompts that the latest step brought to a length worth keeping."""
        wanted = []
        for at, reading in enumerate(readings):
            end = worth_keeping(reading.fed, len(reading.ids))
            new = end > reading.fed - reading.latest and reading.rows[0].source is None
            if new and self.wants(reading.ids[:end]):
                wanted.append((at, end))
        for (at, end), single in zip(wanted, _singles(state, [at for at, _ in wanted]), strict=True):
            reading = readings[at]
            self.add(reading.ids[:end], single.rewind([reading.fed - end]).copy())

    def remember_written(self, rows: Sequence[Row], state: Any) -> None:
        """Keep the states of rows that have just ended, for a prompt that goes on from their text."""
        ended = [
            at
            for at, row in enumerate(rows)
            if row.reason is not None and row.source is None and self.wants(row.in_state)
        ]
        for at, single in zip(ended, _singles(state, ended), strict=True):
            self.add(rows[at].in_state, single.copy())

    def clear(self) -> None:
        self._held.clear()
        self.tokens = 0


def worth_keeping(fed: int, length: int) -> int:
    """The length at which the state of a prompt of `length` tokens is kept when `fed` of them are read; 0: none.

    At its end, the last page from which the same prompt can be gone on with: a step must have one token at least.
    """
    return (length - 1) // PAGE * PAGE if fed == length else fed // STRIDE * STRIDE


def _singles(state: Any, rows: Sequence[int]) -> list[Any]:
    """Each of these rows of a state as a state of its own; the given one stays usable."""
    return _apart(state.copy().select(rows), len(rows)) if rows else []


def _apart(state: Any, count: int) -> list[Any]:
    if count == 1:
        return [state]
    half = count // 2  # halves, because a copy may take all rows' memory
    first = state.copy().select(range(half))
    return _apart(first, half) + _apart(state.select(range(half, count)), count - half)


def _bytes(ids: Sequence[int]) -> bytes:
    return array("q", ids).tobytes()  # a prefix of the ids is a prefix of the bytes, and comparing those is cheap
