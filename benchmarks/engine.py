"""Inference on the CPU, headway's engine beside llama.cpp, CTranslate2, ONNX Runtime, OpenVINO and transformers.

One command: `make bench-engine`, which makes the peers' environment first; `python benchmarks/engine.py` measures what
this environment has and names what is left out. GPT-2 124M (decoding, prefill, batch 8, one core taken away, cold
start, memory), BERT-base and a Transformer-base in Marian's form, all with random weights. Every measurement is a
process of its own with several passes, one after another; the rounds go through all rows in turn; a pass beside other
processes is set aside and its measurement made once more. Figures are medians; the fraction of the read limit is the
tokens a second times the bytes of the weights, over what a bare loop read in the same run. `--smoke` is a tiny
model and one repeat, in this process.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "engine_peers"
sys.path.insert(0, str(FOLDER))  # the files there run as scripts, too, and import each other by their bare names

import inputs  # noqa: E402
import machine  # noqa: E402
import medians_and_tables  # noqa: E402
import worker  # noqa: E402
from rows import PEERS, ROWS, WORKS, Row  # noqa: E402

Result = dict[str, Any]
_DISTURBING = ("OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "MKL_NUM_THREADS", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")


@dataclass(kw_only=True)
class Bench:
    """What is asked for, and what was found so far."""

    given: argparse.Namespace
    work: Path
    cores: list[int]
    folders: dict[str, Path]
    rows: dict[str, list[Row]]
    made: dict[tuple[str, str], Result] = field(default_factory=dict)
    found: dict[str, dict[str, dict[str, list[Result]]]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    speeds: dict[int, list[float]] = field(default_factory=dict)

    def drop(self, family: str, row: Row, reason: str) -> None:
        """No more of this row; the reason is said at once and again in the report."""
        self.left_out[f"{family}: {row.name}"] = reason
        self.rows[family].remove(row)
        print(f"left out: {family}: {row.name}: {reason}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, write them and the repeats."""
    given = _parser().parse_args(arguments)
    families, peers = _chosen("--only", given.only, tuple(ROWS)), _chosen("--peers", given.peers, PEERS)
    with tempfile.TemporaryDirectory() if given.work is None else nullcontext(given.work) as folder:
        work = Path(folder).resolve()
        work.mkdir(parents=True, exist_ok=True)
        bench = Bench(
            given=given,
            work=work,
            cores=sorted(os.sched_getaffinity(0))[: given.threads],
            folders=inputs.make_folders(work, families, tiny=given.smoke),
            rows={family: [row for row in ROWS[family] if row.peer in peers] for family in families},
        )
        _prepare(bench)
        _measure(bench)
        report = _report(bench)
        print(report)
        target = given.output or work
        target.mkdir(parents=True, exist_ok=True)
        (target / "engine.md").write_text(report + "\n", encoding="utf-8")
        _write_repeats(bench, target / "engine.json")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(ROWS), help="families, with commas between")
    parser.add_argument("--peers", default=",".join(PEERS), help="peers, with commas between")
    parser.add_argument("--peers-python", type=Path, help="the Python of the peers' environment; none: this one")
    parser.add_argument("--work", type=Path, help="a scratch folder that is kept; none: a temporary one")
    parser.add_argument("--output", type=Path, help="where engine.md and engine.json go; none: the scratch folder")
    parser.add_argument("--repeats", type=int, default=3, help="rounds through all rows, each in new processes")
    parser.add_argument("--passes", type=int, default=3, help="measured passes in each process, after one to warm up")
    parser.add_argument("--threads", type=int, default=min(2, len(os.sched_getaffinity(0))))
    parser.add_argument("--new", type=int, default=64, help="tokens that each decoding row writes")
    parser.add_argument("--works", help="only these measurements, with commas between, such as 'after 32,cold start'")
    parser.add_argument(
        "--no-again", dest="again", action="store_false", help="do not measure again what other processes disturbed"
    )
    parser.add_argument("--smoke", action="store_true", help="a tiny model, one repeat, in this process")
    return parser


def _chosen(name: str, text: str, known: Sequence[str]) -> list[str]:
    chosen = [part.strip() for part in text.split(",")]
    unknown = [part for part in chosen if part not in known]
    if unknown:
        raise SystemExit(f"error: {name} takes some of {', '.join(known)}, but got {', '.join(unknown)}")
    return chosen


