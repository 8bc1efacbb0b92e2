"""What a folder says of its reader beside the weights: labels, pooling, calibration. Ours is reader.json.

Folders of others are read too: config.json of transformers, 1_Pooling/config.json, modules.json and
sentence_bert_config.json of sentence-transformers.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from headway.errors import ConfigError, FormatError
from headway.settings import from_dict, to_dict
from headway.storage import replace_file

READER = "reader.json"

Task = Literal["classify", "tag", "answer", "embed"]

_TASKS: tuple[tuple[str, Task], ...] = (
    ("ForSequenceClassification", "classify"),
    ("ForTokenClassification", "tag"),
    ("ForQuestionAnswering", "answer"),
)


@dataclass(frozen=True, kw_only=True)
class ReaderSettings:
    """How a reader's numbers become answers.

    task: None for a reader that only guesses hidden words. labels: by number; multi_label: a text may have several or
    none; pair: a text comes with a second one. scheme: of tags, "BIO", "BIOES", "IO" or "none". temperature: logits are
    divided by it. pooling, normalise: of embeddings. longest: tokens of a row in training, None: what the model holds;
    stride: tokens that windows of a long context have in common. no_answer_threshold: a question has no answer where
    the score of none is above the best answer's by more. abstention: (confidence, error rate, share kept) triples, on
    validation data: of the texts answered with at least that confidence. calibration: "error_before", "error_after"
    and "examples".
    """

    task: Task | None = None
    labels: tuple[str, ...] = ()
    multi_label: bool = False
    pair: bool = False
    scheme: str | None = None
    temperature: float = 1.0
    pooling: Literal["mean", "cls"] = "mean"
    normalise: bool = True
    longest: int | None = None
    stride: int | None = None
    no_answer_threshold: float = 0.0
    abstention: tuple[tuple[float, float, float], ...] = ()
    calibration: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0.0 < self.temperature < 1e6:
            raise ConfigError(f"temperature must be above 0, but got {self.temperature}")
        for name in ("longest", "stride"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, but got {value}")
        if len(set(self.labels)) != len(self.labels):
            raise ConfigError(f"labels must differ, but got {', '.join(self.labels)}")


def read_reader_settings(folder: str | Path) -> ReaderSettings:
    """The settings in reader.json; without it what the ecosystem's files say. Raises FormatError for a damaged file."""
    folder = Path(folder)
    own = folder / READER
    if own.is_file():
        try:
            return from_dict(ReaderSettings, _table(own))
        except ConfigError as error:
            raise FormatError(f"{own} is damaged: {error}; mend it, or train the model again") from error
    pooling, normalise = _pooling(folder)
    task, labels, multi_label = _head(folder)
    return ReaderSettings(
        task="embed" if task is None and pooling is not None else task,
        labels=labels,
        multi_label=multi_label,
        scheme=_scheme(labels) if task == "tag" else None,
        pooling=pooling or "mean",
        normalise=normalise,
        longest=_longest(folder),
    )


def write_reader_settings(folder: Path, settings: ReaderSettings) -> None:
    """Put reader.json into a model folder, whole or not at all. Raises StorageError."""
    text = json.dumps(to_dict(settings), indent=1, ensure_ascii=False) + "\n"
    replace_file(folder / READER, lambda path: _write(path, text))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _head(folder: Path) -> tuple[Task | None, tuple[str, ...], bool]:
    """Task, labels and whether a text may have several, by config.json."""
    path = folder / "config.json"
    if not path.is_file():
        return None, (), False
    config = _table(path)
    architectures = [name for name in config.get("architectures") or [] if isinstance(name, str)]
    task = next((task for ending, task in _TASKS if any(name.endswith(ending) for name in architectures)), None)
    if task not in ("classify", "tag"):
        return task, (), False
    names = config.get("id2label")
    labels: tuple[str, ...] = ()
    if isinstance(names, dict) and names:
        try:
            labels = tuple(str(names[str(number)]) for number in range(len(names)))
        except KeyError as error:
            raise FormatError(
                f"{path}: id2label must have a name for each number from 0 to {len(names) - 1}, but has none for "
                f"{error}; mend it"
            ) from None
    return task, labels, config.get("problem_type") == "multi_label_classification"


def _pooling(folder: Path) -> tuple[Literal["mean", "cls"] | None, bool]:
    """How sentence-transformers pools, None where it does not say; and whether it normalises."""
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return None, True
    table = _table(path)
    named = table.get("pooling_mode")
    modes = {name.removeprefix("pooling_mode_") for name, value in table.items() if value is True}
    modes |= {named} if isinstance(named, str) else set()
    modules = folder / "modules.json"
    normalises = not modules.is_file() or "Normalize" in modules.read_text(encoding="utf-8", errors="replace")
    if modes & {"mean_tokens", "mean"}:
        return "mean", normalises
    if modes & {"cls_token", "cls"}:
        return "cls", normalises
    raise FormatError(f"{path} pools by {', '.join(sorted(map(str, modes))) or 'nothing'}; known are mean and cls")


def _longest(folder: Path) -> int | None:
    path = folder / "sentence_bert_config.json"
    value = _table(path).get("max_seq_length") if path.is_file() else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _scheme(labels: tuple[str, ...]) -> str:
    """As corpus/tag_schemes.py tells them, which this room may not ask."""
    prefixes = {label[0] for label in labels if label[1:2] == "-"}
    if prefixes & set("ESLU"):
        return "BIOES"
    return "BIO" if "B" in prefixes else "IO" if prefixes else "none"


def _table(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is not readable as JSON: {error!s:.200}; fetch it again") from error
    if not isinstance(table, dict):
        raise FormatError(f"{path} must be a table, but it holds a {type(table).__name__}")
    return table
