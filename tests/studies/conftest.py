"""One tiny comparison, carried out once for all tests that look at what it left."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from comparisons import asked, write_pairs

from headway.studies.compare import compare


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A comparison that was carried out: its pairs, its folder, the table it gave and the seconds it took."""

    pairs: Path
    folder: Path
    table: dict[str, Any]
    seconds: float


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    place = tmp_path_factory.mktemp("comparison")
    pairs = write_pairs(place / "pairs.tsv")
    began = time.monotonic()
    table = compare(asked(pairs), place / "report")
    return Finished(pairs=pairs, folder=place / "report", table=table, seconds=time.monotonic() - began)
