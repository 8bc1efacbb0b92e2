"""Greedy tokens per second of a GPT-2 with random weights, beside transformers where it is installed.

One command: `python benchmarks/decode.py` (124M, weights in float32 and in bfloat16, batch 1 and 8); `--size 355M`,
`--batches 1 4`, `--precisions float32`, `--threads 8` and so on change it. Both sides hold the same weights and run in
the same process, in turn; the median of the repeats is printed, and the ratio of the medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from headway.decoding.choice import Choice
from headway.decoding.rows import Rows
from headway.models.gpt2 import GPT2, SIZES, GPT2Config
from headway.tasks.placement import into_native_precision

Run = Callable[[list[list[int]], int], int]
"""Prompts and a number of new tokens in, the number of tokens written out."""


def headway_run(config: GPT2Config, device: str, dtype: torch.dtype) -> Run:
    """Writing with the row scheduler, in the precision that `Writer` takes for weights stored as `dtype`."""
    model = GPT2(config).eval().to(device, dtype)
    into_native_precision(model)

    def run(prompts: list[list[int]], n_new: int) -> int:
        rows = Rows(model)
        for prompt in prompts:
            rows.add(prompt, Choice(temperature=0), max_new_tokens=n_new)
        n_written = 0
        while len(rows):
            n_written += len(rows.step())
        return n_written

    return run


def transformers_run(config: GPT2Config, device: str, dtype: torch.dtype) -> Run | None:
    """Writing with `transformers.generate`; None where it is not installed."""
    try:
        from transformers import GPT2Config as TheirConfig
        from transformers import GPT2LMHeadModel
    except ImportError:
        return None
    theirs = TheirConfig(
        vocab_size=config.vocabulary,
        n_positions=config.context,
        n_embd=config.width,
        n_layer=config.n_layers,
        n_head=config.n_heads,
    )
    model = GPT2LMHeadModel(theirs).eval().to(device, dtype)

    def run(prompts: list[list[int]], n_new: int) -> int:
        ids = torch.tensor(prompts, device=device)
        written = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            min_new_tokens=n_new,
            max_new_tokens=n_new,
            pad_token_id=0,
        )
        return int((written.shape[1] - ids.shape[1]) * written.shape[0])

    return run


def timed(run: Run, prompts: list[list[int]], n_new: int) -> float:
    """Tokens per second, prefill included."""
    started = time.perf_counter()
    n_written = run(prompts, n_new)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return n_written / (time.perf_counter() - started)


def compare(runs: dict[str, Run], prompts: list[list[int]], given: argparse.Namespace) -> dict[str, float]:
    """The median tokens per second of each side, in turn; a side that has used up its time is not run again."""
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    spent = dict.fromkeys(runs, 0.0)
    for run in runs.values():
        run(prompts, 2)  # warm-up
    for _ in range(given.repeats):
        for name, run in runs.items():
            if speeds[name] and spent[name] > given.seconds:
                continue
            speed = timed(run, prompts, given.tokens)
            speeds[name].append(speed)
            spent[name] += len(prompts) * given.tokens / speed
    return {name: statistics.median(found) for name, found in speeds.items()}


def main() -> None:
    """Print one line a precision and batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="124M")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--precisions", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"])
    parser.add_argument("--prompt", type=int, default=32, help="prompt tokens of each row")
    parser.add_argument("--tokens", type=int, default=64, help="new tokens of each row")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60, help="a side past this is not repeated again")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(1)
    config = SIZES[given.size]
    print(
        f"{given.size}, {given.device}, {given.threads} threads, {given.prompt} prompt + {given.tokens} new tokens,"
        f" greedy, tokens/s, median of at most {given.repeats}"
    )
    for precision in given.precisions:
        dtype = getattr(torch, precision)
        theirs = transformers_run(config, given.device, dtype)
        runs = {"headway": headway_run(config, given.device, dtype)}
        if theirs is not None:
            runs["transformers"] = theirs
        for batch in given.batches:
            prompts = torch.randint(config.vocabulary, (batch, given.prompt)).tolist()
            medians = compare(runs, prompts, given)
            figures = ", ".join(f"{name} {speed:8.1f}" for name, speed in medians.items())
            ratio = f", ratio {medians['headway'] / medians['transformers']:.2f}" if theirs is not None else ""
            print(f"{precision:8s} weights, batch {batch:3d}: {figures}{ratio}", flush=True)


if __name__ == "__main__":
    main()
