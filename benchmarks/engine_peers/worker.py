"""One measurement in a process of its own: reads what is wanted from a file, writes what was found beside it.

`python worker.py JOB.json`; nothing of headway is imported here, so that it runs in the peers' environment too.
What libraries print does not matter: the answer is a file.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

Job = dict[str, Any]


def main() -> None:
    """Do the job that the first argument's file holds."""
    began = time.perf_counter()
    path = Path(sys.argv[1])
    job = json.loads(path.read_text(encoding="utf-8"))
    try:
        found = measured(job, began)
    except Exception as error:  # whatever a peer raises becomes a line of the report, under its name
        found = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
    path.with_suffix(".out").write_text(json.dumps(found), encoding="utf-8")


def measured(job: Job, began: float) -> Job:
    """What the job's work gives, a result for each pass; `began` is when the process was running."""
    peer: Any = importlib.import_module(job["module"])
    imported = time.perf_counter()
    if job["work"] == "prepare":
        made = Path(peer.prepare(job["family"], Path(job["folder"]), Path(job["scratch"]), job["bits"]))
        files = [made] if made.is_file() else [path for path in made.rglob("*") if path.is_file()]
        weights = sum(path.stat().st_size for path in files if path.suffix in _WEIGHTS)
        return {"made": str(made), "weights": weights, "version": peer.version()}
    model = peer.OPENED[job["family"]](Path(job["made"]), job["bits"], job["threads"], job["shape"])
    passes = 1 if job["work"] == "cold start" else job["passes"]
    warm_up, measure = _MEASURES[job["family"]]
    if job["work"] != "cold start":
        warm_up(model, job)
    results = [measure(model, job) for _ in range(passes)]
    common = {"began": began, "imported": imported, "peak": peak_memory()}
    return {"results": [result | common for result in results]}


_WEIGHTS = {".safetensors", ".bin", ".gguf", ".onnx", ".data"}


def _warm_gpt2(model: Any, job: Job) -> None:
    model.greedy(job["given"], min(4, job["new"]))


def _gpt2(model: Any, job: Job) -> Job:
    """Seconds after each new token; of a cold start when the first was there."""
    if job["work"] == "cold start":
        model.greedy(job["given"], 1)
        return {"first": time.perf_counter()}
    with Quiet(job["busy"]) as quiet:
        ids, stamps = model.greedy(job["given"], job["new"])
    assert len(stamps) == job["new"] and all(len(row) == job["new"] for row in ids), (len(stamps), job["new"])
    return {"ids": ids, "stamps": stamps, **quiet.found}


def _warm_bert(model: Any, job: Job) -> None:
    import numpy

    model.encode(numpy.array(job["given"], dtype=numpy.int64))


def _bert(model: Any, job: Job) -> Job:
    """Seconds of encoding a batch, the mean of some times; and the states of the first row."""
    import numpy

    ids = numpy.array(job["given"], dtype=numpy.int64)
    with Quiet(job["busy"]) as quiet:
        started = time.perf_counter()
        for _ in range(job["new"]):
            states = model.encode(ids)
        seconds = (time.perf_counter() - started) / job["new"]
    return {
        "seconds": seconds,
        "rows": len(ids),
        "states": numpy.asarray(states)[0].astype("float32").tolist(),
        **quiet.found,
    }


def _warm_marian(model: Any, job: Job) -> None:
    model.translate(job["given"], job["new"])


def _marian(model: Any, job: Job) -> Job:
    """Seconds of one beam search over all sources."""
    with Quiet(job["busy"]) as quiet:
        started = time.perf_counter()
        ids = model.translate(job["given"], job["new"])
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "ids": [list(map(int, row)) for row in ids], **quiet.found}


_MEASURES = {"gpt2": (_warm_gpt2, _gpt2), "bert": (_warm_bert, _bert), "marian": (_warm_marian, _marian)}


class Quiet:
    """How many cores other processes took meanwhile, and how much the machine under a virtual one, where it says so.

    busy: the process that takes a core on purpose, which is not counted; None: there is none.
    """

    def __init__(self, busy: int | None) -> None:
        self._busy = busy
        self.found: Job = {}

    def __enter__(self) -> "Quiet":
        self._before = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        elapsed, used, stolen, own = (now - before for now, before in zip(self._now(), self._before, strict=True))
        self.found = {"others": max(0.0, used - own) / elapsed, "stolen": stolen / elapsed}

    def _now(self) -> tuple[float, float, float, float]:
        ticks = os.sysconf("SC_CLK_TCK")
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, _, _, irq, softirq, stolen = map(int, file.readline().split()[1:9])
        own = sum(os.times()[:2])
        if self._busy is not None:
            with open(f"/proc/{self._busy}/stat", encoding="ascii") as file:
                own += sum(map(int, file.read().rpartition(")")[2].split()[11:13])) / ticks
        return time.perf_counter(), (user + nice + system + irq + softirq) / ticks, stolen / ticks, own


def peak_memory() -> int:
    """The most bytes this process ever held; getrusage would count the process that started it, too."""
    with open("/proc/self/status", encoding="ascii") as file:
        found = next(line for line in file if line.startswith("VmHWM:"))
    return int(found.split()[1]) * 1024


if __name__ == "__main__":
    main()
