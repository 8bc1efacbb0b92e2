"""Filling in what a recipe leaves open, from the text, the budget and the kind of hardware, with a reason for each.

The same recipe, text and kind of hardware give the same choices anywhere: nothing here is measured or timed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from headway.errors import ConfigError
from headway.models.hardware import has_bfloat16
from headway.models.registry import family
from headway.settings import from_dict, to_dict
from headway.training.recipe import BudgetSettings, Recipe

# Width and layers of the models to choose from; heads are 32 to 64 wide.
_LADDER = ((64, 2), (96, 3), (128, 4), (192, 4), (256, 6), (384, 6), (512, 8), (768, 12))

# Arithmetic a training run gets out of the hardware, FLOP/s, to the order of magnitude: for choosing a size only.
_ARITHMETIC = {"cpu": 5e10, "cuda": 5e13}

# Tokens a step reads where the batch is not given.
_TOKENS_PER_STEP = {"cpu": 4096, "cuda": 65536}

# Tokens to read for each parameter: about 20 makes best use of a budget (Hoffmann et al. 2022, section 3).
_TOKENS_PER_PARAMETER = 20


@dataclass(frozen=True, kw_only=True)
class TextFacts:
    """What the choices rest on: the training text in tokens, and its vocabulary."""

    training_tokens: int
    vocabulary: int


def fill_in(recipe: Recipe, facts: TextFacts, start: Mapping[str, Any] | None) -> tuple[Recipe, list[str]]:
    """The recipe with every choice made, and the reasons, a sentence each.

    `start` is the model table of the model the run starts from, if it does. Raises ConfigError where a given setting is
    not one of the family's, or this machine cannot do what was asked.
    """
    device = recipe.train.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("train.device is cuda, but this machine has no CUDA device; leave it out or say cpu")
    precision = recipe.train.precision or ("bfloat16" if has_bfloat16(device) else "float32")
    reasons = [f"runs on {device} in {precision}"]
    readable = _tokens_in_budget(recipe.budget, facts, device)
    if start is None:
        model = _choose_model(dict(recipe.model), facts, readable, device)
        reasons.append(_size_reason(model, facts, recipe.budget))
    else:
        model = _kept(start, recipe.model)
    model = _choose_dropout(model, recipe, facts, device)
    config = model_config(model)
    window = recipe.train.window or _window(config.context, facts, start is not None and device == "cpu")
    if window > config.context:
        raise ConfigError(f"train.window must be at most the model's context {config.context}, but got {window}")
    batch_size = recipe.train.batch_size or _batch_size(window, facts, device, recipe.train.accumulation)
    rate = recipe.train.learning_rate or _learning_rate(config.width, start is not None)
    epochs = _epochs(recipe.budget, facts, batch_size * window, device, config)
    if epochs is not None:
        reasons.append(_epoch_reason(epochs))
    reasons.append(f"steps of {batch_size} x {window} tokens, learning rate {rate:g}")
    settings = replace(
        recipe.train, device=device, precision=precision, window=window, batch_size=batch_size, learning_rate=rate
    )
    return replace(recipe, model=model_table(model["family"], config), train=settings), reasons


def model_table(family_name: str, config: Any) -> dict[str, Any]:
    """A model's settings as a recipe holds them: with the family's name, without what a foreign file brought along."""
    return {"family": family_name, **{name: value for name, value in to_dict(config).items() if name != "foreign"}}


def model_config(model: Mapping[str, Any]) -> Any:
    """The family's settings a recipe's model table means. Raises ConfigError for an unknown one."""
    table = {name: value for name, value in model.items() if name != "family"}
    return from_dict(family(model.get("family", "gpt2")).config, table, "model.")


def _tokens_in_budget(budget: BudgetSettings, facts: TextFacts, device: str) -> float:
    """Tokens the budget reads, or for minutes the arithmetic it has, divided by 6 x 20: parameters squared."""
    if budget.minutes is not None:
        arithmetic = _ARITHMETIC[device] * 60 * budget.minutes
        return _TOKENS_PER_PARAMETER * math.sqrt(arithmetic / (6 * _TOKENS_PER_PARAMETER))
    if budget.tokens is not None:
        return budget.tokens
    if budget.steps is not None:
        return budget.steps * _TOKENS_PER_STEP[device]
    assert budget.epochs is not None
    return budget.epochs * facts.training_tokens


def _kept(start: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The start model's table with the given dropouts. Raises ConfigError for a setting that would change the graph."""
    for name, value in given.items():
        if not name.endswith("dropout") and value != start.get(name, value):
            raise ConfigError(
                f"model.{name} must be {start[name]}, that of the model the run starts from, but got {value}; "
                f"leave it out, or leave out --from"
            )
    return {**start, **given}


