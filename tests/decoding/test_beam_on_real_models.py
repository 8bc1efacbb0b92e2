"""The one search on every family that reads a source, tiny and with random weights."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from headway.decoding.beam import Search, beam_search
from headway.decoding.choice import Choice
from headway.decoding.rows import Rows
from headway.models.rnn_search import RNNSearch, RNNSearchConfig
from headway.models.transformer import Transformer, TransformerConfig

VOCABULARY = 31
END = 0
SOURCES = [[3, 5, 7, 0], [2, 0], [11, 13, 17, 19, 23, 29, 1, 0], [4, 4, 0], [8, 9, 0]]


def transformer() -> Transformer:
    return Transformer(
        TransformerConfig(
            vocabulary=VOCABULARY,
            context=11,
            width=14,
            n_heads=2,
            encoder_layers=2,
            decoder_layers=3,
            feed_forward=19,
            initial_deviation=0.3,  # with more, its logits are saturated and near ties abound
        )
    )


def recurrent(attention: Any) -> RNNSearch:
    model = RNNSearch(RNNSearchConfig(vocabulary=VOCABULARY, width=13, embedding=11, maxout=7, attention=attention))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.5)
    return model


MODELS: dict[str, Callable[[], Any]] = {
    "transformer": transformer,
    "rnnsearch": lambda: recurrent("additive"),
    "rnn-fixed": lambda: recurrent("fixed"),
}


def build(name: str) -> Any:
    torch.manual_seed(3)
    return MODELS[name]().eval()


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_equals_each_sentence_alone_and_scores_are_teacher_forced(name: str) -> None:
    model = build(name)
    search = Search(
        beam=4, n_best=4, max_ratio=3.0, length_penalty="gnmt", coverage_penalty=0.0 if name == "rnn-fixed" else 0.2
    )
    prompts = [[END, 6]] * len(SOURCES)
    together = beam_search(model, prompts, search, sources=SOURCES, end_ids=frozenset([END]))
    for source, prompt, found in zip(SOURCES, prompts, together, strict=True):
        (alone,) = beam_search(model, [prompt], search, sources=[source], end_ids=frozenset([END]))
        assert [one.ids for one in found] == [one.ids for one in alone]
        assert [one.score for one in found] == pytest.approx([one.score for one in alone], abs=1e-4)
        for one in found:
            if one.windowed:
                continue
            target = torch.tensor([[*prompt, *one.ids[:-1]]])
            with torch.no_grad():
                every = model(torch.tensor([source]), None, target)[0, len(prompt) - 1 :].log_softmax(-1)
            expected = every.gather(1, torch.tensor(one.ids)[:, None])[:, 0].tolist()
            assert list(one.logprobs) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_beam_one_equals_greedy_past_the_context_too(name: str) -> None:
    model = build(name)
    rows = Rows(model)
    for source in SOURCES:
        rows.add([END], Choice(temperature=0), max_new_tokens=17, stop_ids=frozenset([END]), source=source)
    greedy: dict[int, list[int]] = {at: [] for at in range(len(SOURCES))}
    while len(rows):
        for token in rows.step():
            greedy[token.row].append(token.id)
    search = Search(beam=1, max_new_tokens=17)
    found = beam_search(model, [[END]] * len(SOURCES), search, sources=SOURCES, end_ids=frozenset([END]))
    assert [list(best.ids) for (best,) in found] == list(greedy.values())
    assert any(best.windowed for (best,) in found) == (name == "transformer")
