"""How well a reader guesses hidden words of a text: bits and accuracy per hidden token, at a stated share and seed.

Words are hidden as in training (corpus/masking.py), the same ones at every call. With `every`, each token is hidden in
turn, alone: the pseudo-log-likelihood of Salazar et al. 2020, which is no code length, as both sides are seen.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy
import torch
from torch import Tensor
from torch.nn import functional

from headway.corpus.batches import IGNORED
from headway.corpus.documents import Documents, read_documents, text_bytes
from headway.corpus.layout_of_texts import lay_out
from headway.corpus.masking import Masking, masking_of
from headway.errors import ConfigError, DataError, FormatError
from headway.tasks.reader import Reader
from headway.tasks.reading import BATCH_TOKENS, Opened

_AT_ONCE = 64  # rows laid out before they are read
_LOGITS_AT_ONCE = 2**24  # 64 MB in float32


@dataclass(frozen=True, kw_only=True)
class HidingSettings:
    """What is hidden: a share of each window's tokens drawn by `seed`, words whole or not; or every token in turn.

    tokens: only the first so many tokens of the text are read (None: all), which `every` needs: it reads each window
    as often as it has tokens.
    """

    share: float = 0.15
    seed: int = 1
    whole_words: bool = False
    every: bool = False
    tokens: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ConfigError(f"the share of hidden words must be above 0 and at most 1, but got {self.share}")
        if self.seed < 0 or (self.tokens is not None and self.tokens < 1):
            raise ConfigError(f"seed must be at least 0 and tokens at least 1, but got {self.seed} and {self.tokens}")


@dataclass(frozen=True, kw_only=True)
class MaskedScores:
    """What a reader makes of a text.

    tokens, bytes: of the text read. masked: hidden tokens that were asked for. bits_per_masked_token: their mean
    cross-entropy; pseudo_perplexity: two to that power. pseudo_bits_per_byte: with `every`, all tokens' bits over the
    bytes read, else None. share: of tokens that were hidden, None with `every`. window: the most tokens of text in a
    row.
    """

    text: str
    documents: int
    tokens: int
    bytes: int
    masked: int
    masked_accuracy: float
    bits_per_masked_token: float
    pseudo_perplexity: float
    pseudo_bits_per_byte: float | None
    share: float | None
    seed: int
    whole_words: bool
    window: int
    seconds: float


def score_masked_text(
    reader: Reader,
    path: str | Path,
    *,
    hiding: HidingSettings | None = None,
    text_field: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> MaskedScores:
    """Score a file or folder of text; a document longer than the model is read in windows of like size, side by side.

    progress is called with the tokens asked for so far. Raises FormatError for a reader without a masked-word head,
    DataError for no text.
    """
    hiding = hiding or HidingSettings()
    model, tokenizer = reader.model, reader.tokenizer
    if getattr(model, "output", None) is None or not hasattr(model, "before_output"):
        raise FormatError(
            "the model guesses no words: it has no masked-word head\nTake a model trained on hidden words."
        )
    opened = Opened(name="the model", model=model, tokenizer=tokenizer, settings=reader.settings)
    masking = masking_of(tokenizer, share=hiding.share, whole_words=hiding.whole_words)
    text = _Text(read_documents(path, text_field=text_field), opened, hiding.tokens)
    began, loss, right, asked = time.perf_counter(), 0.0, 0, 0
    rows = _every(text, masking) if hiding.every else _hidden(text, masking, hiding.seed)
    for some in _batches(rows):
        found = _score(opened, some)
        loss, right, asked = loss + found[0], right + found[1], asked + found[2]
        if progress is not None:
            progress(asked)
    if asked == 0:
        raise DataError(f"there is no word to hide in {path}\nGive a text with words the tokenizer knows.")
    bits = loss / math.log(2)
    return MaskedScores(
        text=str(path),
        documents=text.documents,
        tokens=text.tokens,
        bytes=text.bytes,
        masked=asked,
        masked_accuracy=right / asked,
        bits_per_masked_token=bits / asked,
        pseudo_perplexity=math.exp(min(loss / asked, 700.0)),
        pseudo_bits_per_byte=bits / text.bytes if hiding.every else None,
        share=None if hiding.every else hiding.share,
        seed=hiding.seed,
        whole_words=hiding.whole_words,
        window=opened.room(pair=False),
        seconds=time.perf_counter() - began,
    )


Row = tuple["numpy.ndarray[tuple[int, ...], numpy.dtype[numpy.int64]]", ...]
"""What the model sees and what it is to guess, IGNORED elsewhere, both (T,)."""


class _Text:
    """The rows of a text, counting what was read."""

    def __init__(self, read: Documents, opened: Opened, limit: int | None) -> None:
        self.documents = self.tokens = self.bytes = 0
        self._read = read
        self._opened = opened
        self._limit = limit

    def rows(self) -> Iterator["numpy.ndarray[tuple[int, ...], numpy.dtype[numpy.int64]]"]:
        tokenizer = self._opened.tokenizer
        room = self._opened.room(pair=False)
        for document in self._read:
            ids = tokenizer.encode_corpus([document.text])[0]
            left = len(ids) if self._limit is None else min(len(ids), self._limit - self.tokens)
            if left < len(ids):
                self.bytes += round(text_bytes(document.text) * left / len(ids))  # bytes are not kept token by token
            else:
                self.bytes += text_bytes(document.text)
            self.documents += 1
            self.tokens += left
            for part in numpy.array_split(ids[:left], math.ceil(left / room)) if left else ():
                yield numpy.array(lay_out(tokenizer, part.tolist())[0], dtype=numpy.int64)
            if self._limit is not None and self.tokens >= self._limit:
                return


def _hidden(text: _Text, masking: Masking, seed: int) -> Iterator[Row]:
    for number, row in enumerate(text.rows()):
        if masking.ordinary[row].any():
            seen, wanted = masking.hide(row[None], f"evaluation {seed} {number}")
            yield seen[0], wanted[0]


def _every(text: _Text, masking: Masking) -> Iterator[Row]:
    for row in text.rows():
        for place in numpy.flatnonzero(masking.ordinary[row]):
            seen, wanted = row.copy(), numpy.full_like(row, IGNORED)
            seen[place], wanted[place] = masking.mask, row[place]
            yield seen, wanted


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Rows of like length together, from as many as are laid out at once."""
    while some := sorted(islice(rows, _AT_ONCE), key=lambda row: len(row[0])):
        batch: list[Row] = []
        for row in some:
            if batch and (len(batch) + 1) * len(row[0]) > BATCH_TOKENS:
                yield batch
                batch = []
            batch.append(row)
        yield batch


