"""An answer that stands in a context: the likeliest stretch of it, over windows where the context is long.

A window's scores of begin and end are added for each stretch; position 0 stands for "no answer here" (Devlin et al.
2018, sections 4.2 and 4.3).
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from headway.corpus.layout_of_texts import lay_out
from headway.corpus.strides import windows
from headway.errors import UsageError
from headway.tasks.reading import Opened, Row

LONGEST_ANSWER = 30
"""Tokens; the released code of Devlin et al. 2018."""
_LONGEST_QUESTION = 64
_BEST_OF_A_WINDOW = 20
_MOST_KEPT = 20_000


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Characters [start, end) of the context. text is empty, and start and end are 0, where there is no answer.

    score: of the stretch, logits of begin and end added; no_answer_score: of none in any window. probability: among the
    stretches considered and none.
    """

    text: str
    start: int
    end: int
    score: float
    no_answer_score: float
    probability: float


def answer(reader: Opened, asked: Sequence[tuple[str, str]], *, top: int, no_answer: bool) -> list[tuple[Answer, ...]]:
    """The `top` likeliest answers to each (question, context), the likeliest first; none overlaps a likelier one.

    no_answer: an empty answer comes first where none scores above the best by the folder's threshold. Raises UsageError
    for a question that leaves no room for its context.
    """
    if not 1 <= top <= 1000:
        raise UsageError(f"top must be in 1..1000, but got {top}")
    rows: list[Row] = []
    where: list[tuple[int, int, int]] = []  # of each row: its question, where the window begins in row and context
    spans = []
    for number, (question, context) in enumerate(asked):
        ids, places = reader.tokenizer.encode_with_spans(context)
        spans.append(places)
        for row, shift, first in _question_rows(reader, question, ids, len(rows)):
            rows.append(row)
            where.append((number, shift, first))
    found: list[list[tuple[float, int, int]]] = [[] for _ in asked]
    none = [-math.inf] * len(asked)
    for some, states, lengths in reader.states(rows):
        with torch.no_grad():
            logits: Tensor = reader.model.read_head(states, lengths).float().cpu()  # (B, T, 2)
        for row, scores in zip(some, logits, strict=True):
            number, shift, first = where[row.text]
            last = len(row.ids) - 1  # the end of the row is no part of the context
            found[number] += _stretches(scores[shift:last], first)
            if len(found[number]) > _MOST_KEPT:
                found[number] = heapq.nlargest(_BEST_OF_A_WINDOW + top, found[number])
            # A context has no answer where no window has one: the least of the windows' scores of none counts.
            score = float(scores[0].sum())
            none[number] = score if none[number] == -math.inf else min(none[number], score)
    return [
        _best(reader, context, places, stretches, empty, top=top, no_answer=no_answer)
        for (_, context), places, stretches, empty in zip(asked, spans, found, none, strict=True)
    ]


def _question_rows(reader: Opened, question: str, ids: Sequence[int], rows: int) -> list[tuple[Row, int, int]]:
    """A question's rows, with where in the row the context's window begins, and in the context."""
    room = reader.room(pair=True)
    asked = reader.tokenizer.encode(question)[: max(1, min(_LONGEST_QUESTION, room // 3))]
    left = room - len(asked)
    if left < 1:
        raise UsageError(f"{reader.name} has no room for a context beside the question; ask a shorter one")
    overlap = min(reader.settings.stride or left // 3, left - 1)
    made: list[tuple[Row, int, int]] = []
    for first, last in windows(len(ids), left, overlap):
        laid, segments = lay_out(reader.tokenizer, asked, ids[first:last])
        made.append((Row(text=rows + len(made), ids=laid, segments=segments), segments.index(1), first))
    return made


def _stretches(scores: Tensor, first: int) -> list[tuple[float, int, int]]:
    """(score, begin, end) of a window's best stretches, as tokens [begin, end] of the whole context."""
    n_tokens = len(scores)
    if n_tokens == 0:
        return []
    longest = min(LONGEST_ANSWER, n_tokens)
    ends = functional.pad(scores[:, 1], (0, longest - 1), value=-math.inf).unfold(0, longest, 1)  # (T, L)
    sums = (scores[:, 0, None] + ends).flatten()  # by where a stretch begins and how long it is
    best = sums.topk(min(_BEST_OF_A_WINDOW, len(sums)))
    return [
        (value, first + place // longest, first + place // longest + place % longest)
        for value, place in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        if value > -math.inf
    ]


def _best(
    reader: Opened,
    context: str,
    places: Sequence[tuple[int, int]],
    stretches: Sequence[tuple[float, int, int]],
    none: float,
    *,
    top: int,
    no_answer: bool,
) -> tuple[Answer, ...]:
    unique = {(begin, end): score for score, begin, end in sorted(stretches)}
    ordered = sorted(
        ((score, begin, end) for (begin, end), score in unique.items()), key=lambda one: (-one[0], one[1:])
    )
    highest = max([none, *(score for score, _, _ in ordered)])
    total = sum(math.exp(score - highest) for score in [none, *(score for score, _, _ in ordered)])

    def made(score: float, start: int, end: int) -> Answer:
        return Answer(
            text=context[start:end],
            start=start,
            end=end,
            score=score,
            no_answer_score=none,
            probability=math.exp(score - highest) / total,
        )

    kept: list[Answer] = []
    taken: list[tuple[int, int]] = []
    for score, begin, end in ordered:
        if any(begin <= other_end and end >= other_begin for other_begin, other_end in taken):
            continue
        taken.append((begin, end))
        kept.append(made(score, places[begin][0], places[end][1]))
        if len(kept) == top:
            break
    best = kept[0].score if kept else -math.inf
    if not kept or (no_answer and none - best > reader.settings.no_answer_threshold):
        kept = [made(none, 0, 0), *kept][:top]
    return tuple(kept)
