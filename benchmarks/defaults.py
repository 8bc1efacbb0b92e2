"""Are the defaults of `headway train` good? By size of text and minutes, the default run beside four neighbours.

`python benchmarks/defaults.py CORPUS... --validation FILE --workdir DIR` trains every cell (0.1, 1, 10, 50 MB of text;
2, 10, 30 minutes; the default, the next smaller and larger model, half and double the learning rate) for its minutes,
one after another: 14 hours for all 60, on as many cores as OMP_NUM_THREADS says, so set it to 1 and let nothing else
run there. `--sizes`, `--minutes` and `--only` choose cells; each finished one is a line of DIR/results.jsonl and is not
run again; an interrupted one starts anew. `--table` prints what is there as Markdown. After a change of the defaults
take another DIR: lines of old defaults would be compared with neighbours of new ones.

The text of a size is the first so many bytes of all documents in one fixed shuffled order, so a smaller text is the
beginning of a larger. Every run chooses its best weights on FILE and is scored on the whole of it, all alike. A
neighbour differs in the named setting; what is chosen from it (the rate from the width) follows, as with --set.
"""

import argparse
import json
import math
import random
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from own_process import alone
from whole_documents import whole_documents

import headway
from headway.corpus.documents import fingerprint

MEGABYTE = 1_000_000
DEFAULT = "default"
RESULTS = "results.jsonl"

Line = dict[str, Any]
"""One line of results.jsonl: a finished cell."""


