"""The benchmark of tokenizers: every way of a vocabulary gives the same ids."""

from typing import Any

import pytest

from headway.text.tokenizer import Tokenizer
from headway.text.word_piece_training import train_word_piece


@pytest.fixture
def benchmark() -> Any:
    import tokenizer

    return tokenizer


@pytest.mark.parametrize("kind", ["bytes", "word pieces"])
def test_every_way_gives_the_same_ids(benchmark: Any, kind: str) -> None:
    documents = benchmark.made_up(20_000)
    tokenizer = Tokenizer.load("gpt2") if kind == "bytes" else train_word_piece(documents, 500)
    ways = benchmark.paths(tokenizer)
    wanted = [tokenizer.encode(document) for document in documents]
    assert len(ways) >= 4
    for name, encode in ways.items():
        assert [list(ids) for ids in encode(documents)] == wanted, name
