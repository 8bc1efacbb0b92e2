"""Training arithmetic counted from a model's sizes: floating-point operations for each target token.

Only products are counted (two operations for each multiplication), embeddings, norms, gates and softmax are not; the
way back costs twice the way there (Kaplan et al. 2020, section 2.1). A pair is taken as one of mean lengths, S source
and T target tokens, ends included, and padding as nothing. D, F, V as everywhere; of the RNNs the letters of the paper:
n state, m embedding, n' alignment, l maxout, and c = what an annotation or summary has (2n where bidirectional).
"""

from collections.abc import Callable, Mapping
from typing import Any

from headway.errors import ConfigError
from headway.models.rnn_search import RNNSearchConfig
from headway.models.transformer import TransformerConfig

_THERE_AND_BACK = 2 * 3  # two operations a multiplication; once there, twice back


def training_flops(family: str, config: Any, *, source: float, target: float) -> float:
    """Operations of training for each target token, with `source` and `target` tokens in a pair.

    Raises ConfigError for a family whose arithmetic is not written down here.
    """
    if family not in PRODUCTS:
        raise ConfigError(f"the arithmetic of {family} is not counted; it is of {', '.join(PRODUCTS)}")
    return _THERE_AND_BACK * PRODUCTS[family](config, source, target) / target


def transformer_products(config: TransformerConfig, source: float, target: float) -> float:
    """Multiplications of one pass over a pair.

    Encoder, each layer: S (4 D^2 + 2 D F + 2 D S). Decoder, each layer: T (6 D^2 + 2 D F + D (T + 1) + 2 D S) with the
    causal half of self-attention, and 2 D^2 S for the keys and values of the source. Output: T D V.
    """
    width, inner = config.width, 2 * config.width * config.feed_forward
    encoder = source * (4 * width**2 + inner + 2 * width * source)
    decoder = target * (6 * width**2 + inner + width * (target + 1) + 2 * width * source)
    read = 2 * width**2 * source
    layers = config.encoder_layers * encoder + config.decoder_layers * (decoder + read)
    return float(layers + target * width * config.vocabulary)


def rnn_search_products(config: RNNSearchConfig, source: float, target: float) -> float:
    """Multiplications of one pass over a pair.

    Encoder, each direction: 3 S n (m + n). Decoder: 3 T n (m + n), first state n^2, maxout 2 T l (n + m), output T l V.
    What reads c: c (3 n + 2 l), once where the context is fixed. With attention once for each source token, and also
    S c n' for the keys, T n n' for the queries and T S (n' + 3 n + 2 l) for the scores and the sums.
    """
    state, embedding, maxout = config.width, config.embedding, config.maxout
    unit = 3 * state * (embedding + state)
    encoder = source * unit * (2 if config.bidirectional else 1)
    decoder = target * (unit + 2 * maxout * (state + embedding) + maxout * config.vocabulary) + state**2
    reads = 3 * state + 2 * maxout
    if config.attention == "fixed":
        return float(encoder + decoder + config.annotation * reads)
    keys = source * config.annotation * (config.aligning + reads)
    attention = target * (state * config.aligning + source * (config.aligning + reads))
    return float(encoder + decoder + keys + attention)


PRODUCTS: Mapping[str, Callable[[Any, float, float], float]] = {
    "transformer": transformer_products,
    "rnnsearch": rnn_search_products,
}
"""By the registry's family name: multiplications of one pass over a pair with so many source and target tokens."""
