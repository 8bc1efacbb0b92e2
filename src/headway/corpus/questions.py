"""Questions on contexts with answers that stand there: SQuAD's .json, and JSON lines of the same fields laid flat."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headway.corpus.labelled_file import check_file
from headway.corpus.text_file import byte_chunks, shown, text_chunks, text_lines
from headway.errors import DataError

KINDS = (".json", ".jsonl")
_WAY_OUT = (
    'Each question has "context", "question" and "answer" (or "answers"), with "start" where the answer comes often; '
    "or use SQuAD's own layout."
)
_MOST_MISSING = 0.2
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Question:
    """A question on a context; each answer is what stands at `starts` there. No answers: the context has none."""

    question: str
    context: str
    answers: tuple[str, ...]
    starts: tuple[int, ...]
    id: str = ""
    place: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True)
class Questions:
    """The questions of a file. left_out: those whose answer does not stand in the context, or that are empty."""

    path: Path
    questions: tuple[Question, ...]
    left_out: int = 0
    examples: tuple[str, ...] = ()


def read_questions(path: str | Path) -> Questions:
    """The questions of a .json file of SQuAD (1.1 or 2.0) or of a .jsonl file, also .gz.

    Of several answers those that stand in the context are kept; a question with none of its answers there is left out
    and counted. Raises DataError for a bad file, for one without questions, and where more than a fifth is left out.
    """
    path = Path(path)
    check_file(path, KINDS, "questions")
    kept: list[Question] = []
    missing: list[str] = []
    for place, table in _tables(path):
        question = _question(place, table)
        if question is None:
            missing.append(place)
        else:
            kept.append(question)
    total = len(kept) + len(missing)
    if not total:
        raise DataError(f"there are no questions in {shown(path)}: it is empty\n{_WAY_OUT}")
    if len(missing) > _MOST_MISSING * total:
        raise DataError(
            f"an answer must stand in its context, letter by letter, but {len(missing):,} of {total:,} in "
            f"{shown(path)} do not, first at {', '.join(missing[:_SHOWN])}\n{_WAY_OUT}"
        )
    return Questions(path=path, questions=tuple(kept), left_out=len(missing), examples=tuple(missing[:_SHOWN]))


def _tables(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each question stands, and its fields laid flat."""
    if path.name.lower().removesuffix(".gz").endswith(".jsonl"):
        for number, line in enumerate(text_lines(path), start=1):
            if not line.isspace():
                place = f"{shown(path)}:{number}"
                value = _json(line, place)
                if not isinstance(value, dict):
                    raise DataError(f"{place} must be an object, but is {value!r:.60}\n{_WAY_OUT}")
                yield place, value
        return
    next(byte_chunks(path), None)
    value = _json("".join(text_chunks(path)), shown(path))
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        yield from _squad(path, value["data"])
    elif isinstance(value, list):
        for number, table in enumerate(value, start=1):
            if not isinstance(table, dict):
                raise DataError(f"{shown(path)} must hold objects, but entry {number} is {table!r:.60}\n{_WAY_OUT}")
            yield f"{shown(path)}: entry {number}", table
    else:
        raise DataError(f'{shown(path)} must hold a table with "data", or a list of questions\n{_WAY_OUT}')


def _squad(path: Path, articles: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    number = 0
    try:
        for article in articles:
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    number += 1
                    yield f"{shown(path)}: question {number}", {"context": paragraph["context"], **asked}
    except (TypeError, KeyError) as error:
        raise DataError(f"{shown(path)} is not as SQuAD has it, after question {number}: {error}\n{_WAY_OUT}") from None


def _json(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is not JSON: {error!s:.200}\nMend it, or fetch it again.") from None


def _question(place: str, table: dict[str, Any]) -> Question | None:
    """The question, or None where its answer is not in its context, or it or the context has no words."""
    for name in ("context", "question"):
        if not isinstance(table.get(name), str):
            raise DataError(
                f"{place} has no text {name!r}; it has {', '.join(map(repr, list(table)[:12]))}\n{_WAY_OUT}"
            )
    context, question = table["context"], table["question"]
    if not context.strip() or not question.strip():
        return None
    given = list(_answers(place, table))
    found = [(answer, _start(context, answer, start)) for answer, start in given if answer.strip()]
    standing = [(answer, start) for answer, start in found if start is not None]
    if given and not standing:
        return None
    return Question(
        question=question,
        context=context,
        answers=tuple(answer for answer, _ in standing),
        starts=tuple(start for _, start in standing),
        id=str(table.get("id", "")),
        place=place,
    )


def _answers(place: str, table: dict[str, Any]) -> Iterator[tuple[str, int | None]]:
    """Answers with where they are said to begin; none where the question has none."""
    if table.get("is_impossible") is True:
        return
    answer, answers = table.get("answer"), table.get("answers")
    if answer is None and answers is None and not any(key in table for key in ("answer", "answers", "is_impossible")):
        raise DataError(f"{place} has neither an answer nor answers\n{_WAY_OUT}")
    if isinstance(answer, str):
        yield answer, _number(table.get("start", table.get("answer_start")))
    elif isinstance(answer, dict):
        answers = [answer]
    if isinstance(answers, dict):  # a table of lists, as some published sets have it
        texts, starts = answers.get("text") or [], answers.get("answer_start") or []
        answers = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=False)]
    for item in answers or []:
        if isinstance(item, str):
            yield item, None
        elif isinstance(item, dict) and isinstance(item.get("text"), str):
            yield item["text"], _number(item.get("answer_start", item.get("start")))
        else:
            raise DataError(f"an answer is a text, or has one, but {place} has {item!r:.60}\n{_WAY_OUT}")


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _start(context: str, answer: str, start: int | None) -> int | None:
    """Where the answer begins: as said if it stands there, else its first place, None where it has none."""
    if start is not None and context.startswith(answer, start):
        return start
    found = context.find(answer)
    return found if found >= 0 else None
