"""Additive attention (Bahdanau, Cho, Bengio 2014, appendix A.1.2) and the gated unit that reads through it.

e_ij = v_a . tanh(W_a s_{i-1} + U_a h_j), alpha_i = softmax over j, c_i = sum_j alpha_ij h_j. U_a h_j is computed once
a source. A matrix that reads c_i is put before the sum, C c_i = sum_j alpha_ij (C h_j), so that it too is multiplied
once a source in one large product, not at every position.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from headway.nn.gated import GatedUnit, cell_backward, product
from headway.nn.linear import Linear

_tanh_backward = torch.ops.aten.tanh_backward.grad_input


class AdditiveAttention(nn.Module):
    """W_a, U_a with the bias of the alignment network, and v_a."""

    def __init__(self, state: int, annotation: int, alignment: int) -> None:
        """The widths of s, of h, and of the alignment network's hidden layer."""
        super().__init__()
        self.query = Linear(state, alignment, bias=False)  # W_a
        self.key = Linear(annotation, alignment)  # U_a
        self.score = nn.Parameter(torch.empty(alignment))  # v_a

    def weights(self, states: Tensor, keys: Tensor, mask: Tensor | None = None) -> Tensor:
        """states (B, T, N), keys (B, S, A) = U_a h, mask (B, S) True at a source's own positions -> (B, T, S)."""
        hidden = torch.tanh(self.query(states)[:, :, None] + keys[:, None])  # (B, T, S, A)
        scores = hidden @ self.score  # (B, T, S)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None], -torch.inf)
        return torch.softmax(scores, dim=-1)

    def scan(
        self, unit: GatedUnit, terms: Tensor, initial: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The unit over T positions, each of which first reads the source with the state before it.

        terms (T, B, 3N), initial (B, N), keys (B, S, A), values (B, S, 3N) = C h -> the states before each position
        (T, B, N) and the attention weights (B, T, S). Runs in the precision of the weights, also under autocast.
        """
        dtype = self.score.dtype
        given = [part.to(dtype) for part in (terms, initial, keys.contiguous(), values)]
        with torch.autocast(terms.device.type, enabled=False):
            reading = torch.cat([self.query.weight, unit.gates.weight])  # all that reads s: one product a position
            states, weights = _run_scan(given, [reading, unit.candidate.weight, self.score], mask)
            return states, weights


def _run_scan(given: list[Tensor], weights: list[Tensor], mask: Tensor | None) -> tuple[Tensor, Tensor]:
    states, alphas = _AttentiveScan.apply(*given, *weights, mask)  # type: ignore[no-untyped-call]
    return states, alphas


class _AttentiveScan(torch.autograd.Function):
    """The whole recurrence with its attention as one operation; see `gated._Scan` for why.

    The hidden layer of the alignment network (B, S, A) is computed again on the way back, since to keep it for every
    position would take T times the memory.
    """

    @staticmethod
    def forward(
        ctx: Any,
        terms: Tensor,
        initial: Tensor,
        keys: Tensor,
        values: Tensor,
        reading: Tensor,
        candidate_weight: Tensor,
        score: Tensor,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        n_positions, rows, width = terms.shape[0], terms.shape[1], initial.shape[1]
        alignment = keys.shape[2]
        states = terms.new_empty(n_positions, rows, width)
        gates = terms.new_empty(n_positions, rows, 2 * width)
        damped = terms.new_empty(n_positions, rows, width)
        candidates = terms.new_empty(n_positions, rows, width)
        alphas = terms.new_empty(rows, n_positions, keys.shape[1])
        queries = terms.new_empty(n_positions, rows, alignment)
        hidden, read = torch.empty_like(keys), terms.new_empty(rows, alignment + 2 * width)
        outside = None if mask is None else ~mask
        states[0] = initial
        for at in range(n_positions):
            before, gate, candidate = states[at], gates[at], candidates[at]
            torch.mm(before, reading.t(), out=read)
            queries[at] = read[:, :alignment]
            torch.add(keys, queries[at, :, None], out=hidden).tanh_()
            scores = hidden.view(-1, alignment).mv(score).view(rows, -1)
            if outside is not None:
                scores.masked_fill_(outside, -torch.inf)
            alpha = alphas[:, at] = torch.softmax(scores, dim=1)
            if at == n_positions - 1:
                break  # the state after the last position is read by none
            all_terms = torch.baddbmm(terms[at, :, None], alpha[:, None], values)[:, 0]
            torch.add(all_terms[:, : 2 * width], read[:, alignment:], out=gate).sigmoid_()
            torch.mul(gate[:, width:], before, out=damped[at])
            torch.addmm(all_terms[:, 2 * width :], damped[at], candidate_weight.t(), out=candidate).tanh_()
            torch.lerp(before, candidate, gate[:, :width], out=states[at + 1])
        ctx.save_for_backward(
            keys, values, reading, candidate_weight, score, states, gates, damped, candidates, queries, alphas
        )
        return states, alphas

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, states_grad: Tensor, alphas_grad: Tensor) -> tuple[Tensor | None, ...]:
        keys, values, reading, candidate_weight, score = ctx.saved_tensors[:5]
        states, gates, damped, candidates, queries, alphas = ctx.saved_tensors[5:]
        n_positions, rows, width = states.shape
        alignment = keys.shape[2]
        terms_grad = gates.new_zeros(n_positions, rows, 3 * width)
        read_grad = gates.new_zeros(n_positions, rows, alignment + 2 * width)
        keys_grad, score_grad = torch.zeros_like(keys), torch.zeros_like(score)
        hidden, slope = torch.empty_like(keys), torch.empty_like(keys)
        carry = torch.zeros_like(states[0])
        for at in range(n_positions - 1, -1, -1):
            alpha, alpha_grad = alphas[:, at], alphas_grad[:, at]
            if at < n_positions - 1:
                carry = cell_backward(carry, states[at], gates[at], candidates[at], candidate_weight, terms_grad[at])
                read_grad[at, :, alignment:] = terms_grad[at, :, : 2 * width]
                alpha_grad = torch.baddbmm(alpha_grad[:, :, None], values, terms_grad[at, :, :, None])[:, :, 0]
            scores_grad = torch.ops.aten._softmax_backward_data(alpha_grad, alpha, 1, alpha.dtype)
            torch.add(keys, queries[at, :, None], out=hidden).tanh_()
            score_grad.addmv_(hidden.view(-1, alignment).t(), scores_grad.reshape(-1))
            _tanh_backward(score.expand_as(hidden), hidden, grad_input=slope)
            torch.bmm(scores_grad[:, None], slope, out=read_grad[at, :, None, :alignment])
            keys_grad.addcmul_(slope, scores_grad[:, :, None])
            carry.addmm_(read_grad[at], reading)
            carry.add_(states_grad[at])
        values_grad = torch.bmm(alphas.transpose(1, 2), terms_grad.transpose(0, 1))
        reading_grad = product(read_grad, states)
        candidate_grad = product(terms_grad[:-1, :, 2 * width :], damped[:-1])
        return terms_grad, carry, keys_grad, values_grad, reading_grad, candidate_grad, score_grad, None
