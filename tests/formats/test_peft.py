"""Adapters as the peft library keeps them, proved on folders written by hand and on transformers' own GPT-2."""

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from headway.cli.main import run as command_line
from headway.errors import FormatError, HeadwayError, UsageError
from headway.formats import peft
from headway.formats.convert import import_model
from headway.formats.folder import load, save
from headway.models.gpt2 import GPT2

Make = Callable[..., GPT2]

RANK, ALPHA, N_LAYERS = 2, 3.0, 3
# (inputs, outputs) of each matrix of the tiny model: 10 wide, 17 inside the feed-forward network
SIZES = {"attn.c_attn": (10, 30), "attn.c_proj": (10, 10), "mlp.c_fc": (10, 17), "mlp.c_proj": (17, 10)}
CONFIG = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "r": RANK,
    "lora_alpha": ALPHA,
    "lora_dropout": 0.1,
    "bias": "none",
    "fan_in_fan_out": True,
    "use_dora": False,
    "use_rslora": False,
    "megatron_core": "megatron.core",
    "rank_pattern": {},
    "modules_to_save": None,
}


def tensors_of(places: tuple[str, ...], layers: tuple[int, ...] = (0, 1, 2)) -> dict[str, Tensor]:
    """A and B of these matrices in these layers, random."""
    generator = torch.Generator().manual_seed(23)
    tensors = {}
    for layer in layers:
        for place in places:
            inputs, outputs = SIZES[place]
            key = f"base_model.model.transformer.h.{layer}.{place}.lora"
            tensors[f"{key}_A.weight"] = torch.randn(RANK, inputs, generator=generator) * 0.3
            tensors[f"{key}_B.weight"] = torch.randn(outputs, RANK, generator=generator) * 0.3
    return tensors


