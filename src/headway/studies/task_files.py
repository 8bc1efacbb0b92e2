"""The tasks of a comparison: which files, of which kind, and their parts to train on, to choose by and to test on.

Rows are divided by their text (questions by their context), so that none stands in two parts.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from headway.corpus.labelled import Labelled, LabelledFields, read_labelled
from headway.corpus.labelled_file import fingerprint_of, kind_of
from headway.corpus.pair_division import sentence_digest
from headway.corpus.questions import Question, read_questions
from headway.corpus.text_file import text_lines
from headway.errors import ConfigError, DataError
from headway.studies.plan import PAIRED, TaskPlan
from headway.training.recipe import DataSettings

Kind = Literal["classify", "answer"]
Row = dict[str, Any]

TASKS = "tasks"
_NAME = re.compile(r"[A-Za-z0-9_]+")
_KINDS = ("classify", "answer")
_VALIDATION_SHARE = 0.1
_WAY_OUT = "--tasks takes FILE, FILE+TESTFILE or NAME=KIND:FILE, with commas; a KIND is classify or answer"


@dataclass(frozen=True, kw_only=True)
class TaskFile:
    """A task as it was asked for: its name, what is learnt, the file, and the file to test on, if there is one."""

    name: str
    kind: Kind
    path: Path
    test: Path | None

    @property
    def files(self) -> list[Path]:
        """The files that are read."""
        return [self.path] if self.test is None else [self.path, self.test]

    def fingerprint(self) -> str:
        """The content of its files and what is made of them. Raises DataError for a file that is not there."""
        return "-".join(fingerprint_of(file, f"{self.name} {self.kind}") for file in self.files)


@dataclass(frozen=True, kw_only=True)
class DividedTask:
    """How many examples each part of a task has, and the labels, if it has any."""

    name: str
    kind: Kind
    train: int
    validation: int
    test: int
    test_is_given: bool
    labels: tuple[str, ...]

    @property
    def plan(self) -> TaskPlan:
        """As a plan names it."""
        return TaskPlan(name=self.name, kind=self.kind)


def task_files(asked: Iterable[str]) -> tuple[TaskFile, ...]:
    """The tasks that `--tasks` names; the kind is told by the file where it is not said.

    Raises ConfigError for two tasks of one name and for what is no task, DataError for a file that is not there.
    """
    found = [_task_file(text) for text in asked]
    names = [task.name for task in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"two tasks are called {twice}\n{_WAY_OUT}")
    return tuple(found)


def divide_task(task: TaskFile, folder: Path, data: DataSettings, *, test_share: float, most: int) -> DividedTask:
    """Write a task's parts to a new folder: train.jsonl, validation.jsonl and test.jsonl, at most `most` to test on.

    data: names the fields of the label and of a second text, where it does; a test file has the columns of the other.

    Raises DataError for a bad file, an empty part, and labels that training has not.
    """
    folder.mkdir(parents=True)
    parts: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
    share = 0.0 if task.test is not None else test_share
    fields = LabelledFields(label=data.label_field, other=data.other_field)
    if task.kind == "classify":
        fields = read_labelled(task.path, label_field=fields.label, other_field=fields.other).columns()
    for row in _rows(task.path, task.kind, fields):
        parts[_part(row, share)].append(row)
    if task.test is not None:
        parts["test"] = list(_rows(task.test, task.kind, fields))
    parts["train"] += parts["test"][most:] if task.test is None else []
    parts["test"] = parts["test"][:most]
    for name, rows in parts.items():
        if not rows:
            raise DataError(
                f"{task.path} has too few examples: none are left for its {name} part\n"
                "Give more, or a file to test on: FILE+TESTFILE."
            )
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    if "other" in parts["train"][0]:
        (folder / PAIRED).touch()
    return DividedTask(
        name=task.name,
        kind=task.kind,
        train=len(parts["train"]),
        validation=len(parts["validation"]),
        test=len(parts["test"]),
        test_is_given=task.test is not None,
        labels=_labels(task, parts) if task.kind == "classify" else (),
    )


def _task_file(text: str) -> TaskFile:
    rest, name, kind = text.strip(), "", ""
    if not Path(rest).exists() and (given := re.fullmatch(r"(?:([^=/]+)=)?(?:([a-z]+):)?(.+)", rest)) is not None:
        name, kind, rest = given.group(1) or "", given.group(2) or "", given.group(3)
    first, plus, second = (rest, "", "") if Path(rest).exists() else rest.partition("+")
    path = Path(first)
    name = name or path.name.partition(".")[0]
    if not rest or _NAME.fullmatch(name) is None:
        raise ConfigError(f"a task's name is of letters, digits and _, but got {name!r}\n{_WAY_OUT}")
    if kind not in ("", *_KINDS):
        raise ConfigError(f"a comparison's tasks classify or answer, but got {kind!r}\n{_WAY_OUT}")
    return TaskFile(
        name=name,
        kind=cast(Kind, kind or _kind(path)),
        path=path,
        test=Path(second) if plus else None,
    )


def _kind(path: Path) -> Kind:
    """Told by the file: SQuAD's .json, and lines with a context and a question, are questions; tables have labels."""
    if not path.is_file():
        raise DataError(f"there is no file {path}\n{_WAY_OUT}")
    kind = kind_of(path)
    if kind == ".json":
        return "answer"
    if kind in (".tsv", ".csv", ".parquet"):
        return "classify"
    if kind == ".jsonl":
        line = next((line for line in text_lines(path) if not line.isspace()), "")
        try:
            table = json.loads(line)
        except ValueError:
            table = None
        is_question = isinstance(table, dict) and {"context", "question"} <= table.keys()
        return "answer" if is_question else "classify"
    raise ConfigError(f"{path} is neither labelled texts (.tsv .csv .jsonl .parquet) nor questions\n{_WAY_OUT}")


def _rows(path: Path, kind: Kind, fields: LabelledFields) -> Iterator[Row]:
    if kind == "answer":
        yield from map(_question_row, read_questions(path).questions)
        return
    given = read_labelled(path, text_field=fields.text, label_field=fields.label, other_field=fields.other)
    for example in given:
        if all(text.strip() for text in example.texts):
            yield _labelled_row(example)


def _labelled_row(example: Labelled) -> Row:
    second = {} if example.other is None else {"other": example.other}
    return {"text": example.text, **second, "label": example.labels[0]}


def _question_row(asked: Question) -> Row:
    answers = [{"text": text, "answer_start": start} for text, start in zip(asked.answers, asked.starts, strict=True)]
    return {"context": asked.context, "question": asked.question, "answers": answers}


def _part(row: Mapping[str, Any], test_share: float) -> str:
    place = sentence_digest(row.get("context") or row["text"]) / 2**64
    if place < test_share:
        return "test"
    return "validation" if place < test_share + _VALIDATION_SHARE * (1.0 - test_share) else "train"


def _labels(task: TaskFile, parts: Mapping[str, list[Row]]) -> tuple[str, ...]:
    """Raises DataError where a label is never trained on."""
    known = {row["label"] for row in parts["train"]}
    for name in ("validation", "test"):
        unknown = sorted({row["label"] for row in parts[name]} - known)
        if unknown:
            raise DataError(
                f"every label must stand in training, but {unknown[0]!r} of {task.path} is in its {name} part alone\n"
                "Give more examples of it, or take it out."
            )
    return tuple(sorted(known))
