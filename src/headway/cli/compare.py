"""`headway compare`: several families trained alike on your pairs or text, and one report of what can be said."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from headway.cli.output import note, print_json
from headway.errors import UsageError

if TYPE_CHECKING:
    from headway.training.recipe import BudgetSettings

_SUFFIXES = {"k": 1e3, "M": 1e6, "B": 1e9}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Trial:
    """What every family gets."""

    equal: Annotated[
        Literal["parameters", "flops", "tokens", "minutes"],
        Parameter(help="What is equal: parameters, counted training operations, tokens read, or wall time alone."),
    ] = "parameters"
    minutes: Annotated[float | None, Parameter(help="Minutes of training in all, divided evenly over the runs.")] = None
    steps: Annotated[int | None, Parameter(help="Steps of each run instead, to get the same report each time.")] = None
    seeds: Annotated[int, Parameter(help="Runs of each family; with one there is no verdict.")] = 3
    parameters: Annotated[str | None, Parameter(help="Parameters of each model: 3.6M; default: by the budget.")] = None
    rates: Annotated[
        str, Parameter(help="Learning rates tried first, times each family's own; 1 alone: none are tried.")
    ] = "0.5,1,2"
    beam: Annotated[int, Parameter(help="Hypotheses of the search, for all.")] = 4


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Material:
    """What is learnt and what is measured."""

    test: Annotated[str | None, Parameter(help="Pairs or text to score on; default: some are kept aside.")] = None
    test_sentences: Annotated[int, Parameter(help="The most test sentences, or examples of a task.")] = 2000
    probe: Annotated[bool, Parameter(help="Also measure which source words can be read from what is encoded.")] = False
    settings: Annotated[
        tuple[str, ...],
        Parameter(
            name="--set", help="Any setting of data, tokenizer or train: --set tokenizer.vocabulary=4096. Repeatable."
        ),
    ] = ()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Tasks:
    """What readers are fine-tuned to do after they have read."""

    tasks: Annotated[
        str, Parameter(help="Labelled texts or questions, with commas: FILE, FILE+TESTFILE or NAME=classify:FILE.")
    ] = ""
    task_epochs: Annotated[float | None, Parameter(help="Passes of each fine-tuning over its file; default 3.")] = None
    task_minutes: Annotated[float | None, Parameter(help="Minutes of each fine-tuning instead.")] = None
    task_steps: Annotated[int | None, Parameter(help="Steps of each fine-tuning instead.")] = None
    scratch: Annotated[bool, Parameter(help="Also learn each task from nothing.")] = False


def compare(
    data: Annotated[str, Parameter(help="A file or folder of pairs (.tsv .jsonl .csv .parquet .tmx), or of text.")],
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="The folder for the report and all models.")],
    families: Annotated[
        str,
        Parameter(help="Two or more of rnn-fixed, rnnsearch, transformer, or of gpt2, bert, fnet, hartley, laplace."),
    ] = ("rnn-fixed,rnnsearch,transformer"),
    trial: Trial | None = None,
    material: Material | None = None,
    on: Tasks | None = None,
    json: Annotated[bool, Parameter(help="Print report.json.")] = False,
) -> None:
    """Train families on the same data, batches and order; report what can be said. The same command resumes.

    Example: headway compare pairs.tsv --families rnn-fixed,rnnsearch,transformer --minutes 60 -o report/
    Example: headway compare texts/ --families bert,gpt2 --equal tokens --tasks reviews.tsv -o report/
    """
    from headway.cli.train import Printer
    from headway.studies.compare import PAGE
    from headway.studies.compare import compare as carry_out
    from headway.studies.plan import CompareSettings

    trial, material, on = trial or Trial(), material or Material(), on or Tasks()
    asked = CompareSettings(
        data=data,
        families=tuple(name.strip() for name in families.split(",") if name.strip()),
        equal=trial.equal,
        minutes=60.0 if trial.minutes is None and trial.steps is None else trial.minutes,
        steps=trial.steps,
        seeds=trial.seeds,
        parameters=None if trial.parameters is None else round(_count("--parameters", trial.parameters)),
        test=material.test,
        probe=material.probe,
        rate_factors=tuple(_count("--rates", part) for part in trial.rates.split(",")),
        test_sentences=material.test_sentences,
        beam=trial.beam,
        tasks=tuple(name.strip() for name in on.tasks.split(",") if name.strip()),
        tuning=_tuning(on),
        scratch=on.scratch,
        settings=material.settings,
    )
    found = carry_out(asked, output, reporter=Printer())
    if json:
        print_json(found)
        return
    for sentence in found["what_can_be_said"]:
        note(f"- {sentence}")
    print(output / PAGE)


def _tuning(on: Tasks) -> "BudgetSettings":
    """The budget of each fine-tuning."""
    from headway.training.recipe import BudgetSettings

    given = {"epochs": on.task_epochs, "minutes": on.task_minutes, "steps": on.task_steps}
    if sum(value is not None for value in given.values()) > 1:
        raise UsageError("give one of --task-epochs, --task-minutes and --task-steps")
    if on.task_steps is not None:
        return BudgetSettings(steps=on.task_steps)
    if on.task_minutes is not None:
        return BudgetSettings(minutes=on.task_minutes)
    return BudgetSettings(epochs=3.0 if on.task_epochs is None else on.task_epochs)


def _count(option: str, text: str) -> float:
    """3.6M, 4000000, 0.5. Raises UsageError for anything else."""
    text = text.strip()
    unit = _SUFFIXES.get(text[-1:], 1.0)
    try:
        return float(text[:-1] if unit != 1.0 else text) * unit
    except ValueError as error:
        raise UsageError(f"{option} takes a number such as 3.6M or 0.5, but got {text!r}") from error
