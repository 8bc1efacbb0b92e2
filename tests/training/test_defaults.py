import pytest

from headway.errors import ConfigError
from headway.training.defaults import TextFacts, fill_in, fitting_vocabulary, model_config
from headway.training.recipe import recipe_from


def filled(tokens, *assignments, vocabulary=512, **budget):
    recipe = recipe_from(
        "texts", "model", budget=budget or {"minutes": 10.0}, assignments=["train.device=cpu", *assignments]
    )
    return fill_in(recipe, TextFacts(training_tokens=tokens, vocabulary=vocabulary), None)


@pytest.mark.parametrize("tokens", [2, 3_000, 300_000, 15_000_000, 3_000_000_000])
@pytest.mark.parametrize("budget", [{"minutes": 1.0}, {"minutes": 600.0}, {"steps": 5}, {"epochs": 2.0}])
def test_every_size_of_text_and_budget_gets_a_complete_recipe(tokens, budget):
    recipe, reasons = filled(tokens, **budget)
    config = model_config(recipe.model)
    assert config.vocabulary == 512 and recipe.train.window <= min(config.context, max(tokens - 1, 1))
    assert recipe.train.batch_size >= 1 and recipe.train.learning_rate > 0
    assert None not in (recipe.train.precision, recipe.train.device)
    assert any("parameters" in reason for reason in reasons)


def test_more_text_and_more_time_get_a_larger_model():
    sizes = [
        model_config(filled(tokens, minutes=minutes)[0].model).n_parameters()
        for tokens, minutes in ((20_000, 1.0), (2_000_000, 10.0), (50_000_000, 600.0))
    ]
    assert sizes == sorted(sizes) and sizes[0] < sizes[2]


def test_what_is_given_stands_and_filling_in_twice_changes_nothing():
    recipe, _ = filled(500_000, "model.width=96", "model.residual_dropout=0.3", "train.batch_size=5", steps=40)
    assert recipe.model["width"] == 96 and recipe.model["residual_dropout"] == 0.3 and recipe.train.batch_size == 5
    again, _ = fill_in(recipe, TextFacts(training_tokens=500_000, vocabulary=512), None)
    assert again == recipe


def test_text_read_often_gets_dropout_and_a_warning():
    often, reasons = filled(5_000, epochs=50.0)
    once, _ = filled(5_000_000, epochs=1.0)
    assert often.model["residual_dropout"] > once.model["residual_dropout"] == 0.0
    assert any("by heart" in reason for reason in reasons)


def test_settings_that_contradict_are_refused():
    with pytest.raises(ConfigError, match="model.vocabulary is 300, but the tokenizer has 512 ids"):
        filled(5_000, "model.vocabulary=300")
    with pytest.raises(ConfigError, match="train.window must be at most the model's context 32, but got 64"):
        filled(5_000, "model.context=32", "train.window=64")
    with pytest.raises(ConfigError, match="model.widht is not a setting; did you mean model.width"):
        filled(5_000, "model.widht=64")
    with pytest.raises(ConfigError, match="model.width must be a whole number above 0"):
        filled(5_000, "model.width=0")
    with pytest.raises(ConfigError, match="no model family 'gpt9'"):
        filled(5_000, "model.family=gpt9")


@pytest.mark.parametrize(("width", "n_heads"), [(768, 12), (96, 3), (33, 3), (100, 2), (31, 1), (10, 1)])
def test_heads_are_never_a_few_numbers_wide(width, n_heads):
    recipe, _ = filled(500_000, f"model.width={width}", steps=40)
    assert recipe.model["n_heads"] == n_heads


def test_muon_is_chosen_where_a_step_reads_many_tokens_for_its_width():
    def choice(*assignments):
        return filled(5_000_000, *assignments, steps=400)[0].train.optimizer

    assert choice("model.width=128") == choice("model.width=768") == "muon"
    assert choice("model.width=128", "train.batch_size=2") == choice("model.width=1024") == "adamw"
    assert choice("model.width=128", "train.optimizer=adamw") == "adamw"


def test_compiling_is_chosen_in_bfloat16_where_the_run_is_long_enough_to_pay_for_it():
    def compiled(*assignments, **budget):
        return filled(5_000_000, *assignments, **budget)[0].train.compile

    narrow = "train.precision=bfloat16"
    assert compiled(narrow, minutes=10.0) and not compiled(narrow, minutes=2.0)
    assert compiled(narrow, steps=10**6) and not compiled(narrow, steps=10)
    assert not compiled("train.precision=float32", minutes=10.0)
    assert compiled("train.compile=true", "train.precision=float32", minutes=2.0)
    assert not compiled("train.compile=false", narrow, minutes=10.0)
    assert any("compiled first" in reason for reason in filled(5_000_000, narrow, minutes=10.0)[1])


def test_a_short_budget_takes_smaller_steps_and_steps_given_do_not():
    def tokens(**budget):
        train = filled(5_000_000, **budget)[0].train
        return train.batch_size * train.window

    assert tokens(minutes=0.5) < tokens(minutes=60.0) == tokens(steps=5)


def test_a_text_read_very_often_gets_patience_and_others_none():
    recipe, reasons = filled(5_000, epochs=50.0)
    assert recipe.train.patience and any("without a better one" in reason for reason in reasons)
    assert filled(5_000_000, epochs=1.0)[0].train.patience == 0
    assert filled(5_000, "train.patience=0", epochs=50.0)[0].train.patience == 0


def test_tuning_a_model_takes_adamw_at_a_tenth_of_the_rate_and_adapters_ten_times_that():
    facts = TextFacts(training_tokens=500_000, vocabulary=512)
    start = filled(500_000, steps=40)[0].model

    def rate(*assignments):
        recipe = recipe_from("texts", "model", start="model", budget={"steps": 40}, assignments=assignments)
        train = fill_in(recipe, facts, start)[0].train
        assert train.optimizer == "adamw"
        return train.learning_rate

    assert rate("adapter.rank=4", "train.device=cpu") == pytest.approx(10 * rate("train.device=cpu"))


def test_the_vocabulary_fits_the_text_and_the_model_that_the_budget_allows():
    def size(n_bytes, *assignments, minutes=10.0):
        settings = ["train.device=cpu", *assignments]
        return fitting_vocabulary(recipe_from("t", "m", budget={"minutes": minutes}, assignments=settings), n_bytes)

    sizes = [size(10**power) for power in (4, 5, 6, 7, 8)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1] <= 4096
    assert size(10**8, minutes=600.0) > size(10**8, minutes=10.0) >= size(10**8, minutes=1.0)
    assert size(10**8, "model.width=768", "model.n_layers=12") > size(10**8)
