"""How a Transformer knows where a token stands: added to the embedding, in the scores, or by turning queries and keys.

Each kind says what it adds to the stream (`place`), to the scores (`bias`), and how it turns queries and keys
(`rotation`), so that a model need not know which it has.
"""

import math

import torch
from torch import Tensor, nn

from headway.nn.attention import Rotate


class Positions(nn.Module):
    """None at all: what order there is, a decoder must take from seeing only what came before."""

    def place(self, x: Tensor, positions: Tensor) -> Tensor:
        """x (B, T, D) at positions (B or 1, T) -> (B, T, D)."""
        return x

    def bias(self, positions: Tensor, n_keys: int) -> Tensor | None:
        """What is added to the scores of queries at positions (B or 1, T) and keys 0..S-1: (B or 1, H, T, S)."""
        return None

    def rotation(self, positions: Tensor) -> Rotate | None:
        """How queries and keys at positions (B or 1, T) are turned."""
        return None


class SinusoidPositions(Positions):
    """Sines and cosines of geometrically falling rates (Vaswani et al. 2017, section 3.5).

    The paper interleaves sines and cosines; here, as in its released code and in Marian, all sines come before all
    cosines, which only names the dimensions differently.
    """

    def place(self, x: Tensor, positions: Tensor) -> Tensor:
        """x (B, T, D) at positions (B or 1, T) -> (B, T, D)."""
        angles = _angles(positions, x.shape[-1])  # (B or 1, T, D / 2)
        return x + torch.cat([angles.sin(), angles.cos()], dim=-1).to(x.dtype)


class LearnedPositions(Positions):
    """A vector for each position (Gehring et al. 2017; row (E) of Vaswani et al. 2017, table 3)."""

    def __init__(self, context: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(context, width))
        nn.init.normal_(self.weight, 0.0, width**-0.5)

    def place(self, x: Tensor, positions: Tensor) -> Tensor:
        """x (B, T, D) at positions (B or 1, T) -> (B, T, D)."""
        return x + nn.functional.embedding(positions, self.weight)


class RotaryPositions(Positions):
    """Each pair of dimensions of a query or key is turned by its position (Su et al. 2021, equation 34).

    A score then depends on the distance alone. The pairs are dimensions k and k + K/2 of a head.
    """

    def __init__(self, head_width: int) -> None:
        super().__init__()
        self.head_width = head_width

    def rotation(self, positions: Tensor) -> Rotate:
        """How queries and keys at positions (B or 1, T) are turned."""
        angles = _angles(positions, self.head_width)[:, None]  # (B or 1, 1, T, K / 2)
        cosines, sines = angles.cos().float(), angles.sin().float()

        def rotate(x: Tensor) -> Tensor:
            first, second = x.chunk(2, dim=-1)
            turned = [first * cosines - second * sines, second * cosines + first * sines]
            return torch.cat(turned, dim=-1).to(x.dtype)

        return rotate


class RelativePositions(Positions):
    """A learned number for each head and distance is added to the score (Raffel et al. 2020, section 2.1, "T5").

    One table for all layers of a stack. Distances up to half the buckets of a side have one each; beyond, buckets widen
    geometrically up to distance 128, and all that is farther shares the last one.
    """

    BUCKETS = 32
    _FARTHEST = 128

    def __init__(self, n_heads: int, *, both_sides: bool) -> None:
        """`both_sides`: keys may stand behind the query too, and have half the buckets."""
        super().__init__()
        self.both_sides = both_sides
        self.weight = nn.Parameter(torch.zeros(self.BUCKETS, n_heads))

    def bias(self, positions: Tensor, n_keys: int) -> Tensor:
        """What is added to the scores of queries at positions (B or 1, T) and keys 0..S-1: (B or 1, H, T, S)."""
        distances = positions[:, :, None] - torch.arange(n_keys, device=positions.device)  # (B or 1, T, S)
        # (B or 1, T, S, H) -> (B or 1, H, T, S)
        return nn.functional.embedding(self._bucket(distances), self.weight).permute(0, 3, 1, 2)

    def _bucket(self, distances: Tensor) -> Tensor:
        side = self.BUCKETS // 2 if self.both_sides else self.BUCKETS
        exact = side // 2
        far = distances.abs() if self.both_sides else distances.clamp(min=0)
        widening = torch.log(far.clamp(min=exact) / exact) / math.log(self._FARTHEST / exact) * (side - exact)
        bucket = torch.where(far < exact, far, (exact + widening.long()).clamp(max=side - 1))
        return bucket + side * (distances < 0) if self.both_sides else bucket


def _angles(positions: Tensor, width: int) -> Tensor:
    """positions (B or 1, T) -> (B or 1, T, width / 2): position / 10000^(2 i / width), in float64 if it can."""
    precise = torch.float32 if positions.device.type == "mps" else torch.float64
    rates = torch.arange(0, width, 2, dtype=precise, device=positions.device) * (-math.log(10000.0) / width)
    return positions[..., None].to(precise) * rates.exp()
