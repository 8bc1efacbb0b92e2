"""Speculation: tokens are proposed cheaply and verified together in one step of the model.

The rule: the model's own choice is made at each position from its own logits, as it would be without
proposals, and a proposed token stands where it equals that choice. Draws are a pure function of (seed, sample,
position), so the tokens are those of plain decoding, greedy or sampled, and their distribution is kept trivially.
(Leviathan et al. 2023 accept by a ratio of probabilities instead, which keeps the distribution but not the tokens.)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from headway.decoding.choice import Choice

LIMIT = 8
"""The most tokens proposed at once: verifying more costs a processor nearly as much as it can save."""
LONGEST_MATCH = 3
_LONGEST_REST = 30


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A row that can take proposals: its text so far (which grows as it is written) and room for `room` more."""

    number: int
    ids: Sequence[int]
    room: int
    choice: Choice
    sample: int
    position: int


class Drafter(Protocol):
    """Proposes what rows may go on with; what it proposes changes the speed of writing and nothing else."""

    def propose(self, rows: Sequence[Asked]) -> list[list[int]]:
        """At most `room` ids for each row; none where there is no good guess."""
        ...

    def learn(self, number: int, accepted: int) -> None:
        """So many of the row's latest proposals, which were not none, were accepted."""
        ...

    def forget(self, number: int) -> None:
        """The row is gone."""
        ...


NewDrafter = Callable[[], Drafter]


class Pace:
    """How many tokens to propose next, from how many of the latest were accepted: a row's own past alone decides.

    All accepted: twice as many. Some: as many as were right, and one. None: one, and after the second time in a row
    it rests for 2, 6, 14, then 30 chances, so that hopeless text costs next to nothing.
    """

    def __init__(self, length: int, limit: int = LIMIT) -> None:
        self._limit = limit
        self._length = min(length, limit)
        self._misses = 0
        self._rest = 0

    def next(self) -> int:
        """The length to propose now; 0 while it rests."""
        if self._rest:
            self._rest -= 1
            return 0
        return self._length

    def learn(self, proposed: int, accepted: int) -> None:
        if accepted:
            self._misses = 0
            # A proposal cut short by its row's room says nothing against a longer one.
            self._length = min(self._limit, max(self._length, 2 * proposed) if accepted == proposed else accepted + 1)
            return
        self._misses += 1
        self._length = 1
        self._rest = min(2**self._misses - 2, _LONGEST_REST)


class Lookup:
    """Prompt lookup (Saxena 2023): what followed the last tokens where they stood before in the row's own text.

    The last three tokens are looked for, then two, then one; the latest place counts. Each length of match keeps its
    own pace, since a longer match is a better guess. A table of a row's n-grams grows with it, so nothing is scanned.
    """

    def __init__(self, *, limit: int = LIMIT) -> None:
        self._limit = limit
        self._rows: dict[int, _Seen] = {}

    def propose(self, rows: Sequence[Asked]) -> list[list[int]]:
        """See `Drafter`. A copy may run on into itself, so that a short loop fills a long proposal."""
        return [self._seen(row.number).propose(row.ids, row.room) for row in rows]

    def learn(self, number: int, accepted: int) -> None:
        """See `Drafter`."""
        self._rows[number].learn(accepted)

    def forget(self, number: int) -> None:
        """See `Drafter`."""
        self._rows.pop(number, None)

    def _seen(self, number: int) -> "_Seen":
        if number not in self._rows:
            self._rows[number] = _Seen(self._limit)
        return self._rows[number]


class _Seen:
    """One row's n-grams, each with the place after its latest occurrence, the row's very end left out."""

    def __init__(self, limit: int) -> None:
        self._after: dict[tuple[int, ...], int] = {}
        self._n_indexed = 1  # places up to here, this one left out, are in the table; nothing ends at place 0
        self._paces = {n: Pace(n, limit) for n in range(1, LONGEST_MATCH + 1)}
        self._latest = (0, 0)  # the pace that made the latest proposal, and its length

    def propose(self, ids: Sequence[int], room: int) -> list[int]:
        for place in range(self._n_indexed, len(ids)):
            for gram in _endings(ids, place):
                self._after[gram] = place
        self._n_indexed = max(self._n_indexed, len(ids))
        if room < 1:
            return []
        for gram in _endings(ids, len(ids)):
            if gram in self._after:
                length = min(room, self._paces[len(gram)].next())
                self._latest = (len(gram), length)
                return _copied(ids, self._after[gram], length)
        return []

    def learn(self, accepted: int) -> None:
        n, length = self._latest
        self._paces[n].learn(length, accepted)


def _endings(ids: Sequence[int], place: int) -> Iterator[tuple[int, ...]]:
    """The n-grams that end just before the place, the longest first."""
    for n in range(min(LONGEST_MATCH, place), 0, -1):
        yield tuple(ids[place - n : place])


def _copied(ids: Sequence[int], place: int, length: int) -> list[int]:
    """`length` ids from the place on; past the end it goes on with what was copied."""
    period = len(ids) - place
    return [ids[place + at % period] for at in range(length)]
