"""`headway bench`: what each width of the compiled engine gives and costs, on this machine."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from headway.cli.output import bytes_text, note, print_json, print_rows

if TYPE_CHECKING:
    from headway.evaluation.engines import WidthCard


def bench(
    model: Annotated[str, Parameter(help="A model folder or a bundled model's name.")] = "writer",
    text: Annotated[Path | None, Parameter(help="A text to measure quality on.")] = None,
    /,
    *,
    bits: Annotated[tuple[int, ...], Parameter(help="Only these widths. Repeatable.", show_default=False)] = (),
    tokens: Annotated[int, Parameter(help="Of the text, so many tokens.")] = 20_000,
    json: Annotated[bool, Parameter(help="Print one JSON object.")] = False,
) -> None:
    """The speed and quality card of a model that writes: PyTorch, then the compiled engine at each width.

    Let nothing else run meanwhile. Without a text there is no quality to measure.

    Example: headway bench my-model held-out.txt
    """
    from headway.evaluation.engines import engine_cards

    cards = engine_cards(
        model,
        text,
        widths=bits or (32, 16, 8, 4),
        tokens=tokens,
        progress=note if sys.stderr.isatty() else lambda name: None,
    )
    if json:
        file = None if text is None else str(text)
        print_json({"model": model, "text": file, "widths": [asdict(card) for card in cards]})
        return
    heads = ("", "tokens/s", "8 rows", "first token", "weights", "bits/byte", "lost")
    print_rows([heads, *(_row(card) for card in cards)])


def _row(card: "WidthCard") -> tuple[str, ...]:
    return (
        card.name if card.name == "torch" else f"{card.name} bits, {card.kernels}",
        f"{card.tokens_per_second:,.0f}",
        f"{card.batch_tokens_per_second:,.0f}",
        f"{card.first_token * 1e3:.1f} ms",
        bytes_text(card.weights),
        "" if card.bits_per_byte is None else f"{card.bits_per_byte:.4f}",
        "" if card.lost is None else f"{card.lost:+.3%}",
    )