def write_adapter(folder: Path, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Path:
    """An adapter's folder, by hand."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **settings}))
    save_file(dict(tensors), folder / "adapter_model.safetensors")
    return folder


def expected_logits(base: Path, tensors: Mapping[str, Tensor], scale: float, ids: Tensor) -> Tensor:
    """The logits of transformers' GPT-2 with scale * B A added to its matrices, which it keeps as (inputs, outputs)."""
    model = transformers.GPT2LMHeadModel.from_pretrained(base)
    for key in (key for key in tensors if key.endswith(".lora_A.weight")):
        place = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        product = tensors[key.replace("lora_A", "lora_B")] @ tensors[key]
        model.get_submodule(place).weight.data += scale * product.T
    with torch.no_grad():
        return model.eval()(ids).logits


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(31, (2, 11), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("targets", "places"),
    [
        (["c_attn"], ("attn.c_attn",)),
        (["c_attn", "c_proj", "c_fc"], tuple(SIZES)),
        (["attn.c_proj"], ("attn.c_proj",)),
        ("all-linear", tuple(SIZES)),
    ],
)
def test_an_imported_adapter_computes_what_transformers_does_with_the_product_added(
    folder: Path, tmp_path: Path, ids: Tensor, targets: object, places: tuple[str, ...]
) -> None:
    tensors = tensors_of(places)
    adapter = write_adapter(tmp_path / "adapter", tensors, {"target_modules": targets})
    done = import_model(adapter, tmp_path / "merged", base=folder)
    assert (done.kind, done.base, done.source) == ("peft", str(folder), str(adapter))
    assert done.largest_difference < 1e-5 and "transformers" in done.checked_with
    expected = expected_logits(folder, tensors, ALPHA / RANK, ids)
    with torch.no_grad():
        logits, plain = load(tmp_path / "merged")[0](ids), load(folder)[0](ids)
    assert torch.allclose(logits, expected, atol=1e-5)
    assert not torch.allclose(plain, expected, atol=0.1)


def test_rslora_divides_by_the_root_of_the_rank(folder: Path, tmp_path: Path, ids: Tensor) -> None:
    tensors = tensors_of(("mlp.c_fc",))
    settings = {"target_modules": ["c_fc"], "use_rslora": True}
    import_model(write_adapter(tmp_path / "adapter", tensors, settings), tmp_path / "merged", base=folder)
    expected = expected_logits(folder, tensors, ALPHA / RANK**0.5, ids)
    assert torch.allclose(load(tmp_path / "merged")[0](ids), expected, atol=1e-5)


@pytest.mark.parametrize("layers", [1, [0, 2]])
def test_an_adapter_may_be_of_some_layers_only(folder: Path, tmp_path: Path, ids: Tensor, layers: object) -> None:
    tensors = tensors_of(("attn.c_attn",), tuple(layers) if isinstance(layers, list) else (layers,))
    settings = {"target_modules": ["c_attn"], "layers_to_transform": layers}
    import_model(write_adapter(tmp_path / "adapter", tensors, settings), tmp_path / "merged", base=folder)
    expected = expected_logits(folder, tensors, ALPHA / RANK, ids)
    assert torch.allclose(load(tmp_path / "merged")[0](ids), expected, atol=1e-5)


def test_the_older_weight_file_is_read_without_running_code(folder: Path, tmp_path: Path, ids: Tensor) -> None:
    tensors = tensors_of(("attn.c_attn",))
    adapter = write_adapter(tmp_path / "adapter", tensors, {"target_modules": ["c_attn"]})
    (adapter / "adapter_model.safetensors").unlink()
    torch.save(tensors, adapter / "adapter_model.bin")
    import_model(adapter, tmp_path / "merged", base=folder)
    expected = expected_logits(folder, tensors, ALPHA / RANK, ids)
    assert torch.allclose(load(tmp_path / "merged")[0](ids), expected, atol=1e-5)
    torch.save({"x": Path}, adapter / "adapter_model.bin")
    with pytest.raises(FormatError, match="code never"):
        import_model(adapter, tmp_path / "other", base=folder)


def test_what_is_written_has_the_keys_shapes_and_settings_that_peft_reads(tmp_path: Path, make_model: Make) -> None:
    model = make_model()
    factors = {
        f"blocks.{layer}.{name}": (torch.full((RANK, inputs), 0.5), torch.full((outputs, RANK), 2.0))
        for layer in range(N_LAYERS)
        for name, (inputs, outputs) in {"attention.output": (10, 10), "feed_forward.contract": (17, 10)}.items()
    }
    (tmp_path / "adapter").mkdir()
    adapter = peft.Adapter(rank=RANK, alpha=4.0, dropout=0.1, base="gpt2", factors=factors)
    peft.write(adapter, model, tmp_path / "adapter")
    tensors = load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert {key: tuple(value.shape) for key, value in tensors.items()} == {
        f"base_model.model.transformer.h.{layer}.{place}.lora_{letter}.weight": shape
        for layer in range(N_LAYERS)
        for place, (inputs, outputs) in {"attn.c_proj": (10, 10), "mlp.c_proj": (17, 10)}.items()
        for letter, shape in {"A": (RANK, inputs), "B": (outputs, RANK)}.items()
    }
    table = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert table["target_modules"] == ["attn.c_proj", "mlp.c_proj"] and table["fan_in_fan_out"] is True
    assert (table["peft_type"], table["task_type"], table["bias"]) == ("LORA", "CAUSAL_LM", "none")
    assert (table["r"], table["lora_alpha"], table["lora_dropout"]) == (RANK, 4, 0.1)
    assert table["base_model_name_or_path"] == "gpt2"
    again = peft.read(tmp_path / "adapter", model)
    assert (again.rank, again.alpha, again.dropout, again.base) == (RANK, 4.0, 0.1, "gpt2")
    assert again.factors.keys() == factors.keys()
    assert all(torch.equal(one, two) for name in factors for one, two in zip(factors[name], again.factors[name]))  # noqa: B905


def test_the_base_is_the_one_it_names_or_the_one_given(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], make_model: Make
) -> None:
    settings = {"target_modules": ["c_attn"], "base_model_name_or_path": str(folder)}
    adapter = write_adapter(tmp_path / "adapter", tensors_of(("attn.c_attn",)), settings)
    assert import_model(adapter, tmp_path / "one").base == str(folder)
    save(make_model(seed=2), None, tmp_path / "other")
    words = ["import", str(adapter), "-o", str(tmp_path / "two"), "--base", str(tmp_path / "other")]
    assert command_line(words) == 0
    said = capsys.readouterr().err
    assert str(tmp_path / "other") in said and "differ by at most" in said
    one, two = (load(tmp_path / name)[0].token_embedding.weight for name in ("one", "two"))
    assert not torch.equal(one, two)


