"""No source sentence stands on both sides of a split, and what leaks is counted."""

from pathlib import Path

import pytest
from hypothesis import given, strategies

from headway.corpus.pair_division import divide_pairs, overlap, plan_pairs, sentence_digest, sentence_key
from headway.corpus.pairs import Pair, read_pairs
from headway.errors import DataError

SAMPLES = Path(__file__).parent.parent / "data" / "pairs"
TRAIN = list(read_pairs(SAMPLES / "tatoeba.en-fr.train.tsv"))
VALID = list(read_pairs(SAMPLES / "tatoeba.en-fr.valid.tsv"))


def divided(pairs: list[Pair], share: float, most: int = 1000) -> tuple[list[Pair], list[Pair]]:
    found = list(divide_pairs(pairs, plan_pairs(pairs, share=share, most=most)))
    assert [pair for _, pair in found] == pairs
    return [pair for name, pair in found if name == "train"], [pair for name, pair in found if name == "validation"]


def test_sentences_are_compared_without_case_and_punctuation() -> None:
    assert sentence_key('"Hello,  World!"') == sentence_key("hello world") == "hello world"
    assert sentence_key("L'été 1980.") == "l été 1980"
    assert sentence_key("?!") == "?!" != sentence_key("!") and sentence_key(" ") == ""
    assert sentence_key("שלום, עולם") == "שלום עולם"


def test_the_digest_is_the_same_on_every_machine() -> None:
    assert sentence_digest("Hello, world!") == sentence_digest("HELLO WORLD") == 0x50B1A332AA338687


@given(
    strategies.lists(
        strategies.sampled_from(["a", "A.", "b", "c c", "C, C!", "d", "e?", "e"]), min_size=1, max_size=60
    ),
    strategies.sampled_from([0.05, 0.2, 0.5]),
)
def test_no_source_stands_on_both_sides(sources: list[str], share: float) -> None:
    pairs = [Pair(source, str(number)) for number, source in enumerate(sources)]
    if len({sentence_key(source) for source in sources}) == 1:
        with pytest.raises(DataError, match="have one source"):
            divided(pairs, share)
        return
    train, validation = divided(pairs, share)
    assert train and validation
    keys = [{sentence_key(pair.source) for pair in part} for part in (train, validation)]
    assert not keys[0] & keys[1]
    fewest = min(sum(sentence_key(p.source) == key for p in pairs) for key in keys[1])
    assert len(validation) <= max(round(share * len(pairs)), fewest if len(keys[1]) == 1 else 0)


def test_the_share_is_kept_up_to_the_cap() -> None:
    assert len(divided(TRAIN, 0.1)[1]) == 30
    assert len(divided(TRAIN, 0.1, most=7)[1]) == 7
    assert divided(TRAIN, 0.0)[1] == []
    assert len(divided(TRAIN[:3], 0.01)[1]) == 1


def test_a_pair_keeps_its_side_whatever_the_order_and_what_else_there_is() -> None:
    small = divided(TRAIN, 0.05)[1]
    assert sorted(divided(TRAIN[::-1], 0.05)[1], key=TRAIN.index) == small
    assert set(pair.source for pair in small) < set(pair.source for pair in divided(TRAIN, 0.2)[1])


def test_a_test_set_inside_training_is_counted() -> None:
    test = [
        VALID[0],
        TRAIN[3],
        TRAIN[3],
        Pair(TRAIN[5].source.upper() + "!!", "autre chose"),
        Pair(VALID[1].source, TRAIN[7].target),
    ]
    found = overlap(TRAIN, test)
    assert (found.sources, found.shared_sources, found.pairs, found.shared_pairs) == (4, 2, 5, 2)
    assert found.share == 0.5 and set(found.examples) == {test[1].source, test[3].source}
    assert "2 of 4 test sources (50.0 %) and 2 of 5 test pairs stand in the training pairs: " in str(found)


def test_the_samples_do_not_overlap() -> None:
    found = overlap(TRAIN, VALID)
    assert (found.shared_sources, found.shared_pairs, found.examples) == (0, 0, ())
    assert str(found).endswith("stand in the training pairs")
    assert overlap(TRAIN, []).share == 0.0
