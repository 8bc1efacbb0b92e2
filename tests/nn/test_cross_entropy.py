import pytest
import torch
from torch.nn import functional

from headway.nn import cross_entropy
from headway.nn.cross_entropy import linear_cross_entropy

IGNORED = -100


def example(n=23, width=7, vocabulary=13, dtype=torch.float64):
    torch.manual_seed(3)
    hidden = torch.randn(n, width, dtype=dtype, requires_grad=True)
    weight = torch.randn(vocabulary, width, dtype=dtype, requires_grad=True)
    targets = torch.randint(vocabulary, (n,))
    targets[[2, 5, 22]] = IGNORED
    return hidden, weight, targets


def plain(hidden, weight, targets):
    return functional.cross_entropy(hidden @ weight.T, targets, ignore_index=IGNORED, reduction="sum")


@pytest.mark.parametrize("rows", [1, 5, 23, 100])
def test_loss_and_gradients_equal_those_of_all_logits_at_once(rows, monkeypatch):
    monkeypatch.setattr(cross_entropy, "_FEWEST_ROWS", 1)
    monkeypatch.setitem(cross_entropy._CHUNK, "cpu", 13 * rows)
    hidden, weight, targets = example(dtype=torch.float32)
    loss = linear_cross_entropy(hidden, weight, targets, ignored=IGNORED)
    found = torch.autograd.grad(loss / 3, (hidden, weight))
    expected_loss = plain(hidden, weight, targets)
    expected = torch.autograd.grad(expected_loss / 3, (hidden, weight))
    torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_without_gradients_the_loss_is_the_same_number():
    hidden, weight, targets = example(dtype=torch.float32)
    with torch.no_grad():
        quiet = linear_cross_entropy(hidden, weight, targets, ignored=IGNORED)
    assert not quiet.requires_grad
    torch.testing.assert_close(quiet, plain(hidden, weight, targets).detach(), rtol=1e-5, atol=1e-5)


def test_the_logits_of_a_long_batch_never_stand_in_memory_at_once(monkeypatch):
    monkeypatch.setattr(cross_entropy, "_FEWEST_ROWS", 1)
    monkeypatch.setitem(cross_entropy._CHUNK, "cpu", 4 * 13)
    largest = []
    real = functional.linear

    def watched(x, matrix):
        largest.append(len(x))
        return real(x, matrix)

    monkeypatch.setattr(functional, "linear", watched)
    hidden, weight, targets = example(dtype=torch.float32)
    linear_cross_entropy(hidden, weight, targets, ignored=IGNORED).backward()
    assert max(largest) == 4 and sum(largest) == 23


def test_where_no_target_counts_loss_and_gradients_are_zero():
    hidden, weight, targets = example(dtype=torch.float32)
    loss = linear_cross_entropy(hidden, weight, torch.full_like(targets, IGNORED), ignored=IGNORED)
    loss.backward()
    assert float(loss.detach()) == 0.0 and not bool(hidden.grad.any()) and not bool(weight.grad.any())


def test_under_autocast_the_products_are_rounded_and_the_loss_is_float32():
    hidden, weight, targets = example(dtype=torch.float32)
    exact = plain(hidden, weight, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = linear_cross_entropy(hidden, weight, targets, ignored=IGNORED)
    rounded.backward()
    assert rounded.dtype is hidden.grad.dtype is weight.grad.dtype is torch.float32
    assert float(rounded.detach()) != float(exact.detach())
    assert float(rounded.detach()) == pytest.approx(float(exact.detach()), rel=2e-2)


def test_a_frozen_matrix_gets_no_gradient_and_the_hidden_states_the_same_one():
    hidden, weight, targets = example(dtype=torch.float32)
    (expected,) = torch.autograd.grad(plain(hidden, weight, targets), (hidden,))
    frozen = weight.detach()
    linear_cross_entropy(hidden, frozen, targets, ignored=IGNORED).backward()
    assert frozen.grad is None
    torch.testing.assert_close(hidden.grad, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [5, 100])
def test_smoothing_and_a_bias_equal_those_of_all_logits_at_once(rows, monkeypatch):
    monkeypatch.setattr(cross_entropy, "_FEWEST_ROWS", 1)
    monkeypatch.setitem(cross_entropy._CHUNK, "cpu", 13 * rows)
    hidden, weight, targets = example(dtype=torch.float32)
    bias = torch.randn(13, requires_grad=True)
    asked = {"ignored": IGNORED, "smoothing": 0.1, "bias": bias}
    loss = linear_cross_entropy(hidden, weight, targets, **asked)
    expected_loss = functional.cross_entropy(
        hidden @ weight.T + bias, targets, ignore_index=IGNORED, reduction="sum", label_smoothing=0.1
    )
    torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(hidden, weight, targets, **asked), loss.detach())
    constant = linear_cross_entropy(hidden, weight, targets, **{**asked, "bias": bias.detach()})
    (to_hidden,) = torch.autograd.grad(constant, (hidden,))
    found = torch.autograd.grad(loss, (hidden, weight, bias))
    torch.testing.assert_close(to_hidden, found[0])
    for mine, theirs in zip(found, torch.autograd.grad(expected_loss, (hidden, weight, bias)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
