"""Without a compiler the engine is not there, and its own tests are reported so.

`make sanitize` runs these tests over another build of the extension, which it names in HEADWAY_NATIVE.
"""

import importlib.util
import os
import sys

import pytest

if "HEADWAY_NATIVE" in os.environ:
    spec = importlib.util.spec_from_file_location("headway.engine._native", os.environ["HEADWAY_NATIVE"])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["headway.engine._native"] = module
    spec.loader.exec_module(module)

from headway.engine.extension import is_built  # noqa: E402  # after the build to test was put in its place


@pytest.fixture(autouse=True, scope="session")  # before any fixture that packs a model
def built() -> None:
    if not is_built():
        pytest.skip("the engine is not built")
