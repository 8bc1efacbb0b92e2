"""Everything a reading comparison found, as one table: report.json, from which the page is drawn.

What would come out otherwise the next time stands under "timings"; all else is the same for the same plan in steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headway.errors import TrainingError
from headway.evaluation.bootstrap import Resampling
from headway.settings import to_dict
from headway.studies.claims import difference_said, limits
from headway.studies.findings import REPORT_VERSION, comparison_table, family_table, timings
from headway.studies.plan import Plan, family_behind
from headway.studies.reading_scores import Measure, measures_of, score_measures
from headway.studies.reading_systems import measure_all, reading_speeds
from headway.studies.runs import RunResult
from headway.studies.scores import Scores
from headway.studies.text_division import TextDivision, documents_to_test
from headway.training.report import Reporter


def reading_findings(
    plan: Plan, folder: Path, division: TextDivision, results: Sequence[RunResult], reporter: Reporter
) -> dict[str, Any]:
    """Measure, score, and lay out the whole table. Raises TrainingError where fewer than two families are left."""
    documents = documents_to_test(folder)
    systems = measure_all(plan, folder, results, documents, reporter)
    if len({system.family for system in systems if system.text is not None}) < 2:
        raise TrainingError("every run of all families but one diverged: there is nothing to compare")
    measures = measures_of(plan, folder, systems)
    scores = score_measures(measures, Resampling())
    return {
        "version": REPORT_VERSION,
        "kind": "reading",
        "what_can_be_said": _said(plan, measures, scores, results),
        "equality": plan.equality,
        "plan": to_dict(plan),
        "data": to_dict(division),
        "measures": [
            {"key": one.key, "title": one.title, "task": one.task, "higher_is_better": one.said.higher}
            | {"digits": one.said.digits}
            for one in measures
        ],
        "families": [family_table(plan, found.name, results, {}) for found in plan.families],
        "scores": {key: {name: asdict(score) for name, score in one.families.items()} for key, one in scores.items()},
        "comparisons": {key: comparison_table(one) for key, one in scores.items()},
        "tuning": [_tuning(result) for result in results if result.task],
        "timings": timings(results, {}) | {"tokens_per_second": reading_speeds(plan, folder, systems, reporter)},
    }


def _said(
    plan: Plan, measures: Sequence[Measure], scores: Mapping[str, Scores], results: Sequence[RunResult]
) -> list[str]:
    said = [
        difference_said(found, scores[measure.key], measure.said)
        for measure in measures
        for found in scores[measure.key].differences
    ]
    claims = sum(len(measure.couples) for measure in measures)
    confidence = next(iter(scores.values())).confidence
    kinds = {family_behind(found.name).decoder for found in plan.families}
    if len(kinds) > 1:
        said.append(
            "bits per byte are of those that write and pseudo-bits per byte of those that read from both sides: the "
            "latter is no code length, and neither can be set against the other"
        )
    return [*said, *limits(plan, claims, confidence, results)]


def _tuning(result: RunResult) -> dict[str, Any]:
    """A run on a task."""
    return {
        "family": result.family,
        "from_nothing": result.stage == "scratch",
        "task": result.task,
        "seed": result.seed,
        "rate": result.rate,
        "steps": result.steps,
        "best_step": result.best_step,
        "validation_loss": result.validation_loss,
        "diverged": result.diverged,
    }
