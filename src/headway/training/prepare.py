"""Before the first step: tokenizer, token shards, the choices left open, the first weights, checkpoint 0.

All of it is written beside the model folder and takes its place in one rename, so a run either exists or does not.
"""

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from headway.errors import ConfigError, FormatError
from headway.formats.folder import LONGEST_SOURCE, family_of_folder, load, load_target_tokenizer, write_folder
from headway.formats.layouts import Model
from headway.models.registry import family, family_of
from headway.settings import to_dict, unknown_setting
from headway.storage import new_folder
from headway.text.tokenizer import Tokenizer
from headway.training.adapters import attach, write_adapter
from headway.training.checkpoint import RunState, save_checkpoint
from headway.training.defaults import DEFAULT, TextFacts, model_config, model_table
from headway.training.layers import write_frozen
from headway.training.material import Material, Tokenizers
from headway.training.optimizer import Optimizers, build_optimizer
from headway.training.pairs import PairMaterial
from headway.training.recipe import Recipe, to_toml
from headway.training.report import Reporter
from headway.training.texts import TextMaterial

RECIPE, RUN, DATA = "recipe.toml", "run.json", "data"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What training/run.json says of a run: the text it reads, by content, and the facts its choices rest on."""

    version: int = 1
    data_fingerprint: str
    facts: TextFacts


def material_of(recipe: Recipe, begun: str | None = None) -> Material:
    """What the recipe's family learns from; `begun`: the family of a run that it goes on with."""
    name = begun or _family_name(recipe)
    of = family(name)
    if recipe.task is not None:
        if not of.encoder or of.reads_source:
            raise ConfigError(f"{name} does not learn to {recipe.task}: start from a reader, or say --family bert")
        from headway.training.reading import ReadingMaterial

        return ReadingMaterial(recipe)
    if of.reads_source:
        return PairMaterial(recipe)
    if of.decoder:
        return TextMaterial(recipe)
    from headway.training.masked import MaskedMaterial

    return MaskedMaterial(recipe)


def _family_name(recipe: Recipe) -> str:
    """The family a recipe names, or that of the model it starts from."""
    if recipe.model.get("family") is not None:
        return str(recipe.model["family"])
    return DEFAULT if recipe.start is None else family_of_folder(recipe.start)


def prepare(recipe: Recipe, output: Path, reporter: Reporter, *, began: float) -> None:
    """Make the folder of a new run.

    Raises DataError for text that cannot be read or trained on, ConfigError for settings that do not fit it and
    StorageError where the folder cannot be written; then nothing is left behind.
    """
    _check_names(recipe)
    if recipe.adapter is not None and recipe.train.freeze:
        raise ConfigError(
            f"adapters leave all of the model's own weights as they are, so there is nothing for "
            f"train.freeze={recipe.train.freeze} to freeze; leave it out, or train without --lora"
        )
    material = material_of(recipe)
    print_of_data = material.fingerprint()
    with new_folder(output) as folder:
        training = folder / "training"
        training.mkdir()
        start_model, known = _start(recipe, reporter)
        tokenizers, facts = material.write(training / DATA, known, reporter)
        table = None if start_model is None else model_table(family_of(start_model).name, start_model.config)
        complete, reasons = material.fill_in(recipe, facts, table)
        for reason in reasons:
            reporter.note(reason)
        model = _first_weights(complete, start_model, facts, reporter)
        assert complete.train.device is not None
        model.to(complete.train.device)
        write_folder(
            model,
            tokenizers.source,
            folder,
            name=output.name,
            card=card(complete, None),
            generation=_generation(facts),
            target_tokenizer=tokenizers.target,
        )
        material.describe(complete, facts, folder)
        optimizer = _learners(model, complete, folder, reporter)
        (training / RECIPE).write_text(to_toml(complete), encoding="utf-8")
        record = RunRecord(data_fingerprint=print_of_data, facts=facts)
        (training / RUN).write_text(json.dumps(to_dict(record), indent=1), encoding="utf-8")
        seconds = time.monotonic() - began
        save_checkpoint(training, RunState(seconds=seconds, prepared=seconds), model, optimizer, keep=1)


def _generation(facts: TextFacts) -> dict[str, object] | None:
    """What translating has to know: past the lengths that were trained, a text is better cut by sentence."""
    return {LONGEST_SOURCE: facts.longest + 1} if facts.pairs else None


def _check_names(recipe: Recipe) -> None:
    """Raises ConfigError for an unknown setting of the model, before any text is read; values are checked with it."""
    known = [f"model.{field.name}" for field in dataclasses.fields(family(_family_name(recipe)).config)]
    for name in recipe.model:
        if name != "family" and f"model.{name}" not in known:
            raise ConfigError(unknown_setting(f"model.{name}", known))


