"""Everything a comparison found, as one table: report.json, from which the page is drawn.

What would come out otherwise the next time stands under "timings"; all else is the same for the same plan in steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from headway.evaluation.references import TestSet
from headway.settings import to_dict
from headway.studies.claims import what_can_be_said
from headway.studies.division import PairDivision
from headway.studies.plan import Plan
from headway.studies.runs import RunResult, target_tokens_of
from headway.studies.scores import BucketScores, Difference, FamilyScore, Scores
from headway.studies.systems import System
from headway.tasks.alignment import Alignment

REPORT_VERSION = 1
_MOST_APART, _EVENLY = 8, 4  # sample sentences: where the systems differ most, and evenly spaced ones
_FEWEST_WORDS = 3  # of a sample: single words differ for no reason that shows


def findings(
    plan: Plan,
    division: PairDivision,
    results: Sequence[RunResult],
    systems: Sequence[System],
    scores: Mapping[str, Scores],
    test: TestSet,
) -> dict[str, Any]:
    """The table without alignments, probe and timings."""
    return {
        "version": REPORT_VERSION,
        "kind": "translating",
        "what_can_be_said": what_can_be_said(plan, scores, results),
        "equality": plan.equality,
        "plan": to_dict(plan),
        "data": {
            **to_dict(division),
            "test_sentences": len(test.sources),
            "test_references": test.n_references,
            "source_tokens_per_target_token": plan.source_tokens_per_target,
        },
        "signatures": {name: found.signature for name, found in scores.items()},
        "families": [family_table(plan, found.name, results, scores) for found in plan.families],
        "comparisons": {name: comparison_table(found) for name, found in scores.items()},
        "by_length": {name: [_bucket(bucket) for bucket in found.by_length] for name, found in scores.items()},
        "samples": _samples(systems, scores["chrf"], test),
    }


def timings(results: Sequence[RunResult], speeds: Mapping[str, float]) -> dict[str, Any]:
    """Everything measured with a clock, and memory."""
    return {
        "runs": [
            {"family": found.family, "stage": found.stage, "seed": found.seed, "rate": found.rate}
            | ({"task": found.task} if found.task else {})
            | asdict(found.timings)
            for found in results
        ],
        "decoding_sentences_per_second": dict(speeds),
    }


def alignment_table(found: Mapping[str, tuple[Alignment, ...] | str]) -> dict[str, Any]:
    """Alignments of a few sentences by family, or why there is none."""
    return {
        family: {"missing": made} if isinstance(made, str) else {"sentences": [asdict(one) for one in made]}
        for family, made in found.items()
    }


def family_table(plan: Plan, name: str, results: Sequence[RunResult], scores: Mapping[str, Scores]) -> dict[str, Any]:
    """A family's size, its sweep, its final runs and its scores."""
    found = plan.family(name)
    own = [result for result in results if result.family == name]
    final = [result for result in own if result.stage == "final"]
    return {
        "name": name,
        "parameters": found.parameters,
        "training_flops_per_target_token": found.flops_per_token,
        "training_flops": fmean(found.flops_per_token * target_tokens_of(plan, result) for result in final),
        "rate": final[0].rate,
        "sweep": [
            {"rate": result.rate, "validation_loss": result.validation_loss, "diverged": result.diverged}
            for result in own
            if result.stage == "sweep"
        ],
        "runs": [
            {
                "seed": result.seed,
                "steps": result.steps,
                "target_tokens": target_tokens_of(plan, result),
                "best_step": result.best_step,
                "validation_loss": result.validation_loss,
                "diverged": result.diverged,
                "curve": [list(point) for point in result.curve],
            }
            for result in final
        ],
        **{score: _score(one.families[name]) for score, one in scores.items() if name in one.families},
        "recipe": dict(found.recipe),
    }


def _score(found: FamilyScore) -> dict[str, Any]:
    return asdict(found)


def comparison_table(found: Scores) -> dict[str, Any]:
    """The differences between families in one score."""
    return {
        "confidence": found.confidence,
        "differences": [_difference(one) for one in found.differences],
        "growth_with_length": [_difference(one) for one in found.growth],
    }


def _difference(found: Difference) -> dict[str, Any]:
    return {
        "first": found.first,
        "second": found.second,
        "difference": found.value,
        "interval": None if found.interval is None else asdict(found.interval),
        "decided": found.interval is not None and found.interval.excludes_zero,
        "paired_bootstrap": [
            {
                "difference": one.difference.mid,
                "low": one.difference.low,
                "high": one.difference.high,
                "p_bootstrap": one.p_bootstrap,
                "p_randomisation": one.p_randomisation,
                "decided": one.decided,
            }
            for one in found.pairings
        ],
    }


def _bucket(found: BucketScores) -> dict[str, Any]:
    return asdict(found)


def _samples(systems: Sequence[System], scores: Scores, test: TestSet) -> list[dict[str, Any]]:
    """Sentences on which the families' first models differ most in chrF, and a few evenly spaced ones."""
    first = {system.family: system for system in reversed(systems)}
    by_family = scores.sentence_scores
    fitting = [place for place, text in enumerate(test.sources) if len(text.split()) >= _FEWEST_WORDS]
    fitting = fitting or list(range(len(test.sources)))
    apart = {
        place: max(values[place] for values in by_family.values()) - min(values[place] for values in by_family.values())
        for place in fitting
    }
    most = sorted(fitting, key=lambda place: (-apart[place], place))[:_MOST_APART]
    even = [fitting[round((number + 0.5) * len(fitting) / _EVENLY - 0.5)] for number in range(_EVENLY)]
    chosen = [(place, "apart") for place in most] + [(place, "even") for place in dict.fromkeys(even)]
    return [
        {
            "chosen": why,
            "source": test.sources[place],
            "references": list(test.references[place]),
            "translations": {
                family: {"text": first[family].translations.texts[place], "chrf": by_family[family][place]}
                for family in by_family
            },
        }
        for place, why in chosen
    ]
