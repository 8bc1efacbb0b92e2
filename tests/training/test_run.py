"""Contract 7 and the manners of a run; the kill test proper is in test_kill.py."""

import hashlib
import json
import shutil
from dataclasses import replace

import pytest
import torch

from headway.corpus.readers import Document
from headway.errors import (
    ConfigError,
    DataError,
    FormatError,
    Interrupted,
    StorageError,
    TrainingError,
)
from headway.formats.folder import load, save
from headway.models.gpt2 import GPT2
from headway.storage import only_writer
from headway.training import run, trainer
from headway.training import texts as text_material
from headway.training.recipe import recipe_from, to_toml
from headway.training.report import Silent
from headway.training.run import train
from headway.training.texts import spread
from headway.training.trainer import Trainer


class Listener(Silent):
    """Keeps what a run says."""

    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


def weights_of(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def last_checkpoint(folder):
    steps = sorted((folder / "training").glob("step-*"), key=lambda path: int(path.name[5:]))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in steps[-1].glob("*.safetensors")}


def stop_after(monkeypatch, step):
    """Let the run be interrupted, as by SIGTERM, when it has taken `step` steps."""
    take = Trainer._save_if_due

    def save_if_due(self, state, request):
        if state.step == step:
            request.signal_number = 15
        take(self, state, request)

    monkeypatch.setattr(Trainer, "_save_if_due", save_if_due)


def test_a_run_leaves_a_model_folder_that_writes(recipe, tmp_path):
    result = train(recipe())
    assert (result.steps, result.already_finished, result.resumed_from) == (11, False, None)
    model, tokenizer = load(tmp_path / "model")
    assert model.config.width == 14 and tokenizer.size <= 270
    logits = model(torch.tensor([tokenizer.encode("the sea")]))
    assert bool(torch.isfinite(logits).all())
    assert f"{result.validation_bits_per_byte:.4f} bits per byte" in (tmp_path / "model/README.md").read_text()
    assert not (tmp_path / "model/training/data").exists()


def test_training_lowers_the_loss(recipe):
    result = train(recipe("train.learning_rate=0.02", steps=60))
    first = train(recipe("train.learning_rate=0.02", output="first", steps=1))
    assert result.validation_loss < first.validation_loss - 0.5


@pytest.mark.parametrize("budget", [{"steps": 11}, {"tokens": 6 * 17 * 11}, {"epochs": 0.9}])
def test_an_interrupted_run_ends_bit_for_bit_as_one_that_never_stopped(recipe, tmp_path, monkeypatch, budget):
    whole = train(recipe(**budget))
    for step in (3, 7):
        with monkeypatch.context() as patched:
            stop_after(patched, step)
            with pytest.raises(Interrupted, match=f"after step {step}.*same command goes on") as caught:
                train(recipe(output="stopped", **budget))
            assert caught.value.exit_code == 143
    result = train(recipe(output="stopped", **budget))
    assert result.resumed_from == 7 and result.steps == whole.steps
    assert result.validation_loss == whole.validation_loss and result.best_step == whole.best_step
    assert weights_of(tmp_path / "stopped") == weights_of(tmp_path / "model")
    assert last_checkpoint(tmp_path / "stopped") == last_checkpoint(tmp_path / "model")


@pytest.mark.parametrize("settings", [("train.optimizer=muon",), ("train.schedule=wsd", "train.layer_decay=0.7")])
def test_every_optimiser_and_schedule_resumes_bit_for_bit(recipe, tmp_path, monkeypatch, settings):
    train(recipe(*settings))
    with monkeypatch.context() as patched:
        stop_after(patched, 5)
        with pytest.raises(Interrupted):
            train(recipe(*settings, output="stopped"))
    train(recipe(*settings, output="stopped"))
    assert weights_of(tmp_path / "stopped") == weights_of(tmp_path / "model")
    assert last_checkpoint(tmp_path / "stopped") == last_checkpoint(tmp_path / "model")


