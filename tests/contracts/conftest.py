import pytest
from cases import DECODERS, build

from headway.models.gpt2 import GPT2


@pytest.fixture(params=sorted(DECODERS))
def decoder(request: pytest.FixtureRequest) -> GPT2:
    return build(request.param)