def ladder() -> list[tuple[int, int]]:
    """(width, layers) of the models the defaults choose from, and a smaller and a larger one beyond its ends."""
    import headway.training.defaults as rules

    steps: Any = getattr(rules, "LADDER", None) or getattr(rules, "_LADDER", ())
    known = [(step[0], step[1]) for step in steps] or [(2**size, 2 * size - 10) for size in range(6, 11)]
    (narrow, shallow), (wide, deep) = known[0], known[-1]
    return [(max(16, narrow // 2), max(1, shallow - 1)), *known, (wide * 4 // 3, deep + 4)]


def beside(chosen: Line, step: int) -> list[str]:
    """The model so many places along the ladder from the chosen one, by the arithmetic of a token."""
    width, n_layers = chosen["width"], chosen["n_layers"]
    steps = ladder()
    here = min(
        range(len(steps)),
        key=lambda place: abs(math.log(steps[place][0] ** 2 * steps[place][1]) - math.log(width**2 * n_layers)),
    )
    wanted = steps[max(0, min(len(steps) - 1, here + step))]
    return [f"model.width={wanted[0]}", f"model.n_layers={wanted[1]}"]


def rated(chosen: Line, factor: float) -> list[str]:
    """The chosen learning rate, times a factor."""
    return [f"train.learning_rate={chosen['learning_rate'] * factor:.6g}"]


NEIGHBOURS: dict[str, Callable[[Line], list[str]]] = {
    "smaller": lambda chosen: beside(chosen, -1),
    "larger": lambda chosen: beside(chosen, 1),
    "half rate": lambda chosen: rated(chosen, 0.5),
    "double rate": lambda chosen: rated(chosen, 2.0),
}
"""What each neighbour sets, from the line of the finished default run."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run: how much text, for how long, which setting."""

    megabytes: float
    minutes: float
    name: str

    @property
    def folder(self) -> str:
        """Where it is trained."""
        return f"{self.megabytes:g}MB-{self.minutes:g}min-{self.name.replace(' ', '-')}"

    def of(self, line: Line) -> bool:
        """Whether the line is this cell's."""
        return (self.megabytes, self.minutes, self.name) == (line["megabytes"], line["minutes"], line["name"])


def subset(corpus: Sequence[Path], megabytes: float, workdir: Path) -> Path:
    """The file with the first so many bytes of text; written once. Exits where the corpus has less."""
    path = workdir / f"text-{megabytes:g}MB.jsonl"
    if path.exists():
        return path
    texts = [text for file in corpus for text in whole_documents(file)]
    random.Random(0).shuffle(texts)
    left = round(megabytes * MEGABYTE)
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        for text in texts:
            piece = text.encode("utf-8")[:left].decode("utf-8", errors="ignore")
            left -= len(text.encode("utf-8"))
            file.write(json.dumps({"text": piece}) + "\n")
            if left <= 0:
                break
    if left > 0:
        partial.unlink()
        raise SystemExit(f"the corpus has {left:,} bytes less than {megabytes:g} MB; give more files or fewer --sizes")
    partial.rename(path)
    return path


def run_cell(cell: Cell, text: Path, assignments: Sequence[str], given: argparse.Namespace) -> Line:
    """Train and score one cell in a process of its own; its folder goes afterwards."""
    found: Line = alone(
        trained, str(text), str(given.validation), str(given.workdir / cell.folder), cell.minutes, list(assignments)
    )
    return {**vars(cell), "text": text_print(text, given.validation), "assignments": list(assignments), **found}


def text_print(text: Path, validation: Path) -> str:
    """What was read, as one hash."""
    return f"{fingerprint(text)[:8]}+{fingerprint(validation)[:8]}"


def trained(text: str, validation: str, folder: str, minutes: float, assignments: list[str]) -> Line:
    """The run itself: what it chose, and its bits per byte of the whole validation text."""
    from headway.evaluation.perplexity import evaluate_text
    from headway.training.defaults import model_config
    from headway.training.recipe import read_table

    shutil.rmtree(folder, ignore_errors=True)  # of an interrupted try
    settings = [f"data.validation={json.dumps(validation)}", *assignments]
    result = headway.train(headway.recipe_from(text, folder, budget={"minutes": minutes}, assignments=settings))
    recipe = read_table(Path(folder) / "training" / "recipe.toml")
    model, train = recipe["model"], recipe["train"]
    line = {
        "bits_per_byte": evaluate_text(folder, validation).bits_per_byte,
        "parameters": model_config(model).n_parameters(),
        "steps": result.steps,
        "best_step": result.best_step,
        "seconds": result.seconds,
        **{name: model[name] for name in ("n_layers", "width", "n_heads", "vocabulary", "context", "residual_dropout")},
        **{
            name: train.get(name)
            for name in ("learning_rate", "optimizer", "schedule", "batch_size", "window", "compile")
        },
    }
    shutil.rmtree(folder)
    return line


def results(workdir: Path) -> list[Line]:
    """The finished cells; a last line cut short by an interruption is dropped."""
    path = workdir / RESULTS
    lines: list[Line] = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            print(f"{path}: a line that is not JSON was passed over: {text[:40]!r}", file=sys.stderr)
    return lines


def add(line: Line, path: Path) -> None:
    """Append a line; one that was cut short before it keeps to itself."""
    cut = path.exists() and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if cut else "") + json.dumps(line) + "\n")


def finished(cell: Cell, workdir: Path, text: str) -> Line | None:
    """The cell's line, if it is done. Exits where it was done on other text."""
    line = next((line for line in results(workdir) if cell.of(line)), None)
    if line is not None and line["text"] != text:
        raise SystemExit(f"{workdir / RESULTS} holds {cell.folder} on other text; take another --workdir")
    return line


def fill(given: argparse.Namespace) -> None:
    """Run the cells that are chosen and not done; the default of a row first, for its neighbours come from it."""
    given.workdir.mkdir(parents=True, exist_ok=True)
    names = [DEFAULT, *(name for name in NEIGHBOURS if given.only in (None, name))]
    for megabytes in given.sizes:
        text = subset(given.corpus, megabytes, given.workdir)
        hashed = text_print(text, given.validation)
        for minutes in given.minutes:
            for name in names if given.only != DEFAULT else [DEFAULT]:
                cell = Cell(megabytes=megabytes, minutes=minutes, name=name)
                if finished(cell, given.workdir, hashed):
                    continue
                chosen = finished(Cell(megabytes=megabytes, minutes=minutes, name=DEFAULT), given.workdir, hashed)
                assignments = NEIGHBOURS[name](chosen) if chosen is not None else []
                line = run_cell(cell, text, [*given.set, *assignments], given)
                add(line, given.workdir / RESULTS)
                print(f"{cell.folder}: {line['bits_per_byte']:.4f} bits per byte", file=sys.stderr, flush=True)


def table(lines: Sequence[Line]) -> str:
    """The Markdown table: a row a size and minutes, the lowest bits per byte of each in bold."""
    names = [DEFAULT, *NEIGHBOURS]
    rows = [
        "| text | minutes | chosen: layers x width | vocabulary | parameters | rate | " + " | ".join(names) + " |",
        "|" + "---|" * (6 + len(names)),
    ]
    for megabytes, minutes in sorted({(line["megabytes"], line["minutes"]) for line in lines}):
        found = {line["name"]: line for line in lines if (line["megabytes"], line["minutes"]) == (megabytes, minutes)}
        if DEFAULT not in found:
            continue
        chosen, best = found[DEFAULT], min(line["bits_per_byte"] for line in found.values())
        cells = [
            "-"
            if (line := found.get(name)) is None
            else f"**{line['bits_per_byte']:.3f}**"
            if line["bits_per_byte"] == best
            else f"{line['bits_per_byte']:.3f}"
            for name in names
        ]
        rows.append(
            f"| {megabytes:g} MB | {minutes:g} | {chosen['n_layers']} x {chosen['width']} | {chosen['vocabulary']:,} |"
            f" {chosen['parameters'] / 1e6:.2g} M | {chosen['learning_rate']:.2g} | " + " | ".join(cells) + " |"
        )
    return "\n".join(rows)


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, nargs="*", help="files of text to train on")
    parser.add_argument("--validation", type=Path, help="the held-out text")
    parser.add_argument("--workdir", type=Path, help="where texts, runs and results lie")
    parser.add_argument("--sizes", type=float, nargs="+", default=[0.1, 1.0, 10.0, 50.0], help="megabytes of text")
    parser.add_argument("--minutes", type=float, nargs="+", default=[2.0, 10.0, 30.0])
    parser.add_argument("--only", choices=[DEFAULT, *NEIGHBOURS], help="this setting alone (and the default before it)")
    parser.add_argument("--set", action="append", default=[], help="a setting of every run, as headway train takes it")
    parser.add_argument("--table", action="store_true", help="print the table of what is done; run nothing")
    return parser.parse_args(words)


def main() -> None:
    """Run what is missing, print the table."""
    given = arguments()
    if given.workdir is None or not (given.table or (given.corpus and given.validation)):
        # Every benchmark can be run with no argument; this one has no text of its own.
        print("nothing measured: give CORPUS... --validation FILE --workdir DIR, or --table --workdir DIR (see --help)")
        return
    if not given.table:
        fill(given)
    print(table(results(given.workdir)))


if __name__ == "__main__":
    main()
