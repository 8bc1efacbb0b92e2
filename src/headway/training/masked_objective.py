"""Masked language modelling: guess hidden words from both sides (Devlin et al. 2018, section 3.1).

Rows are packed text between the tokens that begin and end it. With next_sentence, the second half of every other row on
average comes from elsewhere, and the first position is to say so (task #2 there).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy
import torch
from torch import Tensor, nn
from torch.nn import functional

from headway.corpus.batches import IGNORED, Ids, TokenBatches, evaluation_windows
from headway.corpus.masking import Masking
from headway.corpus.permutation import draw
from headway.corpus.stream import TokenStream
from headway.nn.cross_entropy import linear_cross_entropy


@dataclass(frozen=True, kw_only=True)
class RowEnds:
    """The ids before and behind a row's text, and between its halves; begin is None where the tokenizer has none."""

    begin: int | None
    end: int

    def added(self, halves: bool) -> int:
        """How many ids a row has beside its text."""
        return (self.begin is not None) + 1 + halves


@dataclass(frozen=True, kw_only=True)
class Hiding:
    """How text becomes rows with hidden words: what is hidden, what stands around it, the second task, the seed."""

    masking: Masking
    ends: RowEnds
    next_sentence: bool
    seed: int


@dataclass(frozen=True, kw_only=True)
class MaskedPart:
    """Rows of a step: ids, targets, segments (B, T), lengths (B,), strange (B,): 1 where the second half is another's.

    targets are IGNORED where nothing is to be guessed; segments and strange are None without the second task.
    """

    ids: Tensor
    targets: Tensor
    lengths: Tensor
    segments: Tensor | None
    strange: Tensor | None
    count: int

    def to(self, device: torch.device) -> "MaskedPart":
        """The same rows on a device; the lengths stay on the processor, which asks for them."""
        return replace(
            self,
            ids=self.ids.to(device),
            targets=self.targets.to(device),
            segments=None if self.segments is None else self.segments.to(device),
            strange=None if self.strange is None else self.strange.to(device),
        )


