"""What all of a reader's verbs share: the opened model, rows by length in batches, windows over long texts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from headway.corpus.layout_of_texts import added, lay_out, room_for_two
from headway.corpus.strides import windows
from headway.decoding.feed import device_of
from headway.errors import DataError, FormatError
from headway.formats.reader_settings import ReaderSettings
from headway.text.tokenizer import Tokenizer

BATCH_TOKENS = 8192
"""Tokens read together: past a few thousand a processor gains nothing, and memory grows."""
_MOST_ROWS = 256


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row for the model, and which text it is of. begin: where its first text's ids begin in the whole text's."""

    text: int
    ids: Sequence[int]
    segments: Sequence[int]
    begin: int = 0


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A reader as its verbs see it: the model in evaluation mode, its tokenizer, what its folder says."""

    name: str
    model: Any
    tokenizer: Tokenizer
    settings: ReaderSettings

    @property
    def longest(self) -> int:
        """The most tokens of a row: what the model was trained on, else what it holds."""
        context = getattr(self.model, "context", None) or 512
        return min(self.settings.longest or context, context)

    @property
    def device(self) -> torch.device:
        """Where the model takes its ids."""
        return device_of(self.model)

    def room(self, *, pair: bool) -> int:
        """The ids of text that a row holds. Raises FormatError where there is none."""
        room = self.longest - added(self.tokenizer, pair)
        if room < 1 + pair:
            raise FormatError(f"{self.name} reads rows of {self.longest} tokens, which leaves no room for a text")
        return room

    @torch.no_grad()
    def states(self, rows: Sequence[Row]) -> Iterator[tuple[list[Row], Tensor, Tensor]]:
        """The model's states (B, T, D) of rows in batches of like length, with the rows and their lengths (B,)."""
        for some in by_length(rows):
            width = max(len(row.ids) for row in some)
            ids = torch.zeros(len(some), width, dtype=torch.int64)
            segments = torch.zeros_like(ids)
            for place, row in enumerate(some):
                ids[place, : len(row.ids)] = torch.tensor(row.ids, dtype=torch.int64)
                segments[place, : len(row.ids)] = torch.tensor(row.segments, dtype=torch.int64)
            lengths = torch.tensor([len(row.ids) for row in some])
            pairs = bool(segments.any())
            yield (
                some,
                self.model.encode(ids.to(self.device), lengths, segments.to(self.device) if pairs else None),
                lengths,
            )


def by_length(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """The rows, longest first, in batches of about BATCH_TOKENS tokens."""
    batch: list[Row] = []
    held = 0
    for row in sorted(rows, key=lambda row: -len(row.ids)):
        if batch and (held + len(row.ids) > BATCH_TOKENS or len(batch) == _MOST_ROWS):
            yield batch
            batch, held = [], 0
        batch.append(row)
        held += len(row.ids)
    if batch:
        yield batch


def rows_of(reader: Opened, number: int, ids: Sequence[int], second: Sequence[int] | None = None) -> list[Row]:
    """A text's rows: one, or windows side by side where it is longer; with a second text one row, both cut to fit."""
    if second is not None:
        first_room, second_room = room_for_two(reader.room(pair=True), len(ids), len(second))
        laid, segments = lay_out(reader.tokenizer, ids[:first_room], second[:second_room])
        return [Row(text=number, ids=laid, segments=segments)]
    made = []
    for begin, end in windows(len(ids), reader.room(pair=False), 0):
        laid, segments = lay_out(reader.tokenizer, ids[begin:end])
        made.append(Row(text=number, ids=laid, segments=segments, begin=begin))
    return made


def checked(texts: Iterable[str]) -> list[str]:
    """The texts. Raises DataError, naming the first, for one without a character to read."""
    found = list(texts)
    for number, text in enumerate(found, start=1):
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"text {number} of {len(found)} is empty; a reader needs a text, leave it out")
    return found
