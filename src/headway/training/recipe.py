"""A run, complete in one value and in one TOML file: data, tokenizer, model, training, budget.

What is None here is chosen from the data, the budget and the kind of hardware (training/defaults.py) before the run
begins; the recipe saved in the model folder has every choice filled in, and training it again gives the same model.
"""

import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tomli_w

from headway.errors import ConfigError, DataError
from headway.models.registry import spelled_out
from headway.settings import assign, from_dict, to_dict, without_none

TUNING_EPOCHS = 3.0
"""Passes over labelled data where nothing is said (Devlin et al. 2018, appendix A.3: 2 to 4)."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which text or pairs, and what of it is kept aside to measure on.

    path: a file or folder of documents, or of pairs for a model that reads a source. validation: another one; None:
    `validation_share` of the documents of `path`, or of the distinct sources of its pairs. text_field: the field or
    column of .jsonl, .csv and .parquet that holds the text; None: "text" or the only one. Pairs: target_path and
    validation_target are second files that hold the targets line by line; source_field and target_field name the fields
    or languages of a pair; clean: leave out what is hardly a pair (docs/pairs.md); longest: the most tokens a side may
    have, None: what the model's context holds. Labelled texts: label_field and other_field, the field of a second text;
    multi_label: a text may have several labels or none; stride: tokens that windows of a long context have in common.
    """

    path: str
    validation: str | None = None
    validation_share: float = 0.05
    text_field: str | None = None
    target_path: str | None = None
    validation_target: str | None = None
    source_field: str | None = None
    target_field: str | None = None
    clean: bool = True
    longest: int | None = None
    label_field: str | None = None
    other_field: str | None = None
    multi_label: bool = False
    stride: int | None = None

    def __post_init__(self) -> None:
        if self.longest is not None and self.longest < 1:
            raise ConfigError(f"data.longest must be at least 1, but got {self.longest}")
        if self.stride is not None and self.stride < 1:
            raise ConfigError(f"data.stride must be at least 1, but got {self.stride}")
        if self.validation_target is not None and self.validation is None:
            raise ConfigError("data.validation_target holds the targets of data.validation, which is missing")
        if not 0.0 < self.validation_share <= 0.5:
            raise ConfigError(f"data.validation_share must be above 0 and at most 0.5, but got {self.validation_share}")


