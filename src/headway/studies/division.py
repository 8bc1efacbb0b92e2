"""The pairs of a comparison, cleaned and divided once: to train on, to measure on while training, to test on.

All runs read these three files, so that no family sees a pair another does not.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from headway.corpus.pair_cleaning import CleaningSettings, clean
from headway.corpus.pair_division import divide_pairs, overlap, plan_pairs
from headway.corpus.pair_readers import Pair
from headway.corpus.pairs import Pairs, read_pairs
from headway.errors import DataError, FormatError, TrainingError
from headway.settings import from_dict, to_dict
from headway.storage import new_folder
from headway.studies.plan import CompareSettings, TaskPlan
from headway.training.recipe import DataSettings
from headway.training.report import Reporter

DATA = "data"
_ABOUT = "about.json"
_MOST_VALIDATION = 3000  # pairs measured on while training: more tell hardly more and take time


@dataclass(frozen=True, kw_only=True)
class PairDivision:
    """What was divided: counts of pairs, what cleaning did, and how much of a given test set stands in training.

    test_is_given: the test pairs are a file of the user's, not a part of the pairs kept aside.
    """

    fingerprint: str
    train: int
    validation: int
    test: int
    test_is_given: bool
    cleaning: str
    overlap: str
    overlap_share: float

    @property
    def tasks(self) -> tuple[TaskPlan, ...]:
        """None: translations have no tasks beside them."""
        return ()


def fingerprint_of(asked: CompareSettings, data: DataSettings) -> str:
    """The content of every file a comparison reads, as one hash."""
    given = [_read(asked.data, data), _validation(data), _test(asked, data)]
    return "+".join("none" if pairs is None else pairs.fingerprint() for pairs in given)


def division_of(
    folder: Path, asked: CompareSettings, data: DataSettings, fingerprint: str, reporter: Reporter
) -> PairDivision:
    """The division a comparison's folder holds, made now where it holds none; fingerprint: of what is to be divided.

    Raises DataError for pairs that cannot be read or divided, TrainingError where the folder's is of other pairs.
    """
    if (folder / DATA / _ABOUT).exists():
        found = load_division(folder)
        if found.fingerprint != fingerprint:
            raise TrainingError(
                f"{folder} holds a comparison on other data than {asked.data} holds now;\n"
                f"compare into another folder with -o"
            )
        return found
    with new_folder(folder / DATA, overwrite=True) as building:
        division = _divide(building, asked, data, fingerprint)
        (building / _ABOUT).write_text(json.dumps(to_dict(division), indent=1, ensure_ascii=False), encoding="utf-8")
    for text in (division.cleaning, division.overlap):
        if text:
            reporter.note(text)
    reporter.note(
        f"{division.train:,} pairs to train on, {division.validation:,} to choose by, {division.test:,} to test on"
    )
    return division


def load_division(folder: Path) -> PairDivision:
    """The division a comparison's folder holds. Raises FormatError where it is damaged."""
    path = folder / DATA / _ABOUT
    try:
        return from_dict(PairDivision, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} is damaged: {error}; compare into another folder") from error


def part(folder: Path, name: str) -> Pairs:
    """The pairs to "train" on, for "validation" or to "test" on."""
    return read_pairs(folder / DATA / f"{name}.jsonl")


def _divide(building: Path, asked: CompareSettings, data: DataSettings, fingerprint: str) -> PairDivision:
    pairs: Iterable[Pair] = _read(asked.data, data)
    cleaning = ""
    if data.clean:
        cleaned = clean(pairs, CleaningSettings())
        _write(building / "all.jsonl", cleaned)
        cleaning = str(cleaned.report)
    else:
        _write(building / "all.jsonl", pairs)
    rest = building / "all.jsonl"
    given_test, given_validation = _test(asked, data), _validation(data)
    if given_test is None:
        rest, test = _put_aside(rest, building / "test.jsonl", share=asked.test_share, most=asked.test_sentences)
    else:
        test = _write(building / "test.jsonl", _limited(given_test, asked.test_sentences))
    if given_validation is None:
        aside = building / "validation.jsonl"
        rest, validation = _put_aside(rest, aside, share=data.validation_share, most=_MOST_VALIDATION)
    else:
        validation = _write(building / "validation.jsonl", given_validation)
    rest.rename(building / "train.jsonl")
    for leftover in building.glob("*.rest.jsonl"):
        leftover.unlink()
    (building / "all.jsonl").unlink(missing_ok=True)
    train = read_pairs(building / "train.jsonl")
    shared = overlap(train, read_pairs(building / "test.jsonl"))
    warned = given_test is not None and shared.shared_sources > 0
    return PairDivision(
        fingerprint=fingerprint,
        train=sum(1 for _ in train),
        validation=validation,
        test=test,
        test_is_given=given_test is not None,
        cleaning=cleaning,
        overlap=f"warning: the test set overlaps the training pairs: {shared}" if warned else "",
        overlap_share=shared.share,
    )


def _put_aside(path: Path, aside: Path, *, share: float, most: int) -> tuple[Path, int]:
    """Divide a file by source: what stays, and how many pairs went to `aside`."""
    pairs = read_pairs(path)
    threshold = plan_pairs(pairs, share=share, most=most)
    stays = path.with_name(f"{aside.stem}.rest.jsonl")
    _write(stays, (pair for name, pair in divide_pairs(pairs, threshold) if name == "train"))
    count = _write(aside, (pair for name, pair in divide_pairs(pairs, threshold) if name != "train"))
    return stays, count


def _limited(pairs: Iterable[Pair], sentences: int) -> Iterator[Pair]:
    """The pairs of the first so many distinct sources."""
    seen: set[str] = set()
    for pair in pairs:
        if pair.source not in seen and len(seen) == sentences:
            continue
        seen.add(pair.source)
        yield pair


def _write(path: Path, pairs: Iterable[Pair]) -> int:
    """Write a file of pairs. Raises DataError where there are none."""
    count = 0
    with open(path, "w", encoding="utf-8") as file:
        for pair in pairs:
            file.write(json.dumps({"source": pair.source, "target": pair.target}, ensure_ascii=False) + "\n")
            count += 1
    if count == 0:
        raise DataError(
            f"no pairs are left for the {path.stem} part; give more pairs, or the part as a file of its own"
        )
    return count


def _read(path: str, data: DataSettings) -> Pairs:
    return read_pairs(
        path, target_path=data.target_path, source_field=data.source_field, target_field=data.target_field
    )


def _validation(data: DataSettings) -> Pairs | None:
    if data.validation is None:
        return None
    fields = {"source_field": data.source_field, "target_field": data.target_field}
    return read_pairs(data.validation, target_path=data.validation_target, **fields)


def _test(asked: CompareSettings, data: DataSettings) -> Pairs | None:
    """The test file, read as the pairs' fields say; a file of its own kind, never two files."""
    if asked.test is None:
        return None
    return read_pairs(asked.test, source_field=data.source_field, target_field=data.target_field)
