"""Before the first step: tokenizer, token shards, the choices left open, the first weights, checkpoint 0.

All of it is written beside the model folder and takes its place in one rename, so a run either exists or does not.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from headway.corpus.documents import Documents, corpus_bytes, fingerprint, read_documents, text_bytes
from headway.corpus.readers import Document
from headway.corpus.shards import ShardSettings, TokenShards, write_shards
from headway.errors import ConfigError, DataError, FormatError
from headway.formats.folder import Model, load, write_folder
from headway.models.registry import family, family_of
from headway.settings import to_dict, unknown_setting
from headway.storage import new_folder
from headway.text.byte_level_training import train_byte_level
from headway.text.tokenizer import Tokenizer
from headway.training.adapters import attach, write_adapter
from headway.training.checkpoint import RunState, save_checkpoint
from headway.training.defaults import TextFacts, fill_in, fitting_vocabulary, model_config, model_table
from headway.training.layers import write_frozen
from headway.training.optimizer import Optimizers, build_optimizer
from headway.training.recipe import DataSettings, Recipe, to_toml
from headway.training.report import Reporter

RECIPE, RUN, DATA = "recipe.toml", "run.json", "data"

_GIGABYTE = 10**9
# A vocabulary learnt from more text than this hardly differs, and takes minutes longer.
_VOCABULARY_BYTES = 200_000_000


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What training/run.json says of a run: the text it reads, by content, and the facts its choices rest on."""

    version: int = 1
    data_fingerprint: str
    facts: TextFacts


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
    print_of_data = data_fingerprint(recipe.data)
    documents = read_documents(recipe.data.path, text_field=recipe.data.text_field)
    with new_folder(output) as folder:
        training = folder / "training"
        training.mkdir()
        start_model, tokenizer = _start(recipe, documents, reporter)
        shards = write_shards(
            training / DATA,
            documents,
            tokenizer,
            ShardSettings(validation_share=recipe.data.validation_share, seed=recipe.train.seed),
            validation=_validation(recipe.data),
            progress=_tell_encoded(reporter),
        )
        reporter.note(_division(shards, recipe.data.path))
        facts = TextFacts(training_tokens=shards.split("train").tokens, vocabulary=tokenizer.size)
        table = None if start_model is None else model_table(family_of(start_model).name, start_model.config)
        complete, reasons = fill_in(recipe, facts, table)
        for reason in reasons:
            reporter.note(reason)
        model = _first_weights(complete, start_model)
        assert complete.train.device is not None
        model.to(complete.train.device)
        write_folder(model, tokenizer, folder, name=output.name, card=card(complete, None))
        optimizer = _learners(model, complete, folder, reporter)
        (training / RECIPE).write_text(to_toml(complete), encoding="utf-8")
        record = RunRecord(data_fingerprint=print_of_data, facts=facts)
        (training / RUN).write_text(json.dumps(to_dict(record), indent=1), encoding="utf-8")
        seconds = time.monotonic() - began
        save_checkpoint(training, RunState(seconds=seconds, prepared=seconds), model, optimizer, keep=1)


def data_fingerprint(data: DataSettings) -> str:
    """The content of all the text a run reads, as one hash."""
    whole = fingerprint(data.path)
    return whole if data.validation is None else f"{whole}+{fingerprint(data.validation)}"


def _check_names(recipe: Recipe) -> None:
    """Raises ConfigError for an unknown setting of the model, before any text is read; values are checked with it."""
    known = [f"model.{field.name}" for field in dataclasses.fields(family(recipe.model.get("family", "gpt2")).config)]
    for name in recipe.model:
        if name != "family" and f"model.{name}" not in known:
            raise ConfigError(unknown_setting(f"model.{name}", known))


def _validation(data: DataSettings) -> Documents | None:
    return None if data.validation is None else read_documents(data.validation, text_field=data.text_field)


def _start(recipe: Recipe, documents: Documents, reporter: Reporter) -> tuple[Model | None, Tokenizer]:
    """The model a run starts from, if it does, and the tokenizer it uses."""
    if recipe.start is not None:
        model, tokenizer = load(recipe.start, dtype=torch.float32)
        if tokenizer is None:
            raise FormatError(
                f"{recipe.start} has no tokenizer, so no text can be given to it; "
                f"put its tokenizer.json (or vocab.json and merges.txt) into the folder"
            )
        reporter.note(f"starts from {recipe.start}, with its tokenizer of {tokenizer.size:,} ids")
        return model, tokenizer
    if recipe.tokenizer.folder is not None:
        return None, Tokenizer.load(recipe.tokenizer.folder)
    n_bytes = corpus_bytes(recipe.data.path, text_field=recipe.data.text_field)
    size = recipe.tokenizer.vocabulary or fitting_vocabulary(recipe, n_bytes)
    tokenizer = train_byte_level(spread(documents, n_bytes, _VOCABULARY_BYTES), size)
    learnt = f"{n_bytes:,} bytes" if n_bytes <= _VOCABULARY_BYTES else f"{_VOCABULARY_BYTES:,} of {n_bytes:,} bytes"
    reporter.note(f"a vocabulary of {tokenizer.size:,} was learnt from {learnt} of text")
    return None, tokenizer


def spread(documents: Iterable[Document], n_bytes: int, wanted: int) -> Iterator[str]:
    """The texts of evenly spread documents, about `wanted` of all `n_bytes` bytes; all, where they are fewer."""
    seen = taken = 0
    for document in documents:
        if taken * n_bytes <= seen * wanted:
            taken += text_bytes(document.text)
            yield document.text
        seen += text_bytes(document.text)


def _tell_encoded(reporter: Reporter) -> Callable[[int], None]:
    """Says how far the encoding of a large corpus has come, at every gigabyte."""
    said = 0

    def tell(written: int) -> None:
        nonlocal said
        if written // _GIGABYTE > said:
            said = written // _GIGABYTE
            reporter.note(f"{said} GB of text encoded")

    return tell


def _first_weights(recipe: Recipe, start: Model | None) -> Model:
    """A fresh model from the seed, or the start model with the recipe's dropout."""
    config = model_config(recipe.model)
    if start is not None:
        config = dataclasses.replace(config, foreign=start.config.foreign)
    torch.manual_seed(recipe.train.seed)
    model = family(recipe.model["family"]).model(config)
    assert isinstance(model, Model)
    if start is not None:
        with torch.no_grad():
            for fresh, trained in zip(model.parameters(), start.parameters(), strict=True):
                fresh.copy_(trained)
    return model


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


def _division(shards: TokenShards, path: str) -> str:
    """How the text was divided. Raises DataError where nothing is left to train or to measure on."""
    train, validation = shards.split("train"), shards.split("validation")
    if train.tokens < 2 or validation.tokens < 1:
        raise DataError(
            f"{path} has too little text: {train.tokens} tokens to train on and {validation.tokens} to measure on;\n"
            f"give more text, or other text to measure on with --set data.validation=FILE"
        )
    how = "the end of the one document" if shards.validation_from == "tail" else f"{validation.documents:,} documents"
    return f"{train.tokens:,} tokens to train on; {how}, {validation.tokens:,} tokens, kept aside to measure on"


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
        lines.append(
            f"- After {state.step:,} steps: {state.best_bits_per_byte:.4f} bits per byte on the validation text "
            f"(loss {state.best:.4f} nats per token), the weights of step {state.best_step:,}."
        )
    return "\n".join(lines) + "\n"
