"""GGUF: what goes out is what llama.cpp expects, and comes in the same, rounded by no more than its type does."""

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf as package
import numpy
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from headway.cli.main import run
from headway.errors import ConfigError, DependencyError, FormatError, StorageError, UsageError
from headway.formats import gguf
from headway.formats.contents import Contents
from headway.formats.convert import export_model, import_model
from headway.formats.folder import load, save
from headway.formats.gguf_file import GGUFFile
from headway.formats.gguf_names import VALUE_KINDS, WRITTEN
from headway.models.gpt2 import GPT2, GPT2Config
from headway.models.laplace import Laplace, LaplaceConfig
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.tokenizer import Tokenizer
from headway.text.vocabulary import ByteVocabulary
from headway.text.word_level_training import train_words

Make = Callable[..., GPT2]
END = "<|endoftext|>"
TEXTS = ("the thé other  the\n\nthethe", "日本語 \x00\x7f 'll", f"a {END} b", "", " the" * 5)
MERGES = ((b"t", b"h"), (b"th", b"e"), (b" ", b"the"), (b"\xc3", b"\xa9"), (b"\n", b"\n"))


def small_tokenizer(**changes: Any) -> ByteLevelTokenizer:
    tokens = (*(bytes((byte,)) for byte in range(256)), *(left + right for left, right in MERGES), END.encode())
    given = {
        "tokens": (*tokens, b"<end of turn>"),
        "merges": MERGES,
        "special_tokens": {END: 261, "<end of turn>": 262},
    }
    return ByteLevelTokenizer(ByteVocabulary(**{**given, **changes}))


def contents(model: Any, tokenizer: Tokenizer | None = None) -> Contents:
    return Contents(model=model, tokenizer=tokenizer, name="small", card=None, generation={})


def blocky(**changes: Any) -> GPT2Config:
    """A model whose rows are made of whole blocks of 32, but for those of the last layer of its feed-forward."""
    given = {"vocabulary": 263, "context": 13, "width": 64, "n_layers": 2, "n_heads": 2, "feed_forward": 96, **changes}
    return GPT2Config(**given)


