from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import headway.nn.linear
from headway.models.gpt2 import GPT2, GPT2Config
from headway.nn.linear import Linear

needs_onednn = pytest.mark.skipif(not headway.nn.linear._exists(), reason="this torch has no oneDNN operator")


class Recorder(TorchDispatchMode):
    """The names of the operators that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))

    @property
    def onednn(self):
        return "mkldnn._linear_pointwise.default" in self.names


@pytest.fixture
def forced(monkeypatch):
    """Small matrices count as large ones, and one thread as several."""
    monkeypatch.setattr(headway.nn.linear, "_SMALLEST", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(headway.nn.linear, "_at_any_size", lambda: False)


def layer(*, inputs=7, outputs=5, bias=True, dtype=torch.float32):
    torch.manual_seed(2)
    return Linear(inputs, outputs, bias=bias, dtype=dtype)


def reference(linear, x):
    return nn.functional.linear(x, linear.weight, linear.bias)


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7,), (1, 7), (3, 7), (2, 3, 7), (2, 3, 5, 7), (0, 7), (2, 0, 7), (64, 7)])
def test_few_rows_without_gradients_take_onednn_and_give_the_same_numbers(forced, shape, bias):
    linear = layer(bias=bias)
    x = torch.randn(shape)
    with torch.no_grad(), Recorder() as recorder:
        y = linear(x)
    assert recorder.onednn
    assert y.shape == (*shape[:-1], 5)
    torch.testing.assert_close(y, reference(linear, x).detach(), rtol=1e-5, atol=1e-5)


@needs_onednn
@pytest.mark.parametrize("rows", [1, 2, 3, 11, 64])
def test_onednn_computes_in_full_float32(forced, rows):
    linear = layer(inputs=769, outputs=1031)
    x = torch.randn(rows, 769)
    with torch.inference_mode():
        y = linear(x)
    exact = x.double() @ linear.weight.detach().double().t() + linear.bias.detach().double()
    assert (y - exact).abs().max() < 1e-5


@needs_onednn
def test_onednn_reads_strided_rows_and_a_weight_that_is_part_of_another_tensor(forced):
    linear = layer()
    linear.weight = nn.Parameter(torch.randn(36)[1:].view(5, 7))
    x = torch.randn(3, 14)[:, ::2]
    with torch.no_grad(), Recorder() as recorder:
        y = linear(x)
    assert recorder.onednn
    torch.testing.assert_close(y, reference(linear, x).detach(), rtol=1e-5, atol=1e-5)


@contextmanager
def _without_mkldnn() -> Iterator[None]:
    torch.backends.mkldnn.enabled = False  # its `flags` sets more, and warns of it
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = True


@pytest.mark.parametrize(
    "context",
    [torch.enable_grad, lambda: torch.autocast("cpu", torch.bfloat16), _without_mkldnn],
    ids=["gradients", "autocast", "switched off"],
)
def test_gradients_autocast_and_a_switched_off_onednn_keep_torchs_own_linear(forced, context):
    linear = layer()
    x = torch.randn(3, 7)
    with torch.no_grad(), context(), Recorder() as recorder:
        y = linear(x)
        expected = reference(linear, x)
    assert not recorder.onednn
    torch.testing.assert_close(y, expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_keep_torchs_own_linear(forced, dtype):
    linear = layer(dtype=dtype)
    x = torch.randn(3, 7, dtype=dtype)
    with torch.no_grad(), Recorder() as recorder:
        y = linear(x)
    assert not recorder.onednn
    torch.testing.assert_close(y, reference(linear, x).detach(), rtol=0, atol=0)


def test_many_rows_keep_torchs_own_linear(forced):
    with torch.no_grad(), Recorder() as recorder:
        layer()(torch.randn(65, 7))
    assert not recorder.onednn


@needs_onednn
def test_many_rows_take_onednn_where_it_is_the_faster_one_for_them(forced, monkeypatch):
    monkeypatch.setattr(headway.nn.linear, "_at_any_size", lambda: True)
    with torch.no_grad(), Recorder() as recorder:
        layer()(torch.randn(65, 7))
    assert recorder.onednn


def test_one_thread_keeps_torchs_own_linear(forced, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    with torch.no_grad(), Recorder() as recorder:
        layer()(torch.randn(3, 7))
    assert not recorder.onednn


def test_small_matrices_keep_torchs_own_linear(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with torch.no_grad(), Recorder() as recorder:
        layer()(torch.randn(3, 7))
    assert not recorder.onednn


def test_a_tensor_of_a_class_of_its_own_keeps_torchs_own_linear(forced):
    class Named(torch.Tensor):
        pass

    with torch.no_grad(), Recorder() as recorder:
        layer()(torch.randn(3, 7).as_subclass(Named))
    assert not recorder.onednn


def test_a_wrong_width_is_told_in_torchs_own_words(forced):
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"3x6 and 7x5"):
        layer()(torch.randn(3, 6))


def test_gradients_are_those_of_torchs_linear(forced):
    linear, x = layer(), torch.randn(3, 7, requires_grad=True)
    linear(x).square().sum().backward()
    found = [linear.weight.grad, linear.bias.grad, x.grad]
    expected = torch.autograd.grad(reference(linear, x).square().sum(), [linear.weight, linear.bias, x])
    torch.testing.assert_close(found, list(expected), rtol=0, atol=0)


def test_a_compiler_sees_torchs_linear_in_one_graph(forced):
    seen = []

    def record(graph, inputs):
        seen.append(str(graph.graph))
        return graph.forward

    with torch.no_grad():
        torch.compile(layer(), backend=record, fullgraph=True)(torch.randn(3, 7))
    assert len(seen) == 1 and "linear" in seen[0] and "mkldnn" not in seen[0]


def test_its_parameters_are_those_of_torchs_linear():
    linear, plain = layer(), nn.Linear(7, 5)
    assert isinstance(linear, nn.Linear)
    plain.load_state_dict(linear.state_dict())
    torch.testing.assert_close(linear(torch.ones(7)), plain(torch.ones(7)), rtol=0, atol=0)


@needs_onednn
@pytest.mark.parametrize("tied", [True, False])
def test_gpt2_steps_through_onednn_equal_its_full_pass_through_torchs_linear(forced, tied):
    torch.manual_seed(3)
    sizes = {"vocabulary": 31, "context": 23, "width": 14, "n_layers": 3, "n_heads": 2, "initial_deviation": 0.6}
    model = GPT2(GPT2Config(**sizes, tied=tied)).eval()
    ids = torch.randint(31, (5, 11))
    with torch.enable_grad():
        expected = model(ids).detach()
    with Recorder() as recorder:
        state = model.start(rows=5)
        for at in range(11):
            logits, state = model.step(ids[:, at : at + 1], torch.ones(5, dtype=torch.int64), state)
            torch.testing.assert_close(logits, expected[:, at], rtol=1e-4, atol=1e-4)
    assert recorder.names.count("mkldnn._linear_pointwise.default") == 11 * (4 * 3 + 1)
