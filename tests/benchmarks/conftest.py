from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _scripts_importable(monkeypatch):
    """The benchmarks are scripts beside each other: they import one another by their bare names."""
    monkeypatch.syspath_prepend(str(FOLDER))
