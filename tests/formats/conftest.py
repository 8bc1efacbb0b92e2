"""Tiny models and folders for the tests of formats."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from headway.formats.folder import save
from headway.models.gpt2 import GPT2, GPT2Config

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported; it would look for names on the network


def tiny_config() -> GPT2Config:
    return GPT2Config(vocabulary=31, context=13, width=10, n_layers=3, n_heads=2, feed_forward=17)


def tiny_model(seed: int = 1, config: GPT2Config | None = None) -> GPT2:
    """A GPT-2 with every parameter random, norms and biases too, so that none can be mistaken for another."""
    model = GPT2(config or tiny_config())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3, generator=generator)
    return model.eval()


@pytest.fixture(scope="session")
def make_model() -> Callable[..., GPT2]:
    return tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved tiny model."""
    save(tiny_model(), None, tmp_path / "model")
    return tmp_path / "model"
