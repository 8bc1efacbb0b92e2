"""Runs on pairs: every encoder-decoder learns, resumes and refuses as the runs on text do."""

import hashlib

import pytest
import torch

from headway.errors import ConfigError, DataError, Interrupted, TrainingError
from headway.formats.folder import load, load_target_tokenizer
from headway.models.registry import spelled_out
from headway.training.averaging import averaged, remember_weights
from headway.training.recipe import recipe_from
from headway.training.run import train
from headway.training.trainer import Trainer

FAMILIES = ("transformer", "rnnsearch", "rnn-fixed")
SMALL = {
    "transformer": (
        "model.width=16",
        "model.n_heads=2",
        "model.encoder_layers=1",
        "model.decoder_layers=1",
        "model.feed_forward=20",
    ),
    "rnnsearch": ("model.width=12", "model.embedding=12", "model.maxout=12"),
    "rnn-fixed": ("model.width=12", "model.embedding=12", "model.maxout=12"),
}
WORDS = {"red": "rouge", "green": "vert", "house": "maison", "sea": "mer", "ship": "navire", "moon": "lune"}


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.tsv"
    english = list(WORDS)
    lines = []
    for number in range(90):
        chosen = [english[(number * place + number // 7 + place) % len(english)] for place in range(1, 3 + number % 4)]
        lines.append(f"{number} {' '.join(chosen)}\t{number} {' '.join(WORDS[word] for word in chosen)}\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def recipe(pairs, tmp_path):
    def build(family, *assignments, output="model", **budget):
        quiet = ("train.log_every=2", "train.evaluations=3", "train.save_every=4", "train.sample_tokens=3")
        sizes = ("tokenizer.vocabulary=300", "train.batch_tokens=90", "data.validation_share=0.2")
        return recipe_from(
            pairs,
            tmp_path / output,
            budget=budget or {"steps": 11},
            assignments=(f"model.family={family}", *SMALL[family], *quiet, *sizes, *assignments),
        )

    return build


def weights_of(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_on_pairs_leaves_a_folder_that_reads_a_source(recipe, tmp_path, family):
    result = train(recipe(family))
    model, tokenizer = load(tmp_path / "model")
    assert result.steps == 11 and result.family == ("transformer" if family == "transformer" else "rnnsearch")
    source = torch.tensor([[*tokenizer.encode("red house"), tokenizer.end_of_text]])
    state = model.start(source, torch.tensor([source.shape[1]]), rows=[0])
    logits, _ = model.step(torch.tensor([[tokenizer.end_of_text]]), torch.tensor([1]), state)
    assert logits.shape == (1, tokenizer.size) and bool(torch.isfinite(logits).all())
    assert getattr(model.config, "attention", "additive") == ("fixed" if family == "rnn-fixed" else "additive")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_on_pairs_lowers_the_loss(recipe, family):
    first = train(recipe(family, output="first", steps=1))
    longer = train(recipe(family, "train.learning_rate=0.02", steps=60))
    assert longer.validation_loss < first.validation_loss - 0.5


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("budget", [{"steps": 11}, {"epochs": 1.2}])
def test_an_interrupted_run_on_pairs_ends_bit_for_bit_as_one_that_never_stopped(
    recipe, tmp_path, monkeypatch, family, budget
):
    settings = ("train.average=2", "train.optimizer=muon")
    whole = train(recipe(family, *settings, **budget))
    take = Trainer._save_if_due

    def stop_at_six(self, state, request):
        if state.step == 6:
            request.signal_number = 15
        take(self, state, request)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_save_if_due", stop_at_six)
        with pytest.raises(Interrupted):
            train(recipe(family, *settings, output="stopped", **budget))
    result = train(recipe(family, *settings, output="stopped", **budget))
    assert result.resumed_from == 6 and result.validation_loss == whole.validation_loss
    assert weights_of(tmp_path / "stopped") == weights_of(tmp_path / "model")


def test_vocabularies_of_their_own_are_learnt_and_kept_beside_each_other(recipe, tmp_path):
    train(recipe("transformer", "tokenizer.separate=true", "tokenizer.vocabulary=280"))
    model, source = load(tmp_path / "model")
    target = load_target_tokenizer(tmp_path / "model")
    assert target is not None and source.encode("house") != target.encode("house")
    assert (model.config.source_vocabulary, model.config.vocabulary) == (source.size, target.size)


def test_words_are_learnt_instead_of_pieces_where_asked(recipe, tmp_path):
    train(recipe("rnnsearch", "tokenizer.kind=words", "tokenizer.separate=true", "tokenizer.vocabulary=8"))
    _, source = load(tmp_path / "model")
    target = load_target_tokenizer(tmp_path / "model")
    assert source.unknown is not None and source.encode("zebra") == [source.unknown]
    assert target is not None and target.unknown is not None


def test_a_run_from_a_translator_keeps_its_vocabulary_and_sizes(recipe, tmp_path):
    train(recipe("rnnsearch"))
    tuned = recipe_from(tmp_path / "pairs.tsv", tmp_path / "tuned", start=tmp_path / "model", budget={"steps": 2})
    assert train(tuned).family == "rnnsearch"
    assert load(tmp_path / "tuned")[0].config.width == 12


def test_a_given_rate_schedule_and_optimiser_of_the_papers_train(recipe):
    adadelta = ("train.optimizer=adadelta", "train.schedule=constant", "train.learning_rate=1.0", "train.epsilon=1e-6")
    assert train(recipe("rnnsearch", *adadelta)).steps == 11
    rising = ("train.schedule=inverse-sqrt", "train.warm_up=0.3", "train.label_smoothing=0.1")
    assert train(recipe("transformer", *rising, output="other")).steps == 11


def test_accumulation_gives_the_same_loss_within_rounding(recipe):
    plain = ("model.embedding_dropout=0", "model.residual_dropout=0", "train.optimizer=adamw")
    plain += ("train.precision=float32",)
    whole = train(recipe("transformer", *plain, steps=3))
    parts = train(recipe("transformer", *plain, "train.accumulation=3", output="parts", steps=3))
    assert parts.validation_loss == pytest.approx(whole.validation_loss, abs=2e-4)


def test_sizes_of_text_are_refused_for_pairs_with_the_setting_that_is_meant(recipe):
    with pytest.raises(ConfigError, match="train.batch_tokens"):
        train(recipe("transformer", "train.batch_size=8"))


def test_a_variant_is_its_family_with_its_settings_and_contradiction_is_refused():
    assert spelled_out({"family": "rnn-fixed", "width": 5}) == {"family": "rnnsearch", "attention": "fixed", "width": 5}
    with pytest.raises(ConfigError, match="rnn-fixed has model.attention='fixed'"):
        spelled_out({"family": "rnn-fixed", "attention": "additive"})


def test_a_vocabulary_smaller_than_the_tokenizer_is_refused(recipe):
    with pytest.raises(ConfigError, match="the tokenizer has"):
        train(recipe("transformer", "model.vocabulary=50"))


def test_other_pairs_in_the_folder_of_a_run_are_refused(recipe, pairs):
    train(recipe("rnnsearch"))
    pairs.write_text(pairs.read_text() + "one more\tun de plus\n")
    with pytest.raises(TrainingError, match="other text"):
        train(recipe("rnnsearch"))


def test_too_few_pairs_are_refused_with_the_way_out(recipe, pairs, tmp_path):
    pairs.write_text("the same\tle même\nthe same\tla même\n")
    with pytest.raises(DataError, match="pairs"):
        train(recipe("transformer", "tokenizer.vocabulary=257"))
    assert not (tmp_path / "model").exists()


def test_the_mean_of_remembered_weights_is_their_mean(tmp_path):
    model = torch.nn.Linear(2, 1)
    for number, value in enumerate((9.0, 1.0, 2.0, 6.0)):
        torch.nn.init.constant_(model.weight, value)
        remember_weights(tmp_path, model, number, 3)
    mean = averaged(tmp_path, model)
    torch.testing.assert_close(mean.weight, torch.full((1, 2), 3.0))
    torch.testing.assert_close(model.weight, torch.full((1, 2), 6.0))
