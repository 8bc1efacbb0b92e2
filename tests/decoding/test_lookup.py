"""Prompt lookup and the pace of proposals, by hand and against a plain search."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from headway.decoding.choice import Choice
from headway.decoding.speculation import Asked, Lookup, Pace


def asked(ids: Sequence[int], room: int = 99, number: int = 0) -> Asked:
    return Asked(number=number, ids=ids, room=room, choice=Choice(), sample=0, position=0)


def test_the_longest_match_s_latest_place_is_copied_from() -> None:
    assert Lookup().propose([asked([1, 2, 3, 9, 8, 1, 2, 3, 7, 6, 1, 2, 3])]) == [[7, 6, 1]]
    assert Lookup().propose([asked([4, 3, 9, 2, 3, 7, 1, 2, 3, 5, 6, 2, 3])]) == [[5, 6]]
    assert Lookup().propose([asked([3, 9, 8, 3])]) == [[9]]
    assert Lookup().propose([asked([1, 2, 3, 4])]) == [[]]
    assert Lookup().propose([asked([5])]) == [[]]


def test_a_copy_runs_on_into_itself() -> None:
    assert Lookup().propose([asked([6, 1, 2, 1, 2, 1, 2])]) == [[1, 2, 1]]
    assert Lookup().propose([asked([5, 5, 5, 5])]) == [[5, 5, 5]]


def test_no_more_is_proposed_than_there_is_room() -> None:
    assert Lookup().propose([asked([1, 2, 3, 9, 8, 1, 2, 3], room=n) for n in (2,)]) == [[9, 8]]
    assert Lookup().propose([asked([1, 2, 3, 9, 8, 1, 2, 3], room=n) for n in (0,)]) == [[]]


@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.integers(0, 3), min_size=1, max_size=40), cuts=st.lists(st.integers(1, 40), max_size=5))
def test_a_text_that_grows_is_looked_through_as_a_whole(ids: list[int], cuts: list[int]) -> None:
    text: list[int] = []
    lookup = Lookup()
    for cut in sorted({min(cut, len(ids)) for cut in [*cuts, len(ids)]}):
        text += ids[len(text) : cut]
        (proposal,) = lookup.propose([asked(text, room=1)])
        expected: list[int] = []
        for n in (1, 2, 3):
            for end in range(n, len(text)):
                if len(text) > n and text[end - n : end] == text[-n:]:
                    expected = [text[end]]
        assert proposal == expected


def test_rows_do_not_see_each_other_s_text_and_a_forgotten_one_begins_anew() -> None:
    lookup = Lookup()
    assert lookup.propose([asked([1, 2, 3, 1], number=0), asked([1, 4, 5, 1], number=1)]) == [[2], [4]]
    lookup.forget(0)
    lookup.forget(0)
    assert lookup.propose([asked([7, 1, 9, 1], number=0)]) == [[9]]


def test_the_pace_doubles_while_all_is_right_falls_to_what_was_and_rests_when_nothing_is() -> None:
    pace = Pace(3)
    assert pace.next() == 3
    pace.learn(3, 3)
    assert pace.next() == 6
    pace.learn(6, 6)
    assert pace.next() == 8
    pace.learn(2, 2)  # cut short by its row's room
    assert pace.next() == 8
    pace.learn(8, 4)
    assert pace.next() == 5
    pace.learn(5, 0)
    assert pace.next() == 1
    pace.learn(1, 0)
    assert [pace.next() for _ in range(3)] == [0, 0, 1]
    pace.learn(1, 0)
    assert [pace.next() for _ in range(7)] == [0] * 6 + [1]
    pace.learn(1, 1)
    assert pace.next() == 2
    for _ in range(9):
        pace.learn(2, 0)
    assert [pace.next() for _ in range(31)] == [0] * 30 + [1]
