"""From what was asked to a plan: one tokenizer, one batch size, equal models, a recipe for each family."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from headway.errors import ConfigError
from headway.formats.folder import load_target_tokenizer
from headway.settings import to_dict
from headway.storage import new_folder
from headway.studies.arithmetic import training_flops
from headway.studies.division import DATA, Division
from headway.studies.plan import CompareSettings, FamilyPlan, Plan
from headway.text.tokenizer import Tokenizer
from headway.training.defaults import TextFacts, model_config, model_table
from headway.training.material import Tokenizers
from headway.training.pair_defaults import SIZED, longest_side
from headway.training.pairs import PairMaterial
from headway.training.recipe import BudgetSettings, DataSettings, Recipe, TokenizerSettings, recipe_from
from headway.training.report import Reporter

TOKENIZER = "tokenizer"

# Parameters may differ by so much of the number wanted and still be called equal.
TOLERANCE = 0.02

# What a family's size is trimmed with where its ladder of sizes is too coarse.
_TRIMMED = {"transformer": "feed_forward", "rnnsearch": "width"}
_ATTEMPTS = 3

# A comparison decides these itself: alike for all, or one for each run.
_DECIDED = ("model.", "start", "adapter", "budget", "output", "data.path", "train.seed", "train.learning_rate")


def asked_recipe(asked: CompareSettings) -> Recipe:
    """The recipe that the further settings change. Raises ConfigError for one that a comparison decides itself."""
    for assignment in asked.settings:
        if assignment.strip().startswith(_DECIDED):
            raise ConfigError(
                f"a comparison decides {assignment.partition('=')[0].strip()} itself, alike for all families;\n"
                f"--set takes settings of data, tokenizer and train"
            )
    return recipe_from(asked.pairs, "unused", budget={"steps": 1}, assignments=asked.settings)


def decide(folder: Path, asked: CompareSettings, division: Division, reporter: Reporter) -> Plan:
    """Learn the vocabulary, choose all sizes, and count; writes the tokenizer to the comparison's folder.

    Raises ConfigError where a family cannot be made as large as the others.
    """
    base = _base(asked, folder)
    first = _with_family(base, asked.families[0], asked)
    material = PairMaterial(first)
    with new_folder(folder / TOKENIZER, overwrite=True) as building:
        tokenizers, facts = material.write(building / "shards", _known(base), reporter)
        tokenizers.source.save(building)
        if tokenizers.target is not None:
            (building / "target").mkdir()
            tokenizers.target.save(building / "target")
        complete: dict[str, Recipe] = {}
        wanted = asked.parameters
        for name in asked.families:
            recipe = _with_family(base, name, asked)
            if complete:  # the same batches and optimiser for all: those of the first family
                chosen = complete[asked.families[0]].train
                train = replace(recipe.train, batch_tokens=chosen.batch_tokens, optimizer=chosen.optimizer)
                recipe = replace(recipe, train=train)
            if wanted is not None:
                recipe = replace(recipe, model=sized_model(recipe.model, facts, wanted))
            complete[name], _ = material.fill_in(recipe, facts, None)
            if wanted is None and asked.equal != "minutes":
                wanted = model_config(complete[name].model).n_parameters()
        objective = material.objective(complete[asked.families[0]], building / "shards", tokenizers)
        shutil.rmtree(building / "shards")
        (building / "facts.json").write_text(json.dumps(to_dict(facts), indent=1), encoding="utf-8")
    plan = Plan(
        asked=asked,
        data_fingerprint=division.fingerprint,
        target_tokens_per_step=objective.tokens_per_step,
        source_tokens_per_target=facts.source_tokens / facts.training_tokens,
        families=tuple(_family_plan(name, recipe, facts, asked) for name, recipe in complete.items()),
    )
    for found in plan.families:
        reporter.note(
            f"{found.name}: {found.parameters:,} parameters, {found.flops_per_token / 1e6:,.1f} million operations for "
            f"each target token, rates {', '.join(f'{rate:g}' for rate in found.rates)}"
        )
    return plan


def _base(asked: CompareSettings, folder: Path) -> Recipe:
    """The part of the recipe that all runs share; paths are within the comparison's folder."""
    given = asked_recipe(asked)
    data = DataSettings(
        path=str(folder / DATA / "train.jsonl"),
        validation=str(folder / DATA / "validation.jsonl"),
        clean=False,  # done once, before the division
        longest=longest_side(given, None),
    )
    # Every run spends its whole budget, and nobody reads its samples.
    train = replace(given.train, patience=0, sample_tokens=0, keep=1)
    return replace(given, data=data, train=train)


