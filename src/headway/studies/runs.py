"""The runs of a comparison: each trained through `train`, which resumes by itself, its result a file of its own.

A run whose result file is there is over; its checkpoints are then let go of, since nobody goes on from them.
"""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from headway.errors import FormatError, TrainingError
from headway.settings import from_dict, to_dict
from headway.storage import replace_file, sweep
from headway.studies.peak import PeakMemory
from headway.studies.plan import Plan, Run, Stage, final_runs, sweep_runs, tuning_runs
from headway.training.recipe import BudgetSettings
from headway.training.report import Evaluation, Progress, Reporter
from headway.training.run import train

RESULTS = "results"


@dataclass(frozen=True, kw_only=True)
class RunTimings:
    """What would come out otherwise the next time: seconds in all, pace, peak memory, seconds at each measurement."""

    seconds: float
    target_tokens_per_second: float | None
    peak_memory: int | None
    curve_seconds: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run came to.

    validation_loss: nats for each token to be said or guessed (or for each example of a task), of the weights kept,
    those of best_step; None where the run diverged, which `diverged` then says. curve: (step, validation loss) at every
    measurement. task: what it was fine-tuned on, "" for none.
    """

    family: str
    stage: Stage
    seed: int
    rate: float
    steps: int
    best_step: int | None
    validation_loss: float | None
    diverged: str = ""
    curve: tuple[tuple[int, float], ...]
    timings: RunTimings
    task: str = ""


def train_all(plan: Plan, folder: Path, reporter: Reporter) -> list[RunResult]:
    """Train every run of the plan that is not over yet: the sweep first, then the seeds at the best rates, then tasks.

    What diverged is not fine-tuned.
    """
    sweep_of_rates, n_final, tuning = sweep_runs(plan), len(plan.families) * plan.asked.seeds, tuning_runs(plan)
    total = len(sweep_of_rates) + n_final + len(tuning)
    swept = []
    for number, run in enumerate(sweep_of_rates, 1):
        swept.append(_result(plan, run, _sweep_budget(plan, run), folder, _Told(reporter, number, total)))
    rates = best_rates(plan, swept)
    found = []
    for number, run in enumerate(final_runs(plan, rates), len(swept) + 1):
        budget = _final_budget(plan, run, swept)
        found.append(_result(plan, run, budget, folder, _Told(reporter, number, total)))
    lost = {(result.family, result.seed) for result in found if result.diverged}
    for number, run in enumerate(tuning, len(swept) + n_final + 1):
        if run.stage == "scratch" or (run.family, run.seed) not in lost:
            found.append(_result(plan, run, plan.asked.tuning, folder, _Told(reporter, number, total)))
    return swept + found


def best_rates(plan: Plan, swept: Sequence[RunResult]) -> dict[str, float]:
    """Each family's rate with the lowest validation loss, the lower of two equal ones.

    Raises TrainingError where a family diverged at every rate.
    """
    rates = {}
    for found in plan.families:
        losses = [
            (result.validation_loss, result.rate)
            for result in swept
            if result.family == found.name and result.validation_loss is not None
        ]
        if plan.asked.sweeps and not losses:
            raise TrainingError(
                f"{found.name} diverged at every rate of the sweep: {', '.join(f'{rate:g}' for rate in found.rates)};\n"
                f"compare into another folder with lower --rates, for instance --rates 0.1,0.25,0.5"
            )
        rates[found.name] = min(losses)[1] if losses else found.rates[0]
    return rates


def target_tokens_of(plan: Plan, result: RunResult) -> int:
    """How many target tokens a run read, about: the mean of a step times its steps."""
    return plan.target_tokens_per_step * result.steps


def _sweep_budget(plan: Plan, run: Run) -> BudgetSettings:
    if plan.asked.steps is not None:
        return BudgetSettings(steps=plan.steps(run.family, "sweep"))
    return BudgetSettings(minutes=plan.asked.minutes_of("sweep"))


def _final_budget(plan: Plan, run: Run, swept: Sequence[RunResult]) -> BudgetSettings:
    if plan.asked.steps is not None:
        return BudgetSettings(steps=plan.steps(run.family, "final"))
    if plan.asked.equal in ("flops", "tokens"):
        return BudgetSettings(steps=steps_of_equal_cost(plan, swept)[run.family])
    return BudgetSettings(minutes=plan.asked.minutes_of("final"))


def steps_of_equal_cost(plan: Plan, swept: Sequence[RunResult]) -> dict[str, int]:
    """Steps of equal arithmetic or tokens that together fill the minutes, by each family's pace in the sweep.

    Raises TrainingError where there was no sweep to tell the pace.
    """
    tokens = plan.asked.equal == "tokens"
    costs = {found.name: 1.0 if tokens else found.flops_per_token for found in plan.families}
    seconds_per_cost = 0.0
    for name, cost in costs.items():
        paces = [result.timings.seconds / result.steps for result in swept if result.family == name and result.steps]
        if not paces:
            raise TrainingError(
                f"nothing tells how fast {name} trains, and equal {plan.asked.equal} in minutes need that;\n"
                f"give more --minutes, more than one of --rates, or --steps"
            )
        seconds_per_cost += median(paces) / (cost * plan.target_tokens_per_step)
    spent = 60.0 * plan.asked.minutes_of("final") * len(plan.families) / seconds_per_cost
    return {name: max(1, round(spent / (cost * plan.target_tokens_per_step))) for name, cost in costs.items()}


def _result(plan: Plan, run: Run, budget: BudgetSettings, folder: Path, told: "_Told") -> RunResult:
    """The run's result, trained now where it is not there yet."""
    path = folder / RESULTS / f"{run.name}.json"
    if path.exists():
        result = load_result(path)
    else:
        told.begin(run)
        result = _train(plan, run, budget, folder, told)
        save_result(path, to_dict(result))
    for checkpoint in (folder / "runs" / run.name / "training").glob("step-*"):
        shutil.rmtree(checkpoint, ignore_errors=True)
    return result


