"""The page's own arithmetic on signals: the same spectra as the library's, and transforms whose rows are waves."""

import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch

from headway.insight.spectrum import power_spectrum

WAVES = Path(str(files("headway.serve"))) / "web" / "parts" / "waves.mjs"


def computed(expression: str) -> Any:
    """What the page's module makes of an expression over its functions."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on this machine")
    source = f"import * as waves from {json.dumps(WAVES.as_uri())}; console.log(JSON.stringify({expression}));"
    command = [node, "--input-type=module", "--eval", source]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("length", [1, 2, 7, 12])
def test_the_page_s_spectrum_is_the_library_s(length: int) -> None:
    row = torch.rand(length, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    power = power_spectrum(row)
    expected = 100 * power / power.sum()
    assert computed(f"waves.sharesOf({row.tolist()})") == pytest.approx(expected.tolist(), abs=1e-9)


def test_the_mean_spectrum_weighs_every_row_alike() -> None:
    assert computed("waves.meanShares([[5, 0, 0, 0], [1, 1, 1, 1]])") == pytest.approx([62.5, 25.0, 12.5])


@pytest.mark.parametrize("mixer", ["fourier", "hartley"])
def test_a_row_of_a_transform_has_one_frequency_alone(mixer: str) -> None:
    row = f"Array.from({{length: 11}}, (_, at) => waves.weightOf('{mixer}', 3, at, 11))"
    assert computed(f"waves.sharesOf({row})") == pytest.approx([0, 0, 0, 100, 0, 0], abs=1e-9)


def test_the_rows_of_the_fourier_mixer_are_the_real_part_of_the_transform() -> None:
    rows = computed("[0, 1, 2, 3, 4].map(k => [0, 1, 2, 3, 4].map(n => waves.weightOf('fourier', k, n, 5)))")
    expected = torch.fft.fft(torch.eye(5, dtype=torch.float64)).real
    assert torch.tensor(rows, dtype=torch.float64).allclose(expected)
