"""How much of a signal each mixer keeps: the tables and figures of docs/fourier.md, from fixed seeds.

    python benchmarks/spectrum.py                                   every table about mixers, as Markdown
    python benchmarks/spectrum.py --figures docs/figures            and the figures
    python benchmarks/spectrum.py --models writer en-fr --text FILE what trained models do, instead

Everything is measured in float64, on whole matrices up to --largest numbers (32 x 64 = 2048), and without the matrix
at 128 x 256 and 512 x 768. Only what is said to be stored in float32, bfloat16 or float16 is rounded.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from headway.evaluation.plot import Curve, Labels, Point, draw_curves
from headway.formats.folder import load
from headway.insight import spectrum_maps as maps
from headway.insight.spectrum import MapFigures, figures_of, figures_of_values, jacobian
from headway.insight.spectrum_model import ModelSpectrum, cut_windows, spectrum_of
from headway.nn.fourier import FourierMixer, HartleyMixer
from headway.nn.laplace import LaplaceMixer
from headway.nn.mixing_block import PackedAttention
from headway.nn.packing import Packing

SIZES = ((6, 8), (12, 16), (32, 64), (128, 256))
LARGE = (512, 768)
SEED = 1


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table: what was measured, at which size, alone or with the residual."""

    mixer: str
    size: str
    residual: bool
    figures: MapFigures


def dense_rows(length: int, width: int) -> list[Row]:
    """Every mixer at a size whose matrix fits: the published forms, and the modules near a normal input."""
    size, whole = f"{length} x {width}", torch.eye(length * width, dtype=torch.float64)
    fourier = maps.fourier_matrix(length, width)
    named: dict[str, Tensor] = {
        "Fourier": fourier,
        "Fourier, ortho-scaled": fourier / math.sqrt(length * width),
        "Hartley": maps.hartley_matrix(length, width),
    }
    for name, mixer in modules(width).items():
        named[name] = jacobian(partial(applied, mixer), torch.randn(length, width).double())
    rows = []
    for name, matrix in named.items():
        rows.append(Row(mixer=name, size=size, residual=False, figures=figures_of(matrix)))
        rows.append(Row(mixer=name, size=size, residual=True, figures=figures_of(matrix + whole)))
    return rows


