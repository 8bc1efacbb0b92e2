"""nanoGPT's ckpt.pt: what comes in goes out the same, nothing in it runs, and no damage gets through."""

import json
import math
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_hostile_folders import payloads
from torch import Tensor, nn
from torch.nn import functional

from headway.cli.main import run
from headway.errors import FormatError, StorageError, UsageError
from headway.formats import nanogpt
from headway.formats.convert import export_model, import_model
from headway.formats.folder import load, save
from headway.models.gpt2 import GPT2, GPT2Config
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.vocabulary import ByteVocabulary

Make = Callable[..., GPT2]
SIZES = {"n_layer": 3, "n_head": 2, "n_embd": 10, "block_size": 13, "bias": True, "vocab_size": 31, "dropout": 0.2}
NO_TOKENIZER = pytest.mark.filterwarnings("ignore:ckpt.pt has no tokenizer")

pytestmark = NO_TOKENIZER


def checkpoint(bias: bool = True, prefix: str = "", vocabulary: int = 31, **changes: object) -> dict[str, Any]:
    """What nanoGPT saves, with random weights; written here from its file of the model."""
    torch.manual_seed(3)
    D, V, T = 10, vocabulary, 13
    shapes = {"transformer.wte.weight": (V, D), "transformer.wpe.weight": (T, D), "transformer.ln_f.weight": (D,)}
    for layer in range(3):
        part = f"transformer.h.{layer}"
        shapes |= {f"{part}.ln_1.weight": (D,), f"{part}.ln_2.weight": (D,)}
        shapes |= {f"{part}.attn.c_attn.weight": (3 * D, D), f"{part}.attn.c_proj.weight": (D, D)}
        shapes |= {f"{part}.mlp.c_fc.weight": (4 * D, D), f"{part}.mlp.c_proj.weight": (D, 4 * D)}
    if bias:
        shapes |= {
            name.replace("weight", "bias"): shape[:1]
            for name, shape in shapes.items()
            if name not in ("transformer.wte.weight", "transformer.wpe.weight")
        }
    model = {f"{prefix}{name}": torch.randn(shape) * 0.3 for name, shape in shapes.items()}
    model[f"{prefix}lm_head.weight"] = model[f"{prefix}transformer.wte.weight"]
    return {
        "model": model,
        "optimizer": {"state": {0: {"exp_avg": torch.randn(V, D)}}, "param_groups": []},
        "model_args": {**SIZES, "bias": bias, "vocab_size": vocabulary},
        "iter_num": 250,
        "best_val_loss": torch.tensor(1.5),
        "config": {"dataset": "shakespeare", "learning_rate": 1e-3, "compile": True, "n_layer": 3},
        **changes,
    }


def plain_logits(saved: dict[str, Any], ids: Tensor) -> Tensor:
    """nanoGPT's graph (model.py), spelt out with functional calls. ids (B, T) -> (B, T, V)."""
    values = {name.removeprefix("_orig_mod."): value for name, value in saved["model"].items()}

    def layer(name: str, x: Tensor) -> Tensor:
        return functional.linear(x, values[f"transformer.{name}.weight"], values.get(f"transformer.{name}.bias"))

    def norm(name: str, x: Tensor) -> Tensor:
        weight, bias = values[f"transformer.{name}.weight"], values.get(f"transformer.{name}.bias")
        return functional.layer_norm(x, weight.shape, weight, bias, 1e-5)

    B, T = ids.shape
    x = values["transformer.wte.weight"][ids] + values["transformer.wpe.weight"][:T]
    for number in range(3):
        parts = layer(f"h.{number}.attn.c_attn", norm(f"h.{number}.ln_1", x)).split(10, dim=2)
        q, k, v = (part.view(B, T, 2, 5).transpose(1, 2) for part in parts)
        scores = (q @ k.transpose(-2, -1) / math.sqrt(5)).masked_fill(torch.ones(T, T).triu(1) == 1, -math.inf)
        x = x + layer(f"h.{number}.attn.c_proj", (scores.softmax(-1) @ v).transpose(1, 2).reshape(B, T, 10))
        hidden = functional.gelu(layer(f"h.{number}.mlp.c_fc", norm(f"h.{number}.ln_2", x)))
        x = x + layer(f"h.{number}.mlp.c_proj", hidden)
    return norm("ln_f", x) @ values["lm_head.weight"].T


