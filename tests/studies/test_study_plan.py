"""Budgets: how minutes and steps are divided, what equal arithmetic comes to, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
from comparisons import asked, write_pairs

from headway.errors import ConfigError, FormatError
from headway.studies.division import division_of, fingerprint_of, part
from headway.studies.plan import CompareSettings, FamilyPlan, Plan, final_runs, load_plan, save_plan, sweep_runs
from headway.studies.runs import RunResult, RunTimings, best_rates, steps_of_equal_cost
from headway.studies.sizes import sized_model
from headway.training.defaults import TextFacts, model_config
from headway.training.recipe import DataSettings
from headway.training.report import Silent

FAMILIES = ("rnn-fixed", "rnnsearch", "transformer")


def plan_of(asked: CompareSettings) -> Plan:
    costs = {"rnn-fixed": 2.0, "rnnsearch": 8.0, "transformer": 4.0}
    return Plan(
        asked=asked,
        data_fingerprint="print",
        target_tokens_per_step=10,
        source_tokens_per_target=1.0,
        families=tuple(
            FamilyPlan(name=name, recipe={}, parameters=5, flops_per_token=costs[name], rates=(0.1, 0.2))
            for name in asked.families
        ),
    )


def minutes(**changes: object) -> CompareSettings:
    settings = CompareSettings(data="pairs.tsv", families=FAMILIES, minutes=60.0, rate_factors=(0.5, 1.0))
    return replace(settings, **changes)


def swept(family: str, rate: float, loss: float | None, seconds: float = 10.0, steps: int = 5) -> RunResult:
    return RunResult(
        family=family,
        stage="sweep",
        seed=0,
        rate=rate,
        steps=steps,
        best_step=steps,
        validation_loss=loss,
        curve=(),
        timings=RunTimings(seconds=seconds, target_tokens_per_second=None, peak_memory=None, curve_seconds=()),
    )


def test_the_minutes_of_all_runs_are_those_asked_for() -> None:
    asked = minutes(seeds=4)
    plan = plan_of(asked)
    runs = sweep_runs(plan) + final_runs(plan, dict.fromkeys(FAMILIES, 0.1))
    assert len(runs) == 3 * 2 + 3 * 4
    assert sum(asked.minutes_of(run.stage) for run in runs) == pytest.approx(60.0)
    assert asked.minutes_of("sweep") * 6 == pytest.approx(9.0)


def test_without_a_sweep_the_final_runs_get_everything() -> None:
    asked = minutes(rate_factors=(1.0,), seeds=2)
    assert sweep_runs(plan_of(asked)) == [] and asked.minutes_of("final") == pytest.approx(10.0)


def test_equal_flops_in_steps_give_the_cheaper_family_more_steps() -> None:
    plan = plan_of(CompareSettings(data="pairs.tsv", families=FAMILIES, steps=100, equal="flops"))
    assert [plan.steps(name, "final") for name in FAMILIES] == [400, 100, 200]
    alike = plan_of(CompareSettings(data="pairs.tsv", families=FAMILIES, steps=100))
    assert [alike.steps(name, "final") for name in FAMILIES] == [100, 100, 100]


def test_a_sweep_in_steps_takes_its_share() -> None:
    plan = plan_of(CompareSettings(data="pairs.tsv", families=FAMILIES, steps=1000, rate_factors=(0.5, 1.0)))
    in_all = 2 * plan.steps("rnnsearch", "sweep") + 3 * 1000
    assert 2 * plan.steps("rnnsearch", "sweep") / in_all == pytest.approx(0.15, abs=0.001)


def test_equal_flops_in_minutes_fill_the_minutes_at_the_pace_of_the_sweep() -> None:
    plan = plan_of(minutes(equal="flops", seeds=2))
    pace = {"rnn-fixed": 1.0, "rnnsearch": 3.0, "transformer": 2.0}
    found = [swept(name, rate, 1.0, seconds=pace[name] * 5) for name in FAMILIES for rate in (0.1, 0.2)]
    steps = steps_of_equal_cost(plan, found)
    assert steps["rnn-fixed"] / steps["rnnsearch"] == pytest.approx(4.0, rel=0.01)
    seconds = sum(2 * steps[name] * pace[name] for name in FAMILIES)
    assert seconds == pytest.approx(60.0 * 60 * 0.85, rel=0.02)


def test_the_lowest_validation_loss_chooses_the_rate() -> None:
    plan = plan_of(minutes(families=("rnnsearch", "transformer")))
    found = [swept("rnnsearch", 0.1, 2.0), swept("rnnsearch", 0.2, 1.5), swept("transformer", 0.1, 3.0)]
    assert best_rates(plan, [*found, swept("transformer", 0.2, None)]) == {"rnnsearch": 0.2, "transformer": 0.1}
    tied = [swept(name, rate, 1.0) for name in ("rnnsearch", "transformer") for rate in (0.2, 0.1)]
    assert best_rates(plan, tied) == {"rnnsearch": 0.1, "transformer": 0.1}


def test_a_plan_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    plan = plan_of(minutes())
    save_plan(tmp_path, plan)
    assert load_plan(tmp_path, plan.asked, "print") == plan
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(FormatError, match="plan.json is damaged"):
        load_plan(tmp_path, plan.asked, "print")


@pytest.mark.parametrize("source_vocabulary", [None, 900])
@pytest.mark.parametrize("wanted", [300_000, 1_000_000, 3_600_000])
def test_every_family_comes_within_two_percent_of_the_parameters(wanted: int, source_vocabulary: int | None) -> None:
    facts = TextFacts(training_tokens=9, vocabulary=1100, source_vocabulary=source_vocabulary)
    for model in ({"family": "rnnsearch", "attention": "fixed"}, {"family": "rnnsearch"}, {"family": "transformer"}):
        config = model_config(sized_model(model, facts, wanted))
        assert abs(config.n_parameters() - wanted) <= 0.02 * wanted
        assert (config.vocabulary, config.source_vocabulary) == (1100, source_vocabulary)


def test_a_size_that_cannot_be_had_is_refused() -> None:
    with pytest.raises(ConfigError, match="comes no nearer to 2,000 parameters"):
        sized_model({"family": "transformer"}, TextFacts(training_tokens=9, vocabulary=50_000), 2000)


def test_no_source_stands_in_two_parts(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs.tsv", count=400)
    (tmp_path / "report").mkdir()
    settings, data = asked(pairs), DataSettings(path=str(pairs), clean=False)
    found = division_of(tmp_path / "report", settings, data, "print", Silent())
    sources = [{pair.source for pair in part(tmp_path / "report", name)} for name in ("train", "validation", "test")]
    assert all(sources) and not (sources[0] & sources[1] or sources[0] & sources[2] or sources[1] & sources[2])
    assert found.train + found.validation + found.test == 401 and not found.overlap
    assert division_of(tmp_path / "report", settings, data, "print", Silent()) == found


def test_a_test_set_inside_the_training_pairs_is_warned_of(tmp_path: Path) -> None:
    pairs, test = write_pairs(tmp_path / "pairs.tsv"), write_pairs(tmp_path / "test.tsv", count=5)
    (tmp_path / "report").mkdir()
    settings = replace(asked(pairs), test=str(test))
    found = division_of(tmp_path / "report", settings, DataSettings(path=str(pairs), clean=False), "print", Silent())
    assert found.test_is_given and found.overlap_share > 0.5 and found.overlap.startswith("warning: the test set")


def test_the_fingerprint_covers_the_test_set(tmp_path: Path) -> None:
    pairs, test = write_pairs(tmp_path / "pairs.tsv"), write_pairs(tmp_path / "test.tsv", count=5)
    data, settings = DataSettings(path=str(pairs)), replace(asked(pairs), test=str(test))
    before = fingerprint_of(settings, data)
    write_pairs(test, count=6)
    assert fingerprint_of(settings, data) != before
