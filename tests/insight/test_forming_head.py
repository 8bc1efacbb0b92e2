"""Which head is watched while a model learns, and the picture of it."""

import pytest
import torch

from headway.insight.forming_head import attention_of, head_map, sharpest_head
from headway.models.gpt2 import GPT2, GPT2Config


def even(length: int) -> torch.Tensor:
    """A map that reads all earlier positions alike, (T, T)."""
    return torch.tril(torch.ones(length, length)) / torch.arange(1, length + 1)[:, None]


def previous(length: int) -> torch.Tensor:
    """A map that reads the position before, (T, T)."""
    return torch.eye(length)[[0, *range(length - 1)]]


def test_maps_are_those_of_every_head_of_the_pass() -> None:
    torch.manual_seed(5)
    model = GPT2(GPT2Config(vocabulary=11, context=13, width=6, n_layers=2, n_heads=3)).eval()
    maps = attention_of(model, [3, 1, 4, 1, 5])
    assert maps.shape == (2, 3, 5, 5)
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 3, 5))
    assert not maps.triu(1).any()
    torch.testing.assert_close(maps, attention_of(model, [3, 1, 4, 1, 5, 9, 2])[..., :5, :5])


def test_the_sharpest_head_is_the_one_that_decides_most() -> None:
    maps = torch.stack([even(7)] * 6).view(2, 3, 7, 7)
    half = (even(7) + previous(7)) / 2
    maps[1, 0], maps[0, 2] = half, previous(7)
    assert sharpest_head(maps) == (0, 2)
    maps[0, 2] = even(7)
    assert sharpest_head(maps) == (1, 0)


def test_a_short_text_is_drawn_cell_by_cell() -> None:
    maps = torch.stack([even(3), previous(3)])[None]  # (1, 2, 3, 3)
    picture = head_map(maps, 0, 0, side=5)
    assert (picture.layer, picture.head, picture.side) == (0, 0, 3)
    assert list(picture.data) == [255, 0, 0, 128, 128, 0, 85, 85, 85]
    assert list(head_map(maps, 0, 1, side=5).data) == [255, 0, 0, 255, 0, 0, 0, 255, 0]


@pytest.mark.parametrize("side", [2, 5])
def test_a_thin_diagonal_survives_the_drawing_of_a_long_text(side: int) -> None:
    picture = head_map(previous(31)[None, None], 0, 0, side=side)
    assert picture.side == side and len(picture.data) == side * side
    assert all(picture.data[place * side + place] == 255 for place in range(side))
