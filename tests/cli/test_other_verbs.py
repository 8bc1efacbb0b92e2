"""evaluate, export, import, models, doctor, demo: each prints what its library function found."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import headway
from headway.cli import demo as demo_file
from headway.cli import machine
from headway.cli.models import bundled_models
from headway.cli.output import bytes_text, count_text
from headway.models.gpt2 import SIZES


def test_evaluate_prints_the_figures(command: Callable, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "held-out.txt").write_text("It was a dark and stormy night.", encoding="utf-8")
    found = json.loads(command("evaluate", tiny, tmp_path / "held-out.txt", "--json").out)
    assert found["tokens"] == found["bytes"] == 31
    assert {"bits_per_byte", "perplexity", "tokens_per_second"} <= set(found)
    finished = command("evaluate", tiny, tmp_path / "held-out.txt")
    assert f"{found['bits_per_byte']:.4f}" in finished.out and "31 tokens, 31 bytes, 1 document\n" in finished.out


def test_evaluate_names_a_missing_text(command: Callable, tiny: Path) -> None:
    finished = command("evaluate", tiny, "absent.txt")
    assert finished.code == 3 and "absent.txt" in finished.err


def test_export_then_import_gives_the_same_model(command: Callable, tiny: Path, tmp_path: Path) -> None:
    exported = command("export", tiny, "--to", "huggingface", "-o", tmp_path / "out", "--json")
    assert exported.code == 0, exported.err
    assert json.loads(exported.out)["largest_difference"] < 1e-4
    imported = command("import", tmp_path / "out", "-o", tmp_path / "back")
    assert imported.code == 0, imported.err
    assert imported.out == f"{tmp_path / 'back'}\n" and "differ by at most" in imported.err
    before, after = headway.load(tiny)[0].state_dict(), headway.load(tmp_path / "back")[0].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_export_over_a_model_needs_overwrite(command: Callable, tiny: Path, tmp_path: Path) -> None:
    words = ("export", tiny, "--to", "huggingface", "-o", tmp_path / "out")
    assert command(*words).code == 0
    refused = command(*words)
    assert refused.code == 5 and "out" in refused.err
    assert command(*words, "--overwrite").code == 0


def test_export_to_gguf_writes_a_file_that_import_opens(command: Callable, tmp_path: Path) -> None:
    exported = command("export", "writer", "--to", "gguf", "--type", "q8_0", "-o", tmp_path / "writer.gguf")
    assert exported.code == 0 and exported.out == f"{tmp_path / 'writer.gguf'}\n", exported.err
    assert command("import", tmp_path / "writer.gguf", "-o", tmp_path / "back").code == 0
    before, after = headway.load("writer")[1], headway.load(tmp_path / "back")[1]
    assert before is not None and after is not None
    assert after.encode("Once upon a time") == before.encode("Once upon a time")


def test_export_to_gguf_says_what_it_cannot_hold(command: Callable, tiny: Path, tmp_path: Path) -> None:
    refused = command("export", tiny, "--to", "gguf", "-o", tmp_path / "tiny.gguf")
    assert refused.code == 3 and "it has no merges to list" in refused.err and not list(tmp_path.iterdir())
    refused = command("export", tiny, "--to", "nanogpt", "--type", "q8_0", "-o", tmp_path / "out")
    assert refused.code == 2 and "--type is for --to gguf" in refused.err


def test_models_reads_each_bundled_folder(tiny: Path) -> None:
    (found,) = bundled_models(tiny.parent)
    model = headway.load(tiny)[0]
    assert found.name == "tiny" and found.family == "gpt2"
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert found.size == sum(path.stat().st_size for path in tiny.iterdir())
    assert found.card and not found.card.startswith(("#", "-"))


def test_models_lists_what_is_bundled(command: Callable) -> None:
    names = [model.name for model in bundled_models()]
    assert [model["name"] for model in json.loads(command("models", "--json").out)["models"]] == names
    assert all(name in command("models").out for name in names)


def test_doctor_says_what_there_is(command: Callable) -> None:
    found = json.loads(command("doctor", "--json").out)
    assert found["packages"]["torch"] == torch.__version__ and found["cores"] >= 1
    assert [fit["model"] for fit in found["fits"]] == [f"GPT-2 {size}" for size in SIZES]
    text = command("doctor").out
    assert torch.__version__ in text and "GPT-2 1558M" in text


def test_doctor_works_where_the_system_says_nothing(command: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_facts", lambda path: {})
    monkeypatch.setattr(machine, "_number", lambda path: None)
    monkeypatch.setattr(machine.os, "sysconf_names", {})
    finished = command("doctor")
    assert finished.code == 0 and "unknown" in finished.out


def test_demo_writes_from_each_prompt(command: Callable, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_file, "DEFAULT_MODEL", str(tiny))
    finished = command("demo")
    assert finished.code == 0, finished.err
    assert all(prompt in finished.out for prompt in demo_file.PROMPTS) and "token" in finished.err
    found = json.loads(command("demo", "--json").out)
    results, translated = found["results"], found["translation"]
    assert f"{translated['source']}\n{translated['text']}\n" in finished.out
    assert len(translated["alignment"]["word_weights"]) == len(translated["alignment"]["target_words"])
    assert [result["prompt"] for result in results] == list(demo_file.PROMPTS)
    assert all(result["prompt"] + result["text"] in finished.out for result in results)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (bytes_text(0), "0 bytes"),
        (bytes_text(999), "999 bytes"),
        (bytes_text(4_900_000), "4.9 MB"),
        (count_text(124_439_808), "124.4M"),
        (count_text(17), "17"),
    ],
)
def test_sizes_read_well(shown: str, expected: str) -> None:
    assert shown == expected
