"""Windows over long documents: every token once, with the history that was promised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import ConfigError
from headway.evaluation.windows import windows


def test_windows_of_a_worked_example() -> None:
    found = [(list(w.ids), list(w.targets), w.n_scored) for w in windows(range(8), 4, 2)]
    assert found == [
        ([0, 1, 2, 3], [1, 2, 3, 4], 4),
        ([2, 3, 4, 5], [3, 4, 5, 6], 2),
        ([4, 5, 6], [5, 6, 7], 1),
    ]


@given(length=st.integers(0, 60), context=st.integers(1, 13), data=st.data())
def test_every_token_but_the_first_is_scored_once(length: int, context: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, context))
    scored: list[int] = []
    for number, window in enumerate(windows(range(length), context, stride)):
        assert 1 <= len(window.ids) == len(window.targets) <= context
        new = list(window.targets)[len(window.targets) - window.n_scored :]
        assert number == 0 or len(window.targets) - window.n_scored >= context - stride
        scored += new
    assert scored == list(range(1, length))


@pytest.mark.parametrize("stride", [0, 6, -1])
def test_stride_outside_the_context_is_refused(stride: int) -> None:
    with pytest.raises(ConfigError, match=r"stride must be in 1\.\.5"):
        list(windows(range(11), 5, stride))
