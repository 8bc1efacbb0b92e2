"""The scores of a reading comparison, each with its noise over seeds and over test texts or examples.

A score is a function of sums over documents, windows or examples, so that all families are resampled on the same draws.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy
from numpy.typing import NDArray

from headway.evaluation.bootstrap import Comparison, Resampling, Score, compare_paired
from headway.evaluation.classification_scores import label_statistics, macro_f1
from headway.evaluation.question_scores import answer_f1, exact_match
from headway.evaluation.reading import bag_of_words_of
from headway.studies.claims import Measured
from headway.studies.plan import Plan, TaskPlan, family_behind
from headway.studies.reading_systems import ReadingSystem, TextMeasure, labelled_part, question_part
from headway.studies.scores import CONFIDENCE, Difference, Scored, Scores

Array = NDArray[numpy.float64]

BAG = "bag of words"
_FROM_NOTHING = "from nothing"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One score of several systems on the same test data.

    names: of the systems, a family's as often as it has seeds; seeds: of each; statistics: (N, K) of each. couples:
    which of them are compared. fixed: those without a seed. task: "" for the text itself.
    """

    key: str
    title: str
    task: str
    said: Measured
    score: Score
    names: tuple[str, ...]
    seeds: tuple[int, ...]
    statistics: tuple[Array, ...]
    couples: tuple[tuple[str, str], ...]
    fixed: frozenset[str] = frozenset()


def measures_of(plan: Plan, folder: Path, systems: Sequence[ReadingSystem]) -> list[Measure]:
    """Every score there is, those of the text first."""
    found = _text_measures([system for system in systems if system.text is not None], plan)
    for task in plan.tasks:
        own = [system for system in systems if system.result.task == task.name]
        found += _label_measures(task, folder, own) if task.kind == "classify" else _answer_measures(task, folder, own)
    return [measure for measure in found if measure.names]


def score_measures(measures: Sequence[Measure], resampling: Resampling) -> dict[str, Scores]:
    """Each measure's scores by its key; the intervals of all claims of a report hold together (Bonferroni)."""
    claims = sum(len(measure.couples) for measure in measures)
    confidence = 1.0 - (1.0 - CONFIDENCE) / max(claims, 1)
    found = {}
    for measure in measures:
        scored = Scored(measure.score, measure.names, measure.statistics, resampling)
        found[measure.key] = Scores(
            families={name: scored.family(name) for name in dict.fromkeys(measure.names)},
            differences=tuple(
                _difference(measure, scored, couple, confidence, resampling) for couple in measure.couples
            ),
            by_length=(),
            growth=(),
            confidence=confidence,
        )
    return found


def _difference(
    measure: Measure, scored: Scored, couple: tuple[str, str], confidence: float, resampling: Resampling
) -> Difference:
    first, second = couple
    between = scored.distance if second in measure.fixed else scored.difference
    return Difference(
        first=first,
        second=second,
        value=fmean(scored.values[first]) - fmean(scored.values[second]),
        interval=between(first, second, confidence),
        pairings=tuple(_pairings(measure, couple, resampling)),
    )


def _pairings(measure: Measure, couple: tuple[str, str], resampling: Resampling) -> list[Comparison]:
    """The paired bootstrap of the systems of equal seeds; one without a seed stands beside each."""
    by_name: dict[str, dict[int, Array]] = {}
    for name, seed, own in zip(measure.names, measure.seeds, measure.statistics, strict=True):
        by_name.setdefault(name, {})[seed] = own
    first, second = (by_name[name] for name in couple)
    alone = next(iter(second.values())) if couple[1] in measure.fixed else None
    return [
        compare_paired(other, own, measure.score, resampling)
        for seed, own in sorted(first.items())
        if (other := second.get(seed) if alone is None else alone) is not None
    ]


def _text_measures(systems: Sequence[ReadingSystem], plan: Plan) -> list[Measure]:
    writers = [system for system in systems if family_behind(system.family).decoder]
    readers = [system for system in systems if system not in writers]
    text = "the test text"

    def made(
        key: str,
        title: str,
        said: Measured,
        score: Score,
        chosen: Sequence[ReadingSystem],
        statistics: Callable[[TextMeasure], Sequence[Sequence[float]]],
    ) -> Measure:
        names = tuple(system.family for system in chosen)
        return Measure(
            key=key,
            title=title,
            task="",
            said=said,
            score=score,
            names=names,
            seeds=tuple(system.result.seed for system in chosen),
            statistics=tuple(numpy.array(statistics(system.text), dtype=float) for system in chosen if system.text),
            couples=tuple(itertools.combinations(dict.fromkeys(names), 2)),
        )

    bits = Measured(unit="bits per byte", tested=text, higher=False, digits=3)
    pseudo = Measured(unit="pseudo-bits per byte", tested=text, higher=False, digits=3)
    points = Measured(unit="points of accuracy on hidden tokens", tested=text)
    return [
        made("bits_per_byte", "bits per byte, by the chain rule", bits, _ratio, writers, lambda one: one.written),
        made(
            "pseudo_bits_per_byte",
            "pseudo-bits per byte, each token from both sides",
            pseudo,
            _ratio,
            readers,
            lambda one: one.each_guessed,
        ),
        made(
            "masked_accuracy",
            "hidden tokens guessed, %",
            points,
            _percent,
            readers,
            lambda one: [(right, asked) for _, right, asked in one.guessed],
        ),
    ]


