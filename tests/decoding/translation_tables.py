"""An encoder-decoder small enough to search by hand: a fixed random table over source, position and last token."""

from collections.abc import Sequence

import torch
from tables import TableState
from torch import Tensor

from headway.errors import ContextError, UsageError


class TranslationState:
    """The tokens of each row, and the source that each row reads; which sources are held is seen by `n_sources`."""

    def __init__(self, own: TableState, sources: list[tuple[int, ...]]) -> None:
        self.own = own
        self.sources = sources

    @property
    def lengths(self) -> Tensor:
        return self.own.lengths

    def select(self, indices: Sequence[int] | Tensor) -> "TranslationState":
        return TranslationState(self.own.select(indices), [self.sources[int(index)] for index in indices])

    def join(self, other: "TranslationState") -> "TranslationState":
        return TranslationState(self.own.join(other.own), self.sources + other.sources)

    def rewind(self, counts: Sequence[int] | Tensor) -> "TranslationState":
        return TranslationState(self.own.rewind(counts), self.sources)

    def copy(self) -> "TranslationState":
        return TranslationState(self.own.copy(), self.sources)


class TranslationTable:
    """A decoder that reads a source by the protocol.

    The logits after n tokens, of which the last is x, are table[x] + reading[the source's token that is looked at];
    attention is a softmax over the source's tokens by a fixed table of scores.
    """

    def __init__(self, vocabulary: int, seed: int, *, context: int | None = None, spread: float = 1.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        shape = (vocabulary, vocabulary)
        self.table = torch.randn(shape, generator=generator) * spread
        self.reading = torch.randn(shape, generator=generator) * spread
        self.scores = torch.randn(shape, generator=generator) * 2
        self.context = context
        self.rows_at_steps: list[int] = []
        self.n_encoded = 0

    def start(
        self,
        source: Tensor | None = None,
        source_lengths: Tensor | None = None,
        *,
        rows: int | Sequence[int],
        capacity: int | None = None,
    ) -> TranslationState:
        if source is None or source_lengths is None:
            raise UsageError("this model reads a source")
        if self.context is not None and source.shape[1] > self.context:
            raise ContextError("a source outgrew the context")
        lengths = source_lengths.tolist()
        assert min(lengths) > 0
        self.n_encoded += len(lengths)
        read = [0] * rows if isinstance(rows, int) else list(rows)
        sources = [tuple(source[at, : lengths[at]].tolist()) for at in read]
        return TranslationState(TableState([()] * len(read), [0] * len(read)), sources)

    def step(
        self,
        ids: Tensor,
        counts: Tensor,
        state: TranslationState,
        *,
        every: bool = False,
        trace: object = None,
        ablate: object = None,
    ) -> tuple[Tensor, TranslationState]:
        before = state.own.take()
        after = [(*row, *new[:n]) for row, new, n in zip(before, ids.tolist(), counts.tolist(), strict=True)]
        if self.context is not None and any(len(row) > self.context for row in after):
            raise ContextError("a row outgrew the context")
        self.rows_at_steps.append(len(after))
        longest = max(map(len, state.sources))
        logits = torch.full((len(after), ids.shape[1], self.table.shape[1]), torch.nan)
        looked = torch.zeros(len(after), 1, ids.shape[1], longest)
        for row, (old, new, source) in enumerate(zip(before, after, state.sources, strict=True)):
            for at in range(len(old), len(new)):
                logits[row, at - len(old)] = self.logits(source, new[: at + 1])
                looked[row, 0, at - len(old), : len(source)] = self.attention(source, new[: at + 1])
        if trace is not None:
            trace.cross_attention(0, torch.rand_like(looked))  # an earlier layer, which must not count
            trace.cross_attention(1, torch.cat([looked * 0.5, looked * 1.5], dim=1))  # two heads with this mean
        next_state = TranslationState(TableState(after, counts.tolist()), state.sources)
        if every:
            return logits, next_state
        return logits[torch.arange(len(after)), (counts - 1).clamp(min=0)], next_state

    def attention(self, source: Sequence[int], row: Sequence[int]) -> Tensor:
        """(S,) over the source's tokens, after the row's last token."""
        return self.scores[row[-1], list(source)].softmax(-1)

    def logits(self, source: Sequence[int], row: Sequence[int]) -> Tensor:
        """(V,) after the row's last token."""
        return self.table[row[-1]] + self.attention(source, row) @ self.reading[list(source)]

    def logprob(self, source: Sequence[int], row: Sequence[int], token: int) -> float:
        """Teacher-forced: what the model gives `token` after the row."""
        return float(self.logits(source, row).double().log_softmax(-1)[token])
