"""One layer of a Transformer: sublayers, each with a residual connection around it and a layer norm.

Before the sublayer (Radford et al. 2019, section 2.3) or after the sum (Vaswani et al. 2017, section 3.1). A decoder's
layer reads the source between its self-attention and its feed-forward network.
"""

from torch import Tensor, nn

from headway.nn.attention import CrossAttention, Extend, Rotate, SelfAttention, SourceView
from headway.nn.feed_forward import FeedForward
from headway.nn.trace import Watch


class PreNormBlock(nn.Module):
    """The residual stream passes untouched; each sublayer reads a normalised copy and adds to it."""

    def __init__(
        self,
        attention: SelfAttention,
        feed_forward: FeedForward,
        *,
        width: int,
        epsilon: float,
        dropout: float | nn.Module,
        cross_attention: CrossAttention | None = None,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=epsilon)
        self.attention = attention
        if cross_attention is not None:
            self.cross_attention_norm = nn.LayerNorm(width, eps=epsilon)
            self.cross_attention = cross_attention
        self.feed_forward_norm = nn.LayerNorm(width, eps=epsilon)
        self.feed_forward = feed_forward
        self.dropout = dropout if isinstance(dropout, nn.Module) else nn.Dropout(dropout)

    # Seven parameters: the attention's own, passed on, and the source.
    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        extend: Extend | None = None,
        watch: Watch | None = None,
        rotate: Rotate | None = None,
        source: SourceView | None = None,
    ) -> Tensor:
        """x (B, T, D) -> (B, T, D); `source` is read by the cross-attention, the rest goes to the self-attention."""
        normed = self.attention_norm(x)
        mixed = self.attention(normed, mask=mask, causal=causal, extend=extend, watch=watch, rotate=rotate)
        x = x + self._dropped(mixed)
        read = None
        if source is not None:
            read = self.cross_attention(self.cross_attention_norm(x), source, watch=watch)
            x = x + self._dropped(read)
        changed = self.feed_forward(self.feed_forward_norm(x))
        if watch is not None and watch.parts:
            _show(watch, mixed, read, changed)
        return x + self._dropped(changed)

    def _dropped(self, x: Tensor) -> Tensor:
        # Not called where it does nothing: at one token a step the calls alone are a measurable part of the time.
        return self.dropout(x) if self.training else x


class PostNormBlock(nn.Module):
    """Each sublayer reads the stream itself and adds to it; the sum is normalised, so that it never grows."""

    def __init__(
        self,
        attention: SelfAttention,
        feed_forward: FeedForward,
        *,
        width: int,
        epsilon: float,
        dropout: float | nn.Module,
        cross_attention: CrossAttention | None = None,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.attention_norm = nn.LayerNorm(width, eps=epsilon)
        if cross_attention is not None:
            self.cross_attention = cross_attention
            self.cross_attention_norm = nn.LayerNorm(width, eps=epsilon)
        self.feed_forward = feed_forward
        self.feed_forward_norm = nn.LayerNorm(width, eps=epsilon)
        self.dropout = dropout if isinstance(dropout, nn.Module) else nn.Dropout(dropout)

    # Seven parameters, as in PreNormBlock.
    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        extend: Extend | None = None,
        watch: Watch | None = None,
        rotate: Rotate | None = None,
        source: SourceView | None = None,
    ) -> Tensor:
        """x (B, T, D) -> (B, T, D), as in PreNormBlock."""
        mixed = self.attention(x, mask=mask, causal=causal, extend=extend, watch=watch, rotate=rotate)
        x = self.attention_norm(x + self._dropped(mixed))
        read = None
        if source is not None:
            read = self.cross_attention(x, source, watch=watch)
            x = self.cross_attention_norm(x + self._dropped(read))
        changed = self.feed_forward(x)
        if watch is not None and watch.parts:
            _show(watch, mixed, read, changed)
        return self.feed_forward_norm(x + self._dropped(changed))  # type: ignore[no-any-return]

    def _dropped(self, x: Tensor) -> Tensor:
        return self.dropout(x) if self.training else x


def _show(watch: Watch, mixed: Tensor, read: Tensor | None, changed: Tensor) -> None:
    """Hand over what the sublayers of one layer add to the stream, each (B, T, D)."""
    watch.added("attention", mixed)
    if read is not None:
        watch.added("cross_attention", read)
    watch.added("feed_forward", changed)
