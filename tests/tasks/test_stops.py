import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import UsageError
from headway.tasks.stops import StopStrings

TEXTS = st.text("abc", max_size=30)
STOPS = st.lists(st.text("abc", min_size=1, max_size=5), max_size=4)


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[first:last] for first, last in zip(edges, edges[1:], strict=False)]


def cut_by_hand(text: str, stops: list[str]) -> str:
    """The text before the stop string that is complete first, character by character."""
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            return text[: end - max(map(len, complete))]
    return text


@given(text=TEXTS, stops=STOPS, cuts=st.lists(st.integers(0, 30), max_size=12))
def test_what_is_kept_is_the_text_before_the_first_complete_stop_string(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    filtered = StopStrings(stops)
    given_out = "".join(filtered.push(piece) for piece in pieces_of(text, cuts)) + filtered.finish()
    assert given_out == cut_by_hand(text, stops)
    assert filtered.stopped == any(stop in text for stop in stops)


@given(text=TEXTS, stops=STOPS)
def test_nothing_that_may_become_a_stop_string_is_given_out(text: str, stops: list[str]) -> None:
    filtered = StopStrings(stops)
    given_out = ""
    for at, character in enumerate(text):
        given_out += filtered.push(character)
        for stop in stops:  # whatever comes next, the final text begins with what was given out
            assert cut_by_hand(text[: at + 1] + stop, stops).startswith(given_out)


@given(text=TEXTS, stops=STOPS)
def test_no_more_is_held_back_than_needed(text: str, stops: list[str]) -> None:
    filtered = StopStrings(stops)
    given_out = ""
    for at, character in enumerate(text):
        given_out += filtered.push(character)
        if filtered.stopped:
            break
        held = text[len(given_out) : at + 1]
        assert held == "" or any(stop.startswith(held) for stop in stops)


def test_a_shorter_stop_string_inside_a_longer_one_counts_when_it_is_complete_first() -> None:
    filtered = StopStrings(["abc", "b"])
    assert (filtered.push("xab"), filtered.stopped) == ("xa", True)


def test_the_longest_of_those_that_end_together_is_cut() -> None:
    assert StopStrings(["b", "ab"]).push("xab") == "x"


def test_nothing_follows_a_stop_string() -> None:
    filtered = StopStrings(["."])
    assert [filtered.push("One. Two"), filtered.push(". Three"), filtered.finish()] == ["One", "", ""]


def test_text_held_back_is_given_out_at_the_end() -> None:
    filtered = StopStrings(["END"])
    assert [filtered.push("The EN"), filtered.finish()] == ["The ", "EN"]


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one character"):
        StopStrings(["a", ""])
