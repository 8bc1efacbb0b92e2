"""What each width of the compiled engine gives and costs, beside PyTorch: speed, memory, and bits per byte lost."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from headway.corpus.documents import read_documents
from headway.errors import DataError, UsageError
from headway.evaluation.perplexity import WINDOW_WITHOUT_CONTEXT, score_windows
from headway.evaluation.windows import windows
from headway.tasks.writer import Writer

PROMPT = 32
STEPS = 40
BATCH = 8
SCORED = 20_000
"""Tokens of the text that quality is measured on, unless it is said."""


@dataclass(frozen=True, kw_only=True)
class WidthCard:
    """One way to run a model.

    name: "torch", or the bits a weight. weights: bytes. first_token: seconds from a prompt of `PROMPT` tokens to the
    next. tokens_per_second: after it, one row, the likeliest token each time, the median over `STEPS`;
    batch_tokens_per_second: `BATCH` rows at once. bits_per_byte: of the text, None without one; lost: its share above
    that of the stored numbers in PyTorch.
    """

    name: str
    kernels: str
    weights: int
    first_token: float
    tokens_per_second: float
    batch_tokens_per_second: float
    bits_per_byte: float | None
    lost: float | None


def engine_cards(
    model: str | Path,
    text: str | Path | None = None,
    *,
    widths: Sequence[int] = (32, 16, 8, 4),
    tokens: int = SCORED,
    progress: Callable[[str], None] = lambda name: None,
) -> list[WidthCard]:
    """Measure a model that writes in PyTorch and at each width of the engine, one after another.

    text: a file or folder to measure quality on, the first `tokens` tokens of it. Nothing else should run meanwhile.
    Raises ResourceError where the engine cannot run the model, DataError for a text that is too short.
    """
    if tokens < 2:
        raise UsageError(f"tokens must be at least 2, but got {tokens}")
    cards: list[WidthCard] = []
    for bits in (None, *widths):
        progress("torch" if bits is None else f"{bits} bits")
        writer = Writer(model, device="cpu", engine="torch") if bits is None else Writer(model, device="cpu", bits=bits)
        quality = None if text is None else _bits_per_byte(writer, text, tokens)
        first, alone, together = _speed(writer)
        exact = cards[0].bits_per_byte if cards else quality
        cards.append(
            WidthCard(
                name="torch" if bits is None else str(bits),
                kernels=getattr(writer.model, "kernels", "torch"),
                weights=_weights(writer.model),
                first_token=first,
                tokens_per_second=alone,
                batch_tokens_per_second=together,
                bits_per_byte=quality,
                lost=None if quality is None or exact is None else quality / exact - 1,
            )
        )
    return cards


def _speed(writer: Writer) -> tuple[float, float, float]:
    first, alone = _greedy(writer, rows=1)
    _, together = _greedy(writer, rows=BATCH)
    return first, alone, together * BATCH


def _greedy(writer: Writer, *, rows: int) -> tuple[float, float]:
    """Seconds to the first token, and steps a second after it."""
    import torch

    model = writer.model
    room = (model.context or WINDOW_WITHOUT_CONTEXT) - 2
    prompt, steps = min(PROMPT, max(1, room // 2)), min(STEPS, max(1, room // 2))
    ids = torch.arange(rows * prompt).reshape(rows, prompt) * 7 % writer.tokenizer.size
    firsts, seconds = [], []
    with torch.inference_mode():
        for _ in range(3):
            began = time.perf_counter()
            logits, state = model.step(ids, torch.full((rows,), prompt), model.start(rows=rows))
            chosen = logits[:, : writer.tokenizer.size].argmax(-1)
            firsts.append(time.perf_counter() - began)
            for _ in range(steps):
                began = time.perf_counter()
                logits, state = model.step(chosen[:, None], torch.ones(rows, dtype=torch.int64), state)
                chosen = logits[:, : writer.tokenizer.size].argmax(-1)
                seconds.append(time.perf_counter() - began)
    return statistics.median(firsts), 1 / statistics.median(seconds)


def _bits_per_byte(writer: Writer, text: str | Path, most: int) -> float:
    """Of the first tokens of a text, in windows that each move on by half a context."""
    ids: list[int] = [] if writer.tokenizer.end_of_text is None else [writer.tokenizer.end_of_text]
    for document in read_documents(text):
        ids += writer.tokenizer.encode(document.text)
        if len(ids) > most:
            break
    ids = ids[: most + 1]
    if len(ids) < 2:
        raise DataError(f"there is no token to score in {text}; give a longer text")
    window = writer.model.context or WINDOW_WITHOUT_CONTEXT
    total = 0.0
    for piece in windows(numpy.asarray(ids), window, max(1, window // 2)):
        total += score_windows(writer.model, [piece])
    return total / math.log(2) / len(writer.tokenizer.decode_bytes(ids[1:]))


def _weights(model: Any) -> int:
    if hasattr(model, "bits"):
        return int(model.bytes)
    return sum(parameter.nbytes for parameter in model.parameters())
