"""The bottleneck measured: which words of a source can be read out of what the decoder may read of it, by length.

Every trained model is frozen. From what its decoder may read of a sentence a linear probe (ridge regression in closed
form, fitted on training sentences) scores each of the frequent source ids; as many ids are named as there are different
frequent ones in the sentence, and recall is the share of them that are right. A model that keeps one summary of the
source is read through that summary. Of one that keeps annotations two things are read: their mean over the positions,
one vector again, and each position by itself, where an id's score is its highest over the positions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from headway.errors import DataError
from headway.evaluation.lengths import LEAST, Bucket, length_buckets
from headway.evaluation.references import TestSet
from headway.formats.folder import load
from headway.studies.division import load_division, part
from headway.studies.noise import mean_interval
from headway.studies.plan import Plan
from headway.studies.systems import System, model_folder
from headway.text.tokenizer import Tokenizer
from headway.training.report import Reporter

READINGS = {
    "summary": "the one vector the decoder reads",
    "mean": "the mean of the annotations",
    "positions": "each annotation by itself",
}
"""What a probe reads."""

Numbers = NDArray[numpy.float32]

_SENTENCES_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """training_sentences: the probe is fitted on; frequent: how many of the most frequent ids it tells apart.

    ridges: the penalties tried, as shares of the mean squared feature; the best on a tenth of the training sentences is
    taken. Nothing that differs between the models.
    """

    training_sentences: int = 4000
    frequent: int = 800
    ridges: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True, kw_only=True)
class Readout:
    """What was read of N sentences: features (N, D), or of every position (tokens, D); owners: whose each row is."""

    features: Tensor
    owners: Tensor
    ids: Tensor  # (rows,) a position's own id; -1 where a row is a whole sentence


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A fitted one: (features - mean) / deviation, turned to `axes`, times `weights`, plus `bias`."""

    mean: Tensor
    deviation: Tensor
    axes: Tensor
    weights: Tensor
    bias: Tensor

    def scores(self, features: Tensor) -> Tensor:
        """(rows, D) -> (rows, frequent)."""
        return ((features - self.mean) / self.deviation) @ self.axes @ self.weights + self.bias


