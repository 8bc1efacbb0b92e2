"""Speed of a reader's body by what mixes its tokens: attention, Fourier, Hartley, Laplace, none; forward, and backward.

One command: `python benchmarks/mixers.py` (4 layers 256 wide, rows of 64 to 1024 tokens, 4096 tokens a batch);
`--width 768 --layers 12 --heads 12`, `--lengths 512`, `--equal parameters`, `--device cuda` and so on change it. The
bodies have the same width, layers and feed-forward width; with `--equal parameters` a wider feed-forward network where
the mixer has fewer numbers. All take turns; the median of the repeats is printed, and its ratio to attention's.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from headway.models.bert import BERT, BERTConfig
from headway.models.bert_sizes import MixerKind

MIXERS: tuple[MixerKind, ...] = ("attention", "fourier", "hartley", "laplace", "none")


def bodies(given: argparse.Namespace) -> dict[str, BERT]:
    """One model a mixer, in training mode without dropout."""
    attention = BERTConfig(
        vocabulary=64,
        context=max(given.lengths),
        width=given.width,
        n_layers=given.layers,
        n_heads=given.heads,
        head="none",
        embedding_dropout=0.0,
        attention_dropout=0.0,
        residual_dropout=0.0,
    )
    made = {}
    for mixer in given.mixers:
        config = replace(attention, mixer=mixer)
        if given.equal == "parameters":
            missing = attention.n_parameters() - config.n_parameters()
            more = round(missing / (config.n_layers * (2 * config.width + 1)))
            config = replace(config, feed_forward=config.hidden + more)
        torch.manual_seed(3)
        made[mixer] = BERT(config).train().to(given.device, getattr(torch, given.precision))
    return made


def seconds(model: BERT, ids: Tensor, *, backward: bool) -> float:
    """One pass over a batch of equally long rows (B, T)."""
    _wait(ids.device.type)
    begin = time.perf_counter()
    with torch.set_grad_enabled(backward):
        states = model.encode(ids)
    if backward:
        torch.autograd.backward(states.float().square().sum())
    _wait(ids.device.type)
    spent = time.perf_counter() - begin
    model.zero_grad()
    return spent


def measure(models: dict[str, BERT], ids: Tensor, repeats: int, *, backward: bool) -> dict[str, float]:
    """Milliseconds a batch for each model, the median of the repeats."""
    times: dict[str, list[float]] = {name: [] for name in models}
    for repeat in range(repeats + 1):
        for name, model in models.items():
            taken = seconds(model, ids, backward=backward)
            if repeat:  # the first one warms up
                times[name].append(1000.0 * taken)
    return {name: statistics.median(spent) for name, spent in times.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("width", 256), ("heads", 4), ("layers", 4), ("tokens", 4096), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--mixers", choices=MIXERS, nargs="+", default=list(MIXERS))
    parser.add_argument("--equal", choices=["width", "parameters"], default="width")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    models = bodies(given)
    sizes = ", ".join(f"{name} {model.config.n_parameters():,}" for name, model in models.items())
    print(f"width {given.width}, {given.layers} layers; {given.precision} on {given.device}, {_threads(given)}")
    print(f"parameters: {sizes}")
    print(f"milliseconds a batch of about {given.tokens} tokens, and how many times faster than {given.mixers[0]}")
    print(f"{'length':>6} {'pass':<9}" + "".join(f"{name:>18}" for name in models))
    for length in given.lengths:
        shape = max(1, given.tokens // length), length
        ids = torch.randint(64, shape, generator=torch.Generator().manual_seed(5)).to(given.device)
        for backward in (False, True):
            found = measure(models, ids, given.repeats, backward=backward)
            first = found[given.mixers[0]]
            cells = "".join(f"{spent:>10.1f} ({first / spent:>4.2f})" for spent in found.values())
            print(f"{length:>6} {'both ways' if backward else 'forward':<9}{cells}")


def _threads(given: argparse.Namespace) -> str:
    return f"{torch.get_num_threads()} threads" if given.device == "cpu" else "one device"


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
