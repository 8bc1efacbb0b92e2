"""From a recipe to a model folder: a new run, or the same one gone on with.

The same recipe on the same text in the same folder goes on where it stopped; anything else in that folder is refused.
"""

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from headway.errors import ConfigError, FormatError, StorageError, TrainingError
from headway.formats.folder import CARD, load, load_target_tokenizer
from headway.formats.reader_settings import read_reader_settings
from headway.models.registry import family
from headway.settings import from_dict, to_dict, without_none
from headway.storage import only_writer, replace_file, sweep
from headway.text.tokenizer import Tokenizer
from headway.training.adapters import attach, keep
from headway.training.averaging import FOLDER as AVERAGED
from headway.training.checkpoint import RunState, latest_checkpoint, load_checkpoint
from headway.training.defaults import model_config
from headway.training.layers import FROZEN, read_frozen
from headway.training.material import Tokenizers
from headway.training.optimizer import build_optimizer
from headway.training.prepare import DATA, RECIPE, RUN, RunRecord, card, material_of, prepare
from headway.training.reading import calibration_sentence
from headway.training.recipe import Recipe, read_table
from headway.training.report import Reporter, Silent
from headway.training.schedule import Budget
from headway.training.trainer import Outlets, Trainer

_COMPILERS = ("g++", "clang++")
# Where a run reads and writes may change between resumes; the text itself is compared by content.
_PLACES = {"output", "data.path", "data.validation", "data.target_path", "data.validation_target"}
_FOLDERS = {"start", "tokenizer.folder"}


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a run came to.

    seconds: of work over all resumes. validation_loss (nats per token) and validation_bits_per_byte: of the weights
    kept, those of best_step; scores: what else was measured of them, by name. resumed_from: the step it went on from.
    already_finished: there was nothing to do.
    """

    folder: str
    family: str
    task: str | None
    steps: int
    seconds: float
    validation_loss: float | None
    validation_bits_per_byte: float | None
    scores: Mapping[str, float]
    best_step: int | None
    resumed_from: int | None
    already_finished: bool


Look = Callable[[nn.Module, Tokenizer], None]
"""Is shown the model, in evaluation mode, before the first step and at every evaluation; it must leave it as it is."""


def train(recipe: Recipe, *, reporter: Reporter | None = None, look: Look | None = None) -> TrainResult:
    """Train the recipe's model into its output folder, going on with the run that is there.

    Raises DataError, ConfigError, FormatError or StorageError for what cannot be trained, TrainingError where the
    folder holds another run or the loss is not finite, and Interrupted after Ctrl-C or SIGTERM, when the run is saved.
    """
    began = time.monotonic()
    reporter = reporter or Silent()
    output = Path(recipe.output)
    sweep(output)
    training = output / "training"
    resumes = (training / RUN).exists()
    if resumes:
        _check_same_run(recipe, training)
    elif output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise StorageError(f"{output} exists and holds no run to go on with; choose another folder with -o")
    else:
        _check_output(recipe, output)
        prepare(recipe, output, reporter, began=began)
        began = time.monotonic()
    with only_writer(training):
        sweep(training)
        checkpoint, state = latest_checkpoint(training)
        begun_at, done = state.step, state.finished
        complete = dataclasses.replace(_saved_recipe(training), output=recipe.output)
        if not done:
            if resumes:
                reporter.note(f"goes on from step {state.step}")
            state = _go_on(complete, checkpoint, state, reporter, began, look)
            if state.step == 0:
                reporter.note(
                    "the minutes went by before the first step: nothing was learnt, the weights are those it began "
                    "with; take another folder and more --minutes"
                )
        if (training / DATA).exists():  # not yet, or not wholly, by a run that was killed after its last step
            _finish(complete, reporter)
            _tidy(complete, state)
    return TrainResult(
        folder=str(output),
        family=complete.model["family"],
        task=complete.task,
        steps=state.step,
        seconds=state.seconds,
        validation_loss=state.best,
        validation_bits_per_byte=state.best_bits_per_byte,
        scores=state.best_scores,
        best_step=state.best_step,
        resumed_from=begun_at if resumes else None,
        already_finished=done,
    )


def _check_output(recipe: Recipe, output: Path) -> None:
    """Raises ConfigError for a place where a new model folder would harm the run."""
    place = output.resolve()
    if place == Path.cwd():
        raise ConfigError("the model needs a folder of its own, but got the current one; name another: -o my-model")
    for text in material_of(recipe).places:
        if place.is_relative_to(Path(text).resolve()):
            raise ConfigError(
                f"the model folder must lie outside the text, or it would be read as text, "
                f"but got {output} inside {text}; choose another folder with -o"
            )


def _saved_recipe(training: Path) -> Recipe:
    return from_dict(Recipe, read_table(training / RECIPE))


def _check_same_run(recipe: Recipe, training: Path) -> None:
    """Raises TrainingError where the folder's run had another recipe or other text."""
    saved = _saved_recipe(training)
    try:
        record = from_dict(RunRecord, json.loads((training / RUN).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise FormatError(f"{training / RUN} is damaged: {error}; train into another folder") from error
    material = material_of(recipe, saved.model["family"])
    if material.fingerprint() != record.data_fingerprint:
        raise TrainingError(
            f"{training.parent} holds a run on other text than {recipe.data.path} holds now;\n"
            f"train into another folder with -o, or start from it with --from {training.parent}"
        )
    wanted, _ = material.fill_in(recipe, record.facts, saved.model if recipe.start is not None else None)
    before, now = _flat(to_dict(saved)), _flat(to_dict(wanted))
    changed = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    if changed:
        differences = "; ".join(f"{key} was {before.get(key)} and is now {now.get(key)}" for key in changed[:3])
        raise TrainingError(
            f"{training.parent} holds a run with another recipe: {differences};\n"
            f"train into another folder with -o, or give the same command to go on with this run"
        )


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys to values, without None and without the places; a folder however its path is written."""
    flat: dict[str, Any] = {}
    for key, value in without_none(table).items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        elif f"{prefix}{key}" not in _PLACES:
            is_path = f"{prefix}{key}" in _FOLDERS and os.path.exists(value)
            flat[f"{prefix}{key}"] = os.path.realpath(value) if is_path else value
    return flat


def _go_on(
    recipe: Recipe, checkpoint: Path, state: RunState, reporter: Reporter, began: float, look: Look | None
) -> RunState:
    """Train from a checkpoint to the end of the budget."""
    output, settings = Path(recipe.output), recipe.train
    training = output / "training"
    assert settings.device is not None
    tokenizers = Tokenizers(source=Tokenizer.load(output), target=load_target_tokenizer(output))
    material = material_of(recipe)
    objective = material.objective(recipe, training / DATA, tokenizers)
    model = family(recipe.model["family"]).model(model_config(recipe.model)).to(settings.device)
    if recipe.adapter is not None:
        attach(model, recipe.adapter)
    optimizer = build_optimizer(model, settings)
    read_frozen(training, model)
    load_checkpoint(checkpoint, model, optimizer)
    if settings.compile:
        _compile(model, reporter)
    budget = Budget(
        settings=recipe.budget,
        tokens_per_step=objective.tokens_per_step,
        steps_per_epoch=objective.steps_per_epoch,
    )
    sample = material.sampler(recipe, training / DATA, tokenizers)
    if look is not None:
        look(model.eval(), tokenizers.source)
        sample = _looking(look, tokenizers.source, sample)
    outlets = Outlets(training=training, reporter=reporter, keep_best=partial(keep, recipe), sample=sample)
    return Trainer(model, optimizer, objective, settings, budget, outlets).run(state, began=began)


def _looking(
    look: Look, tokenizer: Tokenizer, sample: Callable[[nn.Module], str | None]
) -> Callable[[nn.Module], str | None]:
    """The sampler, which shows the model first."""

    def both(model: nn.Module) -> str | None:
        look(model, tokenizer)
        return sample(model)

    return both


def _finish(recipe: Recipe, reporter: Reporter) -> None:
    """What the material does with the weights that were kept, such as calibrating them."""
    if recipe.task is None:
        return
    output = Path(recipe.output)
    model, _ = load(output, dtype=torch.float32)
    material_of(recipe).finish(recipe, output, output / "training" / DATA, model)
    said = calibration_sentence(read_reader_settings(output))
    if said is not None:
        reporter.note(said)


def _tidy(recipe: Recipe, state: RunState) -> None:
    """After the last step: the card says how the run ended, and what only a run that goes on needs is removed."""
    output, text = Path(recipe.output), card(recipe, state)
    replace_file(output / CARD, lambda path: _write(path, text))
    shutil.rmtree(output / "training" / FROZEN, ignore_errors=True)
    shutil.rmtree(output / "training" / AVERAGED, ignore_errors=True)
    shutil.rmtree(output / "training" / DATA, ignore_errors=True)


def _compile(model: nn.Module, reporter: Reporter) -> None:
    """Compile the full pass in place; steps of decoding stay as they are."""
    if not any(map(shutil.which, _COMPILERS)):
        reporter.note(
            f"warning: train.compile needs a C++ compiler, and none of {', '.join(_COMPILERS)} is on the path; "
            f"the run goes on uncompiled and is slower"
        )
        return
    model.compile(dynamic=False)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