def test_muon_and_adamw_train_different_models(recipe, tmp_path):
    for name in ("muon", "adamw"):
        train(recipe(f"train.optimizer={name}", output=name))
    assert weights_of(tmp_path / "muon") != weights_of(tmp_path / "adamw")


def test_a_spike_moves_no_weight_and_is_said(recipe, tmp_path, monkeypatch):
    spiky = 4
    monkeypatch.setattr(trainer, "stands_out", lambda value, recent, deviations: len(recent) == spiky)
    listener = Listener()
    train(recipe("train.save_every=1", "train.keep=20"), reporter=listener)
    folders = [tmp_path / f"model/training/step-{step}/model.safetensors" for step in (4, 5, 6)]
    before, spike, after = (hashlib.sha256(path.read_bytes()).hexdigest() for path in folders)
    assert before == spike != after
    assert (
        [text for text in listener.said if "updates nothing" in text]
        == [text for text in listener.said if text.startswith("step 5 updates nothing")]
        != []
    )


def test_a_run_that_gets_no_better_stops_early_with_its_best_weights_and_is_finished(recipe, tmp_path):
    worse = ("train.learning_rate=0.2", "train.patience=2", "train.evaluations=20", "train.optimizer=adamw")
    listener = Listener()
    result = train(recipe(*worse, steps=80), reporter=listener)
    assert result.steps < 80 and result.best_step < result.steps
    assert any("stops early" in text and f"step {result.best_step}" in text for text in listener.said)
    assert train(recipe(*worse, steps=80)).already_finished
    assert train(recipe(*worse, "train.patience=0", output="patient", steps=80)).steps == 80


def test_the_same_recipe_and_seed_give_the_same_weights_and_another_seed_others(recipe, tmp_path):
    for output, seed in (("one", 5), ("two", 5), ("three", 7)):
        train(recipe(f"train.seed={seed}", output=output))
    assert weights_of(tmp_path / "one") == weights_of(tmp_path / "two") != weights_of(tmp_path / "three")


def test_a_finished_run_says_so_and_changes_nothing(recipe, tmp_path):
    train(recipe())
    before = weights_of(tmp_path / "model")
    again = train(recipe())
    assert again.already_finished and again.steps == 11 and weights_of(tmp_path / "model") == before


def test_the_saved_recipe_trains_the_same_model(recipe, tmp_path):
    train(recipe())
    saved = tmp_path / "model/training/recipe.toml"
    train(recipe_from(None, tmp_path / "again", file=saved))
    assert weights_of(tmp_path / "again") == weights_of(tmp_path / "model")
    assert train(recipe_from(None, None, file=saved)).already_finished


def test_another_recipe_or_other_text_in_the_folder_is_refused(recipe, texts, tmp_path):
    train(recipe())
    before = weights_of(tmp_path / "model")
    with pytest.raises(TrainingError, match="train.learning_rate was .* and is now 0.5"):
        train(recipe("train.learning_rate=0.5"))
    with pytest.raises(TrainingError, match="budget.steps was 11 and is now 12"):
        train(recipe(steps=12))
    (texts / "3.txt").write_text("something else", encoding="utf-8")
    with pytest.raises(TrainingError, match="other text"):
        train(recipe())
    assert weights_of(tmp_path / "model") == before


