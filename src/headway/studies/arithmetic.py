"""Training arithmetic counted from a model's sizes: floating-point operations for each target token, or token of text.

Only products are counted (two operations for each multiplication), embeddings, norms, gates and softmax are not; the
way back costs twice the way there (Kaplan et al. 2020, section 2.1). A pair is taken as one of mean lengths, S source
and T target tokens, ends included, and padding as nothing. D, F, V as everywhere; of the RNNs the letters of the paper:
n state, m embedding, n' alignment, l maxout, and c = what an annotation or summary has (2n where bidirectional).
Of families that read and write text alone, T is a row and G the tokens of it that are asked for: all, or the hidden
ones where a reader guesses. A Fourier or Hartley transform is counted as a fast one, N/2 log N complex products.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from headway.errors import ConfigError
from headway.models.bert_sizes import BERTConfig
from headway.models.gpt2 import GPT2Config
from headway.models.laplace import LaplaceConfig
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


def reading_flops(family: str, config: Any, *, row: float, asked: float) -> float:
    """Operations of training for each token of rows of `row` tokens, of which the share `asked` is to be said.

    Raises ConfigError for a family whose arithmetic is not written down here.
    """
    if family not in ROW_PRODUCTS:
        raise ConfigError(f"the arithmetic of {family} is not counted; it is of {', '.join(ROW_PRODUCTS)}")
    return _THERE_AND_BACK * ROW_PRODUCTS[family](config, row, asked) / row


def gpt2_products(config: GPT2Config, row: float, asked: float) -> float:
    """Each layer: T (4 D^2 + 2 D F + D (T + 1)), the causal half of attention; output: G D V."""
    width = config.width
    layer = 4 * width**2 + 2 * width * config.hidden + width * (row + 1)
    return float(row * config.n_layers * layer + asked * row * width * config.vocabulary)


def bert_products(config: BERTConfig, row: float, asked: float) -> float:
    """Each layer: T (2 or, gated, 3 D F) and its mixer; the head: G (D V, and D^2 for its transform).

    Attention: T (4 D^2 + 2 D T). Fourier, Hartley: 2 T D (log2 D + log2 T). Laplace, both directions in one bank: see
    laplace_products.
    """
    width = config.width
    inner = (3 if config.gated else 2) * width * config.hidden
    mixers = sum(_mixer_products(config.mixer_of(layer), width, row) for layer in range(config.n_layers))
    head = width * config.vocabulary + width**2 * config.transform
    before = width**2 * config.embedding_projection
    return float(row * (config.n_layers * inner + mixers + before) + asked * row * head)


def laplace_products(config: LaplaceConfig, row: float, asked: float) -> float:
    """Each layer, with N complex modes: T (6 D N for what is read, gated and written, 4 N for the scan, 2 D F)."""
    width = config.width
    layer = 6 * width * config.bank + 4 * config.bank + 2 * width * config.hidden
    return float(row * config.n_layers * layer + asked * row * width * config.vocabulary)


def _mixer_products(mixer: str, width: int, row: float) -> float:
    """For each token."""
    if mixer == "attention":
        return 4.0 * width**2 + 2.0 * width * row
    if mixer in ("fourier", "hartley"):
        return 2.0 * width * (math.log2(width) + math.log2(max(row, 2.0)))
    if mixer == "laplace":
        modes = (width + 1) // 2
        return 6.0 * width * modes + 4.0 * modes
    return 0.0


ROW_PRODUCTS: Mapping[str, Callable[[Any, float, float], float]] = {
    "gpt2": gpt2_products,
    "bert": bert_products,
    "laplace": laplace_products,
}
"""By the registry's family name: multiplications of one pass over a row, of which a share is asked for."""
