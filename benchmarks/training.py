"""Tokens per second of training, and how much of the processor it uses, beside a plain nanoGPT-style loop.

GPT-2 124M (batch 4 x 256) and a small model (6 layers, 384 wide, vocabulary 4,096, batch 32 x 256), each by the plain
loop in three ways and by `headway.train` with compile, precision and optimizer left to its defaults. Every measurement
is a fresh process; the variants take turns, and medians over all rounds are printed. Nothing else should run beside it.
On a processor without bfloat16 arithmetic, where torch emulates it at a hundredth of the speed, what needs it is left
out and said to be; `--emulate` measures it all the same.
"""

import argparse
import json
import platform
import re
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from own_process import alone
from plain_training import PlainConfig, PlainSettings, PlainTraining, plain_step
from tokenizer import made_up

import headway
from headway.models.hardware import has_bfloat16
from headway.text.byte_level_training import train_byte_level
from headway.training.recipe import read_table
from headway.training.report import Progress, Silent

FORMULA = "6 x (parameters of the layers) + 6 x V x D (output matrix) + 12 x layers x D x T / 2 (causal attention)"
PLAIN = {
    "plain eager fp32": {"compile": False, "bfloat16": False},
    "plain compiled bf16": {"compile": True, "bfloat16": True},
    "plain compiled fp32": {"compile": True, "bfloat16": False},
}
HEADWAY = "headway default"
HEADWAY_ADAMW = "headway AdamW"  # as the plain loop; beside it, what Muon costs a step can be seen
COMPILED = "plain compiled bf16"
PEAK_SIZE = 2048


@dataclass(frozen=True, kw_only=True)
class Size:
    """A model and its batch; `context` is the model's, `window` what a row holds. assignments: more for headway."""

    name: str
    model: PlainConfig
    batch_size: int
    window: int
    text_bytes: int
    assignments: tuple[str, ...] = ()

    @property
    def layer_parameters(self) -> int:
        """Parameters that are neither embedding nor output matrix."""
        width = self.model.width
        return self.model.n_layers * (12 * width * width + 13 * width) + 2 * width

    @property
    def flops_per_token(self) -> int:
        """Arithmetic of forward and backward, by FORMULA."""
        attention = 12 * self.model.n_layers * self.model.width * self.window // 2
        return 6 * self.layer_parameters + 6 * self.model.vocabulary * self.model.width + attention


