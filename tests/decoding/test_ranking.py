import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.decoding.ranking import highest_in_rows


def by_sorting(values: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    order = values.sort(dim=1, descending=True, stable=True)
    return order.values[:, :count], order.indices[:, :count]


@settings(max_examples=60, deadline=None)
@given(
    n_rows=st.sampled_from([1, 3]),
    n_values=st.sampled_from([1, 2, 127, 128, 640, 641, 1999, 5003]),
    count=st.sampled_from([1, 2, 5, 7, 31, 6000]),
    n_kinds=st.sampled_from([1, 2, 11, 10**6]),
    seed=st.integers(0, 999),
)
def test_the_highest_of_each_row_come_in_the_order_of_a_stable_sort(
    n_rows: int, n_values: int, count: int, n_kinds: int, seed: int
) -> None:
    """Few kinds of values are many ties; more values than some hundreds are first looked at by groups."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(n_kinds, (n_rows, n_values), generator=generator).float()
    found, places = highest_in_rows(values, count)
    expected, where = by_sorting(values, count)
    assert torch.equal(found, expected)
    assert torch.equal(places, where)


@pytest.mark.parametrize("n_columns", [3000, 2999])
def test_part_of_a_wider_matrix_and_impossible_values_are_ranked_alike(n_columns: int) -> None:
    values = torch.randn(3, 3011, generator=torch.Generator().manual_seed(1))[:, :n_columns]
    values[1, 5:] = -torch.inf
    found, places = highest_in_rows(values, 7)
    expected, where = by_sorting(values, 7)
    assert torch.equal(found, expected)
    assert torch.equal(places, where)
