"""What a run tells while it goes: to a person through a `Reporter`, to programs through metrics.jsonl."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands after `step`: loss in nats per token, rates per second, memory in bytes.

    bits_per_byte is None where the loss is not of a text's every token.
    """

    step: int
    share: float
    loss: float
    bits_per_byte: float | None
    learning_rate: float
    gradient_norm: float
    tokens: int
    tokens_per_second: float
    memory: int
    seconds: float
    seconds_left: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The validation data measured after `step`; `best`: better than ever before, so these weights were kept.

    scores: what else was measured, by name.
    """

    step: int
    validation_loss: float
    validation_bits_per_byte: float | None
    best: bool
    seconds: float
    scores: Mapping[str, float]


class Reporter(Protocol):
    """Receives what happens; the command line prints it."""

    def note(self, text: str) -> None:
        """A choice made or a thing to know, a sentence."""

    def progress(self, progress: Progress) -> None:
        """Every `log_every` steps."""

    def evaluation(self, evaluation: Evaluation) -> None:
        """The validation text was measured."""

    def sample(self, text: str) -> None:
        """What the model writes now."""


class Silent:
    """Reports nothing."""

    def note(self, text: str) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def evaluation(self, evaluation: Evaluation) -> None: ...

    def sample(self, text: str) -> None: ...


class Metrics:
    """metrics.jsonl: one JSON object a line, {"kind": "progress" | "evaluation" | "sample", "step": ...}."""

    def __init__(self, path: Path, *, up_to: int) -> None:
        """Opens for appending; lines of steps after `up_to`, which a resumed run takes again, are dropped."""
        self._path = path
        kept = []
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    if json.loads(line)["step"] <= up_to:
                        kept.append(line)
                except (ValueError, KeyError, TypeError):
                    break  # the last line of a killed run may be cut short
        temporary = path.with_name(f"{path.name}.partial")
        temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        os.replace(temporary, path)

    def add(self, kind: str, entry: Progress | Evaluation) -> None:
        """Append one entry."""
        self._append({"kind": kind, **asdict(entry)})

    def add_sample(self, step: int, text: str) -> None:
        """Append what the model wrote at a step."""
        self._append({"kind": "sample", "step": step, "text": text})

    def _append(self, entry: dict[str, object]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