def test_the_text_may_move_between_resumes(recipe, texts, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_after(patched, 5)
        with pytest.raises(Interrupted):
            train(recipe())
    shutil.move(texts, tmp_path / "moved")
    assert train(recipe(data=tmp_path / "moved")).resumed_from == 5


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(recipe, tmp_path, monkeypatch, caplog):
    train(recipe())
    with monkeypatch.context() as patched:
        stop_after(patched, 9)
        with pytest.raises(Interrupted):
            train(recipe(output="stopped"))
    damaged = tmp_path / "stopped/training/step-9/optimizer.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-3] ^= 4
    damaged.write_bytes(content)
    assert train(recipe(output="stopped")).resumed_from == 8
    assert "step-9 is damaged" in caplog.text
    assert weights_of(tmp_path / "stopped") == weights_of(tmp_path / "model")
    for folder in (tmp_path / "stopped/training").glob("step-*"):
        (folder / "manifest.json").unlink()
    with pytest.raises(FormatError, match="no whole checkpoint"):
        train(recipe(output="stopped"))


def test_metrics_are_one_line_a_step_whatever_was_interrupted(recipe, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_after(patched, 6)
        with pytest.raises(Interrupted):
            train(recipe())
    path = tmp_path / "model/training/metrics.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write('{"kind": "progress", "step": 8}\n{"kind": "prog')  # as a kill leaves it
    train(recipe())
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [entry["step"] for entry in entries if entry["kind"] == "progress"] == [2, 4, 6, 8, 10]
    assert len([entry for entry in entries if entry["kind"] == "evaluation"]) == 3
    assert {"loss", "bits_per_byte", "tokens_per_second", "memory", "seconds_left"} <= entries[0].keys()


def test_accumulation_does_not_change_the_first_gradient(recipe, tmp_path):
    settings = ("model.residual_dropout=0.0", "train.clip=900000.0", "train.save_every=1", "train.keep=9")
    settings += ("train.precision=float32",)
    norms = []
    for parts in (1, 2, 6):
        train(recipe(*settings, f"train.accumulation={parts}", output=f"parts-{parts}", steps=2))
        lines = (tmp_path / f"parts-{parts}/training/metrics.jsonl").read_text().splitlines()
        (norm,) = (entry["gradient_norm"] for entry in map(json.loads, lines) if entry["kind"] == "progress")
        norms.append(norm)
    assert norms[1] == pytest.approx(norms[0], rel=1e-5) and norms[2] == pytest.approx(norms[0], rel=1e-5)


def test_a_loss_that_is_not_finite_stops_before_the_update(recipe, tmp_path, monkeypatch):
    from headway.training.objectives import CausalLanguageModelling

    plain = CausalLanguageModelling.loss

    def loss(self, model, part):
        value = plain(self, model, part)
        return value * float("nan") if model.training and calls.append(1) is None and len(calls) == 7 else value

    calls = []
    monkeypatch.setattr(CausalLanguageModelling, "loss", loss)
    with pytest.raises(TrainingError, match="(?s)at step 7: nothing was updated.*lower --set train.learning_rate"):
        train(recipe())
    assert sorted(path.name for path in (tmp_path / "model/training").glob("step-*")) == ["step-0", "step-4"]
    model, _ = load(tmp_path / "model")
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())


def test_a_full_disk_leaves_the_last_checkpoint_whole(recipe, tmp_path, monkeypatch):
    import errno

    from headway.training import checkpoint

    plain = checkpoint.save_file

    def save_file(tensors, path):
        if "step-8" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        plain(tensors, path)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save_file", save_file)
        with pytest.raises(StorageError, match="No space left"):
            train(recipe())
    assert sorted(path.name for path in (tmp_path / "model/training").glob("step-*")) == ["step-0", "step-4"]
    train(recipe(output="whole"))
    assert train(recipe()).resumed_from == 4
    assert weights_of(tmp_path / "model") == weights_of(tmp_path / "whole")


def test_a_run_from_a_model_keeps_its_tokenizer_and_its_sizes(recipe, texts, tmp_path):
    train(recipe("train.learning_rate=0.02", steps=40))
    tuned = recipe_from(texts, tmp_path / "tuned", start=tmp_path / "model", budget={"steps": 3})
    result = train(tuned)
    first, second = (load(tmp_path / name) for name in ("model", "tuned"))
    assert first[1].encode("the old ship") == second[1].encode("the old ship")
    assert second[0].config.width == 14 and result.steps == 3
    fresh = train(recipe(output="fresh", steps=3))
    assert result.validation_loss < fresh.validation_loss - 0.3
    assert train(tuned).already_finished
    with pytest.raises(ConfigError, match="model.width must be 14, that of the model the run starts from"):
        train(recipe_from(texts, tmp_path / "x", start=tmp_path / "model", assignments=["model.width=28"]))
    with pytest.raises(ConfigError, match="keeps its tokenizer"):
        recipe_from(texts, tmp_path / "x", start=tmp_path / "model", assignments=["tokenizer.vocabulary=300"])


def test_a_folder_in_which_another_process_trains_is_refused(recipe, tmp_path):
    train(recipe())
    with (
        only_writer(tmp_path / "model/training"),
        pytest.raises(StorageError, match="another process is writing"),
    ):
        train(recipe())
    assert train(recipe()).already_finished


def test_a_folder_that_holds_something_else_is_not_touched(recipe, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/thesis.txt").write_text("years of work")
    with pytest.raises(StorageError, match="holds no run to go on with; choose another folder"):
        train(recipe())
    assert (tmp_path / "model/thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no file or folder"), ("", "no text"), ("a", "too little text")],
)
def test_text_that_cannot_be_trained_on_leaves_nothing_behind(recipe, tmp_path, content, message):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message):
        train(recipe(data=path))
    assert not list(tmp_path.glob("*model*"))