def same_weights(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    ours, others = first.state_dict(), second.state_dict()
    return ours.keys() == others.keys() and all(torch.equal(ours[name], others[name]) for name in ours)


def matrices(model: GPT2) -> dict[str, Tensor]:
    """What is quantised: every matrix but the positions."""
    return {
        name: value.detach()
        for name, value in model.named_parameters()
        if value.dim() == 2 and not name.startswith("position")
    }


def test_float32_comes_back_bit_for_bit(tmp_path: Path, make_model: Make) -> None:
    model, tokenizer = make_model(config=blocky(epsilon=3e-6)), small_tokenizer()
    save(model, tokenizer, tmp_path / "model")
    done = export_model(tmp_path / "model", "gguf", tmp_path / "out.gguf")
    assert (done.kind, done.largest_difference, done.checked_with) == ("gguf", 0.0, "headway")
    done = import_model(tmp_path / "out.gguf", tmp_path / "again")
    assert done.kind == "gguf" and done.largest_difference < 1e-4
    again, found = load(tmp_path / "again")
    assert same_weights(model, again) and again.config.epsilon == 3e-6 and again.config.hidden == 96
    assert isinstance(found, ByteLevelTokenizer) and found.vocabulary == tokenizer.vocabulary
    for text in TEXTS:
        for allowed in ((), "all"):
            ids = tokenizer.encode(text, allowed_special=allowed)
            assert found.encode(text, allowed_special=allowed) == ids and found.decode(ids) == tokenizer.decode(ids)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("tensor_type", WRITTEN)
def test_the_package_reads_what_llama_cpp_expects(
    tmp_path: Path, make_model: Make, tensor_type: str, tied: bool
) -> None:
    model = make_model(config=blocky(vocabulary=265, tied=tied))
    gguf.write(contents(model, small_tokenizer()), tmp_path / "out.gguf", tensor_type)
    reader = package.GGUFReader(tmp_path / "out.gguf")
    fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    tokens, kinds = fields.pop("tokenizer.ggml.tokens"), fields.pop("tokenizer.ggml.token_type")
    merges = fields.pop("tokenizer.ggml.merges")
    assert fields.pop("gpt2.attention.layer_norm_epsilon") == pytest.approx(1e-5)
    assert fields == {
        "general.architecture": "gpt2",
        "general.type": "model",
        "general.name": "small",
        "general.file_type": {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7}[tensor_type],
        "general.quantization_version": 2,
        "gpt2.context_length": 13,
        "gpt2.embedding_length": 64,
        "gpt2.block_count": 2,
        "gpt2.attention.head_count": 2,
        "gpt2.feed_forward_length": 96,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.bos_token_id": 261,
        "tokenizer.ggml.eos_token_id": 261,
        "tokenizer.ggml.add_bos_token": False,
    }
    assert tokens[0:2] + tokens[256:] == ["Ā", "ā", "th", "the", "Ġthe", "Ã©", "ĊĊ", END, "<end of turn>"] + [
        "[PAD263]",
        "[PAD264]",
    ]
    assert kinds == [1] * 261 + [3, 3, 5, 5]
    assert merges == ["t h", "th e", "Ġ the", "Ã ©", "Ċ Ċ"]
    asked = package.GGMLQuantizationType[tensor_type.upper()]
    for tensor in reader.tensors:
        plain = tensor.name.endswith((".bias", "norm.weight")) or tensor.name == "position_embd.weight"
        assert tensor.tensor_type == (package.GGMLQuantizationType.F32 if plain else asked), tensor.name
    names = [tensor.name for tensor in reader.tensors]
    layers = [
        f"blk.{layer}.{part}.{kind}"
        for layer in range(2)
        for part in ("attn_norm", "attn_qkv", "attn_output", "ffn_norm", "ffn_up", "ffn_down")
        for kind in ("weight", "bias")
    ]
    ends = ["output_norm.weight", "output_norm.bias"] + ([] if tied else ["output.weight"])
    assert names == ["token_embd.weight", "position_embd.weight", *layers, *ends]
    shapes = {tensor.name: tensor.shape.tolist() for tensor in reader.tensors}  # innermost first
    assert shapes["blk.1.attn_qkv.weight"] == [64, 192] and shapes["blk.0.ffn_down.weight"] == [96, 64]


def test_matrices_lie_as_out_by_in(tmp_path: Path, make_model: Make) -> None:
    model = make_model(config=blocky(tied=False))
    gguf.write(contents(model), tmp_path / "out.gguf")
    found = {tensor.name: tensor.data for tensor in package.GGUFReader(tmp_path / "out.gguf").tensors}
    block = model.blocks[1]
    expected = {
        "token_embd.weight": model.token_embedding.weight,
        "position_embd.weight": model.position_embedding.weight,
        "blk.1.attn_norm.weight": block.attention_norm.weight,
        "blk.1.attn_qkv.weight": block.attention.qkv.weight,
        "blk.1.attn_qkv.bias": block.attention.qkv.bias,
        "blk.1.attn_output.weight": block.attention.output.weight,
        "blk.1.ffn_norm.bias": block.feed_forward_norm.bias,
        "blk.1.ffn_up.weight": block.feed_forward.expand.weight,
        "blk.1.ffn_down.weight": block.feed_forward.contract.weight,
        "output_norm.weight": model.final_norm.weight,
        "output.weight": model.output.weight,
    }
    for name, value in expected.items():
        assert torch.equal(torch.from_numpy(found[name].copy()), value.detach()), name


@pytest.mark.parametrize("tensor_type", WRITTEN)
def test_rounding_stays_within_half_a_step_of_each_block(tmp_path: Path, make_model: Make, tensor_type: str) -> None:
    model = make_model(config=blocky(tied=False))
    gguf.write(contents(model), tmp_path / "out.gguf", tensor_type)
    again = gguf.read(tmp_path / "out.gguf").model
    assert next(again.parameters()).dtype is torch.float32
    found = matrices(again)
    for name, value in model.named_parameters():
        if name not in found:
            assert torch.equal(again.state_dict()[name], value), name
    for name, value in matrices(model).items():
        blocks, rounded = value.view(-1, 32), found[name].view(-1, 32)
        error, largest = (rounded - blocks).abs(), blocks.abs().amax(dim=1, keepdim=True)
        in_half = largest * 2**-11  # of a number that the 11 bits of float16 keep
        if tensor_type == "f32":
            bound = torch.zeros_like(largest)
        elif tensor_type == "f16":
            bound = blocks.abs() * 2**-11 + 2**-25
        elif tensor_type == "q8_0":
            bound = largest / 127 / 2 + in_half
        else:  # sixteen steps from the value farthest from 0 to seven eighths of it on the other side, where it is cut
            far = blocks.take_along_dim(blocks.abs().argmax(dim=1, keepdim=True), 1)
            cut = blocks / far < -7.5 / 8
            bound = torch.where(cut, largest / 8, largest / 16) + in_half
        assert bool((error <= bound * 1.0001).all()), name
        if tensor_type != "f32":
            assert float((error / bound).max()) > 0.5, "the bound would hold for anything"


@pytest.mark.parametrize("tensor_type", WRITTEN)
def test_what_was_rounded_once_is_written_unchanged(tmp_path: Path, make_model: Make, tensor_type: str) -> None:
    first, second = make_model(seed=5, config=blocky()), make_model(seed=5, config=blocky())
    gguf.write(contents(first), tmp_path / "first.gguf", tensor_type)
    gguf.prepare(contents(second), tensor_type)
    assert same_weights(gguf.read(tmp_path / "first.gguf").model, second)
    gguf.write(contents(second), tmp_path / "second.gguf", tensor_type)
    assert (tmp_path / "first.gguf").read_bytes() == (tmp_path / "second.gguf").read_bytes()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.tuples(*[st.integers(1, most) for most in (70, 9, 40, 3, 3, 70)]),
    tied=st.booleans(),
    epsilon=st.floats(1e-12, 0.5),
    tensor_type=st.sampled_from(sorted(WRITTEN)),
)
def test_any_small_model_comes_back(
    tmp_path: Path, sizes: tuple[int, ...], tied: bool, epsilon: float, tensor_type: str
) -> None:
    vocabulary, context, head_width, n_layers, n_heads, hidden = sizes
    config = GPT2Config(
        vocabulary=vocabulary,
        context=context,
        width=head_width * n_heads,
        n_layers=n_layers,
        n_heads=n_heads,
        feed_forward=hidden,
        tied=tied,
        epsilon=epsilon,
    )
    torch.manual_seed(1)
    model = GPT2(config).eval()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # of rows that are no whole blocks
        gguf.write(contents(model), tmp_path / "out.gguf", tensor_type)
    gguf.prepare(contents(model), tensor_type)
    found = gguf.read(tmp_path / "out.gguf")
    assert same_weights(found.model, model) and found.tokenizer is None
    assert found.model.config.tied == tied and found.model.config.epsilon == pytest.approx(epsilon, rel=1e-6)
    ids = torch.randint(vocabulary, (2, context))
    model.load_state_dict(found.model.state_dict())
    with torch.no_grad():
        assert torch.allclose(found.model(ids), model(ids), atol=1e-5)


