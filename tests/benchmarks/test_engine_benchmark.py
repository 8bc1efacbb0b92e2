"""The benchmark beside other libraries: it runs on what is here, names what is not, and its arithmetic is right."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "engine_peers"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    import engine

    return engine


@pytest.fixture
def tables(bench: Any) -> Any:
    return bench.medians_and_tables


def test_a_tiny_run_has_a_line_for_each_row_and_both_sides_agree(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2", None)  # as where it is not installed
    monkeypatch.delitem(sys.modules, "with_ctranslate2", raising=False)
    peers = "headway-torch,transformers,ctranslate2"
    bench.main(["--smoke", "--threads", "1", "--work", str(tmp_path), "--peers", peers])
    report = (tmp_path / "engine.md").read_text(encoding="utf-8")
    assert report in capsys.readouterr().out + "\n"
    assert report.count("| transformers | fp32 |") == report.count("| headway-torch | fp32 |") == 3
    assert "left out: gpt2: ctranslate2 int8: ModuleNotFoundError" in report
    assert "differs" not in report and "not compared" not in report and "repeats itself" not in report
    repeats = json.loads((tmp_path / "engine.json").read_text(encoding="utf-8"))["repeats"]
    assert list(repeats["gpt2"]["transformers fp32"]) == list(bench.WORKS["gpt2"])
    assert set(repeats["bert"]["headway-torch fp32"]) == {"batch 1", "batch 32"}


@pytest.mark.parametrize("given", [["--only", "gpt3"], ["--peers", "headway,nobody"]])
def test_unknown_names_are_refused_with_the_known_ones(bench: Any, given: list[str]) -> None:
    with pytest.raises(SystemExit, match="takes some of .*transformers|takes some of gpt2, bert, marian"):
        bench.main([*given, "--smoke"])


_PEER = """
import os
def version(): return "1"
def prepare(family, folder, scratch, bits):
    if family == "bert": os._exit(3)
    if family == "marian": raise RuntimeError("no such model")
    (scratch / "made.bin").write_bytes(b"12345")
    return scratch / "made.bin"
"""


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("gpt2", {"weights": 5, "version": "1"}),
        ("bert", {"error": "the process ended with 3: nothing was said"}),
        ("marian", {"error": "RuntimeError: no such model"}),
    ],
)
def test_a_process_gives_its_result_or_the_reason_why_not(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, expected: dict[str, object]
) -> None:
    (tmp_path / "a_peer.py").write_text(_PEER, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    row = bench.Row(peer="some", module="a_peer", precision="fp32", bits=32, stored=32.0)
    given = bench._parser().parse_args(["--threads", "1"])
    asked = bench.Bench(given=given, work=tmp_path, cores=[min(bench.os.sched_getaffinity(0))], folders={}, rows={})
    asked.folders[family] = tmp_path
    found = bench._run(asked, family, row, "prepare")
    assert found.items() >= expected.items()


def test_rates_and_the_fraction_of_the_limit_by_hand(bench: Any, tables: Any) -> None:
    row = bench.Row(peer="some", module="none", precision="Q4", bits=4, stored=4.5)
    quiet = {"ids": [[1, 2, 3]], "stamps": [0.5, 0.6, 0.7], "others": 0.0, "stolen": 0.0}
    disturbed = quiet | {"stamps": [0.5, 9.0, 19.0], "others": 0.5}
    found = tables.figures("gpt2", row, {"after 32": [disturbed, quiet]}, 30.0, 2_000_000_000)
    assert found["after 32"] == pytest.approx(10.0)
    assert found["limit"] == pytest.approx(10.0 * 2e9 * 4.5 / 8 / 1e9 / 30.0)


def test_rows_of_a_batch_count_together(bench: Any, tables: Any) -> None:
    row = bench.Row(peer="some", module="none", precision="fp32", bits=32, stored=32.0)
    repeat = {"ids": [[1, 2, 3]] * 7, "stamps": [0.5, 1.5, 2.5]}
    assert tables.figures("gpt2", row, {"batch 8": [repeat]}, 1.0, 1)["batch 8"] == pytest.approx(7.0)


def test_where_every_repeat_was_disturbed_all_are_kept(tables: Any) -> None:
    repeats = [{"others": 0.9}, {"stolen": 0.5}]
    assert tables.kept(repeats) == repeats
    assert tables.kept([*repeats, {"others": 0.01}]) == [{"others": 0.01}]


def test_other_ids_are_found_where_they_begin(tables: Any) -> None:
    reference = {"ids": [[1, 2, 3], [4, 5, 6]]}
    assert tables.difference("gpt2", reference, {"ids": [[1, 2, 3], [4, 5, 6]]}) == ""
    found = tables.difference("gpt2", reference, {"ids": [[1, 2, 3], [4, 7, 6]]})
    assert found == "1 of 2 rows have other ids, first in row 1 at token 1"
    assert "token 2" in tables.difference("gpt2", reference, {"ids": [[1, 2], [4, 5, 6]]})
