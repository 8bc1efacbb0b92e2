"""A test set as it is scored: equal sources are one sentence with several references."""

import pytest

from headway.corpus.pairs import Pair
from headway.errors import DataError
from headway.evaluation.references import read_test_set

PAIRS = [
    Pair(source="Hi.", target="Salut."),
    Pair(source="Run!", target="Cours !"),
    Pair(source="Hi.", target="Bonjour."),
    Pair(source="hi.", target="salut."),
    Pair(source="Hi.", target="Salut."),
]


def test_equal_sources_are_one_sentence_in_the_order_they_come() -> None:
    test = read_test_set(PAIRS)
    assert test.sources == ("Hi.", "Run!", "hi.")
    assert test.references == (("Salut.", "Bonjour."), ("Cours !",), ("salut.",))
    assert test.n_references == 4


def test_single_reference_takes_every_line_as_a_sentence() -> None:
    test = read_test_set(PAIRS, single_reference=True)
    assert test.sources == tuple(pair.source for pair in PAIRS)
    assert test.references == tuple((pair.target,) for pair in PAIRS)


def test_a_limit_counts_sentences_and_keeps_references_from_behind_it() -> None:
    test = read_test_set(PAIRS, limit=1)
    assert (test.sources, test.references) == (("Hi.",), (("Salut.", "Bonjour."),))


@pytest.mark.parametrize("side", ["", " \t"])
def test_pairs_with_an_empty_side_are_named(side: str) -> None:
    with pytest.raises(DataError, match="2 have an empty one: pair 2, pair 3"):
        read_test_set([PAIRS[0], Pair(source=side, target="x"), Pair(source="x", target=side)])


def test_no_pair_is_refused() -> None:
    with pytest.raises(DataError, match="at least one pair"):
        read_test_set([])