def test_rows_that_no_block_divides_are_written_as_f16_and_said(tmp_path: Path, make_model: Make) -> None:
    model = make_model(config=blocky(feed_forward=97))
    with pytest.warns(UserWarning, match="q8_0 takes rows of a multiple of 32 values: 2 of 28 .* f16, blk.0.ffn_down"):
        gguf.write(contents(model), tmp_path / "out.gguf", "q8_0")
    file = GGUFFile(tmp_path / "out.gguf")
    assert file.kind("blk.0.ffn_down.weight") == "f16" and file.kind("blk.0.ffn_up.weight") == "q8_0"
    file.close()


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_written_as_float32(tmp_path: Path, make_model: Make, stored: torch.dtype) -> None:
    save(make_model(config=blocky()).to(stored), None, tmp_path / "model")
    for tensor_type in (None, "f16"):
        target = tmp_path / f"{tensor_type}.gguf"
        done = export_model(tmp_path / "model", "gguf", target, tensor_type=tensor_type)
        assert done.largest_difference < (0.5 if tensor_type and stored is not torch.float16 else 1e-4)
    expected = load(tmp_path / "model", dtype="float32")[0]
    assert same_weights(gguf.read(tmp_path / "None.gguf").model, expected)


def test_the_difference_that_is_said_is_that_of_the_rounding(tmp_path: Path, make_model: Make) -> None:
    save(make_model(config=blocky()), small_tokenizer(), tmp_path / "model")
    differences = [
        export_model(tmp_path / "model", "gguf", tmp_path / f"{kind}.gguf", tensor_type=kind).largest_difference
        for kind in ("f32", "f16", "q8_0", "q4_0")
    ]
    assert differences == sorted(differences) and differences[0] == 0.0 < differences[1]
    sizes = [(tmp_path / f"{kind}.gguf").stat().st_size for kind in ("f32", "f16", "q8_0", "q4_0")]
    assert sizes == sorted(sizes, reverse=True)
    done = import_model(tmp_path / "q4_0.gguf", tmp_path / "again")
    assert done.largest_difference < 1e-4


