"""The baseline's weights are those scikit-learn finds for the same counts, and it learns what it should."""

import numpy
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from headway.errors import ConfigError, DataError, UsageError
from headway.evaluation.bag_of_words import BagSettings, fit_bag_of_words

WORDS = [f"word{number}" for number in range(31)]
ONE = BagSettings(penalties=(0.5,))


def made_up(n_texts: int, labels: tuple[str, ...], seed: int = 3) -> tuple[list[str], list[str]]:
    """Texts of random words, each label with words of its own that come more often."""
    random = numpy.random.default_rng(seed)
    texts, chosen = [], []
    for _ in range(n_texts):
        label = int(random.integers(len(labels)))
        drawn = [
            WORDS[int(random.integers(5)) + 5 * label] if random.random() < 0.2 else WORDS[int(random.integers(31))]
            for _ in range(int(random.integers(1, 13)))
        ]
        texts.append(" ".join(drawn))
        chosen.append(labels[label])
    return texts, chosen


@pytest.mark.parametrize("labels", [("neg", "pos"), ("a", "b", "c")])
@pytest.mark.parametrize("weighting", ["tfidf", "counts"])
def test_probabilities_equal_those_of_scikit_learn(labels: tuple[str, ...], weighting: str) -> None:
    texts, chosen = made_up(211, labels)
    others, _ = made_up(37, labels, seed=4)
    bag = fit_bag_of_words(texts, chosen, settings=BagSettings(weighting=weighting, penalties=(0.5,)))  # type: ignore[arg-type]
    pattern = r"(?u)\w+"
    vectorizer = (
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=pattern, sublinear_tf=True)
        if weighting == "tfidf"
        else CountVectorizer(ngram_range=(1, 2), token_pattern=pattern)
    )
    rows = vectorizer.fit_transform(texts)
    regression = LogisticRegression(C=2.0, tol=1e-8, max_iter=2000).fit(rows, chosen)
    assert len(bag.features) == rows.shape[1]
    wanted = regression.predict_proba(vectorizer.transform(others))
    assert bag.labels == tuple(regression.classes_)
    assert numpy.abs(bag.probabilities(others) - wanted).max() < 1e-4


def test_label_sets_are_learnt_label_by_label() -> None:
    texts, chosen = made_up(149, ("a", "b"))
    sets = [(label, "c") if number % 2 else (label,) for number, label in enumerate(chosen)]
    bag = fit_bag_of_words(texts, sets, multi_label=True, settings=ONE)
    alone = fit_bag_of_words(texts, chosen, settings=ONE)
    assert bag.labels == ("a", "b", "c")
    assert bag.probabilities(texts)[:, 1] == pytest.approx(alone.probabilities(texts)[:, 1], abs=1e-4)
    assert set(bag.classify_sets(texts)[0]) <= {"a", "b", "c"}
    with pytest.raises(UsageError, match="classify_sets"):
        bag.classify(texts)


def test_a_rule_of_words_is_learnt_and_the_penalty_chosen_for_it() -> None:
    texts, chosen = made_up(499, ("neg", "pos"))
    held, right = made_up(499, ("neg", "pos"), seed=5)
    bag = fit_bag_of_words(texts, chosen)
    accuracy = numpy.mean([a == b for a, b in zip(bag.classify(held), right, strict=True)])
    assert accuracy > 0.6 and bag.penalty in bag.settings.penalties
    worst = fit_bag_of_words(texts, chosen, settings=BagSettings(penalties=(1e-4,)))

    def loss(fitted: object) -> float:
        rows = fitted.probabilities(held)  # type: ignore[attr-defined]
        return float(-numpy.log([row[int(label == "pos")] for row, label in zip(rows, right, strict=True)]).mean())

    assert loss(bag) < loss(worst)


def test_the_same_texts_give_the_same_weights() -> None:
    texts, chosen = made_up(101, ("neg", "pos"))
    first, second = fit_bag_of_words(texts, chosen), fit_bag_of_words(texts, chosen)
    assert first.features == second.features
    assert (first.probabilities(texts) == second.probabilities(texts)).all()


def test_words_go_without_case_and_runs_within_a_text() -> None:
    bag = fit_bag_of_words(["Good Film!", "bad film"], ["pos", "neg"], settings=ONE)
    assert set(bag.features) == {"good", "film", "!", "good film", "film !", "bad", "bad film"}
    assert fit_bag_of_words(["it's so", "it\u2019s no"], ["a", "b"], settings=BagSettings(run=1)).features.keys() == {
        "it's",
        "so",
        "it\u2019s",
        "no",
    }


def test_the_texts_of_a_pair_are_counted_apart() -> None:
    pairs = [("cat", "dog"), ("dog", "cat")] * 11
    bag = fit_bag_of_words(pairs, ["a", "b"] * 11, settings=BagSettings(penalties=(0.01,)))
    assert bag.classify(pairs[:2]) == ["a", "b"]


def test_texts_of_unknown_words_and_no_texts_are_taken() -> None:
    bag = fit_bag_of_words(["cat", "dog", "cat"], ["a", "b", "a"], settings=ONE)
    rows = bag.probabilities(["unheard", ""])
    assert rows.shape == (2, 2) and (rows[0] == rows[1]).all() and rows[0].argmax() == 0  # the commoner label
    assert bag.probabilities([]).shape == (0, 2)


def test_a_long_text_without_blanks_is_one_word() -> None:
    bag = fit_bag_of_words(["x" * 1_000_000, "y"], ["a", "b"], settings=ONE)
    assert len(bag.features) == 2


def test_what_cannot_be_learnt_is_refused() -> None:
    with pytest.raises(DataError, match=r"two labels or more.*\['a'\]"):
        fit_bag_of_words(["x", "y"], ["a", "a"])
    with pytest.raises(DataError, match="two labels or more"):
        fit_bag_of_words([], [])
    with pytest.raises(DataError, match="no word to count"):
        fit_bag_of_words(["", " "], ["a", "b"])
    with pytest.raises(UsageError, match="2 texts and 1 labels"):
        fit_bag_of_words(["x", "y"], ["a"])
    with pytest.raises(ConfigError, match="penalties"):
        BagSettings(penalties=())
    with pytest.raises(ConfigError, match="held_out"):
        BagSettings(held_out=1.0)
    with pytest.raises(ConfigError, match="run"):
        BagSettings(run=0)
