"""Alignment error rates, and the choice of the head that aligns best."""

from pathlib import Path

import numpy
import pytest
import torch
from copying import copier, tiny_rnn, tiny_transformer
from doubles import ByteTokenizer
from torch import Tensor

from headway.errors import DataError, UsageError
from headway.formats.folder import read_generation
from headway.tasks.alignment_quality import (
    alignment_error_rate,
    diagonal_agreement,
    read_gold,
    remember_head,
    score_heads,
)
from headway.tasks.translator import Translator


def test_pharaohs_lines_are_read_with_sure_and_possible_links() -> None:
    gold = read_gold("0-0 1-2  3p4\n")
    assert gold.sure == {(0, 0), (1, 2)} and gold.possible == {(0, 0), (1, 2), (3, 4)}
    assert read_gold("").possible == frozenset()
    for wrong in ("0:0", "0-", "-1-2", "a-b", "1-2-3"):
        with pytest.raises(DataError, match="0-0 1-2"):
            read_gold(wrong)


def test_the_error_rate_is_och_and_neys() -> None:
    gold = [read_gold("0-0 1-1 2p2"), read_gold("0-1")]
    # A has 4 links; in S: 0-0, 0-1; in P: 0-0, 2-2, 0-1. S has 3. 1 - (2 + 3) / (4 + 3).
    found = [[(0, 0), (2, 2), (1, 2)], [(0, 1)]]
    assert alignment_error_rate(found, gold) == pytest.approx(1 - 5 / 7)
    assert alignment_error_rate([gold[0].sure, gold[1].sure], gold) == 0.0
    assert alignment_error_rate([[(5, 5)], []], gold) == 1.0
    with pytest.raises(UsageError, match="1 and 2"):
        alignment_error_rate([[]], gold)
    with pytest.raises(DataError, match="no links"):
        alignment_error_rate([[]], [read_gold("")])


def test_agreement_is_highest_on_the_diagonal() -> None:
    eye = numpy.concatenate([numpy.eye(5), numpy.zeros((5, 1))], axis=1)
    assert diagonal_agreement(eye) == pytest.approx(1.0)
    assert diagonal_agreement(eye[::-1], reverse=True) == pytest.approx(1.0)
    assert diagonal_agreement(eye[::-1]) == pytest.approx(1 - 2.4 / 5)
    assert diagonal_agreement(numpy.full((50, 61), 1 / 61)) == pytest.approx(2 / 3, abs=0.01)
    ends = numpy.zeros((3, 4))
    ends[:, -1] = 1.0  # all of it on the end
    assert diagonal_agreement(ends) == 0.0


def test_the_head_that_looks_where_it_writes_is_found() -> None:
    translator = copier()
    sources = ["one two three", "four five"]
    scores = score_heads(translator.sides, sources, sources, gold=[read_gold("0-0 1-1 2-2"), read_gold("0-0 1-1")])
    assert scores[0].error_rate == 0.0 and scores[0].agreement == pytest.approx(1.0)
    wrong = score_heads(translator.sides, sources, sources, gold=[read_gold("0-1"), read_gold("1-0")])
    assert wrong[0].error_rate == 1.0


class Planted(torch.nn.Module):
    """A transformer whose trace is replaced: of 3 layers of 2 heads, one follows the diagonal."""

    context = None

    def __init__(self) -> None:
        super().__init__()
        self.inner = tiny_transformer()

    def start(self, *args: object, **options: object) -> object:
        return self.inner.start(*args, **options)

    def step(self, ids: Tensor, counts: Tensor, state: object, *, trace: object = None, every: bool = False) -> object:
        found = self.inner.step(ids, counts, state, every=every)
        rows, width = ids.shape
        for layer in range(3):
            probabilities = torch.full((rows, 2, width, 9), 1 / 9)
            if layer == 2:
                probabilities[:, 1] = torch.eye(9)[:width]
            trace.cross_attention(layer, probabilities)  # type: ignore[attr-defined]
        return found


def test_every_head_and_every_layers_mean_is_scored_the_best_first() -> None:
    sides = Translator.of(Planted(), ByteTokenizer()).sides  # type: ignore[arg-type]
    scores = score_heads(sides, ["abcdefgh"], ["ABCDEFGH"])
    assert scores[0].head == (2, 1) and scores[1].head == (2, None)
    assert {one.head for one in scores} == {(layer, head) for layer in range(3) for head in (0, 1, None)}


def test_a_remembered_head_is_used_when_the_folder_is_opened(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text('{"num_beams": 3}', encoding="utf-8")
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    remember_head(tmp_path, (2, None))
    found = read_generation(tmp_path)
    assert found == {"num_beams": 3, "headway_alignment_head": [2, None]}
    translator = Translator.of(tiny_transformer(), ByteTokenizer(), generation=found)
    assert translator.sides.head == (2, None)


def test_pairs_that_judge_nothing_are_refused() -> None:
    sides = copier(context=20).sides
    with pytest.raises(DataError, match="no pair"):
        score_heads(sides, ["x" * 30, "y"], ["x", ""])
    with pytest.raises(DataError, match="1 and 2"):
        score_heads(sides, ["a", "b"], ["a", "b"], gold=[read_gold("0-0")])
    with pytest.raises(UsageError, match="bottleneck"):
        score_heads(Translator.of(tiny_rnn("fixed"), ByteTokenizer()).sides, ["a"], ["b"])