def test_gpt2s_own_vocabulary_comes_back(tmp_path: Path, make_model: Make) -> None:
    tokenizer = Tokenizer.load("gpt2")
    model = make_model(config=GPT2Config(vocabulary=50304, context=3, width=2, n_layers=1, n_heads=1))
    gguf.write(contents(model, tokenizer), tmp_path / "out.gguf")
    file = GGUFFile(tmp_path / "out.gguf")
    tokens, merges = file.metadata["tokenizer.ggml.tokens"], file.metadata["tokenizer.ggml.merges"]
    file.close()
    assert tokens[:2] + tokens[262:263] + tokens[50256:50258] == ["!", '"', "Ġthe", END, "[PAD50257]"]
    assert len(tokens) == 50304
    assert merges[0] == "Ġ t" and len(merges) == 50000
    found = gguf.read(tmp_path / "out.gguf").tokenizer
    assert isinstance(found, ByteLevelTokenizer) and isinstance(tokenizer, ByteLevelTokenizer)
    assert found.vocabulary == tokenizer.vocabulary


def test_a_model_without_a_tokenizer_goes_without(tmp_path: Path, make_model: Make) -> None:
    gguf.write(contents(make_model()), tmp_path / "out.gguf")
    file = GGUFFile(tmp_path / "out.gguf")
    assert file.metadata["tokenizer.ggml.model"] == "none" and file.metadata["gpt2.vocab_size"] == 31
    file.close()
    found = gguf.read(tmp_path / "out.gguf")
    assert found.tokenizer is None and found.model.config.vocabulary == 31


@pytest.mark.parametrize(
    "changes",
    [{"activation": "gelu"}, {"activation": "relu"}, {"scale_by_layer": True}, {"scale_by_head_width": False}],
)
def test_a_graph_that_llama_cpp_does_not_have_is_refused(
    tmp_path: Path, make_model: Make, changes: dict[str, Any]
) -> None:
    save(make_model(config=blocky(**changes)), None, tmp_path / "model")
    for tensor_type in (None, "q8_0"):
        with pytest.raises(FormatError, match=f"knows only {next(iter(changes))}=") as caught:
            export_model(tmp_path / "model", "gguf", tmp_path / "out.gguf", tensor_type=tensor_type)
        assert "--to huggingface" in str(caught.value) and len(str(caught.value).splitlines()) <= 6
    assert os.listdir(tmp_path) == ["model"]


def test_other_heads_and_families_are_refused(tmp_path: Path, make_model: Make) -> None:
    reader = make_model(config=blocky(head="classify", n_labels=3))
    with pytest.raises(FormatError, match="head='write'"):
        gguf.write(contents(reader), tmp_path / "out.gguf")
    other = Laplace(LaplaceConfig(vocabulary=31, width=10, n_layers=1))
    with pytest.raises(FormatError, match="holds GPT-2 alone, but small is a laplace"):
        gguf.write(contents(other), tmp_path / "out.gguf")
    assert os.listdir(tmp_path) == []


