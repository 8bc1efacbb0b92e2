"""OpenAI's GPT-2 checkpoints: the logits of transformers from files made by hand, and every refusal named."""

import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
import transformers
from bundle_by_hand import Checkpoint

from headway.errors import ConfigError, FormatError, StorageError, UsageError
from headway.formats import gpt2_tensorflow
from headway.formats.contents import Contents
from headway.formats.convert import export_model, import_model
from headway.formats.folder import load, save
from headway.models.gpt2 import GPT2, GPT2Config
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.tokenizer import Tokenizer
from headway.text.vocabulary import ByteVocabulary

Make = Callable[..., GPT2]
HPARAMS = {"n_vocab": 31, "n_ctx": 13, "n_embd": 10, "n_head": 2, "n_layer": 3}
CONFIG = GPT2Config(vocabulary=31, context=13, width=10, n_layers=3, n_heads=2)


@cache
def reference() -> Any:
    """transformers' GPT-2 with every parameter random."""
    torch.manual_seed(3)
    config = transformers.GPT2Config(
        vocab_size=31, n_positions=13, n_embd=10, n_head=2, n_layer=3, bos_token_id=None, eos_token_id=None
    )
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3)
    return model.eval()


def variables(model: Any) -> dict[str, numpy.ndarray]:
    """Its parameters as the variables of the released code, name by name."""
    values = {name: value.detach().numpy() for name, value in model.transformer.named_parameters()}
    found = {"model/wte": values["wte.weight"], "model/wpe": values["wpe.weight"]}
    for name in ("ln_f", *(f"h.{layer}.{norm}" for layer in range(3) for norm in ("ln_1", "ln_2"))):
        found[f"model/{name.replace('h.', 'h').replace('.', '/')}/g"] = values[f"{name}.weight"]
        found[f"model/{name.replace('h.', 'h').replace('.', '/')}/b"] = values[f"{name}.bias"]
    for layer in range(3):
        for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
            found[f"model/h{layer}/{name.replace('.', '/')}/w"] = values[f"h.{layer}.{name}.weight"][None]
            found[f"model/h{layer}/{name.replace('.', '/')}/b"] = values[f"h.{layer}.{name}.bias"]
    return found


def released(folder: Path, shards: int = 1, hparams: object = HPARAMS, **more: numpy.ndarray) -> Path:
    """A folder as OpenAI's are, with further variables where given (`__` for a slash)."""
    extra = {name.replace("__", "/"): value for name, value in more.items()}
    Checkpoint({**variables(reference()), **extra}, shards, per_block=7).write(folder)
    (folder / "hparams.json").write_text(json.dumps(hparams))
    return folder


def rewritten(folder: Path, change: Callable[[dict[str, numpy.ndarray]], Any]) -> Path:
    found = variables(reference())
    change(found)
    Checkpoint(found).write(folder)
    (folder / "hparams.json").write_text(json.dumps(HPARAMS))
    return folder


