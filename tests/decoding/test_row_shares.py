"""How a step's prompt tokens are shared out among prompts that are being read."""

from hypothesis import given
from hypothesis import strategies as st

from headway.decoding.row import shares


def test_of_equal_prompts_one_after_another_comes_to_its_end() -> None:
    left, ends = [50] * 50, []
    for step in range(1, 21):
        widths = shares([rest for rest in left if rest], 128)
        others = iter(widths)
        left = [rest - next(others) if rest else 0 for rest in left]
        ends += [step] * (50 - len(ends) - sum(rest > 0 for rest in left))
    assert ends[0] == 1 and ends[-1] == 20  # 2,500 tokens by 128
    assert sorted(ends)[25] <= 11  # and half of them in half the time


def test_a_short_prompt_overtakes_a_long_one_which_goes_on_meanwhile() -> None:
    assert shares([9_000, 20, 30], 128) == [78, 20, 30]
    assert shares([9_000, *[128] * 9], 128) == [32, 96, 0, 0, 0, 0, 0, 0, 0, 0]


@given(left=st.lists(st.integers(1, 300), min_size=1, max_size=30), chunk=st.integers(1, 200))
def test_the_whole_chunk_is_used_and_never_more(left: list[int], chunk: int) -> None:
    widths = shares(left, chunk)
    assert sum(widths) == min(chunk, sum(left))
    assert widths[0] >= min(left[0], max(1, chunk // 4))
    assert all(0 <= width <= rest for width, rest in zip(widths, left, strict=True))
