"""Hugging Face's transformers, eager PyTorch, by `generate` and `forward`."""

import time
from pathlib import Path
from typing import Any

import processor
import torch
import transformers
from transformers.generation.streamers import BaseStreamer

START, END = 7999, 0
_Settings: Any = transformers.GenerationConfig  # it has no types


def version() -> str:
    """Its own, and PyTorch's."""
    return f"{transformers.__version__} on torch {torch.__version__}"


def prepare(family: str, folder: Path, scratch: Path, bits: int) -> Path:
    """The folder as it is; bfloat16 is made when it is opened."""
    processor.check(bits)
    return folder


def _opened(kind: Any, folder: Path, bits: int, threads: int, **settings: bool) -> Any:
    torch.set_num_threads(threads)
    return kind.from_pretrained(folder, dtype=torch.float32 if bits == 32 else torch.bfloat16, **settings).eval()


class _Clock(BaseStreamer):
    """When each token came; the prompt, which comes first, is left out."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: object) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Nothing is held back."""


class GPT2:
    """Greedy text by `generate`, the end token never ending it."""

    def __init__(self, folder: Path, bits: int, threads: int, shape: tuple[int, int]) -> None:
        self._model = _opened(transformers.GPT2LMHeadModel, folder, bits, threads)
        self._model.generation_config = _Settings(do_sample=False, pad_token_id=0, eos_token_id=None, use_cache=True)

    @torch.inference_mode()
    def greedy(self, prompts: list[list[int]], new: int) -> tuple[list[list[int]], list[float]]:
        """The new ids of each row, and the seconds after each of them."""
        clock, ids = _Clock(), torch.tensor(prompts)
        started = time.perf_counter()
        found = self._model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, streamer=clock, do_sample=False
        )
        return found[:, ids.shape[1] :].tolist(), [stamp - started for stamp in clock.times[1:]]


class BERT:
    """States by `forward`, with a mask of ones."""

    def __init__(self, folder: Path, bits: int, threads: int, shape: tuple[int, int]) -> None:
        self._model = _opened(transformers.BertModel, folder, bits, threads, add_pooling_layer=False)

    @torch.inference_mode()
    def encode(self, ids: Any) -> Any:
        """ids (B, T) -> states (B, T, D)."""
        given = torch.from_numpy(ids)
        return self._model(input_ids=given, attention_mask=torch.ones_like(given)).last_hidden_state.float().numpy()


class Marian:
    """Beam search by `generate`."""

    def __init__(self, folder: Path, bits: int, threads: int, shape: tuple[int, int]) -> None:
        self._model = _opened(transformers.MarianMTModel, folder, bits, threads)

    @torch.inference_mode()
    def translate(self, sources: list[list[int]], new: int) -> list[list[int]]:
        """The best hypothesis of each source, `new` tokens long; no end and no start in it."""
        longest = max(map(len, sources))
        ids = torch.tensor([row + [START] * (longest - len(row)) for row in sources])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in sources])
        settings = _Settings(
            num_beams=4,
            do_sample=False,
            max_new_tokens=new,
            suppress_tokens=[START, END],
            decoder_start_token_id=START,
            pad_token_id=START,
            eos_token_id=END,
        )
        found = self._model.generate(ids, attention_mask=mask, generation_config=settings)
        return found[:, 1:].tolist()  # type: ignore[no-any-return]


OPENED = {"gpt2": GPT2, "bert": BERT, "marian": Marian}
