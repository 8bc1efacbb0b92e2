"""The Fourier and Hartley mixers against numpy and transformers, row by row."""

import itertools

import numpy
import pytest
import torch
from transformers.models.fnet.configuration_fnet import FNetConfig
from transformers.models.fnet.modeling_fnet import FNetBasicFourierTransform

from headway.nn.fourier import FourierMixer, HartleyMixer, NoMixer
from headway.nn.packing import Packing

LENGTHS = [5, 1, 7, 2, 7, 3, 8]


def packed_rows(width: int, dtype: torch.dtype = torch.float64) -> tuple[Packing, torch.Tensor]:
    packing = Packing(LENGTHS)
    generator = torch.Generator().manual_seed(width)
    return packing, torch.randn(sum(LENGTHS), width, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 11, 12])
def test_each_row_is_the_real_part_of_numpys_transform_of_that_row_alone(width: int) -> None:
    packing, x = packed_rows(width)
    rows, mixed = packing.unpack(x), packing.unpack(FourierMixer()(x, packing))
    for row, length in enumerate(LENGTHS):
        expected = numpy.fft.fft2(rows[row, :length].numpy()).real
        numpy.testing.assert_allclose(mixed[row, :length].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(("length", "width"), list(itertools.product([1, 2, 5, 6], repeat=2)))
def test_hartley_is_the_sum_of_cosines_and_sines_written_out(length: int, width: int) -> None:
    x = numpy.random.default_rng(3).standard_normal((length, width))
    expected = numpy.zeros_like(x)
    for k, d, n, m in itertools.product(range(length), range(width), range(length), range(width)):
        angle = 2 * numpy.pi * (k * n / length + d * m / width)
        expected[k, d] += (numpy.cos(angle) + numpy.sin(angle)) * x[n, m] / numpy.sqrt(length * width)
    mixed = HartleyMixer()(torch.from_numpy(x), Packing([length]))
    numpy.testing.assert_allclose(mixed.numpy(), expected, atol=1e-12)


def test_hartley_is_its_own_inverse_and_fourier_is_not() -> None:
    packing, x = packed_rows(11)
    hartley, fourier = HartleyMixer(), FourierMixer()
    torch.testing.assert_close(hartley(hartley(x, packing), packing), x)
    back = packing.unpack(fourier(fourier(x, packing), packing))[0, :5] / (5 * 11)
    assert not torch.allclose(back, packing.unpack(x)[0, :5], atol=1e-2)


def test_hartley_keeps_lengths() -> None:
    packing, x = packed_rows(13)
    torch.testing.assert_close(HartleyMixer()(x, packing).norm(), x.norm())


@pytest.mark.parametrize(("length", "width"), [(16, 192), (509, 256), (1, 6)])
def test_the_fourier_mixer_equals_fnets_of_transformers(length: int, width: int) -> None:
    config = FNetConfig(hidden_size=width, max_position_embeddings=length, use_tpu_fourier_optimizations=False)
    theirs = FNetBasicFourierTransform(config)
    x = torch.randn(3, length, width, generator=torch.Generator().manual_seed(5))
    packing = Packing([length] * 3)
    ours = packing.unpack(FourierMixer()(packing.pack(x), packing))
    scale = (length * width) ** 0.5
    torch.testing.assert_close(ours / scale, theirs(x)[0] / scale, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("mixer", [FourierMixer(), HartleyMixer()])
@pytest.mark.parametrize("width", [1, 5, 6])
def test_gradients_are_those_of_finite_differences_twice(mixer: torch.nn.Module, width: int) -> None:
    packing = Packing([3, 1, 4, 3])
    x = torch.randn(11, width, dtype=torch.float64, generator=torch.Generator().manual_seed(7), requires_grad=True)
    assert torch.autograd.gradcheck(lambda given: mixer(given, packing), (x,))
    assert torch.autograd.gradgradcheck(lambda given: mixer(given, packing).pow(2), (x,))


@pytest.mark.parametrize("mixer", [FourierMixer(), HartleyMixer()])
def test_half_precision_is_transformed_in_float32(mixer: torch.nn.Module) -> None:
    packing, x = packed_rows(11, torch.bfloat16)
    mixed = mixer(x, packing)
    assert mixed.dtype == torch.bfloat16
    assert torch.equal(mixed, mixer(x.float(), packing).to(torch.bfloat16))


def test_columns_that_are_not_side_by_side_in_memory_are_read_as_they_stand() -> None:
    packing, x = packed_rows(11)
    crossed = x.t().contiguous().t()
    assert not crossed.is_contiguous()
    torch.testing.assert_close(FourierMixer()(crossed, packing), FourierMixer()(x, packing))


def test_without_a_mixer_nothing_is_added() -> None:
    packing, x = packed_rows(3)
    assert torch.equal(NoMixer()(x, packing), torch.zeros_like(x))


def test_the_mixers_hold_no_numbers() -> None:
    assert not any(mixer.state_dict() for mixer in (FourierMixer(), HartleyMixer(), NoMixer()))
