"""Sentences: where they end, and that no character is ever lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import UsageError
from headway.tasks.sentences import joined, pieces_that_fit, split_sentences

TRICKY = st.text(alphabet=" \n.!?…,;:\"'»«)abABéÉ。、؟中文😀\u200d\u00a0\u0301\x00", max_size=120)


def n_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        ("One.", ["One."]),
        ("One. Two!  Three?", ["One. ", "Two!  ", "Three?"]),
        ("Mr. Smith met Dr. Jones. They left.", ["Mr. Smith met Dr. Jones. ", "They left."]),
        ("M. Dupont est ici. Mme. Durand aussi.", ["M. Dupont est ici. ", "Mme. Durand aussi."]),
        ("J. K. Rowling wrote it. I did not.", ["J. K. Rowling wrote it. ", "I did not."]),
        ("The U.S. Army came. So did I. We won.", ["The U.S. Army came. ", "So did I. ", "We won."]),
        ("It cost 3.50 in No. 5. No. That is wrong.", ["It cost 3.50 in No. 5. ", "No. ", "That is wrong."]),
        ('"Really?" he asked. "Yes!" She left.', ['"Really?" he asked. ', '"Yes!" ', "She left."]),
        ("Il dit : « Viens ! » Puis il part.", ["Il dit : « Viens ! » ", "Puis il part."]),
        ("Well... maybe. Or... Not.", ["Well... maybe. ", "Or... ", "Not."]),
        ("你好。再见！「好。」走了", ["你好。", "再见！", "「好。」", "走了"]),
        ("هل أنت بخير؟ نعم.", ["هل أنت بخير؟ ", "نعم."]),
        ("a line\nanother\n\n  third", ["a line\n", "another\n\n  ", "third"]),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@settings(max_examples=300, deadline=None)
@given(text=TRICKY, longest=st.integers(4, 30), packed=st.booleans())
def test_pieces_put_together_are_the_text_and_fit(text: str, longest: int, packed: bool) -> None:
    assert "".join(split_sentences(text)) == text
    pieces = pieces_that_fit(text, longest, n_bytes, packed=packed)
    assert "".join(pieces) == text
    assert all(pieces) and all(n_bytes(piece) <= longest for piece in pieces)


@settings(deadline=None)
@given(text=TRICKY, longest=st.integers(6, 30))
def test_pieces_fit_where_tokens_do_not_add_up(text: str, longest: int) -> None:
    def count(part: str) -> int:  # more tokens together than apart
        return n_bytes(part) + len(part) ** 2 // 50

    assert all(count(piece) <= longest for piece in pieces_that_fit(text, longest, count))


def test_a_long_sentence_is_cut_at_clauses_then_at_blanks_then_anywhere() -> None:
    assert pieces_that_fit("one two, three four; five", 12, len) == ["one two, ", "three four; ", "five"]
    assert pieces_that_fit("one two three four", 9, len) == ["one two ", "three ", "four"]
    assert pieces_that_fit("abcdefgh", 4, len) == ["abcd", "efgh"]


def test_packed_pieces_hold_as_many_sentences_as_fit() -> None:
    assert pieces_that_fit("One. Two. Three. Four.", 11, len) == ["One. ", "Two. ", "Three. ", "Four."]
    assert pieces_that_fit("One. Two. Three. Four.", 11, len, packed=True) == ["One. Two. ", "Three. ", "Four."]


def test_joined_pieces_keep_blanks_and_line_ends() -> None:
    assert joined(["Un.", "Deux."], ["One.  ", "Two."]) == "Un.  Deux."
    assert joined(["Hello.", "Bye."], ["你好。", "再见。"]) == "Hello. Bye."
    assert joined(["你好。", "再见。"], ["Hello. ", "Bye."]) == "你好。再见。"
    assert joined(["Un.", "", "Trois."], ["One.\n", "? ", "Three."]) == "Un.\n Trois."
    assert joined(["", "Un. "], [" ", "One."]) == "Un."


def test_a_longest_without_room_for_a_character_is_refused() -> None:
    with pytest.raises(UsageError, match="longest=3"):
        pieces_that_fit("text", 3, len)


@pytest.mark.parametrize("text", ["." * 200_000 + "a", " " * 200_000, "\n" * 200_000, ")" * 200_000, "a.) " * 50_000])
def test_hostile_text_takes_linear_time(text: str) -> None:
    """A search that is quadratic in the text's length would take hours here."""
    assert "".join(split_sentences(text)) == text
