"""Beam-search translation by a Transformer with random weights, beside transformers' Marian of the same sizes.

One command: `python benchmarks/translate.py` (the base size and a small one, batch 32, beam 4, sources of 25 tokens,
25 target tokens each, the end forbidden until then); `--sizes small`, `--batch 8`, `--beam 1`, `--threads 2` and so on
change it. Both sides run in the same process, in turn; the median of the repeats is printed, and the ratio of the
medians. The weights are random and not the same: the work does not depend on them.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from headway.decoding.beam import Search, beam_search
from headway.models.transformer import Transformer, TransformerConfig

Run = Callable[[torch.Tensor, int], int]
"""Sources (B, S) and the number of target tokens in, the number of target tokens written out."""

SIZES: dict[str, TransformerConfig] = {
    "base": TransformerConfig(
        vocabulary=32000, width=512, n_heads=8, encoder_layers=6, decoder_layers=6, feed_forward=2048
    ),
    "small": TransformerConfig(
        vocabulary=32000, width=256, n_heads=4, encoder_layers=3, decoder_layers=3, feed_forward=1024
    ),
}
_END = 0


def headway_run(config: TransformerConfig, beam: int) -> Run:
    """Translation by the library's own search."""
    torch.manual_seed(1)
    model = Transformer(config).eval()

    def run(sources: torch.Tensor, n_tokens: int) -> int:
        search = Search(beam=beam, max_new_tokens=n_tokens, min_new_tokens=n_tokens)
        found = beam_search(model, [[_END]] * len(sources), search, sources=sources.tolist(), end_ids=frozenset([_END]))
        return sum(len(best.ids) for (best,) in found)

    return run


def transformers_run(config: TransformerConfig, beam: int) -> Run:
    """Translation by `transformers`."""
    from transformers import MarianConfig, MarianMTModel

    torch.manual_seed(1)
    theirs = MarianConfig(
        vocab_size=config.vocabulary,
        d_model=config.width,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers,
        encoder_attention_heads=config.n_heads,
        decoder_attention_heads=config.n_heads,
        encoder_ffn_dim=config.feed_forward,
        decoder_ffn_dim=config.feed_forward,
        activation_function="relu",
        scale_embedding=True,
        max_position_embeddings=config.context or 512,
        pad_token_id=config.vocabulary - 1,
        decoder_start_token_id=_END,
        eos_token_id=_END,
        forced_eos_token_id=None,
    )
    model = MarianMTModel(theirs).eval()

    def run(sources: torch.Tensor, n_tokens: int) -> int:
        with torch.inference_mode():
            written = model.generate(
                sources,
                attention_mask=torch.ones_like(sources),
                num_beams=beam,
                do_sample=False,
                min_new_tokens=n_tokens,
                max_new_tokens=n_tokens,
            )
        return int((written.shape[1] - 1) * written.shape[0])

    return run


def timed(run: Run, sources: torch.Tensor, n_tokens: int) -> float:
    """Seconds for a batch, the source's encoding included."""
    started = time.perf_counter()
    n_written = run(sources, n_tokens)
    seconds = time.perf_counter() - started
    assert n_written == len(sources) * n_tokens, f"{n_written} tokens were written in place of {n_tokens} a sentence"
    return seconds


def compare(runs: dict[str, Run], sources: torch.Tensor, n_tokens: int, repeats: int) -> dict[str, float]:
    """The median seconds of each side, in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run(sources, 2)  # warm-up
    for _ in range(repeats):
        for name, run in runs.items():
            seconds[name].append(timed(run, sources, n_tokens))
    return {name: statistics.median(found) for name, found in seconds.items()}


def main(arguments: list[str] | None = None) -> None:
    """Print a line a side and size, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", choices=sorted(SIZES), default=sorted(SIZES))
    parser.add_argument("--batch", type=int, default=32, help="sentences at once")
    parser.add_argument("--beam", type=int, default=4)
    parser.add_argument("--source", type=int, default=25, help="source tokens, the end included")
    parser.add_argument("--tokens", type=int, default=25, help="target tokens of each sentence")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    print(
        f"batch {given.batch}, beam {given.beam}, {given.source} source and {given.tokens} target tokens, float32,"
        f" {given.threads} threads, median of {given.repeats}"
    )
    for size in given.sizes:
        config = SIZES[size]
        sources = torch.randint(1, config.vocabulary - 1, (given.batch, given.source))
        sources[:, -1] = _END
        runs = {"headway": headway_run(config, given.beam), "transformers": transformers_run(config, given.beam)}
        medians = compare(runs, sources, given.tokens, given.repeats)
        for name, seconds in medians.items():
            print(
                f"{size:6s} {name:13s} {given.batch / seconds:8.2f} sentences/s"
                f" {given.batch * given.tokens / seconds:8.1f} target tokens/s"
            )
        print(f"{size:6s} ratio         {medians['transformers'] / medians['headway']:8.2f}", flush=True)


if __name__ == "__main__":
    main()
