"""The next token's distribution is the model's, and what is kept of it is what is drawn from."""

from collections import Counter
from typing import Any

import pytest
import torch
from test_inspection import IDS, TOKENIZER, build, own_logits

from headway.decoding.choice import Choice, choose
from headway.errors import FormatError, UsageError
from headway.insight.next_token import next_candidates
from headway.tasks.next_token import next_token


def shown(choice: Choice, **wanted: Any) -> dict[str, Any]:
    return next_candidates(build("gpt2"), TOKENIZER, IDS, choice, **wanted)


def test_candidates_are_the_models_most_probable_and_all_adds_up_to_one() -> None:
    own, found = own_logits("gpt2")[-1].double().softmax(dim=0), shown(Choice(), top=7)
    best = own.topk(7)
    assert [one["id"] for one in found["candidates"]] == best.indices.tolist()
    assert [one["probability"] for one in found["candidates"]] == pytest.approx(best.values.tolist(), abs=1e-6)
    assert found["rest"]["count"] == 251 and found["windowed"] is False
    for kind in ("probability", "kept_probability"):
        assert sum(one[kind] for one in found["candidates"]) + found["rest"][kind] == pytest.approx(1.0)
        assert found["rest"][kind] == pytest.approx(1.0 - float(best.values.sum()), abs=1e-6)


@pytest.mark.parametrize(
    "choice",
    [
        Choice(temperature=0.7),
        Choice(temperature=1.9, top_k=3),
        Choice(top_p=0.6),
        Choice(min_p=0.2, temperature=1.3),
        Choice(top_k=40, top_p=0.9, min_p=0.01),
    ],
)
def test_what_is_kept_is_what_is_drawn(choice: Choice) -> None:
    logits = torch.randn(31, generator=torch.Generator().manual_seed(3)) * 3
    kept = next_token(logits, choice).kept
    draws = 4000
    counted = Counter(choose(logits.expand(draws, -1), [choice] * draws, [[]] * draws, range(draws), [0] * draws))
    assert {id for id, count in counted.items() if count} <= set(kept.nonzero().flatten().tolist())
    for id in range(31):
        assert abs(counted[id] / draws - float(kept[id])) < 0.04  # five deviations of the most uncertain of them
    assert float(kept.sum()) == pytest.approx(1.0)


def test_temperature_zero_keeps_the_first_of_the_highest_alone() -> None:
    logits = torch.tensor([0.0, 2.0, 1.0, 2.0])
    assert next_token(logits, Choice(temperature=0.0)).kept.tolist() == [0.0, 1.0, 0.0, 0.0]
    assert next_token(logits, Choice()).best(3) == [1, 3, 2]


def test_a_long_text_is_windowed_and_an_empty_one_begins_at_the_end_of_text() -> None:
    model, long = build("gpt2"), [*range(40), *IDS, *range(50)]
    found = next_candidates(model, TOKENIZER, long, Choice(), top=3)
    assert found["windowed"] is True
    assert found["candidates"] == next_candidates(model, TOKENIZER, long[-61:], Choice(), top=3)["candidates"]
    assert next_candidates(model, TOKENIZER, "", Choice()) == next_candidates(model, TOKENIZER, [256], Choice())


def test_silenced_heads_change_the_distribution_as_they_change_the_model() -> None:
    found = shown(Choice(), top=1, ablate=frozenset({(0, -1)}))["candidates"][0]
    own = own_logits("gpt2", frozenset({(0, 0), (0, 1)}))[-1].softmax(dim=0)
    assert found["probability"] == pytest.approx(float(own.max()), abs=1e-5) and found["id"] == int(own.argmax())


def test_what_has_no_next_token_and_what_needs_a_history_is_refused() -> None:
    for name in ("bert", "transformer", "gpt2-labels"):
        with pytest.raises(UsageError, match="writer"):
            next_candidates(build(name), TOKENIZER, IDS, Choice())
    for choice in (Choice(bias={3: 1.0}), Choice(repetition_penalty=1.2)):
        with pytest.raises(UsageError, match="penalties"):
            shown(choice)
    with pytest.raises(UsageError, match="top"):
        shown(Choice(), top=0)
    with pytest.raises(FormatError):
        next_token(torch.tensor([1.0, float("nan")]), Choice())
