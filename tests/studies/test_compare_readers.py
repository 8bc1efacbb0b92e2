"""A whole comparison of readers and writers, tiny: what is the same for all, what is measured, and kill -9."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from readings import asked, write_all
from test_compare import Page, lasting

from headway.errors import ConfigError, TrainingError
from headway.formats.folder import load
from headway.settings import from_dict
from headway.studies.compare import compare
from headway.studies.decisions import asked_recipe
from headway.studies.plan import CompareSettings, Plan, Run, final_runs, sweep_runs, tuning_runs
from headway.studies.reading import BODY
from headway.studies.runs import target_tokens_of
from headway.studies.subject import subject_of
from headway.training.prepare import material_of
from headway.training.recipe import BudgetSettings, Recipe, read_table

READINGS = Path(__file__).with_name("readings.py")


@dataclass(frozen=True, kw_only=True)
class Read:
    """A comparison that was carried out."""

    place: Path
    folder: Path
    table: dict[str, Any]
    seconds: float


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    place = write_all(tmp_path_factory.mktemp("reading"))
    began = time.monotonic()
    table = compare(asked(place), place / "report")
    return Read(place=place, folder=place / "report", table=table, seconds=time.monotonic() - began)


def recipe_of(read: Read, name: str) -> Recipe:
    return from_dict(Recipe, read_table(read.folder / "runs" / name / "training" / "recipe.toml"))


def test_readers_and_writers_stand_in_one_report(read: Read) -> None:
    table = read.table
    assert table["kind"] == "reading" and [one["name"] for one in table["families"]] == ["bert", "gpt2"]
    assert {one["key"] for one in table["measures"]} == {
        *("bits_per_byte", "pseudo_bits_per_byte", "masked_accuracy"),
        *("moods_accuracy", "moods_macro_f1", "places_f1", "places_exact_match"),
    }
    assert set(table["scores"]["bits_per_byte"]) == {"gpt2"} and set(table["scores"]["pseudo_bits_per_byte"]) == {
        "bert"
    }
    assert set(table["scores"]["moods_accuracy"]) == {"bert", "gpt2", "bag of words"}
    assert all(len(table["scores"]["places_f1"][name]["seeds"]) == 2 for name in ("bert", "gpt2"))
    for family in table["families"]:
        assert abs(family["parameters"] - 30_000) <= 600 and family["training_flops"] > 0
    assert set(table["timings"]["tokens_per_second"]) == {"bert", "gpt2"}
    assert json.loads((read.folder / "report.json").read_text()) == table


def test_a_code_length_is_never_set_against_a_pseudo_likelihood(read: Read) -> None:
    compared = read.table["comparisons"]
    assert not compared["bits_per_byte"]["differences"] and not compared["pseudo_bits_per_byte"]["differences"]
    assert any("no code length" in sentence for sentence in read.table["what_can_be_said"])


def test_every_family_is_held_against_the_bag_of_words(read: Read) -> None:
    couples = {(one["first"], one["second"]) for one in read.table["comparisons"]["moods_accuracy"]["differences"]}
    assert couples == {("bert", "gpt2"), ("bert", "bag of words"), ("gpt2", "bag of words")}


def test_all_intervals_of_the_report_hold_together(read: Read) -> None:
    claims = sum(len(one["differences"]) for one in read.table["comparisons"].values())
    assert claims == 4
    assert {one["confidence"] for one in read.table["comparisons"].values()} == {1 - 0.05 / claims}


def test_all_runs_of_a_seed_read_the_same_windows_of_text(read: Read) -> None:
    batches = []
    for name in ("bert", "gpt2"):
        recipe = recipe_of(read, f"{name}-final-1")
        data = replace(recipe.data, path=str(read.folder / "data/train.jsonl"), validation=None)
        material = material_of(replace(recipe, data=data))
        _, tokenizer = load(read.folder / "runs" / f"{name}-final-1")
        from headway.training.material import Tokenizers
        from headway.training.report import Silent

        shards = read.folder.parent / f"shards-{name}"
        tokenizers, _ = material.write(shards, Tokenizers(source=tokenizer), Silent())
        objective: Any = material.objective(recipe, shards, tokenizers)
        batches.append([objective._batches.batch(step)[1].tolist() for step in range(3)])
        assert objective.tokens_per_step == read.table["plan"]["target_tokens_per_step"]
    assert batches[0] == batches[1]


def test_what_is_chosen_for_one_family_is_chosen_for_all(read: Read) -> None:
    bert, gpt2 = (recipe_of(read, f"{name}-final-1") for name in ("bert", "gpt2"))
    for what in ("seed", "batch_size", "optimizer", "schedule", "patience", "precision", "evaluations"):
        assert getattr(bert.train, what) == getattr(gpt2.train, what)
    assert bert.budget == gpt2.budget and bert.tokenizer == gpt2.tokenizer
    for what in ("width", "n_layers", "n_heads", "feed_forward", "vocabulary", "embedding_dropout", "activation"):
        assert bert.model[what] == gpt2.model[what]
    for name, value in BODY.items():
        assert bert.model[name] == value


def test_tasks_begin_with_the_pre_trained_weights_and_one_recipe(read: Read) -> None:
    bert, gpt2 = (recipe_of(read, f"{name}-tuned-1-moods") for name in ("bert", "gpt2"))
    assert str(bert.start).endswith("bert-final-1") and str(gpt2.start).endswith("gpt2-final-1")
    for what in ("seed", "learning_rate", "batch_tokens", "optimizer", "window"):
        assert getattr(bert.train, what) == getattr(gpt2.train, what)
    before, _ = load(read.folder / "runs" / "gpt2-final-1")
    after, _ = load(read.folder / "runs" / "gpt2-tuned-1-moods")
    name = "blocks.0.feed_forward.expand.weight"
    with torch.no_grad():
        apart = dict(after.named_parameters())[name] - dict(before.named_parameters())[name]
    assert 0.0 < float(apart.abs().max()) < 0.01  # moved, and by two steps alone


def test_the_page_is_one_whole_document(read: Read) -> None:
    text = (read.folder / "index.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == [] and page.asked_for == [] and len(page.ids) == len(set(page.ids))
    assert "What can be said" in text and "bag of words" in text and "no code length" in text


def test_the_same_command_on_a_finished_comparison_says_so(read: Read) -> None:
    again = compare(asked(read.place), read.folder)
    assert lasting(again) == lasting(read.table) and again["timings"] == read.table["timings"]


@pytest.mark.parametrize("change", [{"tuning": BudgetSettings(steps=3)}, {"scratch": True}, {"equal": "parameters"}])
def test_another_comparison_in_the_folder_is_refused(read: Read, change: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match=f"another comparison: {next(iter(change))} was"):
        compare(replace(asked(read.place), **change), read.folder)


def test_other_tasks_in_the_folder_are_refused(read: Read, tmp_path: Path) -> None:
    moods = (read.place / "moods.tsv").read_text(encoding="utf-8")
    (tmp_path / "moods.tsv").write_text(moods + "pos\tone more good day\n", encoding="utf-8")
    tasks = (str(tmp_path / "moods.tsv"), asked(read.place).tasks[1])
    with pytest.raises(TrainingError, match="other data"):
        compare(replace(asked(read.place), tasks=tasks), read.folder)


def start(place: Path, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(READINGS), str(place), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "working\n"
    return process


@pytest.mark.night
@pytest.mark.parametrize("moment", range(6))
def test_comparisons_killed_at_random_moments_end_with_the_same_report(read: Read, tmp_path: Path, moment: int) -> None:
    chance, folder = random.Random(moment), tmp_path / "report"
    for _ in range(1 + moment % 3):
        process = start(read.place, folder)
        time.sleep(chance.uniform(0.0, read.seconds))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert lasting(compare(asked(read.place), folder)) == lasting(read.table)
    assert not list(folder.rglob(".*.partial-*"))


@pytest.mark.night
def test_mixers_are_compared_at_equal_parameters_and_with_nothing_before_the_task(tmp_path: Path) -> None:
    place = write_all(tmp_path / "data")
    settings = replace(
        asked(place),
        families=("bert", "fnet", "hartley"),
        equal="parameters",
        tasks=(str(place / "moods.tsv"),),
        scratch=True,
    )
    table = compare(settings, tmp_path / "report")
    assert all(abs(one["parameters"] - 30_000) <= 600 for one in table["families"])
    assert "fnet from nothing" in table["scores"]["moods_accuracy"]
    couples = {(one["first"], one["second"]) for one in table["comparisons"]["pseudo_bits_per_byte"]["differences"]}
    assert couples == {("bert", "fnet"), ("bert", "hartley"), ("fnet", "hartley")}
    _, tokenizer = load(tmp_path / "report/runs/fnet-final-0")
    assert tokenizer is not None and tokenizer.begin_of_text is not None  # word pieces, where nobody writes


def test_families_that_read_and_families_that_translate_are_not_mixed() -> None:
    with pytest.raises(ConfigError, match="bert reads no source, so it learns no pairs as transformer does"):
        CompareSettings(data="texts", families=("transformer", "bert"), steps=1)
    with pytest.raises(ConfigError, match="tasks are for families that read"):
        CompareSettings(data="pairs.tsv", families=("transformer", "rnnsearch"), steps=1, tasks=("a.tsv",))
    with pytest.raises(ConfigError, match="leave it out"):
        CompareSettings(data="texts", families=("bert", "gpt2"), steps=1, probe=True)
    with pytest.raises(ConfigError, match="name them with --tasks"):
        CompareSettings(data="texts", families=("bert", "gpt2"), steps=1, scratch=True)
    with pytest.raises(ConfigError, match="laplace has no heads for tasks"):
        CompareSettings(data="texts", families=("bert", "laplace"), steps=1, tasks=("a.tsv",))


def test_a_writer_beside_readers_takes_no_word_pieces(tmp_path: Path) -> None:
    settings = CompareSettings(data="texts", families=("bert", "gpt2"), steps=1, settings=("tokenizer.kind=wordpiece",))
    with pytest.raises(ConfigError, match="has to say any text"):
        subject_of(settings, asked_recipe(settings))


def test_runs_from_nothing_have_the_same_shape_and_no_head_of_their_own(read: Read) -> None:
    plan = from_dict(Plan, read.table["plan"])
    plan = replace(plan, asked=replace(plan.asked, scratch=True))
    runs = tuning_runs(plan)
    assert len(runs) == 2 * 2 * 2 * 2 and {run.stage for run in runs} == {"tuned", "scratch"}
    run = next(run for run in runs if run.stage == "scratch" and run.family == "bert" and run.task == "moods")
    recipe = run.recipe(plan, plan.asked.tuning, read.folder)
    assert recipe.start is None and recipe.task == "classify" and recipe.tokenizer.folder is not None
    assert recipe.model["width"] == plan.family("bert").recipe["model"]["width"] and "head" not in recipe.model
    tuned = replace(run, stage="tuned").recipe(plan, plan.asked.tuning, read.folder)
    assert tuned.start is not None and tuned.data == recipe.data and not tuned.model


def test_equal_tokens_are_equal_steps(read: Read) -> None:
    plan = from_dict(Plan, read.table["plan"])
    assert [plan.steps(name, "final") for name in ("bert", "gpt2")] == [3, 3]
    assert sweep_runs(plan) == [] and len(final_runs(plan, {"bert": 0.1, "gpt2": 0.1})) == 4
    tokens = {run["target_tokens"] for family in read.table["families"] for run in family["runs"]}
    assert tokens == {3 * plan.target_tokens_per_step}
    assert target_tokens_of.__doc__ and Run(family="bert", stage="tuned", seed=1, rate=0.1, task="moods").name == (
        "bert-tuned-1-moods"
    )


@pytest.mark.night
def test_a_laplace_writer_takes_the_size_and_windows_of_the_others_wherever_it_is_named(tmp_path: Path) -> None:
    settings = replace(asked(write_all(tmp_path / "data")), families=("laplace", "gpt2", "hartley"), tasks=())
    table = compare(settings, tmp_path / "report")
    assert [one["name"] for one in table["families"]] == ["laplace", "gpt2", "hartley"]
    assert all(abs(one["parameters"] - 30_000) <= 600 for one in table["families"])
    assert [one["recipe"]["train"]["window"] for one in table["families"]] == [15, 15, 16]
    assert set(table["scores"]["bits_per_byte"]) == {"laplace", "gpt2"}
