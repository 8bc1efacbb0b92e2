"""Filling in what a recipe leaves open, from the text, the budget and the kind of hardware, with a reason for each.

The same recipe, text and kind of hardware give the same choices anywhere: nothing here is measured or timed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch

from headway.errors import ConfigError
from headway.models.hardware import has_bfloat16
from headway.models.registry import family
from headway.settings import from_dict, to_dict
from headway.text.byte_level_training import vocabulary_size
from headway.training.recipe import BudgetSettings, Recipe, TrainSettings

# Width and layers of the models to choose from; heads are 32 to 64 wide.
_LADDER = ((64, 2), (96, 3), (128, 4), (192, 4), (256, 6), (384, 6), (512, 8), (768, 12), (1024, 24), (1280, 36))

# Arithmetic a training run gets out of the hardware, FLOP/s, to the order of magnitude: for choosing a size only.
ARITHMETIC = {"cpu": 5e10, "cuda": 5e13}

# Tokens of a row that is read at once, where nothing is said.
LONGEST_WINDOW = {"cpu": 256, "cuda": 1024}

# Tokens a step reads where the batch is not given; fewer where that would leave a run too few steps to learn in.
TOKENS_PER_STEP = {"cpu": 4096, "cuda": 65536}
FEW_STEPS = 600
FEWEST_TOKENS = 2048

# Work of a Muon update next to that of a step's products is about this many times the width over the step's tokens:
# five Newton-Schulz steps of 2 (2 D^2 F + D^3) against 6 D F for each token, in a layer with F = 4 D. What a step of
# Muon learns more outweighs that while it is less than the step's own work (docs/defaults.md).
MUON_WORK = 4.0
MUON_SHARE = 0.75

# Seconds of work from which half a minute of compiling comes back, in bfloat16 or on a GPU. In float32 on a processor
# products take most of the time and stay as they are: 4 to 11 % were gained (docs/benchmarks.md), for up to a minute's
# compiling, and that is left to train.compile.
_COMPILING_PAYS = 240.0

# Bytes of text to a token, before its vocabulary is known.
_BYTES_PER_TOKEN = 3.5

# The output matrix has at most this share of the layers' numbers, rounded down to a power of two; and the fewest ids.
_OUTPUT_SHARE = 0.75
FEWEST_IDS = 512

# Passes over a text up to which dropout costs more than it saves (docs/defaults.md): the first few teach nearly as much
# as new text would (Muennighoff et al. 2023).
AS_GOOD_AS_NEW = 6

# Passes over a text from which a model learns it by heart.
OFTEN = 20

# How often the validation text is measured over the budget.
EVALUATIONS = 10

# Evaluations in a row without a better one, after which a text that is read very often has nothing more to teach.
PATIENCE = 4

# Tokens to read for each parameter: about 20 makes best use of a budget (Hoffmann et al. 2022, section 3).
_TOKENS_PER_PARAMETER = 20

# Numbers in the layers for each token of a small text, which is then read many times, with dropout.
_PARAMETERS_PER_TOKEN = 6


OPTIMIZER_NAMES = {"adamw": "AdamW", "muon": "Muon", "adadelta": "Adadelta"}

DEFAULT = "gpt2"
"""The family that is trained where none is named."""


@dataclass(frozen=True, kw_only=True)
class TextFacts:
    """What the choices rest on: the training text in tokens, and its vocabulary.

    Of pairs: tokens and vocabulary of the targets, those of the sources beside them (source_vocabulary is None where
    one vocabulary serves both), how many pairs there are, and the tokens of the longest side. Of labelled data: the
    labels, whether a text may have several, and how many examples there are.
    """

    training_tokens: int
    vocabulary: int
    source_tokens: int = 0
    source_vocabulary: int | None = None
    pairs: int = 0
    longest: int = 0
    labels: tuple[str, ...] = ()
    multi_label: bool = False
    examples: int = 0


def fill_in(recipe: Recipe, facts: TextFacts, start: Mapping[str, Any] | None) -> tuple[Recipe, list[str]]:
    """The recipe with every choice made, and the reasons, a sentence each.

    `start` is the model table of the model the run starts from, if it does. Raises ConfigError where a given setting is
    not one of the family's, or this machine cannot do what was asked.
    """
    device = device_of(recipe)
    precision = recipe.train.precision or ("bfloat16" if has_bfloat16(device) else "float32")
    reasons = [f"runs on {device} in {precision}"]
    readable = _tokens_in_budget(recipe.budget, facts, device)
    if start is None:
        model = _choose_model(dict(recipe.model), facts, readable, device)
        reasons.append(_size_reason(model, facts, recipe.budget))
    else:
        model = kept_settings(start, recipe.model)
    model = _choose_dropout(model, recipe, facts, device)
    config = model_config(model)
    window = recipe.train.window or _window(_context(config, device), facts, start is not None and device == "cpu")
    if config.context is not None and window > config.context:
        raise ConfigError(f"train.window must be at most the model's context {config.context}, but got {window}")
    batch_size = recipe.train.batch_size or _batch_size(window, facts, recipe, config)
    epochs = _epochs(recipe.budget, facts, batch_size * window, device, config)
    reasons.append(epoch_reason(epochs))
    settings = replace(recipe.train, device=device, precision=precision, window=window, batch_size=batch_size)
    settings, more = _choose_training(replace(recipe, train=settings), config, facts, epochs)
    adapter = recipe.adapter
    if adapter is not None and adapter.alpha is None:
        adapter = replace(adapter, alpha=2.0 * adapter.rank)
    complete = replace(recipe, model=model_table(model["family"], config), adapter=adapter, train=settings)
    return complete, [*reasons, *more]


def _choose_training(recipe: Recipe, config: Any, facts: TextFacts, epochs: float) -> tuple[TrainSettings, list[str]]:
    """Optimiser, rate, schedule, patience and compiling of a run whose batch is known, and the reasons."""
    given = recipe.train
    assert given.batch_size is not None and given.window is not None and given.device is not None
    per_step, tuned = given.batch_size * given.window, recipe.start is not None
    share = MUON_WORK * config.width / per_step
    optimizer = given.optimizer or ("muon" if not tuned and share <= MUON_SHARE else "adamw")
    rate = given.learning_rate or highest_rate(config.width, optimizer, tuned, adapted=recipe.adapter is not None)
    patience = given.patience if given.patience is not None else (PATIENCE if epochs > OFTEN else 0)
    seconds = _seconds(recipe.budget, config, epochs * facts.training_tokens, given.device)
    pays = (given.device == "cuda" or given.precision == "bfloat16") and seconds >= _COMPILING_PAYS
    compiled = pays if given.compile is None else given.compile
    settings = replace(
        given,
        optimizer=optimizer,
        learning_rate=rate,
        schedule=given.schedule or "cosine",
        patience=patience,
        compile=compiled,
        evaluations=given.evaluations or EVALUATIONS,
    )
    reasons = [
        f"steps of {given.batch_size} x {given.window} tokens, {OPTIMIZER_NAMES[optimizer]}, learning rate {rate:g}"
    ]
    if patience and given.patience is None:
        reasons.append(f"stops after {patience} evaluations without a better one, since the text is read so often")
    if compiled and given.compile is None:
        reasons.append("the model is compiled first, about half a minute, and then steps faster")
    return settings, reasons


def fitting_vocabulary(recipe: Recipe, n_bytes: int) -> int:
    """How many ids a vocabulary learnt from so many bytes of text should have for the recipe's budget.

    As many as the text can teach, but not so many that the output matrix takes more work than the layers.
    """
    facts = TextFacts(training_tokens=int(n_bytes / _BYTES_PER_TOKEN), vocabulary=0)
    device = device_of(recipe)
    width, n_layers = _size(_tokens_in_budget(recipe.budget, facts, device), facts)
    width, n_layers = recipe.model.get("width", width), recipe.model.get("n_layers", n_layers)
    if not (isinstance(width, int) and isinstance(n_layers, int) and width > 0 and n_layers > 0):
        return vocabulary_size(n_bytes)  # a wrong setting is refused when the model is chosen
    affordable = max(FEWEST_IDS, int(_OUTPUT_SHARE * 12 * width * n_layers))
    return int(min(vocabulary_size(n_bytes), 2 ** int(math.log2(affordable))))


def device_of(recipe: Recipe) -> Literal["cpu", "cuda"]:
    device: Literal["cpu", "cuda"] = recipe.train.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("train.device is cuda, but this machine has no CUDA device; leave it out or say cpu")
    return device


def model_table(family_name: str, config: Any) -> dict[str, Any]:
    """A model's settings as a recipe holds them: with the family's name, without what a foreign file brought along."""
    return {"family": family_name, **{name: value for name, value in to_dict(config).items() if name != "foreign"}}


def model_config(model: Mapping[str, Any]) -> Any:
    """The family's settings a recipe's model table means. Raises ConfigError for an unknown one."""
    table = {name: value for name, value in model.items() if name != "family"}
    return from_dict(family(model.get("family", DEFAULT)).config, table, "model.")


def _tokens_in_budget(budget: BudgetSettings, facts: TextFacts, device: str) -> float:
    """Tokens the budget reads, or for minutes the arithmetic it has, divided by 6 x 20: parameters squared."""
    if budget.minutes is not None:
        arithmetic = ARITHMETIC[device] * 60 * budget.minutes
        return _TOKENS_PER_PARAMETER * math.sqrt(arithmetic / (6 * _TOKENS_PER_PARAMETER))
    if budget.tokens is not None:
        return budget.tokens
    if budget.steps is not None:
        return budget.steps * TOKENS_PER_STEP[device]
    assert budget.epochs is not None
    return budget.epochs * facts.training_tokens


def kept_settings(start: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
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
    width, n_layers = _size(readable, facts)
    width = given.get("width", width)
    longest = LONGEST_WINDOW[device]
    roomy = 2 ** max(5, int(math.log2(max(facts.training_tokens, 2) / 8))) if facts.training_tokens > 512 else 32
    known = {field.name: field for field in fields(family(given.get("family", DEFAULT)).config)}
    chosen: dict[str, Any] = {
        "context": min(longest, roomy),
        "width": width,
        "n_layers": n_layers,
        "n_heads": _heads(width),
        "vocabulary": facts.vocabulary,
    }
    if given.get("gated"):
        chosen["feed_forward"] = max(16, round(8 * width / 3 / 16) * 16)  # as many numbers as a plain one of 4 x width
    if "context" in known and known["context"].default is None:
        del chosen["context"]  # the family has no limit
    model = {"family": DEFAULT, **{name: value for name, value in chosen.items() if name in known}, **given}
    if model["vocabulary"] != facts.vocabulary:
        raise ConfigError(
            f"model.vocabulary is {model['vocabulary']}, but the tokenizer has {facts.vocabulary} ids; "
            f"leave it out, or set tokenizer.vocabulary"
        )
    return model


def _size(readable: float, facts: TextFacts) -> tuple[int, int]:
    """Width and layers: the largest of the ladder whose matrices budget and text feed."""
    wanted = min(readable / _TOKENS_PER_PARAMETER * 1.6, _PARAMETERS_PER_TOKEN * facts.training_tokens)
    fitting = [step for step in _LADDER if 12 * step[0] ** 2 * step[1] <= wanted]
    return fitting[-1] if fitting else _LADDER[0]


def _heads(width: Any) -> int:
    """Heads 64 wide where that divides the width, else 32, else the widest from 63 to 8 that does, else one head."""
    if not isinstance(width, int) or width < 1:
        raise ConfigError(f"model.width must be a whole number above 0, but got {width!r}")
    fitting = (size for size in (64, 32, *range(63, 7, -1)) if width % size == 0 and width > size)
    return width // next(fitting, width)


def _choose_dropout(model: dict[str, Any], recipe: Recipe, facts: TextFacts, device: str) -> dict[str, Any]:
    """Dropout by how often the text is read; none on attention, where a CPU's fused kernel has none."""
    passes = _passes(recipe.budget, facts, device, model_config(model))
    rate = 0.0 if passes < AS_GOOD_AS_NEW else 0.1 if passes < OFTEN else 0.2
    known = {field.name for field in fields(family(model["family"]).config)}
    rates = {"embedding_dropout": rate, "residual_dropout": rate, "attention_dropout": 0.0}
    chosen = {name: value for name, value in rates.items() if name in known}
    return {**model, **chosen, **{name: value for name, value in recipe.model.items() if name in chosen}}