def probe_systems(
    plan: Plan, folder: Path, systems: Sequence[System], test: TestSet, reporter: Reporter
) -> dict[str, Any]:
    """Probe every final model on the test sources; the table that the report shows."""
    settings = ProbeSettings()
    tokenizer = Tokenizer.load(folder / "tokenizer")
    seen = set(test.sources)
    every = max(1, load_division(folder).train // settings.training_sentences)  # files of pairs are often sorted
    training = (pair.source for pair in islice(part(folder, "train"), 0, None, every) if pair.source not in seen)
    longest = int(plan.families[0].recipe["data"]["longest"])
    fitted_on = _encoded(tokenizer, list(dict.fromkeys(islice(training, settings.training_sentences))), longest)
    frequent = frequent_ids(fitted_on, settings.frequent)
    asked_for = set(frequent)
    held_out = [ids for ids in _encoded(tokenizer, test.sources, longest) if asked_for.intersection(ids)]
    if not held_out:
        raise DataError("no test source has a word that is frequent in training, so there is nothing to probe for")
    models = {system.result.family: model_folder(folder, system.result) for system in reversed(systems)}
    end = tokenizer.end_of_text or 0
    size = min(_feature_width(_opened(path), end) for path in models.values())
    lengths = numpy.array([len(ids) for ids in held_out])
    buckets = length_buckets(lengths, least=min(LEAST, max(1, len(lengths) // 2)))
    recalls: dict[tuple[str, str, int], list[Numbers]] = {}
    for system in systems:
        reporter.note(f"probes {system.family}, seed {system.result.seed}")
        model = _opened(model_folder(folder, system.result))
        for (reading, own), found in probe_model(model, end, fitted_on, held_out, frequent, (size, settings)).items():
            recalls.setdefault((system.family, reading, own), []).append(found)
    floor = recall(torch.zeros(len(held_out), len(frequent)) - torch.arange(len(frequent)), held_out, frequent)
    return {
        "settings": asdict(settings),
        "training_sentences": len(fitted_on),
        "test_sentences": len(held_out),
        "ids": len(frequent),
        "feature_size": size,
        "curves": [
            {
                "family": family,
                "reading": reading,
                "meaning": READINGS[reading],
                "features": own,
                **_curve(found, lengths, buckets),
            }
            for (family, reading, own), found in recalls.items()
        ],
        "floor": {"meaning": "the most frequent ids, whatever the sentence", **_curve([floor], lengths, buckets)},
    }


def probe_model(
    model: Any,
    end: int,
    fitted_on: Sequence[Sequence[int]],
    held_out: Sequence[Sequence[int]],
    frequent: Sequence[int],
    chosen: tuple[int, ProbeSettings],
) -> dict[tuple[str, int], Numbers]:
    """Recall of each held-out sentence (N,), by what is read and how many features of it; NaN without a frequent id.

    chosen: how many features a probe gets, and the settings; what has more is also read with all of them.
    """
    size, settings = chosen
    found = {}
    train, test = read_out(model, fitted_on, end), read_out(model, held_out, end)
    for reading, readout in train.items():
        wanted = _wanted(readout, fitted_on, frequent)
        for own in dict.fromkeys((size, readout.features.shape[1])):
            scores = fit(readout, wanted, own, settings.ridges).scores(test[reading].features)
            over = _over_positions(scores, test[reading].owners, len(held_out))
            found[reading, own] = recall(over, held_out, frequent)
    return found


@torch.no_grad()
def read_out(model: Any, sentences: Sequence[Sequence[int]], end: int) -> dict[str, Readout]:
    """What the decoder may read of the sentences, ends included: a summary, or annotations; see `reads_summary`."""
    model.eval()
    summarised = reads_summary(model, end)
    parts: dict[str, list[Readout]] = {}
    order = sorted(range(len(sentences)), key=lambda place: (len(sentences[place]), place))
    for first in range(0, len(order), _SENTENCES_AT_ONCE):
        places = order[first : first + _SENTENCES_AT_ONCE]
        rows = [[*sentences[place], end] for place in places]
        lengths = torch.tensor([len(row) for row in rows])
        source = torch.full((len(rows), int(lengths.max())), end)
        for row, ids in enumerate(rows):
            source[row, : len(ids)] = torch.tensor(ids)
        owners = torch.tensor(places)
        if summarised:
            memory = model.start(source, lengths, rows=range(len(rows))).memory
            read = torch.cat([tensor.flatten(1) for tensor in memory.tensors], dim=1)  # (B, all that is read)
            parts.setdefault("summary", []).append(_whole(read, owners))
            continue
        annotations = model.encode(source, lengths)  # (B, S, D)
        mask = torch.arange(source.shape[1]) < lengths[:, None]
        mean = (annotations * mask[:, :, None]).sum(1) / lengths[:, None]
        parts.setdefault("mean", []).append(_whole(mean, owners))
        spread = owners[:, None].expand_as(mask)
        each = Readout(features=annotations[mask].float(), owners=spread[mask], ids=source[mask])
        parts.setdefault("positions", []).append(each)
    return {reading: _joined(found) for reading, found in parts.items()}


@torch.no_grad()
def reads_summary(model: Any, end: int) -> bool:
    """Whether all that a decoder reads of a source is of one size, however long the source is.

    Then no tensor of its memory (nn/source_memory.py) has a second position for a source of two tokens.
    """
    memory = model.start(torch.full((1, 2), end), torch.tensor([2]), rows=1).memory
    return all(tensor.shape[-2] == 1 for tensor in memory.tensors)


def frequent_ids(sentences: Sequence[Sequence[int]], count: int) -> list[int]:
    """The most frequent ids of some sentences, the lower of two that are equally so first."""
    flat = numpy.concatenate([numpy.asarray(ids, dtype=numpy.int64) for ids in sentences if len(ids)])
    ids, counts = numpy.unique(flat, return_counts=True)
    return [int(one) for one in ids[numpy.lexsort((ids, -counts))][:count]]


def fit(readout: Readout, wanted: Tensor, size: int, ridges: Sequence[float]) -> Probe:
    """Ridge regression from the first `size` principal axes of the standardised features to `wanted` (rows, ids).

    The penalty is the one with the least squared error on every tenth sentence, which the fit then leaves out.
    """
    features = readout.features.double()
    mean, deviation = features.mean(0), features.std(0).clamp(min=1e-6)
    standard = (features - mean) / deviation
    _, axes = torch.linalg.eigh(standard.T @ standard)
    turned = standard @ axes.flip(1)[:, :size]
    aside = readout.owners % 10 == 0
    inner, target = turned[~aside], wanted[~aside].double()
    bias = target.mean(0)
    gram, cross = inner.T @ inner, inner.T @ (target - bias)
    scale = gram.diagonal().mean()
    best, lowest = torch.zeros_like(cross), float("inf")
    for ridge in ridges:
        weights = torch.linalg.solve(gram + ridge * scale * torch.eye(len(gram), dtype=gram.dtype), cross)
        error = float(((turned[aside] @ weights + bias - wanted[aside]) ** 2).mean()) if bool(aside.any()) else 0.0
        if error < lowest:
            best, lowest = weights, error
    return Probe(
        mean=mean.float(),
        deviation=deviation.float(),
        axes=axes.flip(1)[:, :size].float(),
        weights=best.float(),
        bias=bias.float(),
    )


def recall(scores: Tensor, sentences: Sequence[Sequence[int]], frequent: Sequence[int]) -> Numbers:
    """The share of each sentence's k different frequent ids that are among its k best scores (N, frequent)."""
    place = {one: number for number, one in enumerate(frequent)}
    found = numpy.full(len(sentences), numpy.nan, dtype=numpy.float32)
    for number, ids in enumerate(sentences):
        there = {place[one] for one in ids if one in place}
        if there:
            named = scores[number].topk(len(there)).indices.tolist()
            found[number] = len(there.intersection(named)) / len(there)
    return found


def _opened(folder: Path) -> Any:
    return load(folder, dtype="float32")[0]


def _encoded(tokenizer: Tokenizer, texts: Sequence[str], longest: int) -> list[list[int]]:
    """The ids of each text, of those past the longest that was trained on the first ones."""
    return [[int(one) for one in ids[:longest]] for ids in tokenizer.encode_corpus(texts)]


def _feature_width(model: Any, end: int) -> int:
    return min(readout.features.shape[1] for readout in read_out(model, [[end, end]], end).values())


def _wanted(readout: Readout, sentences: Sequence[Sequence[int]], frequent: Sequence[int]) -> Tensor:
    """(rows, frequent): 1 at a position's own id, or at every frequent id of a sentence."""
    place = {one: number for number, one in enumerate(frequent)}
    wanted = torch.zeros(len(readout.owners), len(frequent))
    for row, (owner, own) in enumerate(zip(readout.owners.tolist(), readout.ids.tolist(), strict=True)):
        for one in sentences[owner] if own < 0 else (own,):
            if one in place:
                wanted[row, place[one]] = 1.0
    return wanted


def _over_positions(scores: Tensor, owners: Tensor, n_sentences: int) -> Tensor:
    """(rows, ids) -> (N, ids): the highest score of a sentence's rows."""
    highest = torch.full((n_sentences, scores.shape[1]), -torch.inf)
    return highest.scatter_reduce(0, owners[:, None].expand_as(scores), scores, "amax")


def _whole(features: Tensor, owners: Tensor) -> Readout:
    return Readout(features=features.float(), owners=owners, ids=torch.full_like(owners, -1))


def _joined(parts: Sequence[Readout]) -> Readout:
    return Readout(
        features=torch.cat([one.features for one in parts]),
        owners=torch.cat([one.owners for one in parts]),
        ids=torch.cat([one.ids for one in parts]),
    )


def _curve(found: Sequence[Numbers], lengths: Any, buckets: Sequence[Bucket]) -> Mapping[str, Any]:
    """Mean recall in all and by length; the interval is over seeds and sentences, over sentences alone for one seed."""
    everything = Bucket(low=int(lengths.min()), high=int(lengths.max()), members=numpy.arange(len(lengths)))
    whole, *points = (_point(found, lengths, bucket) for bucket in (everything, *buckets))
    return {"recall": whole, "by_length": points}


def _point(found: Sequence[Numbers], lengths: Any, bucket: Bucket) -> dict[str, Any]:
    values = [one[bucket.members] for one in found]
    means = [float(numpy.nanmean(one)) for one in values]
    over_seeds = numpy.nanmean(numpy.stack(values), axis=0)
    counted = int(numpy.count_nonzero(~numpy.isnan(over_seeds)))
    spread = float(numpy.nanstd(over_seeds)) / max(counted, 1) ** 0.5
    interval = mean_interval(means, sentences=spread)
    mean = fmean(means)
    return {
        "tokens_from": bucket.low,
        "tokens_to": bucket.high,
        "mean_tokens": float(lengths[bucket.members].mean()),
        "sentences": counted,
        "recall": mean,
        "low": max(0.0, mean - 1.96 * spread if interval is None else interval.low),
        "high": min(1.0, mean + 1.96 * spread if interval is None else interval.high),
    }
