"""Families that read and write text: pre-trained on the same windows, fine-tuned on the same tasks, measured on both.

All share one body, GPT-2's (Radford et al. 2019, section 2.3: norms before the sublayers, learned positions), so that
GPT-2 and BERT differ in mask and objective alone, and readers among themselves in what mixes the tokens.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from headway.errors import ConfigError
from headway.models.bert_sizes import sized as bert_sized
from headway.models.registry import VARIANTS, family
from headway.studies.arithmetic import reading_flops
from headway.studies.division import DATA
from headway.studies.plan import CompareSettings, Plan, family_behind
from headway.studies.reading_findings import reading_findings
from headway.studies.runs import RunResult
from headway.studies.sizes import TOLERANCE, checked, trimmed
from headway.studies.task_files import task_files
from headway.studies.text_division import TextDivision, text_division_of, text_fingerprint
from headway.text.tokenizer import Tokenizer
from headway.training.defaults import LONGEST_WINDOW, TextFacts, device_of, model_config
from headway.training.masked import learn_vocabulary
from headway.training.material import Material
from headway.training.prepare import material_of
from headway.training.recipe import DataSettings, Recipe
from headway.training.report import Reporter
from headway.training.texts import TextMaterial

BODY: Mapping[str, Any] = {
    "norm": "pre",
    "positions": "learned",
    "segments": 0,
    "embedding_norm": False,
    "embedding_projection": False,
    "gated": False,
    "transform": False,
    "activation": "gelu_tanh",
    "epsilon": 1e-5,
}
"""BERT's settings that make its body GPT-2's."""

_SHAPE = ("context", "width", "n_layers", "n_heads", "embedding_dropout", "attention_dropout", "residual_dropout")


class Reading:
    """Text, and what reads or writes it."""

    def __init__(self, asked: CompareSettings, given: Recipe) -> None:
        self._asked = asked
        self._data = given.data
        self._tasks = task_files(asked.tasks)
        self._tokenizer = given.tokenizer
        if any(family_behind(name).decoder for name in asked.families):
            if given.tokenizer.kind not in (None, "bytes"):
                raise ConfigError(
                    f"a model that writes has to say any text, which tokenizer.kind={given.tokenizer.kind} cannot;\n"
                    "leave it out, or compare readers alone"
                )
            self._tokenizer = replace(given.tokenizer, kind="bytes")

    @property
    def reference(self) -> str:
        """The first of those asked for, but for Laplace, which has no heads for others to take."""
        return next(name for name in self._asked.families if name != "laplace")

    def fingerprint(self) -> str:
        """The content of every file a comparison reads, as one hash."""
        return text_fingerprint(self._asked, self._data, self._tasks)

    def divide(self, folder: Path, fingerprint: str, reporter: Reporter) -> TextDivision:
        """The division the comparison's folder holds, made now where it holds none."""
        return text_division_of(folder, self._asked, self._data, self._tasks, read=fingerprint, reporter=reporter)

    def base(self, given: Recipe, folder: Path) -> Recipe:
        """The part of the recipe that all runs share; paths are within the comparison's folder."""
        data = DataSettings(path=str(folder / DATA / "train.jsonl"), validation=str(folder / DATA / "validation.jsonl"))
        return replace(given, data=data, tokenizer=self._tokenizer)

    def model(self, name: str) -> dict[str, Any]:
        """The family with the common body: of a variant of BERT its mixer alone."""
        of, settings = VARIANTS.get(name, (name, {}))
        if of != "bert":
            return {"family": of, **settings}
        return {"family": of, "mixer": settings.get("mixer", "attention"), **BODY}

    def material(self, recipe: Recipe, *, learns: bool) -> Material:
        """What the family learns from; the vocabulary of all is one that can hide words where one of them reads."""
        if not learns:
            return material_of(recipe)
        return TextMaterial(recipe, partial(learn_vocabulary, self._tokenizer))

    def settled(self, first: Recipe, tokenizer: Tokenizer) -> Recipe:
        """With a row that leaves every other family room for the same text beside its own marks."""
        assert first.train.window is not None
        most = max(_beside_text(family_behind(name).name, tokenizer) for name in self._asked.families)
        window = first.train.window - most + _beside_text(first.model["family"], tokenizer)
        return replace(first, train=replace(first.train, window=window))

    def alike(self, recipe: Recipe, first: Recipe | None, facts: TextFacts, tokenizer: Tokenizer) -> Recipe:
        """The same windows of text, the same shape and optimiser for all: those of the first family."""
        if first is None:
            rows = recipe.train.window or _rows(recipe, facts)
            model = {**recipe.model, **_known(recipe.model, {"context": rows}, ("context",))}
            return replace(recipe, model=model, train=replace(recipe.train, window=rows))
        chosen = first.train
        assert chosen.window is not None
        train = replace(
            recipe.train, batch_size=chosen.batch_size, optimizer=chosen.optimizer, precision=chosen.precision
        )
        text = chosen.window - _beside_text(first.model["family"], tokenizer)
        train = replace(train, window=text + _beside_text(recipe.model["family"], tokenizer))
        most = max(_beside_text(family_behind(name).name, tokenizer) for name in self._asked.families)
        shape = {**first.model, "context": text + most}
        shared = ("context",) if self._asked.equal == "minutes" else _SHAPE
        return replace(recipe, train=train, model={**recipe.model, **_known(recipe.model, shape, shared)})

    def sized(self, model: Mapping[str, Any], facts: TextFacts, wanted: int, first: Recipe | None) -> dict[str, Any]:
        """The first family's shape, and a feed-forward width that makes the count the one wanted."""
        table = {**model, "vocabulary": facts.vocabulary}
        if first is None:
            body = bert_sized(wanted, facts.vocabulary, {**BODY, **_given(model, "context")})
            shape = {"width": body.width, "n_layers": body.n_layers, "n_heads": body.n_heads}
            table = {**table, **_known(model, shape, tuple(shape)), "feed_forward": body.hidden}
        else:
            hidden = model_config(first.model).hidden
            table = {**table, "feed_forward": hidden}
        if abs(model_config(table).n_parameters() - wanted) > TOLERANCE / 2 * wanted:
            table = trimmed(table, "feed_forward", wanted)
        return checked(table, facts, wanted)

    def flops(self, recipe: Recipe, facts: TextFacts) -> float:
        """For each token of a row."""
        assert recipe.train.window is not None
        writes = family(recipe.model["family"]).decoder
        asked = 1.0 if writes else recipe.train.mask_share or 1.0
        config = model_config(recipe.model)
        return reading_flops(recipe.model["family"], config, row=float(recipe.train.window), asked=asked)

    def measure(
        self, plan: Plan, folder: Path, division: TextDivision, results: Sequence[RunResult], reporter: Reporter
    ) -> dict[str, Any]:
        """What each says of the test text, and how well its fine-tuned copies do their tasks."""
        return reading_findings(plan, folder, division, results, reporter)


def _beside_text(family_name: str, tokenizer: Tokenizer) -> int:
    """How many ids a row has beside its text: none where a model writes, begin and end where it reads."""
    return 0 if family(family_name).decoder else 1 + (tokenizer.begin_of_text is not None)


def _rows(recipe: Recipe, facts: TextFacts) -> int:
    """Tokens of a row: what the hardware reads at ease, but less of a short text."""
    return int(min(LONGEST_WINDOW[device_of(recipe)], 2 ** max(5, int(math.log2(max(facts.training_tokens, 2) / 8)))))


def _known(model: Mapping[str, Any], given: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Those of the given settings that the model's family has, an unlimited context left as it is."""
    found = {field.name: field.default for field in fields(family(model["family"]).config)}
    unlimited = {"context"} if found.get("context", 0) is None else set()
    return {name: given[name] for name in names if name in found and name in given and name not in unlimited}


def _given(model: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {name: model[name]} if name in model else {}