def test_text_shorter_than_the_context_asked_for_is_refused_with_the_way_out(recipe, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("a short text of a few words\nand another line\n")
    with pytest.raises(DataError, match="the context is 500"):
        train(recipe("model.context=500", "train.window=500", data=path))
    assert train(recipe("model.context=500", output="fitting", data=path)).steps == 11


def test_bfloat16_products_keep_the_losses_close_and_the_weights_in_float32(recipe, tmp_path):
    plain = train(recipe("train.precision=float32"))
    rounded = train(recipe("train.precision=bfloat16", output="rounded"))
    assert rounded.validation_loss != plain.validation_loss
    assert rounded.validation_loss == pytest.approx(plain.validation_loss, abs=0.05)
    model, _ = load(tmp_path / "rounded")
    assert all(parameter.dtype is torch.float32 for parameter in model.parameters())


@pytest.mark.night  # compiling takes half a minute
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
def test_a_compiled_run_has_the_same_losses_within_rounding(recipe):
    # Without dropout: a compiled one draws other numbers.
    settings = ("model.residual_dropout=0.0", "model.embedding_dropout=0.0")
    plain = train(recipe(*settings))
    compiled = train(recipe(*settings, "train.compile=true", output="compiled"))
    assert compiled.validation_loss == pytest.approx(plain.validation_loss, abs=1e-3)


def test_without_a_compiler_a_run_that_wants_one_warns_and_goes_on(recipe, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    listener = Listener()
    assert train(recipe("train.compile=true", steps=2), reporter=listener).steps == 2
    assert any("needs a C++ compiler" in text and "slower" in text for text in listener.said)


def test_the_recipe_of_a_run_is_complete(recipe, tmp_path):
    train(recipe(steps=1))
    text = (tmp_path / "model/training/recipe.toml").read_text()
    for name in ("learning_rate", "window", "batch_size", "device", "precision", "vocabulary", "n_heads"):
        assert f"{name} = " in text
    assert to_toml(recipe_from(None, None, file=tmp_path / "model/training/recipe.toml")) == text


def test_a_model_folder_inside_the_text_is_refused_before_anything_is_written(recipe, texts, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match="must lie outside the text"):
        train(recipe(output="texts/model"))
    assert sorted(tmp_path.rglob("*")) == before


def test_the_current_folder_is_refused_as_model_folder(texts, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(ConfigError, match="a folder of its own.*-o my-model"):
        train(recipe_from(texts, ".", budget={"steps": 1}))
    assert not list((tmp_path / "here").iterdir())


def test_an_unknown_setting_of_the_model_is_refused_before_the_text_is_read(recipe, tmp_path):
    with pytest.raises(ConfigError, match="model.widht is not a setting; did you mean model.width"):
        train(recipe("model.widht=14", data=tmp_path / "no-such-text"))


def test_a_run_killed_after_its_last_step_is_tidied_by_the_next(recipe, tmp_path, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    whole = train(recipe(output="whole"))
    with monkeypatch.context() as patched:
        patched.setattr(run, "_tidy", killed)
        with pytest.raises(KeyboardInterrupt):
            train(recipe())
    assert "In training" in (tmp_path / "model/README.md").read_text()
    result = train(recipe())
    assert result.already_finished and result.validation_loss == whole.validation_loss
    card, expected = ((tmp_path / name / "README.md").read_text() for name in ("model", "whole"))
    assert card == expected.replace("whole", "model")
    assert not (tmp_path / "model/training/data").exists()


def test_the_folder_a_run_starts_from_may_be_written_another_way(recipe, texts, tmp_path, monkeypatch):
    train(recipe())
    monkeypatch.chdir(tmp_path)
    for start in ("model", "./model/", tmp_path / "model"):
        result = train(recipe_from(texts, tmp_path / "tuned", start=start, budget={"steps": 1}))
    assert result.already_finished


def test_damaged_checkpoints_do_not_take_the_place_of_whole_ones(recipe, tmp_path, monkeypatch):
    training = tmp_path / "model/training"
    for step in (9, 6):
        with monkeypatch.context() as patched:
            stop_after(patched, step)
            with pytest.raises(Interrupted, match=f"after step {step}"):
                train(recipe("train.keep=3"))
        for damaged in (8, 9) if step == 9 else ():
            (training / f"step-{damaged}/state.json").write_text("{}")
    assert sorted(path.name for path in training.glob("step-*")) == ["step-4", "step-6"]
    assert train(recipe("train.keep=3")).resumed_from == 6


def test_samples_of_a_model_with_padded_vocabulary_stay_within_the_tokenizer(recipe, texts, tmp_path, monkeypatch):
    train(recipe())
    model, tokenizer = load(tmp_path / "model")
    padded = GPT2(replace(model.config, vocabulary=tokenizer.size + 64))
    with torch.no_grad():
        padded.final_norm.bias.fill_(1.0)
        padded.token_embedding.weight[tokenizer.size :] = 1.0  # the ids that mean nothing are the likeliest
    save(padded, tokenizer, tmp_path / "padded")
    assert train(recipe_from(texts, tmp_path / "tuned", start=tmp_path / "padded", budget={"steps": 1})).steps == 1


def test_minutes_spent_before_the_first_step_are_said(recipe, tmp_path):
    listener = Listener()
    assert train(recipe(minutes=1e-6), reporter=listener).steps == 0
    assert any("nothing was learnt" in text for text in listener.said)


def test_a_vocabulary_is_learnt_from_documents_spread_over_a_large_text():
    documents = [Document(text=f"{number:04d}", source="made up") for number in range(100)]
    assert list(spread(documents, 400, 400)) == list(spread(documents, 400, 9999)) == [d.text for d in documents]
    some = [int(text) for text in spread(documents, 400, 80)]
    assert 19 <= len(some) <= 21 and all(
        4 <= after - before <= 6 for before, after in zip(some, some[1:], strict=False)
    )


def test_encoding_a_large_text_is_told_by_the_gigabyte():
    listener = Listener()
    tell = text_material._tell_encoded(listener)
    for written in (10**8, 10**9 - 1, 10**9 + 5, 10**9 + 10**8, 3 * 10**9):
        tell(written)
    assert listener.said == ["1 GB of text encoded", "3 GB of text encoded"]