def _label_measures(task: TaskPlan, folder: Path, systems: Sequence[ReadingSystem]) -> list[Measure]:
    training, examples = (labelled_part(folder, task.name, part) for part in ("train", "test"))
    labels = sorted({label for one in (*training, *examples) for label in one.labels})
    truth = [one.labels[0] for one in examples]
    bag = bag_of_words_of(training)
    texts: list[Any] = [one.text if one.other is None else (one.text, one.other) for one in examples]
    answered = [(*_named(system), list(system.task.given)) for system in systems if system.task is not None]
    answered.append((BAG, 0, bag.classify(texts)))
    places = {label: place for place, label in enumerate(labels)}
    one_of = numpy.eye(len(labels))
    true = one_of[[places[label] for label in truth]]
    right = [
        numpy.array([(label == wanted, 1.0) for label, wanted in zip(given, truth, strict=True)], dtype=float)
        for _, _, given in answered
    ]
    by_label = [label_statistics(true, one_of[[places[label] for label in given]]) for _, _, given in answered]
    said = Measured(unit=f"points of accuracy on {task.name}", tested="the test examples")
    macro = Measured(unit=f"points of macro-F1 on {task.name}", tested="the test examples")
    return [
        _task_measure(task, "accuracy", "accuracy, %", said, _percent, answered, right, claims=True),
        _task_measure(task, "macro_f1", "macro-F1, %", macro, _macro_percent, answered, by_label, claims=False),
    ]


def _answer_measures(task: TaskPlan, folder: Path, systems: Sequence[ReadingSystem]) -> list[Measure]:
    asked = question_part(folder, task.name, "test")
    version = "1.1" if all(question.answers for question in asked) else "2.0"
    answered = [(*_named(system), list(system.task.given)) for system in systems if system.task is not None]
    kinds = {"f1": answer_f1, "exact_match": exact_match}
    found = {
        name: [
            numpy.array([(score(text, one.answers, version), 1.0) for text, one in zip(given, asked, strict=True)])  # type: ignore[arg-type]
            for _, _, given in answered
        ]
        for name, score in kinds.items()
    }
    said = Measured(unit=f"points of F1 on {task.name}", tested="the test questions")
    exact = Measured(unit=f"points of exact match on {task.name}", tested="the test questions")
    return [
        _task_measure(task, "f1", "F1 of the answer's words, %", said, _percent, answered, found["f1"], claims=True),
        _task_measure(
            task, "exact_match", "exact match, %", exact, _percent, answered, found["exact_match"], claims=False
        ),
    ]


# More than six parameters: a measure's own.
def _task_measure(
    task: TaskPlan,
    key: str,
    title: str,
    said: Measured,
    score: Score,
    answered: Sequence[tuple[str, int, list[str]]],
    statistics: Sequence[Array],
    *,
    claims: bool,
) -> Measure:
    names = tuple(name for name, _, _ in answered)
    every = list(dict.fromkeys(names))
    families = [name for name in every if name != BAG and not name.endswith(_FROM_NOTHING)]
    couples = list(itertools.combinations(families, 2))
    couples += [(name, from_nothing(name)) for name in families if from_nothing(name) in every]
    couples += [(name, BAG) for name in families if BAG in every]
    return Measure(
        key=f"{task.name}_{key}",
        title=title,
        task=task.name,
        said=said,
        score=score,
        names=names,
        seeds=tuple(seed for _, seed, _ in answered),
        statistics=tuple(statistics),
        couples=tuple(couples) if claims else (),
        fixed=frozenset({BAG}),
    )


def from_nothing(family: str) -> str:
    """What a family's runs without pre-training are called."""
    return f"{family} {_FROM_NOTHING}"


def _named(system: ReadingSystem) -> tuple[str, int]:
    result = system.result
    return (from_nothing(result.family) if result.stage == "scratch" else result.family), result.seed


def _ratio(sums: Any) -> Any:
    return sums[..., 0] / numpy.maximum(sums[..., 1], 1.0)


def _percent(sums: Any) -> Any:
    return 100.0 * sums[..., 0] / numpy.maximum(sums[..., 1], 1.0)


def _macro_percent(sums: Any) -> Any:
    return 100.0 * macro_f1(sums)
