"""The whole comparison: divide, decide, train, measure, report; each step goes on from what is there."""

import json
from pathlib import Path
from typing import Any

from headway.errors import ConfigError, FormatError, StorageError
from headway.storage import only_writer, replace_file, sweep
from headway.studies.decisions import asked_recipe, decide
from headway.studies.plan import CompareSettings, load_plan, save_plan
from headway.studies.report import report_page
from headway.studies.runs import RESULTS, save_result, train_all
from headway.studies.subject import subject_of
from headway.training.report import Reporter, Silent

REPORT, PAGE = "report.json", "index.html"


def compare(asked: CompareSettings, folder: Path, *, reporter: Reporter | None = None) -> dict[str, Any]:
    """Carry out a comparison in a folder of its own, or go on with the one that is there; gives report.json's table.

    Raises TrainingError where the folder holds another comparison, StorageError where it holds something else, and
    whatever training raises; what was done until then stays, and the same call goes on.
    """
    reporter = reporter or Silent()
    subject = subject_of(asked, asked_recipe(asked))
    fingerprint = subject.fingerprint()  # before anything is written: a wrong path leaves nothing behind
    if folder.resolve().is_relative_to(Path(asked.data).resolve()):
        what = "text" if asked.reads else "pairs"
        raise ConfigError(f"the report must lie outside the {what}, but got {folder} inside {asked.data}; see -o")
    _own(folder)
    with only_writer(folder):
        sweep(folder)
        division = subject.divide(folder, fingerprint, reporter)
        plan = load_plan(folder, asked, fingerprint)
        if plan is None:
            plan = decide(folder, asked, subject, division, reporter)
            save_plan(folder, plan)
        reporter.note(plan.equality)
        if (folder / REPORT).exists():
            reporter.note(f"this comparison is finished already; its report is {folder / PAGE}")
            return _finished(folder)
        results = train_all(plan, folder, reporter)
        table = subject.measure(plan, folder, division, results, reporter)
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
