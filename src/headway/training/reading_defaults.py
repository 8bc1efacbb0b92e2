"""The choices a fine-tuning leaves open: window, step, rate, dropout, and a model's size where it begins from nothing.

Pure functions of the recipe, the facts of the data and the kind of hardware, so that a resumed run chooses the same.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from headway.errors import ConfigError
from headway.formats.folder import read_config
from headway.models import bert_sizes
from headway.models.hardware import has_bfloat16
from headway.models.registry import family
from headway.settings import to_dict
from headway.training.defaults import (
    ARITHMETIC,
    DEFAULT,
    EVALUATIONS,
    PATIENCE,
    TextFacts,
    device_of,
    epoch_reason,
    kept_settings,
    model_config,
    model_table,
)
from headway.training.masked import learnable_body
from headway.training.recipe import Recipe, TrainSettings

_WINDOWS = {"classify": 256, "tag": 256, "answer": 384, "embed": 128}
"""Tokens of a row at most where nothing is said; on a GPU twice as many."""
_STRIDE = 128
"""Tokens that windows of a long context share (the released code of Devlin et al. 2018)."""
_CONTEXT = 512
"""Of a model from nothing."""

_STEP_TOKENS = {"cpu": 2048, "cuda": 16384}
_FEWEST_STEP_TOKENS = 512
_STEPS_IN_EPOCH = 100
"""Steps an epoch should have at least: fewer are too few for a handful of epochs to learn from."""
_PAIRS_IN_STEP = 32
"""Pairs of an embedding's step, at least: the others of a step are what a text is told apart from."""

_PARAMETERS_PER_TOKEN = 4
_FEWEST_PARAMETERS, _MOST_PARAMETERS = 150_000, 60_000_000
_MANY_EPOCHS = 6
_WARM_UP = 0.1


def window_of(recipe: Recipe) -> int:
    """The tokens of a row: as given, else by the task, and no more than the model holds.

    Raises ConfigError for a window that does not fit, or is too small to hold anything.
    """
    assert recipe.task is not None
    context = _context(recipe)
    longest = _WINDOWS[recipe.task] * (2 if device_of(recipe) == "cuda" else 1)
    window = recipe.train.window or min(longest, context or longest)
    if context is not None and window > context:
        raise ConfigError(f"train.window must be at most the model's context {context}, but got {window}")
    if window < 8:
        raise ConfigError(f"train.window must be at least 8 for labelled data, but is {window}")
    return window


