"""`headway train`: from a folder of text to a model folder, with the progress on stderr."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from headway.cli.output import bytes_text, count_text, note, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headway.training.report import Evaluation, Progress
    from headway.training.run import TrainResult


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long to train: one of them; 10 minutes where none is given."""

    minutes: Annotated[float | None, Parameter(help="Minutes of wall time, added up over resumes.")] = None
    steps: Annotated[int | None, Parameter(help="Optimiser steps.")] = None
    tokens: Annotated[int | None, Parameter(help="Tokens read.")] = None
    epochs: Annotated[float | None, Parameter(help="Passes over the text.")] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Run:
    """Where the run comes from and how it is changed."""

    family: Annotated[
        str | None,
        Parameter(
            help="gpt2 (the default), laplace, bert, fnet and hartley learn from text; transformer, rnnsearch and "
            "rnn-fixed from pairs."
        ),
    ] = None
    task: Annotated[
        Literal["classify", "tag", "answer", "embed"] | None,
        Parameter(help="What to fine-tune a reader to, with labelled data in DATA; see docs/fine-tune.md."),
    ] = None
    target: Annotated[
        Path | None, Parameter(help="Pairs in two files: the targets, line by line; DATA then holds the sources.")
    ] = None
    start: Annotated[
        str | None, Parameter(name="--from", help="A model folder or bundled model to fine-tune, with its tokenizer.")
    ] = None
    lora: Annotated[
        int | None,
        Parameter(help="Train low-rank adapters of this rank on the --from model, whose own weights then stay."),
    ] = None
    recipe: Annotated[Path | None, Parameter(help="A TOML file with the whole run; what is given here wins.")] = None
    seed: Annotated[int | None, Parameter(help="The seed of everything that is drawn.")] = None
    settings: Annotated[
        tuple[str, ...],
        Parameter(name="--set", help="Any setting: --set train.save_every=10. Repeatable.", show_default=False),
    ] = ()


def train(
    data: Annotated[
        str | None,
        Parameter(help="Text: .txt .md .jsonl .csv .parquet; pairs or labelled: also .tsv .tmx .conll .json."),
    ] = None,
    /,
    *,
    output: Annotated[str | None, Parameter(name=["--output", "-o"], help="The model folder to write.")] = None,
    budget: Budget | None = None,
    run: Run | None = None,
    json: Annotated[bool, Parameter(help="Print one JSON object at the end.")] = False,
) -> None:
    """Train a model on text, pairs or labelled data, or fine-tune one with --from; the same command resumes a run.

    Example: headway train my-texts/ -o my-model --minutes 10

    Example: headway train pairs.tsv -o my-translator --family transformer --minutes 30

    Example: headway train reviews.tsv --from reader --task classify -o my-judge
    """
    from headway.settings import to_dict
    from headway.training.recipe import recipe_from
    from headway.training.run import train as train_recipe

    budget, run = budget or Budget(), run or Run()
    named = {
        "model.family": run.family,
        "task": run.task,
        "data.target_path": run.target,
        "train.seed": run.seed,
        "adapter.rank": run.lora,
    }
    assignments = [f"{name}={value}" for name, value in named.items() if value is not None]
    recipe = recipe_from(
        data,
        output,
        start=run.start,
        budget=to_dict(budget),
        assignments=[*assignments, *run.settings],
        file=run.recipe,
    )
    result = train_recipe(recipe, reporter=Printer())
    if json:
        print_json(to_dict(result))
        return
    if result.already_finished:
        note("This run is finished already; a larger budget needs another folder, or --from this one.")
    if result.validation_loss is not None:
        found = _measured(result.validation_loss, result.validation_bits_per_byte, result.scores)
        note(
            f"Done after {result.steps:,} steps and {_clock(result.seconds)}: {found} on the validation data, "
            f"at step {result.best_step}."
        )
    note(f"Next: headway {_next_command(result)}")
    print(result.folder)


def _next_command(result: "TrainResult") -> str:
    """What to do with the model."""
    from headway.models.registry import family

    folder = result.folder
    if result.task is not None:
        return {
            "classify": f'classify {folder} --text "A text."',
            "tag": f'tag {folder} "A sentence."',
            "answer": f'answer {folder} --context page.txt "A question?"',
            "embed": f"embed {folder} file.txt",
        }[result.task]
    kind = family(result.family)
    if kind.reads_source:
        return f'translate {folder} "A sentence."'
    return f'write {folder} "A beginning"' if kind.decoder else f'fill {folder} "A [MASK] to guess."'


def _measured(loss: float, bits_per_byte: float | None, scores: "Mapping[str, float]") -> str:
    """Bits per byte, or else the loss, and what else was measured."""
    first = f"loss {loss:.3f}" if bits_per_byte is None else f"{bits_per_byte:.3f} bits/byte"
    return ", ".join([first, *(f"{name.replace('_', ' ')} {value:.3f}" for name, value in scores.items())])


class Printer:
    """Shows a run on stderr: one line that is renewed on a terminal, a line each where it is not one."""

    def __init__(self) -> None:
        self._renews = sys.stderr.isatty()
        self._open = False

    def note(self, text: str) -> None:
        """A sentence on its own line."""
        self._line(text)

    def progress(self, progress: "Progress") -> None:
        """The progress line: loss, bits per byte, speed, memory, time left."""
        bits = "" if progress.bits_per_byte is None else f"{progress.bits_per_byte:.3f} bits/byte  "
        text = (
            f"{progress.share:4.0%}  step {progress.step}  loss {progress.loss:.3f}  "
            f"{bits}{count_text(progress.tokens_per_second)} tokens/s  "
            f"{bytes_text(progress.memory)}  {_clock(progress.seconds_left)} left"
        )
        if self._renews:
            width = shutil.get_terminal_size().columns - 1  # a wrapped line could not be renewed
            print(f"\r\x1b[2K{text[:width]}", end="", file=sys.stderr, flush=True)
            self._open = True
        else:
            self._line(text)

    def evaluation(self, evaluation: "Evaluation") -> None:
        """What the validation text says."""
        kept = ", the best so far" if evaluation.best else ""
        more = [f"{name.replace('_', ' ')} {value:.3f}" for name, value in evaluation.scores.items()]
        if evaluation.validation_bits_per_byte is not None:
            more.insert(0, f"{evaluation.validation_bits_per_byte:.3f} bits/byte")
        self._line(
            f"      step {evaluation.step}  validation loss {evaluation.validation_loss:.3f}"
            f"{'  ' if more else ''}{'  '.join(more)}{kept}"
        )

    def sample(self, text: str) -> None:
        """What the model writes now."""
        self._line(f"      writes: {' '.join(text.split())}")

    def _line(self, text: str) -> None:
        if self._open:
            print(file=sys.stderr)
            self._open = False
        note(text)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
