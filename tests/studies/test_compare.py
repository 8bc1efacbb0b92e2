"""A whole comparison, tiny: what it leaves, what it refuses, and that kill -9 changes nothing but its timings."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from comparisons import asked, write_pairs

from headway.errors import ConfigError, DataError, StorageError, TrainingError
from headway.formats.folder import load
from headway.settings import from_dict
from headway.studies.compare import compare
from headway.studies.plan import CompareSettings
from headway.training.recipe import Recipe, read_table

COMPARISONS = Path(__file__).with_name("comparisons.py")


class Page(HTMLParser):
    """Tags that are open, tags met, ids, and everything another file could be asked for by."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.met: set[str] = set()
        self.ids: list[str] = []
        self.asked_for: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.met.add(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "srcset", "data") and not (value or "").startswith("#"):
                self.asked_for.append(value or "")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> within {self.open[-3:]}"
        self.open.pop()


def lasting(table: dict[str, Any]) -> dict[str, Any]:
    """A report without what a clock measured."""
    return {name: value for name, value in table.items() if name != "timings"}


def test_the_report_holds_what_was_asked_for(finished):
    table = finished.table
    assert [family["name"] for family in table["families"]] == ["rnn-fixed", "transformer"]
    for family in table["families"]:
        assert abs(family["parameters"] - 30_000) <= 600
        assert [run["seed"] for run in family["runs"]] == [0, 1] and {run["steps"] for run in family["runs"]} == {3}
        assert len(family["sweep"]) == 2 and family["rate"] in [one["rate"] for one in family["sweep"]]
        assert len(family["bleu"]["seeds"]) == 2 and family["training_flops"] > 0
        assert all(run["curve"] for run in family["runs"])
    assert table["signatures"]["bleu"].startswith("nrefs:")
    assert (
        table["alignments"]["transformer"]["sentences"]
        and "fixed vector" in table["alignments"]["rnn-fixed"]["missing"]
    )
    readings = {(one["family"], one["reading"]) for one in table["probe"]["curves"]}
    assert readings == {("rnn-fixed", "summary"), ("transformer", "mean"), ("transformer", "positions")}
    assert set(table["timings"]["decoding_sentences_per_second"]) == {"rnn-fixed", "transformer"}
    assert json.loads((finished.folder / "report.json").read_text()) == table


def test_all_runs_of_a_seed_read_the_same_batches_for_as_long(finished):
    recipes = []
    for name in ("rnn-fixed", "transformer"):
        saved = finished.folder / "runs" / f"{name}-final-1" / "training" / "recipe.toml"
        recipes.append(from_dict(Recipe, read_table(saved)))
    for what in ("data", "tokenizer", "budget"):
        assert getattr(recipes[0], what) == getattr(recipes[1], what)
    for what in (
        "seed",
        "batch_tokens",
        "accumulation",
        "optimizer",
        "schedule",
        "patience",
        "label_smoothing",
        "evaluations",
    ):
        assert getattr(recipes[0].train, what) == getattr(recipes[1].train, what)
    assert recipes[0].train.seed == 1 and recipes[0].train.patience == 0


def test_every_run_is_a_model_folder_without_checkpoints(finished):
    runs = sorted(path.name for path in (finished.folder / "runs").iterdir())
    assert len(runs) == 8 and "transformer-final-1" in runs
    model, tokenizer = load(finished.folder / "runs" / "transformer-final-1")
    assert tokenizer is not None and tokenizer.size == model.config.vocabulary
    assert not list((finished.folder / "runs").glob("*/training/step-*"))