def stride_of(recipe: Recipe, window: int) -> int:
    """Tokens that windows of a long context have in common: as given, else 128 or a third of a small window."""
    return recipe.data.stride or min(_STRIDE, max(1, window // 3))


def fill_in_reading(recipe: Recipe, facts: TextFacts, start: Mapping[str, Any] | None) -> tuple[Recipe, list[str]]:
    """The recipe with every choice made, and the reasons, a sentence each.

    `start` is the model table of the model the run starts from, if it does. Raises ConfigError where a given setting is
    not one of the family's, or this machine cannot do what was asked.
    """
    device, given = device_of(recipe), recipe.train
    _check(recipe)
    precision = given.precision or ("bfloat16" if has_bfloat16(device) else "float32")
    reasons = [f"runs on {device} in {precision}"]
    table = _model(recipe, facts, start)
    config = model_config(table)
    parameters = config.n_parameters()
    if start is None:
        reasons.append(
            f"begins from nothing: {config.n_layers} layers {config.width} wide, {parameters:,} parameters; a model "
            "that has read other text first does better (--from)"
        )
    batch_tokens = given.batch_tokens or _batch_tokens(recipe, facts)
    if batch_tokens < facts.longest:
        raise ConfigError(
            f"a step must hold the longest row, {facts.longest} tokens, but train.batch_tokens is {batch_tokens}\n"
            "Make it larger, or the rows shorter with --set train.window=N"
        )
    epochs = _epochs(recipe, facts, parameters, batch_tokens)
    reasons.append(epoch_reason(epochs))
    rate = given.learning_rate or tuning_rate(config.width, from_nothing=start is None)
    if recipe.adapter is not None:
        recipe = replace(
            recipe,
            adapter=replace(recipe.adapter, alpha=recipe.adapter.alpha or 2.0 * recipe.adapter.rank),
        )
        rate = given.learning_rate or tuning_rate(config.width, from_nothing=True)
    defaults = TrainSettings()
    settings = replace(
        given,
        device=device,
        precision=precision,
        window=window_of(recipe),
        batch_tokens=batch_tokens,
        optimizer=given.optimizer or "adamw",
        learning_rate=rate,
        schedule=given.schedule or "cosine",
        warm_up=_WARM_UP if given.warm_up == defaults.warm_up else given.warm_up,
        patience=(PATIENCE if epochs > _MANY_EPOCHS else 0) if given.patience is None else given.patience,
        compile=False,
        evaluations=given.evaluations or max(1, min(EVALUATIONS, round(epochs))),
    )
    reasons.append(f"steps of {batch_tokens} tokens, {settings.optimizer}, learning rate {rate:g}")
    return replace(recipe, model=model_table(table["family"], config), train=settings), reasons


def tuning_rate(width: int, *, from_nothing: bool) -> float:
    """The highest rate by width: 5e-5 at 768 as in Devlin et al. 2018, appendix A.3, and more for smaller models.

    It grows as the square of what they are narrower by: 1e-3 was about the best of those tried at 160 (docs/log.md).
    """
    rate = 5e-5 * (768 / width) ** 2 * (2 if from_nothing else 1)
    return float(f"{min(max(rate, 2e-5), 1e-3):.2g}")


def _check(recipe: Recipe) -> None:
    """Raises ConfigError for settings that mean nothing here."""
    given = recipe.train
    if given.batch_size is not None:
        raise ConfigError(
            "train.batch_size is for text; a step of labelled data is measured in tokens: --set train.batch_tokens=N"
        )
    if given.compile:
        raise ConfigError(
            "labelled data comes in many shapes, and each would be compiled anew: leave out train.compile"
        )
    if recipe.task == "embed" and given.accumulation > 1:
        raise ConfigError(
            "the pairs of a step are told apart from each other, so it cannot be computed in parts:\n"
            "leave out train.accumulation, or make train.batch_tokens smaller"
        )
    if given.class_weights != "none" and recipe.task not in ("classify", "tag"):
        raise ConfigError(f"train.class_weights are for labels, and the task {recipe.task} has none; leave them out")


def _context(recipe: Recipe) -> int | None:
    """Tokens the model holds, None where it is not decided yet or there is no end to them."""
    if recipe.start is not None:
        found = getattr(read_config(recipe.start), "context", None)
        return None if found is None else int(found)
    given = recipe.model.get("context")
    return given if isinstance(given, int) else None


def _model(recipe: Recipe, facts: TextFacts, start: Mapping[str, Any] | None) -> dict[str, Any]:
    """The model's table with the head that the task asks for."""
    name = start["family"] if start is not None else recipe.model.get("family", DEFAULT)
    known = {field.name for field in dataclasses.fields(family(name).config)}
    if "head" not in known:
        raise ConfigError(f"{name} has no heads for tasks: start from a BERT, an FNet or a GPT-2, or say --family bert")
    head = "none" if recipe.task == "embed" else recipe.task
    wanted: dict[str, Any] = {"head": head, "n_labels": len(facts.labels)}
    if head == "none" and name == "gpt2":
        wanted["head"] = "write"  # its states are what it writes from
    for key, value in wanted.items():
        if recipe.model.get(key, value) != value:
            raise ConfigError(f"model.{key} is {value!r} for this task, but got {recipe.model[key]!r}; leave it out")
    if "pooler" in known and head == "classify" and start is not None:
        wanted["pooler"] = None  # the paper's head has one
    if "pooling" in known and (start or recipe.model).get("norm", "pre") == "pre":
        # A first token that no next-sentence task has taught knows little of its row (docs/log.md).
        wanted["pooling"] = recipe.model.get("pooling", "mean")
    dropouts = {key: 0.0 if key == "attention_dropout" else 0.1 for key in known if key.endswith("dropout")}
    if start is not None:
        changed = {**start, **wanted}
        return kept_settings({**changed, **dropouts}, {**recipe.model})
    given = {key: value for key, value in recipe.model.items() if key != "family"}
    if name == "bert":
        given = learnable_body(given)
    return {"family": name, **_from_nothing(name, {**dropouts, **wanted, **given}, facts)}


def _from_nothing(name: str, given: Mapping[str, Any], facts: TextFacts) -> dict[str, Any]:
    """A model of a size that the training text feeds; whatever was given stands."""
    vocabulary = given.get("vocabulary", facts.vocabulary)
    if vocabulary != facts.vocabulary:
        raise ConfigError(
            f"model.vocabulary is {vocabulary}, but the tokenizer has {facts.vocabulary} ids; leave it out"
        )
    settings = {"vocabulary": facts.vocabulary, "context": max(_CONTEXT, facts.longest), **given}
    wanted = min(max(_PARAMETERS_PER_TOKEN * facts.training_tokens, _FEWEST_PARAMETERS), _MOST_PARAMETERS)
    if name == "bert":
        config = bert_sizes.sized(wanted, facts.vocabulary, settings)
        return {key: value for key, value in to_dict(config).items() if key != "foreign"}
    shapes = ((32, 1, 1), (64, 2, 2), (96, 3, 3), (128, 4, 4), (192, 4, 6), (256, 6, 8), (384, 6, 6), (512, 8, 8))
    fitting = [shape for shape in shapes if 12 * shape[0] ** 2 * shape[1] <= wanted] or [shapes[0]]
    width, n_layers, n_heads = fitting[-1]
    return {"width": width, "n_layers": n_layers, "n_heads": n_heads, **settings}


def _batch_tokens(recipe: Recipe, facts: TextFacts) -> int:
    """Tokens of a step: fewer where the data is small, since more steps teach more than larger ones."""
    tokens = _STEP_TOKENS[device_of(recipe)]
    while tokens > _FEWEST_STEP_TOKENS and facts.training_tokens / tokens < _STEPS_IN_EPOCH:
        tokens //= 2
    if recipe.task == "embed":
        tokens = max(tokens, _PAIRS_IN_STEP * facts.training_tokens // max(2 * facts.examples, 1))
    return max(tokens, facts.longest)


def _epochs(recipe: Recipe, facts: TextFacts, parameters: int, batch_tokens: int) -> float:
    """About how often the budget reads the data."""
    budget, read = recipe.budget, max(facts.training_tokens, 1)
    if budget.minutes is not None:
        return ARITHMETIC[device_of(recipe)] * 60 * budget.minutes / (6 * parameters) / read
    if budget.steps is not None:
        return budget.steps * batch_tokens / read
    if budget.tokens is not None:
        return budget.tokens / read
    assert budget.epochs is not None
    return budget.epochs