def _train(plan: Plan, run: Run, budget: BudgetSettings, folder: Path, told: "_Told") -> RunResult:
    recipe, peak = run.recipe(plan, budget, folder), PeakMemory()
    steps, best_step, loss, seconds, diverged = 0, None, None, 0.0, ""
    try:
        done = train(recipe, reporter=told)
        steps, best_step, loss, seconds = done.steps, done.best_step, done.validation_loss, done.seconds
    except TrainingError as error:
        if not told.heard:  # refused before it began: another run is in the folder
            raise
        diverged = str(error).splitlines()[0]
        told.note(f"{run.name} diverged: {diverged}")
    if not diverged and steps == 0:
        raise TrainingError(
            f"the minutes of {run.name} went by before its first step;\n"
            f"compare into another folder with more --minutes, fewer --seeds or fewer --rates"
        )
    curve, curve_seconds, pace = _read_metrics(Path(recipe.output) / "training" / "metrics.jsonl")
    return RunResult(
        family=run.family,
        stage=run.stage,
        seed=run.seed,
        rate=run.rate,
        steps=steps,
        best_step=best_step,
        validation_loss=loss if loss is not None and math.isfinite(loss) else None,
        diverged=diverged,
        curve=curve,
        timings=RunTimings(
            seconds=seconds, target_tokens_per_second=pace, peak_memory=peak.bytes(), curve_seconds=curve_seconds
        ),
        task=run.task,
    )


def load_result(path: Path) -> RunResult:
    """A result file. Raises FormatError where it is damaged."""
    try:
        return from_dict(RunResult, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} is damaged: {error}; delete it, and the run is taken again") from error


def save_result(path: Path, table: Mapping[str, Any]) -> None:
    """Write a result file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    text = json.dumps(table, indent=1, ensure_ascii=False)
    replace_file(path, lambda partial: _write(partial, text))


def _read_metrics(path: Path) -> tuple[tuple[tuple[int, float], ...], tuple[float, ...], float | None]:
    """Steps and losses of the measurements, their seconds, and the median pace in target tokens a second."""
    curve, seconds, paces = [], [], []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        entry = json.loads(line)
        if entry["kind"] == "evaluation":
            curve.append((int(entry["step"]), float(entry["validation_loss"])))
            seconds.append(float(entry["seconds"]))
        elif entry["kind"] == "progress":
            paces.append(float(entry["tokens_per_second"]))
    return tuple(curve), tuple(seconds), median(paces) if paces else None


class _Told:
    """Passes on what a run tells, behind the run's place in the comparison; `heard`: it has begun."""

    def __init__(self, reporter: Reporter, number: int, total: int) -> None:
        self._reporter = reporter
        self._place = f"{number}/{total}"
        self.heard = False

    def begin(self, run: Run) -> None:
        what = f"rate {run.rate:g}" if run.stage == "sweep" else f"seed {run.seed}, rate {run.rate:g}"
        on = f" on {run.task}" if run.task else ""
        self._reporter.note(f"[{self._place}] {run.family}, {run.stage} run{on}, {what}")

    def note(self, text: str) -> None:
        self.heard = True

    def progress(self, progress: Progress) -> None:
        self.heard = True
        self._reporter.progress(progress)

    def evaluation(self, evaluation: Evaluation) -> None:
        self.heard = True
        self._reporter.evaluation(evaluation)

    def sample(self, text: str) -> None:
        """Nobody reads the samples of so many runs."""


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
