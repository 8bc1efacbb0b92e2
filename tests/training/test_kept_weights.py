"""Which weights a run keeps: the lowest loss, or where the task has a score of its own, the best of that."""

import pytest

from headway.training.checkpoint import RunState
from headway.training.trainer import is_best


@pytest.mark.parametrize(
    ("kept_by", "loss", "f1", "best"),
    [
        (None, 0.49, 0.7, True),
        (None, 0.51, 0.9, False),
        ("f1", 0.51, 0.81, True),
        ("f1", 0.49, 0.79, False),
        ("f1", 0.49, 0.8, True),
        ("f1", 0.51, 0.8, False),
    ],
)
def test_weights_are_kept_by_the_score_where_there_is_one_and_else_by_the_loss(
    kept_by: str | None, loss: float, f1: float, best: bool
) -> None:
    state = RunState(best=0.5, best_scores={"f1": 0.8}, best_step=7)
    assert is_best(kept_by, loss, {"f1": f1}, state) is best
    assert is_best(kept_by, loss, {"f1": f1}, RunState())