def _prepare(bench: Bench) -> None:
    """Each row's own form of its model, made once; a peer that is not there is left out here."""
    if "gpt2" in bench.folders and any(row.peer == "llama.cpp" for row in bench.rows["gpt2"]):
        from headway.formats.convert import export_model

        file = bench.work / "gpt2-f32.gguf"
        if not file.exists() or bench.given.smoke:
            file.unlink(missing_ok=True)
            export_model(bench.folders["gpt2"], "gguf", file)
    for family, rows in bench.rows.items():
        for row in list(rows):
            result = _run(bench, family, row, "prepare")
            if "error" in result:
                bench.drop(family, row, result["error"])
            else:
                bench.made[family, row.name] = result


def _measure(bench: Bench) -> None:
    """Rounds over all rows, and one more round for the repeats that were disturbed."""
    repeats = 1 if bench.given.smoke else bench.given.repeats
    program = None if bench.given.smoke else machine.reader(bench.work)
    for number in range(repeats):
        _read(bench, program)
        for family, row, work in list(_works(bench)):
            if row in bench.rows[family]:
                _repeat(bench, family, row, work)
        print(f"round {number + 1} of {repeats} done at {time.strftime('%H:%M:%S')}", flush=True)
    for family, row, work in list(_works(bench)) if bench.given.again and not bench.given.smoke else []:
        disturbed = [
            result for result in bench.found[family][row.name][work] if not medians_and_tables.is_quiet(result)
        ]
        if disturbed and row in bench.rows[family]:
            _repeat(bench, family, row, work)
    _read(bench, program)


def _read(bench: Bench, program: Path | None) -> None:
    for threads in {1, bench.given.threads}:
        bench.speeds.setdefault(threads, []).append(machine.read_speed(program, threads))


def _works(bench: Bench) -> Iterator[tuple[str, Row, str]]:
    wanted = bench.given.works.split(",") if bench.given.works else None
    for family, rows in bench.rows.items():
        for work in WORKS[family]:
            if wanted is None or work in wanted:
                yield from ((family, row, work) for row in rows)


def _repeat(bench: Bench, family: str, row: Row, work: str) -> None:
    result = _run(bench, family, row, work)
    if "error" in result:
        bench.drop(family, row, f"{work}: {result['error']}")
        return
    found = bench.found.setdefault(family, {}).setdefault(row.name, {}).setdefault(work, [])
    found += result["results"]
    print(f"{time.strftime('%H:%M:%S')} {family}: {row.name}: {work}", flush=True)


