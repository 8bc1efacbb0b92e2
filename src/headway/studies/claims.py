"""What can be said: sentences computed from the numbers, which refuse a verdict inside the noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headway.evaluation.scores import NAMES
from headway.studies.noise import Interval
from headway.studies.plan import Plan
from headway.studies.runs import RunResult
from headway.studies.scores import BucketScores, Difference, Scores


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How a score is spoken of: what a difference of it is counted in, and of what the test set consists.

    higher: the higher the better. digits: behind the point.
    """

    unit: str = "BLEU"
    tested: str = "the test sentences"
    higher: bool = True
    digits: int = 1


def what_can_be_said(plan: Plan, scores: Mapping[str, Scores], results: Sequence[RunResult]) -> list[str]:
    """The claims about the families in BLEU, then what limits them."""
    bleu = scores["bleu"]
    said = [difference_said(found, bleu, Measured(), _other(found, scores["chrf"])) for found in bleu.differences]
    said += [_growth(found, bleu) for found in bleu.growth]
    claims = len(bleu.differences) + len(bleu.growth)
    return [*said, *limits(plan, claims, bleu.confidence, results)]


def difference_said(found: Difference, scores: Scores, measured: Measured, other: str = "") -> str:
    """One difference between two families, named outside the noise and refused inside it."""
    sign = 1.0 if measured.higher else -1.0
    first, second = (found.first, found.second) if sign * found.value >= 0 else (found.second, found.first)
    value = f"{abs(found.value):.{measured.digits}f} {measured.unit}"
    if found.interval is None:
        above = "above" if measured.higher else "below"
        return (
            f"no verdict: {first} scores {value} {above} {second}, but with one seed nobody knows how much "
            f"another seed would change{_by_sentences(found)}"
        )
    n_seeds = max(len(scores.families[name].seeds) for name in (first, second))
    bounds = _interval(found.interval, found.value < 0, measured.digits)
    where = f"{bounds} over {n_seeds} seeds and {measured.tested}"
    share = share_of(scores.confidence)
    if not found.interval.excludes_zero:
        return f"no verdict: the difference of {value} between {first} and {second} lies inside {where} ({share})"
    return f"{first} is better than {second} by {value}, {where} ({share}){other}"


def _growth(found: Difference, scores: Scores) -> str:
    """How the difference changes with length: the one that gains on the longest sources is named first."""
    gaining, losing = (found.first, found.second) if found.value >= 0 else (found.second, found.first)
    short, long = scores.by_length[0], scores.by_length[-1]
    gaps = [_gap(bucket, gaining, losing) for bucket in (short, long)]
    change = (
        f"between {gaining} and {losing}, {gaps[0]:+.1f} BLEU on sources of {_words(short)} and {gaps[1]:+.1f} on "
        f"those of {_words(long)}"
    )
    if found.interval is None:
        return f"no verdict on length: one seed does not tell whether the difference {change}, changes with length"
    where = f"{_interval(found.interval, found.value < 0)} ({share_of(scores.confidence)})"
    if not found.interval.excludes_zero:
        return f"no verdict on length: the difference {change}, changes by {abs(found.value):.1f}, inside {where}"
    return f"the longer the source, the more {losing} falls behind: the difference {change}, changes by {where}"


def limits(plan: Plan, claims: int, confidence: float, results: Sequence[RunResult]) -> list[str]:
    """What limits the claims: runs that are missing, rates at the edge, how many claims there are, and the budget."""
    said = []
    final = [result for result in results if result.stage == "final"]
    for result in final:
        if result.diverged:
            said.append(f"{result.family} diverged with seed {result.seed} and is not in its mean: {result.diverged}")
    for result in results:
        if result.task and result.diverged:
            said.append(f"{result.family} diverged on {result.task} with seed {result.seed}: {result.diverged}")
    for found in plan.families:
        rate = next(result.rate for result in final if result.family == found.name)
        edges = {min(found.rates): "lowest", max(found.rates): "highest"}
        if plan.asked.sweeps and rate in edges:
            said.append(
                f"{found.name} did best at {rate:g}, the {edges[rate]} rate tried: one beyond it might be better still"
            )
    if plan.asked.seeds > 1 and claims:
        said.append(
            f"the {claims} intervals hold together in 95 of 100 such comparisons, each therefore at "
            f"{share_of(confidence)} (Bonferroni)"
        )
    said.append(
        f"all this is of {'this text' if plan.asked.reads else 'these pairs'}, sizes, budgets and this machine; larger "
        "models or longer training may order the families otherwise"
    )
    return said


def _other(found: Difference, scores: Scores) -> str:
    """What the second score makes of the same difference."""
    other = next(one for one in scores.differences if (one.first, one.second) == (found.first, found.second))
    if other.interval is None:
        return ""
    name = NAMES["chrf"]
    if not other.interval.excludes_zero:
        return f"; {name} alone would give no verdict"
    agrees = (other.value > 0) == (found.value > 0)
    return f"; {name} {'agrees' if agrees else 'says the opposite'}, by {abs(other.value):.1f}"


def _by_sentences(found: Difference) -> str:
    """What the paired bootstrap over sentences says of the two models that there are."""
    if not found.pairings:
        return ""
    decided = "is" if found.pairings[0].decided else "is not"
    return f" (of these two models alone the difference {decided} outside the noise of the test sentences)"


def _interval(interval: Interval, turned: bool, digits: int = 1) -> str:
    low, high = (-interval.high, -interval.low) if turned else (interval.low, interval.high)
    return f"{low:+.{digits}f} to {high:+.{digits}f}"


def _gap(bucket: BucketScores, first: str, second: str) -> float:
    return bucket.families[first].mean - bucket.families[second].mean


def _words(bucket: BucketScores) -> str:
    return f"{bucket.low} words" if bucket.low == bucket.high else f"{bucket.low} to {bucket.high} words"


def share_of(confidence: float) -> str:
    """A confidence in percent."""
    return f"{100 * confidence:.3g} %"