def _choose_model(given: dict[str, Any], facts: TextFacts, readable: float, device: str) -> dict[str, Any]:
    """The largest model of the ladder that budget and text feed; whatever was given stands."""
    wanted = min(readable / _TOKENS_PER_PARAMETER * 1.6, facts.training_tokens)
    fitting = [step for step in _LADDER if 12 * step[0] ** 2 * step[1] <= wanted]
    width, n_layers = fitting[-1] if fitting else _LADDER[0]
    width = given.get("width", width)
    longest = 256 if device == "cpu" else 1024
    roomy = 2 ** max(5, int(math.log2(max(facts.training_tokens, 2) / 8))) if facts.training_tokens > 512 else 32
    chosen = {
        "family": "gpt2",
        "context": min(longest, roomy),
        "width": width,
        "n_layers": n_layers,
        "n_heads": _heads(width),
        "vocabulary": facts.vocabulary,
    }
    model = {**chosen, **given}
    if model["vocabulary"] != facts.vocabulary:
        raise ConfigError(
            f"model.vocabulary is {model['vocabulary']}, but the tokenizer has {facts.vocabulary} ids; "
            f"leave it out, or set tokenizer.vocabulary"
        )
    return model


def _heads(width: Any) -> int:
    """Heads 64 wide where that divides the width, else 32, else the widest from 63 to 8 that does, else one head."""
    if not isinstance(width, int) or width < 1:
        raise ConfigError(f"model.width must be a whole number above 0, but got {width!r}")
    fitting = (size for size in (64, 32, *range(63, 7, -1)) if width % size == 0 and width > size)
    return width // next(fitting, width)


def _choose_dropout(model: dict[str, Any], recipe: Recipe, facts: TextFacts, device: str) -> dict[str, Any]:
    """Dropout by how often the text is read; none on attention, where a CPU's fused kernel has none."""
    parameters = 12 * model_config(model).width ** 2 * model_config(model).n_layers
    passes = _passes(recipe.budget, facts, device, parameters)
    rate = 0.0 if passes < 1.5 else 0.1 if passes < 20 else 0.2
    chosen = {"embedding_dropout": rate, "residual_dropout": rate, "attention_dropout": 0.0}
    return {**model, **chosen, **{name: value for name, value in recipe.model.items() if name in chosen}}


def _passes(budget: BudgetSettings, facts: TextFacts, device: str, parameters: int) -> float:
    """About how often the budget reads the text."""
    if budget.minutes is None:
        return _tokens_in_budget(budget, facts, device) / max(facts.training_tokens, 1)
    read = _ARITHMETIC[device] * 60 * budget.minutes / (6 * max(parameters, 1))
    return read / max(facts.training_tokens, 1)


def _window(context: int, facts: TextFacts, shortened: bool) -> int:
    """The whole context, but no more than the text has; 256 tokens where a long context is tuned on a CPU."""
    longest = min(context, 256) if shortened else context
    return max(1, min(longest, facts.training_tokens - 1))


def _batch_size(window: int, facts: TextFacts, device: str, accumulation: int) -> int:
    """Rows for the tokens of a step, or for an eighth of a small text: more steps teach more than larger ones."""
    rows = max(1, min(_TOKENS_PER_STEP[device], facts.training_tokens // 8) // window)
    return max(accumulation, rows - rows % accumulation)


def _learning_rate(width: int, tuning: bool) -> float:
    """6e-4 at width 768 (as for GPT-3's smallest, Brown et al. 2020, table 2.1), more for narrower; a tenth to tune."""
    rate = 6e-4 * (768 / width) ** 0.9
    return float(f"{rate / 10 if tuning else rate:.2g}")


def _epochs(budget: BudgetSettings, facts: TextFacts, per_step: int, device: str, config: Any) -> float | None:
    if budget.steps is not None:
        return budget.steps * per_step / max(facts.training_tokens, 1)
    return _passes(budget, facts, device, 12 * config.width**2 * config.n_layers)


def _size_reason(model: dict[str, Any], facts: TextFacts, budget: BudgetSettings) -> str:
    parameters = model_config(model).n_parameters()
    per_parameter = facts.training_tokens / parameters
    return (
        f"{model['n_layers']} layers {model['width']} wide, {parameters:,} parameters: the text has "
        f"{facts.training_tokens:,} tokens, {per_parameter:.2g} for each parameter"
    )


def _epoch_reason(epochs: float) -> str:
    if epochs < 1:
        return f"the budget reads about {100 * epochs:.0f} % of the text"
    warning = "; expect it to learn much of the text by heart" if epochs > 20 else ""
    return f"the budget reads the text about {epochs:.1f} times{warning}"
