"""`headway evaluate`: how well a model predicts a text."""

import sys
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from headway.cli.output import count_text, print_json, print_rows


# More than six parameters: each is a word of the command line.
def evaluate(
    model: Annotated[str, Parameter(help="A model folder or a bundled model's name.")],
    text: Annotated[str, Parameter(help="A file or folder of text, as train takes it; best one never trained on.")],
    /,
    *,
    stride: Annotated[int | None, Parameter(help="Tokens a window moves on; default: half the context.")] = None,
    device: Annotated[str, Parameter(help="auto, cpu, cuda or cuda:N.")] = "auto",
    dtype: Annotated[str | None, Parameter(help="float32, bfloat16 or float16; default: as stored.")] = None,
    text_field: Annotated[str | None, Parameter(help="The field of .jsonl, .csv, .parquet with the text.")] = None,
    json: Annotated[bool, Parameter(help="Print one JSON object.")] = False,
) -> None:
    """Perplexity per token and bits per byte of a text under a model; lower is better for both.

    Example: headway evaluate my-model held-out.txt
    """
    from headway.evaluation.perplexity import evaluate_text

    found = evaluate_text(
        model,
        text,
        stride=stride,
        device=device,
        dtype=dtype,
        text_field=text_field,
        progress=_show if sys.stderr.isatty() else None,
    )
    if sys.stderr.isatty():
        print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
    if json:
        print_json(asdict(found))
        return
    documents = "document" if found.documents == 1 else "documents"
    print_rows(
        [
            ("bits per byte", f"{found.bits_per_byte:.4f}"),
            ("perplexity", f"{found.perplexity:.3f} per token"),
            ("loss", f"{found.loss:.4f} nats per token"),
            ("scored", f"{found.tokens:,} tokens, {found.bytes:,} bytes, {found.documents:,} {documents}"),
            ("windows", f"{found.window} tokens, moving on by {found.stride}"),
            ("speed", f"{found.tokens_per_second:,.0f} tokens/s on {found.device} in {found.dtype}"),
        ]
    )


def _show(tokens: int) -> None:
    print(f"\r\x1b[2K{count_text(tokens)} tokens scored", end="", file=sys.stderr, flush=True)
