"""The gated unit of Cho et al. 2014, in the form of Bahdanau, Cho, Bengio 2014, appendix A.1.1 and A.2.2.

s~_i = tanh(W x_i + U [r_i * s_{i-1}] + C c_i), s_i = (1 - z_i) * s_{i-1} + z_i * s~_i. The reset gate r works on the
state before the matrix U, and the update gate z weighs the new candidate; `torch.nn.GRU` does neither.
What does not depend on the state (W x and C c, the `terms`) is computed for all positions in one product beforehand.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from headway.nn.linear import Linear

_tanh_backward = torch.ops.aten.tanh_backward.grad_input
_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input


class GatedUnit(nn.Module):
    """The parameters of one unit; of 3N outputs the update gate's come first, then the reset's."""

    def __init__(self, inputs: int, width: int, *, context: int | None = None) -> None:
        """context: the width of c_i where the unit reads one."""
        super().__init__()
        self.width = width
        self.input = Linear(inputs, 3 * width)  # W_z, W_r, W and the biases
        self.gates = Linear(width, 2 * width, bias=False)  # U_z, U_r
        self.candidate = Linear(width, width, bias=False)  # U
        self.context = None if context is None else Linear(context, 3 * width, bias=False)  # C_z, C_r, C

    def advance(self, terms: Tensor, state: Tensor) -> Tensor:
        """One position: terms (B, 3N), state (B, N) -> the next state (B, N)."""
        update, reset, candidate = terms.chunk(3, dim=-1)
        recurrent_update, recurrent_reset = self.gates(state).chunk(2, dim=-1)
        z = torch.sigmoid(update + recurrent_update)
        r = torch.sigmoid(reset + recurrent_reset)
        return torch.lerp(state, torch.tanh(candidate + self.candidate(r * state)), z)

    def scan(self, terms: Tensor, initial: Tensor, *, padding: Tensor | None = None, backward: bool = False) -> Tensor:
        """All positions: terms (T, B, 3N), initial (B, N) -> (T + 1, B, N), the initial state among them.

        It stands first, or last where the positions are read `backward`. padding (T, B): True where the state stays
        exactly as it is. Runs in the precision of the weights, also under autocast.
        """
        dtype = self.gates.weight.dtype
        with torch.autocast(terms.device.type, enabled=False):
            states: Tensor = run_scan(
                terms.to(dtype), initial.to(dtype), self.gates.weight, self.candidate.weight, padding, backward
            )
            return states


class GatedLayer(nn.Module):
    """One unit that reads forward and, where `bidirectional`, another that reads backward (appendix A.2.1)."""

    def __init__(self, inputs: int, width: int, *, bidirectional: bool) -> None:
        super().__init__()
        self.forwards = GatedUnit(inputs, width)
        self.backwards = GatedUnit(inputs, width) if bidirectional else None

    def forward(self, x: Tensor, padding: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """x (T, B, D), padding (T, B) True behind a row's end -> states (T, B, N or 2N), each direction's last.

        The backward unit begins at each row's own last position. What stands on padding has no meaning.
        """
        initial = x.new_zeros(x.shape[1], self.forwards.width)
        ahead = self.forwards.scan(self.forwards.input(x), initial, padding=padding)
        if self.backwards is None:
            return ahead[1:], ahead[-1], None
        back = self.backwards.scan(self.backwards.input(x), initial, padding=padding, backward=True)
        return torch.cat([ahead[1:], back[:-1]], dim=-1), ahead[-1], back[0]


def run_scan(
    terms: Tensor, initial: Tensor, gates: Tensor, candidate: Tensor, padding: Tensor | None, backward: bool
) -> Tensor:
    """`GatedUnit.scan` with gradients written by hand."""
    states: Tensor = _Scan.apply(  # type: ignore[no-untyped-call]
        terms, initial, gates, candidate, padding, backward
    )
    return states


class _Scan(torch.autograd.Function):
    """The whole recurrence as one operation.

    Gradients by hand, because autograd would add up each weight's gradient position by position and keep a node for
    every small operation; here a weight's gradient is one product over all positions after the loop.
    """

    @staticmethod
    def forward(
        ctx: Any,
        terms: Tensor,
        initial: Tensor,
        gates_weight: Tensor,
        candidate_weight: Tensor,
        padding: Tensor | None,
        backward: bool,
    ) -> Tensor:
        n_positions, rows, width = terms.shape[0], terms.shape[1], initial.shape[1]
        states = terms.new_empty(n_positions + 1, rows, width)
        gates = terms.new_empty(n_positions, rows, 2 * width)
        damped = terms.new_empty(n_positions, rows, width)  # r * s, what U reads
        candidates = terms.new_empty(n_positions, rows, width)
        states[n_positions if backward else 0] = initial
        for at in _order(n_positions, backward):
            before, after = (states[at + 1], states[at]) if backward else (states[at], states[at + 1])
            gate, candidate = gates[at], candidates[at]
            torch.addmm(terms[at, :, : 2 * width], before, gates_weight.t(), out=gate)
            gate.sigmoid_()
            if padding is not None:
                gate[:, :width].masked_fill_(padding[at, :, None], 0.0)
            torch.mul(gate[:, width:], before, out=damped[at])
            torch.addmm(terms[at, :, 2 * width :], damped[at], candidate_weight.t(), out=candidate)
            candidate.tanh_()
            torch.lerp(before, candidate, gate[:, :width], out=after)
        ctx.save_for_backward(states, gates, damped, candidates, gates_weight, candidate_weight)
        ctx.backward = backward
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, states_grad: Tensor) -> tuple[Tensor | None, ...]:
        states, gates, damped, candidates, gates_weight, candidate_weight = ctx.saved_tensors
        backward = ctx.backward
        n_positions, rows, width = candidates.shape
        terms_grad = gates.new_empty(n_positions, rows, 3 * width)
        carry = states_grad[0 if backward else n_positions].clone()
        for at in _order(n_positions, not backward):
            place = at + 1 if backward else at
            carry = cell_backward(carry, states[place], gates[at], candidates[at], candidate_weight, terms_grad[at])
            carry.addmm_(terms_grad[at, :, : 2 * width], gates_weight)
            carry.add_(states_grad[place])
        before = states[1:] if backward else states[:-1]
        gates_grad = product(terms_grad[..., : 2 * width], before)
        candidate_grad = product(terms_grad[..., 2 * width :], damped)
        return terms_grad, carry, gates_grad, candidate_grad, None, None


def cell_backward(
    carry: Tensor, before: Tensor, gates: Tensor, candidate: Tensor, candidate_weight: Tensor, terms_grad: Tensor
) -> Tensor:
    """From the gradient of a new state to that of its terms, written into `terms_grad` (B, 3N).

    Returns the gradient of the state before, except for what comes through the gates.
    """
    width = candidate.shape[1]
    update, reset = gates[:, :width], gates[:, width:]
    update_grad, reset_grad, candidate_grad = terms_grad.chunk(3, dim=1)
    through = carry * update
    _tanh_backward(through, candidate, grad_input=candidate_grad)
    torch.sub(candidate, before, out=through).mul_(carry)
    _sigmoid_backward(through, update, grad_input=update_grad)
    torch.mm(candidate_grad, candidate_weight, out=through)  # the gradient of r * s
    carry = torch.addcmul(carry, carry, update, value=-1)
    carry.addcmul_(through, reset)
    _sigmoid_backward(through.mul_(before), reset, grad_input=reset_grad)
    return carry


def product(outputs_grad: Tensor, inputs: Tensor) -> Tensor:
    """A weight's gradient over all positions at once: (T, B, O) and (T, B, I) -> (O, I)."""
    return outputs_grad.flatten(0, 1).t() @ inputs.flatten(0, 1)


def _order(n_positions: int, backward: bool) -> range:
    return range(n_positions - 1, -1, -1) if backward else range(n_positions)
