"""Verdicts between readers: what is outside the noise, in which direction better lies, and what has no seeds."""

import numpy
import pytest

from headway.evaluation.bootstrap import Resampling
from headway.studies.claims import Measured, difference_said
from headway.studies.reading_scores import BAG, Measure, score_measures

EXAMPLES = 211


def answers(share: float, seed: int) -> numpy.ndarray:
    """(N, 2): right or wrong, and 1."""
    right = numpy.random.default_rng(seed).random(EXAMPLES) < share
    return numpy.stack([right, numpy.ones(EXAMPLES)], axis=1).astype(float)


def measure(*, bert: float, gpt2: float, bag: float, higher: bool = True) -> Measure:
    shares = [("bert", bert), ("gpt2", gpt2)]
    systems = [(name, seed, answers(share, seed)) for seed in range(3) for name, share in shares]
    systems.append((BAG, 0, answers(bag, 0)))
    return Measure(
        key="moods_accuracy",
        title="accuracy",
        task="moods",
        said=Measured(unit="points", tested="the test examples", higher=higher),
        score=lambda sums: 100 * sums[..., 0] / sums[..., 1],
        names=tuple(name for name, _, _ in systems),
        seeds=tuple(seed for _, seed, _ in systems),
        statistics=tuple(own for _, _, own in systems),
        couples=(("bert", "gpt2"), ("bert", BAG)),
        fixed=frozenset({BAG}),
    )


def said(found: Measure) -> list[str]:
    scores = score_measures([found], Resampling(resamples=300))[found.key]
    return [difference_said(one, scores, found.said) for one in scores.differences]


def test_a_difference_outside_the_noise_is_named_and_one_inside_is_not() -> None:
    apart, alike = said(measure(bert=0.9, gpt2=0.5, bag=0.9))
    assert apart.startswith("bert is better than gpt2 by ") and "over 3 seeds and the test examples (97.5 %)" in apart
    assert alike.startswith("no verdict: the difference of ")


def test_where_less_is_better_the_lower_one_is() -> None:
    first, _ = said(measure(bert=0.9, gpt2=0.5, bag=0.9, higher=False))
    assert first.startswith("gpt2 is better than bert by ")


def test_a_baseline_without_seeds_has_a_verdict_and_no_interval_of_its_own() -> None:
    found = measure(bert=0.5, gpt2=0.5, bag=0.9)
    scores = score_measures([found], Resampling(resamples=300))[found.key]
    assert scores.families[BAG].interval is None and scores.families["bert"].interval is not None
    between = scores.differences[1]
    assert between.interval is not None and between.interval.high < 0.0 and len(between.pairings) == 3


def test_more_claims_widen_every_interval() -> None:
    found = measure(bert=0.8, gpt2=0.6, bag=0.7)
    few = score_measures([found], Resampling(resamples=300))
    many = score_measures([found, *([found] * 4)], Resampling(resamples=300))
    assert few[found.key].confidence == pytest.approx(0.975) and many[found.key].confidence == pytest.approx(0.995)
    widths = [one[found.key].differences[0].interval for one in (few, many)]
    assert all(width is not None for width in widths)
    assert widths[1].high - widths[1].low > widths[0].high - widths[0].low  # type: ignore[union-attr]
