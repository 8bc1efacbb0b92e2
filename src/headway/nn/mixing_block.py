"""One layer of a reader: something that mixes the tokens of a row, then the feed-forward network, over packed rows.

What mixes is attention, or what stands in for it (Lee-Thorp et al. 2021, "FNet", section 3). Norms stand after each sum
(Devlin et al. 2018) or before each sublayer (Radford et al. 2019, section 2.3).
"""

from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from headway.nn.attention import Rotate, SelfAttention, attend_plainly
from headway.nn.packing import Packing
from headway.nn.positions import RotaryPositions
from headway.nn.trace import Watch


class Mixer(Protocol):
    """What gives each token something of the other tokens of its row."""

    def __call__(
        self, x: Tensor, packing: Packing, *, watch: Watch | None = None, rotate: Rotate | None = None
    ) -> Tensor:
        """x (N, D) packed -> (N, D); `watch` and `rotate` are for those with queries and keys."""
        ...


class PackedAttention(SelfAttention):
    """Attention of each row to itself, in both directions, over packed rows; the parameters are `SelfAttention`'s."""

    def forward(  # type: ignore[override]
        self, x: Tensor, packing: Packing, *, watch: Watch | None = None, rotate: Rotate | None = None
    ) -> Tensor:
        """x (N, D) -> (N, D). `rotate` turns the queries and keys in (N, 3, H, K), where the values come third.

        The fused kernel runs for each group of equally long rows on views of one product, without a mask.
        """
        parts = self.qkv(x).view(len(x), 3, self.n_heads, -1)  # (N, 3, H, K)
        if rotate is not None:
            parts = rotate(parts)
        mixed, maps = [], []
        for part in packing.split(parts):  # (rows, length, 3, H, K)
            query, key, value = part.permute(2, 0, 3, 1, 4).unbind(0)  # (rows, H, length, K)
            if watch is None:
                dropout = self.dropout if self.training else 0.0
                result = functional.scaled_dot_product_attention(query, key, value, scale=self.scale, dropout_p=dropout)
            else:
                result, probabilities = attend_plainly(query, key, value, None, self.scale)
                maps.append(probabilities)
            mixed.append(result.transpose(1, 2).flatten(2))  # (rows, length, D)
        merged = packing.merge(mixed)
        if watch is not None:
            if watch.trace is not None:
                watch.trace.attention(watch.layer, packing.merge_square(maps))
            if watch.silenced:
                kept = torch.ones(self.n_heads, dtype=merged.dtype, device=merged.device)
                kept[list(watch.silenced)] = 0.0
                merged = (merged.view(len(x), self.n_heads, -1) * kept[:, None]).flatten(1)
        return self.output(merged)  # type: ignore[no-any-return]


def packed_rotation(positions: RotaryPositions, packing: Packing) -> Rotate:
    """How rotary positions turn the queries and keys in (N, 3, H, K) of packed tokens; the values stay."""
    half = positions.head_width // 2
    first_axis = torch.zeros(1, 1, packing.n_tokens, 2 * half, device=packing.device)
    first_axis[..., :half] = 1.0
    turned = positions.rotation(packing.positions[None])(first_axis)  # cosines, then sines
    cosines, sines = turned[0, 0, :, None, None].chunk(2, dim=-1)  # (N, 1, 1, K / 2) each

    def rotate(parts: Tensor) -> Tensor:
        result: Tensor = _Rotation.apply(parts, cosines, sines)  # type: ignore[no-untyped-call]
        return result

    return rotate


class _Rotation(torch.autograd.Function):
    """Turning back is the gradient of turning, so nothing but the angles need be kept."""

    @staticmethod
    def forward(ctx: Any, parts: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        ctx.save_for_backward(cosines, sines)
        return _turned(parts, cosines, sines)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cosines, sines = ctx.saved_tensors
        return _turned(gradients[0], cosines, -sines), None, None


def _turned(parts: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """parts (N, 3, H, K), cosines and sines (N, 1, 1, K / 2) -> (N, 3, H, K), computed in float32 at least."""
    precision = torch.promote_types(parts.dtype, cosines.dtype)
    if parts.dtype != precision:
        return _turned(parts.to(precision), cosines, sines).to(parts.dtype)
    cosines, sines = cosines.to(precision), sines.to(precision)
    result = torch.empty_like(parts, memory_format=torch.contiguous_format)
    result[:, 2] = parts[:, 2]
    first, second = parts[:, :2].chunk(2, dim=-1)
    new_first, new_second = result[:, :2].chunk(2, dim=-1)
    torch.mul(first, cosines, out=new_first).addcmul_(second, sines, value=-1.0)
    torch.mul(second, cosines, out=new_second).addcmul_(first, sines)
    return result


class MixingBlock(nn.Module):
    """A mixer and a feed-forward network, each with a residual connection around it and a layer norm.

    Whatever mixes is called `attention`, so that a layer's parameters have the same names in every family.
    """

    def __init__(
        self,
        mixer: nn.Module,
        feed_forward: nn.Module,
        *,
        width: int,
        norm: Literal["post", "pre"],
        epsilon: float,
        dropout: nn.Module,
    ) -> None:
        """mixer: a `Mixer`."""
        super().__init__()
        self.pre = norm == "pre"
        self.attention = mixer
        self.attention_norm = nn.LayerNorm(width, eps=epsilon)
        self.feed_forward = feed_forward
        self.feed_forward_norm = nn.LayerNorm(width, eps=epsilon)
        self.dropout = dropout

    def forward(
        self, x: Tensor, packing: Packing, *, watch: Watch | None = None, rotate: Rotate | None = None
    ) -> Tensor:
        """x (N, D) packed -> (N, D)."""
        mixed = self.attention(self.attention_norm(x) if self.pre else x, packing, watch=watch, rotate=rotate)
        x = x + self._dropped(mixed)
        if not self.pre:
            x = self.attention_norm(x)
        changed = self.feed_forward(self.feed_forward_norm(x) if self.pre else x)
        if watch is not None and watch.parts:
            watch.added("attention", packing.unpack(mixed))
            watch.added("feed_forward", packing.unpack(changed))
        x = x + self._dropped(changed)
        return x if self.pre else self.feed_forward_norm(x)

    def _dropped(self, x: Tensor) -> Tensor:
        return self.dropout(x) if self.training else x