@pytest.mark.parametrize("named", [None, "", "openai-community/gpt2", "/nowhere/model"])
def test_without_a_base_here_it_is_asked_for(tmp_path: Path, named: str | None) -> None:
    settings = {"target_modules": ["c_attn"], "base_model_name_or_path": named}
    adapter = write_adapter(tmp_path / "adapter", tensors_of(("attn.c_attn",)), settings)
    with pytest.raises(UsageError, match="--base MODEL"):
        import_model(adapter, tmp_path / "merged")


def test_a_base_for_something_else_than_an_adapter_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a base model is for an adapter"):
        import_model(folder, tmp_path / "merged", base=folder)


def test_a_base_of_half_precision_stays_one_and_the_difference_is_that_of_rounding(
    tmp_path: Path, make_model: Make
) -> None:
    save(make_model().to(torch.bfloat16), None, tmp_path / "model")
    adapter = write_adapter(tmp_path / "adapter", tensors_of(tuple(SIZES)), {"target_modules": list(SIZES)})
    done = import_model(adapter, tmp_path / "merged", base=tmp_path / "model")
    assert 1e-5 < done.largest_difference < 0.2
    assert load(tmp_path / "merged")[0].token_embedding.weight.dtype is torch.bfloat16


@pytest.mark.parametrize(
    "settings",
    [
        {"peft_type": "IA3"},
        {"peft_type": None},
        {"task_type": "SEQ_CLS"},
        {"bias": "all"},
        {"use_dora": True},
        {"use_rslora": "yes"},
        {"lora_bias": True},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "olora"},
        {"rank_pattern": {"c_attn": 4}},
        {"alpha_pattern": {"c_attn": 4}},
        {"modules_to_save": ["wte"]},
        {"exclude_modules": ["c_attn"]},
        {"layers_pattern": "blocks"},
        {"trainable_token_indices": [1]},
        {"layer_replication": [[0, 2]]},
        {"something_new": {"changes": "everything"}},
        {"r": 0},
        {"r": 3},
        {"r": 2.0},
        {"r": True},
        {"r": "2"},
        {"r": 2**40},
        {"lora_alpha": 0},
        {"lora_alpha": None},
        {"lora_alpha": 1e300},
        {"lora_alpha": 10**400},
        {"target_modules": None},
        {"target_modules": []},
        {"target_modules": [1]},
        {"target_modules": "(a+)+$"},
        {"target_modules": ["q_proj"]},
        {"target_modules": ["c_attn", "c_fc"]},
        {"target_modules": ["c_fc"]},
        {"layers_to_transform": [0]},
        {"layers_to_transform": ["0"]},
        {"layers_to_transform": [7]},
    ],
    ids=str,
)
def test_settings_of_another_computation_or_of_other_tensors_are_refused(
    folder: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    tensors = tensors_of(("attn.c_attn",))
    adapter = write_adapter(tmp_path / "adapter", tensors, {"target_modules": ["c_attn"], **settings})
    refused(adapter, folder, tmp_path)


def _without(tensors: dict[str, Tensor], key: str) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if name != key}


