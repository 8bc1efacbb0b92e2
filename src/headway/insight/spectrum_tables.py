"""A model's spectrum as tables: for a terminal, and as one HTML page with its figures."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from headway.insight.alignment_grid import shown
from headway.insight.spectrum_model import ModelSpectrum

_STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --paper: #ffffff; --line: #d5dae1; }
@media (prefers-color-scheme: dark) { :root { --text: #e8eaed; --paper: #14171b; --line: #363c44; } }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: var(--text); background: var(--paper);
  font: 1rem/1.5 system-ui, "Segoe UI", "Noto Sans", sans-serif; }
h1 { font-size: 1.4rem; } svg { max-width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; margin-bottom: 1.5rem; }
caption { text-align: start; padding-bottom: .4rem; }
th, td { border: 1px solid var(--line); padding: .15rem .5rem; text-align: end; font-variant-numeric: tabular-nums; }
"""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with what it says above it."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables_of(spectrum: ModelSpectrum) -> list[Table]:
    """All there is to show, each table with the words that explain it."""
    return [*_positions(spectrum), *_heads(spectrum), *_banks(spectrum), *_readings(spectrum)]


def remarks_of(spectrum: ModelSpectrum) -> list[str]:
    """What was not measured, and why."""
    remarks = []
    if spectrum.positions is None:
        remarks.append("The model has no learned position embeddings, so there is no spectrum of them.")
    if not spectrum.tokens:
        remarks.append("Without a text only the weights are measured: attention and readings need one.")
        return remarks
    if not spectrum.heads:
        remarks.append("The model has no attention heads.")
    if not spectrum.readings:
        remarks.append(f"{spectrum.tokens} tokens are too few to fit probes on: readings need some thousand.")
    return remarks


def spectrum_text(spectrum: ModelSpectrum) -> str:
    """The tables as aligned columns, one below the other."""
    parts = []
    for table in tables_of(spectrum):
        rows = [table.heads, *table.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        parts.append("\n".join([table.caption, *lines]))
    return "\n\n".join([*parts, *remarks_of(spectrum)])


def spectrum_html(spectrum: ModelSpectrum, *, title: str, figures: Sequence[str] = ()) -> str:
    """The whole page; it needs no script, no network and no other file. figures: SVGs to put before the tables."""
    title = shown(title)
    body = [f'<div class="wide">{figure}</div>' for figure in figures]
    body += [f'<div class="wide">{_html(table)}</div>' for table in tables_of(spectrum)]
    body += [f"<p>{escape(remark)}</p>" for remark in remarks_of(spectrum)]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            "</head>",
            "<body>",
            f"<h1>{escape(title)}</h1>",
            *body,
            "</body>",
            "</html>",
            "",
        ]
    )


def _html(table: Table) -> str:
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in table.heads)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in table.rows)
    caption = f"<caption>{escape(table.caption)}</caption>"
    return f"<table>\n{caption}\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody></table>"


def _positions(spectrum: ModelSpectrum) -> Iterator[Table]:
    found = spectrum.positions
    if found is not None:
        yield Table(
            caption=f"{found.positions} learned positions: {found.low:.0%} of their power lies in the lowest 1/16 of "
            "the frequencies (noise: 6 %). The strongest:",
            heads=("period in tokens", "share of power"),
            rows=tuple((f"{period:.1f}", f"{share:.1%}") for period, share in found.leading),
        )


def _heads(spectrum: ModelSpectrum) -> Iterator[Table]:
    if spectrum.heads:
        yield Table(
            caption=f"Attention in windows of {spectrum.window} tokens. low: share of a row's power in the lowest 1/16 "
            "of frequencies (an average 100 %, one place alone 6 %);\npassed: how much of a white signal's variation "
            "is left; +1: with the residual. Conditions are medians.",
            heads=("layer", "head", "low", "passed", "effective rank", "condition", "condition +1", "bits", "distance"),
            rows=tuple(
                (
                    *(str(one.layer), str(one.head), f"{one.low:.0%}", f"{one.passed:.0%}"),
                    *(f"{one.effective_rank:.1f}", _condition(one.condition), _condition(one.with_residual)),
                    *(f"{one.entropy:.2f}", f"{one.distance:.1f}"),
                )
                for one in spectrum.heads
            ),
        )


def _banks(spectrum: ModelSpectrum) -> Iterator[Table]:
    if spectrum.banks:
        yield Table(
            caption="Banks of exponentials, in tokens (smallest, middle, largest); bound: of the slowest's condition.",
            heads=("layer", "modes", "fade to 1/e", "whole turn", "slower than 100", "bound"),
            rows=tuple(
                (
                    *(str(one.layer), str(one.modes), " ".join(f"{value:.1f}" for value in one.decay)),
                    *(" ".join(f"{value:.3g}" for value in one.period), f"{one.slow:.0%}", f"{one.bound:.4g}"),
                )
                for one in spectrum.banks
            ),
        )


def _readings(spectrum: ModelSpectrum) -> Iterator[Table]:
    if spectrum.readings:
        floor = 0.0 if spectrum.floor is None else spectrum.floor
        yield Table(
            caption=f"Read back by a linear probe from {spectrum.tokens} tokens, on held-out windows. token: the share "
            f"of frequent tokens named right\n(the most frequent alone: {floor:.0%}); input: the share of the first "
            "stream's variance.",
            heads=("layer", "read from", "token", "input"),
            rows=tuple(
                ("-" if one.layer is None else str(one.layer), one.where, f"{one.identity:.0%}", f"{one.input:.0%}")
                for one in spectrum.readings
            ),
        )


def _condition(value: float) -> str:
    return "> 1e13" if math.isinf(value) else f"{value:.3g}"
