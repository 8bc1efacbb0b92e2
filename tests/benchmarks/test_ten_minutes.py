import json
import math
from pathlib import Path

import pytest
import torch

from headway.cli.main import run

CHAPTER = Path(__file__).parents[1] / "data" / "corpus" / "chapter.txt"


@pytest.fixture
def bench():
    import ten_minutes

    return ten_minutes


@pytest.fixture
def texts(tmp_path):
    paragraphs = [part for part in CHAPTER.read_text(encoding="utf-8").split("\n\n") if part.strip()]
    train, valid = tmp_path / "train.jsonl", tmp_path / "valid.jsonl"
    train.write_text("".join(json.dumps({"text": part}) + "\n" for part in paragraphs[1:]), encoding="utf-8")
    valid.write_text(json.dumps({"text": paragraphs[0] + " \u00e9"}) + "\n", encoding="utf-8")
    return train, valid


def test_a_model_that_knows_nothing_costs_the_bits_of_its_vocabulary(bench, texts):
    model = bench.PlainGPT2(bench.CHARACTER_MODEL).eval()
    with torch.no_grad():
        model.tokens.weight.zero_()
    bits = bench.score_plain(model, bench.encode_bytes, bench.BYTES_END_OF_TEXT, texts[1])
    assert bits == pytest.approx(math.log2(257), rel=1e-5)


def test_documents_stand_behind_the_end_of_text(bench):
    encoded = bench.encode_bytes(["ab", "\u00e9"])
    assert bench.stream(encoded, 256).tolist() == [256, 97, 98, 256, 0xC3, 0xA9]


def test_all_sides_are_trained_and_scored(bench, texts, tmp_path, monkeypatch):
    def run_here(command, *, check, stdout):
        assert command[1:4] == ["-m", "headway", "train"]
        assert [word for word in command if word.startswith("-")] == ["-m", "-o", "--minutes"]  # nothing but defaults
        assert run(command[3:]) == 0

    monkeypatch.setattr(bench.subprocess, "run", run_here)  # a process of its own takes seconds to start
    result = bench.measure(*texts, 0.005, tmp_path / "work")
    sides = result["sides"]
    assert list(sides) == ["headway", "plain-bpe", "nanogpt-char"]
    assert all(1.0 < side["bits_per_byte"] < 20.0 for side in sides.values())
    assert sides["plain-bpe"]["model"] == sides["headway"]["model"]
    assert all(sides[name]["wall_seconds"] >= 0.005 * 60 for name in ("plain-bpe", "nanogpt-char"))
    json.dumps(result)


def test_the_table_says_how_many_fewer_bits_headway_needs(bench):
    side = {"steps": 7, "wall_seconds": 1.0, "model": "2 x 64", "settings": {"optimizer": "muon"}}
    sides = {"headway": {"bits_per_byte": 1.8, **side}, "plain-bpe": {"bits_per_byte": 2.0, **side}}
    text = bench.table({"sides": sides})
    assert "-10.0%" in text
    assert "optimizer muon" in text
