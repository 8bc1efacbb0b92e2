"""One layer of a pre-norm Transformer: normalise, mix, add; normalise, transform, add (Radford et al. 2019, 2.3)."""

from torch import Tensor, nn

from headway.nn.attention import Extend, SelfAttention
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
        dropout: float,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=epsilon)
        self.attention = attention
        self.feed_forward_norm = nn.LayerNorm(width, eps=epsilon)
        self.feed_forward = feed_forward
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        extend: Extend | None = None,
        watch: Watch | None = None,
    ) -> Tensor:
        """x (B, T, D) -> (B, T, D); the other arguments go to the attention."""
        mixed = self.attention(self.attention_norm(x), mask=mask, causal=causal, extend=extend, watch=watch)
        x = x + self._dropped(mixed)
        return x + self._dropped(self.feed_forward(self.feed_forward_norm(x)))

    def _dropped(self, x: Tensor) -> Tensor:
        # Not called where it does nothing: at one token a step the calls alone are a measurable part of the time.
        return self.dropout(x) if self.training else x
