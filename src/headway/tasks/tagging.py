"""What the words of a text are: a tag for each word, spans of words with a label, both by characters of the text.

A word's tag is that of its first token, as in training (Devlin et al. 2018, section 5.3); long texts are read in
windows between words.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from headway.corpus.layout_of_texts import lay_out
from headway.corpus.strides import word_windows
from headway.corpus.tag_schemes import OUTSIDE, spans_of, split_tag
from headway.errors import UsageError
from headway.tasks.reading import Opened, Row

Repair = Literal["lenient", "strict"]

# Runs of letters and digits, with the accents and joiners that stand for themselves, and with apostrophes and hyphens
# inside; any other mark by itself.
_LETTER = "[\\w\u0300-\u036f\u200b-\u200d\u2060\ufe0f]"
_WORD = re.compile(f"{_LETTER}+(?:['\u2019-]{_LETTER}+)*|[^\\w\\s]")


@dataclass(frozen=True, kw_only=True)
class TaggedWord:
    """Characters [start, end) of the text, their tag and its probability."""

    text: str
    start: int
    end: int
    tag: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class TaggedSpan:
    """Characters [start, end) of the text with a label; score: the mean probability of its words' tags."""

    label: str
    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, kw_only=True)
class Tagging:
    """A text's spans and words, in order."""

    spans: tuple[TaggedSpan, ...]
    words: tuple[TaggedWord, ...]


def tag(reader: Opened, texts: Sequence[str], *, repair: Repair) -> list[Tagging]:
    """Each text's words with their tags, and the spans these stand for.

    repair: "lenient" takes every tag but O as part of some span, "strict" only spans whose tags keep the scheme. Raises
    UsageError for another word.
    """
    if repair not in ("lenient", "strict"):
        raise UsageError(f"repair is lenient or strict, but got {repair!r}")
    words = [[match.span() for match in _WORD.finditer(text)] for text in texts]
    return [
        _tagging(reader, text, places, probabilities, repair)
        for text, places, probabilities in zip(texts, words, tag_words(reader, texts, words), strict=True)
    ]


def tag_words(
    reader: Opened, texts: Sequence[str], words: Sequence[Sequence[tuple[int, int]]]
) -> list[list[tuple[str, float]]]:
    """The likeliest tag and its probability for each word of each text, where words are characters [begin, end).

    A word without a token of its own is O, or without that the first label, with probability 0.
    """
    labels = reader.settings.labels
    nothing = (OUTSIDE if OUTSIDE in labels else labels[0], 0.0)
    found = [[nothing] * len(places) for places in words]
    rows: list[Row] = []
    firsts: list[tuple[int, list[tuple[int, int]]]] = []  # of each row: its text, and (place in the row, word)
    for number, (text, places) in enumerate(zip(texts, words, strict=True)):
        for ids, begins in _windows(reader, text, places):
            laid, segments = lay_out(reader.tokenizer, ids)
            rows.append(Row(text=len(rows), ids=laid, segments=segments))
            shift = int(reader.tokenizer.begin_of_text is not None)
            firsts.append((number, [(place + shift, word) for place, word in begins]))
    for some, states, lengths in reader.states(rows):
        with torch.no_grad():
            logits: Tensor = reader.model.read_head(states, lengths).float() / reader.settings.temperature
        best = logits.softmax(dim=-1).max(dim=-1)  # (B, T)
        values, numbers = best.values.tolist(), best.indices.tolist()
        for place, row in enumerate(some):
            number, begins = firsts[row.text]
            for token, word in begins:
                found[number][word] = (labels[numbers[place][token]], values[place][token])
    return found


def _windows(
    reader: Opened, text: str, words: Sequence[tuple[int, int]]
) -> list[tuple[list[int], list[tuple[int, int]]]]:
    """The ids of each window, and (place of its first token, word) of each word there."""
    pieces: list[list[int]] = [[] for _ in words]
    ids, spans = reader.tokenizer.encode_with_spans(text)
    word = 0
    for id, (begin, end) in zip(ids, spans, strict=True):
        # A token belongs to the word its last character stands in: tokens of bytes take the blank before a word along.
        while word < len(words) and words[word][1] < end:
            word += 1
        if end > begin and word < len(words) and words[word][0] < end:
            pieces[word].append(id)
    room = reader.room(pair=False)
    made = []
    for first, last in word_windows([len(some) for some in pieces], room):
        row: list[int] = []
        begins = []
        for number in range(first, last):
            if pieces[number]:
                begins.append((len(row), number))
                row += pieces[number]
        if row:
            made.append((row[:room], begins))  # only a word alone in its window is cut
    return made


def _tagging(
    reader: Opened,
    text: str,
    places: Sequence[tuple[int, int]],
    tags: Sequence[tuple[str, float]],
    repair: Repair,
) -> Tagging:
    words = tuple(
        TaggedWord(text=text[begin:end], start=begin, end=end, tag=name, probability=value)
        for (begin, end), (name, value) in zip(places, tags, strict=True)
    )
    scheme = reader.settings.scheme or "BIO"
    spans = []
    for span in spans_of([word.tag for word in words], scheme, strict=repair == "strict"):
        some = words[span.begin : span.end]
        begin, end = some[0].start, some[-1].end
        score = sum(word.probability for word in some) / len(some)
        label = split_tag(span.label)[1] if scheme == "none" else span.label
        spans.append(TaggedSpan(label=label, text=text[begin:end], start=begin, end=end, score=score))
    return Tagging(spans=tuple(spans), words=words)