def _start(recipe: Recipe, reporter: Reporter) -> tuple[Model | None, Tokenizers | None]:
    """The model a run starts from, if it does, and the tokenizers that are given rather than learnt."""
    if recipe.start is not None:
        model, tokenizer = load(recipe.start, dtype=torch.float32)
        if tokenizer is None:
            raise FormatError(
                f"{recipe.start} has no tokenizer, so no text can be given to it; "
                f"put its tokenizer.json (or vocab.json and merges.txt) into the folder"
            )
        reporter.note(f"starts from {recipe.start}, with its tokenizer of {tokenizer.size:,} ids")
        return model, Tokenizers(source=tokenizer, target=load_target_tokenizer(recipe.start))
    if recipe.tokenizer.folder is not None:
        folder = recipe.tokenizer.folder
        return None, Tokenizers(source=Tokenizer.load(folder), target=load_target_tokenizer(folder))
    return None, None


def _first_weights(recipe: Recipe, start: Model | None, facts: TextFacts, reporter: Reporter) -> Model:
    """A fresh model from the seed, or the start model's weights with the recipe's dropout and head.

    What the head has beside the start model's weights is drawn from the seed, and said.
    """
    config = model_config(recipe.model)
    foreign = {} if start is None else dict(start.config.foreign)
    config = dataclasses.replace(config, foreign={**foreign, **_label_names(facts)})
    torch.manual_seed(recipe.train.seed)
    model = family(recipe.model["family"]).model(config)
    assert isinstance(model, Model)
    if start is None:
        return model
    trained = dict(start.named_parameters())
    drawn = []
    with torch.no_grad():
        for name, fresh in model.named_parameters():
            if name in trained and trained[name].shape == fresh.shape:
                fresh.copy_(trained[name])
            else:
                drawn.append(f"{name} {tuple(fresh.shape)}")
    if drawn:
        reporter.note(f"begins with random weights: {', '.join(drawn)}; all others are {recipe.start}'s")
    return model


def _label_names(facts: TextFacts) -> dict[str, object]:
    """How the ecosystem's config.json names labels."""
    if not facts.labels:
        return {}
    kind = "multi" if facts.multi_label else "single"
    return {
        "id2label": {str(number): label for number, label in enumerate(facts.labels)},
        "label2id": {label: number for number, label in enumerate(facts.labels)},
        "problem_type": f"{kind}_label_classification",
    }


def _learners(model: Model, recipe: Recipe, folder: Path, reporter: Reporter) -> Optimizers:
    """What moves the weights that learn; adapters are put in place before, and what does not learn is written once."""
    if recipe.adapter is not None:
        attach(model, recipe.adapter)
        write_adapter(folder, model, recipe.start)
    optimizer = build_optimizer(model, recipe.train)
    write_frozen(folder / "training", model)
    learning = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    if learning < (total := sum(parameter.numel() for parameter in model.parameters())):
        reporter.note(f"{learning:,} of {total:,} weights learn, the others stay as they are")
    return optimizer


def card(recipe: Recipe, state: RunState | None) -> str:
    """The model card: what it is, what it read, how well it does; `state` is None before the run has ended."""
    name, text = Path(recipe.output).resolve().name, Path(recipe.data.path).resolve().name
    parameters = model_config(recipe.model).n_parameters()
    sources = "the text it was trained on" if recipe.start is None else "the model it began with and of the text"
    lines = [
        f"# {name}",
        "",
        f"A {recipe.model['family']} model of {parameters:,} parameters, trained on `{text}` with headway.",
        "",
        "- Recipe: `training/recipe.toml`; `headway train --recipe` takes it and trains the same model again.",
        f"- Licence: that of {sources}; say it here before you share the model.",
    ]
    if recipe.adapter is not None:
        lines.append(
            f"- It is {Path(recipe.start or '').name} with low-rank adapters of rank {recipe.adapter.rank} added to "
            f"its weights; `adapter/` holds them alone, for the peft library."
        )
    if state is None:
        lines.append("- In training: the weights are the best so far on the validation text.")
    elif state.best is not None:
        found = [f"loss {state.best:.4f} nats", *(f"{name} {value:.4f}" for name, value in state.best_scores.items())]
        if state.best_bits_per_byte is not None:
            found.insert(0, f"{state.best_bits_per_byte:.4f} bits per byte")
        lines.append(
            f"- After {state.step:,} steps: {', '.join(found)} on the validation data, the weights of step "
            f"{state.best_step:,}."
        )
    return "\n".join(lines) + "\n"
