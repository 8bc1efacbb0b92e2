"""The choices a run on pairs leaves open: size, vocabulary, batch, rate, dropout, from pairs, budget and hardware.

Pure functions of the recipe, the facts of the pairs and the kind of hardware, so that a resumed run chooses the same.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from headway.errors import ConfigError
from headway.models import rnn_search, transformer_sizes
from headway.models.hardware import has_bfloat16
from headway.settings import to_dict
from headway.text.byte_level_training import vocabulary_size
from headway.training.defaults import (
    ARITHMETIC,
    EVALUATIONS,
    FEW_STEPS,
    FEWEST_IDS,
    FEWEST_TOKENS,
    MUON_SHARE,
    MUON_WORK,
    OFTEN,
    OPTIMIZER_NAMES,
    PATIENCE,
    TOKENS_PER_STEP,
    TextFacts,
    device_of,
    epoch_reason,
    highest_rate,
    kept_settings,
    model_config,
    model_table,
)
from headway.training.recipe import BudgetSettings, Recipe

# Target tokens read for each parameter: pairs are read several times, and a small model is worth its size sooner than
# one that learns language from text alone.
_TOKENS_PER_PARAMETER = 4

# Numbers for each token of small data, both sides together.
_PARAMETERS_PER_TOKEN = 2
_FEWEST_PARAMETERS, _MOST_PARAMETERS = 150_000, 60_000_000

# The embedding has about this share of all numbers, at a width of about a tenth of the square root of their count.
_EMBEDDING_SHARE = 0.25
_WIDTH_SHARE = 0.1

# Bytes of a target to a token, before its vocabulary is known.
_BYTES_PER_TOKEN = 3.5

# Tokens a side may have at most, where nothing is said: a few sentences.
_LONGEST = 256

_INNER_DROPOUTS = ("attention_dropout", "activation_dropout")

SIZED: Mapping[str, Callable[[int, int, Mapping[str, Any]], Any]] = {
    "transformer": lambda n_parameters, vocabulary, given: transformer_sizes.sized(n_parameters, vocabulary),
    "rnnsearch": lambda n_parameters, vocabulary, given: rnn_search.sized(
        n_parameters, vocabulary=vocabulary, attention=given.get("attention", "additive")
    ),
}
"""A config of about so many parameters, by family, for one vocabulary of both sides."""


def fitting_pair_vocabulary(recipe: Recipe, n_bytes: int) -> int:
    """How many ids a vocabulary learnt from so many bytes of both sides should have for the recipe's budget."""
    n_tokens = int(n_bytes / _BYTES_PER_TOKEN / 2)
    n_parameters = _wanted_parameters(recipe, TextFacts(training_tokens=n_tokens, vocabulary=0, source_tokens=n_tokens))
    affordable = _EMBEDDING_SHARE * n_parameters / (_WIDTH_SHARE * math.sqrt(n_parameters))
    return int(min(vocabulary_size(n_bytes), 2 ** max(int(math.log2(affordable)), int(math.log2(FEWEST_IDS)))))


def fill_in_pairs(recipe: Recipe, facts: TextFacts, start: Mapping[str, Any] | None) -> tuple[Recipe, list[str]]:
    """The recipe with every choice made, and the reasons, a sentence each.

    `start` is the model table of the model the run starts from, if it does. Raises ConfigError where a given setting is
    not one of the family's, or this machine cannot do what was asked.
    """
    device, given = device_of(recipe), recipe.train
    if recipe.adapter is not None:
        raise ConfigError("adapters are for models of one stack of layers; leave out --lora: all weights then learn")
    for name in ("batch_size", "window"):
        if getattr(given, name) is not None:
            raise ConfigError(
                f"train.{name} is for text; a step of pairs is measured in tokens: --set train.batch_tokens=N"
            )
    if given.compile:
        raise ConfigError("batches of pairs have many shapes, and each would be compiled anew: leave out train.compile")
    precision = given.precision or ("bfloat16" if has_bfloat16(device) else "float32")
    reasons = [f"runs on {device} in {precision}"]
    if start is None:
        table = _choose_model(recipe, facts)
    else:
        table = kept_settings(start, recipe.model)
    _check_vocabularies(table, facts)
    parameters = model_config(table).n_parameters()
    reasons.append(
        f"{_kind(table)} of {parameters:,} parameters; {facts.pairs:,} pairs, {facts.training_tokens:,} target tokens"
    )
    batch_tokens = given.batch_tokens or _batch_tokens(recipe, facts, parameters)
    epochs = _epochs(recipe, facts, parameters, batch_tokens)
    reasons.append(epoch_reason(epochs))
    table = {**table, **_dropout(table, epochs, recipe.model)}
    tuned = recipe.start is not None
    width = model_config(table).width
    pays = not tuned and MUON_WORK * width / batch_tokens <= MUON_SHARE
    optimizer = given.optimizer or ("muon" if pays else "adamw")
    rate = given.learning_rate or highest_rate(width, optimizer, tuned, adapted=False)
    patience = given.patience if given.patience is not None else (PATIENCE if epochs > OFTEN else 0)
    settings = replace(
        given,
        device=device,
        precision=precision,
        batch_tokens=batch_tokens,
        optimizer=optimizer,
        learning_rate=rate,
        schedule=given.schedule or "cosine",
        patience=patience,
        label_smoothing=0.1 if given.label_smoothing is None else given.label_smoothing,
        compile=False,
        evaluations=given.evaluations or EVALUATIONS,
    )
    reasons.append(f"steps of {batch_tokens} tokens, {OPTIMIZER_NAMES[optimizer]}, learning rate {rate:g}")
    if patience and given.patience is None:
        reasons.append(f"stops after {patience} evaluations without a better one, since the pairs are read so often")
    complete = replace(recipe, model=model_table(table["family"], model_config(table)), train=settings)
    return complete, reasons


