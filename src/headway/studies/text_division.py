"""The text of a comparison, divided once: to train on, to measure on while training, to test on; its tasks likewise.

Long documents are cut between words into pieces, so that every part has some of a text that is one long document.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from headway.corpus.documents import Documents, fingerprint, read_documents, text_bytes
from headway.errors import DataError, FormatError, TrainingError
from headway.settings import from_dict, to_dict
from headway.storage import new_folder
from headway.studies.division import DATA
from headway.studies.plan import CompareSettings, TaskPlan
from headway.studies.task_files import TASKS, DividedTask, TaskFile, divide_task
from headway.training.recipe import DataSettings
from headway.training.report import Reporter

_ABOUT = "about.json"
_LONGEST_PIECE, _SHORTEST_PIECE = 50_000, 200  # characters
_PIECES = 40  # a text has about so many at least
_MOST_ASIDE = 300_000  # characters of a part kept aside: more tell hardly more and take time
_PARTS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class TextDivision:
    """What was divided: bytes of text in each part, the documents or pieces of the test part, and each task's parts."""

    fingerprint: str
    train: int
    validation: int
    test: int
    test_documents: int
    test_is_given: bool
    task_parts: tuple[DividedTask, ...] = ()

    @property
    def tasks(self) -> tuple[TaskPlan, ...]:
        """As a plan names them."""
        return tuple(task.plan for task in self.task_parts)


def text_fingerprint(asked: CompareSettings, data: DataSettings, tasks: Iterable[TaskFile]) -> str:
    """The content of every file a comparison reads, as one hash."""
    texts = ["none" if path is None else fingerprint(path) for path in (asked.data, data.validation, asked.test)]
    return "+".join([*texts, *(task.fingerprint() for task in tasks)])


def text_division_of(
    folder: Path,
    asked: CompareSettings,
    data: DataSettings,
    tasks: Iterable[TaskFile],
    *,
    read: str,
    reporter: Reporter,
) -> TextDivision:
    """The division a comparison's folder holds, made now where it holds none; read: the fingerprint of what is read.

    Raises DataError for text that cannot be read or divided, TrainingError where the folder's is of another text.
    """
    path = folder / DATA / _ABOUT
    if path.exists():
        try:
            found = from_dict(TextDivision, json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise FormatError(f"{path} is damaged: {error}; compare into another folder") from error
        if found.fingerprint != read:
            raise TrainingError(
                f"{folder} holds a comparison on other data than {asked.data} holds now;\n"
                f"compare into another folder with -o"
            )
        return found
    with new_folder(folder / DATA, overwrite=True) as building:
        division = _divide(building, asked, data, tasks, read)
        (building / _ABOUT).write_text(json.dumps(to_dict(division), indent=1), encoding="utf-8")
    reporter.note(
        f"{division.train:,} bytes of text to train on, {division.validation:,} to choose by, {division.test:,} to "
        f"test on"
    )
    for task in division.task_parts:
        reporter.note(
            f"{task.name}: {task.train:,} examples to train on, {task.validation:,} to choose by, {task.test:,} to "
            f"test on"
        )
    return division


def documents_to_test(folder: Path) -> list[str]:
    """The documents, or pieces of documents, to test on."""
    return [document.text for document in read_documents(folder / DATA / "test.jsonl")]


def _divide(
    building: Path, asked: CompareSettings, data: DataSettings, tasks: Iterable[TaskFile], read: str
) -> TextDivision:
    documents = read_documents(asked.data, text_field=data.text_field)
    total = sum(len(document.text) for document in documents)
    size = max(_SHORTEST_PIECE, min(_LONGEST_PIECE, total // _PIECES))
    shares = {
        "test": 0.0 if asked.test is not None else min(asked.test_share, _MOST_ASIDE / max(total, 1)),
        "validation": 0.0 if data.validation is not None else min(data.validation_share, _MOST_ASIDE / max(total, 1)),
    }
    sizes = dict.fromkeys(_PARTS, 0)
    counts = dict.fromkeys(_PARTS, 0)
    with (
        open(building / "train.jsonl", "w", encoding="utf-8") as train,
        open(building / "validation.jsonl", "w", encoding="utf-8") as validation,
        open(building / "test.jsonl", "w", encoding="utf-8") as test,
    ):
        files = {"train": train, "validation": validation, "test": test}
        given = {"validation": data.validation, "test": asked.test}
        parts = [(None, documents)] + [
            (name, read_documents(path, text_field=data.text_field)) for name, path in given.items() if path is not None
        ]
        for name, found in parts:
            for part, text in _placed(_pieces(found, size), shares) if name is None else _all(found, size, name):
                files[part].write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
                sizes[part] += text_bytes(text)
                counts[part] += 1
    empty = next((name for name in _PARTS if not counts[name]), None)
    if empty is not None:
        raise DataError(
            f"{asked.data} has too little text: none is left for the {empty} part\n"
            "Give more text, or other text to test on with --test FILE"
        )
    inside = building / TASKS
    return TextDivision(
        fingerprint=read,
        train=sizes["train"],
        validation=sizes["validation"],
        test=sizes["test"],
        test_documents=counts["test"],
        test_is_given=asked.test is not None,
        task_parts=tuple(
            divide_task(task, inside / task.name, data, test_share=asked.test_share, most=asked.test_sentences)
            for task in tasks
        ),
    )


def _all(documents: Documents, size: int, part: str) -> Iterator[tuple[str, str]]:
    return ((part, text) for text in _pieces(documents, size))


def _placed(pieces: Iterable[str], shares: dict[str, float]) -> Iterator[tuple[str, str]]:
    """Each piece with its part: those kept aside lie evenly spread over the text, measured in characters."""
    taken = dict.fromkeys(shares, 0)
    seen = 0
    for text in pieces:
        seen += len(text)
        # The part that is furthest behind its share gets the piece, once the piece's middle lies within that share.
        behind = {part: share * seen - taken[part] for part, share in shares.items() if share > 0.0}
        part = max(behind, key=lambda name: behind[name], default="train")
        if part != "train" and behind[part] < len(text) / 2:
            part = "train"
        if part != "train":
            taken[part] += len(text)
        yield part, text


def _pieces(documents: Documents, size: int) -> Iterator[str]:
    """The documents, those longer than `size` characters cut before a line or a word."""
    for document in documents:
        text = document.text
        while len(text) > size:
            cut = max(text.rfind("\n", size // 2, size), 0) or max(text.rfind(" ", size // 2, size), 0) or size
            yield text[:cut]
            text = text[cut:]
        if text and not text.isspace():
            yield text
