"""Export and import: the numbers that are reported are the ones computed, and a wrong target is not kept."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from headway.errors import ConfigError, FormatError, StorageError, UsageError
from headway.formats import convert
from headway.formats.convert import Conversion, export_model, import_model
from headway.formats.folder import load, read_generation, save
from headway.models.gpt2 import GPT2

Make = Callable[..., GPT2]


def test_an_export_is_opened_again_by_us_and_by_transformers(tmp_path: Path, make_model: Make) -> None:
    save(make_model(), None, tmp_path / "model", card="My card.\n", generation={"top_k": 7})
    done = export_model(tmp_path / "model", "huggingface", tmp_path / "exported")
    assert done == Conversion(
        source=str(tmp_path / "model"),
        target=str(tmp_path / "exported"),
        kind="huggingface",
        parameters=make_model().config.n_parameters(),
        largest_difference=done.largest_difference,
        checked_with=f"headway, transformers {transformers.__version__}",
    )
    assert done.largest_difference < 1e-5
    assert (tmp_path / "exported/README.md").read_text() == "My card.\n"
    assert read_generation(tmp_path / "exported")["top_k"] == 7


def test_an_import_keeps_the_weights(folder: Path, tmp_path: Path, make_model: Make) -> None:
    done = import_model(folder, tmp_path / "imported")
    assert done.kind == "huggingface"
    again = load(tmp_path / "imported")[0].state_dict()
    assert all(torch.equal(again[name], value) for name, value in make_model().state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_pass_the_check(tmp_path: Path, make_model: Make, dtype: torch.dtype) -> None:
    save(make_model().to(dtype), None, tmp_path / "model")
    done = export_model(tmp_path / "model", "huggingface", tmp_path / "exported")
    assert "transformers" in done.checked_with
    assert load(tmp_path / "exported")[0].token_embedding.weight.dtype is dtype


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_an_export_can_be_in_another_precision(folder: Path, tmp_path: Path, dtype: str) -> None:
    done = export_model(folder, "huggingface", tmp_path / "exported", dtype=dtype)
    assert 0.0 < done.largest_difference < 0.2
    assert load(tmp_path / "exported")[0].token_embedding.weight.dtype is getattr(torch, dtype)
    with pytest.raises(ConfigError, match="dtype must be one of"):
        export_model(folder, "huggingface", tmp_path / "other", dtype="int3")


def test_without_transformers_our_own_reader_checks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    done = export_model(folder, "huggingface", tmp_path / "exported")
    assert done.checked_with == "headway" and done.largest_difference == 0.0


def test_a_target_with_other_logits_is_not_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_model: Make
) -> None:
    def write_another(contents: convert.Contents, target: Path) -> None:
        convert.write_folder(make_model(seed=2), None, target, name="another")

    kind = convert.KINDS["huggingface"]
    wrong = convert.Kind(
        recognise=kind.recognise, read=kind.read, write=write_another, foreign_logits=kind.foreign_logits
    )
    monkeypatch.setitem(convert.KINDS, "huggingface", wrong)
    with pytest.raises(FormatError, match="logits differ"):
        export_model(folder, "huggingface", tmp_path / "exported")
    assert os.listdir(tmp_path) == ["model"]


def test_what_cannot_be_converted_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="huggingface"):
        export_model(folder, "hugging-face", tmp_path / "exported")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="Known are: huggingface"):
        import_model(tmp_path / "empty", tmp_path / "imported")
    with pytest.raises(FormatError, match="no folder"):
        import_model(tmp_path / "nothing", tmp_path / "imported")
    with pytest.raises(StorageError, match="--overwrite"):
        export_model(folder, "huggingface", folder)
    with pytest.raises(UsageError, match="same folder"):
        export_model(folder, "huggingface", folder, overwrite=True)
    export_model(folder, "huggingface", tmp_path / "exported")
    export_model(folder, "huggingface", tmp_path / "exported", overwrite=True)
