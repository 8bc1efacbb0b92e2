"""What can be said: sentences computed from the numbers, which refuse a verdict inside the noise."""

from collections.abc import Mapping, Sequence

from headway.evaluation.scores import NAMES
from headway.studies.noise import Interval
from headway.studies.plan import Plan
from headway.studies.runs import RunResult
from headway.studies.scores import BucketScores, Difference, Scores


def what_can_be_said(plan: Plan, scores: Mapping[str, Scores], results: Sequence[RunResult]) -> list[str]:
    """The claims about the families in BLEU, then what limits them."""
    bleu = scores["bleu"]
    said = [_difference(found, bleu, _other(found, scores["chrf"])) for found in bleu.differences]
    said += [_growth(found, bleu) for found in bleu.growth]
    return [*said, *_limits(plan, bleu, results)]


def _difference(found: Difference, scores: Scores, other: str) -> str:
    first, second = (found.first, found.second) if found.value >= 0 else (found.second, found.first)
    value = abs(found.value)
    if found.interval is None:
        return (
            f"no verdict: {first} scores {value:.1f} BLEU above {second}, but with one seed nobody knows how much "
            f"another seed would change{_by_sentences(found)}"
        )
    n_seeds = len(scores.families[first].seeds)
    where = f"{_interval(found.interval, found.value < 0)} over {n_seeds} seeds and the test sentences"
    share = _share(scores.confidence)
    if not found.interval.excludes_zero:
        return (
            f"no verdict: the difference of {value:.1f} BLEU between {first} and {second} lies inside {where} ({share})"
        )
    return f"{first} is better than {second} by {value:.1f} BLEU, {where} ({share}){other}"


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
    where = f"{_interval(found.interval, found.value < 0)} ({_share(scores.confidence)})"
    if not found.interval.excludes_zero:
        return f"no verdict on length: the difference {change}, changes by {abs(found.value):.1f}, inside {where}"
    return f"the longer the source, the more {losing} falls behind: the difference {change}, changes by {where}"


def _limits(plan: Plan, scores: Scores, results: Sequence[RunResult]) -> list[str]:
    said = []
    final = [result for result in results if result.stage == "final"]
    for result in final:
        if result.diverged:
            said.append(f"{result.family} diverged with seed {result.seed} and is not in its mean: {result.diverged}")
    for found in plan.families:
        rate = next(result.rate for result in final if result.family == found.name)
        edges = {min(found.rates): "lowest", max(found.rates): "highest"}
        if plan.asked.sweeps and rate in edges:
            said.append(
                f"{found.name} did best at {rate:g}, the {edges[rate]} rate tried: one beyond it might be better still"
            )
    claims = len(scores.differences) + len(scores.growth)
    if any(difference.interval is not None for difference in scores.differences):
        said.append(
            f"the {claims} intervals hold together in 95 of 100 such comparisons, each therefore at "
            f"{_share(scores.confidence)} (Bonferroni)"
        )
    said.append(
        "all this is of these pairs, sizes, budgets and this machine; larger models or longer training may order the "
        "families otherwise"
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


def _interval(interval: Interval, turned: bool) -> str:
    low, high = (-interval.high, -interval.low) if turned else (interval.low, interval.high)
    return f"{low:+.1f} to {high:+.1f}"


def _gap(bucket: BucketScores, first: str, second: str) -> float:
    return bucket.families[first].mean - bucket.families[second].mean


def _words(bucket: BucketScores) -> str:
    return f"{bucket.low} words" if bucket.low == bucket.high else f"{bucket.low} to {bucket.high} words"


def _share(confidence: float) -> str:
    return f"{100 * confidence:.3g} %"
