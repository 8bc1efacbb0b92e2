"""A decoder small enough to search by hand: its logits are a fixed random table over the last two tokens of a row."""

from collections.abc import Sequence

import torch
from torch import Tensor

from headway.errors import ContextError


class TableState:
    """The tokens of each row and how many the latest step added; misuse raises, as the protocol asks."""

    def __init__(self, rows: list[tuple[int, ...]], latest: list[int]) -> None:
        self._rows = rows
        self._latest = latest
        self._spent = False

    @property
    def lengths(self) -> Tensor:
        return torch.tensor([len(row) for row in self._rows], dtype=torch.int64)

    def take(self) -> list[tuple[int, ...]]:
        assert not self._spent, "a consumed state was used again"
        self._spent = True
        return self._rows

    def select(self, indices: Sequence[int] | Tensor) -> "TableState":
        rows = self.take()
        places = [int(index) for index in indices]
        return TableState([rows[at] for at in places], [self._latest[at] for at in places])

    def join(self, other: "TableState") -> "TableState":
        return TableState(self.take() + other.take(), self._latest + other._latest)

    def rewind(self, counts: Sequence[int] | Tensor) -> "TableState":
        back = [int(n) for n in counts]
        assert all(0 <= n <= most for n, most in zip(back, self._latest, strict=True)), "past the latest step"
        rows = [row[: len(row) - n] for row, n in zip(self.take(), back, strict=True)]
        return TableState(rows, [most - n for most, n in zip(self._latest, back, strict=True)])

    def copy(self) -> "TableState":
        assert not self._spent
        return TableState(list(self._rows), list(self._latest))


class TableDecoder:
    """A decoder by the protocol that counts the tokens it is fed."""

    def __init__(self, vocabulary: int, seed: int, *, context: int | None = None, spread: float = 1.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        shape = (vocabulary + 1, vocabulary, vocabulary)
        self.table = torch.randn(shape, generator=generator) * spread
        self.context = context
        self.n_fed = 0
        self.rows_at_steps: list[int] = []

    def start(
        self,
        source: Tensor | None = None,
        source_lengths: Tensor | None = None,
        *,
        rows: int | Sequence[int],
        capacity: int | None = None,
    ) -> TableState:
        assert isinstance(rows, int)
        return TableState([()] * rows, [0] * rows)

    def step(
        self,
        ids: Tensor,
        counts: Tensor,
        state: TableState,
        *,
        every: bool = False,
        trace: object = None,
        ablate: object = None,
    ) -> tuple[Tensor, TableState]:
        before = state.take()
        after = [(*row, *new[:n]) for row, new, n in zip(before, ids.tolist(), counts.tolist(), strict=True)]
        if self.context is not None and any(len(row) > self.context for row in after):
            raise ContextError("a row outgrew the context")
        self.n_fed += int(counts.sum())
        self.rows_at_steps.append(len(after))
        state = TableState(after, counts.tolist())
        undefined = torch.full((self.table.shape[-1],), torch.nan)
        if not every:
            logits = [self.logits(row) if n else undefined for row, n in zip(after, counts.tolist(), strict=True)]
            return torch.stack(logits), state
        logits = [
            torch.stack(
                [
                    self.logits(row[: len(old) + at + 1]) if len(old) + at < len(row) else undefined
                    for at in range(ids.shape[1])
                ]
            )
            for old, row in zip(before, after, strict=True)
        ]
        return torch.stack(logits), state

    def logits(self, row: Sequence[int]) -> Tensor:
        """(V,) after the row's last token."""
        return self.table[row[-2] if len(row) > 1 else -1, row[-1]]

    def logprob(self, row: Sequence[int], token: int) -> float:
        """Teacher-forced: what the model gives `token` after the row."""
        return float(self.logits(row).double().log_softmax(-1)[token])
