"""The goals of tagging, answering and embedding; that of classifying is in training/reading_objectives.py."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from headway.corpus.batches import IGNORED
from headway.corpus.tag_schemes import spans_of
from headway.training.reading_batches import ReadingPart
from headway.training.reading_objectives import answers_of

_LONGEST_ANSWER = 30
"""Tokens; the released code of Devlin et al. 2018."""


@dataclass(frozen=True, kw_only=True)
class Tag:
    """A tag for each word, read at its first piece. weights (L,): what a mistake in each counts; None: all alike."""

    labels: tuple[str, ...]
    scheme: str
    weights: Tensor | None = None

    @property
    def kept_by(self) -> str:
        """F1 of whole spans, or the accuracy of words where tags make none."""
        return "accuracy" if self.scheme == "none" else "span_f1"

    def loss(self, model: nn.Module, part: ReadingPart) -> Tensor:
        """Cross-entropy summed over words, by the mean of a row's: the part's count is its rows."""
        logits = answers_of(model, part)  # (B, T, L)
        weights = None if self.weights is None else self.weights.to(logits.device)
        each = functional.cross_entropy(
            logits.flatten(0, 1), part.targets.flatten(), weight=weights, ignore_index=IGNORED, reduction="none"
        )
        return each.sum()

    def scores(self, model: nn.Module, parts: Iterator[tuple[Any, ReadingPart]]) -> Mapping[str, float]:
        """accuracy of words; with a scheme also precision, recall and F1 of whole spans, read leniently."""
        right = words = hits = said = there = 0
        for _, part in parts:
            guesses = answers_of(model, part).argmax(dim=-1).tolist()
            for row, wanted in zip(guesses, part.targets.tolist(), strict=True):
                pairs = [(guess, target) for guess, target in zip(row, wanted, strict=False) if target != IGNORED]
                right += sum(guess == target for guess, target in pairs)
                words += len(pairs)
                found = {*spans_of([self.labels[guess] for guess, _ in pairs], self.scheme)}
                gold = {*spans_of([self.labels[target] for _, target in pairs], self.scheme)}
                hits, said, there = hits + len(found & gold), said + len(found), there + len(gold)
        accuracy = {"accuracy": right / max(words, 1)}
        if self.scheme == "none":
            return accuracy
        return {
            **accuracy,
            "span_precision": hits / max(said, 1),
            "span_recall": hits / max(there, 1),
            "span_f1": 2 * hits / max(said + there, 1),
        }


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Where an answer begins and where it ends; the first position says that this window has none."""

    @property
    def kept_by(self) -> str:
        """The F1 of words."""
        return "token_f1"

    def loss(self, model: nn.Module, part: ReadingPart) -> Tensor:
        """The mean of both cross-entropies, summed over rows (Devlin et al. 2018, section 4.2)."""
        scores = _masked(answers_of(model, part), part.lengths)  # (B, T, 2)
        begins = functional.cross_entropy(scores[..., 0], part.targets[:, 0], reduction="sum")
        ends = functional.cross_entropy(scores[..., 1], part.targets[:, 1], reduction="sum")
        return (begins + ends) / 2.0

    def scores(self, model: nn.Module, parts: Iterator[tuple[Any, ReadingPart]]) -> Mapping[str, float]:
        """exact_match and token_f1 of the best answer over a question's windows, against the first answer given.

        Both are of the context's tokens: SQuAD's own measures, of words, are those of `headway evaluate`.
        """
        best: dict[int, tuple[float, tuple[int, int]]] = {}
        wanted: dict[int, tuple[int, int]] = {}
        for _, part in parts:
            answers = _masked(answers_of(model, part), part.lengths).cpu()
            for row, target, length in zip(answers, part.targets.tolist(), part.lengths.tolist(), strict=True):
                _, _, number, shift, first, begin, end = target
                wanted[number] = (begin, end)
                score, span = _best_span(row, shift, length - 1)
                place = (-1, -1) if span is None else (span[0] - shift + first, span[1] - shift + first)
                if number not in best or score > best[number][0]:
                    best[number] = (score, place)
        exact = sum(best[number][1] == span for number, span in wanted.items())
        overlap = sum(_token_f1(best[number][1], span) for number, span in wanted.items())
        return {"exact_match": exact / len(wanted), "token_f1": overlap / len(wanted)}


