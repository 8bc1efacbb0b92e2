"""A tokenizer of one id a byte, so that tests can say which ids they expect."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy
import pytest

from headway.text.tokenizer import Tokenizer

END = 256


class ByteTokenizer(Tokenizer):
    def __init__(self, size: int = 257, end: int | None = END) -> None:
        self._size = size
        self._end = end

    @property
    def size(self) -> int:
        return self._size

    @property
    def special_tokens(self) -> Mapping[str, int]:
        return {} if self._end is None else {"<|endoftext|>": self._end}

    @property
    def end_of_text(self) -> int | None:
        return self._end

    def encode(self, text: str, *, allowed_special: Collection[str] | Literal["all"] = ()) -> list[int]:
        return list(text.encode())

    def encode_corpus(self, texts: Sequence[str]) -> list[numpy.ndarray]:
        return [numpy.frombuffer(text.encode(), dtype=numpy.uint8) for text in texts]

    def encode_bytes(self, data: bytes) -> list[int]:
        return list(data)

    def decode(self, ids: Iterable[int]) -> str:
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return bytes(ids)

    def stream(self) -> None:
        raise AssertionError("the corpus room decodes nothing")

    def save(self, folder: Path) -> None:
        raise AssertionError("the corpus room saves no tokenizer")


@pytest.fixture
def tokenizer() -> ByteTokenizer:
    return ByteTokenizer()


@pytest.fixture
def make_tokenizer() -> type[ByteTokenizer]:
    return ByteTokenizer


@pytest.fixture(scope="session")
def gpt2() -> Tokenizer:
    """The real one, loaded once: it takes a second."""
    return Tokenizer.load("gpt2")
