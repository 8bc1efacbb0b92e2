"""Ranks, conditions and spectra: hand-worked maps, and what the transforms keep."""

import math

import pytest
import torch

from headway.insight import spectrum_maps as maps
from headway.insight.spectrum import (
    effective_rank,
    figures_of,
    jacobian,
    low_share,
    passed,
    power_spectrum,
)
from headway.nn.fourier import FourierMixer, HartleyMixer
from headway.nn.packing import Packing

SIZES = [(6, 8), (5, 7), (3, 4), (1, 5), (2, 1)]


def identity(size: int) -> torch.Tensor:
    return torch.eye(size, dtype=torch.float64)


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def test_figures_of_a_known_map() -> None:
    found = figures_of(torch.diag(torch.tensor([4.0, 2.0, 1.0, 1.0])))
    shares = [0.5, 0.25, 0.125, 0.125]
    assert (found.size, found.rank, found.condition) == (4, 4, 4.0)
    assert found.effective_rank == pytest.approx(2 ** -sum(share * math.log2(share) for share in shares))
    assert found.energy_rank < found.effective_rank
    erased = figures_of(torch.diag(torch.tensor([1.0, 1.0, 0.0])))
    assert (erased.rank, erased.condition) == (2, math.inf) and erased.effective_rank == pytest.approx(2.0)
    assert effective_rank(torch.zeros(3)) == 0.0


@pytest.mark.parametrize(("length", "width"), SIZES)
def test_matrices_are_the_mixers_own(length: int, width: int) -> None:
    x = normal(length, width)
    packing = Packing([length])
    for matrix, mixer, transform in (
        (maps.fourier_matrix(length, width), FourierMixer(), maps.fourier_transform),
        (maps.hartley_matrix(length, width), HartleyMixer(), maps.hartley_transform),
    ):
        expected = (matrix @ x.flatten()).view(length, width)
        assert torch.allclose(mixer(x, packing), expected, atol=1e-10)
        assert torch.allclose(transform(x), expected, atol=1e-10)
        assert torch.allclose(jacobian(lambda given, mixer=mixer: mixer(given, packing), x), matrix, atol=1e-10)


@pytest.mark.parametrize(("length", "width"), SIZES)
def test_fnets_mixing_keeps_half_and_hartleys_all(length: int, width: int) -> None:
    size = length * width
    fourier, hartley = maps.fourier_matrix(length, width), maps.hartley_matrix(length, width)
    even = (size + maps.fixed_bins(length, width)) // 2
    assert figures_of(fourier).rank == even
    assert figures_of(hartley).rank == size and figures_of(hartley).condition == pytest.approx(1.0)
    if size > 4:
        assert figures_of(identity(size) + fourier).condition == pytest.approx(math.sqrt(size) + 1.0)


@pytest.mark.parametrize(("length", "width", "fourier", "hartley"), [(6, 8, 35, 24), (12, 16, 143, 97)])
def test_scaled_to_keep_lengths_the_residual_cancels_part_of_a_signal(
    length: int, width: int, fourier: int, hartley: int
) -> None:
    size = length * width
    ortho = maps.fourier_matrix(length, width) / math.sqrt(size)
    assert figures_of(identity(size) + ortho).rank == fourier
    assert figures_of(identity(size) + maps.hartley_matrix(length, width)).rank == hartley


@pytest.mark.parametrize(("length", "width"), [(6, 8), (5, 7), (12, 16)])
def test_what_can_be_undone_is_undone(length: int, width: int) -> None:
    x = normal(length, width)
    mixed = maps.fourier_transform(x)
    assert torch.allclose(maps.undo_fourier(mixed), maps.even_part(x), atol=1e-12)
    assert torch.allclose(maps.undo_fourier_residual(x + mixed), x, atol=1e-11)
    assert maps.loss_of(x, maps.even_part(x)).odd_half == pytest.approx(1.0)
    weights, columns = maps.random_attention(length, 7, causal=False), normal(width, width) / 9
    assert torch.allclose(maps.undo_head_residual(x + weights @ x @ columns, weights, columns), x, atol=1e-9)
    signal = torch.complex(x, 2 * x.flip(0))
    decay = torch.polar(torch.linspace(0.1, 0.99, width).double(), torch.linspace(0, 3, width).double())
    assert torch.allclose(maps.undo_laplace(maps.laplace_states(signal, decay), decay), signal, atol=1e-12)


def test_half_precision_harms_fnets_residual_and_not_hartley() -> None:
    x = normal(64, 128)
    kept = maps.stored(x + maps.fourier_transform(x), torch.bfloat16)
    fourier = maps.loss_of(x, maps.undo_fourier_residual(kept))
    hartley = maps.loss_of(x, maps.hartley_transform(maps.stored(maps.hartley_transform(x), torch.bfloat16)))
    assert 0.05 < fourier.odd_half < 0.2 and hartley.whole < 0.003


def test_a_bank_is_within_its_bound_and_near_it_for_long_rows() -> None:
    decay = torch.tensor([0.5 + 0.0j, 0.3 - 0.4j], dtype=torch.complex128)
    assert maps.laplace_bound(decay) == pytest.approx(3.0)
    values = maps.laplace_values(decay[:1], 97)
    assert 2.99 < float(values.max() / values.min()) < 3.0
    assert maps.laplace_values(decay, 5).shape == (10,)


def test_separable_maps_have_the_values_of_their_kronecker_product() -> None:
    weights, columns = normal(5, 5), normal(3, 3)
    found = maps.separable_figures(weights, columns)
    expected = figures_of(torch.kron(weights, columns.T.contiguous()))
    assert found.rank == expected.rank == 15 and found.condition == pytest.approx(expected.condition)


@pytest.mark.parametrize("size", [7, 8])
def test_power_keeps_the_energy_and_low_is_where_it_lies(size: int) -> None:
    rows = normal(3, size)
    assert float(power_spectrum(rows).sum()) == pytest.approx(size * float(rows.square().sum()))
    assert low_share(power_spectrum(torch.ones(2, 64))) == pytest.approx(1.0)
    assert low_share(power_spectrum(identity(64))) == pytest.approx(3 / 64)


def test_an_average_passes_nothing_and_a_permutation_all() -> None:
    assert passed(torch.full((2, 11, 11), 1 / 11)) == pytest.approx(0.0, abs=1e-12)
    assert passed(identity(11)[torch.randperm(11, generator=torch.Generator().manual_seed(1))]) == pytest.approx(1.0)


def test_causal_weights_see_nothing_later() -> None:
    torch.manual_seed(2)
    weights = maps.random_attention(7, 5, causal=True)
    assert torch.equal(weights, weights.tril()) and torch.allclose(weights.sum(-1), torch.ones(7).double())
