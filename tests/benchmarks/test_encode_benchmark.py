"""The benchmark of encoding: its two sides compute the same, and it prints what it says."""

from typing import Any

import pytest
import torch

from headway.models.bert import BERTConfig

TINY = BERTConfig(vocabulary=5003, context=31, width=14, n_layers=2, n_heads=2, feed_forward=19, head="none")


@pytest.fixture
def benchmark() -> Any:
    import encode

    return encode


def test_both_sides_give_the_same_states(benchmark: Any) -> None:
    runs = benchmark.sides(TINY, "cpu", torch.float32)
    assert list(runs) == ["headway", "transformers"]
    ids, lengths = torch.randint(5003, (5, 29)), torch.tensor([29, 3, 17, 1, 11])
    own = torch.arange(29) < lengths[:, None]
    with torch.inference_mode():
        ours, theirs = (run(ids, lengths)[own] for run in runs.values())
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_a_line_for_each_size_and_batch(
    benchmark: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(benchmark.SIZES, "tiny", TINY)
    given = ["--sizes", "tiny", "--batches", "3", "1", "--shortest", "2", "--longest", "13", "--repeats", "2"]
    benchmark.main([*given, "--threads", str(torch.get_num_threads())])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("float32 on cpu")]
    found = [line for line in lines if line.startswith("tiny ")]
    assert [line.split(":")[0].split() for line in found] == [["tiny", "batch", "3"], ["tiny", "batch", "1"]]
    assert all("headway" in line and "transformers" in line and "ratio" in line for line in found)
