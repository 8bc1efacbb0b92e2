"""The sizes and choices of a BERT, the published ones among them, and one for a wanted number of parameters."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import torch

from headway.errors import ConfigError
from headway.nn.feed_forward import ACTIVATIONS, Activation

MixerKind = Literal["attention", "fourier", "hartley", "laplace", "none"]
Norm = Literal["post", "pre"]
PositionKind = Literal["learned", "rotary", "none"]
Pooling = Literal["first", "mean"]
Head = Literal["masked", "pretraining", "classify", "tag", "answer", "none"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "mixer": get_args(MixerKind),
    "norm": get_args(Norm),
    "positions": get_args(PositionKind),
    "pooling": get_args(Pooling),
    "head": get_args(Head),
    "activation": tuple(ACTIVATIONS),
}
_LARGEST = {
    "vocabulary": 2**24,
    "context": 2**20,
    "width": 2**16,
    "n_layers": 2**10,
    "feed_forward": 2**18,
}
_MOST_SEGMENTS = 2**10
_MOST_LABELS = 2**20


@dataclass(frozen=True, kw_only=True)
class BERTConfig:
    """The sizes and choices of a BERT; as they stand, the paper's base model (section 3).

    feed_forward: None means 4 * width; gated: its widened vector has two halves, of which one multiplies the other.
    mixer: what mixes the tokens of a row; attention_layers: so many of the last layers have attention, whatever the
    mixer. norm: after each sum ("post", the paper) or before each sublayer ("pre", with one more at the end). segments:
    how many kinds of text a token may be marked as, 0: none. embedding_norm: a norm on the sum of the embeddings, and
    embedding_projection: a matrix behind it, as FNet has. head: what the model answers with; n_labels: of how many
    labels. pooling: a row's answer is read from its first token's state, or from the mean of all; pooler: through a
    matrix and tanh; None: for the heads that the paper gives one. transform: a matrix, activation and norm before the
    output matrix; tied: that is the token embedding. foreign: keys of another library's configuration that do not
    change the graph, kept and written back.
    """

    vocabulary: int = 30522
    context: int = 512
    width: int = 768
    n_layers: int = 12
    n_heads: int = 12
    feed_forward: int | None = None
    activation: Activation = "gelu"
    gated: bool = False
    mixer: MixerKind = "attention"
    attention_layers: int = 0
    norm: Norm = "post"
    positions: PositionKind = "learned"
    segments: int = 2
    embedding_norm: bool = True
    embedding_projection: bool = False
    head: Head = "masked"
    n_labels: int = 0
    pooler: bool | None = None
    pooling: Pooling = "first"
    transform: bool = True
    tied: bool = True
    embedding_dropout: float = 0.1
    attention_dropout: float = 0.1
    residual_dropout: float = 0.1
    head_dropout: float = 0.1
    epsilon: float = 1e-12
    initial_deviation: float = 0.02
    foreign: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, largest in _LARGEST.items():
            value = getattr(self, name)
            if value is not None and not 1 <= value <= largest:
                raise ConfigError(f"{name} must be in 1..{largest}, but got {name}={value}")
        for name, most in (("attention_layers", self.n_layers), ("segments", _MOST_SEGMENTS)):
            if not 0 <= getattr(self, name) <= most:
                raise ConfigError(f"{name} must be in 0..{most}, but got {getattr(self, name)}")
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} must be one of {', '.join(known)}, but got {getattr(self, name)!r}")
        if self.n_heads < 1 or (self.attends and self.width % self.n_heads):
            raise ConfigError(
                f"width must be a multiple of n_heads, but got width={self.width}, n_heads={self.n_heads}"
            )
        if self.positions == "rotary" and not self.attends:
            raise ConfigError(
                f"rotary positions turn queries and keys, which mixer={self.mixer!r} has none of;\n"
                "set positions to learned or none"
            )
        if self.positions == "rotary" and (self.width // self.n_heads) % 2:
            raise ConfigError(
                f"the width of a head must be even for rotary positions, but got {self.width // self.n_heads}"
            )
        for name in ("embedding_dropout", "attention_dropout", "residual_dropout", "head_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"{name} must be in 0..1 (1 excluded), but got {getattr(self, name)}")
        for name in ("epsilon", "initial_deviation"):
            if not 0.0 < getattr(self, name) < 10.0:
                raise ConfigError(f"{name} must be above 0 and below 10, but got {getattr(self, name)}")
        self._check_head()

    def _check_head(self) -> None:
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
    def pools(self) -> bool:
        """Whether there is a pooler."""
        return self.head in ("pretraining", "classify") if self.pooler is None else self.pooler

    @property
    def attends(self) -> bool:
        """Whether a layer has attention."""
        return self.mixer == "attention" or self.attention_layers > 0

    @property
    def writes_words(self) -> bool:
        """Whether the head gives scores for each word of the vocabulary."""
        return self.head in ("masked", "pretraining")

    @property
    def n_scores(self) -> int:
        """How many numbers a row or a token gets from a head that gives no words: labels, or begin and end."""
        return 2 if self.head == "answer" else self.n_labels

    def mixer_of(self, layer: int) -> MixerKind:
        """What mixes the tokens in a layer, counted from 0."""
        return "attention" if layer >= self.n_layers - self.attention_layers else self.mixer

    def n_parameters(self) -> int:
        """How many numbers the model holds, counted without building it."""
        width, hidden = self.width, self.hidden
        square, norm = width * width + width, 2 * width
        rows = self.vocabulary + self.segments + (self.context if self.positions == "learned" else 0)
        embeddings = rows * width + norm * self.embedding_norm + square * self.embedding_projection
        widened = 2 * hidden if self.gated else hidden
        feed_forward = width * widened + widened + hidden * width + width
        layers = self.n_layers * (feed_forward + 2 * norm)
        layers += sum(_mixer_parameters(self.mixer_of(layer), width) for layer in range(self.n_layers))
        head = square * self.pools + self.n_scores * (width + 1)
        if self.writes_words:
            head += (square + norm) * self.transform + self.vocabulary * (1 if self.tied else width + 1)
        if self.head == "pretraining":
            head += 2 * width + 2
        return embeddings + layers + norm * (self.norm == "pre") + head


def _mixer_parameters(kind: MixerKind, width: int) -> int:
    if kind == "attention":
        return 4 * width * width + 4 * width
    if kind == "laplace":
        from headway.nn.laplace import LaplaceMixer

        with torch.device("meta"):
            return sum(parameter.numel() for parameter in LaplaceMixer(width, both_sides=True).parameters())
    return 0


# Shapes for a wanted number of parameters: width, heads, layers; heads are 32 to 64 wide.
_SHAPES = (
    (16, 1, 1),
    (32, 1, 1),
    (48, 2, 2),
    (64, 2, 2),
    (96, 3, 3),
    (128, 4, 4),
    (160, 5, 5),
    (192, 6, 6),
    (256, 8, 6),
    (320, 10, 6),
    (384, 6, 8),
    (512, 8, 8),
    (640, 10, 10),
    (768, 12, 12),
    (1024, 16, 24),
)


def sized(n_parameters: int, vocabulary: int, given: Mapping[str, Any] | None = None) -> BERTConfig:
    """The reader nearest to `n_parameters`: the shape whose feed-forward width is next to 4 * width.

    given: settings that stand. The feed-forward width makes up the rest, within 2 to 8 times the width, unless it is
    given; a count that is too small or too large for every shape gets the smallest or the largest.
    """
    settings = dict(given or {})
    choices = []
    for width, n_heads, n_layers in _SHAPES:
        shape = {"vocabulary": vocabulary, "width": width, "n_heads": n_heads, "n_layers": n_layers, **settings}
        if shape["width"] % shape["n_heads"]:
            shape["n_heads"] = math.gcd(shape["width"], shape["n_heads"])
        if settings.get("attention_layers", 0) <= shape["n_layers"]:
            choices.append(_with_feed_forward(n_parameters, BERTConfig(**shape), "feed_forward" in settings))
    if not choices:
        raise ConfigError(f"attention_layers={settings['attention_layers']} is more than any model of this size has")
    return min(choices, key=_misfit(n_parameters))


def _with_feed_forward(n_parameters: int, config: BERTConfig, stands: bool) -> BERTConfig:
    if stands:
        return config
    width = config.width
    thin = replace(config, feed_forward=1)
    each = config.n_layers * ((3 if config.gated else 2) * width + (2 if config.gated else 1))
    hidden = 1 + (n_parameters - thin.n_parameters()) / each
    return replace(config, feed_forward=min(max(8 * round(hidden / 8), 2 * width), 8 * width))


def _misfit(n_parameters: int) -> Callable[[BERTConfig], tuple[float, float]]:
    """First how far the count is off, beyond rounding; then how far the feed-forward width is from 4 * width."""

    def misfit(config: BERTConfig) -> tuple[float, float]:
        off = abs(config.n_parameters() / n_parameters - 1.0)
        return round(off, 2), abs(math.log(config.hidden / (4 * config.width)))

    return misfit


PRESETS: dict[str, BERTConfig] = {
    "tiny": BERTConfig(width=128, n_layers=2, n_heads=2),
    "mini": BERTConfig(width=256, n_layers=4, n_heads=4),
    "small": BERTConfig(width=512, n_layers=4, n_heads=8),
    "medium": BERTConfig(width=512, n_layers=8, n_heads=8),
    "base": BERTConfig(),
    "large": BERTConfig(width=1024, n_layers=24, n_heads=16),
    "modern": BERTConfig(
        context=1024,
        feed_forward=2048,
        gated=True,
        norm="pre",
        positions="rotary",
        segments=0,
        embedding_dropout=0.0,
        attention_dropout=0.0,
        residual_dropout=0.0,
        epsilon=1e-5,
    ),
}
"""The published sizes (Devlin et al. 2018, section 3; Turc et al. 2019, table 1), and base as of today (Warner et al.
2024, "ModernBERT"): pre-norm, rotary positions, gated, no segments."""
