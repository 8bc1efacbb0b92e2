"""Texts of several lengths read into a model in chunks, and how much of a source's positions each has looked at."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headway.decoding.feed import feed
from headway.errors import UsageError
from headway.models.protocol import AnyDecoder

if TYPE_CHECKING:
    from torch import Tensor

_PREFILL = 512  # tokens read in one step, of all texts together


def read(
    model: AnyDecoder, state: Any, texts: Sequence[Sequence[int]], *, look: bool, whole: bool
) -> "tuple[Tensor, Any, Tensor | None]":
    """The logits (B, V) after each text, the next state, and with `look` what the texts looked at, (B, S), else None.

    whole: all of a text's positions have looked; False: its last one alone, since the others were read before.
    """
    width = max(1, _PREFILL // len(texts))
    logits: Tensor | None = None
    looked: Tensor | None = None
    for first in range(0, max(map(len, texts)), width):
        new = [text[first : first + width] for text in texts]
        trace = Look() if look else None
        found, state = feed(model, state, new, trace=trace)
        ends = [row for row, text in enumerate(texts) if first < len(text) <= first + width]
        if len(ends) == len(texts):
            logits = found
        elif ends:
            logits = found.new_empty(found.shape) if logits is None else logits
            logits[ends] = found[ends]
        if trace is not None:
            counted = [
                [at < len(ids) and (whole or first + at == len(text) - 1) for at in range(max(map(len, new)))]
                for ids, text in zip(new, texts, strict=True)
            ]
            here = trace.found()  # (B, T, S)
            here = (here * here.new_tensor(counted)[:, :, None]).sum(dim=1)
            looked = here if looked is None else looked + here
    assert logits is not None
    return logits, state, looked


class Look:
    """A trace of one step that keeps the last layer's attention to the source alone."""

    residual = False
    parts = False

    def __init__(self) -> None:
        self._latest: Tensor | None = None

    def attention(self, layer: int, probabilities: "Tensor") -> None:
        """See `headway.nn.trace.Trace`; not kept."""

    def cross_attention(self, layer: int, probabilities: "Tensor") -> None:
        """Keep (B, H, T, S) in place of what an earlier layer gave."""
        self._latest = probabilities

    def stream(self, name: str, x: "Tensor") -> None:
        """See `headway.nn.trace.Trace`; not kept."""

    def found(self) -> "Tensor":
        """The mean of the heads, (B, T, S) float64 on the CPU. Raises UsageError where the model showed none."""
        if self._latest is None:
            raise UsageError(
                "coverage_penalty needs a model with attention to a source, and this one has shown none\n"
                "Leave coverage_penalty out."
            )
        return self._latest.double().mean(dim=1).cpu()
