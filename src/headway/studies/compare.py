"""The whole comparison: divide, decide, train, translate, score, report; each step goes on from what is there."""

import json
from pathlib import Path
from typing import Any

from headway.errors import ConfigError, FormatError, StorageError, TrainingError
from headway.evaluation.bootstrap import Resampling
from headway.evaluation.lengths import LEAST
from headway.evaluation.references import read_test_set
from headway.storage import only_writer, replace_file, sweep
from headway.studies.decisions import asked_recipe, decide
from headway.studies.division import division_of, fingerprint_of, part
from headway.studies.findings import alignment_table, findings, timings
from headway.studies.plan import CompareSettings, load_plan, save_plan
from headway.studies.probe import probe_systems
from headway.studies.report import report_page
from headway.studies.runs import RESULTS, save_result, train_all
from headway.studies.scores import score_all
from headway.studies.systems import alignments, decoding_speeds, spread_over_lengths, translate_all
from headway.training.report import Reporter, Silent

REPORT, PAGE = "report.json", "index.html"
_ALIGNED, _LONGEST_ALIGNED = 3, 20


def compare(asked: CompareSettings, folder: Path, *, reporter: Reporter | None = None) -> dict[str, Any]:
    """Carry out a comparison in a folder of its own, or go on with the one that is there; gives report.json's table.

    Raises TrainingError where the folder holds another comparison, StorageError where it holds something else, and
    whatever training raises; what was done until then stays, and the same call goes on.
    """
    reporter = reporter or Silent()
    data = asked_recipe(asked).data
    fingerprint = fingerprint_of(asked, data)  # before anything is written: a wrong path leaves nothing behind
    if folder.resolve().is_relative_to(Path(asked.pairs).resolve()):
        raise ConfigError(f"the report must lie outside the pairs, but got {folder} inside {asked.pairs}; see -o")
    _own(folder)
    with only_writer(folder):
        sweep(folder)
        division = division_of(folder, asked, data, fingerprint, reporter)
        plan = load_plan(folder, asked, fingerprint)
        if plan is None:
            plan = decide(folder, asked, division, reporter)
            save_plan(folder, plan)
        reporter.note(plan.equality)
        if (folder / REPORT).exists():
            reporter.note(f"this comparison is finished already; its report is {folder / PAGE}")
            return _finished(folder)
        test = read_test_set(part(folder, "test"))  # what cannot be scored is said before the hours of training
        results = train_all(plan, folder, reporter)
        systems = translate_all(plan, folder, results, test, reporter)
        if len({system.family for system in systems}) < 2:
            raise TrainingError("every run of all families but one diverged: there is nothing to compare")
        table = findings(plan, division, results, systems, score_all(systems, test, Resampling(), least=LEAST), test)
        sentences = spread_over_lengths(test.sources, _ALIGNED, longest=_LONGEST_ALIGNED)
        table["alignments"] = alignment_table(alignments(plan, folder, systems, sentences))
        table["probe"] = probe_systems(plan, folder, systems, test, reporter) if asked.probe else None
        table["timings"] = timings(results, decoding_speeds(plan, folder, systems, test, reporter))
        _write(folder / PAGE, report_page(table))
        save_result(folder / REPORT, table)
        return _finished(folder)


def _finished(folder: Path) -> dict[str, Any]:
    """The report that is there; its page is drawn again, where somebody took it away."""
    try:
        table: dict[str, Any] = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{folder / REPORT} is damaged: {error}; delete it, and it is written again") from error
    if not (folder / PAGE).exists():
        _write(folder / PAGE, report_page(table))
    return table


def _own(folder: Path) -> None:
    """Raises StorageError where the folder is somebody else's."""
    known = {"data", "tokenizer", "runs", RESULTS, "plan.json", REPORT, PAGE}
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"{folder} is a file; choose another folder with -o")
    if folder.is_dir():
        strange = sorted(path.name for path in folder.iterdir() if path.name not in known and path.name[0] != ".")
        if strange:
            raise StorageError(
                f"{folder} holds {', '.join(strange[:3])}, which is no part of a comparison; choose another with -o"
            )
        return
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made: {error.strerror}; choose another with -o") from error


def _write(path: Path, text: str) -> None:
    replace_file(path, lambda partial: _fill(partial, text))


def _fill(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