def _choose_model(recipe: Recipe, facts: TextFacts) -> dict[str, Any]:
    """The family's practical model of a size that budget and pairs feed; whatever was given stands."""
    given = dict(recipe.model)
    name = given["family"]
    config = SIZED[name](_wanted_parameters(recipe, facts), facts.vocabulary, given)
    chosen = {key: value for key, value in to_dict(config).items() if key != "foreign"}
    chosen["source_vocabulary"] = facts.source_vocabulary
    if facts.source_vocabulary is not None and "shared" in chosen:
        chosen["shared"] = False
    return {"family": name, **chosen, **given}


def _check_vocabularies(table: Mapping[str, Any], facts: TextFacts) -> None:
    for name, found in (("vocabulary", facts.vocabulary), ("source_vocabulary", facts.source_vocabulary)):
        if table.get(name) is not None and found is not None and table[name] < found:
            raise ConfigError(
                f"model.{name} is {table[name]}, but the tokenizer has {found} ids; "
                f"leave it out, or set tokenizer.vocabulary"
            )


def _kind(table: Mapping[str, Any]) -> str:
    return f"{table['family']}{' with a fixed context' if table.get('attention') == 'fixed' else ''}"


def _wanted_parameters(recipe: Recipe, facts: TextFacts) -> int:
    device = device_of(recipe)
    affordable = _readable(recipe.budget, facts, device) / _TOKENS_PER_PARAMETER
    fed = _PARAMETERS_PER_TOKEN * (facts.training_tokens + facts.source_tokens)
    return int(min(max(min(affordable, fed), _FEWEST_PARAMETERS), _MOST_PARAMETERS))


def _readable(budget: BudgetSettings, facts: TextFacts, device: str) -> float:
    """Target tokens the budget reads; for minutes with a model of a size to suit."""
    if budget.minutes is not None:
        return math.sqrt(ARITHMETIC[device] * 60 * budget.minutes / 6 * _TOKENS_PER_PARAMETER)
    if budget.tokens is not None:
        return budget.tokens
    if budget.steps is not None:
        return budget.steps * TOKENS_PER_STEP[device]
    assert budget.epochs is not None
    return budget.epochs * facts.training_tokens


def _batch_tokens(recipe: Recipe, facts: TextFacts, parameters: int) -> int:
    """Tokens of a step: fewer where the budget or the data is small, since more steps teach more than larger ones."""
    device = device_of(recipe)
    tokens = TOKENS_PER_STEP[device]
    read = _epochs(recipe, facts, parameters, tokens) * facts.training_tokens
    while recipe.budget.steps is None and tokens > FEWEST_TOKENS and read / tokens < FEW_STEPS:
        tokens //= 2
    return max(facts.longest + 1, min(tokens, max(64, facts.training_tokens // 8)))


def _epochs(recipe: Recipe, facts: TextFacts, parameters: int, batch_tokens: int) -> float:
    """About how often the budget reads the pairs."""
    budget, read = recipe.budget, max(facts.training_tokens, 1)
    if budget.minutes is not None:
        return ARITHMETIC[device_of(recipe)] * 60 * budget.minutes / (6 * parameters) / read
    if budget.steps is not None:
        return budget.steps * batch_tokens / read
    return _readable(budget, facts, device_of(recipe)) / read


def _dropout(table: Mapping[str, Any], epochs: float, given: Mapping[str, Any]) -> dict[str, float]:
    """Dropout by how often the pairs are read; none inside attention and feed-forward: small models do without."""
    rate = 0.0 if epochs < 1.5 else 0.1 if epochs < OFTEN else 0.2
    names = [name for name in table if name.endswith("dropout") and name not in given]
    return {name: 0.0 if name in _INNER_DROPOUTS else rate for name in names}


def longest_side(recipe: Recipe, context: int | None) -> int:
    """The most tokens a side may have in training, its end not counted."""
    most = _LONGEST if context is None else min(_LONGEST, context - 1)
    return recipe.data.longest or most
