from pathlib import Path

import pytest

from headway.errors import ConfigError, DataError
from headway.models.registry import FAMILIES
from headway.settings import to_dict
from headway.training.recipe import BudgetSettings, recipe_from, to_toml

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


def test_the_command_line_replaces_what_the_file_says(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('output = "a"\n[data]\npath = "texts"\n[train]\nseed = 3\nclip = 0.5\n[budget]\nsteps = 7\n')
    recipe = recipe_from(
        "others", None, budget={"minutes": 2.0, "steps": None}, assignments=["train.seed=5"], file=file
    )
    assert (recipe.data.path, recipe.output, recipe.train.seed, recipe.train.clip) == ("others", "a", 5, 0.5)
    assert recipe.budget == BudgetSettings(minutes=2.0)


def test_a_recipe_is_read_back_from_its_toml(tmp_path):
    recipe = recipe_from("texts", "a model", start="other", budget={"epochs": 1.5}, assignments=["train.keep=3"])
    (tmp_path / "run.toml").write_text(to_toml(recipe), encoding="utf-8")
    assert recipe_from(None, None, file=tmp_path / "run.toml") == recipe


@pytest.mark.parametrize("file", RECIPES, ids=lambda path: path.name)
def test_the_shipped_recipes_are_sound(file):
    recipe = recipe_from("data", "model", start="reader" if file.name == "judge.toml" else None, file=file)
    assert recipe.start == "reader" or recipe.model["family"] in FAMILIES


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.save_evry=10", "train.save_evry is not a setting; did you mean train.save_every?"),
        ("trian.seed=1", "trian is not a setting; did you mean train?"),
        ("train.save_every=0", "train.save_every must be at least 1, but got 0"),
        ("train.learning_rate=-1", "train.learning_rate must be above 0"),
        ("train.learning_rate=nan", "train.learning_rate must be above 0"),
        ("train.beta2=1.5", "train.beta2 must be in 0.0..0.99999"),
        ("train.seed=-1", "train.seed must not be negative"),
        ("train.precision=half", "train.precision must be one of 'float32', 'bfloat16', but got 'half'"),
        ("model=3", "model must be a table of settings, but got 3"),
        ("data.validation_share=0.9", "data.validation_share must be above 0 and at most 0.5"),
        ("budget.minutes=soon", "budget.minutes must be a number"),
    ],
)
def test_a_wrong_setting_says_the_rule_and_the_way_out(assignment, message):
    with pytest.raises(ConfigError) as caught:
        recipe_from("texts", "model", assignments=[assignment])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "budget", [{"minutes": 0.0}, {"steps": 0}, {"tokens": -5}, {"epochs": float("nan")}, {"epochs": float("inf")}]
)
def test_an_empty_budget_is_refused_by_the_name_of_its_flag(budget):
    with pytest.raises(
        ConfigError, match=f"--{next(iter(budget))} must be above 0 and finite.*leave it out for 10 minutes"
    ):
        recipe_from("texts", "model", budget=budget)


def test_two_budgets_are_refused():
    with pytest.raises(
        ConfigError, match="exactly one of minutes, steps, tokens, epochs, but got minutes=1.0, steps=5"
    ):
        recipe_from("texts", "model", budget={"minutes": 1.0, "steps": 5})


def test_accumulation_divides_the_batch():
    with pytest.raises(ConfigError, match="multiple of train.accumulation, but got batch_size=7, accumulation=2"):
        recipe_from("texts", "model", assignments=["train.batch_size=7", "train.accumulation=2"])


@pytest.mark.parametrize("content", [b"seed = ", b"\xff\xfe", None])
def test_a_recipe_file_that_cannot_be_read_is_named(tmp_path, content):
    file = tmp_path / "run.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match="run.toml"):
        recipe_from("texts", "model", file=file)


def test_a_run_needs_data_and_output():
    with pytest.raises(ConfigError, match="a run needs its data"):
        recipe_from(None, "model")
    with pytest.raises(ConfigError, match="a run needs its output"):
        recipe_from("texts", None)


def test_the_default_budget_is_ten_minutes():
    assert to_dict(recipe_from("texts", "model").budget)["minutes"] == 10.0
