"""Tiny readers, and folders of theirs changed by hand, for the tests of their layouts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from headway.models.bert import BERT
from headway.models.bert_sizes import BERTConfig


def tiny(**settings: object) -> BERT:
    """A BERT of ours with every parameter random, norms and biases too."""
    sizes = {"vocabulary": 31, "context": 13, "width": 10, "n_layers": 2, "n_heads": 2, "feed_forward": 17}
    model = BERT(BERTConfig(**{**sizes, **settings}))  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3, generator=generator)
    return model.eval()


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    path = folder / "model.safetensors"
    weights = {name: value.clone() for name, value in load_file(path).items()}
    change(weights)
    save_file({name: value.contiguous().clone() for name, value in weights.items()}, path, {"format": "pt"})


def reconfigure(folder: Path, **changes: object) -> None:
    table = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**table, **changes}))