@dataclass(frozen=True, kw_only=True)
class Embed:
    """Texts of a pair alike, those of different pairs not: a softmax over the step's scaled cosines, both ways.

    Henderson et al. 2017, "Efficient natural language response suggestion", section 4.4, with cosines and a scale.
    """

    scale: float
    pooling: Literal["mean", "cls"]

    @property
    def kept_by(self) -> str:
        """How often a text's nearest is its partner."""
        return "retrieval_accuracy"

    def loss(self, model: nn.Module, part: ReadingPart) -> Tensor:
        """The mean of both directions' cross-entropies, summed over pairs; equal texts are not told apart."""
        first, second = self.vectors(model, part)
        scores = self.scale * first @ second.T  # (B, B)
        right = torch.arange(len(scores), device=scores.device)
        assert part.other_ids is not None and part.other_lengths is not None
        apart = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        same_second = _same(part.other_ids, part.other_lengths) & ~apart
        same_first = _same(part.ids, part.lengths) & ~apart
        alike = same_first | same_second
        scores = scores.masked_fill(alike, float("-inf"))
        forth = functional.cross_entropy(scores, right, reduction="sum")
        return (forth + functional.cross_entropy(scores.T, right, reduction="sum")) / 2.0

    def scores(self, model: nn.Module, parts: Iterator[tuple[Any, ReadingPart]]) -> Mapping[str, float]:
        """retrieval_accuracy: how often the nearest second text of all is a first text's own; and the mean cosine."""
        firsts, seconds, texts = [], [], []
        for _, part in parts:
            first, second = self.vectors(model, part)
            firsts.append(first)
            seconds.append(second)
            assert part.other_ids is not None and part.other_lengths is not None
            rows = zip(part.other_ids.tolist(), part.other_lengths.tolist(), strict=True)
            texts += [tuple(row[:length]) for row, length in rows]
        one, other = torch.cat(firsts), torch.cat(seconds)
        nearest = torch.cat([(some @ other.T).argmax(dim=-1) for some in torch.split(one, 256)]).tolist()
        right = sum(texts[found] == text for found, text in zip(nearest, texts, strict=True))
        return {"retrieval_accuracy": right / len(texts), "cosine": float((one * other).sum(-1).mean())}

    def vectors(self, model: nn.Module, part: ReadingPart) -> tuple[Tensor, Tensor]:
        """(B, D) of length one for the first texts and for the second ones."""
        assert part.other_ids is not None and part.other_lengths is not None
        return (
            self._pooled(model, part.ids, part.lengths),
            self._pooled(model, part.other_ids, part.other_lengths),
        )

    def _pooled(self, model: nn.Module, ids: Tensor, lengths: Tensor) -> Tensor:
        states = model.encode(ids, lengths).float()  # type: ignore[operator]  # (B, T, D), zero past a row's length
        if self.pooling == "cls":
            return functional.normalize(states[:, 0], dim=-1)
        there = torch.arange(ids.shape[1], device=ids.device) < lengths.to(ids.device)[:, None]
        return functional.normalize((states * there[..., None]).sum(dim=1), dim=-1)


def _same(ids: Tensor, lengths: Tensor) -> Tensor:
    """ids (B, T) -> (B, B) True where two rows are the same text."""
    lengths = lengths.to(ids.device)
    there = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
    kept = ids.masked_fill(~there, -1)
    return (kept[:, None] == kept[None]).all(dim=-1)


def _masked(scores: Tensor, lengths: Tensor) -> Tensor:
    """scores (B, T, 2) with nothing past each row's length."""
    there = torch.arange(scores.shape[1], device=scores.device) < lengths.to(scores.device)[:, None]
    return scores.masked_fill(~there[..., None], float("-inf"))


def _best_span(scores: Tensor, first: int, last: int) -> tuple[float, tuple[int, int] | None]:
    """scores (T, 2) -> of positions first..last-1 the best begin and end, by how far it is above no answer.

    None where no answer scores higher than the best; the margin is then below 0.
    """
    none = float(scores[0].sum())
    begins, ends = scores[first:last, 0], scores[first:last, 1]
    if not len(begins):
        return float("-inf"), None
    sums = begins[:, None] + ends[None]  # (W, W)
    allowed = torch.ones_like(sums, dtype=torch.bool).triu().tril(_LONGEST_ANSWER - 1)
    sums = sums.masked_fill(~allowed, float("-inf"))
    place = int(sums.argmax())
    begin, end = divmod(place, len(begins))
    margin = float(sums[begin, end]) - none
    return margin, (first + begin, first + end) if margin > 0 else None


def _token_f1(found: tuple[int, int], wanted: tuple[int, int]) -> float:
    """Of two inclusive spans; no answer is right only where none is wanted."""
    if found == wanted:
        return 1.0
    if found[0] < 0 or wanted[0] < 0:
        return 0.0
    common = min(found[1], wanted[1]) - max(found[0], wanted[0]) + 1
    return 2.0 * max(common, 0) / (found[1] - found[0] + wanted[1] - wanted[0] + 2)
