"""Windows over a token stream: batches to train on, and fixed windows to measure on.

Documents lie packed one after another with the end-of-text token between them, as GPT-2 was trained (Radford et al.
2019, section 2): that token predicts the first token of the next document, so a text can be begun from nothing.
"""

from collections.abc import Iterator

import numpy
from numpy.typing import NDArray

from headway.corpus.permutation import draw, permute
from headway.corpus.stream import TokenStream
from headway.errors import ConfigError, DataError

IGNORED = -100  # the target that no loss counts, torch's own default

Ids = NDArray[numpy.int64]


class TokenBatches:
    """The training batches of a stream: each a pure function of (seed, step), whatever was asked before.

    An epoch goes through the stream once, as a ring: the end-of-text token after the last document is the one before
    the first. From a place drawn for the epoch on, the ring is cut into windows of `context` targets (the last window
    takes what is left and is padded), and the windows come in an order drawn for the epoch. So every token is a target
    once an epoch. A batch that begins at the end of an epoch is filled up from the next one.
    """

    def __init__(self, stream: TokenStream, *, context: int, batch_size: int, seed: int, end_of_text: int) -> None:
        """Raises ConfigError for sizes below 1, and DataError as `check_fits` does."""
        if context < 1 or batch_size < 1:
            raise ConfigError(f"context and batch size must be at least 1, but got {context=}, {batch_size=}")
        check_fits(stream, context)
        self.context = context
        self.batch_size = batch_size
        self.windows = -(-stream.tokens // context)
        self._stream = stream
        self._seed = seed
        self._end_of_text = end_of_text

    @property
    def steps_per_epoch(self) -> float:
        """Batches in which every token was a target once; seldom a whole number."""
        return self.windows / self.batch_size

    def epoch_of(self, step: int) -> int:
        """The epoch, from 0, in which the batch of that step begins."""
        return step * self.batch_size // self.windows

    def batch(self, step: int) -> tuple[Ids, Ids]:
        """Inputs and targets (B, T) of the step, from 0; a target that does not count is IGNORED.

        A target is the token after its input; where it is a document's first, the input is the end-of-text token.
        """
        inputs = numpy.full((self.batch_size, self.context), self._end_of_text, dtype=numpy.int64)
        targets = numpy.full((self.batch_size, self.context), IGNORED, dtype=numpy.int64)
        places = numpy.arange(step * self.batch_size, (step + 1) * self.batch_size, dtype=numpy.int64)
        for epoch in range(int(places[0]) // self.windows, int(places[-1]) // self.windows + 1):
            rows = numpy.flatnonzero(places // self.windows == epoch)
            order = permute(places[rows] % self.windows, self.windows, f"order {self._seed} {epoch}")
            begin = draw(self._stream.tokens, f"begin {self._seed} {epoch}")
            for row, window in zip(rows.tolist(), order.tolist(), strict=True):
                count = min(self.context, self._stream.tokens - window * self.context)
                ids = _ring(self._stream, begin + window * self.context - 1, count + 1)
                inputs[row, :count], targets[row, :count] = ids[:-1], ids[1:]
        return inputs, targets


def check_fits(stream: TokenStream, context: int) -> None:
    """Raises DataError where the stream is shorter than one window of `context` targets."""
    if stream.tokens < context:
        shorter = f", or take shorter windows: --set train.window={stream.tokens}" if stream.tokens > 1 else ""
        raise DataError(
            f"the text must fill one window at least, but the corpus has {stream.tokens} tokens "
            f"and the context is {context}\nGive more text{shorter}"
            + (f" (or a model of it: --set model.context={stream.tokens})" if shorter else "")
        )


def evaluation_windows(
    stream: TokenStream,
    *,
    context: int,
    batch_size: int,
    stride: int | None = None,
    limit: int | None = None,
) -> Iterator[tuple[Ids, Ids]]:
    """Inputs and targets (B, T) over the whole stream in order; each token is a target that counts exactly once.

    stride: how many new targets a window has (None: `context`, windows side by side); with fewer, each is seen with
    at least context - stride tokens before it. limit: only so many windows as that many targets take, spread evenly
    over the stream. The last batch may have fewer rows; a stream shorter than `context` gives one padded row. Raises
    ConfigError for sizes out of range.
    """
    stride = context if stride is None else stride
    if context < 1 or batch_size < 1 or not 1 <= stride <= context or (limit is not None and limit < 1):
        raise ConfigError(
            "windows need context, batch size and limit of at least 1 and a stride in 1..context, "
            f"but got {context=}, {batch_size=}, {stride=}, {limit=}"
        )
    total = stream.tokens
    windows = 1 + -(-max(0, total - context) // stride) if total else 0
    kept = windows if limit is None else min(windows, -(-limit // stride))
    for number in range(0, kept, batch_size):
        rows = [place * windows // kept for place in range(number, min(number + batch_size, kept))]
        inputs = numpy.full((len(rows), context), stream.end_of_text, dtype=numpy.int64)
        targets = numpy.full((len(rows), context), IGNORED, dtype=numpy.int64)
        for row, window in enumerate(rows):
            end = min(context + window * stride, total)
            new = context + (window - 1) * stride if window else 0  # the first target that no window had before
            begin = max(0, end - context)
            ids = _ring(stream, begin - 1, end - begin + 1)
            inputs[row, : end - begin] = ids[:-1]
            targets[row, new - begin : end - begin] = ids[new - begin + 1 :]
        yield inputs, targets


def _ring(stream: TokenStream, start: int, count: int) -> Ids:
    """(count,) ids from `start` on, the stream's first following its last."""
    start %= stream.tokens
    pieces = []
    while count:
        piece = stream.read(start, min(count, stream.tokens - start))
        pieces.append(piece)
        count -= len(piece)
        start = 0
    return numpy.concatenate(pieces)
