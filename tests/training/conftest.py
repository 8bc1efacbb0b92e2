from collections.abc import Callable
from pathlib import Path

import pytest

from headway.training.recipe import Recipe, recipe_from

WORDS = "the sea was calm and the old ship went on under a white moon while men sang of home".split()


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A folder of eleven short documents."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(11):
        words = [WORDS[(number * place + place * place) % len(WORDS)] for place in range(150)]
        (folder / f"{number}.txt").write_text(" ".join(words) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def recipe(texts: Path, tmp_path: Path) -> Callable[..., Recipe]:
    """A recipe of a model so small that a step takes milliseconds."""

    def build(*assignments: str, output: str = "model", data: Path | None = None, **budget: float) -> Recipe:
        small = (
            "model.width=14",
            "model.n_layers=2",
            "model.n_heads=2",
            "model.context=17",
            "model.residual_dropout=0.1",
        )
        settings = ("tokenizer.vocabulary=270", "train.batch_size=6", "train.save_every=4", "train.evaluations=3")
        quiet = ("train.sample_tokens=5", "train.log_every=2", "train.validation_tokens=100")
        return recipe_from(
            data or texts,
            tmp_path / output,
            budget=budget or {"steps": 11},
            assignments=(*small, *settings, *quiet, *assignments),
        )

    return build
