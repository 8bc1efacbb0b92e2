"""From what was asked to a plan: one tokenizer, one batch size, equal models, a recipe for each family."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from headway.errors import ConfigError
from headway.formats.folder import load_target_tokenizer
from headway.settings import to_dict
from headway.storage import new_folder
from headway.studies.plan import CompareSettings, FamilyPlan, Plan
from headway.studies.subject import Division, Subject
from headway.text.tokenizer import Tokenizer
from headway.training.defaults import TextFacts, model_config
from headway.training.material import Tokenizers
from headway.training.recipe import BudgetSettings, Recipe, TokenizerSettings, recipe_from
from headway.training.report import Reporter

TOKENIZER = "tokenizer"

# A comparison decides these itself: alike for all, or one for each run.
_DECIDED = ("model.", "start", "task", "adapter", "budget", "output", "data.path", "train.seed", "train.learning_rate")


def asked_recipe(asked: CompareSettings) -> Recipe:
    """The recipe that the further settings change. Raises ConfigError for one that a comparison decides itself."""
    for assignment in asked.settings:
        if assignment.strip().startswith(_DECIDED):
            raise ConfigError(
                f"a comparison decides {assignment.partition('=')[0].strip()} itself, alike for all families;\n"
                f"--set takes settings of data, tokenizer and train"
            )
    return recipe_from(asked.data, "unused", budget={"steps": 1}, assignments=asked.settings)


def decide(folder: Path, asked: CompareSettings, subject: Subject, division: Division, reporter: Reporter) -> Plan:
    """Learn the vocabulary, choose all sizes, and count; writes the tokenizer to the comparison's folder.

    Raises ConfigError where a family cannot be made as large as the others.
    """
    given = subject.base(asked_recipe(asked), folder)
    # Every run spends its whole budget, and nobody reads its samples.
    base = replace(given, train=replace(given.train, patience=0, sample_tokens=0, keep=1))
    reference = subject.reference
    material = subject.material(_with_family(base, reference, asked, subject), learns=True)
    with new_folder(folder / TOKENIZER, overwrite=True) as building:
        tokenizers, facts = material.write(building / "shards", _known(base), reporter)
        tokenizers.source.save(building)
        if tokenizers.target is not None:
            (building / "target").mkdir()
            tokenizers.target.save(building / "target")
        complete = _recipes(asked, subject, base, facts, tokenizers)
        first = complete[reference]
        objective = subject.material(first, learns=False).objective(first, building / "shards", tokenizers)
        shutil.rmtree(building / "shards")
        (building / "facts.json").write_text(json.dumps(to_dict(facts), indent=1), encoding="utf-8")
    plan = Plan(
        asked=asked,
        data_fingerprint=division.fingerprint,
        target_tokens_per_step=objective.tokens_per_step,
        source_tokens_per_target=facts.source_tokens / facts.training_tokens,
        families=tuple(_family_plan(name, complete[name], facts, asked, subject) for name in asked.families),
        tasks=division.tasks,
    )
    for found in plan.families:
        reporter.note(
            f"{found.name}: {found.parameters:,} parameters, {found.flops_per_token / 1e6:,.1f} million operations for "
            f"each {'token' if asked.reads else 'target token'}, rates {', '.join(f'{rate:g}' for rate in found.rates)}"
        )
    return plan


def _recipes(
    asked: CompareSettings, subject: Subject, base: Recipe, facts: TextFacts, tokenizers: Tokenizers
) -> dict[str, Recipe]:
    """Each family's recipe with every choice made, the reference first."""
    complete: dict[str, Recipe] = {}
    wanted, first = asked.parameters, None
    others = [name for name in asked.families if name != subject.reference]
    for name in [subject.reference, *others]:
        recipe = subject.alike(_with_family(base, name, asked, subject), first, facts, tokenizers.source)
        if wanted is not None:
            recipe = replace(recipe, model=subject.sized(recipe.model, facts, wanted, first))
        material = subject.material(recipe, learns=False)
        complete[name], _ = material.fill_in(recipe, facts, None)
        if first is None:
            first = subject.settled(complete[name], tokenizers.source)
            complete[name] = first
        if wanted is None and asked.equal != "minutes":
            wanted = model_config(first.model).n_parameters()
    return complete


def _with_family(base: Recipe, name: str, asked: CompareSettings, subject: Subject) -> Recipe:
    budget = (
        BudgetSettings(minutes=asked.minutes_of("final")) if asked.steps is None else BudgetSettings(steps=asked.steps)
    )
    return replace(base, model=subject.model(name), budget=budget)


def _known(base: Recipe) -> Tokenizers | None:
    folder = base.tokenizer.folder
    if folder is None:
        return None
    return Tokenizers(source=Tokenizer.load(folder), target=load_target_tokenizer(folder))


def _family_plan(name: str, recipe: Recipe, facts: TextFacts, asked: CompareSettings, subject: Subject) -> FamilyPlan:
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
        parameters=model_config(recipe.model).n_parameters(),
        flops_per_token=subject.flops(recipe, facts),
        rates=tuple(sorted(rates)),
    )