def written(folder: Path, saved: object, **options: Any) -> Path:
    folder.mkdir()
    torch.save(saved, folder / "ckpt.pt", **options)
    return folder


def reread(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(folder / "ckpt.pt", weights_only=True)
    return found


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
def test_a_checkpoint_comes_back_exactly(tmp_path: Path, bias: bool, prefix: str) -> None:
    saved = checkpoint(bias, prefix)
    done = import_model(written(tmp_path / "out", saved), tmp_path / "ours")
    assert done.kind == "nanogpt" and done.largest_difference < 1e-4
    ids = torch.randint(31, (2, 13), generator=torch.Generator().manual_seed(5))
    ours = load(tmp_path / "ours")[0]
    with torch.no_grad():
        assert float((ours(ids) - plain_logits(saved, ids)).abs().max()) < 1e-4
    assert ours.config.activation == "gelu" and ours.config.residual_dropout == 0.2
    assert export_model(tmp_path / "ours", "nanogpt", tmp_path / "again").largest_difference == 0.0
    found = reread(tmp_path / "again")
    model = {name.removeprefix(prefix): value for name, value in saved["model"].items()}
    assert found["model"].keys() == model.keys()
    assert all(torch.equal(found["model"][name], value) for name, value in model.items())
    assert {key: found[key] for key in ("model_args", "iter_num", "config")} == {
        key: saved[key] for key in ("model_args", "iter_num", "config")
    }
    assert found["best_val_loss"] == 1.5
    assert found["model"]["lm_head.weight"].data_ptr() == found["model"]["transformer.wte.weight"].data_ptr()


def test_the_optimiser_that_is_written_fits_that_of_nanogpt(tmp_path: Path) -> None:
    import_model(written(tmp_path / "out", checkpoint()), tmp_path / "ours")
    export_model(tmp_path / "ours", "nanogpt", tmp_path / "again")
    found = reread(tmp_path / "again")
    tensors = [nn.Parameter(value) for name, value in found["model"].items() if name != "lm_head.weight"]
    groups = [[value for value in tensors if value.dim() >= 2], [value for value in tensors if value.dim() < 2]]
    torch.optim.AdamW([{"params": group} for group in groups]).load_state_dict(found["optimizer"])


def test_an_export_of_the_tanh_form_says_so_and_comes_back(tmp_path: Path, make_model: Make) -> None:
    model = make_model(config=GPT2Config(vocabulary=31, context=13, width=10, n_layers=3, n_heads=2))
    save(model, None, tmp_path / "model")
    with pytest.warns(UserWarning, match="nanoGPT computes GELU exactly.*differ by up to [1-9]"):
        done = export_model(tmp_path / "model", "nanogpt", tmp_path / "out")
    assert done.largest_difference == 0.0
    import_model(tmp_path / "out/ckpt.pt", tmp_path / "ours")
    again = load(tmp_path / "ours")[0]
    assert again.config.activation == "gelu_tanh"
    assert all(torch.equal(again.state_dict()[name], value) for name, value in model.state_dict().items())
    model.eval()
    assert all(block.feed_forward.activate is not functional.gelu for block in load(tmp_path / "model")[0].blocks)


def test_the_optimiser_and_the_causal_mask_are_left_out(tmp_path: Path) -> None:
    saved = checkpoint()
    saved["model"] |= {f"transformer.h.{layer}.attn.bias": torch.ones(1, 1, 13, 13) for layer in range(3)}
    import_model(written(tmp_path / "out", saved), tmp_path / "ours")


def test_what_older_versions_leave_out_is_taken_from_the_tensors(tmp_path: Path) -> None:
    for bias in (True, False):
        saved = checkpoint(bias)
        del saved["model_args"]["bias"], saved["model_args"]["dropout"], saved["config"], saved["best_val_loss"]
        del saved["model"]["lm_head.weight"]
        import_model(written(tmp_path / f"out{bias}", saved), tmp_path / f"ours{bias}")


@pytest.mark.filterwarnings("default:ckpt.pt has no tokenizer")
def test_the_tokenizer_is_gpt2s_where_the_size_says_so(tmp_path: Path) -> None:
    for size in (50257, 50304):
        folder = written(tmp_path / f"out{size}", checkpoint(vocabulary=size))
        (folder / "meta.pkl").write_bytes(b"a pickle")
        with pytest.warns(UserWarning, match=f"its {size} ids are taken for those of GPT-2's.*meta.pkl.*not opened"):
            contents = nanogpt.read(folder)
        assert contents.tokenizer is not None and contents.tokenizer.encode("Hello world") == [15496, 995]
        nanogpt.write(contents, tmp_path)
        assert sorted(os.listdir(tmp_path))[0] == "ckpt.pt" and not (tmp_path / "tokenizer.json").exists()
    with pytest.warns(UserWarning, match="31 ids are not GPT-2's: the model is opened without one.*never opened"):
        import_model(written(tmp_path / "out", checkpoint()), tmp_path / "ours")
    assert load(tmp_path / "ours")[1] is None


def test_another_tokenizer_goes_with_the_model(tmp_path: Path, make_model: Make) -> None:
    tokens = (*(bytes((byte,)) for byte in range(256)), b"<end>")
    vocabulary = ByteVocabulary(tokens=tokens, merges=(), special_tokens={"<end>": 256}, end_of_text="<end>")
    config = GPT2Config(vocabulary=257, context=3, width=2, n_layers=1, n_heads=1, activation="gelu")
    save(make_model(config=config), ByteLevelTokenizer(vocabulary), tmp_path / "model")
    export_model(tmp_path / "model", "nanogpt", tmp_path / "out")
    import_model(tmp_path / "out", tmp_path / "ours")
    found = load(tmp_path / "ours")[1]
    assert isinstance(found, ByteLevelTokenizer) and found.vocabulary == vocabulary


def test_a_meta_file_is_never_opened(tmp_path: Path) -> None:
    folder, canary = written(tmp_path / "out", checkpoint()), tmp_path / "canary"
    (folder / "meta.pkl").write_bytes(pickle.dumps(payloads(canary)["system"]))
    import_model(folder, tmp_path / "ours")
    assert not canary.exists()


@pytest.mark.parametrize("name", payloads(Path()))
@pytest.mark.parametrize("place", ["whole", "model", "config", "optimizer", "bare pickle", "legacy"])
def test_code_in_a_checkpoint_does_not_run(tmp_path: Path, name: str, place: str) -> None:
    canary = tmp_path / "canary"
    payload = payloads(canary)[name]
    saved = payload if place in ("whole", "bare pickle", "legacy") else checkpoint(**{place: payload})
    folder = written(tmp_path / "out", saved, _use_new_zipfile_serialization=place != "legacy")
    if place == "bare pickle":
        (folder / "ckpt.pt").write_bytes(pickle.dumps(saved))
    with pytest.raises(FormatError, match="ckpt.pt") as caught:
        import_model(folder, tmp_path / "ours")
    assert len(str(caught.value).splitlines()) <= 6
    assert not canary.exists() and os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"n_layer": 10**9}, "does not describe a GPT-2"),
        ({"n_layer": 1000}, "missing"),
        ({"vocab_size": 2**24}, "other shape"),
        ({"vocab_size": None}, "vocab_size=None"),
        ({"n_head": 3}, "multiple of n_heads"),
        ({"n_head": True}, "n_head=True"),
        ({"block_size": -1}, "block_size=-1"),
        ({"n_embd": 10.0}, "n_embd=10.0"),
        ({"dropout": 2.0}, "does not describe"),
        ({"dropout": "much"}, "dropout='much'"),
        ({"bias": False}, "bias=False, and biases"),
        ({"bias": 1}, "bias=1"),
        ({"use_rmsnorm": True}, "use_rmsnorm.*changed nanoGPT|use_rmsnorm"),
    ],
)
def test_sizes_that_lie_are_refused(tmp_path: Path, changes: dict[str, object], match: str) -> None:
    folder = written(tmp_path / "out", checkpoint(model_args={**SIZES, **changes}))
    with pytest.raises(FormatError, match=match) as caught:
        import_model(folder, tmp_path / "ours")
    assert "ckpt.pt" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("transformer.wte.weight", torch.zeros(1).expand(2**40), "plain tensors"),
        ("transformer.wte.weight", torch.zeros(31, 10).to_sparse(), "plain tensors"),
        ("transformer.wte.weight", torch.zeros(31, 10, device="meta"), "plain tensors"),
        ("transformer.wte.weight", 3, "plain tensors"),
        (3, torch.zeros(3), "plain tensors"),
        ("transformer.wpe.weight", torch.zeros(13, 10, dtype=torch.int64), "int64"),
        ("transformer.wpe.weight", torch.full((13, 10), math.nan), "not finite"),
        ("transformer.h.0.attn.c_attn.weight", torch.zeros(10, 30), "is 10x30, expected 30x10"),
        ("lm_head.weight", torch.zeros(32, 10), "unexpected: lm_head.weight"),
        ("_orig_mod.transformer.wte.weight", torch.zeros(31, 10), "twice"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path: Path, name: Any, value: Any, match: str) -> None:
    saved = checkpoint()
    saved["model"][name] = value
    with pytest.raises(FormatError, match=match):
        import_model(written(tmp_path / "out", saved), tmp_path / "ours")


