"""The copy and reverse benchmark, tiny: what it counts as right, which head it picks, and that it runs to its end."""

import json
import sys

import numpy
import pytest


@pytest.fixture
def copy_reverse(monkeypatch):
    import copy_reverse

    monkeypatch.setattr(copy_reverse, "TRAINED", ((5, 7),))
    monkeypatch.setattr(copy_reverse, "BUCKETS", ((5, 7), (8, 9)))
    return copy_reverse


class Backwards:
    """Translates by reversing, but loses the last word of what is longer than seven words."""

    class Translation:
        def __init__(self, text):
            self.text = text

    def translate(self, sources, *, beam):
        assert beam == 1
        made = [source.split()[::-1] for source in sources]
        return [self.Translation(" ".join(words[:-1] if len(words) > 7 else words)) for words in made]


def test_only_whole_sentences_count(copy_reverse):
    buckets = copy_reverse.measure("reverse", Backwards(), 11, seed=0)
    assert [(one.low, one.sentences, one.exact) for one in buckets] == [(5, 11, 11), (8, 11, 0)]
    outcome = copy_reverse.Outcome(
        task="reverse", family="x", parameters=1, steps=1, seconds=1.0, buckets=buckets, aligned=None, head=None
    )
    assert outcome.share(trained=True) == 1.0 and outcome.share(trained=False) == 0.0
    assert copy_reverse.measure("copy", Backwards(), 11, seed=0)[0].exact == 0


def test_alignment_is_judged_by_layer_and_head(copy_reverse):
    maps = numpy.zeros((2, 1, 3, 4))  # three words and the end
    maps[0, 0, [0, 1, 2], [0, 1, 2]] = 1.0
    maps[1, 0, [0, 1, 2], [2, 1, 0]] = 1.0
    maps[..., 3] = 5.0  # what goes to the end is no word
    assert copy_reverse.one_sentence("copy", maps).tolist() == [[1.0], [pytest.approx(1 / 3)]]
    assert copy_reverse.one_sentence("reverse", maps).tolist() == [[pytest.approx(1 / 3)], [1.0]]


def test_test_sentences_are_none_of_the_training_pairs(copy_reverse, tmp_path):
    copy_reverse.write_pairs(tmp_path, "copy", 200, seed=0)
    trained = {json.loads(line)["source"] for line in (tmp_path / "train.jsonl").read_text().splitlines()}
    assert not trained & set(copy_reverse.sentences("copy", 15, 20, 50, seed=0))


def test_it_runs_to_its_figures(copy_reverse, tmp_path, monkeypatch, capsys):
    words = ["--steps", "1", "--tasks", "reverse", "--families", "rnn-fixed,transformer", "--pairs", "60"]
    figures = ["--sentences", "2", "--batch-tokens", "200", "--figures", str(tmp_path / "figures")]
    monkeypatch.setattr(sys, "argv", ["copy_reverse.py", *words, *figures])
    copy_reverse.main()
    printed = capsys.readouterr().out
    assert "reverse  rnn-fixed" in printed and "has none" in printed and "(layer, head (" in printed
    assert (tmp_path / "figures" / "reverse.svg").read_text().startswith("<svg")
    outcomes = json.loads((tmp_path / "figures" / "outcomes.json").read_text())
    sizes = [outcome["parameters"] for outcome in outcomes]
    assert max(sizes) < 1.02 * min(sizes)
