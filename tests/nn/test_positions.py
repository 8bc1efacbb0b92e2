"""The kinds of positions by hand-worked numbers, and by what each promises."""

import math

import pytest
import torch

from headway.nn.positions import (
    LearnedPositions,
    Positions,
    RelativePositions,
    RotaryPositions,
    SinusoidPositions,
)


def test_sinusoids_are_those_of_the_paper_with_all_sines_before_all_cosines():
    placed = SinusoidPositions().place(torch.zeros(2, 3, 4), torch.tensor([[0, 1, 7]]))
    for position, row in zip((0, 1, 7), placed[1].tolist(), strict=True):
        slow = position / 10000 ** (2 / 4)
        assert row == pytest.approx([math.sin(position), math.sin(slow), math.cos(position), math.cos(slow)], abs=1e-6)


def test_sinusoids_stay_exact_at_far_positions():
    placed = SinusoidPositions().place(torch.zeros(1, 1, 6), torch.tensor([[1_000_003]]))
    assert float(placed[0, 0, 0]) == pytest.approx(math.sin(1_000_003), abs=1e-6)


def test_rows_may_stand_at_positions_of_their_own():
    x = torch.randn(2, 3, 6)
    at = torch.tensor([[0, 1, 2], [5, 6, 7]])
    for positions in (SinusoidPositions(), LearnedPositions(11, 6)):
        together = positions.place(x, at)
        for row in range(2):
            torch.testing.assert_close(together[row], positions.place(x[row : row + 1], at[row : row + 1])[0])


def test_learned_positions_add_a_row_of_their_table():
    positions = LearnedPositions(5, 3)
    placed = positions.place(torch.zeros(1, 2, 3), torch.tensor([[4, 1]]))
    torch.testing.assert_close(placed[0], positions.weight[[4, 1]])


def test_rotary_scores_depend_on_the_distance_alone():
    torch.manual_seed(3)
    query, key = torch.randn(1, 2, 1, 10), torch.randn(1, 2, 1, 10)
    rotary = RotaryPositions(10)

    def score(query_at: int, key_at: int) -> torch.Tensor:
        turned = (rotary.rotation(torch.tensor([[at]]))(x) for at, x in ((query_at, query), (key_at, key)))
        return next(turned) @ next(turned).transpose(-2, -1)

    torch.testing.assert_close(score(7, 3), score(104, 100), rtol=0, atol=1e-5)
    torch.testing.assert_close(score(5, 5), query @ key.transpose(-2, -1), rtol=0, atol=1e-5)
    assert float((score(7, 3) - score(7, 4)).abs().max()) > 1e-2


def test_rotary_turns_a_pair_of_dimensions_by_the_angle_of_its_rate():
    x = torch.tensor([[[[1.0, 0.0, 0.0, 2.0]]]])  # pairs (0, 2) and (1, 3)
    turned = RotaryPositions(4).rotation(torch.tensor([[3]]))(x)
    expected = [math.cos(3.0), -2 * math.sin(0.03), math.sin(3.0), 2 * math.cos(0.03)]
    torch.testing.assert_close(turned[0, 0, 0], torch.tensor(expected))


def test_relative_buckets_are_exact_when_near_and_shared_when_far():
    positions = RelativePositions(1, both_sides=False)
    with torch.no_grad():
        positions.weight[:, 0] = torch.arange(32.0)
    back = positions.bias(torch.tensor([[300]]), 301)[0, 0, 0].flip(0).tolist()  # by distance 0, 1, 2, ...
    assert back[:16] == list(range(16))
    assert back[16:19] == [16, 16, 16] and back[127] == 31 and set(back[128:]) == {31}
    assert back == sorted(back)


def test_relative_positions_of_both_sides_tell_before_from_behind():
    positions = RelativePositions(3, both_sides=True)
    with torch.no_grad():
        positions.weight.copy_(torch.arange(96.0).view(32, 3))
    bias = positions.bias(torch.tensor([[5]]), 11)
    assert bias.shape == (1, 3, 1, 11)
    assert (bias[0, 0, 0] / 3).tolist() == [5, 4, 3, 2, 1, 0, 17, 18, 19, 20, 21]
    torch.testing.assert_close(bias[0, 2], bias[0, 0] + 2)


def test_relative_positions_of_one_side_give_later_keys_the_nearest_bucket():
    positions = RelativePositions(1, both_sides=False)
    with torch.no_grad():
        positions.weight[:, 0] = torch.arange(32.0)
    assert positions.bias(torch.tensor([[1]]), 4)[0, 0, 0].tolist() == [1, 0, 0, 0]


def test_no_positions_change_nothing():
    x, at = torch.randn(2, 3, 5), torch.arange(3)[None]
    positions = Positions()
    assert positions.place(x, at) is x and positions.bias(at, 3) is None and positions.rotation(at) is None
