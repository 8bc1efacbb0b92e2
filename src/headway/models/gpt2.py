"""GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"), the published graph exactly.

A causal Transformer decoder: learned positions, layer norm before each sublayer and after the last, the tanh form of
GELU, and the token embedding as output matrix (section 2.3 and the released code).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from headway.errors import ConfigError, ContextError, UsageError
from headway.nn.attention import SelfAttention
from headway.nn.block import PreNormBlock
from headway.nn.dropout import Dropout
from headway.nn.feed_forward import Activation, FeedForward
from headway.nn.key_values import KeyValueShape, KeyValueState
from headway.nn.linear import Linear
from headway.nn.trace import Ablation, Trace, watch

Head = Literal["write", "classify", "tag", "answer"]

_LARGEST = {"vocabulary": 2**24, "context": 2**20, "width": 2**16, "n_layers": 2**10, "feed_forward": 2**18}
_MOST_LABELS = 2**20


@dataclass(frozen=True, kw_only=True)
class GPT2Config:
    """The sizes and choices of a GPT-2.

    feed_forward: None means 4 * width. tied: the output matrix is the token embedding. scale_by_head_width: scores
    are divided by the square root of a head's width; scale_by_layer: and by the layer's number, counted from 1.
    head: what the model answers with; "write" is the published model, the others read a text and give it labels.
    n_labels: of how many. head_dropout: on what a tagger's head reads.
    foreign: keys of another library's configuration that do not change the graph, kept so that saving writes them back.
    """

    vocabulary: int = 50257
    context: int = 1024
    width: int = 768
    n_layers: int = 12
    n_heads: int = 12
    feed_forward: int | None = None
    activation: Activation = "gelu_tanh"
    embedding_dropout: float = 0.1
    attention_dropout: float = 0.1
    residual_dropout: float = 0.1
    epsilon: float = 1e-5
    tied: bool = True
    scale_by_head_width: bool = True
    scale_by_layer: bool = False
    initial_deviation: float = 0.02
    head: Head = "write"
    n_labels: int = 0
    head_dropout: float = 0.1
    foreign: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, largest in _LARGEST.items():
            value = getattr(self, name)
            if value is not None and not 1 <= value <= largest:
                raise ConfigError(f"{name} must be in 1..{largest}, but got {name}={value}")
        if self.n_heads < 1 or self.width % self.n_heads:
            raise ConfigError(
                f"width must be a multiple of n_heads, but got width={self.width}, n_heads={self.n_heads}"
            )
        for name in ("embedding_dropout", "attention_dropout", "residual_dropout", "head_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"{name} must be in 0..1 (1 excluded), but got {getattr(self, name)}")
        for name in ("epsilon", "initial_deviation"):
            if not 0.0 < getattr(self, name) < 10.0:
                raise ConfigError(f"{name} must be above 0 and below 10, but got {getattr(self, name)}")
        self._check_head()

    def _check_head(self) -> None:
        if self.head not in get_args(Head):
            raise ConfigError(f"head must be one of {', '.join(get_args(Head))}, but got {self.head!r}")
        if self.head in ("classify", "tag"):
            if not 1 <= self.n_labels <= _MOST_LABELS:
                raise ConfigError(
                    f"n_labels must be in 1..{_MOST_LABELS} with head={self.head!r}, but got {self.n_labels}"
                )
        elif self.n_labels:
            raise ConfigError(
                f"head={self.head!r} has no labels, but got n_labels={self.n_labels}; leave it out, or set head to "
                "classify or tag"
            )

    @property
    def hidden(self) -> int:
        """The feed-forward network's width F."""
        return 4 * self.width if self.feed_forward is None else self.feed_forward

    @property
    def n_scores(self) -> int:
        """How many numbers a row or a token gets from a head that gives no words: labels, or begin and end."""
        return 2 if self.head == "answer" else self.n_labels

    def n_parameters(self) -> int:
        """How many numbers the model holds, counted without building it."""
        layer = 4 * self.width * self.width + 2 * self.width * self.hidden + 9 * self.width + self.hidden
        matrices = 1 if self.tied or self.head != "write" else 2
        embeddings = (self.vocabulary * matrices + self.context) * self.width
        head = self.n_scores * (self.width + (self.head != "classify"))
        return embeddings + self.n_layers * layer + 2 * self.width + head


