"""Questions as rows: the question, then a window of its context; long contexts have several windows.

A row's targets are NUMBERS: begin and end of the answer in the row (0, 0: not in this window); the number of its
question; where in the row the window begins, and which token of the whole context that is; begin and end of the answer
in the whole context (-1: the context has none). Ends are inclusive. Devlin et al. 2018, sections 4.2 and 4.3.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy

from headway.corpus.connected_division import keep_aside
from headway.corpus.layout_of_texts import added, lay_out
from headway.corpus.permutation import permute
from headway.corpus.questions import Question, Questions, read_questions
from headway.corpus.strides import windows
from headway.text.tokenizer import Tokenizer
from headway.training.reading_examples import MOST_VALIDATION, Divided, note_overlap
from headway.training.reading_store import Row
from headway.training.recipe import DataSettings

NUMBERS = 7

_LONGEST_QUESTION = 64
"""Tokens; the released code of Devlin et al. 2018."""
_WINDOWS_WITHOUT = 4
"""Windows without the answer that a question has in training at most: from a book they would be nearly all."""


@dataclass(frozen=True, kw_only=True)
class _Room:
    """window: tokens of a row; overlap: what two windows share; every: keep all windows without the answer."""

    window: int
    overlap: int
    every: bool


def answer_rows(
    data: DataSettings, *, learn: Callable[[list[str]], Tokenizer], window: int, stride: int
) -> tuple[Tokenizer, Divided]:
    """Questions as rows of at most `window` tokens whose windows share `stride`; those on a context stay together."""
    notes: list[str] = []
    found = read_questions(data.path)
    _tell_left_out(notes, found)
    if data.validation is None:
        texts = [(question.context,) for question in found.questions]
        aside = keep_aside(texts, [0] * len(texts), share=data.validation_share, most=MOST_VALIDATION)
        train = [question for question, kept in zip(found.questions, aside, strict=True) if not kept]
        validation = [question for question, kept in zip(found.questions, aside, strict=True) if kept]
    else:
        other = read_questions(data.validation)
        _tell_left_out(notes, other)
        train, validation = list(found.questions), list(other.questions)
        note_overlap(notes, [(one.context,) for one in train], [(one.context,) for one in validation])
    without = sum(not question.answers for question in train)
    notes.append(
        f"{len(train):,} questions to train on ({without:,} without an answer), {len(validation):,} to measure on"
    )
    contexts = list(dict.fromkeys(question.context for question in train))
    divided = Divided(texts=[*contexts, *(question.question for question in train)], examples=len(train), notes=notes)
    tokenizer = learn(divided.texts)
    for questions, rows, every in ((train, divided.train, False), (validation, divided.validation, True)):
        room = _Room(window=window, overlap=stride, every=every)
        rows.extend(_rows(tokenizer, questions, room))
    return tokenizer, divided


def _rows(tokenizer: Tokenizer, questions: Sequence[Question], room: _Room) -> list[Row]:
    contexts: dict[str, tuple[list[int], list[tuple[int, int]]]] = {}
    rows = []
    for number, question in enumerate(questions):
        if question.context not in contexts:
            contexts[question.context] = tokenizer.encode_with_spans(question.context)
        ids, spans = contexts[question.context]
        rows += _question_rows(tokenizer, question, (ids, spans), number, room)
    return rows


def _question_rows(
    tokenizer: Tokenizer,
    question: Question,
    context: tuple[list[int], list[tuple[int, int]]],
    number: int,
    room: _Room,
) -> list[Row]:
    ids, spans = context
    asked = tokenizer.encode(question.question)[: min(_LONGEST_QUESTION, room.window // 3)]
    left = room.window - len(asked) - added(tokenizer, True)
    begin, end = gold(question, spans)
    with_answer: list[Row] = []
    without: list[Row] = []
    for first, last in windows(len(ids), left, min(room.overlap, left - 1)):
        laid, segments = lay_out(tokenizer, asked, ids[first:last])
        shift = segments.index(1)
        inside = begin >= first and end < last and begin >= 0
        targets = [begin - first + shift, end - first + shift] if inside else [0, 0]
        row = Row(laid, shift, [*targets, number, shift, first, begin, end])
        (with_answer if inside else without).append(row)
    if not room.every and len(without) > _WINDOWS_WITHOUT:
        order = permute(numpy.arange(len(without)), len(without), f"windows {number}")
        without = [without[place] for place in sorted(order[:_WINDOWS_WITHOUT].tolist())]
    return with_answer + without


def gold(question: Question, spans: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The first and the last token of the context that the first answer reaches into; (-1, -1) where there is none."""
    if not question.answers:
        return -1, -1
    start = question.starts[0]
    stop = start + len(question.answers[0])
    reached = [place for place, (begin, end) in enumerate(spans) if begin < stop and end > start and end > begin]
    return (reached[0], reached[-1]) if reached else (-1, -1)


def _tell_left_out(notes: list[str], found: Questions) -> None:
    if found.left_out:
        total = found.left_out + len(found.questions)
        notes.append(
            f"warning: left out {found.left_out:,} of {total:,} questions of {found.path}: their answer does not stand "
            f"in the context, or a text is empty; first at {', '.join(found.examples)}"
        )
