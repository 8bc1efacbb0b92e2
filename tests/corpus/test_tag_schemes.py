"""Tags and spans: equal to seqeval's reading, strict and lenient, on generated sentences; and back again."""

import random

import pytest
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2, IOBES, Entities

from headway.corpus.tag_schemes import Span, check_tags, repaired, scheme_of, spans_of, tag_set, tags_of
from headway.errors import ConfigError, DataError


def generated(scheme: str, seed: int, count: int = 300) -> list[list[str]]:
    """Sentences of tags drawn without regard to any rule."""
    chance = random.Random(seed)
    tags = tag_set(("LOC", "PER"), scheme)
    return [[chance.choice(tags) for _ in range(chance.randrange(1, 11))] for _ in range(count)]


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
def test_lenient_spans_equal_seqevals(scheme: str) -> None:
    for tags in generated(scheme, 3):
        expected = [Span(begin, end + 1, label) for label, begin, end in get_entities(tags)]
        assert spans_of(tags, scheme) == expected, tags


@pytest.mark.parametrize(("scheme", "theirs"), [("BIO", IOB2), ("BIOES", IOBES)])
def test_strict_spans_equal_seqevals(scheme: str, theirs: type) -> None:
    for tags in generated(scheme, 5):
        (found,) = Entities([tags], theirs).entities
        expected = [Span(entity.start, entity.end, entity.tag) for entity in found]
        assert spans_of(tags, scheme, strict=True) == expected, tags


@pytest.mark.parametrize("scheme", ["BIO", "BIOES", "IO"])
def test_spans_come_back_from_their_tags(scheme: str) -> None:
    for tags in generated(scheme, 7):
        sound = repaired(tags, scheme)
        assert spans_of(sound, scheme) == spans_of(tags, scheme)
        assert spans_of(sound, scheme, strict=True) == spans_of(sound, scheme)
        assert repaired(sound, scheme) == sound


def test_a_broken_tag_is_named_or_mended() -> None:
    broken = ["O", "I-PER", "I-PER", "I-LOC", "B-LOC"]
    assert repaired(broken, "BIO") == ["O", "B-PER", "I-PER", "B-LOC", "B-LOC"]
    with pytest.raises(DataError, match=r"x\.conll:3 word 2 has 'I-PER' after 'O'"):
        check_tags(broken, "BIO", "x.conll:3")
    check_tags(["B-PER", "I-PER", "O"], "BIO", "x.conll:3")


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        (["O", "B-PER", "I-PER"], "BIO"),
        (["O", "S-PER"], "BIOES"),
        (["O", "B-PER", "L-PER", "U-LOC"], "BIOES"),
        (["O", "I-PER"], "IO"),
        (["O", "PER"], "IO"),
        (["NOUN", "VERB"], "none"),
        (["O"], "none"),
    ],
)
def test_the_scheme_is_seen_from_the_tags(tags: list[str], scheme: str) -> None:
    assert scheme_of(tags) == scheme


def test_bilou_and_bare_labels_are_read_as_their_kin() -> None:
    assert spans_of(["B-PER", "L-PER", "U-LOC"], "BIOES", strict=True) == [Span(0, 2, "PER"), Span(2, 3, "LOC")]
    assert spans_of(["O", "PER", "PER", "LOC"], "IO") == [Span(1, 3, "PER"), Span(3, 4, "LOC")]


def test_labels_of_words_are_spans_of_one_word() -> None:
    assert spans_of(["NOUN", "X-Y"], "none") == [Span(0, 1, "NOUN"), Span(1, 2, "X-Y")]
    assert tag_set(["VERB", "NOUN"], "none") == ("NOUN", "VERB")


def test_spans_that_overlap_and_schemes_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigError, match="overlap"):
        tags_of([Span(0, 2, "A"), Span(1, 3, "B")], 5, "BIO")
    with pytest.raises(ConfigError, match="BIOES"):
        spans_of(["O"], "IOB")