def test_the_page_is_one_whole_document_that_asks_for_nothing(finished):
    text = (finished.folder / "index.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == [] and page.asked_for == []
    assert not {"script", "link", "iframe", "img", "object"} & page.met
    assert len(page.ids) == len(set(page.ids))
    assert "url(" not in text and "@import" not in text
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text
    assert "What can be said" in text and "no verdict" in text


def test_the_same_command_on_a_finished_comparison_says_so(finished):
    (finished.folder / "index.html").unlink()
    began = time.monotonic()
    again = compare(asked(finished.pairs), finished.folder)
    assert lasting(again) == lasting(finished.table) and again["timings"] == finished.table["timings"]
    assert (finished.folder / "index.html").exists()
    assert time.monotonic() - began < finished.seconds


@pytest.mark.parametrize(
    "change",
    [{"seeds": 3}, {"steps": 4}, {"equal": "flops"}, {"families": ("rnnsearch", "transformer")}, {"probe": False}],
)
def test_another_comparison_in_the_folder_is_refused(finished, change):
    with pytest.raises(TrainingError, match=f"another comparison: {next(iter(change))} was"):
        compare(replace(asked(finished.pairs), **change), finished.folder)


def test_other_pairs_in_the_folder_are_refused(finished, tmp_path):
    with pytest.raises(TrainingError, match="other data"):
        compare(asked(write_pairs(tmp_path / "pairs.tsv", count=89)), finished.folder)


def test_a_folder_of_something_else_is_refused(finished, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letters.txt").write_text("dear")
    with pytest.raises(StorageError, match="letters.txt"):
        compare(asked(finished.pairs), tmp_path / "mine")


def test_a_report_inside_the_pairs_is_refused(finished, tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    write_pairs(folder / "pairs.tsv")
    with pytest.raises(ConfigError, match="outside the pairs"):
        compare(asked(folder), folder / "report")
    assert not (folder / "report").exists()


def test_bad_pairs_leave_no_plan(tmp_path):
    (tmp_path / "pairs.tsv").write_text("one column\n" * 30)
    with pytest.raises(DataError):
        compare(asked(tmp_path / "pairs.tsv"), tmp_path / "report")
    assert not (tmp_path / "report" / "plan.json").exists()


def test_settings_that_a_comparison_decides_are_refused(finished, tmp_path):
    for setting in ("model.width=7", "train.seed=3", "train.learning_rate=0.1"):
        with pytest.raises(ConfigError, match=setting.partition("=")[0]):
            compare(replace(asked(finished.pairs), settings=(setting,)), tmp_path / "report")


def test_a_damaged_result_is_named(finished, tmp_path):
    from headway.errors import FormatError
    from headway.studies.runs import load_result

    (tmp_path / "run.json").write_text('{"family": "transf')
    with pytest.raises(FormatError, match="delete it"):
        load_result(tmp_path / "run.json")


def start(pairs: Path, folder: Path) -> subprocess.Popen[str]:
    """A comparison in a process of its own, once its imports are done."""
    command = [sys.executable, str(COMPARISONS), str(pairs), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "working\n"
    return process


def kill_and_go_on(finished, folder: Path, kills: int, seed: int) -> None:
    """Kill a comparison so many times, each time a while after it went on, and compare with one never killed."""
    chance = random.Random(seed)
    for _ in range(kills):
        process = start(finished.pairs, folder)
        time.sleep(chance.uniform(0.0, finished.seconds))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert lasting(compare(asked(finished.pairs), folder)) == lasting(finished.table)
    assert not list(folder.rglob(".*.partial-*"))


def test_a_killed_comparison_ends_with_the_same_report(finished, tmp_path):
    kill_and_go_on(finished, tmp_path / "report", kills=1, seed=5)


@pytest.mark.night
@pytest.mark.parametrize("moment", range(10))
def test_comparisons_killed_at_random_moments_end_with_the_same_report(finished, tmp_path, moment):
    kill_and_go_on(finished, tmp_path / "report", kills=1 + moment % 3, seed=moment)


def test_a_comparison_needs_one_budget_and_two_families() -> None:
    with pytest.raises(ConfigError, match="two different families"):
        CompareSettings(data="pairs.tsv", families=("transformer",), steps=1)
    with pytest.raises(ConfigError, match="two different families"):
        CompareSettings(data="pairs.tsv", families=("transformer", "transformer"), steps=1)
    with pytest.raises(ConfigError, match="exactly one of --minutes"):
        CompareSettings(data="pairs.tsv", families=("transformer", "rnnsearch"))
    with pytest.raises(ConfigError, match="reads no source"):
        CompareSettings(data="pairs.tsv", families=("transformer", "gpt2"), steps=1)
    with pytest.raises(ConfigError, match="--equal minutes takes --minutes"):
        CompareSettings(data="pairs.tsv", families=("transformer", "rnnsearch"), steps=1, equal="minutes")
