"""What a run learns from, as preparation and training see it: text, or pairs of a source and a target.

The one place where the two differ; `material_of` in training/prepare.py picks by what the model's family reads.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from headway.text.tokenizer import Tokenizer
from headway.training.defaults import TextFacts
from headway.training.objectives import Objective
from headway.training.recipe import Recipe
from headway.training.report import Reporter


@dataclass(frozen=True, kw_only=True)
class Tokenizers:
    """A run's tokenizers: `target` where the target has a vocabulary of its own, None where `source` serves both."""

    source: Tokenizer
    target: Tokenizer | None = None

    @property
    def writes(self) -> Tokenizer:
        """The one the model's output is read with."""
        return self.source if self.target is None else self.target


class Material(Protocol):
    """Files on one side; shards, choices and an objective on the other."""

    @property
    def places(self) -> list[str]:
        """The files and folders that are read: no model folder may lie inside them."""
        ...

    def fingerprint(self) -> str:
        """The content of all that is read, as one hash."""
        ...

    def write(self, folder: Path, known: Tokenizers | None, reporter: Reporter) -> tuple[Tokenizers, TextFacts]:
        """Learn the vocabulary where none is known, and write the shards to `folder`.

        Raises DataError for files that cannot be read or trained on.
        """
        ...

    def fill_in(self, recipe: Recipe, facts: TextFacts, start: Mapping[str, Any] | None) -> tuple[Recipe, list[str]]:
        """The recipe with every choice made, and the reasons; `start`: the model table of the model it starts from."""
        ...

    def objective(self, recipe: Recipe, folder: Path, tokenizers: Tokenizers) -> Objective:
        """What to do well on the shards in `folder`, for a recipe with every choice made."""
        ...

    def describe(self, recipe: Recipe, facts: TextFacts, folder: Path) -> None:
        """Write into the new model folder what only the material knows of the model, such as its labels."""
        ...

    def finish(self, recipe: Recipe, folder: Path, data: Path, model: nn.Module) -> None:
        """After the last step, with the best weights in place; a run cut short here does it again.

        folder: the model folder. data: the shards. model: with the weights of the folder, in evaluation mode.
        """
        ...

    def sampler(self, recipe: Recipe, folder: Path, tokenizers: Tokenizers) -> Callable[[nn.Module], str | None]:
        """Writes a sample with a model; None where none is wanted."""
        ...
