"""Laplace: GPT-2's body (Radford et al. 2019, section 2.3) with a bank of decaying exponentials in place of attention.

What a row remembers is a few complex numbers a layer, however long it is: a step costs the same after ten tokens and
after ten thousand. There is no position embedding; decay tells near from far.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from headway.errors import ConfigError, ContextError, UsageError
from headway.nn.dropout import Dropout
from headway.nn.feed_forward import ACTIVATIONS, Activation, FeedForward
from headway.nn.laplace import LaplaceMixer
from headway.nn.linear import Linear
from headway.nn.recurrent_state import RecurrentShape, RecurrentState
from headway.nn.source_memory import SourceMemory
from headway.nn.trace import Ablation, Trace, Watch, watch

_LARGEST = {"vocabulary": 2**24, "context": 2**20, "width": 2**16, "n_layers": 2**10, "feed_forward": 2**18}
_LARGEST |= {"modes": 2**18}


@dataclass(frozen=True, kw_only=True)
class LaplaceConfig:
    """The sizes and choices of a Laplace.

    modes: complex numbers that a layer remembers a row by; None means width / 2, rounded up. feed_forward: None means
    4 * width. context: most tokens of a row, None: unlimited; the model itself has no limit. tied: the output matrix is
    the token embedding. foreign: keys of a folder's configuration that are no settings, kept.
    """

    vocabulary: int = 50257
    context: int | None = None
    width: int = 768
    n_layers: int = 12
    modes: int | None = None
    feed_forward: int | None = None
    activation: Activation = "gelu_tanh"
    embedding_dropout: float = 0.1
    residual_dropout: float = 0.1
    epsilon: float = 1e-5
    tied: bool = True
    initial_deviation: float = 0.02
    foreign: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, largest in _LARGEST.items():
            value = getattr(self, name)
            if value is not None and not 1 <= value <= largest:
                raise ConfigError(f"{name} must be in 1..{largest}, but got {name}={value}")
        if self.activation not in ACTIVATIONS:
            raise ConfigError(f"activation must be one of {', '.join(ACTIVATIONS)}, but got {self.activation!r}")
        for name in ("embedding_dropout", "residual_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"{name} must be in 0..1 (1 excluded), but got {getattr(self, name)}")
        for name in ("epsilon", "initial_deviation"):
            if not 0.0 < getattr(self, name) < 10.0:
                raise ConfigError(f"{name} must be above 0 and below 10, but got {getattr(self, name)}")

    @property
    def hidden(self) -> int:
        """The feed-forward network's width F."""
        return 4 * self.width if self.feed_forward is None else self.feed_forward

    @property
    def bank(self) -> int:
        """How many modes a layer has."""
        return (self.width + 1) // 2 if self.modes is None else self.modes

    def n_parameters(self) -> int:
        """How many numbers the model holds, counted without building it."""
        width, bank = self.width, self.bank
        mixer = 6 * width * bank + 8 * bank + width
        layer = mixer + 2 * width * self.hidden + width + self.hidden + 4 * width
        return self.vocabulary * (1 if self.tied else 2) * width + self.n_layers * layer + 2 * width


class LaplaceBlock(nn.Module):
    """A bank of exponentials and a feed-forward network, each reading a normalised copy of the stream it adds to."""

    def __init__(self, config: LaplaceConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width, eps=config.epsilon)
        self.attention = LaplaceMixer(config.width, config.bank)  # named as what mixes is in every family
        self.feed_forward_norm = nn.LayerNorm(config.width, eps=config.epsilon)
        self.feed_forward = FeedForward(config.width, config.hidden, config.activation)
        self.dropout = Dropout(config.residual_dropout)

    def forward(self, x: Tensor, before: Tensor | None = None, *, watch: Watch | None = None) -> tuple[Tensor, Tensor]:
        """x (B, T, D), the modes' states before it (B, M) -> x (B, T, D) and the states after each token (B, T, M)."""
        mixed, states = self.attention.advance(self.attention_norm(x), before)
        x = x + self.dropout(mixed)
        changed = self.feed_forward(self.feed_forward_norm(x))
        if watch is not None:
            watch.added("attention", mixed)
            watch.added("feed_forward", changed)
        return x + self.dropout(changed), states


