"""Greedy tokens per second of a GPT-2 with random weights, beside transformers where it is installed.

One command: `python benchmarks/decode.py` (124M, batch 1 and 8); `--size 355M`, `--batches 1 4`, `--threads 8` and
so on change it. Both sides run in the same process, in turn, and the median of the repeats is printed.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from headway.decoding.choice import Choice
from headway.decoding.rows import Rows
from headway.models.gpt2 import GPT2, SIZES, GPT2Config

Run = Callable[[list[list[int]], int], int]
"""Prompts and a number of new tokens in, the number of tokens written out."""


def headway_run(config: GPT2Config, device: str) -> Run:
    """Writing with the row scheduler."""
    model = GPT2(config).eval().to(device)

    def run(prompts: list[list[int]], n_new: int) -> int:
        rows = Rows(model)
        for prompt in prompts:
            rows.add(prompt, Choice(temperature=0), max_new_tokens=n_new)
        n_written = 0
        while len(rows):
            n_written += len(rows.step())
        return n_written

    return run


def transformers_run(config: GPT2Config, device: str) -> Run | None:
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
    model = GPT2LMHeadModel(theirs).eval().to(device)

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


def main() -> None:
    """Print one line a batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="124M")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--prompt", type=int, default=32, help="prompt tokens of each row")
    parser.add_argument("--tokens", type=int, default=64, help="new tokens of each row")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(1)
    config = SIZES[given.size]
    runs = {"headway": headway_run(config, given.device), "transformers": transformers_run(config, given.device)}
    print(
        f"{given.size}, {given.device}, {given.threads} threads, {given.prompt} prompt + {given.tokens} new tokens,"
        f" float32, greedy, median of {given.repeats}"
    )
    for batch in given.batches:
        prompts = torch.randint(config.vocabulary, (batch, given.prompt)).tolist()
        speeds: dict[str, list[float]] = {name: [] for name, run in runs.items() if run is not None}
        for repeat in range(given.repeats + 1):
            for name, run in runs.items():
                if run is None:
                    continue
                speed = timed(run, prompts, given.tokens)
                if repeat:  # the first is warm-up
                    speeds[name].append(speed)
        figures = ", ".join(f"{name} {statistics.median(found):8.1f} tokens/s" for name, found in speeds.items())
        print(f"batch {batch:3d}: {figures}")


if __name__ == "__main__":
    main()
