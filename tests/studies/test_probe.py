"""The probe: finds what is there, finds no more than chance where nothing is, and names what it reads."""

import numpy
import pytest
import torch

from headway.models.rnn_search import RNNSearch, RNNSearchConfig
from headway.models.transformer import Transformer
from headway.models.transformer_sizes import TransformerConfig
from headway.studies.probe import Readout, fit, frequent_ids, read_out, reads_summary, recall

END, WORDS = 0, 19


def sentences(count: int, seed: int) -> list[list[int]]:
    generator = numpy.random.default_rng(seed)
    return [generator.integers(1, WORDS, size=generator.integers(2, 7)).tolist() for _ in range(count)]


def bags(rows: list[list[int]]) -> torch.Tensor:
    found = torch.zeros(len(rows), WORDS)
    for row, ids in enumerate(rows):
        found[row, ids] = 1.0
    return found


def probed(features: torch.Tensor, rows: list[list[int]]) -> Readout:
    return Readout(features=features, owners=torch.arange(len(rows)), ids=torch.full((len(rows),), -1))


def test_words_that_lie_open_in_the_features_are_all_found() -> None:
    torch.manual_seed(2)
    train, test = sentences(300, 1), sentences(50, 2)
    mixing = torch.randn(WORDS, 23)
    frequent = list(range(WORDS))
    probe = fit(probed(bags(train) @ mixing, train), bags(train), 23, (1e-4, 1.0))
    found = recall(probe.scores(bags(test) @ mixing), test, frequent)
    assert float(numpy.mean(found)) > 0.99


def test_nothing_is_found_in_noise_beyond_what_frequency_gives() -> None:
    torch.manual_seed(2)
    train, test = sentences(300, 1), sentences(200, 2)
    frequent = list(range(WORDS))
    probe = fit(probed(torch.randn(300, 11), train), bags(train), 11, (1e-2, 1.0, 100.0))
    found = float(numpy.mean(recall(probe.scores(torch.randn(200, 11)), test, frequent)))
    assert found < 0.35


def test_a_smaller_vector_of_the_same_words_gives_fewer_back() -> None:
    torch.manual_seed(2)
    train, test = sentences(400, 1), sentences(100, 2)
    frequent, means = list(range(WORDS)), []
    for size in (3, 8, 19):
        mixing = torch.randn(WORDS, size)
        probe = fit(probed(bags(train) @ mixing, train), bags(train), size, (1e-4, 1e-2))
        means.append(float(numpy.mean(recall(probe.scores(bags(test) @ mixing), test, frequent))))
    assert means[0] < means[1] - 0.05 and means[1] < means[2] - 0.05


def test_recall_is_the_share_of_the_different_frequent_ids_named() -> None:
    scores = torch.tensor([[0.9, 0.1, 0.5, 0.4], [0.9, 0.8, 0.1, 0.2], [0.0, 0.0, 0.0, 0.0]])
    found = recall(scores, [[3, 5, 5, 99], [5, 3], [99]], frequent=[3, 4, 5, 6])
    assert found[0] == 1.0  # 3 and 5 are first and third of four, and the two best
    assert found[1] == 0.5
    assert numpy.isnan(found[2])


def test_frequent_ids_are_the_most_frequent_first() -> None:
    assert frequent_ids([[7, 7, 3], [3, 7, 9, 2]], 3) == [7, 3, 2]


def test_what_is_read_of_each_kind_of_model() -> None:
    torch.manual_seed(1)
    sizes = {"vocabulary": 23, "width": 6, "embedding": 5, "maxout": 4}
    fixed = RNNSearch(RNNSearchConfig(attention="fixed", **sizes)).eval()
    attending = RNNSearch(RNNSearchConfig(**sizes)).eval()
    transformer = Transformer(
        TransformerConfig(vocabulary=23, width=6, n_heads=2, encoder_layers=1, decoder_layers=1, feed_forward=5)
    ).eval()
    assert [reads_summary(model, END) for model in (fixed, attending, transformer)] == [True, False, False]
    rows = [[3, 4, 5], [7]]
    assert set(read_out(fixed, rows, END)) == {"summary"}
    for model, width in ((attending, 12), (transformer, 6)):
        found = read_out(model, rows, END)
        assert found["mean"].features.shape == (2, width)
        assert found["positions"].features.shape == (6, width)  # four and two positions, ends included
        assert sorted(found["positions"].ids.tolist()) == [END, END, 3, 4, 5, 7]
        assert found["positions"].owners.tolist().count(0) == 4
        alone = model.encode(torch.tensor([[3, 4, 5, END]]), torch.tensor([4]))[0]
        first = found["mean"].owners.tolist().index(0)
        assert torch.allclose(found["mean"].features[first], alone.mean(0), atol=1e-6)


def test_a_probe_has_the_size_it_is_given_whatever_the_features_have() -> None:
    torch.manual_seed(2)
    train = sentences(100, 1)
    probe = fit(probed(torch.randn(100, 29), train), bags(train), 7, (1.0,))
    assert probe.weights.shape == (7, WORDS)
    assert probe.scores(torch.randn(3, 29)).shape == (3, WORDS)


@pytest.mark.parametrize("ridge", [1e-6, 1e6])
def test_the_penalty_is_chosen_on_sentences_the_fit_has_not_seen(ridge: float) -> None:
    torch.manual_seed(2)
    train = sentences(60, 1)
    useless, useful = torch.randn(60, 40), bags(train)
    for features, best in ((useless, 1e6), (useful, 1e-6)):
        chosen = fit(probed(features, train), bags(train), 40, (1e-6, 1e6))
        alone = fit(probed(features, train), bags(train), 40, (ridge,))
        assert torch.equal(chosen.weights, alone.weights) == (best == ridge)
