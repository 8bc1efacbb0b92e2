"""The sizes and choices of a Transformer, the published ones among them, and one for a wanted number of parameters."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from headway.errors import ConfigError
from headway.nn.feed_forward import ACTIVATIONS, Activation
from headway.nn.positions import RelativePositions

Norm = Literal["post", "pre"]
PositionKind = Literal["sinusoid", "learned", "rotary", "relative", "none"]
_NORMS, _POSITIONS = get_args(Norm), get_args(PositionKind)

_LARGEST = {
    "vocabulary": 2**24,
    "source_vocabulary": 2**24,
    "context": 2**20,
    "width": 2**16,
    "encoder_layers": 2**10,
    "decoder_layers": 2**10,
    "feed_forward": 2**18,
}


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """The sizes and choices of a Transformer; as they stand, the paper's base model (section 3 and table 3).

    vocabulary: the target's ids; source_vocabulary: the source's, None: the same ones. context: the most tokens of a
    source, and of a target; None: as many as there is memory for. norm: after each sum ("post", the paper) or before
    each sublayer ("pre", with one more at the end of each stack). shared: source and target have one embedding; tied:
    the output matrix is the target embedding; scaled: embeddings are multiplied by the square root of the width.
    output_bias: a constant is added to the logits, which does not learn. initial_deviation: of normal weights; None:
    Glorot's uniform ones, with embeddings of deviation 1 / sqrt(width). foreign: keys of another library's
    configuration that do not change the graph, kept so that saving writes them back.
    """

    vocabulary: int = 37000
    source_vocabulary: int | None = None
    context: int | None = 512
    width: int = 512
    n_heads: int = 8
    encoder_layers: int = 6
    decoder_layers: int = 6
    feed_forward: int = 2048
    activation: Activation = "relu"
    norm: Norm = "post"
    positions: PositionKind = "sinusoid"
    shared: bool = True
    tied: bool = True
    scaled: bool = True
    output_bias: bool = False
    embedding_dropout: float = 0.1
    attention_dropout: float = 0.0
    residual_dropout: float = 0.1
    activation_dropout: float = 0.0
    epsilon: float = 1e-5
    initial_deviation: float | None = None
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
        for name, known in (("norm", _NORMS), ("positions", _POSITIONS), ("activation", tuple(ACTIVATIONS))):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} must be one of {', '.join(known)}, but got {getattr(self, name)!r}")
        self._check_positions()
        if self.shared and self.source_vocabulary is not None:
            raise ConfigError(
                f"source and target cannot share an embedding with vocabularies of their own, but got "
                f"source_vocabulary={self.source_vocabulary}, shared=true\nSet shared=false, or leave "
                "source_vocabulary out."
            )
        for name in ("embedding_dropout", "attention_dropout", "residual_dropout", "activation_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"{name} must be in 0..1 (1 excluded), but got {getattr(self, name)}")
        for name in ("epsilon", "initial_deviation"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < 10.0:
                raise ConfigError(f"{name} must be above 0 and below 10, but got {value}")

    def _check_positions(self) -> None:
        if self.positions == "learned" and self.context is None:
            raise ConfigError("learned positions need a context to learn them for; set context, for instance 512")
        paired = {"sinusoid": ("width", self.width), "rotary": ("the width of a head", self.width // self.n_heads)}
        what, size = paired.get(self.positions, ("", 0))
        if size % 2:
            raise ConfigError(f"{what} must be even for {self.positions} positions, but got {size}")

    def n_parameters(self) -> int:
        """How many numbers the model holds, counted without building it."""
        width = self.width
        norm, attention = 2 * width, 4 * width * width + 4 * width
        feed_forward = 2 * width * self.feed_forward + width + self.feed_forward
        layers = self.encoder_layers * (attention + feed_forward + 2 * norm)
        layers += self.decoder_layers * (2 * attention + feed_forward + 3 * norm)
        final = 2 * norm if self.norm == "pre" else 0
        rows = self.vocabulary * (1 if self.tied else 2)
        if not self.shared:
            rows += self.vocabulary if self.source_vocabulary is None else self.source_vocabulary
        if self.positions == "learned":
            rows += 2 * (self.context or 0)
        tables = 2 * RelativePositions.BUCKETS * self.n_heads if self.positions == "relative" else 0
        bias = self.vocabulary if self.output_bias else 0
        return rows * width + layers + final + tables + bias


# Shapes of the practical model: width, heads, layers of encoder and decoder. Encoders are the deeper ones: they run
# once a sentence, the decoder once a token, and depth serves as well there (Kasai et al. 2021).
_SHAPES = (
    (16, 2, 1, 1),
    (32, 2, 1, 1),
    (48, 2, 1, 1),
    (48, 2, 2, 1),
    (64, 2, 2, 1),
    (80, 2, 2, 1),
    (96, 3, 2, 1),
    (96, 3, 2, 2),
    (112, 4, 2, 2),
    (128, 4, 3, 2),
    (160, 4, 4, 2),
    (192, 4, 4, 2),
    (224, 4, 5, 2),
    (256, 4, 5, 3),
    (320, 5, 6, 3),
    (384, 6, 6, 4),
    (448, 7, 6, 5),
    (512, 8, 6, 6),
    (640, 10, 8, 6),
    (768, 12, 8, 6),
    (1024, 16, 10, 6),
)


def sized(n_parameters: int, vocabulary: int) -> TransformerConfig:
    """The practical pre-norm model of about `n_parameters`: the shape whose feed-forward width is next to 4 * width.

    One vocabulary for both sides. The feed-forward width makes up the rest, within 2 to 8 times the width; a count that
    is too small or too large for every shape gets the smallest or the largest.
    """
    choices = [_with_feed_forward(n_parameters, vocabulary, shape) for shape in _SHAPES]
    return min(choices, key=_misfit(n_parameters))


def _with_feed_forward(n_parameters: int, vocabulary: int, shape: tuple[int, int, int, int]) -> TransformerConfig:
    width, n_heads, encoder_layers, decoder_layers = shape
    thin = TransformerConfig(
        vocabulary=vocabulary,
        width=width,
        n_heads=n_heads,
        encoder_layers=encoder_layers,
        decoder_layers=decoder_layers,
        feed_forward=1,
        norm="pre",
    )
    more = (n_parameters - thin.n_parameters()) / ((encoder_layers + decoder_layers) * (2 * width + 1))
    feed_forward = min(max(8 * round(more / 8), 2 * width), 8 * width)
    return replace(thin, feed_forward=feed_forward)


def _misfit(n_parameters: int) -> Callable[[TransformerConfig], tuple[float, float]]:
    """First how far the count is off, beyond rounding; then how far the feed-forward width is from 4 * width."""

    def misfit(config: TransformerConfig) -> tuple[float, float]:
        off = abs(config.n_parameters() / n_parameters - 1.0)
        return round(off, 2), abs(math.log(config.feed_forward / (4 * config.width)))

    return misfit


PRESETS: dict[str, TransformerConfig] = {
    "base": TransformerConfig(),
    "big": TransformerConfig(width=1024, n_heads=16, feed_forward=4096, embedding_dropout=0.3, residual_dropout=0.3),
    "small": sized(3_600_000, 4096),
}
"""The paper's two (table 3, with the joint vocabulary of its English-German) and one for small data on a processor."""
