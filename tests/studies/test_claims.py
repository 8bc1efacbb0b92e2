"""What can be said: named outside the noise, refused inside it, refused with one seed."""

from dataclasses import replace

import pytest

from headway.studies.claims import what_can_be_said
from headway.studies.noise import Interval
from headway.studies.plan import CompareSettings, FamilyPlan, Plan
from headway.studies.runs import RunResult, RunTimings
from headway.studies.scores import BucketScores, Difference, FamilyScore, Scores

TIMINGS = RunTimings(seconds=1.0, target_tokens_per_second=None, peak_memory=None, curve_seconds=())


def plan_of(*names: str, seeds: int = 3) -> Plan:
    return Plan(
        asked=CompareSettings(data="pairs.tsv", families=names, steps=7, seeds=seeds),
        data_fingerprint="",
        target_tokens_per_step=11,
        source_tokens_per_target=1.0,
        families=tuple(
            FamilyPlan(name=name, recipe={}, parameters=5, flops_per_token=2.0, rates=(0.1, 0.2, 0.4)) for name in names
        ),
    )


def result_of(family: str, rate: float = 0.2, seed: int = 0, diverged: str = "") -> RunResult:
    return RunResult(
        family=family,
        stage="final",
        seed=seed,
        rate=rate,
        steps=7,
        best_step=7,
        validation_loss=1.0,
        diverged=diverged,
        curve=(),
        timings=TIMINGS,
    )


def score_of(mean: float, seeds: int = 3) -> FamilyScore:
    known = Interval(value=mean, low=mean - 1, high=mean + 1)
    interval = known if seeds > 1 else None
    return FamilyScore(mean=mean, seeds=(mean,) * seeds, seed_deviation=0.5, interval=interval, sentence_interval=known)


def scores_of(
    difference: float, interval: tuple[float, float] | None, growth: tuple[float, float] | None = None
) -> Scores:
    """Scores where the Transformer is better by `difference`, by 1 on short sources and by 8 on long ones."""

    def between(value: float, bounds: tuple[float, float] | None) -> Difference:
        found = None if bounds is None else Interval(value=value, low=bounds[0], high=bounds[1])
        return Difference(first="rnn-fixed", second="transformer", value=value, interval=found)

    def bucket(low: int, high: int, apart: float) -> BucketScores:
        families = {"transformer": score_of(20.0 + apart), "rnn-fixed": score_of(20.0)}
        return BucketScores(low=low, high=high, mean_length=low + 1.0, sentences=100, families=families)

    return Scores(
        families={"rnn-fixed": score_of(20.0), "transformer": score_of(20.0 + difference)},
        differences=(between(-difference, interval),),
        by_length=(bucket(1, 5, 1.0), bucket(15, 40, 8.0)),
        growth=() if growth is None else (between(-7.0, growth),),
        confidence=0.975,
    )


def said(bleu: Scores, chrf: Scores, *, seeds: int = 3) -> str:
    return "\n".join(
        what_can_be_said(
            plan_of("rnn-fixed", "transformer", seeds=seeds),
            {"bleu": bleu, "chrf": chrf},
            [result_of("transformer"), result_of("rnn-fixed")],
        )
    )


def test_a_difference_outside_the_noise_is_named_with_its_interval() -> None:
    text = said(scores_of(4.0, (-5.5, -2.5)), scores_of(3.0, (-4.0, -2.0)))
    assert (
        "transformer is better than rnn-fixed by 4.0 BLEU, +2.5 to +5.5 over 3 seeds and the test sentences "
        "(97.5 %); chrF agrees, by 3.0" in text
    )


def test_a_difference_inside_the_noise_gets_no_verdict() -> None:
    text = said(scores_of(0.4, (-1.9, 1.1)), scores_of(3.0, (-4.0, -2.0)))
    assert "no verdict: the difference of 0.4 BLEU between transformer and rnn-fixed lies inside -1.1 to +1.9" in text
    assert "is better" not in text


def test_a_second_score_that_disagrees_is_not_kept_quiet() -> None:
    assert "chrF says the opposite, by 2.0" in said(scores_of(4.0, (-5.5, -2.5)), scores_of(-2.0, (1.0, 3.0)))
    assert "chrF alone would give no verdict" in said(scores_of(4.0, (-5.5, -2.5)), scores_of(1.0, (-3.0, 1.0)))


def test_one_seed_gives_no_verdict_however_large_the_difference() -> None:
    text = said(scores_of(30.0, None), scores_of(30.0, None), seeds=1)
    assert text.startswith("no verdict: transformer scores 30.0 BLEU above rnn-fixed, but with one seed")
    assert "is better" not in text and "Bonferroni" not in text


def test_growth_with_length_is_said_or_refused() -> None:
    grown = said(scores_of(4.0, (-5.5, -2.5), (-9.0, -5.0)), scores_of(3.0, (-4.0, -2.0)))
    assert "the longer the source, the more rnn-fixed falls behind" in grown
    assert "+1.0 BLEU on sources of 1 to 5 words and +8.0 on those of 15 to 40 words, changes by +5.0 to +9.0" in grown
    unclear = said(scores_of(4.0, (-5.5, -2.5), (-15.0, 1.0)), scores_of(3.0, (-4.0, -2.0)))
    assert "no verdict on length" in unclear and "falls behind" not in unclear


@pytest.mark.parametrize(("rate", "word"), [(0.1, "lowest"), (0.4, "highest")])
def test_a_rate_at_the_edge_of_the_sweep_is_said(rate: float, word: str) -> None:
    results = [result_of("transformer", rate=rate), result_of("rnn-fixed")]
    scores = {"bleu": scores_of(4.0, (-5.5, -2.5)), "chrf": scores_of(3.0, (-4.0, -2.0))}
    text = "\n".join(what_can_be_said(plan_of("rnn-fixed", "transformer"), scores, results))
    assert f"transformer did best at {rate:g}, the {word} rate tried" in text and "rnn-fixed did best" not in text


def test_a_run_that_diverged_is_said() -> None:
    results = [
        result_of("transformer"),
        result_of("rnn-fixed"),
        replace(result_of("rnn-fixed", seed=2), diverged="loss nan"),
    ]
    scores = {"bleu": scores_of(4.0, (-5.5, -2.5)), "chrf": scores_of(3.0, (-4.0, -2.0))}
    assert "rnn-fixed diverged with seed 2" in "\n".join(
        what_can_be_said(plan_of("rnn-fixed", "transformer"), scores, results)
    )