def modules(width: int) -> dict[str, torch.nn.Module]:
    """The mixers that have weights, in float64: attention drawn as BERT draws it, and drawn to keep variances.

    BERT's deviation of 0.02 makes all scores nearly 0, so every row of attention is nearly an average.
    """
    torch.manual_seed(SEED)
    made: dict[str, torch.nn.Module] = {}
    heads = max(1, width // 64) if width >= 64 else 2
    for name, deviation in (("attention, BERT's start", 0.02), ("attention, unit variance", width**-0.5)):
        attention = PackedAttention(width, heads).double()
        with torch.no_grad():
            for parameter_name, parameter in attention.named_parameters():
                parameter.zero_() if parameter_name.endswith("bias") else parameter.normal_(0.0, deviation)
        made[name] = attention
    made["Laplace, whole mixer"] = LaplaceMixer(width).double()
    return made


def applied(mixer: torch.nn.Module, x: Tensor) -> Tensor:
    """x (T, D) -> (T, D), one row of the mixer."""
    result: Tensor = mixer(x, Packing([len(x)]))
    return result


def large_rows(length: int, width: int) -> list[Row]:
    """The transforms without their matrices: what two random signals prove, and the values that follow from it.

    The transform's square is T D on even signals and 0 on odd ones, so its singular values are sqrt(T D) and 0.
    """
    torch.manual_seed(SEED)
    x = torch.randn(length, width, dtype=torch.float64)
    bins = length * width
    even = (bins + maps.fixed_bins(length, width)) // 2
    twice = maps.fourier_transform(maps.fourier_transform(x))
    assert torch.allclose(twice, bins * maps.even_part(x), rtol=0, atol=1e-9 * bins)
    assert torch.allclose(maps.hartley_transform(maps.hartley_transform(x)), x, rtol=0, atol=1e-12)
    root = math.sqrt(bins)
    alone = torch.cat([torch.full((even,), root), torch.zeros(bins - even)]).double()
    more = (even + half_trace(length, width)) / 2.0  # eigenvalues +1 among the even ones
    plus = torch.cat([torch.full((round(more),), 1 + root), torch.full((even - round(more),), root - 1)])
    whole = torch.cat([plus, torch.ones(bins - even)]).double()
    size = f"{length} x {width}"
    weights = maps.random_attention(length, 64, causal=False)
    head = maps.separable_figures(weights, torch.randn(width, width, dtype=torch.float64) / math.sqrt(width))
    return [
        Row(mixer="Fourier", size=size, residual=False, figures=figures_of_values(alone)),
        Row(mixer="Fourier", size=size, residual=True, figures=figures_of_values(whole)),
        Row(mixer="Hartley", size=size, residual=False, figures=figures_of_values(torch.ones(bins))),
        Row(mixer="attention head, weights fixed", size=size, residual=False, figures=head),
    ]


def half_trace(length: int, width: int) -> float:
    """The trace of Re(F_T x F_D) / sqrt(T D): eigenvalues +1 less eigenvalues -1."""
    traces = [torch.fft.fft(torch.eye(n, dtype=torch.float64), norm="ortho").diagonal().sum() for n in (length, width)]
    return float((traces[0] * traces[1]).real)


def head_rows(length: int, head_width: int) -> list[tuple[str, MapFigures]]:
    """The weights of single heads (T, T), with and without causality and the residual."""
    torch.manual_seed(SEED)
    whole = torch.eye(length, dtype=torch.float64)
    rows = []
    for name, causal, deviation in (
        ("reads both ways, scores of deviation 0.1", False, 0.1),
        ("reads both ways, scores of deviation 0.5", False, 0.5),
        ("reads both ways, scores of deviation 1", False, 1.0),
        ("reads both ways, scores of deviation 3", False, 3.0),
        ("causal, scores of deviation 1", True, 1.0),
    ):
        weights = maps.random_attention(length, head_width, causal=causal, deviation=deviation)
        rows += [(name, figures_of(weights)), (f"{name}, with residual", figures_of(weights + whole))]
    return rows


def laplace_rows(length: int, modes: int) -> list[tuple[str, MapFigures, float]]:
    """A fresh bank's states, all modes at once, and its slowest and fastest mode alone; with the bound of each."""
    decay = bank(modes)
    order = decay.abs().argsort()
    rows = []
    for name, chosen in (("all modes", decay), ("fastest", decay[order[:1]]), ("slowest", decay[order[-1:]])):
        rows.append((name, figures_of_values(maps.laplace_values(chosen, length)), maps.laplace_bound(chosen)))
    return rows


def bank(modes: int) -> Tensor:
    """The lambdas (M,) of a fresh bank."""
    mixer = LaplaceMixer(2 * modes).double()
    rate = mixer.log_rate.detach().exp()
    return torch.polar((-rate).exp(), rate * mixer.turn.detach())


def return_rows(length: int, width: int) -> list[list[str]]:
    """What comes back of a normal signal once the output was stored: one row for each mixer and precision."""
    torch.manual_seed(SEED)
    x = torch.randn(length, width, dtype=torch.float64)
    rows = []
    fourier = applied(FourierMixer(), x)
    ways: list[tuple[str, Tensor, Callable[[Tensor], Tensor]]] = [
        ("Fourier", fourier, maps.undo_fourier),
        ("Fourier + residual", x + fourier, maps.undo_fourier_residual),
        ("Hartley", applied(HartleyMixer(), x), maps.hartley_transform),
        ("Hartley + residual", x + applied(HartleyMixer(), x), lambda y: y / 2.0),
        *attention_ways(x),
    ]
    decay = bank(width // 2)
    signal = torch.view_as_complex(x.view(length, -1, 2).contiguous())
    states = maps.laplace_states(signal, decay)
    for name, output, undo in ways:
        for precision, dtype in maps.PRECISIONS.items():
            loss = maps.loss_of(x, undo(maps.stored(output, dtype)))
            rows.append([name, f"{length} x {width}", precision, percent(loss.whole), percent(loss.odd_half)])
    for precision, dtype in maps.PRECISIONS.items():
        back = torch.view_as_real(maps.undo_laplace(maps.stored(states, dtype), decay)).flatten(1)
        loss = maps.loss_of(x, back)
        rows.append(["Laplace bank", f"{length} x {width}", precision, percent(loss.whole), percent(loss.odd_half)])
    return rows


def attention_ways(x: Tensor) -> list[tuple[str, Tensor, Callable[[Tensor], Tensor]]]:
    """One head A x W with A and W known: the least-squares input, alone and with the residual."""
    length, width = x.shape
    weights = maps.random_attention(length, 64, causal=False)
    columns = torch.randn(width, width, dtype=torch.float64) / math.sqrt(width)
    alone = weights @ x @ columns

    def undo_alone(y: Tensor) -> Tensor:
        back: Tensor = torch.linalg.pinv(weights) @ y @ torch.linalg.pinv(columns)
        return back

    def undo_residual(y: Tensor) -> Tensor:
        return maps.undo_head_residual(y, weights, columns)

    return [("attention head", alone, undo_alone), ("attention head + residual", x + alone, undo_residual)]


def percent(share: float) -> str:
    """0.1490 -> 14.9 %; small shares keep two digits."""
    return f"{100 * share:.2g} %" if share < 0.01 else f"{100 * share:.1f} %"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def cells(figures: MapFigures) -> list[str]:
    """The figures as cells."""
    condition = "none" if math.isinf(figures.condition) else f"{figures.condition:.3g}"
    ranks = [f"{figures.effective_rank:.1f}", f"{figures.energy_rank:.1f}"]
    return [f"{figures.rank} of {figures.size}", *ranks, condition]


def return_figure() -> str:
    """The half of a signal that the residual alone carries, by size and precision, after FNet's mixing."""
    curves = []
    for precision, dtype in maps.PRECISIONS.items():
        points = []
        for length, width in ((16, 32), (32, 64), (64, 128), (128, 256), (256, 512), LARGE):
            found = []
            for seed in range(3):
                torch.manual_seed(seed)
                x = torch.randn(length, width, dtype=torch.float64)
                back = maps.undo_fourier_residual(maps.stored(x + maps.fourier_transform(x), dtype))
                found.append(100 * maps.loss_of(x, back).odd_half)
            points.append(Point(math.sqrt(length * width), min(found), sorted(found)[1], max(found), length * width))
        curves.append(Curve(name=precision, points=points))
    return draw_curves(
        curves,
        Labels(
            title="FNet's mixing + residual: error of the half that only the residual carries",
            x="square root of tokens times width",
            y="error, percent",
            caption="One layer, normal input, output stored in the precision named, exact inverse; three seeds.",
            counted="numbers",
        ),
    )


def print_tables(largest: int) -> None:
    """Every table about mixers, to standard output."""
    rows = []
    for length, width in SIZES:
        rows += dense_rows(length, width) if length * width <= largest else large_rows(length, width)
    heads = ["mixer", "tokens x width", "residual", "rank", "effective rank", "energy rank", "condition"]
    print(table(heads, [[row.mixer, row.size, "yes" if row.residual else "no", *cells(row.figures)] for row in rows]))
    print()
    print(table(["head, 256 tokens", *heads[3:]], [[name, *cells(found)] for name, found in head_rows(256, 64)]))
    print()
    for length in (32, 128, 512):
        found = [
            [name, str(length), *cells(figures), f"{bound:.4g}"] for name, figures, bound in laplace_rows(length, 32)
        ]
        print(table(["Laplace states", "tokens", *heads[3:], "bound"], found))
        print()
    back = [row for length, width in ((12, 16), (32, 64), (128, 256), LARGE) for row in return_rows(length, width)]
    print(table(["mixer", "tokens x width", "stored in", "missing", "missing of the odd half"], back))


def measure(names: Sequence[str], text: str) -> dict[str, ModelSpectrum]:
    """The spectra of model folders on the first 8,192 tokens of a text, in windows of 64 tokens."""
    found = {}
    for name in names:
        model, tokenizer = load(name, dtype="float32")
        assert tokenizer is not None, f"{name} has no tokenizer"
        begin = tokenizer.begin_of_text
        end = None if begin is None else tokenizer.end_of_text
        windows = cut_windows(tokenizer.encode(text)[:8192], 64, begin=begin, end=end)
        found[Path(name).name] = spectrum_of(model, "", windows)
    return found


def print_models(found: Mapping[str, ModelSpectrum]) -> None:
    """What is read back of each model by layer, its heads' means by layer, and its positions."""
    for name, one in found.items():
        if one.positions is not None:
            leading = ", ".join(f"{period:.1f} ({share:.1%})" for period, share in one.positions.leading)
            print(f"{name}: {one.positions.low:.1%} of the positions' power in the lowest 1/16; periods {leading}\n")
    rows = []
    for name, one in found.items():
        for layer in sorted({head.layer for head in one.heads}):
            heads = [head for head in one.heads if head.layer == layer]
            rows.append(
                [
                    *(name, str(layer), spread([100 * head.low for head in heads])),
                    *(spread([100 * head.passed for head in heads]), spread([head.effective_rank for head in heads])),
                    *(f"{max(head.with_residual for head in heads):.1f}", spread([head.distance for head in heads])),
                ]
            )
    heads_row = ["model", "layer", "low, %", "passed, %", "effective rank of 64", "most condition +1", "distance"]
    print(f"{table(heads_row, rows)}\n")
    rows = [
        [name, "-" if read.layer is None else str(read.layer), read.where, percent(read.identity), percent(read.input)]
        for name, one in found.items()
        for read in one.readings
    ]
    print(table(["model", "layer", "read from", "tokens named", "input explained"], rows))


def spread(values: Sequence[float]) -> str:
    """The least and the largest."""
    return f"{min(values):.0f} to {max(values):.0f}"


def readings_figure(found: Mapping[str, ModelSpectrum]) -> str:
    """Frequent tokens named from the stream and from the mixers alone, by layer of each model."""
    curves = []
    for name, one in found.items():
        for where in ("stream", "mixer"):
            points = [
                Point(float(read.layer or 0), 100 * read.identity, 100 * read.identity, 100 * read.identity, one.tokens)
                for read in one.readings
                if read.where == where
            ]
            curves.append(Curve(name=f"{name}, {where}", points=points))
    labels = Labels(
        title="Tokens that a linear probe reads back",
        x="layer",
        y="frequent tokens named right, percent",
        caption="From the residual stream after a layer, and from what its mixer alone gave for the same place.",
        counted="tokens",
    )
    return draw_curves(curves, labels)


def main() -> None:
    """Print the tables; draw the figures where a folder is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=2048, help="numbers of a signal up to which matrices are built")
    parser.add_argument("--figures", type=Path, help="a folder for the figures")
    parser.add_argument("--models", nargs="+", default=[], help="model folders, or bundled models' names")
    parser.add_argument("--text", type=Path, help="what the models read: a text file of some 40,000 characters")
    given = parser.parse_args()
    if given.models and given.text is None:
        parser.error("--models needs --text")
    found = measure(given.models, given.text.read_text(encoding="utf-8")) if given.models else {}
    if given.figures is not None:
        given.figures.mkdir(parents=True, exist_ok=True)
    if found:
        print_models(found)
        if given.figures is not None:
            (given.figures / "fourier-read-back.svg").write_text(readings_figure(found), encoding="utf-8")
        return
    print_tables(given.largest)
    if given.figures is not None:
        (given.figures / "fourier-residual-error.svg").write_text(return_figure(), encoding="utf-8")


if __name__ == "__main__":
    main()
