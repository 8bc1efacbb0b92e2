"""The report of a comparison as a page, drawn from the table of report.json and nothing else."""

from collections.abc import Mapping
from typing import Any

from headway.evaluation.plot import Curve, Labels, Point, draw_curves
from headway.evaluation.scores import NAMES
from headway.insight.alignment_grid import grid_of
from headway.insight.alignment_html import alignment_rows
from headway.insight.alignment_svg import alignment_svg
from headway.settings import from_dict
from headway.studies.page import Html, figure, folded, items, joined, page, paragraph, preformatted, table, words
from headway.studies.reading_report import reading_page
from headway.studies.report_training import PAIRS, budget_words, training
from headway.tasks.alignment import Alignment
from headway.training.recipe import Recipe, to_toml

Table = Mapping[str, Any]

_BAND = "The band holds the mean of another such experiment 95 times in 100: other seeds, other test sentences."
_SENTENCE_BAND = "The band is over test sentences alone: with one seed a family nothing is known of other seeds."


def report_page(found: Table) -> str:
    """The whole page, self-contained."""
    if found.get("kind") == "reading":
        return reading_page(found)
    names = [family["name"] for family in found["families"]]
    lede = joined(
        [
            paragraph(f"{', '.join(names)}: {found['data']['train']:,} pairs, {budget_words(found)}.", "soft"),
            Html("<h2>What can be said</h2>\n"),
            items(found["what_can_be_said"], "said"),
            paragraph(found["equality"]),
        ]
    )
    sections = [
        ("Scores", _scores(found)),
        ("By length of the source", _by_length(found)),
        ("Training and cost", training(found, PAIRS)),
        ("Sentences on which they differ", _samples(found)),
        ("What each word was translated from", _alignments(found)),
        ("How it was done", _method(found)),
    ]
    if found["probe"] is not None:
        sections.insert(2, ("The bottleneck measured", _probe(found["probe"])))
    return page(f"Comparison: {', '.join(names)}", lede, sections)


def _scores(found: Table) -> Html:
    rows = [
        [family["name"], *(_value(family[score]) for score in NAMES), *_seeds(family)]
        for family in found["families"]
        if "bleu" in family
    ]
    head = ["family", *(f"{name} (mean, 95 % interval)" for name in NAMES.values()), "BLEU by seed", "spread of seeds"]
    parts = [table("Scores on the test set", head, rows)]
    for score, name in NAMES.items():
        compared = found["comparisons"][score]
        share = f"{100 * compared['confidence']:.3g} %"
        rows = [
            [
                f"{one['first']} less {one['second']}",
                f"{one['difference']:+.2f}",
                _bounds(one["interval"]),
                "yes" if one["decided"] else "no verdict",
                _decided_pairs(one),
            ]
            for one in compared["differences"]
        ]
        caption = f"Differences in {name}"
        head = ["difference", "points", f"{share} interval", "outside the noise", "by sentences alone, seed by seed"]
        parts.append(table(caption, head, rows))
    parts.append(
        paragraph(
            "The intervals are over seeds and test sentences together. The last column is the paired bootstrap between "
            "the models of equal seeds (Koehn 2004): it knows the noise of the sentences, not that of the seeds.",
            "soft",
        )
    )
    return joined([*parts, items(f"{NAMES[name]}: {text}" for name, text in found["signatures"].items())])


def _by_length(found: Table) -> Html:
    parts = []
    band = _BAND if found["plan"]["asked"]["seeds"] > 1 else _SENTENCE_BAND
    for score, name in NAMES.items():
        buckets = found["by_length"][score]
        curves = []
        for family in (one["name"] for one in found["families"] if score in one):
            points = []
            for bucket in buckets:
                own = bucket["families"][family]
                interval = own["interval"] or own["sentence_interval"]
                low, high = max(interval["low"], 0.0), min(interval["high"], 100.0)
                points.append(Point(bucket["mean_length"], low, own["mean"], high, bucket["sentences"]))
            curves.append(Curve(name=family, points=points))
        labels = Labels(title=f"{name} by length of the source", x="words of the source", y=name)
        caption = f"{name} on sentences of like length, the mean over seeds. {band}"
        parts.append(figure(Html(draw_curves(curves, labels)), caption))
        rows = [
            [_words_of(bucket), f"{bucket['sentences']:,}", *(_value(own) for own in bucket["families"].values())]
            for bucket in buckets
        ]
        head = ["words of the source", "sentences", *buckets[0]["families"]]
        parts.append(folded(f"{name} by length in numbers", table(f"{name} by length", head, rows)))
    parts.append(
        paragraph(
            "Sentences of different lengths are different texts, so a curve alone may fall because long sentences are "
            "harder; what tells of a model is the distance between two curves.",
            "soft",
        )
    )
    return joined(parts)


def _samples(found: Table) -> Html:
    parts = [
        paragraph(
            "First those on which the first model of each family differs most in chrF: extremes, not typical ones. "
            "Then some evenly spaced over the test set.",
            "soft",
        )
    ]
    for sample in found["samples"]:
        why = "they differ most" if sample["chosen"] == "apart" else "evenly spaced"
        rows = [["source", sample["source"], ""], *(["reference", text, ""] for text in sample["references"][:3])]
        rows += [[name, made["text"], f"{made['chrf']:.0f}"] for name, made in sample["translations"].items()]
        parts.append(table(why, ["", "text", "chrF"], rows, texts=2))
    return joined(parts)