def _with_family(base: Recipe, name: str, asked: CompareSettings) -> Recipe:
    budget = (
        BudgetSettings(minutes=asked.minutes_of("final")) if asked.steps is None else BudgetSettings(steps=asked.steps)
    )
    return replace(base, model={"family": name}, budget=budget)


def _known(base: Recipe) -> Tokenizers | None:
    folder = base.tokenizer.folder
    if folder is None:
        return None
    return Tokenizers(source=Tokenizer.load(folder), target=load_target_tokenizer(folder))


def sized_model(model: Mapping[str, Any], facts: TextFacts, wanted: int) -> dict[str, Any]:
    """The family's model table with a number of parameters nearest to `wanted`.

    The family's own sizes come first, asked for anew where other vocabularies than theirs change the count; what is
    left is made up by one inner width.
    """
    name = model["family"]
    tables, asked_for = [], float(wanted)
    for _ in range(_ATTEMPTS):
        tables.append(_table(model, facts, max(1, round(asked_for))))
        asked_for *= wanted / model_config(tables[-1]).n_parameters()
    best = min(tables, key=lambda table: abs(model_config(table).n_parameters() - wanted))
    if name in _TRIMMED and abs(model_config(best).n_parameters() - wanted) > TOLERANCE / 2 * wanted:
        best = _trimmed(best, _TRIMMED[name], wanted)
    found = model_config(best).n_parameters()
    if abs(found - wanted) > TOLERANCE * wanted:
        raise ConfigError(
            f"{name} with a vocabulary of {facts.vocabulary:,} comes no nearer to {wanted:,} parameters than "
            f"{found:,};\n"
            f"give another --parameters, or a smaller vocabulary: --set tokenizer.vocabulary=N"
        )
    return best


def _table(model: Mapping[str, Any], facts: TextFacts, n_parameters: int) -> dict[str, Any]:
    config = SIZED[model["family"]](n_parameters, facts.vocabulary, model)
    table = {**model_table(model["family"], config), "source_vocabulary": facts.source_vocabulary}
    if facts.source_vocabulary is not None and "shared" in table:
        table["shared"] = False
    return {**table, **model}


def _trimmed(table: dict[str, Any], field: str, wanted: int) -> dict[str, Any]:
    """The table with one inner width changed, by half or double at most, so that the count comes nearest."""
    size = table[field]
    low, high = max(1, size // 2), 2 * size
    counts = {low: model_config({**table, field: low}).n_parameters()}
    while low < high:  # the count grows with the width
        middle = (low + high + 1) // 2
        counts[middle] = model_config({**table, field: middle}).n_parameters()
        low, high = (middle, high) if counts[middle] <= wanted else (low, middle - 1)
    counts[low + 1] = model_config({**table, field: low + 1}).n_parameters()
    return {**table, field: min(counts, key=lambda width: abs(counts[width] - wanted))}


def _family_plan(name: str, recipe: Recipe, facts: TextFacts, asked: CompareSettings) -> FamilyPlan:
    config = model_config(recipe.model)
    lengths = {"source": facts.source_tokens / facts.pairs, "target": facts.training_tokens / facts.pairs}
    assert recipe.train.learning_rate is not None
    rates = dict.fromkeys(float(f"{recipe.train.learning_rate * factor:.2g}") for factor in asked.rate_factors)
    within = replace(
        recipe,
        output="",
        data=replace(recipe.data, path="train.jsonl", validation="validation.jsonl"),
        tokenizer=TokenizerSettings(folder=TOKENIZER),
    )
    return FamilyPlan(
        name=name,
        recipe=to_dict(within),
        parameters=config.n_parameters(),
        flops_per_token=training_flops(recipe.model["family"], config, **lengths),
        rates=tuple(sorted(rates)),
    )
