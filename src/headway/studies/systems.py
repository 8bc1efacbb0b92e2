"""The trained models of a comparison at work: translations of the test set, decoding speed, alignments.

All use the same search. Translations are files of their own beside the results, so that a comparison that was stopped
does not translate again; speed is measured at the very end, one model after another in the same process.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from headway.errors import FormatError, UsageError
from headway.evaluation.references import TestSet
from headway.evaluation.translation import Translations, translate_sources
from headway.settings import from_dict, to_dict
from headway.studies.plan import Plan, Run
from headway.studies.runs import RESULTS, RunResult, save_result
from headway.tasks.alignment import Alignment
from headway.tasks.translator import Translator
from headway.training.report import Reporter

_SPEED_SENTENCES = 100  # translated in each round of the measurement of speed
_SPEED_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class System:
    """A final run that trained to its end, with its translations of the test set."""

    result: RunResult
    translations: Translations

    @property
    def family(self) -> str:
        """The family it is of."""
        return self.result.family


def run_of(result: RunResult) -> Run:
    """The run that a result is of."""
    return Run(family=result.family, stage=result.stage, seed=result.seed, rate=result.rate, task=result.task)


def model_folder(folder: Path, result: RunResult) -> Path:
    """Where the run's model lies."""
    return folder / "runs" / run_of(result).name


def translate_all(
    plan: Plan, folder: Path, results: Sequence[RunResult], test: TestSet, reporter: Reporter
) -> list[System]:
    """The translations of every final run that did not diverge, made now where they are not there yet."""
    systems = []
    for result in results:
        if result.stage != "final" or result.diverged:
            continue
        name = run_of(result).name
        path = folder / RESULTS / f"{name}.translations.json"
        if not path.exists():
            reporter.note(f"{name} translates {len(test.sources):,} test sentences")
            translator = Translator(model_folder(folder, result), device="auto", engine="torch")
            made = translate_sources(translator, test, name=name, beam=plan.asked.beam)
            save_result(path, to_dict(made))
        systems.append(System(result=result, translations=_load(path)))
    return systems


def decoding_speeds(
    plan: Plan, folder: Path, systems: Sequence[System], test: TestSet, reporter: Reporter
) -> dict[str, float]:
    """Sentences a second of one model of each family, in turn and several times: the medians."""
    first = {system.family: system for system in reversed(systems)}
    translators = {
        found.name: Translator(model_folder(folder, first[found.name].result), device="auto", engine="torch")
        for found in plan.families
        if found.name in first
    }
    step = max(1, len(test.sources) // _SPEED_SENTENCES)
    sentences = list(test.sources[::step])[:_SPEED_SENTENCES]
    reporter.note(f"decoding speed, on {len(sentences)} sentences in {_SPEED_ROUNDS} rounds")
    seconds: dict[str, list[float]] = {name: [] for name in translators}
    for _ in range(_SPEED_ROUNDS):
        for name, translator in translators.items():
            began = time.perf_counter()
            translator.translate(sentences, beam=plan.asked.beam)
            seconds[name].append(time.perf_counter() - began)
    return {name: len(sentences) / median(found) for name, found in seconds.items()}


def alignments(
    plan: Plan, folder: Path, systems: Sequence[System], sentences: Sequence[str]
) -> dict[str, tuple[Alignment, ...] | str]:
    """How the first model of each family aligns its own translations; where it has no alignment, why."""
    found: dict[str, tuple[Alignment, ...] | str] = {}
    for system in systems:
        if system.family in found:
            continue
        translator = Translator(model_folder(folder, system.result), device="auto", engine="torch")
        try:
            translations = translator.translate(list(sentences), beam=plan.asked.beam, alignment=True)
        except UsageError as error:
            found[system.family] = str(error).splitlines()[0]
            continue
        found[system.family] = tuple(made.alignment for made in translations if made.alignment is not None)
    return found


def spread_over_lengths(sources: Sequence[str], count: int, *, longest: int) -> list[str]:
    """A few sentences, the same each time: from short to long, of at most `longest` words."""
    fitting = sorted((len(text.split()), text) for text in sources if 2 <= len(text.split()) <= longest)
    if not fitting:
        return list(sources[:1])
    places = [round((number + 0.5) * len(fitting) / count - 0.5) for number in range(count)]
    return [fitting[place][1] for place in dict.fromkeys(places)]


def rates_of(results: Sequence[RunResult]) -> Mapping[str, float]:
    """The rate of each family's final runs."""
    return {result.family: result.rate for result in results if result.stage == "final"}


def _load(path: Path) -> Translations:
    try:
        return from_dict(Translations, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} is damaged: {error}; delete it, and the test set is translated again") from error
