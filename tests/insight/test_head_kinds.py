"""Heads made by hand are told apart; what counts as a repeat is as it is written."""

import pytest
import torch
from test_inspection import TOKENIZER, build, look

from headway.insight.head_kinds import kinds_of, random_repeated, repeats
from headway.insight.inspection import InspectionRequest, inspect
from headway.nn.trace import Trace

TEXT = [5, 7, 11, 5, 7, 11, 5, 7, 11]


def test_a_repeat_is_read_at_what_followed_its_latest_occurrence() -> None:
    assert repeats([5, 7, 11, 5, 7, 7, 5]) == [(3, 1), (4, 2), (6, 4)]  # the second 7 in a row is left out
    assert repeats([1, 2, 3]) == [] == repeats([])
    assert repeats(TEXT) == [(place, place - 2) for place in range(3, 9)]


def test_heads_made_by_hand_score_one_on_their_own_kind() -> None:
    maps = torch.zeros(3, 9, 9)
    maps[0, range(1, 9), range(8)] = 1.0
    maps[1, :, 0] = 1.0
    maps[2, range(3, 9), range(1, 7)] = 1.0
    found = kinds_of(maps, repeats(TEXT))
    assert found.previous == pytest.approx((1.0, 1 / 8, 0.0)) and found.first == pytest.approx((1 / 8, 1.0, 0.0))
    assert found.repeat == pytest.approx((0.0, 0.0, 1.0))
    assert kinds_of(maps[:, :1, :1], ()).previous == (0.0, 0.0, 0.0) and kinds_of(maps, ()).repeat is None


def test_scores_are_means_of_the_models_own_maps() -> None:
    model, trace = build("gpt2"), Trace()
    with torch.no_grad():
        model.encode(torch.tensor([TEXT]), None, trace=trace)
    found = look("gpt2", TEXT, heads=True)["heads"]
    assert found["repeat_measured_on"] == "text"
    for layer in range(3):
        maps = trace.found[f"layers.{layer}.attention"][0]
        for head in range(2):
            one = maps[head]
            assert found["previous"][layer][head] == pytest.approx(float(one.diagonal(-1).mean()), abs=1e-5)
            assert found["first"][layer][head] == pytest.approx(float(one[1:, 0].mean()), abs=1e-5)
            behind = [float(one[place, place - 2]) for place in range(3, 9)]
            assert found["repeat"][layer][head] == pytest.approx(sum(behind) / 6, abs=1e-5)


def test_a_text_without_repeats_is_replaced_by_random_tokens_said_twice() -> None:
    one, other = look("gpt2", [65, 66, 67], heads=True)["heads"], look("gpt2", [70, 71], heads=True)["heads"]
    assert one["repeat_measured_on"] == "random" and one["repeat"] == other["repeat"] and one["first"] != other["first"]
    drawn = random_repeated(258, [256, 257], None)
    trace = Trace()
    with torch.no_grad():
        build("gpt2").encode(torch.tensor([drawn]), None, trace=trace)
    behind = [float(trace.found["layers.1.attention"][0, 1, place, place - 23]) for place in range(24, 48)]
    assert one["repeat"][1][1] == pytest.approx(sum(behind) / 24, abs=1e-5)


def test_random_tokens_are_the_same_every_time_fit_and_are_none_of_the_barred() -> None:
    drawn = random_repeated(31, [3, 5], None)
    assert drawn == random_repeated(31, [3, 5], None) and drawn[:24] == drawn[24:] and len(set(drawn)) == 24
    assert not {3, 5} & set(drawn) and len(random_repeated(31, [], 7)) == 6
    assert random_repeated(31, [], 3) == [] == random_repeated(2, [0], None)


def test_layers_without_heads_have_no_scores_and_translators_are_measured_too() -> None:
    hybrid = look("fnet-hybrid", heads=True)
    assert hybrid["heads"]["first"][:2] == [None, None] and len(hybrid["heads"]["first"][2]) == 2
    assert hybrid["attends"] == [2]
    found = look("transformer", [65, 66], heads=True)["heads"]
    assert found["repeat_measured_on"] == "random" and [len(row) for row in found["repeat"]] == [5, 5]


def test_a_context_too_short_for_repeats_is_said() -> None:
    from headway.models.gpt2 import GPT2, GPT2Config

    model = GPT2(GPT2Config(vocabulary=258, context=3, width=14, n_layers=1, n_heads=2)).eval()
    found = inspect(model, TOKENIZER, [1, 2], InspectionRequest(heads=True))
    assert found["heads"]["repeat"] == [None] and "too short" in found["notes"]["heads"]
