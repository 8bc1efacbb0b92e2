"""Without a compiler the engine is not there, and its own tests are reported so."""

import pytest

from headway.engine.extension import is_built


@pytest.fixture(autouse=True)
def built() -> None:
    if not is_built():
        pytest.skip("the engine is not built")
