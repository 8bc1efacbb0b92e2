"""headway's compiled engine, through the protocol that every decoder of headway keeps."""

import time
from pathlib import Path
from typing import Any

import numpy

import headway
from headway.engine.cache import Cache
from headway.engine.extension import is_built, native
from headway.tasks import writer as writer  # loaded here, as whoever writes has it loaded

START, END = 7999, 0

if is_built():
    native()


def version() -> str:
    """headway's own."""
    return headway.__version__


def prepare(family: str, folder: Path, scratch: Path, bits: int) -> Path:
    """The folder as it is; opened once, as any first use does, so that the packed weights of a GPT-2 are kept in it."""
    if family == "gpt2":
        headway.Writer(folder, engine="compiled", bits=bits)
    return folder


def opened(folder: Path, bits: int, threads: int) -> Any:
    """The model as `headway.Writer(folder, engine="compiled", bits=bits)` opens it, and needing no tokenizer."""
    kept = Cache(folder).read(bits, threads=threads)
    if kept is not None:
        return kept
    from headway.engine.compile import compiled
    from headway.models.registry import family_of

    model = headway.load(folder)[0]
    return compiled(model, family_of(model).name, bits=bits, threads=threads)


class GPT2:
    """Greedy text by `start` and `step`."""

    def __init__(self, folder: Path, bits: int, threads: int, shape: tuple[int, int]) -> None:
        self._model = opened(folder, bits, threads)
        self._capacity = shape[1]

    def greedy(self, prompts: list[list[int]], new: int) -> tuple[list[list[int]], list[float]]:
        """The new ids of each row, and the seconds after each of them."""
        started = time.perf_counter()
        state = self._model.start(rows=len(prompts), capacity=self._capacity)
        ids, ones = numpy.array(prompts), numpy.ones(len(prompts), dtype=numpy.int64)
        counts, found, stamps = ones * ids.shape[1], [], []
        for _ in range(new):
            logits, state = self._model.step(ids, counts, state)
            ids, counts = logits.argmax(-1)[:, None], ones
            found.append(ids)
            stamps.append(time.perf_counter() - started)
        return numpy.concatenate(found, 1).tolist(), stamps


class BERT:
    """States by `encode`."""

    def __init__(self, folder: Path, bits: int, threads: int, shape: tuple[int, int]) -> None:
        self._model = self._open(folder, bits, threads)

    _open = staticmethod(opened)

    def encode(self, ids: Any) -> Any:
        """ids (B, T) -> states (B, T, D)."""
        import torch

        with torch.inference_mode():
            states = self._model.encode(torch.from_numpy(ids), torch.full((len(ids),), ids.shape[1]))
        return states.float().numpy()


class Marian:
    """Beam search by `beam_search`."""

    def __init__(self, folder: Path, bits: int, threads: int, shape: tuple[int, int]) -> None:
        self._model = self._open(folder, bits, threads)

    _open = staticmethod(opened)

    def translate(self, sources: list[list[int]], new: int) -> list[list[int]]:
        """The best hypothesis of each source, `new` tokens long."""
        from headway.decoding.beam import beam_search
        from headway.decoding.search import Search

        search = Search(beam=4, max_new_tokens=new, forbidden_ids=frozenset({START, END}))
        starts = [[START]] * len(sources)
        found = beam_search(self._model, starts, search, sources=sources, end_ids=frozenset({END}))
        return [list(hypotheses[0].ids) for hypotheses in found]


OPENED = {"gpt2": GPT2, "bert": BERT, "marian": Marian}
