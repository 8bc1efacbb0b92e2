"""llama.cpp through llama-cpp-python's low-level interface: `llama_decode` over batches, logits asked for where needed.

The GGUF file in float32 is headway's own export of the same folder and lies in the scratch folder already; the other
widths are made from it by llama.cpp's own quantiser, every matrix at the named type ("pure"). Flash attention and the
type of keys and values are left as they come.
"""

import ctypes
import time
from pathlib import Path
from typing import Any

import llama_cpp  # type: ignore[import-not-found, unused-ignore]
import numpy

FILE = "gpt2-f32.gguf"
_TYPES = {
    16: llama_cpp.LLAMA_FTYPE_MOSTLY_BF16,
    8: llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
    4: llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
}


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator, unused-ignore]
def _silent(level: int, text: bytes, given: object) -> None:
    """Its log would stand between the lines of the report."""


def version() -> str:
    """The binding's; the sources of llama.cpp are those it ships."""
    return str(llama_cpp.__version__)


def prepare(family: str, folder: Path, scratch: Path, bits: int) -> Path:
    """The GGUF file of this width."""
    if bits == 32:
        return scratch / FILE
    made = scratch / f"gpt2-{bits}.gguf"
    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype, settings.pure, settings.nthread = _TYPES[bits], True, 2
    llama_cpp.llama_log_set(_silent, ctypes.c_void_p(0))
    failed = llama_cpp.llama_model_quantize(str(scratch / FILE).encode(), str(made).encode(), ctypes.byref(settings))
    if failed:
        raise RuntimeError(f"llama_model_quantize gave {failed}")
    return made


class GPT2:
    """Greedy text; each row is a sequence of one context."""

    def __init__(self, made: Path, bits: int, threads: int, shape: tuple[int, int]) -> None:
        rows, capacity = shape
        llama_cpp.llama_log_set(_silent, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.llama_model_load_from_file(str(made).encode(), llama_cpp.llama_model_default_params())
        if not self._model:
            raise RuntimeError(f"llama.cpp does not open {made}")
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = rows * -(-capacity // 256) * 256  # each sequence has its equal share
        settings.n_batch = settings.n_ubatch = 512
        settings.n_seq_max = rows
        settings.n_threads = settings.n_threads_batch = threads
        self._context = llama_cpp.llama_init_from_model(self._model, settings)
        if not self._context:
            raise RuntimeError("llama.cpp makes no context")
        self._batch = llama_cpp.llama_batch_init(settings.n_batch, 0, 1)
        self._vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))

    def greedy(self, prompts: list[list[int]], new: int) -> tuple[list[list[int]], list[float]]:
        """The new ids of each row, and the seconds after each of them."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        started = time.perf_counter()
        position, ids, stamps = 0, prompts, []
        found: list[list[int]] = [[] for _ in prompts]
        for _ in range(new):
            chosen = self._step(ids, position)
            position += len(ids[0])
            ids = [[one] for one in chosen]
            for row, one in zip(found, chosen, strict=True):
                row.append(one)
            stamps.append(time.perf_counter() - started)
        return found, stamps

    def _step(self, ids: list[list[int]], position: int) -> list[int]:
        """The likeliest next id of each row."""
        batch, number, last = self._batch, 0, []
        for row, tokens in enumerate(ids):
            for place, token in enumerate(tokens):
                batch.token[number] = token
                batch.pos[number] = position + place
                batch.n_seq_id[number] = 1
                batch.seq_id[number][0] = row
                batch.logits[number] = place + 1 == len(tokens)
                number += 1
            last.append(number - 1)
        batch.n_tokens = number
        failed = llama_cpp.llama_decode(self._context, batch)
        if failed:
            raise RuntimeError(f"llama_decode gave {failed}")
        return [int(numpy.argmax(self._logits(place))) for place in last]

    def _logits(self, place: int) -> Any:
        found = llama_cpp.llama_get_logits_ith(self._context, place)
        return numpy.ctypeslib.as_array(found, shape=(self._vocabulary,))


OPENED = {"gpt2": GPT2}
