import re

import pytest


@pytest.fixture
def benchmark():
    import mixers

    return mixers


SIZES = ["--width", "14", "--heads", "7", "--layers", "1", "--lengths", "3", "5", "--tokens", "11", "--repeats", "1"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_one_command_prints_a_row_for_each_length_and_pass(benchmark, capsys, precision):
    benchmark.main([*SIZES, "--precision", precision])
    printed = capsys.readouterr().out
    cell = r" +[\d.]+ \( *\d+\.\d\d\)"
    assert len(re.findall(rf"^ +[35] (?:forward|both ways)(?:{cell}){{5}}$", printed, re.M)) == 4


def test_bodies_of_equal_parameters_are_within_a_hundredth_of_attention(benchmark, capsys):
    benchmark.main([*SIZES, "--equal", "parameters", "--mixers", "attention", "fourier", "laplace"])
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("parameters:"))
    counts = [int(number.replace(",", "")) for number in re.findall(r"[\d,]+\d", line)]
    assert len(counts) == 3 and all(count == pytest.approx(counts[0], rel=0.01) for count in counts)