FIRST = "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: _without(tensors, FIRST),
        lambda tensors: _without(tensors, FIRST.replace("_A", "_B")),
        lambda tensors: {},
        lambda tensors: {**tensors, FIRST: tensors[FIRST].T.contiguous()},
        lambda tensors: {**tensors, FIRST: torch.zeros(3, 10)},
        lambda tensors: {**tensors, FIRST: torch.zeros(())},
        lambda tensors: {**tensors, FIRST: tensors[FIRST] * float("nan")},
        lambda tensors: {**tensors, FIRST: tensors[FIRST] / 0},
        lambda tensors: {**tensors, FIRST: tensors[FIRST].int()},
        lambda tensors: {**tensors, FIRST.replace("h.0", "h.3"): tensors[FIRST].clone()},
        lambda tensors: {**tensors, "base_model.model.transformer.wte.lora_embedding_A": torch.zeros(2, 31)},
        lambda tensors: {**tensors, FIRST.replace("lora_A.weight", "lora_magnitude_vector"): torch.ones(30)},
        lambda tensors: {**tensors, "x" * 5000: torch.zeros(1)},
    ],
)
def test_missing_strange_misshapen_and_unfinite_tensors_are_refused(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]
) -> None:
    tensors = change(tensors_of(("attn.c_attn",)))
    refused(write_adapter(tmp_path / "adapter", tensors, {"target_modules": ["c_attn"]}), folder, tmp_path)


@pytest.mark.parametrize("damage", ["no weights", "cut off", "link", "not json", "a list", "infinity"])
def test_damaged_folders_are_refused(folder: Path, tmp_path: Path, damage: str) -> None:
    tensors = tensors_of(("attn.c_attn",))
    adapter = write_adapter(tmp_path / "adapter", tensors, {"target_modules": ["c_attn"]})
    weights, config = adapter / "adapter_model.safetensors", adapter / "adapter_config.json"
    if damage == "no weights":
        weights.unlink()
    elif damage == "cut off":
        weights.write_bytes(weights.read_bytes()[:-4])
    elif damage == "link":
        weights.rename(tmp_path / "elsewhere")
        weights.symlink_to(tmp_path / "elsewhere")
    else:
        config.write_text(
            {"not json": "{", "a list": "[]", "infinity": '{"peft_type": "LORA", "r": 2, "lora_alpha": 1e999}'}[damage]
        )
    refused(adapter, folder, tmp_path)


def test_a_product_too_large_for_the_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    tensors = {name: value.sign() * 3e38 for name, value in tensors_of(("attn.c_attn",)).items()}
    refused(write_adapter(tmp_path / "adapter", tensors, {"target_modules": ["c_attn"]}), folder, tmp_path)


def refused(adapter: Path, base: Path, tmp_path: Path) -> None:
    """An error of at most six lines, and nothing written."""
    with pytest.raises(HeadwayError) as caught:
        import_model(adapter, tmp_path / "merged", base=base)
    assert isinstance(caught.value, FormatError)
    assert len(str(caught.value).splitlines()) <= 6 and len(str(caught.value)) < 1500
    assert not list(tmp_path.glob("*merged*"))


@pytest.mark.filterwarnings("ignore")  # of the library's own
@pytest.mark.parametrize("by_root", [False, True])
@pytest.mark.parametrize("targets", [["c_attn"], ["c_attn", "c_proj", "c_fc"]])
def test_the_peft_library_opens_ours_and_we_open_its(
    folder: Path, tmp_path: Path, ids: Tensor, targets: list[str], by_root: bool
) -> None:
    library = pytest.importorskip("peft")
    settings = library.LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=targets, use_rslora=by_root, task_type="CAUSAL_LM"
    )
    theirs = library.get_peft_model(transformers.GPT2LMHeadModel.from_pretrained(folder), settings).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_" in name:
                parameter.normal_(0.0, 0.3)
        expected = theirs(ids).logits
    theirs.save_pretrained(tmp_path / "theirs")
    assert import_model(tmp_path / "theirs", tmp_path / "merged").base == str(folder)
    assert torch.allclose(load(tmp_path / "merged")[0](ids), expected, atol=1e-5)

    model = load(folder)[0]
    (tmp_path / "ours").mkdir()
    peft.write(peft.read(tmp_path / "theirs", model), model, tmp_path / "ours")
    plain = transformers.GPT2LMHeadModel.from_pretrained(folder)
    with warnings.catch_warnings(), torch.no_grad():
        again = library.PeftModel.from_pretrained(plain, tmp_path / "ours").eval()
        assert torch.allclose(again(ids).logits, expected, atol=1e-5)