@pytest.mark.parametrize("saved", [[], 3, {}, {"model": {}}, {"model": {}, "model_args": 3}, checkpoint()["model"]])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, saved: object) -> None:
    with pytest.raises(FormatError, match="no checkpoint of nanoGPT"):
        import_model(written(tmp_path / "out", saved), tmp_path / "ours")


def test_a_head_of_its_own_is_kept_and_said(tmp_path: Path) -> None:
    saved = checkpoint()
    saved["model"]["lm_head.weight"] = torch.ones(31, 10)
    with pytest.warns(UserWarning, match="an output matrix of its own"):
        import_model(written(tmp_path / "out", saved), tmp_path / "ours")
    assert not load(tmp_path / "ours")[0].config.tied


def test_damage_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    folder = written(tmp_path / "out", checkpoint())
    whole = (folder / "ckpt.pt").read_bytes()
    chance = random.Random(19)
    for length in (0, 1, len(whole) - 1, *(chance.randrange(len(whole)) for _ in range(20))):
        (folder / "ckpt.pt").write_bytes(whole[:length])
        with pytest.raises(FormatError, match="ckpt.pt"):
            nanogpt.read(folder)
    expected = nanogpt.read(written(tmp_path / "whole", checkpoint())).model.state_dict()
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        (folder / "ckpt.pt").write_bytes(damaged)
        try:
            found = nanogpt.read(folder).model.state_dict()
            assert all(torch.equal(found[name], value) for name, value in expected.items())
        except FormatError as error:
            assert len(str(error).splitlines()) <= 6


