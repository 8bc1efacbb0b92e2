"""The part of a report that all comparisons share: budget, what the final runs took, learning curves, the sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from headway.evaluation.plot import Curve, Labels, Point, draw_curves
from headway.studies.page import Html, figure, joined, paragraph, table

Table = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Words:
    """How a kind of comparison speaks of its runs; speeds: where the table has the trained models' speed."""

    token: str
    tokens: str
    speeds: str
    speed: str
    form: str
    how: str
    loss: str


PAIRS = Words(
    token="target token",
    tokens="target tokens",
    speeds="decoding_sentences_per_second",
    speed="decoding, sentences/s",
    form="{:,.1f}",
    how="Decoding: beam {beam}",
    loss="nats per token",
)
TEXTS = Words(
    token="token of text",
    tokens="tokens",
    speeds="tokens_per_second",
    speed="reading, tokens/s",
    form="{:,.0f}",
    how="Reading: the body alone, rows of the training length",
    loss="nats per token asked for",
)


def training(found: Table, words: Words) -> Html:
    """What a final run took, the learning curves and the sweep."""
    timed = found["timings"]
    rows = []
    for family in found["families"]:
        own = [one for one in timed["runs"] if one["family"] == family["name"] and one["stage"] == "final"]
        rows.append(
            [
                family["name"],
                f"{family['parameters']:,}",
                f"{family['rate']:g}",
                f"{fmean(run['steps'] for run in family['runs']):,.0f}",
                f"{family['training_flops'] / 1e12:,.3g}",
                f"{fmean(one['seconds'] for one in own) / 60:,.1f}",
                _mean_of([one["target_tokens_per_second"] for one in own], "{:,.0f}"),
                _mean_of([one["peak_memory"] for one in own], "{:,.0f}", 1e6),
                _mean_of([timed[words.speeds].get(family["name"])], words.form),
            ]
        )
    head = [
        *("family", "parameters", "learning rate", "steps", "10^12 operations", "minutes", f"{words.tokens}/s"),
        *("peak memory, MB", words.speed),
    ]
    parts = [table("What a final run took (means over seeds)", head, rows)]
    per_token = [f"{one['name']} {one['training_flops_per_target_token'] / 1e6:,.1f}" for one in found["families"]]
    parts.append(
        paragraph(
            f"Operations are counted from the sizes, products alone (million for each {words.token}: "
            f"{', '.join(per_token)}). Speed and memory are measured on this machine; memory is the peak of the whole "
            f"process. {words.how.format(beam=found['plan']['asked']['beam'])}, one model after another, medians.",
            "soft",
        )
    )
    curves = [_learning_curve(found, family) for family in found["families"]]
    if any(curve.points for curve in curves):
        labels = Labels(
            title="Validation loss while training",
            x=f"{words.tokens} read, thousands",
            y=words.loss,
            counted="runs",
        )
        drawn = Html(draw_curves(curves, labels, from_zero=False))
        parts.append(figure(drawn, "Mean over seeds; the band goes from the lowest seed to the highest."))
    swept = [
        [family["name"], f"{one['rate']:g}", "diverged" if one["diverged"] else f"{one['validation_loss']:.4f}"]
        for family in found["families"]
        for one in family["sweep"]
    ]
    if swept:
        caption = "The sweep: short runs from seed 0, the same number for each family; the lowest loss wins"
        parts.append(table(caption, ["family", "learning rate", "validation loss"], swept))
        parts.append(
            paragraph("A short run can favour another rate than a long one would; all families share that.", "soft")
        )
    return joined(parts)


def _learning_curve(found: Table, family: Table) -> Curve:
    """The runs' first measurements together, then their second ones; in minutes steps differ, and are averaged."""
    runs = [run["curve"] for run in family["runs"] if run["curve"] and not run["diverged"]]
    points = []
    for measured in zip(*runs, strict=False):
        losses = [loss for _, loss in measured]
        tokens = fmean(step for step, _ in measured) * found["plan"]["target_tokens_per_step"] / 1000
        points.append(Point(tokens, min(losses), fmean(losses), max(losses), len(losses)))
    return Curve(name=family["name"], points=points)


def budget_words(found: Table) -> str:
    """Seeds and budget."""
    asked = found["plan"]["asked"]
    budget = (
        f"{asked['minutes']:g} min of training in all" if asked["steps"] is None else f"{asked['steps']:,} steps a run"
    )
    return f"{asked['seeds']} seed{'s' if asked['seeds'] > 1 else ''} a family, {budget}"


def _mean_of(values: Sequence[float | None], form: str, unit: float = 1.0) -> str:
    known = [value / unit for value in values if value is not None]
    return form.format(fmean(known)) if known else "not measured"