SIZES: dict[str, GPT2Config] = {
    "124M": GPT2Config(width=768, n_layers=12, n_heads=12),
    "355M": GPT2Config(width=1024, n_layers=24, n_heads=16),
    "774M": GPT2Config(width=1280, n_layers=36, n_heads=20),
    "1558M": GPT2Config(width=1600, n_layers=48, n_heads=25),
}
"""The four published sizes (table 2 of the paper; the parameter counts are the corrected ones of the release)."""


class GPT2(nn.Module):
    """Ids in, next-token logits out; a decoder, and a causal encoder, by the protocols of models/protocol.py.

    With a head that reads in place of the output matrix it answers as BERT does, and no longer writes.
    """

    def __init__(self, config: GPT2Config) -> None:
        """Random weights as section 2.3 has them; built on the meta device it has none until they are loaded."""
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocabulary, config.width)
        self.position_embedding = nn.Embedding(config.context, config.width)
        self.embedding_dropout = nn.Dropout(config.embedding_dropout)
        self.blocks = nn.ModuleList(_block(config, layer) for layer in range(config.n_layers))
        self.final_norm = nn.LayerNorm(config.width, eps=config.epsilon)
        if config.head == "write":
            self.output = Linear(config.width, config.vocabulary, bias=False)
            if config.tied:
                self.output.weight = self.token_embedding.weight
        else:
            self.head_dropout = Dropout(config.head_dropout)
            self.head = Linear(config.width, config.n_scores, bias=config.head != "classify")
        if not self.token_embedding.weight.is_meta:
            self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Draw fresh weights from torch's global generator.

        Normal with the configured deviation, positions with half of it (the released code: 0.02 and 0.01); matrices
        that add to the residual stream divided by the square root of their number (section 2.3); biases zero.
        """
        deviation = self.config.initial_deviation
        into_stream = deviation / (2 * self.config.n_layers) ** 0.5
        for name, parameter in self.named_parameters():
            if name.endswith(".bias"):
                parameter.zero_()
            elif "norm" in name:
                parameter.fill_(1.0)
            elif name.endswith(("attention.output.weight", "feed_forward.contract.weight")):
                parameter.normal_(0.0, into_stream)
            elif name.startswith("position_embedding"):
                parameter.normal_(0.0, deviation / 2)
            else:
                parameter.normal_(0.0, deviation)

    @property
    def context(self) -> int:
        """How many tokens a row may hold."""
        return self.config.context

    def forward(
        self, ids: Tensor, lengths: Tensor | None = None, segments: Tensor | None = None, *, hidden: bool = False
    ) -> Tensor:
        """ids (B, T) -> logits (B, T, V), or what a head that reads answers; with `hidden` the states (B, T, D).

        `lengths` says where rows end, to a head that reads: right padding cannot reach an earlier position here. There
        are no segments. Raises ContextError where T is past the context.
        """
        states = self._states(ids, None, None)
        if hidden:
            return states
        return self.output(states) if self.config.head == "write" else self.read_head(states, lengths)

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
        past the context.
        """
        if ablate:
            _check_heads(ablate, self.config)
        states = self._states(ids, trace, ablate)
        if lengths is None:
            return states
        inside = torch.arange(ids.shape[1], device=ids.device) < lengths.to(ids.device)[:, None]
        return states * inside[..., None]

    def read_head(self, states: Tensor, lengths: Tensor | None = None) -> Tensor:
        """states (B, T, D) -> tag: (B, T, n_labels); answer: (B, T, 2); classify: (B, n_labels), of each last token.

        Raises ConfigError for a model that writes.
        """
        if self.config.head == "write":
            raise ConfigError("head='write' gives no labels; set head to classify, tag or answer")
        if self.config.head == "classify":
            rows = torch.arange(states.shape[0], device=states.device)
            states = states[:, -1] if lengths is None else states[rows, lengths.to(states.device) - 1]  # (B, D)
        elif self.config.head == "tag":
            states = self.head_dropout(states)
        return self.head(states)  # type: ignore[no-any-return]

    def _states(self, ids: Tensor, trace: Trace | None, ablate: Ablation | None) -> Tensor:
        """ids (B, T) -> (B, T, D), after the final norm."""
        if ids.shape[1] > self.context:
            raise ContextError(f"at most {self.context} tokens fit the model's context, but got {ids.shape[1]}")
        positions = torch.arange(ids.shape[1], device=ids.device)
        x = self.embedding_dropout(self.token_embedding(ids) + self.position_embedding(positions))  # (B, T, D)
        if trace is not None:
            trace.stream("embedding", x)
        for layer, block in enumerate(self.blocks):
            x = block(x, causal=True, watch=watch(layer, trace, ablate))
            if trace is not None:
                trace.stream(f"layers.{layer}.residual", x)
        return self.final_norm(x)  # type: ignore[no-any-return]

    def start(
        self,
        source: Tensor | None = None,
        source_lengths: Tensor | None = None,
        *,
        rows: int | Sequence[int],
        capacity: int | None = None,
    ) -> KeyValueState:
        """An empty state of `rows` rows. Raises UsageError for a source, or where the head reads."""
        if self.config.head != "write":
            raise UsageError(f"this model reads (head={self.config.head!r}) and has no output matrix to write with")
        if source is not None or source_lengths is not None or not isinstance(rows, int):
            raise UsageError("GPT-2 reads no source: start takes the number of rows alone, for instance rows=1")
        config, weight = self.config, self.token_embedding.weight
        shape = KeyValueShape(
            n_layers=config.n_layers,
            n_heads=config.n_heads,
            head_width=config.width // config.n_heads,
            context=config.context,
            dtype=weight.dtype,
            device=weight.device,
        )
        return KeyValueState.empty(shape, rows, capacity)

    @torch.no_grad()
    def step(
        self,
        ids: Tensor,
        counts: Tensor,
        state: KeyValueState,
        *,
        every: bool = False,
        trace: Trace | None = None,
        ablate: Ablation | None = None,
    ) -> tuple[Tensor, KeyValueState]:
        """Feed each row its next tokens; see `Decoder.step`.

        Put the model in evaluation mode first: in training mode dropout applies here too.
        """
        if ablate:
            _check_heads(ablate, self.config)
        extension = state.extend(counts, ids.shape[1])
        if ids.numel() == 0:
            shape = (*ids.shape, self.config.vocabulary) if every else (ids.shape[0], self.config.vocabulary)
            return self.final_norm.weight.new_zeros(shape), extension.finish()
        x = self.token_embedding(ids) + self.position_embedding(extension.positions)  # (B, T, D)
        x = self.embedding_dropout(x)
        if trace is not None:
            trace.stream("embedding", x)
        for layer, block in enumerate(self.blocks):
            x = block(
                x,
                mask=extension.mask,
                causal=extension.causal,
                extend=partial(extension.write, layer),
                watch=watch(layer, trace, ablate),
            )
            if trace is not None:
                trace.stream(f"layers.{layer}.residual", x)
        if not every and ids.shape[1] == 1:
            x = x[:, 0]  # (B, 1, D) -> (B, D)
        elif not every:
            last = (counts.to(x.device, torch.int64) - 1).clamp(min=0)
            x = x[torch.arange(x.shape[0], device=x.device), last]  # (B, T, D) -> (B, D)
        return self.output(self.final_norm(x)), extension.finish()


def _block(config: GPT2Config, layer: int) -> PreNormBlock:
    scale = (config.width // config.n_heads) ** -0.5 if config.scale_by_head_width else 1.0
    if config.scale_by_layer:
        scale /= layer + 1
    return PreNormBlock(
        SelfAttention(config.width, config.n_heads, scale=scale, dropout=config.attention_dropout),
        FeedForward(config.width, config.hidden, config.activation),
        width=config.width,
        epsilon=config.epsilon,
        dropout=config.residual_dropout,
    )


def _check_heads(ablate: Ablation, config: GPT2Config) -> None:
    for layer, head in sorted(ablate):
        if not (0 <= layer < config.n_layers and 0 <= head < config.n_heads):
            raise UsageError(
                f"ablate takes (layer, head) below ({config.n_layers}, {config.n_heads}), but got ({layer}, {head})"
            )
