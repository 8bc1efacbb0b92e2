import json
import logging
import sys
from pathlib import Path

import pytest
import torch

import headway.engine
from headway.engine.extension import is_built
from headway.errors import ConfigError, FormatError, HeadwayError, ResourceError
from headway.formats.folder import save
from headway.models import hardware
from headway.models.gpt2 import GPT2, GPT2Config
from headway.tasks import placement
from headway.tasks.writer import Writer
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.vocabulary import ByteVocabulary

END = "<|endoftext|>"
EXTENSION = "headway.engine._native"


def tokenizer() -> ByteLevelTokenizer:
    tokens = (*(bytes([byte]) for byte in range(256)), b"On", b"ce", b"Once", END.encode())
    merges = ((b"O", b"n"), (b"c", b"e"), (b"On", b"ce"))
    return ByteLevelTokenizer(ByteVocabulary(tokens=tokens, merges=merges, special_tokens={END: 259}))


def tiny_model() -> GPT2:
    torch.manual_seed(5)
    return GPT2(GPT2Config(vocabulary=260, context=41, width=6, n_layers=1, n_heads=2, initial_deviation=0.6))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny"
    save(tiny_model(), tokenizer(), path, generation={"temperature": 0.0})
    return path


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_a_folder_writes_as_the_model_in_memory_does_and_again_after_a_reload(folder: Path, engine: str) -> None:
    expected = Writer.of(tiny_model(), tokenizer()).write("Once upon", max_new_tokens=11, temperature=0.8, seed=3)
    for _ in range(2):
        writer = Writer(folder, device="cpu", engine=engine)
        written = writer.write("Once upon", max_new_tokens=11, temperature=0.8, seed=3)
        assert written.ids == expected.ids and written.text == expected.text
        assert written.logprobs == pytest.approx(expected.logprobs, abs=0 if engine == "torch" else 1e-5)
    assert Writer(str(folder)).write("Once", max_new_tokens=3, seed=1).prompt_tokens == 1


def test_the_default_temperature_is_the_folder_s(folder: Path) -> None:
    writer = Writer(folder, device="cpu")
    assert writer.temperature == 0.0
    assert writer.write("Once", max_new_tokens=9).ids == writer.write("Once", max_new_tokens=9, temperature=0).ids


def test_without_a_generation_file_the_default_temperature_is_one(tmp_path: Path) -> None:
    save(tiny_model(), tokenizer(), tmp_path / "tiny")
    assert Writer(tmp_path / "tiny", device="cpu").temperature == 1.0


@pytest.mark.parametrize("value", ["warm", -1, True])
def test_a_damaged_default_temperature_is_refused(tmp_path: Path, value: object) -> None:
    save(tiny_model(), tokenizer(), tmp_path / "tiny")
    (tmp_path / "tiny" / "generation_config.json").write_text(json.dumps({"temperature": value}))
    with pytest.raises(FormatError, match=r"generation_config\.json"):
        Writer(tmp_path / "tiny", device="cpu")


def test_a_folder_without_a_tokenizer_is_refused_with_the_way_out(tmp_path: Path) -> None:
    save(tiny_model(), None, tmp_path / "tiny")
    with pytest.raises(FormatError, match=r"no tokenizer.*\n.*tokenizer\.json"):
        Writer(tmp_path / "tiny")


class NoExtension:
    """Finds no compiled engine, as where none was built."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == EXTENSION:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_without_the_extension_a_writer_runs_on_pytorch_and_the_engine_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(sys.modules, EXTENSION, raising=False)
    monkeypatch.delattr(headway.engine, "_native", raising=False)
    monkeypatch.setattr(sys, "meta_path", [NoExtension, *sys.meta_path])
    assert not is_built()
    with caplog.at_level(logging.INFO):
        assert Writer(folder, device="cpu").write("Once", max_new_tokens=3, seed=1).ids
    assert "runs on PyTorch: the engine is not built. Install a C++20 compiler" in caplog.text
    with pytest.raises(ResourceError, match=r"the engine is not built\. Install a C\+\+20 compiler"):
        Writer(folder, device="cpu", engine="compiled")


def test_what_is_not_there_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="bits must be one of 32, 16, 8, 4, but got 5"):
        Writer(folder, bits=5, device="cpu")
    with pytest.raises(ConfigError, match="bits=8 is of the compiled engine"):
        Writer(folder, bits=8, engine="torch")
    with pytest.raises(ConfigError, match="dtype is of PyTorch"):
        Writer(folder, engine="compiled", dtype="float32")
    with pytest.raises(ConfigError, match="engine must be one of auto, torch, compiled, but got 'fast'"):
        Writer(folder, engine="fast")
    with pytest.raises(ConfigError, match="dtype"):
        Writer(folder, dtype="int3")
    with pytest.raises(ConfigError, match="device"):
        Writer(folder, device="abacus")
    with pytest.raises(ResourceError, match="cuda"):
        Writer(folder, device="cuda")
    with pytest.raises(HeadwayError, match="no-such-model"):
        Writer("no-such-model")


def test_engine_torch_is_taken(folder: Path) -> None:
    assert Writer(folder, engine="torch", device="cpu").write("Once", max_new_tokens=1).prompt_tokens == 1


@pytest.fixture(scope="module")
def bfloat16_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "half"
    save(tiny_model().to(torch.bfloat16), tokenizer(), path)
    return path


@pytest.mark.parametrize(
    ("native", "asked", "expected"),
    [(False, None, torch.float32), (True, None, torch.bfloat16), (False, "bfloat16", torch.bfloat16)],
)
def test_bfloat16_weights_run_as_float32_only_where_the_processor_has_no_bfloat16_and_nobody_asked(
    bfloat16_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    native: bool,
    asked: str | None,
    expected: torch.dtype,
) -> None:
    monkeypatch.setattr(hardware, "has_bfloat16", lambda device: native)
    with caplog.at_level(logging.INFO, "headway"):
        writer = Writer(bfloat16_folder, device="cpu", engine="torch", dtype=asked)
    assert next(writer.model.parameters()).dtype == expected  # type: ignore[attr-defined]
    assert ("run as float32" in caplog.text) == (expected == torch.float32)
    assert writer.write("Once", max_new_tokens=5, seed=1).prompt_tokens == 1


def test_auto_takes_cuda_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert placement.choose_device("auto") == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert placement.choose_device("auto") == "cpu"
    assert placement.choose_device("cuda:1") == "cuda:1"