def _run(bench: Bench, family: str, row: Row, work: str) -> Result:
    """One job's result, from a process of its own (with --smoke, from this one)."""
    stealing = work == "stolen core" and not bench.given.smoke
    with machine.busy_core(bench.cores[-1]) if stealing else nullcontext() as busy:
        job = _job(bench, family, row, work) | {"busy": busy}
        if bench.given.smoke:
            try:
                return worker.measured(job, time.perf_counter())
            except Exception as error:  # as in a process: a line of the report
                return {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        return _in_process(bench, row, job)


def _job(bench: Bench, family: str, row: Row, work: str) -> Result:
    """What worker.py reads. shape: rows, and tokens that each may come to hold."""
    smoke = bench.given.smoke
    new = 5 if smoke else bench.given.new
    job: Result = {
        "module": row.module,
        "family": family,
        "bits": row.bits,
        "work": work,
        "threads": bench.given.threads,
    }
    job |= {"folder": str(bench.folders[family]), "scratch": str(bench.work), "shape": [1, 0], "new": new}
    job["passes"] = 1 if smoke else bench.given.passes
    if work == "prepare":
        return job
    if family == "gpt2":
        length = (64 if smoke else 512) if work == "after 512" else 32
        n_rows = 8 if work == "batch 8" else 1
        job |= {"given": inputs.prompts(n_rows, length), "shape": [n_rows, length + new]}
    elif family == "bert":
        n_rows = 3 if smoke and work == "batch 32" else int(work.split()[1])
        job |= {"given": inputs.sentences(n_rows, 16 if smoke else 128), "new": 1 if smoke or n_rows > 1 else 10}
    else:
        job |= {"given": inputs.sources(4 if smoke else 32), "new": 5 if smoke else 25}
    return job | {"made": bench.made[family, row.name]["made"]}


def _in_process(bench: Bench, row: Row, job: Result) -> Result:
    path = bench.work / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    path.with_suffix(".out").unlink(missing_ok=True)
    python = sys.executable if row.own or bench.given.peers_python is None else str(bench.given.peers_python)
    threads = str(bench.given.threads)
    environment = {name: value for name, value in os.environ.items() if name not in _DISTURBING}
    environment |= {"OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    command = ["taskset", "-c", ",".join(map(str, bench.cores)), python, str(FOLDER / "worker.py"), str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800)
    if not path.with_suffix(".out").exists():
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        return {"error": f"the process ended with {done.returncode}: {last[:200]}"}
    result: Result = json.loads(path.with_suffix(".out").read_text(encoding="utf-8"))
    return result


def _report(bench: Bench) -> str:
    """The tables, with what they rest on."""
    speeds = {threads: max(found) for threads, found in sorted(bench.speeds.items())}
    lines = [
        f"{platform.machine()}, Python {platform.python_version()}, {bench.given.threads} threads; read of 256 MB: "
    ]
    lines[0] += ", ".join(f"{speed:.1f} GB/s by {threads}" for threads, speed in speeds.items())
    for family, by_row in bench.found.items():
        medians, aside = {}, {}
        size = _parameters_read(bench.folders[family]) if family == "gpt2" else 0
        for row in ROWS[family]:
            works = by_row.get(row.name)
            if works:
                medians[row.name] = medians_and_tables.figures(family, row, works, speeds[bench.given.threads], size)
                _compare(family, row, by_row, medians[row.name], lines)
                if "peak" in medians[row.name]:
                    weights = bench.made[family, row.name]["weights"] if not row.own else size * row.stored / 8
                    medians[row.name]["times"] = medians[row.name]["peak"] * 1e6 / weights
                every = [result for repeats in works.values() for result in repeats]
                aside[row.name] = f"{sum(not medians_and_tables.is_quiet(result) for result in every)} of {len(every)}"
        lines += ["", medians_and_tables.table(family, medians, aside)]
    lines += ["", *(f"left out: {name}: {reason}" for name, reason in bench.left_out.items())]
    versions = {name: found["version"] for (_, name), found in bench.made.items()}
    lines.append("versions: " + "; ".join(f"{name} {version}" for name, version in versions.items()))
    return "\n".join(lines)


def _compare(
    family: str,
    row: Row,
    by_row: dict[str, dict[str, list[Result]]],
    medians: dict[str, float],
    lines: list[str],
) -> None:
    """Adds a line for float32 results that are not the reference's, and for greedy text that repeats itself."""
    reference = by_row.get(ROWS[family][0].name, {})
    for work, repeats in by_row[row.name].items():
        if work == "cold start":
            continue
        if family == "gpt2" and row is ROWS[family][0]:
            poor = [len(set(ids)) for ids in repeats[0]["ids"] if len(set(ids)) < len(ids) / 4]
            if poor:
                lines.append(
                    f"the greedy text repeats itself ({work}): {poor[0]} different ids of {len(repeats[0]['ids'][0])}"
                )
        if work not in reference:
            if row.bits == 32:
                lines.append(
                    f"not compared: {family}: {row.name}, {work}: there is no {ROWS[family][0].name} beside it"
                )
            continue
        if family == "bert":
            error = medians_and_tables.state_error(reference[work][0], repeats[0])
            medians["error"] = max(error, medians.get("error", 0.0))
        found = medians_and_tables.difference(family, reference[work][0], repeats[0])
        if row.bits == 32 and found:
            lines.append(f"differs from {ROWS[family][0].name}: {row.name}, {work}: {found}")


def _parameters_read(folder: Path) -> int:
    """How many numbers a GPT-2 reads for each token: all but the table of positions."""
    import math

    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="numpy") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118  # no dictionary
    return sum(math.prod(shape) for name, shape in shapes.items() if not name.endswith("wpe.weight"))


def _write_repeats(bench: Bench, path: Path) -> None:
    """Every repeat, without what it computed."""
    large = ("states", "ids")
    repeats = {
        family: {
            name: {
                work: [{key: value for key, value in one.items() if key not in large} for one in found]
                for work, found in works.items()
            }
            for name, works in by_row.items()
        }
        for family, by_row in bench.found.items()
    }
    made = {
        f"{family}: {name}": {key: found[key] for key in ("version", "weights")}
        for (family, name), found in bench.made.items()
    }
    result = {"speeds": bench.speeds, "made": made, "left_out": bench.left_out, "repeats": repeats}
    path.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
