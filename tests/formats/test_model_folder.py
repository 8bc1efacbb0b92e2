"""Model folders: what is saved is what is loaded, and a folder is there whole or not at all."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

from headway.errors import ConfigError, FormatError, HeadwayError, ResourceError, StorageError
from headway.formats import bundled
from headway.formats import folder as folder_room
from headway.formats.folder import load, read_config, read_generation, replace_weights, save
from headway.models.gpt2 import GPT2, GPT2Config
from headway.text.loading import load as load_tokenizer

Make = Callable[..., GPT2]


def same(first: GPT2, second: GPT2) -> bool:
    theirs = second.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in first.state_dict().items())


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_a_model_comes_back_as_it_was_in_its_precision(tmp_path: Path, make_model: Make, dtype: str) -> None:
    model = make_model().to(getattr(torch, dtype))
    save(model, None, tmp_path / "model")
    again, tokenizer = load(tmp_path / "model")
    assert same(model, again) and tokenizer is None and not again.training
    assert again.token_embedding.weight.dtype is getattr(torch, dtype)
    assert again.output.weight is again.token_embedding.weight
    assert all(parameter.is_contiguous() and parameter.requires_grad for parameter in again.parameters())
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert theirs.dtype is getattr(torch, dtype)


def test_a_precision_that_is_asked_for_is_used(folder: Path, make_model: Make) -> None:
    for dtype in ("bfloat16", torch.bfloat16):
        again, _ = load(folder, dtype=dtype)
        assert same(make_model().to(torch.bfloat16), again)
    with pytest.raises(ConfigError, match="dtype must be one of"):
        load(folder, dtype="int8")


def test_a_device_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="device must be"):
        load(folder, device="quantum")
    if not torch.cuda.is_available():
        with pytest.raises(ResourceError, match="cuda"):
            load(folder, device="cuda")


@pytest.mark.parametrize("tied", [True, False])
def test_parts_of_either_kind_are_read(
    tmp_path: Path, make_model: Make, monkeypatch: pytest.MonkeyPatch, tied: bool
) -> None:
    model = make_model(config=GPT2Config(vocabulary=29, context=11, width=14, n_layers=2, n_heads=7, tied=tied))
    monkeypatch.setattr(folder_room, "LARGEST_SHARD", 3000)
    save(model, None, tmp_path / "parts")
    shards = sorted(path.name for path in (tmp_path / "parts").glob("*.safetensors"))
    assert len(shards) > 3 and shards[0] == f"model-00001-of-{len(shards):05}.safetensors"
    assert not (tmp_path / "parts/model.safetensors").exists()
    assert same(model, load(tmp_path / "parts")[0])
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "parts")
    assert torch.equal(theirs.transformer.wte.weight, model.token_embedding.weight)

    old = tmp_path / "old"
    old.mkdir()
    (old / "config.json").write_bytes((tmp_path / "parts/config.json").read_bytes())
    index = json.loads((tmp_path / "parts/model.safetensors.index.json").read_text())
    index["weight_map"] = {name: place.replace("safetensors", "bin") for name, place in index["weight_map"].items()}
    (old / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    for shard in shards:
        torch.save(load_file(tmp_path / "parts" / shard), old / shard.replace("safetensors", "bin"))
    assert same(model, load(old)[0])


@pytest.mark.parametrize("new_kind", [True, False])
def test_a_pytorch_file_is_read_whatever_its_age(folder: Path, make_model: Make, new_kind: bool) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin", _use_new_zipfile_serialization=new_kind)
    assert same(make_model(), load(folder)[0])


def test_a_large_pytorch_file_is_mapped_anew_while_it_is_read(
    folder: Path, make_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    monkeypatch.setattr("headway.formats.torch_file._REOPEN_AFTER", 100)
    monkeypatch.setattr("headway.formats.weights._PIECE", 64)
    assert same(make_model(), load(folder)[0])


def test_the_tokenizer_goes_along_and_transformers_opens_it(tmp_path: Path, make_model: Make) -> None:
    tokenizer = load_tokenizer("gpt2")
    model = make_model(config=GPT2Config(vocabulary=50257, context=7, width=2, n_layers=1, n_heads=1))
    save(model, tokenizer, tmp_path / "model", generation={"temperature": 0.7, "top_k": 5})
    _, again = load(tmp_path / "model")
    text = "A whale, 3 whales.<|endoftext|>"
    assert again is not None and again.encode(text) == tokenizer.encode(text)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    assert theirs.encode("A whale, 3 whales.") == tokenizer.encode("A whale, 3 whales.")
    config = json.loads((tmp_path / "model/config.json").read_text())
    assert config["eos_token_id"] == config["bos_token_id"] == 50256
    assert read_generation(tmp_path / "model")["top_k"] == 5
    opened = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "model")
    assert opened.generation_config.temperature == 0.7 and opened.generation_config.eos_token_id == 50256


def test_a_vocabulary_that_does_not_fit_the_weights_is_refused(folder: Path, tmp_path: Path, make_model: Make) -> None:
    tokenizer = load_tokenizer("gpt2")
    with pytest.raises(FormatError, match="50257 ids, but the weights only 31"):
        save(make_model(), tokenizer, tmp_path / "other")
    assert os.listdir(tmp_path) == ["model"]
    tokenizer.save(folder)
    with pytest.raises(FormatError, match="50257 ids, but the weights only 31"):
        load(folder)


def test_an_unknown_tokenizer_is_said_and_the_weights_still_load(folder: Path, make_model: Make) -> None:
    (folder / "spiece.model").write_bytes(b"\x0a\x0b")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer"}')
    with pytest.warns(UserWarning, match="without a tokenizer"):
        model, tokenizer = load(folder)
    assert tokenizer is None and same(make_model(), model)


def test_a_card_and_generation_settings_are_written(tmp_path: Path, make_model: Make) -> None:
    save(make_model(), None, tmp_path / "one")
    assert "31" in (tmp_path / "one/README.md").read_text() and "# one" in (tmp_path / "one/README.md").read_text()
    assert read_generation(tmp_path / "one") == {"bos_token_id": None, "eos_token_id": None}
    save(make_model(), None, tmp_path / "two", card="My card.\n", generation={"top_p": 0.9, "eos_token_id": 3})
    assert (tmp_path / "two/README.md").read_text() == "My card.\n"
    assert read_generation(tmp_path / "two") == {"bos_token_id": None, "eos_token_id": 3, "top_p": 0.9}
    (tmp_path / "two/generation_config.json").unlink()
    assert read_generation(tmp_path / "two") == {}
    assert read_config(tmp_path / "two") == load(tmp_path / "two")[0].config


def test_another_model_is_overwritten_only_when_asked(folder: Path, tmp_path: Path, make_model: Make) -> None:
    other = make_model(seed=2)
    with pytest.raises(StorageError, match="overwrite"):
        save(other, None, folder)
    assert same(make_model(), load(folder)[0])
    save(other, None, folder, overwrite=True)
    assert same(other, load(folder)[0]) and os.listdir(tmp_path) == ["model"]


def test_a_folder_that_is_no_models_is_never_overwritten(tmp_path: Path, make_model: Make) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    with pytest.raises(StorageError, match="no model's folder"):
        save(make_model(), None, home, overwrite=True)
    assert (home / "thesis.txt").read_text() == "years of work"


def test_files_that_are_not_a_models_are_never_overwritten(folder: Path, make_model: Make) -> None:
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(StorageError, match="thesis.txt"):
        save(make_model(), None, folder, overwrite=True)
    assert (folder / "thesis.txt").read_text() == "years of work"


def test_a_weight_that_is_not_finite_is_not_saved(folder: Path, make_model: Make) -> None:
    broken = make_model()
    with torch.no_grad():
        broken.blocks[1].feed_forward.expand.weight[3, 5] = torch.nan
    with pytest.raises(FormatError, match="transformer.h.1.mlp.c_fc.weight"):
        save(broken, None, folder, overwrite=True)
    with pytest.raises(FormatError, match="transformer.h.1.mlp.c_fc.weight"):
        replace_weights(folder, broken)
    assert same(make_model(), load(folder)[0])


def test_weights_are_replaced_by_one_file(
    folder: Path, tmp_path: Path, make_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    replace_weights(folder, make_model(seed=2))
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {"model.safetensors"}
    assert before.keys() == after.keys() and same(make_model(seed=2), load(folder)[0])
    monkeypatch.setattr(folder_room, "LARGEST_SHARD", 3000)
    save(make_model(), None, tmp_path / "parts")
    replace_weights(tmp_path / "parts", make_model(seed=3))
    assert [path.name for path in (tmp_path / "parts").glob("model*")] == ["model.safetensors"]
    assert same(make_model(seed=3), load(tmp_path / "parts")[0])


def test_too_little_space_is_said_before_anything_is_written(
    folder: Path, make_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: full)
    for write in (
        lambda: save(make_model(seed=2), None, folder, overwrite=True),
        lambda: replace_weights(folder, make_model(seed=2)),
    ):
        with pytest.raises(StorageError, match="needs 0.0. MB, but the disk has 0.00 MB free"):
            write()
    assert same(make_model(), load(folder)[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of a process are POSIX")
def test_a_disk_that_fills_up_anywhere_leaves_the_old_model(folder: Path, make_model: Make) -> None:
    """The kernel refuses to let a file grow past a limit: a real failure of a real write, in the weights or before."""
    script = (
        "import resource, signal, sys, torch\n"
        "from headway.errors import StorageError\nfrom headway.formats.folder import load, replace_weights, save\n"
        "model, _ = load(sys.argv[1])\n"
        "with torch.no_grad(): model.final_norm.bias.add_(1)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "for limit in (0, 1, 100, 500, 1000, 2000, 5000, 10000, 15000):\n"
        " resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))\n"
        " for replace in (False, True):\n"
        "  try: replace_weights(sys.argv[1], model) if replace else save(model, None, sys.argv[1], overwrite=True)\n"
        "  except StorageError as error: assert 'File too large' in str(error), error\n"
        "  else: raise SystemExit(f'written within {limit} bytes')\n"
    )
    assert os.path.getsize(folder / "model.safetensors") > 15_000
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True, timeout=120)
    assert same(make_model(), load(folder)[0]) and os.listdir(folder.parent) == ["model"]


@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.night)])
def test_killing_a_saver_leaves_the_old_model_or_the_new(folder: Path, kills: int) -> None:
    script = Path(__file__).parent / "killed_savers.py"
    subprocess.run([sys.executable, script, folder, str(kills)], check=True, timeout=60 + 2 * kills)


def test_a_name_means_a_folder_and_then_a_bundled_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch, make_model: Make, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bundled, "ROOT", folder.parent)
    monkeypatch.chdir(folder)
    assert same(make_model(), load("model")[0]) and not caplog.text
    save(make_model(seed=2), None, folder / "model")
    assert same(make_model(seed=2), load("model")[0]) and "instead of the bundled model" in caplog.text
    with pytest.raises(FormatError, match="Bundled are: model. Did you mean model?"):
        load("modell")
    monkeypatch.setattr(bundled, "ROOT", folder / "nothing")
    with pytest.raises(FormatError, match="no bundled model"):
        load("writer")


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_refused(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(FormatError, match="config.json|model.safetensors"):
        load(folder)
    with pytest.raises(FormatError, match="a model is a folder"):
        load(next(folder.glob("*.json")))


def test_a_folder_replaced_while_it_is_read_is_read_again(
    folder: Path, make_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    larger = make_model(config=GPT2Config(vocabulary=37, context=5, width=6, n_layers=1, n_heads=3))
    read_table = folder_room._table
    calls = []

    def read_then_replace(path: Path) -> object:
        table = read_table(path)
        if not calls:
            save(larger, None, folder, overwrite=True)
        calls.append(path)
        return table

    monkeypatch.setattr(folder_room, "_table", read_then_replace)
    assert same(larger, load(folder)[0]) and len(calls) == 2


def test_a_reader_of_a_folder_it_may_not_write_to_still_reads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leftover = folder / ".model.safetensors.partial-999999999-0123abcd"
    leftover.write_text("half")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    load(folder)
    assert leftover.exists()


def test_every_refusal_is_an_error_of_ours(folder: Path) -> None:
    for name in ("config.json", "model.safetensors", "generation_config.json"):
        whole = (folder / name).read_bytes()
        for damage in (b"", b"\0", b"null", b"[1]", b"{", b'"', whole[:-3], b"\xff\xfe" + whole):
            (folder / name).write_bytes(damage)
            with pytest.raises(HeadwayError):
                load(folder)
                read_generation(folder)
        (folder / name).write_bytes(whole)
    load(folder)
