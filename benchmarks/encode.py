"""Encoding with a BERT of random weights, tokens a second, beside transformers' BertModel with the same weights.

One command: `python benchmarks/encode.py` (6 layers 384 wide and 12 layers 768 wide; 32 rows of 16 to 128 tokens, and
single rows); `--sizes minilm`, `--batches 1 32 128`, `--shortest 16 --longest 512`, `--precision bfloat16`, `--device
cuda` and so on change it. Both sides get the same batches, padded on the right, in turn; the median of the repeats is
printed, and the ratio of the medians. Only the tokens of the text are counted, never padding.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from headway.formats.folder import save
from headway.models.bert import BERT, BERTConfig

Run = Callable[[Tensor, Tensor], Tensor]
"""ids (B, T) and lengths (B,) -> states (B, T, D)."""

SIZES = {
    "tiny": BERTConfig(width=128, n_layers=2, n_heads=2, head="none"),
    "reader": BERTConfig(vocabulary=7168, width=160, n_layers=5, n_heads=5, head="none"),
    "minilm": BERTConfig(width=384, n_layers=6, n_heads=12, head="none"),
    "base": BERTConfig(head="none"),
}


def sides(config: BERTConfig, device: str, dtype: torch.dtype) -> dict[str, Run]:
    """Ours, and transformers' where it is installed, with the same weights."""
    ours = BERT(config).eval().to(device, dtype)

    def encode(ids: Tensor, lengths: Tensor) -> Tensor:
        return ours.encode(ids, lengths)

    try:
        import transformers
    except ImportError:
        return {"headway": encode}
    with tempfile.TemporaryDirectory() as folder:
        save(ours, None, Path(folder) / "model")
        theirs: nn.Module = transformers.BertModel.from_pretrained(Path(folder) / "model", add_pooling_layer=False)
    theirs.to(device, dtype)  # in evaluation mode as it comes

    def run(ids: Tensor, lengths: Tensor) -> Tensor:
        own = torch.arange(ids.shape[1], device=ids.device) < lengths.to(ids.device)[:, None]
        states: Tensor = theirs(input_ids=ids, attention_mask=own.long()).last_hidden_state
        return states

    return {"headway": encode, "transformers": run}


def batches(n_rows: int, given: argparse.Namespace) -> list[tuple[Tensor, Tensor]]:
    """As many batches as repeats, of rows of every length in the range alike, padded to their longest."""
    chance = torch.Generator().manual_seed(n_rows)
    made = []
    for _ in range(given.repeats):
        lengths = torch.randint(given.shortest, given.longest + 1, (n_rows,), generator=chance)
        ids = torch.randint(100, 5000, (n_rows, int(lengths.max())), generator=chance)
        made.append((ids.to(given.device), lengths))
    return made


@torch.inference_mode()
def compare(runs: dict[str, Run], given: list[tuple[Tensor, Tensor]], device: str) -> dict[str, float]:
    """The median seconds of each side over the batches, in turn and in changing order."""
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run(*given[0])  # warm-up
    for number, batch in enumerate(given):
        names = list(runs) if number % 2 else list(reversed(runs))
        for name in names:
            _wait(device)
            started = time.perf_counter()
            runs[name](*batch)
            _wait(device)
            spent[name].append(time.perf_counter() - started)
    return {name: statistics.median(found) for name, found in spent.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line a size and batch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=sorted(SIZES), default=["minilm", "base"])
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 1])
    parser.add_argument("--shortest", type=int, default=16)
    parser.add_argument("--longest", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--precision", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    torch.manual_seed(1)
    print(
        f"{given.precision} on {given.device}, {given.threads} threads, rows of {given.shortest} to {given.longest} "
        f"tokens, median of {given.repeats}"
    )
    for size in given.sizes:
        runs = sides(SIZES[size], given.device, getattr(torch, given.precision))
        for n_rows in given.batches:
            made = batches(n_rows, given)
            n_tokens = statistics.mean(int(lengths.sum()) for _, lengths in made)
            seconds = compare(runs, made, given.device)
            figures = ", ".join(f"{name} {n_tokens / spent:9,.0f}" for name, spent in seconds.items())
            ratio = f", ratio {seconds['transformers'] / seconds['headway']:.2f}" if len(seconds) > 1 else ""
            print(f"{size:8s} batch {n_rows:3d}: {figures} tokens/s{ratio}", flush=True)


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