def test_a_tokenizer_that_llama_cpp_would_read_otherwise_is_refused(tmp_path: Path, make_model: Make) -> None:
    model = make_model(config=blocky())
    words = train_words(["some words are some words"], 64)
    plain = tuple(bytes((byte,)) for byte in range(256))
    cases: list[tuple[Tokenizer, str]] = [
        (words, "byte-level BPE alone"),
        (small_tokenizer(end_of_text=None), "no token that ends a text"),
        (
            ByteLevelTokenizer(
                ByteVocabulary(tokens=(*plain, b"<e>"), merges=(), special_tokens={"<e>": 256}, end_of_text="<e>")
            ),
            "no merges",
        ),
        (small_tokenizer(special_tokens={END: 261, " ": 32}), "' ' is both a special token"),
        (
            small_tokenizer(
                tokens=(*small_tokenizer().vocabulary.tokens[:262], END.encode()), special_tokens={END: 261}
            ),
            "is both a special token",
        ),
    ]
    for tokenizer, match in cases:
        with pytest.raises(FormatError, match=match) as caught:
            gguf.write(contents(model, tokenizer), tmp_path / "out.gguf")
        assert "--to huggingface" in str(caught.value)


def test_weights_that_the_type_cannot_hold_are_refused(tmp_path: Path, make_model: Make) -> None:
    model = make_model(config=blocky())
    with torch.no_grad():
        model.blocks[1].feed_forward.expand.weight[3, 5] = 1e9
    save(model, None, tmp_path / "model")
    for tensor_type in ("f16", "q8_0", "q4_0"):
        with pytest.raises(FormatError, match=f"blk.1.ffn_up.weight .* too large for {tensor_type}: up to 1e\\+09"):
            export_model(tmp_path / "model", "gguf", tmp_path / "out.gguf", tensor_type=tensor_type)
    with torch.no_grad():
        model.blocks[1].feed_forward.expand.weight[3, 5] = math.nan
    with pytest.raises(FormatError, match="blk.1.ffn_up.weight holds values that are not finite"):
        gguf.write(contents(model), tmp_path / "out.gguf")


def test_blocks_of_almost_nothing_become_zeros(tmp_path: Path, make_model: Make) -> None:
    model = make_model(config=blocky())
    with torch.no_grad():
        model.token_embedding.weight.mul_(1e-40)
    for tensor_type in ("q8_0", "q4_0"):
        gguf.write(contents(model), tmp_path / "out.gguf", tensor_type)
        assert not bool(gguf.read(tmp_path / "out.gguf").model.token_embedding.weight.any())


