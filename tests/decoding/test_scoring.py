import math

import pytest
import torch
from plain_loop import tiny_gpt2
from tables import TableDecoder

from headway.decoding.scoring import score
from headway.errors import ConfigError, FormatError

IDS = [5, 7, 11, 13, 17, 19, 23, 29, 2, 3]


@pytest.mark.parametrize("chunk", [1, 3, 9, 10, 128])
def test_scores_are_the_full_pass_s_log_probabilities_whatever_the_chunk(chunk: int) -> None:
    model = tiny_gpt2()
    with torch.no_grad():
        every = model(torch.tensor([IDS]))[0].log_softmax(-1)
    expected = [float(every[at, token]) for at, token in enumerate(IDS[1:])]
    first, *others = score(model, IDS, chunk=chunk)
    assert first is None
    assert others == pytest.approx(expected, abs=1e-4)


def test_scores_equal_a_table_worked_by_hand() -> None:
    model = TableDecoder(7, seed=1)
    ids = [3, 1, 4, 1, 5]
    expected = [model.logprob(ids[:at], ids[at]) for at in range(1, 5)]
    assert score(model, ids, chunk=3) == [None, *(pytest.approx(value, abs=1e-9) for value in expected)]


def test_the_last_token_is_not_fed() -> None:
    model = TableDecoder(7, seed=1)
    score(model, [1, 2, 3, 4, 5])
    assert model.n_fed == 4


def test_one_token_and_none_have_no_score() -> None:
    model = TableDecoder(7, seed=1)
    assert score(model, [3]) == [None]
    assert score(model, []) == []


def test_logits_that_are_not_finite_are_refused() -> None:
    model = TableDecoder(7, seed=1)
    model.table[:] = math.nan
    with pytest.raises(FormatError, match="nan"):
        score(model, [1, 2])


def test_a_chunk_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="chunk"):
        score(TableDecoder(7, seed=1), [1, 2], chunk=0)
