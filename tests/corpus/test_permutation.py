"""Orders without a table: each is a permutation, and each key has its own."""

from collections import Counter

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.corpus.permutation import draw, permute


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.text(max_size=9))
def test_every_place_goes_to_one_place(size: int, key: str) -> None:
    found = permute(numpy.arange(size), size, key)
    assert sorted(found.tolist()) == list(range(size))


@pytest.mark.parametrize("size", [1 << 30, (1 << 30) + 1, 3_000_000_019, (1 << 62) - 57])
def test_an_order_of_billions_costs_no_more(size: int) -> None:
    places = numpy.array([0, 1, 2, 12345, size // 2, size - 2, size - 1])
    found = permute(places, size, "a")
    assert len(set(found.tolist())) == len(places)
    assert found.min() >= 0 and found.max() < size


def test_places_do_not_depend_on_which_are_asked_for_together() -> None:
    together = permute(numpy.arange(97), 97, "a")
    assert [int(permute(numpy.array([place]), 97, "a")[0]) for place in range(97)] == together.tolist()


def test_an_order_is_the_same_on_every_machine() -> None:
    assert permute(numpy.arange(11), 11, "order 1 0").tolist() == [8, 5, 10, 6, 3, 7, 0, 2, 4, 1, 9]
    assert draw(1000, "begin 1 0") == 520


def test_keys_give_different_orders_that_look_drawn() -> None:
    size = 1009
    orders = [permute(numpy.arange(size), size, f"{seed}") for seed in range(5)]
    for number, order in enumerate(orders):
        assert numpy.abs(numpy.corrcoef(order, numpy.arange(size))[0, 1]) < 0.15
        for other in orders[:number]:
            assert (order == other).sum() < 12


def test_all_orders_of_a_few_come_about_equally_often() -> None:
    orders = Counter(tuple(permute(numpy.arange(4), 4, f"{seed}").tolist()) for seed in range(2400))
    assert len(orders) == 24 and min(orders.values()) > 60 and max(orders.values()) < 150