def test_a_file_is_replaced_only_when_asked_and_only_a_gguf(tmp_path: Path, make_model: Make) -> None:
    save(make_model(config=blocky()), None, tmp_path / "model")
    target = tmp_path / "out.gguf"
    target.write_text("a text of mine")
    for overwrite, match in ((False, "--overwrite"), (True, "no GGUF file, so it is not overwritten")):
        with pytest.raises(StorageError, match=match):
            export_model(tmp_path / "model", "gguf", target, overwrite=overwrite)
    assert target.read_text() == "a text of mine"
    target.unlink()
    export_model(tmp_path / "model", "gguf", target)
    before = target.read_bytes()
    with pytest.raises(StorageError, match="not overwritten unasked"):
        export_model(tmp_path / "model", "gguf", target, tensor_type="f16")
    assert target.read_bytes() == before
    export_model(tmp_path / "model", "gguf", target, tensor_type="f16", overwrite=True)
    assert target.stat().st_size < len(before)
    with pytest.raises(UsageError, match="ends in .gguf"):
        export_model(tmp_path / "model", "gguf", tmp_path / "folder")
    with pytest.raises(StorageError, match="is no file"):
        (tmp_path / "folder.gguf").mkdir()
        export_model(tmp_path / "model", "gguf", tmp_path / "folder.gguf", overwrite=True)
    with pytest.raises(StorageError, match="cannot be written"):
        export_model(tmp_path / "model", "gguf", tmp_path / "absent" / "out.gguf")
    assert sorted(os.listdir(tmp_path)) == ["folder.gguf", "model", "out.gguf"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, make_model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    save(make_model(config=blocky()), None, tmp_path / "model")
    target = tmp_path / "out.gguf"
    real = package.GGUFWriter.write_tensor_data
    written: list[int] = []

    def fails(writer: Any, tensor: Any) -> None:
        written.append(1)
        if len(written) == 5:
            raise OSError(28, "No space left on device")
        real(writer, tensor)

    monkeypatch.setattr(package.GGUFWriter, "write_tensor_data", fails)
    with pytest.raises(StorageError, match="No space left"):
        export_model(tmp_path / "model", "gguf", target)
    assert os.listdir(tmp_path) == ["model"]

    def another_comes(writer: Any, tensor: Any) -> None:
        target.write_text("made by another meanwhile")
        real(writer, tensor)

    monkeypatch.setattr(package.GGUFWriter, "write_tensor_data", another_comes)
    with pytest.raises(StorageError, match="not overwritten unasked"):
        export_model(tmp_path / "model", "gguf", target)
    assert target.read_text() == "made by another meanwhile" and sorted(os.listdir(tmp_path)) == ["model", "out.gguf"]


def test_a_file_with_other_logits_is_not_kept(
    tmp_path: Path, make_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(make_model(config=blocky()), None, tmp_path / "model")
    real = package.GGUFWriter.write_tensor_data
    monkeypatch.setattr(
        package.GGUFWriter, "write_tensor_data", lambda writer, tensor: real(writer, numpy.flip(tensor).copy())
    )
    with pytest.raises(FormatError, match="logits differ"):
        export_model(tmp_path / "model", "gguf", tmp_path / "out.gguf")
    assert os.listdir(tmp_path) == ["model"]


def test_without_the_package_the_way_out_is_named(
    tmp_path: Path, make_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(make_model(config=blocky()), None, tmp_path / "model")
    export_model(tmp_path / "model", "gguf", tmp_path / "plain.gguf", tensor_type="f16")
    export_model(tmp_path / "model", "gguf", tmp_path / "blocks.gguf", tensor_type="q8_0")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(DependencyError, match=r"pip install 'headway\[gguf\]'"):
        export_model(tmp_path / "model", "gguf", tmp_path / "out.gguf")
    with pytest.raises(DependencyError, match=r"quantised weights needs the package gguf"):
        import_model(tmp_path / "blocks.gguf", tmp_path / "again")
    import_model(tmp_path / "plain.gguf", tmp_path / "again")
    assert sorted(os.listdir(tmp_path)) == ["again", "blocks.gguf", "model", "plain.gguf"]


def test_types_belong_to_gguf_and_precisions_to_the_others(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--to huggingface has no types"):
        export_model(folder, "huggingface", tmp_path / "out", tensor_type="q8_0")
    with pytest.raises(UsageError, match="Give a --type"):
        export_model(folder, "gguf", tmp_path / "out.gguf", dtype="float16")
    with pytest.raises(ConfigError, match="one of f32, f16, q4_0, q8_0, but got 'q2_k'"):
        export_model(folder, "gguf", tmp_path / "out.gguf", tensor_type="q2_k")


def test_the_command_line_goes_there_and_back(
    tmp_path: Path, make_model: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    save(make_model(config=blocky()), small_tokenizer(), tmp_path / "model")
    target = tmp_path / "out.gguf"
    words = ["export", str(tmp_path / "model"), "--to", "gguf", "--type", "q8_0", "-o", str(target)]
    assert run([*words, "--json"]) == 0
    assert 0.0 < json.loads(capsys.readouterr().out)["largest_difference"] < 1.0
    assert run(words) == 5 and "--overwrite" in capsys.readouterr().err
    assert run([*words, "--overwrite"]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    assert run(["import", str(target), "-o", str(tmp_path / "again")]) == 0
    target.rename(tmp_path / "renamed.bin")
    assert run(["import", str(tmp_path / "renamed.bin"), "-o", str(tmp_path / "another")]) == 0
    assert same_weights(load(tmp_path / "again")[0], load(tmp_path / "another")[0])
    target.write_bytes(b"GGU")
    assert run(["import", str(target), "-o", str(tmp_path / "more")]) == 3
    assert "no sound GGUF file" in capsys.readouterr().err


def test_the_kinds_of_values_are_those_of_the_package() -> None:
    for name, kind in VALUE_KINDS.items():
        known = package.GGMLQuantizationType[name.upper()]
        assert (kind.number, (kind.block, kind.n_bytes)) == (known.value, package.GGML_QUANT_SIZES[known])