@pytest.mark.parametrize("shards", [1, 3])
def test_a_checkpoint_made_by_hand_gives_the_logits_of_transformers(tmp_path: Path, shards: int) -> None:
    done = import_model(released(tmp_path / "theirs", shards), tmp_path / "ours")
    assert done.kind == "tensorflow" and done.largest_difference < 1e-4 and "transformers" in done.checked_with
    ids = torch.randint(31, (2, 13), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        difference = load(tmp_path / "ours")[0](ids) - reference()(ids).logits
    assert float(difference.abs().max()) < 1e-4
    assert load(tmp_path / "ours")[0].config.activation == "gelu_tanh"


def test_the_slots_of_an_optimiser_are_left_out(tmp_path: Path) -> None:
    slots = {
        "model__wte__Adam": numpy.zeros((31, 10), "float32"),
        "model__h0__ln_1__g__Adam_1": numpy.zeros(10, "float32"),
        "global_step": numpy.array(7, "int64"),
        "beta1_power": numpy.array(0.9, "float32"),
    }
    import_model(released(tmp_path / "theirs", 2, HPARAMS, **slots), tmp_path / "ours")
    with pytest.raises(FormatError, match="do not fit hparams.json\nunexpected: model/wtf"):
        import_model(
            released(tmp_path / "more", 1, HPARAMS, model__wtf=numpy.zeros(2, "float32")), tmp_path / "another"
        )


def test_an_export_comes_back_bit_for_bit(tmp_path: Path, make_model: Make) -> None:
    model, tokenizer = (
        make_model(config=GPT2Config(vocabulary=260, context=13, width=10, n_layers=3, n_heads=2)),
        tiny(),
    )
    save(model, tokenizer, tmp_path / "model")
    done = export_model(tmp_path / "model", "tensorflow", tmp_path / "exported")
    assert done.kind == "tensorflow" and done.largest_difference == 0.0
    assert sorted(os.listdir(tmp_path / "exported")) == [
        "checkpoint",
        "encoder.json",
        "hparams.json",
        "model.ckpt.data-00000-of-00001",
        "model.ckpt.index",
        "vocab.bpe",
    ]
    import_model(tmp_path / "exported", tmp_path / "again")
    again, read = load(tmp_path / "again")
    assert all(torch.equal(again.state_dict()[name], value) for name, value in model.state_dict().items())
    assert isinstance(read, ByteLevelTokenizer) and read.vocabulary == tokenizer.vocabulary
    export_model(tmp_path / "model", "tensorflow", tmp_path / "exported", overwrite=True)


def tiny(special: tuple[str, ...] = ("<|endoftext|>",)) -> ByteLevelTokenizer:
    tokens = (*(bytes((byte,)) for byte in range(256)), b"ab", *(name.encode() for name in special))
    table = {name: 257 + place for place, name in enumerate(special)}
    return ByteLevelTokenizer(
        ByteVocabulary(
            tokens=tokens, merges=((b"a", b"b"),), special_tokens=table, end_of_text=special[0] if special else None
        )
    )


@pytest.mark.parametrize("special", [(), ("<end>",), ("<|endoftext|>", "<sep>")])
def test_a_vocabulary_that_the_released_files_cannot_hold_comes_back_too(
    tmp_path: Path, make_model: Make, special: tuple[str, ...]
) -> None:
    tokenizer = tiny(special)
    model = make_model(config=GPT2Config(vocabulary=260, context=5, width=6, n_layers=1, n_heads=3))
    save(model, tokenizer, tmp_path / "model")
    export_model(tmp_path / "model", "tensorflow", tmp_path / "exported")
    import_model(tmp_path / "exported", tmp_path / "again")
    read = load(tmp_path / "again")[1]
    assert isinstance(read, ByteLevelTokenizer) and read.vocabulary == tokenizer.vocabulary


def test_the_vocabulary_of_gpt2_is_written_as_openai_has_it(tmp_path: Path, make_model: Make) -> None:
    model = make_model(config=GPT2Config(vocabulary=50257, context=3, width=2, n_layers=1, n_heads=1))
    contents = Contents(model=model, tokenizer=Tokenizer.load("gpt2"), name="gpt2", card=None, generation={})
    gpt2_tensorflow.write(contents, tmp_path)
    shipped = Path(__file__).parents[2] / "src/headway/text/vocabularies/gpt2"
    assert json.loads((tmp_path / "encoder.json").read_text()) == json.loads((shipped / "encoder.json").read_text())
    assert (tmp_path / "vocab.bpe").read_bytes() == (shipped / "vocab.bpe").read_bytes()


def test_it_is_always_written_in_float32(tmp_path: Path, make_model: Make) -> None:
    save(make_model(config=CONFIG).bfloat16(), None, tmp_path / "model")
    done = export_model(tmp_path / "model", "tensorflow", tmp_path / "exported")
    assert done.largest_difference == 0.0
    import_model(tmp_path / "exported", tmp_path / "again")
    assert load(tmp_path / "again")[0].token_embedding.weight.dtype is torch.float32
    with pytest.raises(ConfigError, match="always writes float32"):
        export_model(tmp_path / "model", "tensorflow", tmp_path / "other", dtype="bfloat16")


@pytest.mark.parametrize(
    "setting",
    [
        {"feed_forward": 17},
        {"activation": "gelu"},
        {"tied": False},
        {"epsilon": 1e-3},
        {"scale_by_layer": True},
        {"scale_by_head_width": False},
    ],
)
@pytest.mark.parametrize("kind", ["tensorflow", "nanogpt"])
def test_a_graph_that_the_other_program_does_not_have_is_refused(
    tmp_path: Path, make_model: Make, setting: dict[str, Any], kind: str
) -> None:
    if kind == "nanogpt" and "activation" in setting:
        setting = {"activation": "relu"}
    config = GPT2Config(**{"vocabulary": 31, "context": 13, "width": 10, "n_layers": 1, "n_heads": 2, **setting})
    save(make_model(config=config), None, tmp_path / "model")
    with pytest.raises(FormatError, match=f"knows only {next(iter(setting))}="):
        export_model(tmp_path / "model", kind, tmp_path / "exported")
    assert os.listdir(tmp_path) == ["model"]


def test_the_format_is_found_from_the_files(tmp_path: Path) -> None:
    folder = released(tmp_path / "theirs")
    import_model(folder / "model.ckpt.index", tmp_path / "first")
    import_model(folder / "checkpoint", tmp_path / "second")
    (folder / "checkpoint").unlink()
    assert import_model(folder, tmp_path / "third").kind == "tensorflow"
    shutil.copy(folder / "model.ckpt.index", folder / "other.index")
    with pytest.raises(FormatError, match="holds 2 checkpoints.*\n.*model.ckpt.index, other.index"):
        import_model(folder, tmp_path / "fourth")
    with pytest.raises(FormatError, match="no model of a known format"):
        import_model(folder / "hparams.json", tmp_path / "fourth")


@pytest.mark.parametrize(
    "state",
    [
        'model_checkpoint_path: "../../x"\n',
        'model_checkpoint_path: "/etc/passwd"\n',
        'model_checkpoint_path: ".."\n',
        'model_checkpoint_path: ""\n',
        'model_checkpoint_path: "a\\057b"\n',
        'model_checkpoint_path: "a\0b"\n',
        f'model_checkpoint_path: "{"x" * 5000}"\n',
        'model_checkpoint_path: "model.ckpt"\nmodel_checkpoint_path: "other"\n',
        'all_model_checkpoint_paths: "model.ckpt"\n',
        "",
        "\0\xff",
        'model_checkpoint_path: "missing"\n',
    ],
)
def test_a_state_file_that_misleads_is_refused(tmp_path: Path, state: str) -> None:
    folder = released(tmp_path / "a/b/theirs")
    shutil.copy(folder / "model.ckpt.index", tmp_path / "x.index")
    (folder / "checkpoint").write_text(state, encoding="latin-1")
    with pytest.raises(FormatError, match="checkpoint|missing.index"):
        import_model(folder, tmp_path / "ours")


@pytest.mark.parametrize(
    "change",
    [
        {"n_layer": 10**9},
        {"n_layer": 2**62},
        {"n_vocab": 2**24},
        {"n_ctx": 0},
        {"n_embd": -10},
        {"n_head": 3},
        {"n_head": True},
        {"n_layer": 3.0},
        {"n_layer": "3"},
        {"n_layer": None},
        {"n_layer": 2},
        {"n_layer": 4},
        {"n_vocab": 32},
    ],
)
def test_hparams_that_lie_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    folder = released(tmp_path / "theirs", 1, {**HPARAMS, **change})
    with pytest.raises(FormatError, match="hparams.json"):
        import_model(folder, tmp_path / "ours")


def test_other_hparams_are_named_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import_model(released(tmp_path / "theirs", 1, {**HPARAMS, "res_dropout": 0.1}), tmp_path / "ours")
    assert "res_dropout" in caplog.text


def transpose(found: dict[str, numpy.ndarray]) -> None:
    found["model/h0/attn/c_attn/w"] = found["model/h0/attn/c_attn/w"].transpose(0, 2, 1)


def into_integers(found: dict[str, numpy.ndarray]) -> None:
    found["model/wpe"] = found["model/wpe"].astype("int32")


def not_finite(found: dict[str, numpy.ndarray]) -> None:
    found["model/wpe"] = found["model/wpe"] * numpy.float32("nan")


def halved(found: dict[str, numpy.ndarray]) -> None:
    found["model/wte"] = found["model/wte"][:7]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (transpose, "other shape: model/h0/attn/c_attn/w is 30x10, expected 10x30"),
        (into_integers, "int32"),
        (not_finite, "not finite"),
        (halved, "other shape: model/wte"),
        (lambda found: found.pop("model/ln_f/g"), "missing: model/ln_f/g"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, change: Callable[..., Any], match: str) -> None:
    with pytest.raises(FormatError, match=match):
        import_model(rewritten(tmp_path / "theirs", change), tmp_path / "ours")
    assert os.listdir(tmp_path) == ["theirs"]


def test_missing_files_and_taken_targets_are_named(tmp_path: Path, make_model: Make) -> None:
    folder = released(tmp_path / "theirs")
    (folder / "hparams.json").unlink()
    with pytest.raises(FormatError, match="has no hparams.json"):
        import_model(folder, tmp_path / "ours")
    save(make_model(config=CONFIG), None, tmp_path / "model")
    with pytest.raises(StorageError, match="holds no hparams.json"):
        export_model(tmp_path / "model", "tensorflow", folder, overwrite=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/diary.txt").write_text("mine")
    for kind in ("tensorflow", "nanogpt"):
        with pytest.raises(StorageError, match="no model's folder and is not overwritten"):
            export_model(tmp_path / "model", kind, tmp_path / "mine", overwrite=True)
    with pytest.raises(UsageError, match="export kind"):
        export_model(tmp_path / "model", "tensorflo", tmp_path / "other")


@pytest.mark.parametrize("name", ["encoder.json", "vocab.bpe", "tokenizer.json", "hparams.json", "checkpoint"])
def test_a_link_out_of_the_folder_is_not_opened(tmp_path: Path, name: str) -> None:
    folder = released(tmp_path / "theirs")
    (folder / name).unlink(missing_ok=True)
    (tmp_path / "outside").write_text("{}")
    (folder / name).symlink_to(tmp_path / "outside")
    with pytest.raises(FormatError, match="outside the folder"):
        import_model(folder, tmp_path / "ours")