class MaskedLanguageModelling:
    """The objective of the readers."""

    kept_by = None

    def __init__(
        self,
        batches: TokenBatches,
        *,
        training: TokenStream,
        validation: TokenStream,
        hiding: Hiding,
        accumulation: int,
        validation_tokens: int,
    ) -> None:
        """batches: of the text alone, windows as long as a row has room for."""
        self._batches = batches
        self._training = training
        self._validation = validation
        self._masking = hiding.masking
        self._ends = hiding.ends
        self._seed = hiding.seed
        self._accumulation = accumulation
        self._validation_tokens = validation_tokens
        self._next_sentence = hiding.next_sentence

    @property
    def tokens_per_step(self) -> int:
        """Tokens of text one step reads."""
        return self._batches.batch_size * self._batches.context

    @property
    def steps_per_epoch(self) -> float:
        """Steps one pass over the training text takes."""
        return self._batches.steps_per_epoch

    def parts(self, step: int) -> list[MaskedPart]:
        """The batch of a step in `accumulation` parts of equal rows."""
        _, text = self._batches.batch(step)
        return self._parts(text, f"{self._seed} {step}", self._accumulation)

    def loss(self, model: nn.Module, part: MaskedPart) -> Tensor:
        """Cross-entropy summed over the hidden words, and where asked for the second task, weighted as its mean is."""
        states = model.encode(part.ids, part.lengths, part.segments)  # type: ignore[operator]  # (B, T, D)
        total = self._words_loss(model, states, part)
        if part.strange is not None:
            scores = model.next_sentence(states)  # type: ignore[operator]  # (B, 2)
            each = part.count / len(part.strange)  # the sum is divided by hidden words, of which a row has so many
            total = total + functional.cross_entropy(scores.float(), part.strange, reduction="sum") * each
        return total

    def validation(self) -> Iterator[MaskedPart]:
        """Rows over the validation text, at most `validation_tokens` of it, hidden alike at every call."""
        windows = evaluation_windows(
            self._validation,
            context=self._batches.context,
            batch_size=max(1, self._batches.batch_size // self._accumulation),
            limit=self._validation_tokens,
        )
        for number, (_, text) in enumerate(windows):
            yield from self._parts(text, f"validation {number}", 1)

    def bits_per_byte(self, loss: float, *, training: bool) -> float | None:
        """None: words guessed from both sides do not add up to the text's length in bits."""
        return None

    def scores(self, model: nn.Module) -> Mapping[str, float]:
        """The share of the validation text's hidden words that are guessed."""
        device = next(model.parameters()).device
        right = total = 0
        with torch.no_grad():
            for part in self.validation():
                there = part.to(device)
                states = model.encode(there.ids, there.lengths, there.segments)  # type: ignore[operator]
                hidden = there.targets != IGNORED
                guesses = model.output(model.before_output(states[hidden])).argmax(dim=-1)  # type: ignore[operator]
                right += int((guesses == there.targets[hidden]).sum())
                total += part.count
        return {"masked_accuracy": right / total}

    def _words_loss(self, model: nn.Module, states: Tensor, part: MaskedPart) -> Tensor:
        hidden = part.targets != IGNORED
        return linear_cross_entropy(
            model.before_output(states[hidden]),  # type: ignore[operator]  # (M, D)
            model.get_parameter("output.weight"),
            part.targets[hidden],
            ignored=IGNORED,
            bias=model.output.bias,  # type: ignore[union-attr,arg-type]
        )

    def _parts(self, text: Ids, key: str, n_parts: int) -> list[MaskedPart]:
        rows, lengths, segments, strange = self._rows(text, key)
        seen, targets = self._masking.hide(rows, key)
        made = []
        for some in numpy.array_split(numpy.arange(len(rows)), n_parts):
            wanted = torch.from_numpy(targets[some])
            made.append(
                MaskedPart(
                    ids=torch.from_numpy(seen[some]),
                    targets=wanted,
                    lengths=torch.from_numpy(lengths[some]),
                    segments=None if segments is None else torch.from_numpy(segments[some]),
                    strange=None if strange is None else torch.from_numpy(strange[some]),
                    count=int((wanted != IGNORED).sum()),
                )
            )
        return made

    def _rows(self, text: Ids, key: str) -> tuple[Ids, Ids, Ids | None, Ids | None]:
        """text (B, W), IGNORED at the end of a short row -> ids (B, T), lengths (B,), segments, strange if asked."""
        ends, counts = self._ends, (text != IGNORED).sum(axis=1)
        first = int(ends.begin is not None)
        rows = numpy.full((len(text), text.shape[1] + ends.added(self._next_sentence)), ends.end, dtype=numpy.int64)
        if ends.begin is not None:
            rows[:, 0] = ends.begin
        if not self._next_sentence:
            rows[:, first : first + text.shape[1]] = numpy.where(text == IGNORED, ends.end, text)
            return rows, counts + ends.added(False), None, None
        half = text.shape[1] // 2
        short = counts <= half  # nothing of a second half: such a row keeps what it has
        strange = numpy.array([draw(2, f"next {key} {row}") for row in range(len(text))], dtype=numpy.int64)
        strange[short] = 0
        given = numpy.flatnonzero(strange)
        whole = numpy.flatnonzero(~short)
        second, lengths = text[:, half:].copy(), counts.copy()
        for row in given:
            others = whole[whole != row]
            if len(others) == 0:
                strange[row] = 0
                continue
            other = others[draw(len(others), f"from {key} {row}")]
            second[row], lengths[row] = text[other, half:], counts[other]
        rows[:, first : first + half] = numpy.where(text[:, :half] == IGNORED, ends.end, text[:, :half])
        rows[:, first + half + 1 : -1] = numpy.where(second == IGNORED, ends.end, second)
        segments = numpy.zeros_like(rows)
        segments[:, first + half + 1 :] = 1
        return rows, lengths + ends.added(True), segments, strange
