"""headway on PyTorch: the reference that the fp32 peers are compared with."""

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


class GPT2(with_headway.GPT2):
    """The same loop over a PyTorch model."""

    _open = staticmethod(_opened)


class BERT(with_headway.BERT):
    """The same over a PyTorch model."""

    _open = staticmethod(_opened)


class Marian(with_headway.Marian):
    """The same search over a PyTorch model."""

    _open = staticmethod(_opened)


OPENED = {"gpt2": GPT2, "bert": BERT, "marian": Marian}