@dataclass(frozen=True, kw_only=True)
class TokenizerSettings:
    """Where the vocabulary comes from.

    folder: a model folder or a shipped name ("gpt2") whose tokenizer is taken; None: one is trained on the text.
    vocabulary: how many ids the trained one has at most; None: by the size of the text. separate: pairs get a
    vocabulary for each side instead of one for both. kind: "bytes", pieces that can say any text; for pairs also
    "words", the most frequent words, all others unknown, as the first neural translators had them; for readers
    "wordpiece", BERT's pieces of words, of small letters without accents where `lowercase`. None: wordpiece for
    readers, bytes for all others.
    """

    folder: str | None = None
    vocabulary: int | None = None
    separate: bool = False
    kind: Literal["bytes", "words", "wordpiece"] | None = None
    lowercase: bool = True


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How the weights move.

    batch_size: rows of one step, over all accumulation; accumulation: how many parts a step is computed in, without
    changing the gradient. window: tokens of a row; None: the model's context, less where text or machine ask for
    it. batch_tokens: for pairs, in place of batch_size and window: a step's pairs fill so many tokens on their
    longer side. optimizer: "adamw", "muon" for the layers' matrices with AdamW for the rest, or "adadelta".
    learning_rate: the highest; final_share: the last one's share of it. schedule: "cosine"; "wsd" (warm-up, stable,
    decay), which holds the rate until the last cool_down of the budget; "inverse-sqrt", which falls with the square
    root of the budget spent; or "constant". warm_up: the share of the budget in which the rate rises. epsilon: what
    keeps the optimiser's divisions finite. label_smoothing: so much of a target's probability is spread over the
    vocabulary. mask_share: so much of a text is hidden from a reader that is to guess it; whole_words: words are
    hidden whole; next_sentence: it also learns whether a row's second half is its own. class_weights: "balanced" lets
    each label count alike, however rare; calibrate: fit one temperature to the validation data, so that probabilities
    can be believed; similarity_scale: what the cosines of embeddings are multiplied by in their loss.
    average: the weights kept at the end are the mean of so many last evaluations' weights, where that
    measures better; 0: never. clip: the largest gradient norm. spike_deviations: a step whose loss or gradient norm
    is so many standard deviations above its recent mean updates nothing; 0: every step counts. patience: stop after
    so many evaluations without a better one; 0: never. layer_decay: the rate of each layer is so much of the one
    above it; freeze: how many layers, counted from the embedding, which freezes with the first of them, keep their
    weights. precision: "float32", or "bfloat16" for products in half the width. compile: run the model through
    torch.compile, which needs a C++ compiler and half a minute, and then steps faster. evaluations: how many times
    the validation text is measured over the budget, each on windows of about validation_tokens tokens spread over
    it. save_every: steps between checkpoints; None: every 60 seconds. keep: how many checkpoints stay.
    sample_tokens: the length of the sample written at each evaluation. What is None is chosen by the text, the
    budget and the kind of hardware.
    """

    seed: int = 0
    batch_size: int | None = None
    window: int | None = None
    batch_tokens: int | None = None
    accumulation: int = 1
    optimizer: Literal["adamw", "muon", "adadelta"] | None = None
    learning_rate: float | None = None
    schedule: Literal["cosine", "wsd", "inverse-sqrt", "constant"] | None = None
    final_share: float = 0.1
    warm_up: float = 0.02
    cool_down: float = 0.3
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    label_smoothing: float | None = None
    mask_share: float | None = None
    whole_words: bool = False
    next_sentence: bool = False
    class_weights: Literal["none", "balanced"] = "none"
    calibrate: bool = True
    similarity_scale: float = 20.0
    average: int = 0
    clip: float = 1.0
    spike_deviations: float = 6.0
    patience: int | None = None
    layer_decay: float = 1.0
    freeze: int = 0
    device: Literal["cpu", "cuda"] | None = None
    precision: Literal["float32", "bfloat16"] | None = None
    compile: bool | None = None
    evaluations: int | None = None
    validation_tokens: int = 20_000
    save_every: int | None = None
    keep: int = 2
    log_every: int = 10
    sample_tokens: int = 40

    def __post_init__(self) -> None:
        at_least_one = (
            "batch_size",
            "window",
            "batch_tokens",
            "accumulation",
            "evaluations",
            "validation_tokens",
            "save_every",
            "keep",
            "log_every",
        )
        for name in at_least_one:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"train.{name} must be at least 1, but got {value}")
        for name, low, high in (
            ("final_share", 0.0, 1.0),
            ("warm_up", 0.0, 1.0),
            ("weight_decay", 0.0, 10.0),
            ("beta1", 0.0, 0.99999),
            ("beta2", 0.0, 0.99999),
            ("cool_down", 0.0, 1.0),
            ("spike_deviations", 0.0, 1e6),
            ("layer_decay", 0.01, 1.0),
            ("freeze", 0, 2**10),
        ):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"train.{name} must be in {low}..{high}, but got {getattr(self, name)}")
        for name in ("learning_rate", "clip", "epsilon", "similarity_scale"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < 1e6:
                raise ConfigError(f"train.{name} must be above 0, but got {value}")
        if self.label_smoothing is not None and not 0.0 <= self.label_smoothing < 1.0:
            raise ConfigError(f"train.label_smoothing must be in 0..1 (1 excluded), but got {self.label_smoothing}")
        if self.mask_share is not None and not 0.0 < self.mask_share < 1.0:
            raise ConfigError(f"train.mask_share must be above 0 and below 1, but got {self.mask_share}")
        for name in ("seed", "sample_tokens", "patience", "average"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 2**63:
                raise ConfigError(f"train.{name} must not be negative, but got {value}")
        if self.schedule == "inverse-sqrt" and self.warm_up == 0.0:
            raise ConfigError("train.schedule=inverse-sqrt falls from the end of a warm-up: set train.warm_up above 0")
        if self.batch_size is not None and self.batch_size % self.accumulation:
            raise ConfigError(
                f"train.batch_size must be a multiple of train.accumulation, "
                f"but got batch_size={self.batch_size}, accumulation={self.accumulation}"
            )


@dataclass(frozen=True, kw_only=True)
class AdapterSettings:
    """Low-rank adapters (LoRA, Hu et al. 2021): the model's own weights stay, small products beside them learn.

    rank: the inner width of each product; alpha: it is scaled by alpha / rank, None: 2 * rank. dropout: on an adapter's
    input. targets: the layers' matrices that get one, by their names in the model.
    """

    rank: int
    alpha: float | None = None
    dropout: float = 0.0
    targets: tuple[str, ...] = ("attention.qkv", "attention.output", "feed_forward.expand", "feed_forward.contract")

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= 2**12:
            raise ConfigError(f"adapter.rank must be in 1..4096, but got {self.rank}")
        if self.alpha is not None and not 0.0 < self.alpha < 1e6:
            raise ConfigError(f"adapter.alpha must be above 0, but got {self.alpha}")
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"adapter.dropout must be in 0..1 (1 excluded), but got {self.dropout}")
        if not self.targets:
            raise ConfigError("adapter.targets must name one matrix at least, for instance attention.qkv")


@dataclass(frozen=True, kw_only=True)
class BudgetSettings:
    """How long to train: exactly one of wall-clock minutes, optimiser steps, tokens read, passes over the text."""

    minutes: float | None = None
    steps: int | None = None
    tokens: int | None = None
    epochs: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in to_dict(self).items() if value is not None}
        for name, value in given.items():
            if not 0 < value < math.inf:
                raise ConfigError(f"--{name} must be above 0 and finite, but got {value}; leave it out for 10 minutes")
        if len(given) != 1:
            got = ", ".join(f"{name}={value}" for name, value in given.items()) or "none"
            raise ConfigError(f"a budget is exactly one of minutes, steps, tokens, epochs, but got {got}")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One run. `model`: the family's own settings by name, with `family` beside them; what is left out is chosen.

    A family's variant by name ("rnn-fixed") becomes the family and the settings it stands for.

    start: a model folder or bundled name whose weights and tokenizer the run begins with; None: from nothing.
    task: what a reader is fine-tuned to do with labelled data; None: it, like any other model, learns from plain text.
    adapter: train low-rank adapters on the start model instead of its weights. output: the model folder the run writes.
    """

    data: DataSettings
    output: str
    start: str | None = None
    task: Literal["classify", "tag", "answer", "embed"] | None = None
    tokenizer: TokenizerSettings = TokenizerSettings()
    model: Mapping[str, Any] = field(default_factory=dict)
    adapter: AdapterSettings | None = None
    train: TrainSettings = TrainSettings()
    budget: BudgetSettings = BudgetSettings(minutes=10.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", spelled_out(self.model))
        if self.start is not None and self.tokenizer != TokenizerSettings():
            raise ConfigError("a run that starts from a model keeps its tokenizer: leave out [tokenizer], or --from")
        if self.adapter is not None and self.start is None:
            raise ConfigError("adapters are trained beside a model's own weights: name that model with --from")


def recipe_from(
    data: str | os.PathLike[str] | None,
    output: str | os.PathLike[str] | None,
    *,
    start: str | os.PathLike[str] | None = None,
    budget: Mapping[str, float | None] | None = None,
    assignments: Sequence[str] = (),
    file: str | os.PathLike[str] | None = None,
) -> Recipe:
    """The recipe a command line means: a TOML file or nothing, with what was given put in its place.

    budget: {"minutes": 10}; assignments: ["train.save_every=10", ...]. Raises ConfigError for an unknown setting,
    naming the nearest, and DataError for a recipe file that cannot be read.
    """
    table: dict[str, Any] = read_table(Path(file)) if file is not None else {}
    if data is not None:
        table = {**table, "data": {**table.get("data", {}), "path": os.fspath(data)}}
    if output is not None:
        table["output"] = os.fspath(output)
    if start is not None:
        table["start"] = os.fspath(start)
    chosen = {name: value for name, value in (budget or {}).items() if value is not None}
    if chosen:
        table["budget"] = chosen
    for assignment in assignments:
        table = assign(table, assignment)
    if table.get("task") is not None and "budget" not in table:
        table["budget"] = {"epochs": TUNING_EPOCHS}
    for name, given in (("data", "path" in table.get("data", {})), ("output", "output" in table)):
        if not given:
            raise ConfigError(f"a run needs its {name}: headway train TEXTS -o MODEL, or --recipe FILE that names both")
    return from_dict(Recipe, table)


def read_table(path: Path) -> dict[str, Any]:
    """The table of a TOML file. Raises DataError where it is missing, not UTF-8 or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"the recipe {path} cannot be read: {error.strerror}; give the path of a .toml file") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"the recipe {path} is not TOML: {error}") from error


def to_toml(recipe: Recipe) -> str:
    """The recipe as the TOML text that `--recipe` takes."""
    return tomli_w.dumps(without_none(to_dict(recipe)))