def _passes(budget: BudgetSettings, facts: TextFacts, device: str, config: Any) -> float:
    """About how often the budget reads the text."""
    if budget.minutes is None:
        return _tokens_in_budget(budget, facts, device) / max(facts.training_tokens, 1)
    layers = 12 * config.width**2 * config.n_layers
    attention = config.n_layers * config.width * _context(config, device)
    per_token = 6 * (layers + config.vocabulary * config.width + attention)
    return float(ARITHMETIC[device] * 60 * budget.minutes / per_token / max(facts.training_tokens, 1))


def _context(config: Any, device: str) -> int:
    """The tokens a model sees at once in training; of a model without a limit so many as others would."""
    return LONGEST_WINDOW[device] if config.context is None else int(config.context)


def _window(context: int, facts: TextFacts, shortened: bool) -> int:
    """The whole context, but no more than the text has; 256 tokens where a long context is tuned on a CPU."""
    longest = min(context, 256) if shortened else context
    return max(1, min(longest, facts.training_tokens - 1))


def _batch_size(window: int, facts: TextFacts, recipe: Recipe, config: Any) -> int:
    """Rows of a step: fewer where the budget or the text is small, since more steps teach more than larger ones."""
    device, accumulation = device_of(recipe), recipe.train.accumulation
    read = _passes(recipe.budget, facts, device, config) * facts.training_tokens
    tokens = TOKENS_PER_STEP[device]
    while recipe.budget.steps is None and tokens > FEWEST_TOKENS and read / tokens < FEW_STEPS:
        tokens //= 2
    rows = max(1, min(tokens, facts.training_tokens // 8) // window)
    return max(accumulation, rows - rows % accumulation)


def highest_rate(width: int, optimizer: str, tuned: bool, *, adapted: bool) -> float:
    """The highest rate by width: less for wider.

    AdamW: 6e-4 at width 768 (as for GPT-3's smallest, Brown et al. 2020, table 2.1). Muon: three times that, about the
    best of those tried at widths 96 and 192 (docs/defaults.md, docs/log.md). A tenth to tune a model, but all of it to
    train adapters, which start from nothing.
    """
    rate = (1.8e-3 if optimizer == "muon" else 6e-4) * (768 / width) ** 0.9
    return float(f"{rate / 10 if tuned and not adapted else rate:.2g}")


def _seconds(budget: BudgetSettings, config: Any, tokens: float, device: str) -> float:
    """About how long reading so many tokens takes, from its arithmetic."""
    if budget.minutes is not None:
        return 60 * budget.minutes
    return float(6 * config.n_parameters() * tokens / ARITHMETIC[device])


def _epochs(budget: BudgetSettings, facts: TextFacts, per_step: int, device: str, config: Any) -> float:
    if budget.steps is not None:
        return budget.steps * per_step / max(facts.training_tokens, 1)
    return _passes(budget, facts, device, config)


def _size_reason(model: dict[str, Any], facts: TextFacts, budget: BudgetSettings) -> str:
    parameters = model_config(model).n_parameters()
    per_parameter = facts.training_tokens / parameters
    return (
        f"{model['n_layers']} layers {model['width']} wide, {parameters:,} parameters: the text has "
        f"{facts.training_tokens:,} tokens, {per_parameter:.2g} for each parameter"
    )


def epoch_reason(epochs: float) -> str:
    if epochs < 1:
        return f"the budget reads about {100 * epochs:.0f} % of the text"
    warning = "; expect it to learn much of the text by heart" if epochs > OFTEN else ""
    return f"the budget reads the text about {epochs:.1f} times{warning}"
