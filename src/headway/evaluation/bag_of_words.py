"""The baseline every classifier has to beat: logistic regression over a text's words and pairs of neighbouring words.

Weights are found by L-BFGS with an L2 penalty whose strength is chosen on a part of the training texts held out. Two
labels have one column of weights, more have one each under a softmax, several labels at once are apart (Murphy 2022,
Probabilistic Machine Learning, chapter 10).
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy
import torch
from torch.nn import functional

from headway.errors import ConfigError, DataError, TrainingError, UsageError

Text = str | tuple[str, str]
"""A text, or the two texts of a pair, whose words are kept apart."""

_WORDS = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")
_HELD_OUT_LEAST = 2  # fewer texts held out choose nothing


@dataclass(frozen=True, kw_only=True)
class BagSettings:
    """What is counted and how the weights are found.

    run: words in the longest run counted. weighting: "tfidf" takes 1 + log(count) times the rarity log((1 + N) /
    (1 + texts with it)) + 1 and makes each text's length 1; "counts" leaves counts as they are. least_texts: runs in
    fewer training texts are left out. penalties: strengths tried, of L2 per text trained on, as in (penalty / 2)
    |weights|^2 beside the sum of losses. held_out: the share on which they are tried; with one penalty nothing is.
    """

    run: int = 2
    weighting: Literal["tfidf", "counts"] = "tfidf"
    least_texts: int = 1
    penalties: tuple[float, ...] = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
    held_out: float = 0.1
    seed: int = 1

    def __post_init__(self) -> None:
        if self.run < 1 or self.least_texts < 1:
            raise ConfigError(f"run and least_texts must be at least 1, but got {self.run} and {self.least_texts}")
        if not self.penalties or min(self.penalties) <= 0:
            raise ConfigError(f"penalties must be one or more numbers above 0, but got {self.penalties}")
        if not 0.0 < self.held_out < 1.0:
            raise ConfigError(f"held_out must be between 0 and 1, but got {self.held_out}")


class _Counts(NamedTuple):
    """Texts as sparse rows: of text i the runs features[begins[i]:begins[i + 1]], and their values."""

    features: torch.Tensor  # (M,) int64
    values: torch.Tensor  # (M,) float64
    begins: torch.Tensor  # (N + 1,) int64

    def times(self, weights: torch.Tensor) -> torch.Tensor:
        """(F, C) -> (N, C)."""
        return functional.embedding_bag(
            self.features,
            weights,
            self.begins,
            mode="sum",
            per_sample_weights=self.values,
            include_last_offset=True,
        )

    def take(self, rows: "numpy.ndarray[Any, Any]") -> "_Counts":
        begins = self.begins.numpy()
        lengths = (begins[1:] - begins[:-1])[rows]
        ends = numpy.cumsum(lengths)
        places = numpy.arange(lengths.sum()) - numpy.repeat(ends - lengths - begins[rows], lengths)
        chosen = torch.from_numpy(places)
        return _Counts(
            self.features[chosen], self.values[chosen], torch.from_numpy(numpy.concatenate([[0], ends]).astype("int64"))
        )


class BagOfWords:
    """A fitted baseline: `labels` in the order of the columns of `probabilities`, `penalty` the strength chosen."""

    def __init__(
        self,
        settings: BagSettings,
        labels: tuple[str, ...],
        multi_label: bool,
        features: dict[str, int],
        rarity: "numpy.ndarray[Any, Any]",
    ) -> None:
        self.settings = settings
        self.labels = labels
        self.multi_label = multi_label
        self.features = features
        self.rarity = rarity
        columns = 1 if len(labels) == 2 and not multi_label else len(labels)
        self.weights = torch.zeros(len(features), columns, dtype=torch.float64)
        self.bias = torch.zeros(columns, dtype=torch.float64)
        self.penalty = settings.penalties[0]

    def probabilities(self, texts: Sequence[Text]) -> "numpy.ndarray[Any, Any]":
        """(N, labels): of each label; rows sum to 1 unless a text may have several."""
        if not texts:
            return numpy.zeros((0, len(self.labels)))
        logits = self.counts(texts).times(self.weights) + self.bias  # (N, C)
        if self.multi_label:
            return logits.sigmoid().numpy()
        if logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        return logits.softmax(dim=1).numpy()

    def classify(self, texts: Sequence[Text]) -> list[str]:
        """The likeliest label of each text. Raises UsageError where texts may have several."""
        if self.multi_label:
            raise UsageError("texts with several labels have no likeliest one; use classify_sets")
        return [self.labels[best] for best in self.probabilities(texts).argmax(axis=1)]

    def classify_sets(self, texts: Sequence[Text]) -> list[tuple[str, ...]]:
        """Each text's labels of probability 0.5 and more, for several labels a text."""
        return [
            tuple(label for label, value in zip(self.labels, row, strict=True) if value >= 0.5)
            for row in self.probabilities(texts)
        ]

    def counts(self, texts: Sequence[Text]) -> _Counts:
        """The texts' sparse rows; runs that no training text had are passed over."""
        features: list[int] = []
        values: list[float] = []
        begins = [0]
        for text in texts:
            known = Counter(
                place for run in _runs(text, self.settings.run) if (place := self.features.get(run, -1)) >= 0
            )
            features += known.keys()
            values += known.values()
            begins.append(len(features))
        weights, ends = numpy.array(values, dtype=numpy.float64), numpy.array(begins)
        if self.settings.weighting == "tfidf" and len(weights):
            weights = (1.0 + numpy.log(weights)) * self.rarity[features]
            rows = numpy.repeat(numpy.arange(len(texts)), numpy.diff(ends))
            weights /= numpy.sqrt(numpy.bincount(rows, weights**2, minlength=len(texts)))[rows]
        return _Counts(
            torch.tensor(features, dtype=torch.int64), torch.from_numpy(weights), torch.from_numpy(ends.astype("int64"))
        )


