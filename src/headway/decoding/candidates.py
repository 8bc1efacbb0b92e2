"""One step of a beam search as a few tensor operations over all sentences: what ends, and what stays open."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headway.decoding.ranking import highest_in_rows
from headway.errors import FormatError

if TYPE_CHECKING:
    from torch import Tensor

_AT_ONCE = 2**18  # numbers whose exponentials are summed at once: what a processor's cache holds


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Continuations of N sentences' hypotheses, each sentence's ranked by their sums, best first: all (N, M).

    parents: which of the sentence's open hypotheses goes on with `ids`; totals: the sums of log-probabilities, -inf
    where the continuation is forbidden.
    """

    parents: "Tensor"
    ids: "Tensor"
    logprobs: "Tensor"
    totals: "Tensor"
    ends: "Tensor"

    def ended(self, beam: int) -> "Tensor":
        """(N, M), True where a continuation that ends is among the sentence's best `beam`."""
        found = self.ends & self.totals.isfinite()
        found[:, beam:] = False
        return found

    def open(self, beam: int) -> "Candidates":
        """(N, K): each sentence's best that do not end, at most `beam`; where it has fewer, totals are -inf."""
        stay = ~self.ends & self.totals.isfinite()
        width = min(beam, max(1, int(stay.sum(dim=1).max())))
        first = (~stay).byte().sort(dim=1, stable=True).indices[:, :width]
        return Candidates(
            parents=self.parents.gather(1, first),
            ids=self.ids.gather(1, first),
            logprobs=self.logprobs.gather(1, first),
            totals=self.totals.gather(1, first).masked_fill(~stay.gather(1, first), -float("inf")),
            ends=self.ends.gather(1, first),
        )


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Which ids end a hypothesis, which are never chosen, and how many (from 0) may be; `ends`, `forbidden` (E,)."""

    beam: int
    ends: "Tensor"
    forbidden: "Tensor"
    vocabulary: int | None


def best_candidates(logits: "Tensor", totals: "Tensor", may_end: "Tensor", rules: Rules) -> Candidates:
    """The continuations among which are each sentence's best `beam`, and its best `beam` that do not end.

    logits (N * K, V), on any device; totals (N, K), the sums so far; may_end (N,). What is found is on the CPU. Ties go
    to the hypothesis that ranked higher, then to the lower id. Raises FormatError for logits that are no numbers.
    """
    import torch

    special = rules.ends.shape[0] + rules.forbidden.shape[0]
    partition = log_partition(logits)
    values, ids = highest_in_rows(logits[:, : rules.vocabulary], rules.beam + special)
    # Differences in float64: logits that differ never become a tie. Rounding must not make a probability above 1.
    logprobs = (values.double() - partition[:, None]).clamp(max=0).cpu()  # (N * K, C)
    n_sentences, n_open = totals.shape
    n_ids = ids.shape[1]
    ids, logprobs = ids.cpu().reshape(n_sentences, -1), logprobs.reshape(n_sentences, n_open, n_ids)
    sums = (totals[:, :, None] + logprobs).flatten(1)  # (N, K * C)
    ends = torch.isin(ids, rules.ends)
    sums.masked_fill_(torch.isin(ids, rules.forbidden) | (ends & ~may_end[:, None]), -torch.inf)
    ranked = sums.sort(dim=1, descending=True, stable=True)
    order = ranked.indices
    return Candidates(
        parents=order // n_ids,
        ids=ids.gather(1, order),
        logprobs=logprobs.flatten(1).gather(1, order),
        totals=ranked.values,
        ends=ends.gather(1, order),
    )


def log_partition(logits: "Tensor") -> "Tensor":
    """(B, V) -> (B,) float64: the logarithm of the sum of exponentials, which makes logits log-probabilities.

    The exponentials are taken in float32, their error a ten-millionth. An id may have the logit -inf, which says that
    it is impossible. Raises FormatError where the sum is no number.
    """
    import torch

    wide = logits if logits.dtype in (torch.float32, torch.float64) else logits.float()
    highest = wide.amax(dim=-1, keepdim=True)
    n_parts = -(-wide.numel() // _AT_ONCE) if wide.device.type == "cpu" else 1
    parts = zip(wide.chunk(n_parts), highest.chunk(n_parts), strict=True)
    sums = torch.cat([(part - most).exp_().sum(dim=-1) for part, most in parts])
    found = highest[:, 0].double() + sums.double().log()
    if not bool(found.isfinite().all()):
        row = int((~found.isfinite()).nonzero()[0])
        wrong = logits[row][~(logits[row].isfinite() | (logits[row] == -torch.inf))].tolist()
        raise FormatError(
            f"the model's logits must be finite, but got {wrong[0] if wrong else -torch.inf}\n"
            "The weights are damaged or too large for this precision: load with dtype=float32, or get the model again."
        )
    return found
