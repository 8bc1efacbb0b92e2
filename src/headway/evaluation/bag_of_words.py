"""The baseline every classifier has to beat: logistic regression over a text's words and pairs of neighbouring words.

Weights are found by L-BFGS with an L2 penalty whose strength is chosen on a part of the training texts held out. Two
labels have one column of weights, more have one each under a softmax, several labels at once are apart (Murphy 2022,
Probabilistic Machine Learning, chapter 10).
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy
import torch
from torch.nn import functional

from headway.errors import ConfigError, DataError, TrainingError, UsageError

Array = numpy.ndarray[Any, Any]

Text = str | tuple[str, str]
"""A text, or the two texts of a pair, whose words are kept apart."""

_WORDS = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")
_HELD_OUT_LEAST = 2  # fewer texts held out choose nothing
_ROUGH, _EXACT = 1e-5, 1e-7  # the largest slope left, of the mean loss of a text


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
    penalties: tuple[float, ...] = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
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
    """Texts as sparse rows: entry m says that text rows[m] has the run features[m] with values[m]; rows ascend."""

    rows: Array  # (M,) int64
    features: Array  # (M,) int64
    values: Array  # (M,) float64
    n_texts: int

    def times(self, weights: Array) -> Array:
        """(F, C) -> (N, C)."""
        columns = [numpy.bincount(self.rows, self.values * column[self.features], self.n_texts) for column in weights.T]
        return numpy.stack(columns, axis=1)

    def gradient(self, slopes: Array, n_features: int) -> Array:
        """The transpose: (N, C) -> (F, C)."""
        columns = [numpy.bincount(self.features, self.values * column[self.rows], n_features) for column in slopes.T]
        return numpy.stack(columns, axis=1)

    def take(self, chosen: Array) -> "_Counts":
        """The texts of these ascending numbers alone."""
        new = numpy.full(self.n_texts, -1)
        new[chosen] = numpy.arange(len(chosen))
        kept = new[self.rows] >= 0
        return _Counts(new[self.rows[kept]], self.features[kept], self.values[kept], len(chosen))


class BagOfWords:
    """A fitted baseline: `labels` in the order of the columns of `probabilities`, `penalty` the strength chosen."""

    def __init__(
        self,
        settings: BagSettings,
        labels: tuple[str, ...],
        multi_label: bool,
        features: dict[str, int],
        rarity: Array,
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

    def probabilities(self, texts: Sequence[Text]) -> Array:
        """(N, labels): of each label; rows sum to 1 unless a text may have several."""
        if not texts:
            return numpy.zeros((0, len(self.labels)))
        logits = torch.from_numpy(self.counts(texts).times(self.weights.numpy())) + self.bias  # (N, C)
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
        values: list[int] = []
        lengths: list[int] = []
        for text in texts:
            known = Counter(
                place for run in _runs(text, self.settings.run) if (place := self.features.get(run, -1)) >= 0
            )
            features += known.keys()
            values += known.values()
            lengths.append(len(known))
        rows = numpy.repeat(numpy.arange(len(texts)), lengths)
        places, weights = numpy.array(features, dtype=numpy.int64), numpy.array(values, dtype=numpy.float64)
        if self.settings.weighting == "tfidf":
            weights = (1.0 + numpy.log(weights)) * self.rarity[places]
            weights /= numpy.sqrt(numpy.bincount(rows, weights**2, minlength=len(texts)))[rows]
        return _Counts(rows, places, weights, len(texts))


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


def _features(texts: Sequence[Text], settings: BagSettings) -> tuple[dict[str, int], Array]:
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
    best, least, start = settings.penalties[0], math.inf, None
    for penalty in sorted(settings.penalties, reverse=True):
        start = _fit(train, targets[rest], penalty, bag, start=start, tolerance=_ROUGH)
        logits = torch.from_numpy(valid.times(start[0].numpy())) + start[1]
        loss = float(_loss(logits, targets[held], bag.multi_label))
        if loss >= least:
            break  # held-out loss falls, then rises, as the penalty is let go
        best, least = penalty, loss
    return best


def _loss(logits: torch.Tensor, targets: torch.Tensor, multi_label: bool) -> torch.Tensor:
    """The mean over texts of the losses in nats of (N, C) logits against (N, C) targets of 0 and 1."""
    if multi_label or logits.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(logits)
    return functional.cross_entropy(logits, targets)


def _fit(
    counts: _Counts,
    targets: torch.Tensor,
    penalty: float,
    bag: BagOfWords,
    *,
    start: tuple[torch.Tensor, torch.Tensor] | None = None,
    tolerance: float = _EXACT,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (F, C) and bias (C,) with the least penalised loss; the bias is not penalised, the loss is convex."""
    weights, bias = (part.clone() for part in start or (bag.weights, bag.bias))
    weights.requires_grad_()
    bias.requires_grad_()
    optimiser = torch.optim.LBFGS(
        [weights, bias],
        max_iter=1000,
        tolerance_grad=tolerance,
        tolerance_change=0.0,
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        """The gradient through the sparse rows is written out: torch has no quick sparse product on the CPU."""
        values = weights.detach()
        logits = torch.from_numpy(counts.times(values.numpy())).add_(bias.detach()).requires_grad_()
        loss = _loss(logits, targets, bag.multi_label)
        (slopes,) = torch.autograd.grad(loss, logits)
        shrink = penalty / len(targets)
        weights.grad = torch.from_numpy(counts.gradient(slopes.numpy(), len(weights))).add_(values, alpha=shrink)
        bias.grad = slopes.sum(dim=0)
        return float(loss.detach()) + shrink / 2 * float(values.square().sum())

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    if not bool(torch.isfinite(weights).all()):
        raise TrainingError("the baseline's weights are not finite\nUse stronger penalties.")
    return weights.detach(), bias.detach()
