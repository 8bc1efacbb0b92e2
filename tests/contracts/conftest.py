import pytest
from cases import DECODERS, READING, Case, build


@pytest.fixture(params=sorted(DECODERS))
def decoder(request: pytest.FixtureRequest) -> Case:
    return build(request.param)


@pytest.fixture(params=READING)
def reader(request: pytest.FixtureRequest) -> Case:
    """A decoder that reads a source."""
    return build(request.param)
