"""What the loop keeps of one row, and of a prompt on its way into the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from headway.decoding.choice import Choice, choose
from headway.decoding.logits import Logits
from headway.errors import HeadwayError, UsageError

if TYPE_CHECKING:
    from headway.decoding.constraints import Constraint, Progress

FinishReason = Literal["stop", "length"]


@dataclass(kw_only=True)
class Row:
    """A row that is read or written; `failure` is what it alone failed of."""

    number: int
    sample: int
    choice: Choice
    ids: list[int]  # prompt and continuation
    n_prompt: int
    max_new_tokens: int
    stop_ids: frozenset[int]
    n_top: int
    source: Sequence[int] | None
    scored: bool = True
    progress: "Progress | None" = None
    held: int = 0  # tokens in the state
    windowed: bool = False
    reason: FinishReason | None = None
    failure: HeadwayError | None = None

    @property
    def position(self) -> int:
        return len(self.ids) - self.n_prompt

    @property
    def finished(self) -> bool:
        return self.reason is not None or self.failure is not None

    @property
    def in_state(self) -> list[int]:
        """The ids that the state holds: all but the last where the row writes, its last window where it is cut."""
        return self.ids[len(self.ids) - 1 - self.held : -1]

    def room(self, context: int | None) -> int:
        """How many tokens may be proposed: the last one is fed before them, and one more is chosen after them."""
        wanted = self.max_new_tokens - self.position - 1
        return wanted if context is None else min(wanted, context - self.held - 1)

    def take(self, token: int) -> "Taken":
        """Raises UsageError where the row's constraint cannot follow."""
        if self.progress is not None:
            self.progress.take(token)
        self.ids.append(token)
        if token in self.stop_ids:
            self.reason = "stop"
        elif self.position >= self.max_new_tokens:
            self.reason = "length"
        return Taken(self, token, self.reason)


class Taken(NamedTuple):
    """A token that a row took, and why the row ended there."""

    row: Row
    id: int
    reason: FinishReason | None


@dataclass(kw_only=True)
class Reading:
    """A prompt on its way into the model, and the rows that will go on from it."""

    ids: Sequence[int]
    rows: list[Row]
    fed: int = 0
    latest: int = 0  # of them, by the latest step

    def next(self, width: int) -> Sequence[int]:
        return self.ids[self.fed : self.fed + width]

    def advance(self, width: int) -> None:
        self.latest = min(width, len(self.ids) - self.fed)
        self.fed += self.latest


def shares(left: Sequence[int], chunk: int) -> list[int]:
    """How many tokens of each prompt are read next, `chunk` in all; `left` are those to be read, the oldest first.

    What is nearest to its end is read first, so that of many prompts that come together one after another begins to
    write, in place of all at the end. The oldest has a quarter for itself: a long one must not wait for ever.
    """
    widths = [0] * len(left)
    widths[0] = min(left[0], max(1, chunk // 4))
    free = chunk - widths[0]
    for at in sorted(range(len(left)), key=lambda at: left[at]):
        more = min(left[at] - widths[at], free)
        widths[at] += more
        free -= more
    return widths


def choose_for(logits: Logits, rows: Sequence[Row]) -> list[int]:
    """The next id of each row; logits (B, V)."""
    return choose(
        logits,
        [row.choice for row in rows],
        [row.ids for row in rows],
        [row.sample for row in rows],
        [row.position for row in rows],
        [None if row.progress is None else row.progress.mask() for row in rows],
    )


# Six parameters and more are what a row is asked for; `Rows.add` names them one by one.
def require_row(
    prompt_ids: Sequence[int],
    choice: Choice,
    *,
    max_new_tokens: int,
    samples: int,
    logprobs: int | None,
    vocabulary: int | None,
) -> None:
    """Raises UsageError for an empty prompt, an id outside the vocabulary or a count out of range."""
    if not prompt_ids:
        raise UsageError("a prompt must have at least one id; start from the end-of-text id where there is none")
    for name, value in (("max_new_tokens", max_new_tokens), ("samples", samples)):
        if value < 1:
            raise UsageError(f"{name} must be at least 1, but got {value}")
    if logprobs is not None and logprobs < 0:
        raise UsageError(f"logprobs must be at least 0, or None, but got {logprobs}")
    if vocabulary is None:
        return
    wrong = next((token for ids in (prompt_ids, choice.bias) for token in ids if not 0 <= token < vocabulary), None)
    if wrong is not None:
        raise UsageError(f"ids of a prompt or a bias must be in 0..{vocabulary - 1}, but got {wrong}")


def require_constraint(constraint: "Constraint | None", stop_ids: frozenset[int], vocabulary: int | None) -> None:
    """Raises UsageError for one of another vocabulary, or whose end id is no stop id: its rows could not end."""
    if constraint is None:
        return
    if constraint.size != vocabulary:
        raise UsageError(f"the constraint is of {constraint.size} ids, but the rows choose from {vocabulary}")
    if constraint.end not in stop_ids:
        raise UsageError(f"a constrained text ends at id {constraint.end}, which must be one of {sorted(stop_ids)=}")