def test_compressed_parts_are_not_unpacked(tmp_path: Path) -> None:
    folder = written(tmp_path / "out", checkpoint())
    with (
        zipfile.ZipFile(folder / "ckpt.pt") as source,
        zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(FormatError, match="compressed parts"):
        import_model(tmp_path / "packed.pt", tmp_path / "ours")


def test_values_that_json_cannot_say_are_left_out(tmp_path: Path) -> None:
    config = {"a": math.nan, "b": [1], 3: 4, "c": "x" * 10_000, "d": None, "seed": 7}
    saved = checkpoint(config=config, iter_num=torch.ones(5), best_val_loss=math.inf)
    import_model(written(tmp_path / "out", saved), tmp_path / "ours")
    table = json.loads((tmp_path / "ours/config.json").read_text())
    assert table["nanogpt"] == {"bias": True, "config": {"seed": 7}}


def test_the_command_line_takes_files_and_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path / "out", checkpoint(bias=False))
    assert run(["import", str(folder / "ckpt.pt"), "-o", str(tmp_path / "ours")]) == 0
    assert run(["export", str(tmp_path / "ours"), "--to", "nanogpt", "-o", str(tmp_path / "again"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.partition("\n")[2])["largest_difference"] == 0.0
    (folder / "ckpt.pt").write_bytes(b"cut")
    assert run(["import", str(folder), "-o", str(tmp_path / "other")]) == 3
    assert f"{folder / 'ckpt.pt'} cannot be opened" in capsys.readouterr().err


def test_targets_and_links_are_checked(tmp_path: Path) -> None:
    folder = written(tmp_path / "out", checkpoint())
    import_model(folder, tmp_path / "ours")
    with pytest.raises(UsageError, match="Give the folder's name"):
        export_model(tmp_path / "ours", "nanogpt", tmp_path / "new.pt")
    export_model(tmp_path / "ours", "nanogpt", folder, overwrite=True)
    with pytest.raises(StorageError, match="holds"):
        export_model(tmp_path / "ours", "nanogpt", tmp_path / "ours", overwrite=True)
    (folder / "ckpt.pt").rename(tmp_path / "moved.pt")
    (folder / "ckpt.pt").symlink_to(tmp_path / "moved.pt")
    with pytest.raises(FormatError, match="outside the folder"):
        import_model(folder, tmp_path / "other")
    import_model(tmp_path / "moved.pt", tmp_path / "other")