def _alignments(found: Table) -> Html:
    parts = []
    for family, made in found["alignments"].items():
        parts.append(Html(f"<h3>{words(family)}</h3>\n"))
        if "missing" in made:
            parts.append(paragraph(made["missing"]))
            continue
        for one in made["sentences"]:
            grid = grid_of(_alignment(one))
            title = f"{family}: {grid.source}"
            drawing = Html(alignment_svg(grid, title=title))
            parts.append(figure(drawing, f"{grid.source} / {grid.target}"))
            parts.append(folded("the same as a table", Html(f'<div class="wide">{alignment_rows(grid)}</div>')))
    return joined(parts)


def _probe(found: Table) -> Html:
    size = found["feature_size"]
    floor = {"family": "frequency alone", "reading": "", **found["floor"]}
    equal = [one for one in found["curves"] if one["features"] == size]
    curves = [
        Curve(name=f"{one['family']} {one['reading']}".strip(), points=[_recalled(point) for point in one["by_length"]])
        for one in [*equal, floor]
    ]
    labels = Labels(title="Source words that can be read back", x="tokens of the source", y="recall, %")
    rows = [
        [
            f"{one['family']}, {one['meaning']}",
            f"{one.get('features', 0):,}",
            *(f"{100 * point['recall']:.1f}" for point in one["by_length"]),
        ]
        for one in [*found["curves"], floor]
    ]
    lengths = [f"{one['tokens_from']}-{one['tokens_to']} tokens" for one in found["floor"]["by_length"]]
    head = ["read from", "features", *lengths]
    caveats = [
        f"The probe is linear and fitted on the same {found['training_sentences']:,} training sentences. What it does "
        f"not find may still be there in another form, which the decoder can read.",
        f"In the drawing every probe has the same size: the first {size:,} principal axes of what is read, to "
        f"{found['ids']} ids. What is wider loses by that; the table has it with all its features too, where the wider "
        f"one has the larger probe.",
        "It asks which words are there, not in which order; a vector may hold the words and have lost their places.",
        "Reading each annotation by itself is easier by nature: there are more vectors the longer the sentence is. "
        "That is the point of attention, and no fair match for one vector; the mean of the annotations is one vector "
        "too, but no decoder reads it.",
        "A fixed vector is read as the decoder gets it, through its own projections.",
    ]
    return joined(
        [
            paragraph(
                "Each trained model is frozen, and a linear probe tries to name the frequent words of a held-out "
                "source from what the decoder may read of it. As many are named as there are; recall is the share "
                "found."
            ),
            figure(Html(draw_curves(curves, labels)), f"Recall of source words by length of the source. {_BAND}"),
            table("Recall, %, by length of the source", head, rows),
            items(caveats, "soft"),
        ]
    )


def _recalled(point: Table) -> Point:
    low, middle, high = (100 * point[name] for name in ("low", "recall", "high"))
    return Point(point["mean_tokens"], low, middle, high, point["sentences"])


def _method(found: Table) -> Html:
    data, asked = found["data"], found["plan"]["asked"]
    facts = [
        found["equality"],
        f"{data['train']:,} pairs to train on, {data['validation']:,} to choose rates and weights by, {data['test']:,} "
        f"to test on ({data['test_sentences']:,} different sources, {data['test_references']:,} references); divided "
        f"by source sentence once, before anything was learnt.",
        data["overlap"] or f"{100 * data['overlap_share']:.1f} % of the test sources stand in training.",
        "One tokenizer for all; the runs of one seed read the same batches in the same order, with the same optimiser.",
        f"One search for all: beam {asked['beam']}, scores divided by length.",
        f"Learning rates: {', '.join(f'{factor:g}' for factor in asked['rate_factors'])} times each family's default"
        + (
            f", {100 * asked['sweep_share']:.0f} % of the budget." if len(asked["rate_factors"]) > 1 else ", not swept."
        ),
        "No run stops early; the weights kept are those with the lowest validation loss. A run's minutes hold its "
        "preparation; translating and scoring come on top.",
    ]
    parts = [items(facts)]
    if data["cleaning"]:
        parts.append(folded("What cleaning left out", preformatted(data["cleaning"])))
    for family in found["families"]:
        parts.append(folded(f"Recipe of {family['name']}", preformatted(to_toml(from_dict(Recipe, family["recipe"])))))
    return joined(parts)


def _value(score: Table) -> str:
    interval = score["interval"] or score["sentence_interval"]
    return f"{score['mean']:.1f} ({max(interval['low'], 0.0):.1f} to {min(interval['high'], 100.0):.1f})"


def _bounds(interval: Table | None) -> str:
    return "unknown with one seed" if interval is None else f"{interval['low']:+.2f} to {interval['high']:+.2f}"


def _seeds(family: Table) -> list[str]:
    deviation = family["bleu"]["seed_deviation"]
    seeds = ", ".join(f"{value:.1f}" for value in family["bleu"]["seeds"])
    return [seeds, "unknown" if deviation is None else f"{deviation:.2f}"]


def _decided_pairs(difference: Table) -> str:
    pairs = difference["paired_bootstrap"]
    for_first = sum(one["decided"] and one["difference"] > 0 for one in pairs)
    for_second = sum(one["decided"] and one["difference"] < 0 for one in pairs)
    open_ones = len(pairs) - for_first - for_second
    return f"{for_first} for {difference['first']}, {for_second} for {difference['second']}, {open_ones} open"


def _words_of(bucket: Table) -> str:
    return f"{bucket['low']}" if bucket["low"] == bucket["high"] else f"{bucket['low']} to {bucket['high']}"


def _alignment(one: Table) -> Alignment:
    return Alignment(
        source_text=one["source_text"],
        target_text=one["target_text"],
        source_tokens=one["source_tokens"],
        target_tokens=one["target_tokens"],
        weights=one["weights"],
        source_spans=one["source_spans"],
        target_spans=one["target_spans"],
        source_words=one["source_words"],
        target_words=one["target_words"],
        word_weights=one["word_weights"],
        links=one["links"],
    )
