import itertools

import pytest
import torch

from headway.models.rnn_search import RNNSearchConfig

SIZES = {"vocabulary": 31, "width": 13, "embedding": 5, "alignment": 11, "maxout": 7, "initial": "modern"}


@pytest.fixture
def recurrent():
    import recurrent

    return recurrent


@pytest.mark.parametrize("attention", ["additive", "fixed"])
def test_all_sides_have_the_same_loss_and_gradients(recurrent, attention):
    torch.manual_seed(1)
    batch = (torch.randint(31, (2, 3)), *torch.randint(31, (2, 2, 5)))
    sides = recurrent.steps_of(RNNSearchConfig(attention=attention, **SIZES))
    assert len(sides) == (3 if attention == "additive" else 2)
    found = []
    for model, loss in sides.values():
        value = loss(*batch)
        value.backward()
        found.append((value, model.source_embedding.weight.grad, model.initial_state.weight.grad))
    for first, second in itertools.pairwise(found):
        for mine, other in zip(first, second, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_every_side_is_timed(recurrent):
    speeds = recurrent.compare(RNNSearchConfig(**SIZES), rows=2, length=3, repeats=2)
    assert sorted(speeds) == ["ours", "plain", "plain, keys once"]
    assert all(speed > 0 for speed in speeds.values())
