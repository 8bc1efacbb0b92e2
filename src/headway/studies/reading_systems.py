"""The trained readers and writers of a comparison at work: what they say of the test text, and their answers to tasks.

Each is a file of its own beside the results, so that a comparison that was stopped does not measure again.
"""

import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy
import torch

from headway.corpus.documents import text_bytes
from headway.corpus.labelled import Labelled, read_labelled
from headway.corpus.questions import Question, read_questions
from headway.errors import DataError, FormatError
from headway.evaluation.masked_text import HidingSettings, score_masked_text
from headway.evaluation.perplexity import score_windows
from headway.evaluation.windows import windows
from headway.models.registry import family_of
from headway.settings import from_dict, to_dict
from headway.studies.division import DATA
from headway.studies.plan import PAIRED, Plan, TaskPlan, family_behind
from headway.studies.runs import RESULTS, RunResult, save_result
from headway.studies.systems import model_folder, run_of
from headway.studies.task_files import TASKS
from headway.tasks.reader import Reader
from headway.tasks.writer import Writer
from headway.text.tokenizer import Tokenizer
from headway.training.report import Reporter

EVERY_TOKEN_WINDOWS = 12
"""Windows of the test text in which a reader guesses each token in turn, which costs a pass for each token."""

Measure = TypeVar("Measure")

_WINDOWS_AT_ONCE = 16
_SPEED_ROWS, _SPEED_ROUNDS = 16, 5


@dataclass(frozen=True, kw_only=True)
class TextMeasure:
    """What a final run's model says of the test text, piece by piece; none of it hidden to a writer, and so on.

    written: (bits, bytes) of each document by the chain rule, of a model that writes. guessed: (bits, right, asked)
    of each document's hidden tokens; each_guessed: (bits, bytes) of each window whose tokens were hidden in turn.
    """

    written: tuple[tuple[float, float], ...] = ()
    guessed: tuple[tuple[float, float, float], ...] = ()
    each_guessed: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class TaskMeasure:
    """What a fine-tuned run's model says of each test example: a label, or an answer's text."""

    given: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ReadingSystem:
    """A run that trained to its end, with what its model said."""

    result: RunResult
    text: TextMeasure | None = None
    task: TaskMeasure | None = None

    @property
    def family(self) -> str:
        """The family it is of."""
        return self.result.family


def measure_all(
    plan: Plan, folder: Path, results: Sequence[RunResult], documents: Sequence[str], reporter: Reporter
) -> list[ReadingSystem]:
    """What every run that is compared and did not diverge makes of the test parts, measured now where it is not yet."""
    systems = []
    kinds = {task.name: task for task in plan.tasks}
    for result in results:
        if result.stage == "sweep" or result.diverged:
            continue
        name = run_of(result).name
        path = folder / RESULTS / f"{name}.measured.json"
        if not path.exists():
            reporter.note(f"{name} is measured")
            if result.task:
                made: TextMeasure | TaskMeasure = _measure_task(folder, result, kinds[result.task])
            else:
                made = _measure_text(plan, folder, result, documents)
            save_result(path, to_dict(made))
        if result.task:
            systems.append(ReadingSystem(result=result, task=_load(path, TaskMeasure)))
        else:
            systems.append(ReadingSystem(result=result, text=_load(path, TextMeasure)))
    return systems


def labelled_part(folder: Path, task: str, part: str) -> list[Labelled]:
    """The examples of a part of a task of labels."""
    inside = folder / DATA / TASKS / task
    other = "other" if (inside / PAIRED).exists() else None
    return list(read_labelled(inside / f"{part}.jsonl", text_field="text", label_field="label", other_field=other))


def question_part(folder: Path, task: str, part: str) -> tuple[Question, ...]:
    """The questions of a part of a task of questions."""
    return read_questions(folder / DATA / TASKS / task / f"{part}.jsonl").questions


def reading_speeds(plan: Plan, folder: Path, systems: Sequence[ReadingSystem], reporter: Reporter) -> dict[str, float]:
    """Tokens a second through each family's body, rows of the training length, in turn and several times: medians."""
    first = {system.family: system for system in reversed(systems) if system.text is not None}
    models = {
        found.name: _opened(model_folder(folder, first[found.name].result))
        for found in plan.families
        if found.name in first
    }
    rows = min(int(found.recipe["train"]["window"]) for found in plan.families)
    reporter.note(f"reading speed, on {_SPEED_ROWS} rows of {rows} tokens in {_SPEED_ROUNDS} rounds")
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(_SPEED_ROUNDS):
        for name, (model, _tokenizer) in models.items():
            ids = torch.arange(_SPEED_ROWS * rows).reshape(_SPEED_ROWS, rows) % model.config.vocabulary
            ids = ids.to(next(model.parameters()).device)
            began = time.perf_counter()
            with torch.inference_mode():
                model.encode(ids).sum().item()
            seconds[name].append(time.perf_counter() - began)
    return {name: _SPEED_ROWS * rows / median(found) for name, found in seconds.items()}


