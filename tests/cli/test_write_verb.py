"""`headway write`: the same words as the library, wherever the prompt comes from."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import headway
from headway.cli import prompt as prompt_file
from headway.cli.prompt import model_and_prompt
from headway.errors import DataError, UsageError


def test_streamed_text_is_the_library_text(command: Callable, tiny: Path) -> None:
    options = {"max_new_tokens": 19, "temperature": 0.7, "top_k": 11, "seed": 5}
    expected = headway.Writer(tiny).write("Once", **options).text
    finished = command(
        "write", tiny, "Once", "--max-new-tokens", "19", "--temperature", "0.7", "--top-k", "11", "--seed", "5"
    )
    assert finished.code == 0
    assert finished.out == expected + "\n"
    assert finished.err == ""


def test_drawn_seed_is_said_and_repeats(command: Callable, tiny: Path) -> None:
    first = command("write", tiny, "Once", "--max-new-tokens", "7")
    seed = first.err.split("--seed ")[1].split()[0]
    assert command("write", tiny, "Once", "--max-new-tokens", "7", "--seed", seed).out == first.out


def test_text_past_the_context_is_written_and_said(command: Callable, tiny: Path) -> None:
    finished = command("write", tiny, "a" * 99, "--max-new-tokens", "3", "--seed", "1")
    assert finished.code == 0 and "no longer saw the beginning" in finished.err


def test_json_holds_every_sample(command: Callable, tiny: Path) -> None:
    finished = command(
        "write", tiny, "Once", "-n", "3", "--max-new-tokens", "5", "--seed", "2", "--logprobs", "2", "--echo", "--json"
    )
    found = json.loads(finished.out)
    assert found["model"] == str(tiny) and found["prompt"] == "Once" and len(found["results"]) == 3
    for result in found["results"]:
        assert len(result["ids"]) == len(result["logprobs"]) == len(result["top_logprobs"]) <= 5
        assert len(result["prompt_logprobs"]) == 4 and result["seed"] == 2
        assert result["finish_reason"] in ("stop", "length")


def test_logprobs_are_shown_token_by_token(command: Callable, tiny: Path) -> None:
    finished = command(
        "write", tiny, "On", "--max-new-tokens", "3", "--temperature", "0", "--logprobs", "2", "--echo", "--seed", "1"
    )
    expected = headway.Writer(tiny).write("On", max_new_tokens=3, temperature=0, logprobs=2)
    lines = finished.out.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("token "))
    assert [line.split()[0] for line in lines[first + 1 : first + 3]] == ["'O'", "'n'"]
    shown = lines[first + 3 :]
    assert len(shown) == len(expected.ids)
    assert all(f"{logprob:.3f}" in line for logprob, line in zip(expected.logprobs, shown, strict=True))


def test_echo_begins_with_the_prompt(command: Callable, tiny: Path) -> None:
    words = ("write", tiny, "Once", "--max-new-tokens", "5", "--seed", "1")
    assert command(*words, "--echo").out == "Once" + command(*words).out


def test_samples_are_told_apart(command: Callable, tiny: Path) -> None:
    finished = command("write", tiny, "Once", "-n", "2", "--max-new-tokens", "5", "--seed", "1")
    assert "--- 1 of 2\n" in finished.out and "--- 2 of 2\n" in finished.out


def test_beam_and_temperature_contradict(command: Callable, tiny: Path) -> None:
    finished = command("write", tiny, "Once", "--beam", "2", "--temperature", "1")
    assert finished.code == 2 and "beam" in finished.err


@pytest.mark.parametrize("more", [(), ("--json",), ("-n", "2")])
def test_speculation_writes_the_same(command: Callable, tiny: Path, more: tuple[str, ...]) -> None:
    words = ("write", tiny, "Once, once, once", "--max-new-tokens", "23", "--temperature", "0.5", "--seed", "1", *more)
    expected = command(*words)
    for speculate in ("lookup", tiny):
        found = command(*words, "--speculate", speculate)
        assert (found.code, found.err) == (0, expected.err)
        assert _without_logprobs(found.out) == _without_logprobs(expected.out)


def _without_logprobs(out: str) -> object:
    if not out.startswith("{"):
        return out
    return [(result["text"], result["ids"], result["finish_reason"]) for result in json.loads(out)["results"]]


def test_speculation_and_beam_contradict_and_an_unknown_draft_is_named(command: Callable, tiny: Path) -> None:
    finished = command("write", tiny, "Once", "--beam", "2", "--speculate", "lookup")
    assert finished.code == 2 and "beam excludes speculate" in finished.err
    finished = command("write", tiny, "Once", "--speculate", "lokup")
    assert finished.code == 3 and "speculate" in finished.err and len(finished.err.splitlines()) <= 6


@pytest.mark.parametrize(
    ("option", "value", "code"), [("--temperature", "-1", 2), ("--top-k", "0", 2), ("--device", "abacus", 2)]
)
def test_values_out_of_range_are_refused(command: Callable, tiny: Path, option: str, value: str, code: int) -> None:
    finished = command("write", tiny, "Once", option, value)
    assert finished.code == code and finished.err.startswith("error: ") and len(finished.err.splitlines()) <= 6


def test_missing_model_is_named(command: Callable) -> None:
    finished = command("write", "no/such/model", "Once")
    assert finished.code == 3 and "no/such/model" in finished.err


def test_prompt_comes_from_standard_input(command: Callable, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Où\n".encode())))
    finished = command("write", tiny, "-", "--seed", "1", "--max-new-tokens", "3", "--json")
    assert json.loads(finished.out)["prompt"] == "Où"


def test_prompt_comes_from_a_file(command: Callable, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("two\nlines\n", encoding="utf-8")
    words = ("write", tiny, "--file", tmp_path / "prompt.txt", "--seed", "1", "--max-new-tokens", "3", "--json")
    assert json.loads(command(*words).out)["prompt"] == "two\nlines"


def test_bad_prompt_files_are_named_with_the_byte(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 noir")
    with pytest.raises(DataError, match=r"byte 3 of .*latin\.txt"):
        model_and_prompt("m", None, tmp_path / "latin.txt")
    with pytest.raises(DataError, match="missing.txt"):
        model_and_prompt("m", None, tmp_path / "missing.txt")
    with pytest.raises(DataError, match="byte 3 of the prompt given"):
        model_and_prompt("m", "caf\udce9", None)
    with pytest.raises(UsageError, match="--file"):
        model_and_prompt("m", "Once", tmp_path / "latin.txt")


def test_one_word_is_a_model_if_there_is_one_else_the_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prompt_file, "bundled_names", lambda: ["writer"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert model_and_prompt(None, None, None) == ("writer", "")
    assert model_and_prompt("mine", None, None) == ("mine", "")
    assert model_and_prompt("writer", None, None) == ("writer", "")
    assert model_and_prompt("./absent", None, None) == ("./absent", "")
    assert model_and_prompt("mine", "Once", None) == ("mine", "Once")
    assert capsys.readouterr().err == ""
    assert model_and_prompt("Once upon", None, None) == ("writer", "Once upon")
    assert "'Once upon': it is the prompt for writer" in capsys.readouterr().err
    for long in ("either / or " * 99, "\N{SLIGHTLY SMILING FACE}" * 100):  # no file name may be so long
        assert model_and_prompt(long, None, None) == ("writer", long)
