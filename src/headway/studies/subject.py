"""What the families of a comparison are compared by: translations of pairs, or text and tasks.

Everything else (plan, sweep, runs, seeds, noise, verdicts, resume) is one code for both.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from headway.studies.plan import CompareSettings, Plan, TaskPlan
from headway.studies.runs import RunResult
from headway.text.tokenizer import Tokenizer
from headway.training.defaults import TextFacts
from headway.training.material import Material
from headway.training.recipe import Recipe
from headway.training.report import Reporter


class Division(Protocol):
    """What was divided, as plan and report need it; a frozen dataclass."""

    @property
    def fingerprint(self) -> str:
        """The content of all that was read."""
        ...

    @property
    def tasks(self) -> tuple[TaskPlan, ...]:
        """The tasks whose parts were divided too."""
        ...


class Subject(Protocol):
    """Data on one side, a report on the other."""

    @property
    def reference(self) -> str:
        """The family whose choices the others take; "first" below."""
        ...

    def fingerprint(self) -> str:
        """The content of every file a comparison reads, as one hash. Raises DataError for one that cannot be read."""
        ...

    def divide(self, folder: Path, fingerprint: str, reporter: Reporter) -> Division:
        """The division the comparison's folder holds, made now where it holds none."""
        ...

    def base(self, given: Recipe, folder: Path) -> Recipe:
        """The part of the recipe that all runs share: paths within the comparison's folder, no model."""
        ...

    def model(self, name: str) -> dict[str, Any]:
        """The model table a family's name stands for here, without its sizes."""
        ...

    def material(self, recipe: Recipe, *, learns: bool) -> Material:
        """What a run of the recipe learns from; learns: it is to learn the vocabulary of all families."""
        ...

    def settled(self, first: Recipe, tokenizer: Tokenizer) -> Recipe:
        """The first family's recipe, every choice made, with what the others need changed."""
        ...

    def alike(self, recipe: Recipe, first: Recipe | None, facts: TextFacts, tokenizer: Tokenizer) -> Recipe:
        """The recipe with the choices that must be those of the first family (None: it is the first)."""
        ...

    def sized(self, model: Mapping[str, Any], facts: TextFacts, wanted: int, first: Recipe | None) -> dict[str, Any]:
        """The model table with about `wanted` parameters. Raises ConfigError where it cannot be had."""
        ...

    def flops(self, recipe: Recipe, facts: TextFacts) -> float:
        """Training arithmetic for each token that a run is counted by."""
        ...

    def measure(
        self, plan: Plan, folder: Path, division: Any, results: Sequence[RunResult], reporter: Reporter
    ) -> dict[str, Any]:
        """The whole table of report.json. Raises TrainingError where nothing is left to compare."""
        ...


def subject_of(asked: CompareSettings, given: Recipe) -> Subject:
    """What these families are compared by; given: the recipe that the further settings mean."""
    if asked.reads:
        from headway.studies.reading import Reading

        return Reading(asked, given)
    from headway.studies.translating import Translating

    return Translating(asked, given)
