"""Low-rank adapters in a run: what learns, what is saved, and that a run that stops ends as one that did not."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file
from start_models import save_start

from headway.cli.main import run as command_line
from headway.errors import ConfigError, FormatError, Interrupted, StorageError
from headway.formats import peft
from headway.formats.convert import import_model
from headway.formats.folder import load
from headway.models.gpt2 import GPT2, GPT2Config
from headway.training.adapters import ADAPTER, adapter_of, attach, merged
from headway.training.layers import FROZEN
from headway.training.recipe import AdapterSettings, recipe_from
from headway.training.run import train
from headway.training.trainer import Trainer

QUIET = ("train.sample_tokens=0", "train.batch_size=6", "train.validation_tokens=100", "train.save_every=4")
OURS_TO_THEIRS = {
    "attention.qkv": "attn.c_attn",
    "attention.output": "attn.c_proj",
    "feed_forward.expand": "mlp.c_fc",
    "feed_forward.contract": "mlp.c_proj",
}


def adapted_model(settings=None):
    torch.manual_seed(5)
    model = GPT2(GPT2Config(vocabulary=31, context=13, width=6, n_layers=2, n_heads=2, feed_forward=7))
    attach(model, settings or AdapterSettings(rank=3))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(0.0, 0.3)
    return model


def stop_after(monkeypatch, step):
    take = Trainer._save_if_due

    def save_if_due(self, state, request):
        if state.step == step:
            request.signal_number = 15
        take(self, state, request)

    monkeypatch.setattr(Trainer, "_save_if_due", save_if_due)


def content(folder, step=7):
    """Every tensor a run leaves: its model, its adapter, its last checkpoint."""
    files = ("model.safetensors", f"{ADAPTER}/{peft.WEIGHTS}", f"training/step-{step}/model.safetensors")
    optimizer = f"training/step-{step}/optimizer.safetensors"
    return {file: (folder / file).read_bytes() for file in (*files, optimizer)}


@pytest.fixture
def start(tmp_path):
    """A model folder to begin with."""
    return save_start(tmp_path / "start")


@pytest.fixture
def tuned(texts, tmp_path, start):
    """A run of adapters on it."""

    def build(*assignments, output="tuned", steps=7):
        settings = ("adapter.rank=3", "train.learning_rate=0.02", *QUIET, *assignments)
        return recipe_from(texts, tmp_path / output, start=start, budget={"steps": steps}, assignments=settings)

    return build


def test_only_the_factors_beside_the_targets_learn():
    model = adapted_model(AdapterSettings(rank=3, targets=("attention.qkv", "feed_forward.expand")))
    learning = {name: tuple(p.shape) for name, p in model.named_parameters() if p.requires_grad}
    assert learning == {
        f"blocks.{block}.{name}": shape
        for block in (0, 1)
        for name, shape in {
            "attention.qkv.down": (3, 6),
            "attention.qkv.up": (18, 3),
            "feed_forward.expand.down": (3, 6),
            "feed_forward.expand.up": (7, 3),
        }.items()
    }


@pytest.mark.parametrize(
    ("target", "hint"), [("attention.qvk", "did you mean attention.qkv"), ("xyz", "there are attention.output")]
)
def test_a_target_that_no_layer_has_is_refused(target, hint):
    with pytest.raises(ConfigError, match=f"adapter.targets names '{target}'.*{hint}"):
        adapted_model(AdapterSettings(rank=3, targets=("attention.qkv", target)))


def test_merged_logits_equal_unmerged_ones_and_the_model_stays_as_it_was():
    model = adapted_model().eval()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    ids = torch.randint(31, (2, 11), generator=torch.Generator().manual_seed(3))
    plain = merged(model)
    with torch.no_grad():
        logits, expected = plain(ids), model(ids)
    assert torch.allclose(logits, expected, atol=1e-5)
    assert {name for name, _ in plain.named_parameters()} == {
        name.replace(".linear.", ".") for name in before if not name.endswith((".up", ".down"))
    }
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())


def test_alpha_is_twice_the_rank_unless_it_is_given():
    assert adapter_of(adapted_model(), None).scale == 2.0
    assert adapter_of(adapted_model(AdapterSettings(rank=3, alpha=1.5)), None).scale == 0.5


def test_a_run_leaves_the_merged_model_and_its_adapter(tuned, start, tmp_path):
    first = train(tuned(output="first", steps=1))
    result = train(tuned(steps=30))
    assert result.validation_loss < first.validation_loss
    before, after = (dict(load(folder)[0].named_parameters()) for folder in (start, tmp_path / "tuned"))
    tensors = load_file(tmp_path / "tuned" / ADAPTER / "adapter_model.safetensors")
    assert len(tensors) == 2 * 2 * 4
    for block in (0, 1):
        for ours, theirs in OURS_TO_THEIRS.items():
            key = f"base_model.model.transformer.h.{block}.{theirs}.lora"
            name = f"blocks.{block}.{ours}.weight"
            change = 6 / 3 * tensors[f"{key}_B.weight"] @ tensors[f"{key}_A.weight"]
            assert torch.allclose(after[name], before[name] + change, atol=1e-6)
            assert float(change.abs().max()) > 1e-3
    others = [name for name in before if not any(name.endswith(f"{ours}.weight") for ours in OURS_TO_THEIRS)]
    assert all(torch.equal(before[name], after[name]) for name in others)
    assert json.loads((tmp_path / "tuned" / ADAPTER / peft.CONFIG).read_text())["base_model_name_or_path"] == str(start)
    assert "adapters of rank 3" in (tmp_path / "tuned/README.md").read_text()
    assert not (tmp_path / "tuned/training" / FROZEN).exists()
    assert train(tuned(steps=30)).already_finished


def test_the_adapter_of_a_run_imports_as_the_model_of_that_run(tuned, tmp_path):
    train(tuned())
    done = import_model(tmp_path / "tuned" / ADAPTER, tmp_path / "again")
    assert done.kind == "peft" and done.base == str(tmp_path / "start") and done.largest_difference < 1e-5
    one, two = (dict(load(tmp_path / name)[0].named_parameters()) for name in ("tuned", "again"))
    assert all(torch.allclose(one[name], two[name], atol=1e-6) for name in one)


def test_an_interrupted_run_ends_bit_for_bit_as_one_that_never_stopped(tuned, start, tmp_path, monkeypatch):
    settings = ("adapter.dropout=0.2",)
    whole = train(tuned(*settings))
    for step in (3, 5):
        with monkeypatch.context() as patched:
            stop_after(patched, step)
            with pytest.raises(Interrupted):
                train(tuned(*settings, output="stopped"))
    start.rename(tmp_path / "moved")  # a run that has begun needs its start model no more
    result = train(tuned(*settings, output="stopped"))
    assert result.resumed_from == 5 and result.validation_loss == whole.validation_loss
    assert content(tmp_path / "stopped") == content(tmp_path / "tuned")


def test_weights_that_do_not_learn_are_written_once(tuned, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_after(patched, 5)
        with pytest.raises(Interrupted):
            train(tuned())
    frozen = load_file(tmp_path / "tuned/training" / FROZEN / "model.safetensors")
    checkpoint = load_file(tmp_path / "tuned/training/step-5/model.safetensors")
    assert {name.rpartition(".")[2] for name in checkpoint} == {"down", "up"}
    assert not frozen.keys() & checkpoint.keys() and "token_embedding.weight" in frozen


def test_damaged_frozen_weights_are_refused(tuned, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_after(patched, 5)
        with pytest.raises(Interrupted):
            train(tuned())
    path = tmp_path / "tuned/training" / FROZEN / "model.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 4
    path.write_bytes(damaged)
    with pytest.raises(FormatError, match="SHA-256"):
        train(tuned())


def test_a_full_disk_leaves_the_adapter_and_the_model_that_were_there(tuned, tmp_path, monkeypatch):
    plain, calls = peft.write_safetensors, []

    def write_safetensors(path, tensors):
        calls.append(path)
        if len(calls) == 2:  # the first is written before the first step
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        plain(path, tensors)

    with monkeypatch.context() as patched:
        patched.setattr(peft, "write_safetensors", write_safetensors)
        with pytest.raises(StorageError, match="No space left"):
            train(tuned())
    tensors = load_file(tmp_path / "tuned" / ADAPTER / peft.WEIGHTS)
    assert all(not value.any() for name, value in tensors.items() if ".lora_B." in name)
    before, after = (dict(load(tmp_path / name)[0].named_parameters()) for name in ("start", "tuned"))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert sorted(path.name for path in (tmp_path / "tuned" / ADAPTER).iterdir()) == [peft.CONFIG, peft.WEIGHTS]
    assert train(tuned()).steps == 7


def test_freezing_layers_beside_adapters_is_refused(tuned, tmp_path):
    with pytest.raises(ConfigError, match="adapters leave"):
        train(tuned("train.freeze=1"))
    assert not (tmp_path / "tuned").exists()


def test_layer_rates_hold_for_adapters_too(tuned, tmp_path):
    # B begins at zero, and the first step of AdamW moves it by the rate whatever its gradient.
    train(tuned("train.layer_decay=0.5", steps=1))
    tensors = load_file(tmp_path / "tuned" / ADAPTER / peft.WEIGHTS)
    low, high = (float(tensors[f"base_model.model.transformer.h.{n}.mlp.c_fc.lora_B.weight"].max()) for n in (0, 1))
    assert high > 0 and low == pytest.approx(0.5 * high, rel=0.01)


def test_lora_on_the_command_line_is_the_rank(texts, start, tmp_path, capsys):
    words = ["train", str(texts), "--from", str(start), "--lora", "5", "-o", str(tmp_path / "tuned"), "--steps", "1"]
    assert command_line([*words, "--set", "adapter.alpha=7", "--set", "train.sample_tokens=0"]) == 0
    table = json.loads((tmp_path / "tuned" / ADAPTER / peft.CONFIG).read_text())
    assert (table["r"], table["lora_alpha"]) == (5, 7)
    assert command_line(["train", str(texts), "--lora", "5", "-o", str(tmp_path / "none"), "--steps", "1"]) == 2
    assert "--from" in capsys.readouterr().err


@pytest.mark.night  # three processes that import torch
def test_a_killed_run_resumes_bit_for_bit(texts, start, tmp_path):
    settings = (*QUIET, "adapter.dropout=0.1", "train.log_every=1", "train.evaluations=20", "train.learning_rate=0.02")
    words = [sys.executable, "-m", "headway", "train", str(texts), "--from", str(start), "--lora", "3", "--steps", "60"]
    words += [word for setting in settings for word in ("--set", setting)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*words, "-o", str(tmp_path / "whole")], check=True, capture_output=True, env=environment)
    for number, lines in enumerate((1, 29)):
        output = tmp_path / f"killed-{number}"
        process = subprocess.Popen([*words, "-o", str(output)], stderr=subprocess.DEVNULL, env=environment)
        metrics = output / "training/metrics.jsonl"
        deadline = time.monotonic() + 120
        while not (metrics.exists() and metrics.read_text().count("\n") > lines) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        load(output)
        subprocess.run([*words, "-o", str(output)], check=True, capture_output=True, env=environment)
        assert content(output, 60) == content(tmp_path / "whole", 60)
        assert not list(output.rglob(".*.partial-*")) and not list(output.rglob(".*.old-*"))
