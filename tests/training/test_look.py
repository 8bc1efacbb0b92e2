"""A run can be watched: the model is shown before the first step and at every evaluation, and nothing changes by it."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from headway.tasks.writer import Writer
from headway.text.tokenizer import Tokenizer
from headway.training.recipe import Recipe
from headway.training.run import train


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_looking_changes_no_weight_and_happens_first_and_at_every_evaluation(
    recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    seen: list[tuple[bool, bytes]] = []

    def look(model: nn.Module, tokenizer: Tokenizer) -> None:
        evaluating = not model.training
        Writer.of(model, tokenizer).write("the sea", max_new_tokens=3, seed=1)
        torch.rand(7)  # even where it draws
        weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
        seen.append((evaluating, weights.numpy().tobytes()))

    train(recipe(output="watched"), look=look)
    train(recipe(output="alone"))
    assert digest(tmp_path / "watched") == digest(tmp_path / "alone")
    assert all(evaluating for evaluating, _ in seen)
    assert len(seen) == 1 + 3 and len({weights for _, weights in seen}) == 4