def fit_bag_of_words(
    texts: Sequence[Text],
    labels: Sequence[str] | Sequence[Collection[str]],
    *,
    multi_label: bool = False,
    settings: BagSettings | None = None,
) -> BagOfWords:
    """The baseline of labelled texts; with multi_label each of `labels` is a collection.

    The same texts, labels and settings give the same weights. Raises UsageError where texts and labels differ in
    number, DataError for no text, or fewer than two labels (one, where a text may have several).
    """
    settings = settings or BagSettings()
    if len(texts) != len(labels):
        raise UsageError(f"each text must have its label, but there are {len(texts)} texts and {len(labels)} labels")
    sets = [tuple(label) if multi_label else (str(label),) for label in labels]
    names = tuple(sorted({name for chosen in sets for name in chosen}))
    if len(names) < (1 if multi_label else 2):
        raise DataError(
            f"a classifier needs texts with two labels or more, but got {len(texts)} texts with {list(names)}\n"
            "Give training texts of every label."
        )
    bag = BagOfWords(settings, names, multi_label, *_features(texts, settings))
    counts = bag.counts(texts)
    places = {name: place for place, name in enumerate(names)}
    targets = torch.zeros(len(texts), len(names), dtype=torch.float64)
    for row, chosen in enumerate(sets):
        targets[row, [places[name] for name in chosen]] = 1.0
    if bag.bias.numel() == 1 and not multi_label:
        targets = targets[:, 1:]
    bag.penalty = _choose_penalty(counts, targets, bag)
    bag.weights, bag.bias = _fit(counts, targets, bag.penalty, bag)
    return bag


def _runs(text: Text, longest: int) -> Iterator[str]:
    """The words of a text in lower case, and its runs of up to `longest` words; a pair's second text is marked."""
    for mark, part in (("", text),) if isinstance(text, str) else (("", text[0]), ("\t", text[1])):
        words = _WORDS.findall(part.lower())
        for length in range(1, longest + 1):
            for begin in range(len(words) - length + 1):
                yield mark + " ".join(words[begin : begin + length])


def _features(texts: Sequence[Text], settings: BagSettings) -> "tuple[dict[str, int], numpy.ndarray[Any, Any]]":
    """The runs in enough texts, numbered in the order of their first use, and the rarity of each."""
    found: Counter[str] = Counter()
    for text in texts:
        found.update(list(dict.fromkeys(_runs(text, settings.run))))
    kept = [run for run, count in found.items() if count >= settings.least_texts]
    if not kept:
        raise DataError(
            f"there is no word to count in {len(texts)} texts (a word must stand in {settings.least_texts} or more)\n"
            "Give texts with words, or a smaller least_texts."
        )
    counts = numpy.array([found[run] for run in kept], dtype=numpy.float64)
    rarity = numpy.log((1.0 + len(texts)) / (1.0 + counts)) + 1.0
    return {run: place for place, run in enumerate(kept)}, rarity


def _choose_penalty(counts: _Counts, targets: torch.Tensor, bag: BagOfWords) -> float:
    """The penalty under which texts held out are likeliest; strong ones first, each going on from the one before."""
    settings = bag.settings
    if len(settings.penalties) == 1:
        return settings.penalties[0]
    order = numpy.random.default_rng(settings.seed).permutation(len(targets))
    n_held = max(_HELD_OUT_LEAST, round(settings.held_out * len(targets)))
    if n_held > len(targets) // 2:
        return sorted(settings.penalties)[len(settings.penalties) // 2]  # too few texts to choose by: the middle one
    held, rest = numpy.sort(order[:n_held]), numpy.sort(order[n_held:])
    train, valid = counts.take(rest), counts.take(held)
    best, least, start = settings.penalties[0], float("inf"), (bag.weights, bag.bias)
    for penalty in sorted(settings.penalties, reverse=True):
        start = _fit(train, targets[rest], penalty, bag, start)
        loss = float(_loss(valid.times(start[0]) + start[1], targets[held], bag.multi_label))
        if loss < least:
            best, least = penalty, loss
    return best


def _loss(logits: torch.Tensor, targets: torch.Tensor, multi_label: bool) -> torch.Tensor:
    """The sum of losses in nats of (N, C) logits against (N, C) targets of 0 and 1."""
    if multi_label or logits.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    return functional.cross_entropy(logits, targets, reduction="sum")


def _fit(
    counts: _Counts,
    targets: torch.Tensor,
    penalty: float,
    bag: BagOfWords,
    start: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (F, C) and bias (C,) with the least penalised loss; the bias is not penalised, the loss is convex."""
    weights, bias = (part.clone().requires_grad_() for part in start or (bag.weights, bag.bias))
    optimiser = torch.optim.LBFGS(
        [weights, bias],
        max_iter=500,
        tolerance_grad=1e-6,
        tolerance_change=1e-9,
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = _loss(counts.times(weights) + bias, targets, bag.multi_label) + penalty / 2 * weights.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    if not bool(torch.isfinite(weights).all()):
        raise TrainingError("the baseline's weights are not finite\nUse stronger penalties.")
    return weights.detach(), bias.detach()