SIZES = {
    "124M": Size(
        name="124M",
        model=PlainConfig(vocabulary=50257, context=1024, width=768, n_layers=12, n_heads=12),
        batch_size=4,
        window=256,
        text_bytes=4_000_000,
    ),
    "small": Size(
        name="small",
        model=PlainConfig(vocabulary=4096, context=256, width=384, n_layers=6, n_heads=6),
        batch_size=32,
        window=256,
        text_bytes=8_000_000,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One measurement: in a fresh process, `warm_up` steps and then `steps` timed ones."""

    size: Size
    variant: str
    text: str
    ids: str
    tokenizer: str
    place: str
    warm_up: int
    steps: int
    minutes: float
    threads: int


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of each timed step, the process's peak memory in bytes up to the last one, and what was chosen."""

    seconds: list[float]
    peak_memory: int
    chosen: dict[str, Any]


class Enough(Exception):
    """The steps to time are done; what remains of the run is not wanted."""


class Stopwatch(Silent):
    """Times the steps of a headway run from outside, then ends it."""

    def __init__(self, n_steps: int) -> None:
        self.times = [time.perf_counter()]
        self.peak_memory = 0
        self._n_steps = n_steps

    def progress(self, progress: Progress) -> None:
        """One step is over. Raises Enough after the last."""
        self.times.append(time.perf_counter())
        if progress.step >= self._n_steps:
            self.peak_memory = peak_memory()
            raise Enough


def peak_memory() -> int:
    """The largest resident set of this process so far in bytes; 0 where the system does not tell it."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
    return 1024 * int(found[1]) if found else 0


def plain_timing(job: Job) -> Timing:
    """The plain loop."""
    torch.set_num_threads(job.threads)
    settings = PlainSettings(batch_size=job.size.batch_size, window=job.size.window, **PLAIN[job.variant])
    training = PlainTraining(job.size.model, settings, numpy.load(job.ids))
    seconds = []
    for step in range(job.warm_up + job.steps):
        began = time.perf_counter()
        plain_step(training, (step + 1) / 1000)
        seconds.append(time.perf_counter() - began)
    return Timing(seconds=seconds[job.warm_up :], peak_memory=peak_memory(), chosen=PLAIN[job.variant])


def headway_timing(job: Job) -> Timing:
    """headway's own run on the same text with the same ids, model and batch, ended after the steps to time.

    Dropout is 0, as in the plain loop. The budget is one of minutes that is not used up, so that what depends on its
    length (whether compiling pays) is chosen as for a real run.
    """
    torch.set_num_threads(job.threads)
    sizes, output = job.size.model, Path(job.place, "headway-run")
    assignments = [
        f"tokenizer.folder={job.tokenizer}",
        *(f"model.{name}={getattr(sizes, name)}" for name in ("context", "width", "n_layers", "n_heads")),
        *(f"model.{kind}_dropout=0.0" for kind in ("embedding", "attention", "residual")),
        f"train.batch_size={job.size.batch_size}",
        f"train.window={job.size.window}",
        "train.log_every=1",
        "train.evaluations=1",
        "train.sample_tokens=0",
        f"train.save_every={10**9}",
        *(["train.optimizer=adamw"] if job.variant == HEADWAY_ADAMW else []),
        *job.size.assignments,
    ]
    stopwatch = Stopwatch(job.warm_up + job.steps)
    recipe = headway.recipe_from(job.text, output, budget={"minutes": job.minutes}, assignments=assignments)
    try:
        headway.train(recipe, reporter=stopwatch)
    except Enough:
        pass
    else:
        raise SystemExit(f"{job.minutes} minutes were over before {job.steps} steps were timed; give more --minutes")
    saved = read_table(output / "training" / "recipe.toml")
    shutil.rmtree(output)
    assert saved["model"]["vocabulary"] == sizes.vocabulary
    chosen = {name: saved["train"].get(name) for name in ("compile", "precision", "optimizer")}
    times = stopwatch.times[1:]
    steps = [after - before for before, after in zip(times, times[1:], strict=False)]
    return Timing(seconds=steps[-job.steps :], peak_memory=stopwatch.peak_memory, chosen=chosen)


def peak_timing(threads: int, repeats: int, bfloat16: bool) -> dict[str, float]:
    """GFLOP/s of torch's own square matrix product, the best of the repeats, by precision."""
    torch.set_num_threads(threads)
    peaks = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))[: 2 if bfloat16 else 1]:
        left, right = (torch.randn(PEAK_SIZE, PEAK_SIZE).to(dtype) for _ in range(2))
        best = float("inf")
        for _ in range(repeats + 2):
            began = time.perf_counter()
            left @ right
            best = min(best, time.perf_counter() - began)
        peaks[name] = 2 * PEAK_SIZE**3 / best / 1e9
    return peaks


def prepare_text(size: Size, place: Path) -> dict[str, str]:
    """Made-up text, a vocabulary of the right size, and the ids: the same for every variant."""
    documents = made_up(size.text_bytes)
    text, ids, folder = place / f"{size.name}.jsonl", place / f"{size.name}.npy", place / f"{size.name}-tokenizer"
    text.write_text("".join(json.dumps({"text": document}) + "\n" for document in documents), encoding="utf-8")
    if size.model.vocabulary == 50257:
        tokenizer, name = headway.Tokenizer.load("gpt2"), "gpt2"
    else:
        tokenizer, name = train_byte_level(documents, size.model.vocabulary), str(folder)
        folder.mkdir()
        tokenizer.save(folder)
    assert tokenizer.size == size.model.vocabulary
    numpy.save(ids, numpy.concatenate(tokenizer.encode_corpus(documents)))
    return {"text": str(text), "ids": str(ids), "tokenizer": name}


