import pytest
from cases import DECODERS, IN_ENGINE, READING, Case, build

from headway.engine.extension import is_built


@pytest.fixture(params=sorted(DECODERS) + sorted(IN_ENGINE))
def decoder(request: pytest.FixtureRequest) -> Case:
    """A decoder in PyTorch or in the compiled engine."""
    if request.param in IN_ENGINE and not is_built():
        pytest.skip("the engine is not built")
    return build(request.param)


@pytest.fixture(params=sorted(DECODERS))
def torch_decoder(request: pytest.FixtureRequest) -> Case:
    """A decoder in PyTorch, which can be looked into."""
    return build(request.param)


@pytest.fixture(params=READING)
def reader(request: pytest.FixtureRequest) -> Case:
    """A decoder that reads a source."""
    return build(request.param)
