"""The engine's kernels for this processor beside each other: GPT-2 124M, random weights, the same bits from all.

One command: `python benchmarks/kernels.py`. Milliseconds, medians, the kernels in turn in each repeat: a prompt of 512
tokens, and a step of 1 and of 8 rows after 32. Ends with code 1 where two kernels differ in a bit. `--smoke` is a
short run of a tiny model.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

PROMPT = 512
BATCHES = (1, 8)
BITS = (8, 4, 16, 32)


def milliseconds(work: Callable[[], Any], passes: int) -> float:
    """The median of so many passes."""
    times = []
    for _ in range(passes):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times)


def logits_of(model: Any, ids: Any) -> Any:
    """Of the last token of each row of ids (B, T): (B, V)."""
    counts = np.full(len(ids), ids.shape[1], dtype=np.int64)
    return np.array(model.step(ids, counts, model.start(rows=len(ids)))[0])


def stepping(model: Any, ids: Any) -> Callable[[], None]:
    """A step of one token a row, after the ids (B, T)."""
    ones = np.ones(len(ids), dtype=np.int64)
    state = model.step(ids, ones * ids.shape[1], model.start(rows=len(ids)))[1]

    def step() -> None:
        nonlocal state
        state = model.step(ids[:, :1], ones, state)[1]

    return step


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None, help="default: as many as this process may use")
    parser.add_argument("--smoke", action="store_true", help="a short run of a tiny model, to see that it works")
    given = parser.parse_args(arguments)

    import torch

    from headway.engine.compile import compiled
    from headway.engine.extension import native
    from headway.models.gpt2 import GPT2, SIZES, GPT2Config

    torch.manual_seed(0)
    tiny = GPT2Config(vocabulary=301, context=PROMPT + 64, width=16, n_layers=2, n_heads=2)
    source = GPT2(tiny if given.smoke else SIZES["124M"]).eval()
    draw = np.random.default_rng(0)
    prompt = draw.integers(0, 300, (1, PROMPT))
    rows = [draw.integers(0, 300, (batch, 32)) for batch in BATCHES]
    alike = True
    for bits in BITS:
        names = native().kernels_here()
        models = {name: compiled(source, "gpt2", bits=bits, threads=given.threads, kernels=name) for name in names}
        found: dict[str, list[list[float]]] = {name: [] for name in names}
        for _ in range(1 if given.smoke else given.repeats):
            for name, model in models.items():
                if name == "plain" and not given.smoke:
                    continue  # it would take minutes
                steps = [milliseconds(stepping(model, ids), 16) for ids in rows]
                found[name].append([milliseconds(lambda model=model: logits_of(model, prompt), 3), *steps])
        first = logits_of(models[names[0]], prompt[:, :40])
        for name, times in found.items():
            same = bool((logits_of(models[name], prompt[:, :40]) == first).all())
            alike = alike and same
            medians = [statistics.median(each) for each in zip(*times, strict=True)]
            told = "prompt {:8.1f} ms  step of 1 {:7.2f} ms  of 8 {:7.2f} ms".format(*medians) if times else "not timed"
            print(f"{bits:2} bit  {name:8} {told}  {'the same bits' if same else 'OTHER BITS'}", flush=True)
    return 0 if alike else 1


if __name__ == "__main__":
    sys.exit(main())
