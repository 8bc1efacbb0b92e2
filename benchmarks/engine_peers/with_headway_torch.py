"""headway on PyTorch: the reference that the fp32 peers are compared with."""

import time
from pathlib import Path
from typing import Any

import processor
import torch
import with_headway

import headway


def version() -> str:
    """headway's, and PyTorch's."""
    return f"{headway.__version__} on torch {torch.__version__}"


def prepare(family: str, folder: Path, scratch: Path, bits: int) -> Path:
    """The folder as it is; bfloat16 is made when it is opened."""
    processor.check(bits)
    return folder


def _opened(folder: Path, bits: int, threads: int) -> Any:
    torch.set_num_threads(threads)
    return headway.load(folder, dtype="float32" if bits == 32 else "bfloat16")[0]


class GPT2:
    """The same loop over a PyTorch model."""

    def __init__(self, folder: Path, bits: int, threads: int, shape: tuple[int, int]) -> None:
        self._model = _opened(folder, bits, threads)
        self._capacity = shape[1]

    @torch.inference_mode()
    def greedy(self, prompts: list[list[int]], new: int) -> tuple[list[list[int]], list[float]]:
        """The new ids of each row, and the seconds after each of them."""
        started = time.perf_counter()
        state = self._model.start(rows=len(prompts), capacity=self._capacity)
        ids, ones = torch.tensor(prompts), torch.ones(len(prompts), dtype=torch.int64)
        counts, found, stamps = ones * ids.shape[1], [], []
        for _ in range(new):
            logits, state = self._model.step(ids, counts, state)
            ids, counts = logits.argmax(-1, keepdim=True), ones
            found.append(ids)
            stamps.append(time.perf_counter() - started)
        return torch.cat(found, 1).tolist(), stamps


class BERT(with_headway.BERT):
    """The same over a PyTorch model."""

    _open = staticmethod(_opened)


class Marian(with_headway.Marian):
    """The same search over a PyTorch model."""

    _open = staticmethod(_opened)


OPENED = {"gpt2": GPT2, "bert": BERT, "marian": Marian}
