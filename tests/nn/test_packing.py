import pytest
import torch

from headway.errors import UsageError
from headway.nn.packing import Packing

LENGTHS = [3, 7, 1, 3, 5, 7]
WIDTH = 11


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """(B, T, 2) random, and True at a row's own positions (B, T)."""
    torch.manual_seed(3)
    return torch.randn(6, WIDTH, 2), torch.arange(WIDTH) < torch.tensor(LENGTHS)[:, None]


def test_unpacking_gives_back_every_token_and_zeros_past_each_row():
    x, own = batch()
    packing = Packing(LENGTHS, width=WIDTH)
    packed = packing.pack(x)
    assert packed.shape == (26, 2) and packing.n_tokens == 26
    assert torch.equal(packing.unpack(packed), x * own[:, :, None])


def test_rows_of_one_length_stand_side_by_side_in_the_order_of_the_batch():
    packing = Packing(LENGTHS, width=WIDTH)
    x, _ = batch()
    packed = packing.pack(x)
    assert [(group.length, group.rows) for group in packing.groups] == [(1, (2,)), (3, (0, 3)), (5, (4,)), (7, (1, 5))]
    for group, part in zip(packing.groups, packing.split(packed), strict=True):
        assert torch.equal(part, x[list(group.rows), : group.length])
        assert torch.equal(group.of(packed), part) and part.data_ptr() == packed[group.begin :].data_ptr()
    assert torch.equal(packing.merge(packing.split(packed)), packed)


def test_positions_count_each_row_from_zero():
    assert Packing([2, 3, 2]).positions.tolist() == [0, 1, 0, 1, 0, 1, 2]


def test_squares_of_the_groups_go_back_to_their_rows():
    packing = Packing([2, 3, 2], width=5)
    parts = [torch.ones(len(group.rows), 7, group.length, group.length) * group.length for group in packing.groups]
    whole = packing.merge_square(parts)
    assert whole.shape == (3, 7, 5, 5)
    assert whole[:, 0].sum(dim=(1, 2)).tolist() == [8, 27, 8]
    assert not whole[0, :, 2:].any() and not whole[0, :, :, 2:].any()


@pytest.mark.parametrize(("lengths", "width"), [([5, 5, 5], 5), ([1], 1), ([7], 7)])
def test_without_padding_nothing_is_copied(lengths, width):
    x = torch.randn(len(lengths), width, 3)
    packing = Packing(lengths, width=width)
    assert packing.level
    assert packing.pack(x).data_ptr() == x.data_ptr() == packing.unpack(packing.pack(x)).data_ptr()


def test_rows_that_all_end_before_the_batch_does_are_cut():
    x = torch.randn(3, 7, 2)
    packing = Packing([5, 5, 5], width=7)
    assert torch.equal(packing.pack(x), x[:, :5].reshape(15, 2))
    expected = x.clone()
    expected[:, 5:] = 0
    assert torch.equal(packing.unpack(packing.pack(x)), expected)


def test_gradients_reach_each_tokens_own_place():
    x, own = batch()
    x.requires_grad_(True)
    packing = Packing(LENGTHS, width=WIDTH)
    packed = packing.merge([part * 3 for part in packing.split(packing.pack(x))])
    (gradient,) = torch.autograd.grad(packing.unpack(packed).sum(), x)
    assert torch.equal(gradient, 3.0 * own[:, :, None].expand_as(x))


@pytest.mark.parametrize(("lengths", "width"), [([3, 0], 5), ([3, 6], 5), ([-1], 5)])
def test_lengths_that_do_not_fit_are_refused(lengths, width):
    with pytest.raises(UsageError, match="lengths takes one length in 1..5"):
        Packing(lengths, width=width)


def test_a_length_for_each_row_is_asked_for():
    ids = torch.zeros(3, 5, dtype=torch.int64)
    assert Packing.of(ids, None).lengths == [5, 5, 5]
    assert Packing.of(ids, torch.tensor([5, 1, 2])).lengths == [5, 1, 2]
    with pytest.raises(UsageError, match="each of 3 rows, but got 2"):
        Packing.of(ids, torch.tensor([5, 1]))


def test_no_rows_at_all_are_packed_too():
    packing = Packing([], width=5)
    assert packing.n_tokens == 0 and packing.groups == () and packing.positions.shape == (0,)
