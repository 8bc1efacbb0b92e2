"""A comparison as one frozen value: what was asked, what was decided from the data, and every run it takes.

Saved as plan.json before the first run; the same command goes on with it, another one is refused.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from headway.errors import ConfigError, FormatError, TrainingError
from headway.models.registry import VARIANTS, Family, family
from headway.settings import from_dict, to_dict
from headway.storage import replace_file
from headway.training.reading_defaults import tuning_rate
from headway.training.recipe import BudgetSettings, DataSettings, Recipe, TokenizerSettings, TrainSettings

PLAN = "plan.json"
PAIRED = "paired"
"""An empty file beside the parts of a task whose texts come in pairs."""
Stage = Literal["sweep", "final", "tuned", "scratch"]
"""A sweep's run, one that is compared, one fine-tuned from that on a task, one of the same shape that learns the task
from nothing."""

EQUALITIES = {
    "parameters": (
        "Equal parameters: every model has, within 2 %, the same number of parameters, and every run gets the same "
        "budget of {budget}."
    ),
    "flops": (
        "Equal training arithmetic: every run spends the same number of floating-point operations, counted from the "
        "models' sizes (not measured), so that a cheaper model takes more steps; every model has, within 2 %, the same "
        "number of parameters."
    ),
    "tokens": (
        "Equal tokens: every run reads the same number of tokens, for each seed the same windows of text in the same "
        "order; every model has, within 2 %, the same number of parameters."
    ),
    "minutes": (
        "Equal minutes: every run gets the same wall time of {budget} on the same machine; each model has the size "
        "that the family's own defaults choose for that time."
    ),
}
"""What each way to be equal means, as it is printed and reported."""

# What may differ between two calls that go on with one another: where files lie, not what is in them.
_PLACES = {"data", "test", "tasks"}


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """What was asked.

    data: pairs for families that translate, text for families that read. families: two at least, by the names
    `headway train --family` takes. equal: see EQUALITIES. minutes: of training in all, sweep included; steps: of every
    final run instead (with equal flops: of the costliest family's). seeds: final runs of each family. parameters: of
    each model; None: as many as training would choose. test: pairs or text to score on; None: some are kept aside,
    test_share of all and at most test_sentences (of a given file so many sources). rate_factors: the learning rates of
    the sweep, times the family's default; sweep_share: of the minutes, or of all steps. tasks: files that every reader
    is fine-tuned on, as studies/task_files.py reads them; tuning: the budget of each such run; scratch: also learn the
    tasks from nothing. settings: further NAME=VALUE of the recipe, of data, tokenizer and train.
    """

    data: str
    families: tuple[str, ...]
    equal: Literal["parameters", "flops", "tokens", "minutes"] = "parameters"
    minutes: float | None = None
    steps: int | None = None
    seeds: int = 3
    parameters: int | None = None
    test: str | None = None
    probe: bool = False
    rate_factors: tuple[float, ...] = (0.5, 1.0, 2.0)
    sweep_share: float = 0.15
    test_share: float = 0.1
    test_sentences: int = 2000
    beam: int = 4
    tasks: tuple[str, ...] = ()
    tuning: BudgetSettings = BudgetSettings(epochs=3.0)
    scratch: bool = False
    settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.families) < 2 or len(set(self.families)) < len(self.families):
            raise ConfigError(
                f"a comparison takes two different families or more, but got {', '.join(self.families) or 'none'};\n"
                f"for instance --families rnn-fixed,rnnsearch,transformer"
            )
        self._check_families()
        if (self.minutes is None) == (self.steps is None):
            raise ConfigError("a comparison's budget is exactly one of --minutes (in all) and --steps (of each run)")
        if self.equal == "minutes" and self.minutes is None:
            raise ConfigError("--equal minutes takes --minutes, the wall time to divide, not --steps")
        if self.equal == "minutes" and self.parameters is not None:
            raise ConfigError("with --equal minutes each family takes its own size: leave out --parameters")
        for name, low, high in (
            ("seeds", 1, 100),
            ("steps", 1, 10**9),
            ("beam", 1, 1000),
            ("parameters", 1000, 10**10),
            ("test_sentences", 1, 10**6),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ConfigError(f"--{name.replace('_', '-')} must be in {low}..{high}, but got {value}")
        if self.minutes is not None and not 0.0 < self.minutes < math.inf:
            raise ConfigError(f"--minutes must be above 0 and finite, but got {self.minutes}")
        if not self.rate_factors or not all(0.0 < factor < 1000.0 for factor in self.rate_factors):
            raise ConfigError(f"the sweep takes factors above 0, but got {self.rate_factors}")
        if not 0.0 < self.sweep_share < 1.0 or not 0.0 < self.test_share <= 0.5:
            raise ConfigError(
                f"sweep_share must be in 0..1 and test_share in 0..0.5, but got {self.sweep_share}, {self.test_share}"
            )

    def _check_families(self) -> None:
        """Raises ConfigError for families that learn from different things, and for what is not theirs."""
        translate = [name for name in self.families if family_behind(name).reads_source]
        read = [name for name in self.families if name not in translate]
        if translate and read:
            raise ConfigError(
                f"{read[0]} reads no source, so it learns no pairs as {translate[0]} does;\n"
                f"compare families that translate, or families that read and write text"
            )
        if translate and (self.tasks or self.scratch):
            raise ConfigError(f"tasks are for families that read text, and {translate[0]} translates; leave them out")
        if read and self.probe:
            raise ConfigError(f"the probe asks what a decoder reads of a source, and {read[0]} has none; leave it out")
        if self.scratch and not self.tasks:
            raise ConfigError("--scratch learns the tasks from nothing, but there are none; name them with --tasks")
        if self.tasks and "laplace" in self.families:
            raise ConfigError("laplace has no heads for tasks; leave out --tasks, or laplace")

    @property
    def reads(self) -> bool:
        """Whether the families read and write text; else they translate."""
        return not family_behind(self.families[0]).reads_source

    @property
    def sweeps(self) -> bool:
        """Whether there is more than one rate to choose from."""
        return len(self.rate_factors) > 1

    def minutes_of(self, stage: Stage) -> float:
        """Minutes of each run of a stage: the whole divided evenly, after the sweep's share."""
        assert self.minutes is not None
        if stage == "sweep":
            return self.minutes * self.sweep_share / (len(self.families) * len(self.rate_factors))
        return self.minutes * (1.0 - self.sweep_share * self.sweeps) / (len(self.families) * self.seeds)


def family_behind(name: str) -> Family:
    """The registered family of a name that `--families` takes. Raises ConfigError for an unknown one."""
    return family(VARIANTS[name][0] if name in VARIANTS else name)


@dataclass(frozen=True, kw_only=True)
class FamilyPlan:
    """What was decided for a family: its recipe with every choice made, its count, its work, the rates to sweep.

    flops_per_token: training arithmetic for each target token, or token of text; see studies/arithmetic.py.
    """

    name: str
    recipe: Mapping[str, Any]
    parameters: int
    flops_per_token: float
    rates: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class TaskPlan:
    """A task every reader is fine-tuned on: its name and kind; its parts lie in the comparison's data folder."""

    name: str
    kind: Literal["classify", "answer"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole comparison. target_tokens_per_step: the mean of a step, the same for all families."""

    version: int = 1
    asked: CompareSettings
    data_fingerprint: str
    target_tokens_per_step: int
    source_tokens_per_target: float
    families: tuple[FamilyPlan, ...]
    tasks: tuple[TaskPlan, ...] = ()

    def family(self, name: str) -> FamilyPlan:
        """The part of the plan that concerns a family."""
        return next(found for found in self.families if found.name == name)

    @property
    def equality(self) -> str:
        """What is equal, in words."""
        asked = self.asked
        each = f"{asked.steps:,} steps" if asked.steps is not None else f"{asked.minutes_of('final'):.3g} minutes"
        return EQUALITIES[asked.equal].format(budget=each)

    def steps(self, name: str, stage: Stage) -> int:
        """Steps of a family's run where the budget is in steps: with equal flops, in proportion to its cost."""
        asked, found = self.asked, self.family(name)
        assert asked.steps is not None
        steps: float = asked.steps
        if asked.equal == "flops":
            steps *= max(other.flops_per_token for other in self.families) / found.flops_per_token
        if stage == "sweep":
            steps *= asked.seeds * asked.sweep_share / (1.0 - asked.sweep_share) / len(found.rates)
        return max(1, round(steps))


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run: a family at a rate from a seed."""

    family: str
    stage: Stage
    seed: int
    rate: float
    task: str = ""

    @property
    def name(self) -> str:
        """The run's model folder and result file: a sweep's runs differ in rate, the others in seed and task."""
        if self.stage == "sweep":
            return f"{self.family}-{self.stage}-{self.rate:g}"
        return "-".join([self.family, self.stage, str(self.seed), *([self.task] if self.task else [])])

    def recipe(self, plan: Plan, budget: BudgetSettings, folder: Path) -> Recipe:
        """What `headway train` would take; folder: the comparison's."""
        base = from_dict(Recipe, plan.family(self.family).recipe)
        if self.task:
            return self._tuning_recipe(base, plan, budget, folder)
        inside = folder / "data"
        data = replace(base.data, path=str(inside / "train.jsonl"), validation=str(inside / "validation.jsonl"))
        return replace(
            base,
            data=data,
            output=str(folder / "runs" / self.name),
            tokenizer=replace(base.tokenizer, folder=str(folder / "tokenizer")),
            train=replace(base.train, seed=self.seed, learning_rate=self.rate),
            budget=budget,
        )

    def _tuning_recipe(self, base: Recipe, plan: Plan, budget: BudgetSettings, folder: Path) -> Recipe:
        """A task's recipe: from the final run of this seed, or from nothing with a model of the same shape."""
        kind = next(found.kind for found in plan.tasks if found.name == self.task)
        inside = folder / "data" / "tasks" / self.task
        labelled = kind == "classify"
        data = DataSettings(
            path=str(inside / "train.jsonl"),
            validation=str(inside / "validation.jsonl"),
            text_field="text" if labelled else None,
            label_field="label" if labelled else None,
            other_field="other" if (inside / PAIRED).exists() else None,
        )
        train = TrainSettings(
            seed=self.seed,
            learning_rate=self.rate,
            patience=0,
            sample_tokens=0,
            keep=1,
            device=base.train.device,
            precision=base.train.precision,
            save_every=base.train.save_every,
            log_every=base.train.log_every,
            evaluations=base.train.evaluations,
        )
        start = Run(family=self.family, stage="final", seed=self.seed, rate=self.rate)
        from_nothing = self.stage == "scratch"
        return Recipe(
            data=data,
            output=str(folder / "runs" / self.name),
            start=None if from_nothing else str(folder / "runs" / start.name),
            task=kind,
            tokenizer=TokenizerSettings(folder=str(folder / "tokenizer")) if from_nothing else TokenizerSettings(),
            model=_body(base.model) if from_nothing else {},
            train=train,
            budget=budget,
        )


def _body(model: Mapping[str, Any]) -> dict[str, Any]:
    """A model table without its head and its dropouts, which a task chooses."""
    chosen = {"head", "n_labels", "pooler"}
    return {name: value for name, value in model.items() if name not in chosen and not name.endswith("dropout")}


def sweep_runs(plan: Plan) -> list[Run]:
    """The runs that choose the learning rates, all from seed 0."""
    if not plan.asked.sweeps:
        return []
    return [Run(family=found.name, stage="sweep", seed=0, rate=rate) for found in plan.families for rate in found.rates]


def final_runs(plan: Plan, rates: Mapping[str, float]) -> list[Run]:
    """The runs that are compared, seed by seed, so that a comparison cut short has every family."""
    return [
        Run(family=found.name, stage="final", seed=seed, rate=rates[found.name])
        for seed in range(plan.asked.seeds)
        for found in plan.families
    ]


def tuning_runs(plan: Plan) -> list[Run]:
    """The runs on tasks, seed by seed: from each final run's weights, and where asked for from nothing."""
    stages: tuple[Stage, ...] = ("tuned", "scratch") if plan.asked.scratch else ("tuned",)
    return [
        Run(family=found.name, stage=stage, seed=seed, rate=_tuning_rate(found, stage), task=task.name)
        for seed in range(plan.asked.seeds)
        for task in plan.tasks
        for found in plan.families
        for stage in stages
    ]


def _tuning_rate(found: FamilyPlan, stage: Stage) -> float:
    """By the width, as `headway train --task` takes it: the same for families of one width."""
    return tuning_rate(int(found.recipe["model"]["width"]), from_nothing=stage == "scratch")


def save_plan(folder: Path, plan: Plan) -> None:
    """Write plan.json, whole or not at all."""
    text = json.dumps(to_dict(plan), indent=1, ensure_ascii=False)
    replace_file(folder / PLAN, lambda path: _write(path, text))


def load_plan(folder: Path, asked: CompareSettings, fingerprint: str) -> Plan | None:
    """The plan a folder holds; None where it holds none.

    Raises TrainingError where it is of another comparison or of other data, FormatError where it is damaged.
    """
    path = folder / PLAN
    if not path.exists():
        return None
    try:
        plan = from_dict(Plan, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} is damaged: {error}; compare into another folder") from error
    before, now = to_dict(plan.asked), to_dict(asked)
    changed = [name for name in now if name not in _PLACES and before[name] != now[name]]
    if changed:
        differences = "; ".join(f"{name} was {before[name]} and is now {now[name]}" for name in changed[:3])
        raise TrainingError(
            f"{folder} holds another comparison: {differences};\n"
            f"compare into another folder with -o, or give the same command to go on with this one"
        )
    if plan.data_fingerprint != fingerprint:
        raise TrainingError(
            f"{folder} holds a comparison on other data than {asked.data} holds now;\n"
            f"compare into another folder with -o"
        )
    return plan


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
