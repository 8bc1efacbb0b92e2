"""From tokens to words: where each token stands in its text, its words, and the attention between whole words."""

import codecs
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from headway.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import numpy

    from headway.tasks.alignment import Alignment

Span = tuple[int, int]
"""The first character and one past the last."""
Link = tuple[int, int]
"""A source word and a target word, counted from 0."""

END_MARK = "<end>"

_AT_BLANKS = re.compile(r"\S+")
# A Chinese, Japanese or Thai character; else letters and digits with the marks inside them; else one other character
# with what joins or modifies it (emoji).
_WORD = re.compile(
    "[\u0e00-\u0eff\u2e80-\u312f\u3190-\u9fff\uf900-\ufaff\U00020000-\U0003ffff][\u0e31\u0e34-\u0e3a\u0e47-\u0e4e]*"
    "|[^\\W_]+(?:['\u2019.,\\-_\u0300-\u036f]*[^\\W_]+)*[\u0300-\u036f]*"
    "|[^\\s](?:[\ufe0f\U0001f3fb-\U0001f3ff\u0300-\u036f]|\u200d[^\\s])*"
)
_ELISION = re.compile(r"(?<=\w['\u2019])(?=\w)")


def token_texts(tokenizer: Tokenizer, ids: Sequence[int]) -> tuple[str, list[Span]]:
    """The text that ids spell, and each one's span in it.

    A token that holds part of a character has the whole character in its span, so neighbours can overlap.
    """
    reader = codecs.getincrementaldecoder("utf-8")("replace")
    text = ""
    spans: list[Span] = []
    for part in tokenizer.decode_each(ids):
        first = last = None
        for byte in part:
            shown = reader.decode(bytes([byte]))
            text += shown
            # A byte belongs to the character it completed, or to the one that is yet to come.
            at = len(text) - 1 if shown else len(text)
            first = at if first is None else first
            last = at
        spans.append((len(text), len(text)) if first is None or last is None else (first, last + 1))
    text += reader.decode(b"", final=True)
    return text, spans


def words_of(text: str, *, at_blanks: bool = False) -> list[Span]:
    """The spans of a text's words: at blanks alone, or with punctuation, emoji and Chinese characters on their own.

    An elided article (the l' of l'eau) is a word too.
    """
    if at_blanks:
        return [match.span() for match in _AT_BLANKS.finditer(text)]
    spans: list[Span] = []
    for match in _WORD.finditer(text):
        first, last = match.span()
        elision = next((cut.start() for cut in _ELISION.finditer(text, first, last) if cut.start() - first <= 3), None)
        spans += [(first, last)] if elision is None else [(first, elision), (elision, last)]
    return spans


def merged(
    weights: "numpy.ndarray",
    source_tokens: Sequence[Span],
    target_tokens: Sequence[Span],
    source_words: Sequence[Span],
    target_words: Sequence[Span],
) -> "numpy.ndarray":
    """Attention of tokens (T, S) as attention of words: sums over a source word's tokens, means over a target word's.

    The last source token is the end, which stays the last source word. Rows that sum to 1 do so afterwards. A token in
    several words counts for each by its characters; one that is blank counts for the word behind it.
    """
    import numpy

    of_source = _membership(source_tokens, source_words)
    every = numpy.zeros((of_source.shape[0] + 1, of_source.shape[1] + 1))
    every[:-1, :-1], every[-1, -1] = of_source, 1.0
    if not source_words:  # blank tokens alone
        every[:, -1] = 1.0
    of_target = _membership(target_tokens, target_words)
    total = of_target.sum(axis=0)[:, None]  # (Wt, 1)
    by_word: numpy.ndarray = of_target.T @ weights.astype(numpy.float64) @ every
    return by_word / numpy.where(total > 0, total, 1.0)


def best_links(by_word: "numpy.ndarray", *, threshold: float | None = None, mutual: bool = False) -> list[Link]:
    """Links between words from attention (Wt, Ws), the end left out, sorted.

    Each target word's likeliest source word, the first on ties; with `mutual` only where the source word's likeliest
    target word is this one too. threshold: instead, every pair of at least that attention.
    """
    if 0 in by_word.shape:
        return []
    if threshold is not None:
        pairs = {(int(j), int(i)) for i, j in zip(*(by_word >= threshold).nonzero(), strict=True)}
    else:
        pairs = {(int(j), i) for i, j in enumerate(by_word.argmax(axis=1))}
    if mutual:
        back = by_word.argmax(axis=0)
        pairs = {(j, i) for j, i in pairs if back[j] == i}
    return sorted(pairs)


def copied_over(tokenizer: Tokenizer, ids: Sequence[int], unknown: int, alignment: "Alignment") -> str:
    """The text of target ids in which every unknown word is the source word that it read most (Jean et al. 2015)."""
    source_words = words_of(alignment.source_text)
    mark = next(name for name, token in tokenizer.special_tokens.items() if token == unknown).encode()
    parts = tokenizer.decode_each(ids)
    for at, token in enumerate(ids):
        row = alignment.weights[at][:-1]
        if token == unknown and row:
            best = max(range(len(row)), key=lambda place: row[place])
            word = _word_at(alignment.source_text, source_words, alignment.source_spans[best])
            parts[at] = parts[at].replace(mark, word.encode())
    return b"".join(parts).decode("utf-8", "replace")


def _word_at(text: str, words: Sequence[Span], token: Span) -> str:
    shared = [max(0, min(last, token[1]) - max(first, token[0])) for first, last in words]
    best = max(range(len(words)), key=lambda at: shared[at], default=None)
    return text[token[0] : token[1]].strip() if best is None else text[words[best][0] : words[best][1]]


def _membership(tokens: Sequence[Span], words: Sequence[Span]) -> "numpy.ndarray":
    """(tokens, words): what share of each token lies in each word; rows sum to 1 where there is a word."""
    import numpy

    shares = numpy.zeros((len(tokens), len(words)))
    if not words:
        return shares
    at = 0
    for row, (first, last) in enumerate(tokens):
        while at < len(words) - 1 and words[at][1] <= first:
            at += 1
        inside = at
        while inside < len(words) and words[inside][0] < last:
            shares[row, inside] = max(0, min(last, words[inside][1]) - max(first, words[inside][0]))
            inside += 1
        if shares[row].sum() == 0:
            shares[row, at] = 1.0  # blank: the word behind it, or the last one
        shares[row] /= shares[row].sum()
    return shares
