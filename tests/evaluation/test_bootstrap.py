"""Bands and comparisons: they hold the truth as often as they say, and refuse a claim inside the noise."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import ConfigError, UsageError
from headway.evaluation import bootstrap
from headway.evaluation.bootstrap import (
    Resampling,
    compare_paired,
    interval,
    randomisation_p,
    resampled_sums,
    score_band,
)

FEW = Resampling(resamples=199, seed=3)


def mean(sums: numpy.ndarray) -> numpy.ndarray:
    """The mean of a value, from sums of (value, 1)."""
    return sums[..., 0] / sums[..., 1]


def statistics_of(values: numpy.ndarray) -> numpy.ndarray:
    return numpy.stack([values, numpy.ones_like(values)], axis=1)  # (N, 2)


def test_resampled_sums_are_sums_over_sentences_drawn_with_replacement() -> None:
    sums = resampled_sums(numpy.eye(7), Resampling(resamples=5, seed=2))  # column i counts sentence i
    assert sums.shape == (5, 7)
    assert (sums == sums.astype(int)).all() and (sums.sum(axis=1) == 7).all()
    assert (sums == 0).any() and (sums > 1).any()


def test_every_sentence_is_drawn_alike_often() -> None:
    sums = resampled_sums(numpy.eye(5), Resampling(resamples=4000, seed=2))
    # A count has mean 1 and variance 4/5, so the mean of 4,000 has a deviation of 0.014.
    assert numpy.abs(sums.mean(axis=0) - 1).max() < 0.06
    assert numpy.abs(sums.var(axis=0) - 0.8).max() < 0.1


def test_draws_depend_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    values = numpy.arange(11.0)[:, None]
    whole = resampled_sums(values, FEW)
    assert (resampled_sums(values, FEW) == whole).all()
    assert (resampled_sums(values, Resampling(resamples=199, seed=4)) != whole).any()
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 35)  # three resamples at a time
    assert (resampled_sums(values, FEW) == whole).all()


def test_the_band_of_the_mean_is_that_of_theory() -> None:
    values = numpy.random.default_rng(5).normal(2.0, 3.0, size=400)
    band = score_band(statistics_of(values), mean, Resampling(resamples=4000))
    half = 1.96 * values.std() / 20
    assert band.mid == pytest.approx(values.mean())
    assert band.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert band.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_bands_hold_the_truth_as_often_as_they_say() -> None:
    generator = numpy.random.default_rng(1)
    held = 0
    for _ in range(300):
        values = generator.exponential(2.0, size=100)
        band = score_band(statistics_of(values), mean, Resampling(resamples=200))
        held += band.low <= 2.0 <= band.high
    assert 0.90 <= held / 300 <= 0.98  # 95 % with a deviation of 1.3 points; the skew costs one or two


def test_interval_ends_are_the_outer_draws() -> None:
    drawn = numpy.random.default_rng(1).permutation(numpy.arange(1000.0))
    assert interval(500.0, drawn, 0.95) == (24.0, 500.0, 975.0)


def test_a_clear_difference_is_decided_and_its_direction_said() -> None:
    generator = numpy.random.default_rng(2)
    first = generator.normal(0.0, 1.0, size=200)
    second = first + 0.5 + generator.normal(0.0, 0.5, size=200)
    found = compare_paired(statistics_of(first), statistics_of(second), mean, Resampling())
    assert found.decided and found.wins == 1.0
    assert found.difference.low < 0.5 < found.difference.high and found.difference.low > 0
    assert found.p_bootstrap == found.p_randomisation * 2 == 2 / 1001
    assert found.verdict("old", "new", "BLEU").startswith("new is better than old by 0.4")
    turned = compare_paired(statistics_of(second), statistics_of(first), mean, Resampling())
    assert turned.decided and turned.verdict("old", "new", "BLEU").startswith("old is better than new by 0.4")


def test_a_difference_inside_the_noise_gets_no_verdict() -> None:
    generator = numpy.random.default_rng(8)
    first, second = generator.normal(size=(2, 150))
    found = compare_paired(statistics_of(first), statistics_of(second), mean, Resampling())
    assert not found.decided
    said = found.verdict("old", "new", "BLEU")
    assert said.startswith("no verdict: the difference of") and "95 % interval" in said and "better" not in said


def test_equal_systems_get_no_verdict() -> None:
    same = statistics_of(numpy.random.default_rng(1).normal(size=50))
    found = compare_paired(same, same, mean, FEW)
    assert (found.decided, found.p_bootstrap, found.p_randomisation, found.wins) == (False, 1.0, 1.0, 0.0)
    assert tuple(found.difference) == (0.0, 0.0, 0.0)


def test_pairing_sees_what_two_bands_do_not() -> None:
    generator = numpy.random.default_rng(6)
    first = generator.normal(0.0, 10.0, size=100)
    second = first + generator.normal(0.3, 0.5, size=100)  # the sentences differ far more than the systems
    found = compare_paired(statistics_of(first), statistics_of(second), mean, Resampling())
    assert found.first.high > found.second.low and found.decided


def test_equal_systems_are_seldom_told_apart() -> None:
    generator = numpy.random.default_rng(4)
    claims = 0
    for _ in range(200):
        first, second = generator.normal(size=(2, 60))
        claims += compare_paired(statistics_of(first), statistics_of(second), mean, FEW).decided
    assert 0 < claims <= 20  # 5 % promised, deviation 1.5 points


def test_randomisation_agrees_with_every_exchange() -> None:
    first, second = numpy.array([1.0, 2.0, 4.0, 3.0, 1.0]), numpy.array([2.0, 2.5, 4.5, 2.0, 4.0])
    signs = numpy.array([[1 - 2 * (number >> place & 1) for place in range(5)] for number in range(32)])
    differences = signs @ (second - first)
    exact = numpy.mean(numpy.abs(differences) >= abs((second - first).sum()) - 1e-9)
    found = randomisation_p(statistics_of(first), statistics_of(second), mean, Resampling(resamples=20000))
    assert found == pytest.approx(exact, abs=0.02)


@given(
    values=st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2)), min_size=1, max_size=20), seed=st.integers(0, 1000)
)
def test_a_claim_and_its_interval_never_contradict(values: list[tuple[float, float]], seed: int) -> None:
    first, second = (statistics_of(numpy.array(side)) for side in zip(*values, strict=True))
    found = compare_paired(first, second, mean, Resampling(resamples=99, seed=seed))
    outside = found.difference.low > 0 or found.difference.high < 0
    assert not found.decided or outside
    assert ("no verdict" in found.verdict("a", "b", "BLEU")) == (not found.decided)


def test_different_numbers_of_sentences_are_refused() -> None:
    with pytest.raises(UsageError, match="one has 3 and the other 2"):
        compare_paired(numpy.ones((3, 2)), numpy.ones((2, 2)), mean, FEW)


def test_no_sentence_is_refused() -> None:
    with pytest.raises(UsageError, match="no sentence"):
        resampled_sums(numpy.ones((0, 2)), FEW)


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"resamples": 0}, "resamples"), ({"seed": -1}, "seed"), ({"level": 1.0}, "level"), ({"level": 0.0}, "level")],
)
def test_senseless_resampling_is_refused(settings: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=f"^{named} must be"):
        Resampling(**settings)  # type: ignore[arg-type]
