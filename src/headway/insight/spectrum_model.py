"""What a trained model does with a signal: its positions, attention and banks as spectra, and what can be read back.

Streams and attention maps come through the trace; what a mixer adds is caught where it leaves the mixer, since no
stream holds it by itself.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from headway.errors import DataError, UsageError
from headway.insight.spectrum import effective_rank, low_share, passed, power_spectrum
from headway.insight.spectrum_probe import Reading, read_back
from headway.nn.fourier import FourierMixer, HartleyMixer, NoMixer
from headway.nn.laplace import LaplaceMixer
from headway.nn.trace import Trace

LEADING = 5
_MIXERS = {FourierMixer: "fourier", HartleyMixer: "hartley", LaplaceMixer: "laplace", NoMixer: "none"}


@dataclass(frozen=True, kw_only=True)
class PositionSpectrum:
    """The learned position embeddings along the positions, their mean taken away.

    low: the share of the power in the lowest 1/16 of the frequencies; 1/16 is what noise has. leading: the strongest
    frequencies as (period in tokens, share of the power). shares: of every frequency, 1 / positions first.
    """

    positions: int
    low: float
    leading: tuple[tuple[float, float], ...]
    shares: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class HeadSpectrum:
    """One head's attention rows, means over the windows.

    low: the share of a row's power in its lowest 1/16 of frequencies (1: an average, 1/16: one place alone);
    effective_rank: of the weights (T, T); condition and with_residual: of the weights, and of the weights plus 1, their
    medians; entropy: of a row, in bits; distance: tokens between reader and read; passed: see `spectrum.passed`.
    """

    layer: int
    head: int
    low: float
    effective_rank: float
    condition: float
    with_residual: float
    entropy: float
    distance: float
    passed: float


@dataclass(frozen=True, kw_only=True)
class BankSpectrum:
    """One layer's bank of exponentials: smallest, middle and largest of each.

    decay: tokens until a mode has faded to 1 / e; period: tokens of a whole turn. slow: the share of the modes that
    hold more than 100 tokens. bound: of the slowest mode's condition, (1 + |lambda|) / (1 - |lambda|).
    """

    layer: int
    modes: int
    decay: tuple[float, float, float]
    period: tuple[float, float, float]
    slow: float
    bound: float


@dataclass(frozen=True, kw_only=True)
class ModelSpectrum:
    """All of it. tokens: of the text that heads and readings were measured on, in windows of `window` tokens.

    floor: of the readings' identity, what naming the most frequent token alone would reach.
    """

    family: str
    tokens: int
    window: int
    positions: PositionSpectrum | None
    heads: tuple[HeadSpectrum, ...]
    banks: tuple[BankSpectrum, ...]
    readings: tuple[Reading, ...]
    floor: float | None


@torch.no_grad()
def spectrum_of(model: Any, family: str, windows: Tensor | None, *, probe_tokens: int = 2000) -> ModelSpectrum:
    """Measure a model in evaluation mode; windows (B, T) of a text's ids, or None for what the weights alone say.

    A text of fewer than `probe_tokens` tokens is too short to fit probes on, and gets no readings. Raises UsageError
    for a model without layers that mix tokens.
    """
    stack = _stack(model)
    if windows is not None and not windows.numel():
        raise DataError("the text has no tokens, so there is nothing to measure\nGive a longer one.")
    heads: tuple[HeadSpectrum, ...] = ()
    readings: tuple[Reading, ...] = ()
    floor = None
    if windows is not None:
        found, mixed = _pass(model, stack, windows)
        heads = tuple(_heads(found))
        if windows.numel() >= probe_tokens:
            readings, floor = read_back(windows, _streams(found), mixed, _undoing(stack))
    return ModelSpectrum(
        family=family,
        tokens=0 if windows is None else windows.numel(),
        window=0 if windows is None else windows.shape[1],
        positions=_positions(stack, model),
        heads=heads,
        banks=tuple(_banks(stack)),
        readings=readings,
        floor=floor,
    )


def cut_windows(ids: Sequence[int], window: int, *, begin: int | None = None, end: int | None = None) -> Tensor:
    """Ids of a text as rows of one length (B, T), each between `begin` and `end` where they are given.

    What is left over at the end is dropped; a text shorter than a window is one row.
    """
    added = (begin is not None) + (end is not None)
    inner = max(1, min(window - added, len(ids)))
    rows = [list(ids[first : first + inner]) for first in range(0, len(ids) - inner + 1, inner)]
    head, tail = [begin] if begin is not None else [], [end] if end is not None else []
    return torch.tensor([[*head, *row, *tail] for row in rows if row], dtype=torch.int64)


def mixers_of(model: Any) -> tuple[str, ...]:
    """By which each layer mixes its tokens: "attention", "fourier", "hartley", "laplace" or "none".

    Raises UsageError for a model without layers that mix tokens.
    """
    blocks = _stack(model).blocks
    return tuple(_MIXERS.get(type(block.get_submodule("attention")), "attention") for block in blocks)


def _stack(model: Any) -> Any:
    """What holds the layers: the model itself, or the encoder of one that reads a source."""
    for candidate in (model, getattr(model, "encoder", None)):
        if isinstance(getattr(candidate, "blocks", None), nn.ModuleList):
            return candidate
    raise UsageError(
        f"{type(model).__name__} has no layers that mix tokens by attention or a transform, so it has no spectrum\n"
        "headway look MODEL --spectrum shows GPT-2, BERT, FNet, Laplace and the encoder of a Transformer."
    )


def _pass(model: Any, stack: Any, windows: Tensor) -> tuple[dict[str, Tensor], list[Tensor]]:
    """The trace of one pass, and what each layer's mixer gave (B, T, D)."""
    trace, mixed = Trace(residual=True), []
    device = next(model.parameters()).device
    with _caught(stack) as caught:
        model.encode(windows.to(device), None, trace=trace)
        mixed = [caught[layer].view(*windows.shape, -1).cpu() for layer in sorted(caught)]
    return {name.removeprefix("encoder."): tensor.cpu() for name, tensor in trace.found.items()}, mixed


