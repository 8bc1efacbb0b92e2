"""Two readers on one file: which is better at the task, or that it cannot be said; by the same resamples for both."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headway.errors import UsageError
from headway.evaluation.bootstrap import Comparison, Resampling, compare_paired
from headway.evaluation.reading import Progress, ReaderEvaluation, ReaderFields, score_reader
from headway.tasks.reader import Reader


@dataclass(frozen=True, kw_only=True)
class ReadersReport:
    """A reader's scores, and another's with what can be said of the two, score by score; `units` name the scores."""

    scores: ReaderEvaluation
    against: ReaderEvaluation | None = None
    comparison: Mapping[str, Comparison] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    def verdicts(self, name: str, other: str) -> dict[str, str]:
        """What can be said of the two by each score, a sentence each."""
        return {key: found.verdict(other, name, self.units[key]) for key, found in self.comparison.items()}

    def table(self, name: str, other: str) -> dict[str, Any]:
        """The scores' table, with `against` and `comparison` where there is another reader."""
        found = self.scores.table()
        if self.against is not None:
            verdicts = self.verdicts(name, other)
            found["against"] = {"model": other, **self.against.table()}
            found["comparison"] = {key: one.table(verdicts[key]) for key, one in self.comparison.items()}
        return found


# More than six parameters: those of score_reader, and the other reader.
def compare_readers(
    reader: Reader,
    other: Reader,
    path: str | Path,
    *,
    fields: ReaderFields | None = None,
    baseline: str | Path | None = None,
    resampling: Resampling | None = None,
    progress: Progress | None = None,
) -> ReadersReport:
    """Score both as score_reader does, and compare them example by example; the baseline stands beside the first.

    Raises UsageError for readers of different tasks, and where the task's score is no function of sums over examples:
    hidden words, which each tokenizer divides its own way, and a rank correlation.
    """
    first, second = (one.settings.task or "fill" for one in (reader, other))
    if first != second:
        raise UsageError(
            f"two readers are compared at one task, but one is trained to {first} and the other to {second}\n"
            "Give two of one task."
        )
    if first == "fill":
        raise UsageError(
            "hidden words are not compared example by example: each tokenizer divides a text its own way\n"
            "Evaluate each model by itself, at one share and one seed."
        )
    if first == "embed" and fields is not None and fields.label is not None:
        raise UsageError(
            "a rank correlation is of all pairs together, so two are not compared pair by pair\n"
            "Evaluate each model by itself, or leave out the likeness to compare them by the nearest partner."
        )
    resampling = resampling or Resampling()
    ours = score_reader(reader, path, fields=fields, baseline=baseline, resampling=resampling, progress=progress)
    theirs = score_reader(other, path, fields=fields, resampling=resampling, progress=progress)
    return ReadersReport(
        scores=ours,
        against=theirs,
        comparison={
            mine.key: compare_paired(his.values, mine.values, mine.score, resampling)
            for mine, his in zip(ours.by_example, theirs.by_example, strict=True)
        },
        units={mine.key: mine.unit for mine in ours.by_example},
    )