class Laplace(nn.Module):
    """Ids in, next-token logits out; a decoder, and a causal encoder, by the protocols of models/protocol.py."""

    def __init__(self, config: LaplaceConfig) -> None:
        """Random weights; built on the meta device it has none until they are loaded."""
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocabulary, config.width)
        self.embedding_dropout = Dropout(config.embedding_dropout)
        self.blocks = nn.ModuleList(LaplaceBlock(config) for _ in range(config.n_layers))
        self.final_norm = nn.LayerNorm(config.width, eps=config.epsilon)
        self.output = Linear(config.width, config.vocabulary, bias=False)
        if config.tied:
            self.output.weight = self.token_embedding.weight
        if not self.token_embedding.weight.is_meta:
            self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Draw fresh weights from torch's global generator: the mixers' as `LaplaceMixer` says, the others as GPT-2's.

        Matrices that add to the residual stream are divided by the square root of their number.
        """
        deviation = self.config.initial_deviation
        into_stream = deviation / (2 * self.config.n_layers) ** 0.5
        for name, parameter in self.named_parameters():
            if name.endswith(".bias"):
                parameter.zero_()
            elif "norm" in name:
                parameter.fill_(1.0)
            else:
                parameter.normal_(0.0, into_stream if name.endswith("contract.weight") else deviation)
        for module in self.modules():
            if isinstance(module, LaplaceMixer):
                module.initialise(into_stream)

    @property
    def context(self) -> int | None:
        """How many tokens a row may hold; None: unlimited."""
        return self.config.context

    def forward(self, ids: Tensor, lengths: Tensor | None = None, *, hidden: bool = False) -> Tensor:
        """ids (B, T) -> logits (B, T, V), or with `hidden` what the output matrix would read, (B, T, D).

        `lengths` is taken for the sake of the other families: right padding cannot reach an earlier position here.
        Raises ContextError where T is past the context.
        """
        states = self._states(ids, None)
        return states if hidden else self.output(states)

    # Six parameters: the encoder protocol's own.
    def encode(
        self,
        ids: Tensor,
        lengths: Tensor | None = None,
        segments: Tensor | None = None,
        trace: Trace | None = None,
        ablate: Ablation | None = None,
    ) -> Tensor:
        """ids (B, T), lengths (B,) or None: all T -> states (B, T, D), zero past each row's length.

        Each token's state knows those before it alone; segments are taken no notice of. Raises ContextError where T is
        past the context, UsageError for heads to silence.
        """
        _check_heads(ablate)
        states = self._states(ids, trace)
        if lengths is None:
            return states
        inside = torch.arange(ids.shape[1], device=ids.device) < lengths.to(ids.device)[:, None]
        return states * inside[..., None]

    @torch.no_grad()
    def start(
        self,
        source: Tensor | None = None,
        source_lengths: Tensor | None = None,
        *,
        rows: int | Sequence[int],
        capacity: int | None = None,
    ) -> RecurrentState:
        """A state of rows without tokens; see `Decoder.start`. `capacity` reserves nothing: a state does not grow.

        Raises UsageError for a source: there is none to read.
        """
        if source is not None or source_lengths is not None or not isinstance(rows, int):
            raise UsageError("this model reads no source: start takes the number of rows alone, for instance rows=1")
        self._check_length(capacity or 0)
        config, weight = self.config, self.token_embedding.weight
        exact = torch.promote_types(weight.dtype, torch.float32)
        width = config.n_layers * config.bank * 2
        shape = RecurrentShape(width=width, context=config.context, dtype=exact, device=weight.device)
        nothing = SourceMemory.build([weight.new_zeros(1, 1, 0)], torch.ones(1, dtype=torch.int64), rows)
        return RecurrentState.begin(shape, torch.zeros(rows, width, dtype=exact, device=weight.device), nothing)

    @torch.no_grad()
    def step(
        self,
        ids: Tensor,
        counts: Tensor,
        state: RecurrentState,
        *,
        every: bool = False,
        trace: Trace | None = None,
        ablate: Ablation | None = None,
    ) -> tuple[Tensor, RecurrentState]:
        """Feed each row its next tokens; see `Decoder.step`.

        Put the model in evaluation mode first: in training mode dropout applies here too.
        """
        _check_heads(ablate)
        new, before = state.check_step(counts, ids.shape[1]), state.hidden  # (B, N), all layers' modes
        if ids.numel() == 0:
            shape = (*ids.shape, self.config.vocabulary) if every else (ids.shape[0], self.config.vocabulary)
            return self.final_norm.weight.new_zeros(shape), state.advance(before[None], new)
        kept = torch.view_as_complex(before.view(ids.shape[0], len(self.blocks), -1, 2)).unbind(1)
        x, after = self.embedding_dropout(self.token_embedding(ids)), []  # (B, T, D)
        if trace is not None:
            trace.stream("embedding", x)
        for layer, block in enumerate(self.blocks):
            x, states = block(x, kept[layer], watch=watch(layer, trace, None))
            after.append(states)
            if trace is not None:
                trace.stream(f"layers.{layer}.residual", x)
        if not every:
            last = (new - 1).clamp(min=0).to(x.device)
            x = x[torch.arange(x.shape[0], device=x.device), last]  # (B, T, D) -> (B, D)
        trail = torch.view_as_real(torch.stack(after, dim=2)).flatten(2).transpose(0, 1)  # (B, T, L, M) -> (T, B, N)
        return self.output(self.final_norm(x)), state.advance(torch.cat([before[None], trail]), new)

    def _states(self, ids: Tensor, trace: Trace | None) -> Tensor:
        """ids (B, T) -> (B, T, D), after the final norm."""
        self._check_length(ids.shape[1])
        x = self.embedding_dropout(self.token_embedding(ids))  # (B, T, D)
        if trace is not None:
            trace.stream("embedding", x)
        for layer, block in enumerate(self.blocks):
            x, _ = block(x, watch=watch(layer, trace, None))
            if trace is not None:
                trace.stream(f"layers.{layer}.residual", x)
        return self.final_norm(x)  # type: ignore[no-any-return]

    def _check_length(self, n_tokens: int) -> None:
        if self.context is not None and n_tokens > self.context:
            raise ContextError(f"at most {self.context} tokens fit the model's context, but got {n_tokens}")


def _check_heads(ablate: Ablation | None) -> None:
    if ablate:
        raise UsageError(f"this model has no heads, but ablate names {sorted(ablate)}")


# Shapes for a wanted number of parameters: width and layers.
_LAYERS = {16: 1, 32: 1, 48: 2, 64: 2, 96: 3, 128: 4, 160: 5, 192: 6, 256: 6, 320: 6, 384: 8, 512: 8, 640: 10, 768: 12}
_LAYERS |= {1024: 24, 1280: 36}


def sized(n_parameters: int, vocabulary: int, given: Mapping[str, Any] | None = None) -> LaplaceConfig:
    """The model nearest to `n_parameters`: the shape whose feed-forward width is next to 4 * width.

    given: settings that stand. The feed-forward width makes up the rest, within 2 to 8 times the width, unless it is
    given; a count that is too small or too large for every shape gets the smallest or the largest.
    """
    settings = dict(given or {})
    choices = []
    for width, n_layers in _LAYERS.items():
        shape = LaplaceConfig(**{"vocabulary": vocabulary, "width": width, "n_layers": n_layers, **settings})
        if "feed_forward" not in settings:
            thin = replace(shape, feed_forward=1)
            hidden = 1 + (n_parameters - thin.n_parameters()) / (shape.n_layers * (2 * shape.width + 1))
            shape = replace(shape, feed_forward=min(max(8 * round(hidden / 8), 2 * shape.width), 8 * shape.width))
        choices.append(shape)
    return min(choices, key=_misfit(n_parameters))


def _misfit(n_parameters: int) -> Callable[[LaplaceConfig], tuple[float, float]]:
    """First how far the count is off, beyond rounding; then how far the feed-forward width is from 4 * width."""

    def misfit(config: LaplaceConfig) -> tuple[float, float]:
        off = abs(config.n_parameters() / n_parameters - 1.0)
        return round(off, 2), abs(math.log(config.hidden / (4 * config.width)))

    return misfit