@contextmanager
def _caught(stack: Any) -> Iterator[dict[int, Tensor]]:
    """What leaves each layer's mixer during a pass; the hooks are taken off again."""
    caught: dict[int, Tensor] = {}

    def keep(layer: int) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            caught[layer] = output.detach().float()

        return hook

    handles = []
    for layer, block in enumerate(stack.blocks):
        mixer = block.get_submodule("attention")
        handles.append(getattr(mixer, "output", mixer).register_forward_hook(keep(layer)))
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


def _streams(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The residual streams (B, T, D) in their order."""
    return {name: x.float() for name, x in found.items() if name == "embedding" or name.endswith(".residual")}


def _undoing(stack: Any) -> dict[int, nn.Module]:
    """The layers whose mixer has no weights: it is a transform, which undoes itself as far as that can be done."""
    mixers = {layer: block.get_submodule("attention") for layer, block in enumerate(stack.blocks)}
    return {layer: mixer for layer, mixer in mixers.items() if not any(True for _ in mixer.parameters())}


def _positions(stack: Any, model: Any) -> PositionSpectrum | None:
    for holder in (model, getattr(stack, "positions", None)):
        embedding = getattr(holder, "position_embedding", None) or getattr(holder, "embedding", None)
        if isinstance(embedding, nn.Embedding):
            return position_spectrum(embedding.weight.detach().cpu())
    return None


def position_spectrum(weight: Tensor) -> PositionSpectrum:
    """The spectrum of position embeddings (positions, D)."""
    rows = weight.double().T
    power = power_spectrum(rows - rows.mean(-1, keepdim=True))[1:]
    total = float(power.sum()) or 1.0
    shares = [float(one) / total for one in power]
    strongest = sorted(range(len(shares)), key=lambda at: -shares[at])[:LEADING]
    return PositionSpectrum(
        positions=len(weight),
        low=low_share(power),
        leading=tuple((len(weight) / (at + 1), shares[at]) for at in strongest),
        shares=tuple(shares),
    )


def _heads(found: Mapping[str, Tensor]) -> Iterator[HeadSpectrum]:
    names = sorted((name for name in found if name.endswith(".attention")), key=lambda name: int(name.split(".")[1]))
    for name in names:
        maps = found[name].double()  # (B, H, T, T)
        for head in range(maps.shape[1]):
            yield head_spectrum(int(name.split(".")[1]), head, maps[:16, head])


def head_spectrum(layer: int, head: int, weights: Tensor) -> HeadSpectrum:
    """The figures of one head's attention weights (B, T, T)."""
    weights = weights.double()
    size = weights.shape[-1]
    values = torch.linalg.svdvals(weights)
    joined = torch.linalg.svdvals(weights + torch.eye(size, dtype=torch.float64))
    places = torch.arange(size, dtype=torch.float64)
    apart = (places[:, None] - places).abs()
    return HeadSpectrum(
        layer=layer,
        head=head,
        low=low_share(power_spectrum(weights)),
        effective_rank=sum(effective_rank(one) for one in values) / len(values),
        condition=_middle_condition(values),
        with_residual=_middle_condition(joined),
        entropy=float(torch.special.entr(weights).sum(-1).mean()) / math.log(2.0),
        distance=float((weights * apart).sum(-1).mean()),
        passed=passed(weights),
    )


def _middle_condition(values: Tensor) -> float:
    """The median over windows of largest / smallest of singular values (B, T); infinite beyond what float64 tells."""
    least = values[:, 0] * values.shape[1] * torch.finfo(torch.float64).eps
    found = torch.where(values[:, -1] > least, values[:, 0] / values[:, -1], math.inf)
    return float(found.median())


def _banks(stack: Any) -> Iterator[BankSpectrum]:
    for layer, block in enumerate(stack.blocks):
        mixer = block.get_submodule("attention")
        if isinstance(getattr(mixer, "log_rate", None), nn.Parameter):
            yield bank_spectrum(layer, mixer.log_rate.detach().cpu(), mixer.turn.detach().cpu())


def bank_spectrum(layer: int, log_rate: Tensor, turn: Tensor) -> BankSpectrum:
    """The figures of a bank with the rates exp(log_rate) and the turns rate * turn, both (M,)."""
    rate = log_rate.double().exp()
    decay = 1.0 / rate
    period = 2.0 * math.pi / (rate * turn.double()).abs().clamp(min=1e-9)
    slowest = float(rate.min())
    return BankSpectrum(
        layer=layer,
        modes=len(rate),
        decay=_spread(decay),
        period=_spread(period),
        slow=float((decay > 100.0).double().mean()),
        bound=(1.0 + math.exp(-slowest)) / -math.expm1(-slowest),
    )


def _spread(values: Tensor) -> tuple[float, float, float]:
    return float(values.min()), float(values.median()), float(values.max())
