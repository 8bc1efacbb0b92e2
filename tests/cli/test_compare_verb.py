"""`headway compare`: what its words mean, and the mistakes it names. A whole comparison is run in tests/studies."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headway.studies.compare
from headway.studies.plan import CompareSettings
from headway.training.recipe import BudgetSettings

FOUND = {"what_can_be_said": ["no verdict: too few words"], "timings": {}}


@pytest.fixture
def carried_out(monkeypatch: pytest.MonkeyPatch) -> list[tuple[CompareSettings, Path]]:
    """What was asked of the library, which is not carried out."""
    calls: list[tuple[CompareSettings, Path]] = []

    def record(asked: CompareSettings, folder: Path, *, reporter: Any = None) -> dict[str, Any]:
        calls.append((asked, folder))
        return FOUND

    monkeypatch.setattr(headway.studies.compare, "compare", record)
    return calls


def test_the_words_of_a_comparison(command: Callable, carried_out: list, tmp_path: Path) -> None:
    words = ("--families", "rnn-fixed, transformer", "--equal", "flops", "--minutes", "30", "--seeds", "4", "--probe")
    more = ("--parameters", "3.6M", "--rates", "0.3,1", "--test", "test.tsv", "--set", "tokenizer.vocabulary=4096")
    finished = command("compare", "pairs.tsv", "-o", tmp_path / "report", *words, *more)
    assert finished.code == 0, finished.err
    assert finished.out == f"{tmp_path / 'report' / 'index.html'}\n"
    assert "no verdict: too few words" in finished.err
    ((asked, folder),) = carried_out
    assert folder == tmp_path / "report"
    assert asked == CompareSettings(
        data="pairs.tsv",
        families=("rnn-fixed", "transformer"),
        equal="flops",
        minutes=30.0,
        seeds=4,
        parameters=3_600_000,
        test="test.tsv",
        probe=True,
        rate_factors=(0.3, 1.0),
        settings=("tokenizer.vocabulary=4096",),
    )


def test_the_words_of_a_comparison_of_readers(command: Callable, carried_out: list, tmp_path: Path) -> None:
    words = (
        "--families",
        "bert,gpt2",
        "--equal",
        "tokens",
        "--steps",
        "20",
        "--tasks",
        "reviews.tsv, b.tsv+c.tsv",
    )
    finished = command("compare", "texts", "-o", tmp_path / "report", *words, "--task-steps", "9", "--scratch")
    assert finished.code == 0, finished.err
    assert carried_out[0][0] == CompareSettings(
        data="texts",
        families=("bert", "gpt2"),
        equal="tokens",
        steps=20,
        tasks=("reviews.tsv", "b.tsv+c.tsv"),
        tuning=BudgetSettings(steps=9),
        scratch=True,
    )


@pytest.mark.parametrize(
    ("words", "budget"),
    [
        ((), BudgetSettings(epochs=3.0)),
        (("--task-epochs", "0.5"), BudgetSettings(epochs=0.5)),
        (("--task-minutes", "2"), BudgetSettings(minutes=2.0)),
    ],
)
def test_the_budget_of_each_fine_tuning(
    command: Callable, carried_out: list, words: tuple[str, ...], budget: BudgetSettings
) -> None:
    assert command("compare", "texts", "-o", "report", "--families", "bert,gpt2", *words).code == 0
    assert carried_out[0][0].tuning == budget


def test_left_to_itself_it_compares_three_families_for_an_hour(command: Callable, carried_out: list) -> None:
    assert command("compare", "pairs.tsv", "-o", "report").code == 0
    assert carried_out[0][0] == CompareSettings(
        data="pairs.tsv", families=("rnn-fixed", "rnnsearch", "transformer"), minutes=60.0
    )


def test_json_is_the_report(command: Callable, carried_out: list) -> None:
    assert json.loads(command("compare", "pairs.tsv", "-o", "report", "--steps", "3", "--json").out) == FOUND
    assert carried_out[0][0].minutes is None


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (("-o", "report", "--families", "transformer"), 2, "two different families"),
        (("-o", "report", "--families", "transformer,lstm"), 2, "no model family 'lstm'"),
        (("-o", "report", "--families", "transformer,gpt2"), 2, "gpt2 reads no source"),
        (("-o", "report", "--parameters", "many"), 2, "such as 3.6M"),
        (("-o", "report", "--rates", "1,fast"), 2, "--rates takes a number"),
        (("-o", "report", "--minutes", "5", "--steps", "5"), 2, "exactly one of --minutes"),
        (("-o", "report", "--seeds", "0"), 2, "--seeds must be in 1..100"),
        (("-o", "report", "--tasks", "reviews.tsv"), 2, "tasks are for families that read text"),
        (("-o", "report", "--task-steps", "5", "--task-minutes", "5"), 2, "give one of --task-epochs"),
        ((), 2, "output"),
    ],
)
def test_mistakes_name_the_rule_and_the_way_out(
    command: Callable, carried_out: list, words: tuple[str, ...], code: int, hint: str
) -> None:
    finished = command("compare", "pairs.tsv", *words)
    assert finished.code == code and hint in finished.err.lower() + finished.err
    assert len(finished.err.splitlines()) <= 6 and not carried_out


def test_pairs_that_are_not_there_are_bad_input(command: Callable, tmp_path: Path) -> None:
    finished = command("compare", tmp_path / "absent.tsv", "-o", tmp_path / "report", "--steps", "1")
    assert finished.code == 3 and "absent.tsv" in finished.err
