"""Attention maps on their way out of a pass: those of some layers whole, small pictures of all, and the heads' kinds.

Each layer's maps are worked on as they come and let go, so that memory holds one layer's at a time.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from headway.errors import UsageError
from headway.insight.head_kinds import Kinds, kinds_of
from headway.nn.trace import Trace

Encoding = Literal["json", "u16"]

_MOST_CELLS = {"json": 1 << 21, "u16": 1 << 25}
_LARGEST_U16 = 65535


@dataclass(frozen=True, kw_only=True)
class MapTrace(Trace):
    """A trace of one row that keeps the attention of `layers` whole, and of every layer what is small.

    side: of the small maps, 0 for none. places: where a head that repeats would look (see `head_kinds`), None where the
    kinds are not wanted. Whole maps are (H, T, S), small ones (H, side, side) bytes; cross-attention's are under
    "cross".
    """

    layers: frozenset[int] = frozenset()
    side: int = 0
    places: Sequence[tuple[int, int]] | None = None
    whole: dict[str, Tensor] = field(default_factory=dict)
    small: dict[str, Tensor] = field(default_factory=dict)
    kinds: dict[int, Kinds] = field(default_factory=dict)

    def attention(self, layer: int, probabilities: Tensor) -> None:
        """Take what is wanted of (1, H, T, T)."""
        self.take("", layer, probabilities)
        if self.places is not None:
            self.kinds[layer] = kinds_of(probabilities[0].detach(), self.places)

    def cross_attention(self, layer: int, probabilities: Tensor) -> None:
        """Take what is wanted of (1, H, T, S)."""
        self.take("cross.", layer, probabilities)

    def take(self, prefix: str, layer: int, probabilities: Tensor) -> None:
        """Keep the maps (1, H, T, S) of a layer, whole or small, as they are wanted."""
        maps = probabilities[0].detach()
        if layer in self.layers:
            self.whole[f"{prefix}{layer}"] = maps.float().cpu()
        if self.side:
            self.small[f"{prefix}{layer}"] = small_maps(maps, self.side).cpu()


def small_maps(maps: Tensor, side: int) -> Tensor:
    """maps (H, T, S) as bytes (H, min(side, T), min(side, S)): means over equal areas, each map's largest cell 255.

    A cell of a small map that covers parts of cells takes each by the part it covers, so that nothing is counted twice.
    """
    rows, columns = (_areas(length, min(side, length), maps) for length in maps.shape[1:])
    small = rows @ maps.to(rows.dtype) @ columns.transpose(0, 1)  # (H, s, s)
    largest = small.amax(dim=(1, 2), keepdim=True).clamp_min(1e-30)
    return (small / largest * 255.0).round().to(torch.uint8)


def _areas(length: int, cells: int, like: Tensor) -> Tensor:
    """(cells, length): the share that each of `length` places has in each of `cells` equal stretches; rows sum to 1."""
    exact = torch.float64 if like.dtype == torch.float64 else torch.float32
    edges = torch.arange(cells + 1, dtype=torch.float64) * (length / cells)
    begin, end = edges[:-1, None], edges[1:, None]
    places = torch.arange(length, dtype=torch.float64)
    covered = (torch.minimum(end, places + 1) - torch.maximum(begin, places)).clamp_min(0.0)
    return (covered * (cells / length)).to(like.device, exact)


def encoded(maps: Tensor, encoding: Encoding) -> Any:
    """maps (H, T, S) as nested lists of six decimals, or as the base64 of little-endian 16-bit numbers of 65535ths."""
    if encoding == "json":
        return maps.double().numpy().round(6).tolist()
    cells = (maps.double().clamp(0.0, 1.0) * _LARGEST_U16).round().numpy().astype("<u2")
    return {"shape": list(maps.shape), "data": base64.b64encode(cells.tobytes()).decode("ascii")}


def thumbnails(small: Mapping[str, Tensor], prefix: str, n_layers: int) -> dict[str, Any] | None:
    """The small maps of all layers as one block of bytes in base64, (L, H, s, s); a layer without maps is all 0.

    prefix: "" or "cross." or "encoder.", as the maps are called. None where no layer has any.
    """
    found = {int(name.rpartition(".")[2]): maps for name, maps in small.items() if name.rpartition(".")[0] == prefix}
    if not found:
        return None
    shape = next(iter(found.values())).shape  # (H, s, s)
    every = torch.zeros(n_layers, *shape, dtype=torch.uint8)
    for layer, maps in found.items():
        every[layer] = maps
    return {"shape": list(every.shape), "data": base64.b64encode(every.numpy().tobytes()).decode("ascii")}


def require_room(n_layers: int, n_heads: int, cells: int, encoding: Encoding) -> None:
    """Raises UsageError where whole maps of so many layers, heads and cells would make too large an answer."""
    wanted, most = n_layers * n_heads * cells, _MOST_CELLS[encoding]
    if wanted > most:
        way = "ask for fewer layers at once" + (', or for encoding "u16"' if encoding == "json" else "")
        raise UsageError(
            f"at most {most} cells of attention are given at once as {encoding}, but {n_layers} layers of {n_heads} "
            f"heads have {wanted}\nShorten the text, {way}."
        )
