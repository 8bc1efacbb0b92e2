"""The report of a reading comparison as a page, drawn from the table of report.json and nothing else."""

from collections.abc import Iterable

from headway.settings import from_dict
from headway.studies.page import Html, folded, items, joined, page, paragraph, preformatted, table
from headway.studies.report_training import TEXTS, Table, budget_words, training
from headway.training.recipe import Recipe, to_toml

_KINDS = {"classify": "labels", "answer": "questions"}


def reading_page(found: Table) -> str:
    """The whole page, self-contained."""
    names = [family["name"] for family in found["families"]]
    lede = joined(
        [
            paragraph(f"{', '.join(names)}: {found['data']['train']:,} bytes of text, {budget_words(found)}.", "soft"),
            Html("<h2>What can be said</h2>\n"),
            items(found["what_can_be_said"], "said"),
            paragraph(found["equality"]),
        ]
    )
    sections = [("The text", _text(found))]
    if found["plan"]["tasks"]:
        sections.insert(0, ("Tasks", _tasks(found)))
    sections += [("Training and cost", training(found, TEXTS)), ("How it was done", _method(found))]
    return page(f"Comparison: {', '.join(names)}", lede, sections)


def _tasks(found: Table) -> Html:
    parts = []
    for task in found["data"]["task_parts"]:
        said = (
            f"{task['name']}: {task['train']:,} examples to fine-tune on, {task['validation']:,} to choose weights by, "
            f"{task['test']:,} to test on{' (a file of its own)' if task['test_is_given'] else ''}; "
            f"{_KINDS[task['kind']]}{': ' + ', '.join(task['labels']) if task['labels'] else ''}."
        )
        parts += [paragraph(said), *_measured(found, [one for one in found["measures"] if one["task"] == task["name"]])]
    parts.append(
        paragraph(
            "Each pre-trained model was fine-tuned as a whole, with one recipe and budget for all. From nothing: the "
            "same shape and recipe with twice the learning rate, without pre-training. Bag of words: logistic "
            "regression over words and pairs of words, which has no seed.",
            "soft",
        )
    )
    return joined(parts)


def _text(found: Table) -> Html:
    parts = _measured(found, [one for one in found["measures"] if not one["task"]])
    notes = [
        "Bits per byte: of every byte of the test text, by the chain rule, in windows of which half is new: a code "
        "length, of a model that writes.",
        "Pseudo-bits per byte: in a few windows each token is hidden in turn and guessed from both sides; the sum is "
        "no code length, since each guess sees what the others are asked for. It can be compared between readers "
        "alone.",
        "Hidden tokens guessed: 15 % of the test text's tokens are hidden, the same for all.",
    ]
    return joined([*parts, items(notes, "soft")])


def _measured(found: Table, measures: Iterable[Table]) -> list[Html]:
    """A table of scores for each measure, and one of differences where any are claimed."""
    parts = []
    for measure in measures:
        digits, compared = measure["digits"], found["comparisons"][measure["key"]]
        rows = [
            [name, _value(score, digits), ", ".join(f"{value:.{digits}f}" for value in score["seeds"]), _spread(score)]
            for name, score in found["scores"][measure["key"]].items()
        ]
        where = f"{measure['task']}: " if measure["task"] else ""
        better = "" if measure["higher_is_better"] else " (lower is better)"
        head = ["family", "mean, 95 % interval", "by seed", "spread of seeds"]
        parts.append(table(f"{where}{measure['title']}{better}", head, rows))
        if compared["differences"]:
            share = f"{100 * compared['confidence']:.3g} %"
            head = ["difference", "value", f"{share} interval", "outside the noise", "seed by seed, test data alone"]
            rows = [_difference_row(one, digits) for one in compared["differences"]]
            parts.append(table(f"Differences, {where}{measure['title']}", head, rows))
    return parts


def _difference_row(one: Table, digits: int) -> list[str]:
    interval, pairs = one["interval"], one["paired_bootstrap"]
    bounds = (
        "unknown with one seed"
        if interval is None
        else f"{interval['low']:+.{digits}f} to {interval['high']:+.{digits}f}"
    )
    up = sum(pair["decided"] and pair["difference"] > 0 for pair in pairs)
    down = sum(pair["decided"] and pair["difference"] < 0 for pair in pairs)
    return [
        f"{one['first']} less {one['second']}",
        f"{one['difference']:+.{digits}f}",
        bounds,
        "yes" if one["decided"] else "no verdict",
        f"{up} higher, {down} lower, {len(pairs) - up - down} open",
    ]


def _method(found: Table) -> Html:
    data, asked = found["data"], found["plan"]["asked"]
    facts = [
        found["equality"],
        f"{data['train']:,} bytes of text to train on, {data['validation']:,} to choose rates and weights by, "
        f"{data['test']:,} in {data['test_documents']:,} documents or pieces to test on, divided once.",
        "One tokenizer for all; the runs of one seed read the same windows of text in the same order, with the same "
        "optimiser.",
        "One body for all, GPT-2's: norms before the sublayers, learned positions, dropout alike; readers of other "
        "mixers than attention have a wider feed-forward network instead.",
        f"Learning rates of pre-training: {', '.join(f'{factor:g}' for factor in asked['rate_factors'])} times each "
        f"family's default"
        + (
            f", {100 * asked['sweep_share']:.0f} % of the budget." if len(asked["rate_factors"]) > 1 else ", not swept."
        ),
        f"Fine-tuning: {_tuning(asked['tuning'])} for each run, one learning rate for families of one "
        "width; it comes on top of the minutes.",
        "No run stops early; the weights kept are those with the lowest validation loss.",
    ]
    parts = [items(facts)]
    if found["tuning"]:
        rows = [
            [
                f"{one['family']}{' from nothing' if one['from_nothing'] else ''}, {one['task']}, seed {one['seed']}",
                f"{one['rate']:g}",
                f"{one['steps']:,}",
                "diverged" if one["diverged"] else f"{one['best_step']:,}",
            ]
            for one in found["tuning"]
        ]
        head = ["run", "learning rate", "steps", "weights of step"]
        parts.append(folded("Fine-tuning runs", table("Fine-tuning runs", head, rows)))
    for family in found["families"]:
        parts.append(folded(f"Recipe of {family['name']}", preformatted(to_toml(from_dict(Recipe, family["recipe"])))))
    return joined(parts)


def _tuning(budget: Table) -> str:
    return next(f"{value:g} {name}" for name, value in budget.items() if value is not None)


def _value(score: Table, digits: int) -> str:
    interval = score["interval"] or score["sentence_interval"]
    return f"{score['mean']:.{digits}f} ({interval['low']:.{digits}f} to {interval['high']:.{digits}f})"


def _spread(score: Table) -> str:
    return "unknown" if score["seed_deviation"] is None else f"{score['seed_deviation']:.2g}"
