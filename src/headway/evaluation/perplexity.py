"""How well a model that writes predicts a text: perplexity per token, and bits per byte, whatever the vocabulary.

Each document follows the end-of-text token and is scored in stated windows (evaluation/windows.py), every token once.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy

from headway.corpus.documents import read_documents, text_bytes
from headway.errors import DataError, FormatError
from headway.evaluation.windows import Window, windows
from headway.tasks.writer import Writer
from headway.text.tokenizer import Tokenizer

WINDOW_WITHOUT_CONTEXT = 1024
"""The window, in tokens, for a model whose context is unlimited."""

LOGITS_AT_ONCE = 2**25
"""How many logits a batch of windows may hold: 128 MB in float32."""


@dataclass(frozen=True, kw_only=True)
class TextEvaluation:
    """What a model makes of a text.

    loss: mean nats per token; perplexity: its exponential. bits_per_byte: the same sum in bits over the UTF-8 bytes
    scored. tokens, bytes: those scored, all of the text but, where the tokenizer has no end-of-text token, each
    document's first token. window, stride: in tokens. seconds: of scoring alone, without loading.
    """

    model: str
    text: str
    documents: int
    tokens: int
    bytes: int
    loss: float
    perplexity: float
    bits_per_byte: float
    window: int
    stride: int
    device: str
    dtype: str
    seconds: float
    tokens_per_second: float


# More than six parameters: the same words as the command line's.
def evaluate_text(
    model: str | Path,
    path: str | Path,
    *,
    stride: int | None = None,
    device: str = "auto",
    dtype: str | None = None,
    engine: str = "torch",
    bits: int | None = None,
    text_field: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> TextEvaluation:
    """Score a file or folder of text with a model folder or a bundled model.

    stride: how far each window moves on, by default half the context; dtype: None keeps the stored precision;
    engine, bits: as `Writer` takes them, but PyTorch unless said; progress is called with the tokens scored so far.
    Raises DataError for text that cannot be read, FormatError for a model that cannot, ConfigError for a stride outside
    the context.
    """
    documents = read_documents(path, text_field=text_field)
    writer = Writer(model, device=device, dtype=dtype, engine="auto" if bits else engine, bits=bits)
    window = writer.model.context or WINDOW_WITHOUT_CONTEXT
    stride = max(1, window // 2) if stride is None else stride
    counts = _Counts()
    pieces = (
        piece
        for ids in _documents(((document.text, document.more) for document in documents), writer.tokenizer, counts)
        for piece in windows(ids, window, stride)
    )
    network: Any = writer.model  # any family: its full pass is not in the decoding protocol
    began, loss, tokens = time.perf_counter(), 0.0, 0
    for batch in _batches(pieces, _rows(window, writer)):
        loss += score_windows(network, batch)
        tokens += sum(piece.n_scored for piece in batch)
        if progress is not None:
            progress(tokens)
    seconds = time.perf_counter() - began
    if tokens == 0:
        raise DataError(f"there is no token to score in {path}; give a text of more than one token a document")
    mean, (ran_on, precision) = loss / tokens, _place(network)
    return TextEvaluation(
        model=str(model),
        text=str(path),
        documents=counts.documents,
        tokens=tokens,
        bytes=counts.bytes,
        loss=mean,
        perplexity=math.exp(min(mean, 700.0)),
        bits_per_byte=loss / math.log(2) / counts.bytes,
        window=window,
        stride=stride,
        device=ran_on,
        dtype=precision,
        seconds=seconds,
        tokens_per_second=tokens / max(seconds, 1e-9),
    )


def score_windows(model: Any, batch: list[Window]) -> float:
    """The sum, in nats, over the tokens the windows score.

    `model` is any family's causal model by its full pass, (B, T) -> (B, T, V). Raises FormatError where the sum is
    not finite.
    """
    import torch
    from torch.nn import functional

    device = next(model.parameters()).device if isinstance(model, torch.nn.Module) else torch.device("cpu")
    length = max(len(window.ids) for window in batch)
    ids = torch.zeros(len(batch), length, dtype=torch.int64)
    targets = torch.full((len(batch), length), -100)
    for row, window in enumerate(batch):
        ids[row, : len(window.ids)] = torch.as_tensor(numpy.asarray(window.ids, dtype=numpy.int64))
        new = numpy.asarray(window.targets[len(window.targets) - window.n_scored :], dtype=numpy.int64)
        targets[row, len(window.ids) - window.n_scored : len(window.ids)] = torch.as_tensor(new)
    lengths = torch.tensor([len(window.ids) for window in batch])
    with torch.inference_mode():
        logits = model(ids.to(device), lengths.to(device))  # (B, T, V)
        losses = functional.cross_entropy(
            logits.flatten(0, 1).float(), targets.flatten().to(device), ignore_index=-100, reduction="none"
        )
        total = float(losses.double().sum())
    if not math.isfinite(total):
        raise FormatError(
            f"the model's predictions must be finite, but their loss is {total}\n"
            "The weights are damaged or too large for this precision: try --dtype float32, or get the model again."
        )
    return total


def _place(model: Any) -> tuple[str, str]:
    """Device and precision, as the result names them."""
    if hasattr(model, "bits"):
        return "cpu", f"{model.bits} bits, compiled"
    weight = next(iter(model.parameters()))
    return str(weight.device), str(weight.dtype).removeprefix("torch.")


class _Counts:
    """What was read so far, for the result."""

    def __init__(self) -> None:
        self.documents = 0
        self.bytes = 0


def _documents(
    texts: Iterable[tuple[str, bool]], tokenizer: Tokenizer, counts: _Counts
) -> Iterator["numpy.ndarray[Any, Any]"]:
    """The ids of each document behind the end-of-text token; a text may come in pieces, all but the last marked."""
    pieces: list[numpy.ndarray[Any, Any]] = []
    for text, more in texts:
        pieces += tokenizer.encode_corpus([text])
        counts.bytes += text_bytes(text)
        if more:
            continue
        ids = numpy.concatenate(pieces)
        pieces = []
        counts.documents += 1
        if tokenizer.end_of_text is not None:
            yield numpy.concatenate([numpy.array([tokenizer.end_of_text], dtype=ids.dtype), ids])
        else:  # nothing to predict the first token from: neither it nor its bytes count
            counts.bytes -= len(tokenizer.decode_bytes(ids[:1].tolist()))
            yield ids


def _batches(pieces: Iterable[Window], rows: int) -> Iterator[list[Window]]:
    iterator = iter(pieces)
    while batch := list(islice(iterator, rows)):
        yield batch


def _rows(window: int, writer: Writer) -> int:
    return max(1, LOGITS_AT_ONCE // (window * writer.tokenizer.size))
