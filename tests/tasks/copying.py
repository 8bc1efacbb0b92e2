"""A decoder that reads a source and writes it again, looking at the token it is about to write; and tiny real ones."""

from collections.abc import Sequence

import torch
from doubles import END, SIZE, ByteTokenizer
from torch import Tensor

from headway.models.rnn_search import RNNSearch, RNNSearchConfig
from headway.models.transformer import Transformer, TransformerConfig
from headway.tasks.translator import Translator


class CopyState:
    def __init__(self, sources: list[list[int]], held: list[int]) -> None:
        self.sources = sources
        self.held = held

    @property
    def lengths(self) -> Tensor:
        return torch.tensor(self.held)

    def select(self, indices: Sequence[int] | Tensor) -> "CopyState":
        places = [int(index) for index in indices]
        return CopyState([self.sources[at] for at in places], [self.held[at] for at in places])

    def join(self, other: "CopyState") -> "CopyState":
        return CopyState(self.sources + other.sources, self.held + other.held)

    def rewind(self, counts: Sequence[int] | Tensor) -> "CopyState":
        return CopyState(self.sources, [have - int(n) for have, n in zip(self.held, counts, strict=True)])

    def copy(self) -> "CopyState":
        return CopyState(list(self.sources), list(self.held))


class CopyDecoder:
    """Token t of the target is token t of the source, with a logit of 9; the attention that predicts it is on it alone.

    `swapped` maps ids: what is read is written as that. `batches` notes the rows and the width of each source batch.
    """

    def __init__(self, *, context: int | None = None, swapped: dict[int, int] | None = None) -> None:
        self.context = context
        self.swapped = swapped or {}
        self.batches: list[tuple[int, int]] = []

    def start(
        self,
        source: Tensor | None = None,
        source_lengths: Tensor | None = None,
        *,
        rows: int | Sequence[int],
        capacity: int | None = None,
    ) -> CopyState:
        assert source is not None and source_lengths is not None
        assert self.context is None or source.shape[1] <= self.context
        self.batches.append(tuple(source.shape))
        every = [line[:n] for line, n in zip(source.tolist(), source_lengths.tolist(), strict=True)]
        wanted = [0] * rows if isinstance(rows, int) else list(rows)
        return CopyState([every[at] for at in wanted], [0] * len(wanted))

    def step(
        self,
        ids: Tensor,
        counts: Tensor,
        state: CopyState,
        *,
        every: bool = False,
        trace: object = None,
        ablate: object = None,
    ) -> tuple[Tensor, CopyState]:
        n_rows, width = ids.shape
        longest = max(map(len, state.sources))
        logits = torch.zeros(n_rows, width, SIZE)
        attention = torch.zeros(n_rows, 1, width, longest)
        for row, (source, before) in enumerate(zip(state.sources, state.held, strict=True)):
            for at in range(width):
                place = min(before + at, len(source) - 1)
                logits[row, at, self.swapped.get(source[place], source[place])] = 9.0
                attention[row, 0, at, place] = 1.0
        after = CopyState(state.sources, [have + int(n) for have, n in zip(state.held, counts, strict=True)])
        assert self.context is None or max(after.held) <= self.context
        if trace is not None:
            trace.cross_attention(0, attention)  # type: ignore[attr-defined]
        return (logits if every else logits[torch.arange(n_rows), counts - 1]), after


def copier(*, context: int | None = None) -> Translator:
    return Translator.of(CopyDecoder(context=context), ByteTokenizer())


def tiny_transformer(context: int = 97) -> Transformer:
    """Random weights, large enough that the most probable tokens vary with the text."""
    torch.manual_seed(11)
    config = TransformerConfig(
        vocabulary=SIZE,
        context=context,
        width=14,
        n_heads=2,
        encoder_layers=2,
        decoder_layers=3,
        feed_forward=22,
        norm="pre",
    )
    return _livelier(Transformer(config))


def tiny_rnn(attention: str = "additive") -> RNNSearch:
    torch.manual_seed(13)
    config = RNNSearchConfig(
        vocabulary=SIZE,
        width=10,
        embedding=7,
        maxout=6,
        attention="fixed" if attention == "fixed" else "additive",
        initial="modern",
    )
    return _livelier(RNNSearch(config))


def _livelier(model: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.4)
    return model.eval()


__all__ = ["END", "SIZE", "ByteTokenizer", "CopyDecoder", "copier", "tiny_rnn", "tiny_transformer"]