@torch.no_grad()
def _score(opened: Opened, rows: list[Row]) -> tuple[float, int, int]:
    """Nats, right guesses and hidden tokens of a batch."""
    device = opened.device
    lengths = torch.tensor([len(seen) for seen, _ in rows])
    ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
    targets = torch.full_like(ids, IGNORED)
    for place, (seen, wanted) in enumerate(rows):
        ids[place, : len(seen)], targets[place, : len(seen)] = torch.from_numpy(seen), torch.from_numpy(wanted)
    states = opened.model.encode(ids.to(device), lengths)  # (B, T, D)
    hidden = (targets != IGNORED).to(device)
    read: Tensor = opened.model.before_output(states[hidden])  # (M, D)
    answers = targets.to(device)[hidden]
    loss, right = 0.0, 0
    for some in range(0, len(read), step := max(1, _LOGITS_AT_ONCE // opened.tokenizer.size)):
        logits = opened.model.output(read[some : some + step]).float()
        loss += float(functional.cross_entropy(logits, answers[some : some + step], reduction="none").double().sum())
        right += int((logits.argmax(dim=-1) == answers[some : some + step]).sum())
    if not math.isfinite(loss):
        raise FormatError(
            f"the model's guesses must be finite, but their loss is {loss}\n"
            "The weights are damaged or too large for this precision: try --dtype float32, or get the model again."
        )
    return loss, right, len(answers)
