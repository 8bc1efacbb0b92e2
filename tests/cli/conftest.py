"""A tiny model folder for the verbs to work on, and a way to run them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import headway
from headway.cli.main import run
from headway.models.gpt2 import GPT2, GPT2Config
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.vocabulary import ByteVocabulary


@dataclass(frozen=True)
class Finished:
    """What a command line left behind."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of 257 tokens: the bytes and the end of text."""
    torch.manual_seed(7)
    model = GPT2(GPT2Config(vocabulary=257, context=23, width=10, n_layers=2, n_heads=2, initial_deviation=0.3))
    end = "<|endoftext|>"
    tokens = (*(bytes([byte]) for byte in range(256)), end.encode())
    tokenizer = ByteLevelTokenizer(ByteVocabulary(tokens=tokens, merges=(), special_tokens={end: 256}))
    folder = tmp_path_factory.mktemp("models") / "tiny"
    headway.save(model.eval(), tokenizer, folder)
    return folder


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Runs a command line in this process."""

    def call(*words: str | Path) -> Finished:
        capsys.readouterr()
        code = run([str(word) for word in words])
        out, err = capsys.readouterr()
        return Finished(code, out, err)

    return call