def _measure_text(plan: Plan, folder: Path, result: RunResult, documents: Sequence[str]) -> TextMeasure:
    """A writer's documents, each behind an end of text; a reader's hidden words, in windows as in training."""
    place = model_folder(folder, result)
    if family_behind(result.family).decoder:
        rows = int(plan.family(result.family).recipe["train"]["window"])
        return TextMeasure(written=tuple(_written(place, documents, rows)))
    reader = Reader(place, engine="torch")
    guessed, each = [], []
    with tempfile.TemporaryDirectory() as name:
        piece = Path(name) / "piece.txt"
        for text in documents:
            try:
                piece.write_text(text, encoding="utf-8")
                found = score_masked_text(reader, piece)
            except DataError:  # a piece without a word that could be hidden
                continue
            bits = found.bits_per_masked_token * found.masked
            guessed.append((bits, round(found.masked_accuracy * found.masked), found.masked))
        for text in _spread_windows(reader.tokenizer, documents, reader.model.config.context - 2):
            piece.write_text(text, encoding="utf-8")
            every = score_masked_text(reader, piece, hiding=HidingSettings(every=True))
            each.append((every.bits_per_masked_token * every.masked, text_bytes(text)))
    return TextMeasure(
        guessed=tuple((bits, float(right), float(asked)) for bits, right, asked in guessed),
        each_guessed=tuple((bits, float(size)) for bits, size in each),
    )


def _written(place: Path, documents: Sequence[str], rows: int) -> list[tuple[float, float]]:
    """Bits by the chain rule, in windows of which half is new, and bytes, of each document."""
    writer = Writer(place)
    model: Any = writer.model
    found = []
    for text in documents:
        ids = numpy.concatenate([[writer.tokenizer.end_of_text], *writer.tokenizer.encode_corpus([text])])
        pieces = list(windows(ids, rows, max(1, rows // 2)))
        parts = [pieces[place : place + _WINDOWS_AT_ONCE] for place in range(0, len(pieces), _WINDOWS_AT_ONCE)]
        nats = sum(score_windows(model, part) for part in parts)
        found.append((nats / math.log(2), float(text_bytes(text))))
    return found


def _spread_windows(tokenizer: Tokenizer, documents: Sequence[str], room: int) -> list[str]:
    """Texts of at most `room` tokens each, from the beginnings of evenly spread documents."""
    chosen = [documents[place * len(documents) // EVERY_TOKEN_WINDOWS] for place in range(EVERY_TOKEN_WINDOWS)]
    texts = []
    for text in dict.fromkeys(chosen):
        ids, spans = tokenizer.encode_with_spans(text[: 20 * room])
        cut = text if len(ids) <= room and len(text) <= 20 * room else text[: spans[min(room, len(ids)) - 1][1]]
        while len(tokenizer.encode(cut)) > room:  # a cut word may have more pieces than it had in its place
            cut = cut[:-1]
        if cut.strip():
            texts.append(cut)
    return texts


def _measure_task(folder: Path, result: RunResult, task: TaskPlan) -> TaskMeasure:
    reader = Reader(model_folder(folder, result), engine="torch")
    if task.kind == "classify":
        examples = labelled_part(folder, task.name, "test")
        texts: Any = [example.text if example.other is None else (example.text, example.other) for example in examples]
        return TaskMeasure(given=tuple(one.label or "" for one in reader.classify(texts)))
    asked = question_part(folder, task.name, "test")
    found = reader.answers(
        [(question.question, question.context) for question in asked],
        no_answer=not all(question.answers for question in asked),
    )
    return TaskMeasure(given=tuple(best[0].text for best in found))


def _opened(place: Path) -> tuple[Any, Tokenizer]:
    from headway.formats.folder import load

    model, tokenizer = load(place, dtype=torch.float32)
    assert tokenizer is not None and family_of(model) is not None
    return model, tokenizer


def _load(path: Path, kind: type[Measure]) -> Measure:
    try:
        table: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return from_dict(kind, table)
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} is damaged: {error}; delete it, and it is measured again") from error
