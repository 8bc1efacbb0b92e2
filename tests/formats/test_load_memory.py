"""Loading holds one copy of the weights, whichever file they come from; writing needs little more."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = Path(__file__).parents[2] / "benchmarks/load_memory.py"


@pytest.mark.night
@pytest.mark.parametrize("file_kind", ["safetensors", "pytorch"])
def test_loading_peaks_below_one_and_a_fifth_of_the_weights(tmp_path: Path, file_kind: str) -> None:
    multiple, weights, _, writing = runpy.run_path(str(MEASURE))["measure"]("124M", file_kind, tmp_path)
    assert weights == 4 * 124_439_808
    assert multiple < 1.2
    assert writing < 1.3


@pytest.mark.night
def test_opening_a_model_imports_no_symbolic_algebra(folder: Path) -> None:
    """PyTorch imports sympy where a random fill is tried on the meta device: 70 MB and seconds for nothing."""
    script = (
        f"import sys\nfrom headway.formats.folder import load\nload({str(folder)!r})\nassert 'sympy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
