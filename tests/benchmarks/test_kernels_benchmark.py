"""The benchmark that compares the engine's kernels."""

import pytest


def test_each_kernel_is_measured_and_has_the_same_bits(capsys: pytest.CaptureFixture[str]) -> None:
    extension = pytest.importorskip("headway.engine._native", reason="the engine was not built")
    import kernels

    assert kernels.main(["--smoke", "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 * len(extension.kernels_here())
    assert all("the same bits" in line and "step of 1" in line for line in lines)
