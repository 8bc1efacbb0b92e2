"""The score of one or several systems by the length of the source, as a plot."""

from collections.abc import Sequence
from pathlib import Path

from headway.errors import UsageError
from headway.evaluation.plot import Curve, Labels, Point, draw_curves
from headway.evaluation.scores import NAMES
from headway.evaluation.translation import TranslationScores


def draw_length_curves(systems: Sequence[TranslationScores], *, text: str, score: str = "bleu") -> str:
    """The SVG of the systems' length curves, "bleu" or "chrf"; text: the test set's name.

    Raises UsageError for another score, or without a system.
    """
    if score not in NAMES:
        raise UsageError(f"a plot is of one of {', '.join(NAMES)}, but got {score!r}")
    if not systems:
        raise UsageError("there is no system to draw\nGive the scores of at least one.")
    first, name = systems[0], NAMES[score]
    beams = {system.beam for system in systems if system.beam is not None}
    searched = "" if len(beams) != 1 else f", beam {beams.pop()}"
    caption = (
        f"{Path(text).name}: {first.sentences:,} sentences, {first.references:,} references{searched}. Each point "
        f"stands at its sentences' mean length; bands hold {100 * first.level:g} % of {first.resamples:,} resamples of "
        f"them. {name} {first.signatures[score]}"
    )
    labels = Labels(
        title=f"{name} by length of the source", x=f"{first.length_unit} of the source", y=name, caption=caption
    )
    names = _short_names([system.model for system in systems])
    return draw_curves(
        [Curve(name=short, points=_points(system, score)) for short, system in zip(names, systems, strict=True)], labels
    )


def _points(system: TranslationScores, score: str) -> list[Point]:
    return [Point(part.mean_length, *part.band(score), part.sentences) for part in system.by_length]


def _short_names(names: Sequence[str]) -> list[str]:
    """The last part of each path, where that tells them apart."""
    short = [Path(name).name or name for name in names]
    return short if len(set(short)) == len(names) else list(names)
