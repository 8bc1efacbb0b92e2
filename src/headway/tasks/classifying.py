"""What a text is: probabilities of labels, calibrated as the folder says, and none where the reader is not sure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headway.errors import UsageError
from headway.models.calibration import threshold_for
from headway.tasks.reading import Opened, rows_of


@dataclass(frozen=True, kw_only=True)
class Classification:
    """A text's label.

    label: the likeliest, None where the reader abstained, or where a multi-label reader finds none; probability: its
    own. probabilities: of every label. labels: those chosen, of which only a multi-label reader has more than one.
    windows: in how many pieces the text was read.
    """

    label: str | None
    probability: float
    probabilities: Mapping[str, float]
    labels: tuple[str, ...]
    abstained: bool
    windows: int


def label_logits(reader: Opened, texts: Sequence[str], seconds: Sequence[str] | None) -> tuple[Tensor, list[int]]:
    """Each text's logits (N, L), and in how many windows it was read, whose log-probabilities are averaged."""
    firsts = [ids.tolist() for ids in reader.tokenizer.encode_corpus(texts)]
    others = None if seconds is None else [ids.tolist() for ids in reader.tokenizer.encode_corpus(seconds)]
    rows = [
        row
        for number, ids in enumerate(firsts)
        for row in rows_of(reader, number, ids, None if others is None else others[number])
    ]
    total = torch.zeros(len(texts), len(reader.settings.labels), dtype=torch.float64)
    counts = [0] * len(texts)
    for some, states, lengths in reader.states(rows):
        with torch.no_grad():
            logits = reader.model.read_head(states, lengths).double().cpu()
        for row, values in zip(some, logits, strict=True):
            total[row.text] += values if reader.settings.multi_label else values.log_softmax(dim=-1)
            counts[row.text] += 1
    return total / torch.tensor(counts, dtype=torch.float64).clamp(min=1)[:, None], counts


def classify(
    reader: Opened,
    texts: Sequence[str],
    seconds: Sequence[str] | None,
    *,
    error_rate: float | None,
    threshold: float | None,
) -> list[Classification]:
    """Each text's label; None where the reader is less sure than asked for.

    error_rate: abstain so that at most this share of the answers is wrong, by the folder's table. threshold: abstain
    below this probability. Raises UsageError for both, or where the table cannot promise the rate.
    """
    wanted = _threshold(reader, error_rate, threshold)
    logits, counts = label_logits(reader, texts, seconds)
    labels, scaled = reader.settings.labels, logits / reader.settings.temperature
    several = reader.settings.multi_label
    found = []
    for row, n_windows in zip(scaled.sigmoid() if several else scaled.softmax(dim=-1), counts, strict=True):
        values = row.tolist()
        best = max(range(len(labels)), key=values.__getitem__)
        chosen = tuple(label for label, value in zip(labels, values, strict=True) if several and value >= 0.5)
        sure = min(max(value, 1 - value) for value in values) if several else values[best]
        abstained = wanted is not None and sure < wanted
        if not several:
            chosen = (labels[best],)
        found.append(
            Classification(
                label=None if abstained or not chosen else labels[best],
                probability=values[best],
                probabilities=dict(zip(labels, values, strict=True)),
                labels=() if abstained else chosen,
                abstained=abstained,
                windows=n_windows,
            )
        )
    return found


def _threshold(reader: Opened, error_rate: float | None, threshold: float | None) -> float | None:
    if error_rate is not None and threshold is not None:
        raise UsageError("give either an error rate or a threshold, not both")
    if threshold is not None and not 0.0 <= threshold <= 1.0:
        raise UsageError(f"a threshold is a probability in 0..1, but got {threshold}")
    if error_rate is None:
        return threshold
    if not 0.0 < error_rate < 1.0:
        raise UsageError(f"an error rate is a share above 0 and below 1, but got {error_rate}")
    table = reader.settings.abstention
    if not table:
        raise UsageError(
            f"{reader.name} was not calibrated, so it cannot promise an error rate;\ngive a threshold, or fine-tune it "
            "with headway train --task classify"
        )
    found = threshold_for(table, error_rate)
    if found is None:
        least = min(error for _, error, _ in table)
        raise UsageError(
            f"{reader.name} is never as sure as that: its lowest error rate on validation data is {least:.3f}, "
            f"but {error_rate} was asked for;\nask for more, or train a better model"
        )
    return found
