"""A draft model: a smaller model of the same vocabulary proposes, by its own state, what a row may go on with.

The draft draws with the row's own settings and the row's own uniform number at each position, so that it agrees with
the model as often as their distributions let it (common random numbers).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from headway.decoding import window
from headway.decoding.choice import choose
from headway.decoding.feed import feed_for_choice
from headway.decoding.logits import Logits
from headway.decoding.speculation import LIMIT, Asked, Pace
from headway.models.protocol import AnyDecoder

_CHUNK = 512
_LEAST_READ = 16  # of each text in one step: more than a row writes meanwhile, so that reading comes to an end


@dataclass(kw_only=True)
class _Followed:
    """What the draft holds of one row: ids[first : first + held]."""

    number: int
    pace: Pace
    first: int = 0
    held: int = 0
    proposed: int = 0
    accepted: int = 0

    def unread(self, ids: Sequence[int]) -> Sequence[int]:
        return ids[self.first + self.held :]


@dataclass(kw_only=True)
class _Group:
    """Rows that share a state of the draft."""

    rows: list[_Followed] = field(default_factory=list)
    state: Any = None

    def keep(self, kept: Sequence[int]) -> None:
        if len(kept) < len(self.rows):
            self.rows = [self.rows[at] for at in kept]
            self.state = self.state.select(kept) if kept else None

    def join(self, rows: list[_Followed], state: Any) -> None:
        self.rows = self.rows + rows
        self.state = state if self.state is None else self.state.join(state)


class DraftModel:
    """Proposals of a draft model for any number of rows; it may be on another device and of another context."""

    def __init__(self, model: AnyDecoder, *, vocabulary: int | None = None, limit: int = LIMIT) -> None:
        """Nothing is run yet. vocabulary: the ids both models share; None: all of the draft's."""
        self._model = model
        self._vocabulary = vocabulary
        self._limit = limit
        self._followed: dict[int, _Followed] = {}
        self._reading = _Group()
        self._ready = _Group()
        self._ahead: Any = None  # the state after the latest proposals; that of `_ready` is from before them

    def propose(self, rows: Sequence[Asked]) -> list[list[int]]:
        """See `Drafter`. A row whose text is still being read, a chunk at each call, gets no proposal."""
        self._settle()
        asked = {row.number: row for row in rows}
        self._drop_forgotten()
        self._begin(asked)
        self._read(asked)
        for follow in self._ready.rows:
            follow.proposed = follow.accepted = self._length(follow, asked.get(follow.number))
        drafted = self._draft(asked)
        return [drafted.get(row.number, []) for row in rows]

    def learn(self, number: int, accepted: int) -> None:
        """See `Drafter`."""
        follow = self._followed[number]
        follow.accepted = accepted
        follow.pace.learn(follow.proposed, accepted)

    def forget(self, number: int) -> None:
        """See `Drafter`."""
        self._followed.pop(number, None)

    def _settle(self) -> None:
        """Take the draft back to what was accepted of its proposals.

        The last proposal was never fed; of the others a rewind takes back those of the latest step alone. Where that
        is enough for all rows the draft goes on from there, else from the state before them, and reads again.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return
        fed = [max(0, follow.proposed - 1) for follow in self._ready.rows]
        wrong = [max(0, n - follow.accepted) for n, follow in zip(fed, self._ready.rows, strict=True)]
        longest = max(fed)
        if all(n <= (1 if n_fed == longest else 0) for n, n_fed in zip(wrong, fed, strict=True)):
            self._ready.state = ahead.rewind(wrong)
            for follow, n_fed, n in zip(self._ready.rows, fed, wrong, strict=True):
                follow.held += n_fed - n

    def _drop_forgotten(self) -> None:
        for group in (self._reading, self._ready):
            group.keep([at for at, follow in enumerate(group.rows) if follow.number in self._followed])

    def _begin(self, asked: dict[int, Asked]) -> None:
        """Rows that are new, or past the draft's own context, begin to be read."""
        context = self._model.context
        begun = []
        for group in (self._reading, self._ready):
            full = [
                at
                for at, follow in enumerate(group.rows)
                if context is not None
                and follow.number in asked
                and len(asked[follow.number].ids) - follow.first > context
            ]
            begun += [group.rows[at] for at in full]
            group.keep([at for at in range(len(group.rows)) if at not in full])
        for number in asked:
            if number not in self._followed:
                self._followed[number] = _Followed(number=number, pace=Pace(self._limit // 2, self._limit))
                begun.append(self._followed[number])
        for follow in begun:
            ids = asked[follow.number].ids
            follow.first, follow.held = len(ids) - len(_view(ids, context, self._limit)), 0
        if begun:
            self._reading.join(begun, self._model.start(rows=len(begun)))

    def _read(self, asked: dict[int, Asked]) -> None:
        """A chunk of each text that is being read, up to its last id: the first proposal is made from that one."""
        group = self._reading
        if not group.rows:
            return
        width = max(_LEAST_READ, _CHUNK // len(group.rows))
        left = [follow.unread(asked[follow.number].ids) if follow.number in asked else [] for follow in group.rows]
        new = [ids[:-1][:width] for ids in left]
        if any(new):
            _, group.state = feed_for_choice(self._model, group.state, new)
        for follow, ids in zip(group.rows, new, strict=True):
            follow.held += len(ids)
        done = [at for at, (ids, read) in enumerate(zip(left, new, strict=True)) if len(ids) - len(read) == 1]
        if done:
            going = [at for at in range(len(group.rows)) if at not in done]
            rows, state = [group.rows[at] for at in done], group.state.copy() if going else group.state
            if going:
                group.keep(going)
            else:
                self._reading = _Group()
            self._ready.join(rows, state.select(done))

    def _length(self, follow: _Followed, row: Asked | None) -> int:
        """How many tokens to propose now; the last one proposed is never fed, so it needs no room in the context."""
        if row is None:
            return 0
        room, context = row.room, self._model.context
        if context is not None:
            room = min(room, context - (len(row.ids) - follow.first) + 1)
        return min(room, follow.pace.next()) if room > 0 else 0

    def _draft(self, asked: dict[int, Asked]) -> dict[int, list[int]]:
        """The proposals of each row that gets any: one step of the draft for each further token."""
        group = self._ready
        longest = max((follow.proposed for follow in group.rows), default=0)
        drafted: dict[int, list[int]] = {follow.number: [] for follow in group.rows if follow.proposed}
        state = group.state
        for step in range(longest):
            if step == 0:
                new = [f.unread(asked[f.number].ids) if f.proposed else [] for f in group.rows]
            else:
                new = [drafted[f.number][-1:] if f.proposed > step else [] for f in group.rows]
            logits, state = feed_for_choice(self._model, state, new)
            if step == 0:
                group.state = state
                state = state.copy() if longest > 1 else None
                for follow, ids in zip(group.rows, new, strict=True):
                    follow.held += len(ids)
            going = [at for at, ids in enumerate(new) if ids]
            rows = [asked[group.rows[at].number] for at in going]
            chosen = self._choose(logits if len(going) == len(new) else logits[going], rows, drafted)
            for row, token in zip(rows, chosen, strict=True):
                drafted[row.number].append(token)
        self._ahead = state if longest > 1 else None
        return drafted

    def _choose(self, logits: Logits, rows: Sequence[Asked], drafted: dict[int, list[int]]) -> list[int]:
        return choose(
            logits[:, : self._vocabulary],
            [row.choice for row in rows],
            [row.ids if row.choice.plain else [*row.ids, *drafted[row.number]] for row in rows],
            [row.sample for row in rows],
            [row.position + len(drafted[row.number]) for row in rows],
        )


def _view(ids: Sequence[int], context: int | None, room: int) -> Sequence[int]:
    """What the draft sees of a text that it begins to read: all where there is room for more, else see window.py."""
    if context is None or len(ids) + room <= context:
        return ids
    return window.restart(ids, context)
