"""Training speed of the Transformer's layers beside torch.nn.Transformer of the same sizes, forward and backward.

One command: `python benchmarks/transformer_layers.py` (the base size, rows of 25 tokens on each side, all equally long,
and of 13 to 25); `--width 192 --heads 4 --feed-forward 768`, `--device cuda --precision bfloat16` and so on change it.
Both sides have the same embedding and positions, take turns, and the median of the repeats is printed with the ratio.
"""

import argparse
import contextlib
import statistics
import time
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from headway.models.transformer import Transformer, TransformerConfig
from headway.nn.positions import SinusoidPositions

Pass = Callable[[Tensor, Tensor, Tensor], Tensor]
"""source (B, S), source_lengths (B,), target (B, T) -> what an output matrix would read, (B, T, D)."""


class TorchTransformer(nn.Module):
    """torch.nn.Transformer between the same embedding and positions, used as its documentation has it."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.positions = SinusoidPositions()
        self.layers = nn.Transformer(
            config.width,
            config.n_heads,
            config.encoder_layers,
            config.decoder_layers,
            config.feed_forward,
            dropout=config.residual_dropout,
            batch_first=True,
            norm_first=config.norm == "pre",
        )

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """source (B, S), target (B, T) -> (B, T, D); a mask of padding only where there is some."""
        padding = None
        if int(lengths.min()) < source.shape[1]:
            padding = torch.arange(source.shape[1], device=source.device) >= lengths.to(source.device)[:, None]
        later = nn.Transformer.generate_square_subsequent_mask(target.shape[1], device=source.device)
        result: Tensor = self.layers(
            self._placed(source),
            self._placed(target),
            tgt_mask=later if padding is None else later < 0,  # torch wants the masks of one kind
            tgt_is_causal=True,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        return result

    def _placed(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids) * self.embedding.weight.shape[1] ** 0.5
        return self.positions.place(x, torch.arange(ids.shape[1], device=ids.device)[None])


def seconds(model: nn.Module, run: Pass, batch: tuple[Tensor, Tensor, Tensor], precision: str) -> float:
    """Forward and backward of one batch."""
    device = batch[0].device.type
    half = torch.autocast(device, torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()
    _wait(device)
    begin = time.perf_counter()
    with half:
        result = run(*batch)
    torch.autograd.backward(result.float().square().sum())
    _wait(device)
    spent = time.perf_counter() - begin
    model.zero_grad()
    return spent


def compare(
    config: TransformerConfig, batch: tuple[Tensor, Tensor, Tensor], precision: str, repeats: int
) -> list[float]:
    """Target tokens a second, ours and torch's."""
    device = batch[0].device
    ours, theirs = Transformer(config).train().to(device), TorchTransformer(config).train().to(device)

    def ours_run(source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        return ours(source, lengths, target, hidden=True)  # type: ignore[no-any-return]

    pairs: list[tuple[nn.Module, Pass]] = [(ours, ours_run), (theirs, theirs)]
    times: list[list[float]] = [[], []]
    for repeat in range(repeats + 1):
        for (model, run), spent in zip(pairs, times, strict=True):
            taken = seconds(model, run, batch, precision)
            if repeat:  # the first one warms up
                spent.append(taken)
    return [batch[2].numel() / statistics.median(spent) for spent in times]


def batches(rows: int, tokens: int, vocabulary: int, device: str) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Rows equally long, and rows of half to all of the length."""
    generator = torch.Generator().manual_seed(3)
    source, target = (torch.randint(vocabulary, (rows, tokens), generator=generator).to(device) for _ in range(2))
    unequal = torch.randint((tokens + 1) // 2, tokens + 1, (rows,), generator=generator)
    unequal[0] = tokens
    return {
        "equally long": (source, torch.full((rows,), tokens), target),
        "of unequal length": (source, unequal, target),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("width", 512), ("heads", 8), ("layers", 6), ("feed-forward", 2048), ("rows", 32)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--tokens", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--norm", choices=["post", "pre"], default="post")
    parser.add_argument("--dropout", type=float, nargs="+", default=[0.0, 0.1])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    warnings.filterwarnings("ignore", message="enable_nested_tensor")
    print(
        f"{given.rows} rows of {given.tokens} tokens a side, width {given.width}, {given.layers}+{given.layers} layers"
    )
    print(f"{given.precision} on {given.device}, {torch.get_num_threads()} threads; target tokens a second")
    print(f"{'rows':<20}{'dropout':>8}{'headway':>12}{'torch':>12}{'ratio':>8}")
    for dropout in given.dropout:
        config = TransformerConfig(
            vocabulary=64,
            width=given.width,
            n_heads=given.heads,
            encoder_layers=given.layers,
            decoder_layers=given.layers,
            feed_forward=given.feed_forward,
            norm=given.norm,
            embedding_dropout=0.0,
            # torch's layers have one dropout for all three places
            attention_dropout=dropout,
            residual_dropout=dropout,
            activation_dropout=dropout,
        )
        for name, batch in batches(given.rows, given.tokens, config.vocabulary, given.device).items():
            ours, theirs = compare(config, batch, given.precision, given.repeats)
            print(f"{name:<20}{dropout:>8.2f}{ours:>12,.0f}{theirs:>12,.0f}{ours / theirs:>8.2f}")


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
