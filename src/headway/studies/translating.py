"""Families that translate: divided pairs, one search, BLEU and chrF, alignments, and what can be read back."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from headway.errors import TrainingError
from headway.evaluation.bootstrap import Resampling
from headway.evaluation.lengths import LEAST
from headway.evaluation.references import read_test_set
from headway.studies.arithmetic import training_flops
from headway.studies.division import DATA, PairDivision, division_of, fingerprint_of, part
from headway.studies.findings import alignment_table, findings, timings
from headway.studies.plan import CompareSettings, Plan
from headway.studies.probe import probe_systems
from headway.studies.runs import RunResult
from headway.studies.scores import score_all
from headway.studies.sizes import sized_model
from headway.studies.systems import alignments, decoding_speeds, spread_over_lengths, translate_all
from headway.text.tokenizer import Tokenizer
from headway.training.defaults import TextFacts, model_config
from headway.training.pair_defaults import longest_side
from headway.training.pairs import PairMaterial
from headway.training.recipe import DataSettings, Recipe
from headway.training.report import Reporter

_ALIGNED, _LONGEST_ALIGNED = 3, 20


class Translating:
    """Pairs, and what translates them."""

    def __init__(self, asked: CompareSettings, given: Recipe) -> None:
        self._asked = asked
        self._data = given.data

    @property
    def reference(self) -> str:
        """The first of those asked for."""
        return self._asked.families[0]

    def fingerprint(self) -> str:
        """The content of every file a comparison reads, as one hash."""
        return fingerprint_of(self._asked, self._data)

    def divide(self, folder: Path, fingerprint: str, reporter: Reporter) -> PairDivision:
        """The division the folder holds, made now where it holds none; what cannot be scored is said at once."""
        division = division_of(folder, self._asked, self._data, fingerprint, reporter)
        read_test_set(part(folder, "test"))
        return division

    def base(self, given: Recipe, folder: Path) -> Recipe:
        """The part of the recipe that all runs share; paths are within the comparison's folder."""
        data = DataSettings(
            path=str(folder / DATA / "train.jsonl"),
            validation=str(folder / DATA / "validation.jsonl"),
            clean=False,  # done once, before the division
            longest=longest_side(given, None),
        )
        return replace(given, data=data)

    def model(self, name: str) -> dict[str, Any]:
        """The family's table; the rest follows from its size."""
        return {"family": name}

    def material(self, recipe: Recipe, *, learns: bool) -> PairMaterial:
        """The pairs."""
        return PairMaterial(recipe)

    def settled(self, first: Recipe, tokenizer: Tokenizer) -> Recipe:
        """As it is."""
        return first

    def alike(self, recipe: Recipe, first: Recipe | None, facts: TextFacts, tokenizer: Tokenizer) -> Recipe:
        """The same batches and optimiser for all: those of the first family."""
        if first is None:
            return recipe
        chosen = first.train
        return replace(
            recipe, train=replace(recipe.train, batch_tokens=chosen.batch_tokens, optimizer=chosen.optimizer)
        )

    def sized(self, model: Mapping[str, Any], facts: TextFacts, wanted: int, first: Recipe | None) -> dict[str, Any]:
        """The family's own sizes."""
        return sized_model(model, facts, wanted)

    def flops(self, recipe: Recipe, facts: TextFacts) -> float:
        """For each target token of a pair of mean lengths."""
        lengths = {"source": facts.source_tokens / facts.pairs, "target": facts.training_tokens / facts.pairs}
        return training_flops(recipe.model["family"], model_config(recipe.model), **lengths)

    def measure(
        self, plan: Plan, folder: Path, division: PairDivision, results: Sequence[RunResult], reporter: Reporter
    ) -> dict[str, Any]:
        """Translate, score, align, probe, and time."""
        test = read_test_set(part(folder, "test"))
        systems = translate_all(plan, folder, results, test, reporter)
        if len({system.family for system in systems}) < 2:
            raise TrainingError("every run of all families but one diverged: there is nothing to compare")
        table = findings(plan, division, results, systems, score_all(systems, test, Resampling(), least=LEAST), test)
        sentences = spread_over_lengths(test.sources, _ALIGNED, longest=_LONGEST_ALIGNED)
        table["alignments"] = alignment_table(alignments(plan, folder, systems, sentences))
        table["probe"] = probe_systems(plan, folder, systems, test, reporter) if self._asked.probe else None
        table["timings"] = timings(results, decoding_speeds(plan, folder, systems, test, reporter))
        return table
