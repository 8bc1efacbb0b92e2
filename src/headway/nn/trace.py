"""What a pass is asked to show, and which heads it is asked to leave out.

Attention maps come out through an optional `trace` argument; nobody reaches into modules. With a trace the plain
softmax path runs, without one the fused kernel; a test holds the two equal.
"""

from dataclasses import dataclass, field

from torch import Tensor

Ablation = frozenset[tuple[int, int]]
"""Heads to silence, as (layer, head); their output is zero before the output projection."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Collects tensors of one pass by name, detached; a new one for every pass.

    `layers.3.attention` (B, H, T, S) attention probabilities, `layers.3.residual` (B, T, D) the stream after the
    layer, `embedding` (B, T, D) the stream before the first. `residual` streams are kept only where asked for. Decoders
    that read a source: `layers.3.cross_attention` (B, H, T, S) over the source's positions, 0 on padding; what is found
    in the encoder's own pass begins with `encoder.`. With `parts`, what each sublayer adds to the stream (B, T, D):
    `layers.3.attention_added` (whatever mixes, attention or not), `cross_attention_added`, `feed_forward_added`.
    """

    residual: bool = False
    parts: bool = False
    found: dict[str, Tensor] = field(default_factory=dict)

    def attention(self, layer: int, probabilities: Tensor) -> None:
        """Keep the attention probabilities (B, H, T, S) of a layer."""
        self.found[f"layers.{layer}.attention"] = probabilities.detach()

    def cross_attention(self, layer: int, probabilities: Tensor) -> None:
        """Keep what each target position reads of the source, (B, H, T, S)."""
        self.found[f"layers.{layer}.cross_attention"] = probabilities.detach()

    def stream(self, name: str, x: Tensor) -> None:
        """Keep the residual stream (B, T, D) under `name`, where streams are wanted."""
        if self.residual:
            self.found[name] = x.detach()

    def added(self, layer: int, sublayer: str, x: Tensor) -> None:
        """Keep what a sublayer of a layer adds to the stream, (B, T, D), where parts are wanted."""
        if self.parts:
            self.found[f"layers.{layer}.{sublayer}_added"] = x.detach()


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What one layer's attention is asked to show or leave out."""

    layer: int
    trace: Trace | None
    silenced: tuple[int, ...]

    @property
    def parts(self) -> bool:
        """Whether what the sublayers add is wanted."""
        return self.trace is not None and self.trace.parts

    def added(self, sublayer: str, x: Tensor) -> None:
        """Show what a sublayer adds to the stream, (B, T, D)."""
        if self.trace is not None:
            self.trace.added(self.layer, sublayer, x)


def watch(layer: int, trace: Trace | None, ablate: Ablation | None) -> Watch | None:
    """The watch on one layer, or None where the fused kernel may run."""
    silenced = tuple(sorted(head for at, head in ablate if at == layer)) if ablate else ()
    if trace is None and not silenced:
        return None
    return Watch(layer=layer, trace=trace, silenced=silenced)
