"""A tokenizer small enough to see through, a GPT-2 of its size, and a decoder that writes what it is told."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy
import torch
from torch import Tensor

from headway.models.gpt2 import GPT2, GPT2Config
from headway.text.streaming import StreamDecoder
from headway.text.tokenizer import Tokenizer

END = 256
WORDS = {257: b"the ", 258: b" END", 259: b"\n\n", 260: b"ab", 261: b"ba", 262: "é€".encode(), 263: b"a\xe2"}
SIZE = 264


class ByteTokenizer(Tokenizer):
    """Ids 0..255 are the bytes, 256 ends a text, and a few more stand for several bytes at once."""

    def __init__(self, *, has_end: bool = True) -> None:
        self._has_end = has_end

    @property
    def size(self) -> int:
        return SIZE

    @property
    def special_tokens(self) -> Mapping[str, int]:
        return {"<|endoftext|>": END} if self._has_end else {}

    @property
    def end_of_text(self) -> int | None:
        return END if self._has_end else None

    def encode(self, text: str, *, allowed_special: Collection[str] | Literal["all"] = ()) -> list[int]:
        return list(text.encode())

    def encode_corpus(self, texts: Iterable[str]) -> list[numpy.ndarray]:
        return [numpy.array(self.encode(text)) for text in texts]

    def encode_bytes(self, data: bytes) -> list[int]:
        return list(data)

    def decode(self, ids: Iterable[int]) -> str:
        return self.decode_bytes(ids).decode(errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return b"".join(self._bytes(token) for token in ids)

    def stream(self) -> StreamDecoder:
        return StreamDecoder(self.decode_bytes)

    def save(self, folder: Path, *, model_max_length: int | None = None) -> None:
        raise AssertionError("this double is never written to a folder")

    def _bytes(self, token: int) -> bytes:
        if token == END:
            return b"<|endoftext|>"
        return WORDS[token] if token in WORDS else bytes([token])


def tiny_gpt2(context: int = 67) -> GPT2:
    """Random weights, large enough that the most probable tokens vary with the text."""
    torch.manual_seed(5)
    config = GPT2Config(vocabulary=SIZE, context=context, width=14, n_layers=2, n_heads=2, initial_deviation=0.6)
    return GPT2(config)


class ScriptedState:
    def __init__(self, lengths: list[int]) -> None:
        self.counts = lengths

    @property
    def lengths(self) -> Tensor:
        return torch.tensor(self.counts)

    def select(self, indices: Sequence[int] | Tensor) -> "ScriptedState":
        return ScriptedState([self.counts[int(index)] for index in indices])

    def join(self, other: "ScriptedState") -> "ScriptedState":
        return ScriptedState(self.counts + other.counts)

    def rewind(self, counts: Sequence[int] | Tensor) -> "ScriptedState":
        return ScriptedState([have - int(n) for have, n in zip(self.counts, counts, strict=True)])

    def copy(self) -> "ScriptedState":
        return ScriptedState(list(self.counts))


class ScriptedDecoder:
    """After a prompt of one token it writes the script; its logits are 0 elsewhere and 9 at the scripted id."""

    context = None

    def __init__(self, script: Sequence[int]) -> None:
        self.script = script
        self.n_steps = 0

    def start(
        self,
        source: Tensor | None = None,
        source_lengths: Tensor | None = None,
        *,
        rows: int | Sequence[int],
        capacity: int | None = None,
    ) -> ScriptedState:
        assert isinstance(rows, int)
        return ScriptedState([0] * rows)

    def step(
        self,
        ids: Tensor,
        counts: Tensor,
        state: ScriptedState,
        *,
        every: bool = False,
        trace: object = None,
        ablate: object = None,
    ) -> tuple[Tensor, ScriptedState]:
        self.n_steps += 1
        after = [have + int(n) for have, n in zip(state.counts, counts, strict=True)]
        logits = torch.zeros(len(after), ids.shape[1], SIZE)
        for row, before in enumerate(state.counts):
            for at in range(ids.shape[1]):
                logits[row, at, self.script[before + at] if before + at < len(self.script) else END] = 9.0
        if every:
            return logits, ScriptedState(after)
        return logits[torch.arange(len(after)), counts - 1], ScriptedState(after)