def measure(size: Size, place: Path, given: argparse.Namespace) -> dict[str, Any]:
    """All variants of a size in turn, over all rounds; the figures of each."""
    files = prepare_text(size, place)
    timings: dict[str, list[Timing]] = {}
    peaks: list[dict[str, float]] = []
    bfloat16 = given.emulate or has_bfloat16("cpu")
    for _ in range(given.repeats):
        peaks.append(alone(peak_timing, given.threads, 10, bfloat16))
        for variant in (*PLAIN, HEADWAY, HEADWAY_ADAMW):
            if variant == COMPILED and not bfloat16:
                continue
            if variant == HEADWAY_ADAMW and timings[HEADWAY][0].chosen["optimizer"] == "adamw":
                continue
            job = Job(
                size=size,
                variant=variant,
                place=str(place),
                warm_up=given.warm_up,
                steps=given.steps,
                minutes=given.minutes,
                threads=given.threads,
                **files,
            )
            timing = alone(plain_timing if variant in PLAIN else headway_timing, job)
            timings.setdefault(variant, []).append(timing)
    return {
        "size": size.name,
        "tokens_per_step": size.batch_size * size.window,
        "flops_per_token": size.flops_per_token,
        "peak_gflops": {name: max(peak[name] for peak in peaks) for name in peaks[0]},
        "variants": {variant: figures(size, found) for variant, found in timings.items()},
    }


def figures(size: Size, timings: list[Timing]) -> dict[str, Any]:
    """The medians of one variant over its rounds."""
    seconds = statistics.median(second for timing in timings for second in timing.seconds)
    speed = size.batch_size * size.window / seconds
    return {
        "seconds_per_step": seconds,
        "rounds": [statistics.median(timing.seconds) for timing in timings],
        "tokens_per_second": speed,
        "gflops": speed * size.flops_per_token / 1e9,
        "peak_memory": max(timing.peak_memory for timing in timings),
        "chosen": timings[0].chosen,
    }


def table(result: dict[str, Any]) -> str:
    """One size's figures as text."""
    peaks, found = result["peak_gflops"], result["variants"]
    reached = ", ".join(f"{name} {peak:.0f}" for name, peak in peaks.items())
    others = [name for name in PLAIN if name in found]
    lines = [
        f"{result['size']}: {result['tokens_per_step']} tokens a step, {result['flops_per_token'] / 1e9:.3f} GFLOP a"
        f" token; torch's own {PEAK_SIZE}^3 product reaches {reached} GFLOP/s",
        f"{'variant':20} {'s/step':>8} {'tokens/s':>9} {'peak MB':>8} {'GFLOP/s':>8}"
        + "".join(f" {'of ' + name:>8}" for name in peaks)
        + "".join(f" {'x ' + name:>22}" for name in others),
    ]
    for name, side in found.items():
        speed = side["tokens_per_second"]
        lines.append(
            f"{name:20} {side['seconds_per_step']:8.3f} {speed:9.1f} {side['peak_memory'] / 1e6:8.0f}"
            f" {side['gflops']:8.1f}"
            + "".join(f" {side['gflops'] / peak:8.1%}" for peak in peaks.values())
            + "".join(f" {speed / found[other]['tokens_per_second']:22.2f}" for other in others)
        )
    if COMPILED not in found:
        lines.append(f"left out, for this processor has no bfloat16 arithmetic: {COMPILED}, the peak in bf16")
    chosen = ", ".join(f"{name} {value}" for name, value in found[HEADWAY]["chosen"].items())
    return "\n".join([*lines, f"headway chose: {chosen}"])


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=[*SIZES, "both"], default="both")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of a variant and round")
    parser.add_argument("--warm-up", type=int, default=2, help="steps before them, compiling included")
    parser.add_argument("--repeats", type=int, default=3, help="rounds in which every variant has its turn")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--minutes", type=float, default=60.0, help="the budget headway's defaults are chosen for")
    parser.add_argument("--emulate", action="store_true", help="measure bfloat16 even where it is only emulated")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return parser.parse_args(words)


def main() -> None:
    """Measure and print."""
    given = arguments()
    sizes = list(SIZES) if given.size == "both" else [given.size]
    if not given.json:
        print(
            f"torch {torch.__version__}, Python {platform.python_version()}, {given.threads} threads,"
            f" medians of {given.repeats} x {given.steps} steps\nFLOP a token: {FORMULA}"
        )
    with tempfile.TemporaryDirectory() as place:
        results = []
        for name in sizes:
            results.append(measure(SIZES[name], Path(place), given))
            if not given.json:
                print(table(results[-1]), flush=True)
    if given.json:
        print(json.dumps({"torch": torch.__version__, **vars(given), "results": results}))


if __name__ == "__main__":
    main()
