"""Beam search: the continuations of highest probability, for a batch of sentences at once and every family.

At every step a sentence's continuations are ranked by their sums of log-probabilities: those of the best `beam` that
end are finished, the best `beam` that do not end stay open. A sentence is done once `beam` hypotheses are finished, so
that beam 1 is greedy decoding and the cost of a sentence is bounded; and before that where it changes no result, which
is when no open hypothesis can reach the score of the worst one that would be returned. Done sentences leave the model.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headway.decoding import window
from headway.decoding.candidates import Candidates, Rules, best_candidates
from headway.decoding.feed import begin, device_of, require_source
from headway.decoding.reading import Look, read
from headway.decoding.search import Hypothesis as Hypothesis
from headway.decoding.search import LengthPenalty as LengthPenalty
from headway.decoding.search import Search as Search
from headway.errors import UsageError
from headway.models.protocol import AnyDecoder

if TYPE_CHECKING:
    from torch import Tensor

_LEAST_COVERAGE = 1e-9  # of a source position that nothing reads: its logarithm must stay a number


# Six parameters, each a plain value of the search that callers name.
def beam_search(
    model: AnyDecoder,
    prompts: Sequence[Sequence[int]],
    search: Search,
    *,
    sources: Sequence[Sequence[int]] | None = None,
    end_ids: frozenset[int] = frozenset(),
    vocabulary: int | None = None,
) -> list[list[Hypothesis]]:
    """Each sentence's hypotheses, at most `search.n_best`, the best first; a result does not depend on the batch.

    prompts: what each hypothesis begins with: the text so far, or a source's start id and a forced prefix. Hypotheses
    that reached their limit without an end id compete too, by the same score. vocabulary: only ids below it are tried
    (None: all); log-probabilities are over the full vocabulary all the same. Ties go to the hypothesis that ranked
    higher before, then to the lower id. Past the context see window.py. Raises UsageError for an empty prompt or
    source and for ids that leave nothing to choose, ContextError for a source past the context, FormatError for logits
    that are not finite.
    """
    import torch

    _check(model, prompts, search, sources)
    if not prompts:
        return []
    with torch.inference_mode():
        searching = _Searching(model, prompts, sources, search, _rules(search, end_ids, vocabulary))
        while searching.numbers:
            searching.advance()
    return searching.results


class _Searching:
    """A search under way over N sentences, each with K open hypotheses, the best first."""

    def __init__(
        self,
        model: AnyDecoder,
        prompts: Sequence[Sequence[int]],
        sources: Sequence[Sequence[int]] | None,
        search: Search,
        rules: Rules,
    ) -> None:
        import torch

        self._model, self._prompts, self._search, self._rules = model, prompts, search, rules
        self._sources: Sequence[Sequence[int] | None] = [None] * len(prompts) if sources is None else sources
        self.results: list[list[Hypothesis]] = [[] for _ in prompts]
        self.numbers = list(range(len(prompts)))  # the sentences that are not done
        bounds = [search.bounds(*pair) for pair in zip(prompts, self._sources, strict=True)]
        self._least, self._most = torch.tensor(bounds).unbind(1)  # (N,) each, new tokens
        lengths = range(int(self._most.max()) + 2)
        self._penalties = torch.tensor([search.penalty(max(1, n)) for n in lengths], dtype=torch.float64)
        self._n_finished = torch.zeros(len(prompts), dtype=torch.int64)
        self._worst = torch.full((len(prompts),), -torch.inf, dtype=torch.float64)  # score that would be returned
        fits = [window.fitting(prompt, model.context) for prompt in prompts]
        self._windowed = torch.tensor([len(f) < len(p) for f, p in zip(fits, prompts, strict=True)])
        self._held = torch.tensor([len(ids) for ids in fits])
        self._totals = torch.zeros(len(prompts), 1, dtype=torch.float64)
        self._ids = torch.zeros(len(prompts), 1, 0, dtype=torch.int64)  # (N, K, T), new tokens
        self._logprobs = torch.zeros(len(prompts), 1, 0, dtype=torch.float64)
        state = begin(model, self._sources, self.numbers)
        look = search.coverage_penalty > 0
        self._logits, self._state, self._seen = read(model, state, fits, look=look, whole=True)  # _seen (N * K, S)

    def advance(self) -> None:
        """Take each hypothesis one id further; a step of the model for those that go on."""
        import torch

        beam, n_new, n_open = self._search.beam, self._ids.shape[2] + 1, self._totals.shape[1]
        found = best_candidates(self._logits, self._totals, n_new >= self._least, self._rules)
        coverage = self._coverage()
        self._close(found, found.ended(beam), coverage, finished=True)
        stay = found.open(beam)
        at_limit = n_new >= self._most
        competing = at_limit & (self._n_finished < beam)
        self._close(stay, stay.totals.isfinite() & competing[:, None], coverage, finished=False)
        # Sums only fall from here on, and a coverage penalty is never above 0: no open hypothesis gets past this.
        reachable = stay.totals.amax(dim=1) / self._penalties[self._most].clamp(min=float(self._penalties[n_new + 1]))
        done = at_limit | (self._n_finished >= beam) | (reachable <= self._worst) | reachable.isinf()
        rows = torch.arange(len(self.numbers))[:, None] * n_open + stay.parents
        self._totals = stay.totals
        self._ids = _continued(self._ids, stay.parents, stay.ids)
        self._logprobs = _continued(self._logprobs, stay.parents, stay.logprobs)
        if bool(done.any()):
            for at in done.nonzero()[:, 0].tolist():
                self._return(self.numbers[at])
            going = (~done).nonzero()[:, 0]
            self._keep(going)
            rows = rows[going]
        if self.numbers:
            self._step(rows)

    def _step(self, rows: "Tensor") -> None:
        """Feed the latest id of each open hypothesis, which goes on from the model's row `rows` (N, K)."""
        import torch

        context = self._model.context
        full = self._held >= context if context is not None else None
        if full is not None and bool(full.any()):
            self._restart(rows, full)
            return
        device = device_of(self._model)
        state = self._state.select(rows.flatten())
        seen = self._seen
        look = None if seen is None else Look()
        new = self._ids[:, :, -1].reshape(-1, 1).to(device)
        ones = torch.ones(new.shape[0], dtype=torch.int64)
        self._logits, self._state = self._model.step(new, ones, state, trace=look)  # type: ignore[arg-type]
        self._held = self._held + 1
        if seen is not None and look is not None:
            self._seen = _added(seen[rows.flatten()], look.found()[:, -1])

    def _restart(self, rows: "Tensor", full: "Tensor") -> None:
        """As `_step`, where some sentences' rows are full and start anew from their last ids; these come last then."""
        import torch

        context, n_open = self._model.context, rows.shape[1]
        assert context is not None
        n_going = int((~full).sum())
        order = full.byte().sort(stable=True).indices
        self._keep(order)
        rows = rows[order]
        last = self.numbers[n_going:]
        texts = [
            window.restart([*self._prompts[number], *ids.tolist()], context)
            for number, hypotheses in zip(last, self._ids[n_going:], strict=True)
            for ids in hypotheses
        ]
        sources = [self._sources[number] for number in last]
        state = begin(self._model, sources, [at for at in range(len(last)) for _ in range(n_open)])
        going, seen = rows[:n_going], self._seen
        logits, state, looked = read(self._model, state, texts, look=seen is not None, whole=False)
        held = len(texts[0])
        if n_going:
            new = [[token] for token in self._ids[:n_going, :, -1].flatten().tolist()]
            others = self._state.select(going.flatten())
            first, others, looked_first = read(self._model, others, new, look=seen is not None, whole=True)
            logits, state = torch.cat([first, logits]), others.join(state)
            if looked is not None and looked_first is not None:
                looked = _stacked(looked_first, looked)
        self._logits, self._state = logits, state
        self._held[:n_going] += 1
        self._held[n_going:] = held
        self._windowed[n_going:] = True
        if seen is not None:
            self._seen = _added(seen[rows.flatten()], looked)

    def _keep(self, sentences: "Tensor") -> None:
        """Keep or reorder sentences; the model's rows follow by themselves."""
        self.numbers = [self.numbers[at] for at in sentences.tolist()]
        self._least, self._most = self._least[sentences], self._most[sentences]
        self._n_finished, self._worst = self._n_finished[sentences], self._worst[sentences]
        self._held, self._windowed = self._held[sentences], self._windowed[sentences]
        self._totals, self._ids = self._totals[sentences], self._ids[sentences]
        self._logprobs = self._logprobs[sentences]

    def _close(self, found: Candidates, which: "Tensor", coverage: "Tensor | None", *, finished: bool) -> None:
        """Put the continuations at `which` (N, M) among their sentences' results."""
        search = self._search
        for at, place in which.nonzero().tolist():
            parent = int(found.parents[at, place])
            score = float(found.totals[at, place]) / search.penalty(self._ids.shape[2] + 1)
            if coverage is not None:
                score += float(coverage[at, parent])
            results = self.results[self.numbers[at]]
            results.append(
                Hypothesis(
                    ids=(*self._ids[at, parent].tolist(), int(found.ids[at, place])),
                    score=score,
                    logprobs=(*self._logprobs[at, parent].tolist(), float(found.logprobs[at, place])),
                    finished=finished,
                    windowed=bool(self._windowed[at]),
                )
            )
            self._n_finished[at] += 1
            if len(results) >= search.n_best:
                self._worst[at] = sorted((one.score for one in results), reverse=True)[search.n_best - 1]

    def _return(self, number: int) -> None:
        results = self.results[number]
        if not results:
            raise UsageError(
                "a search must have ids to choose from, but forbidden_ids and the shortest length leave none\n"
                "Forbid fewer ids."
            )
        results.sort(key=lambda one: -one.score)
        del results[self._search.n_best :]

    def _coverage(self) -> "Tensor | None":
        """(N, K): the coverage penalty, which is below 0 where a hypothesis has left out some of its source."""
        import torch

        if self._seen is None:
            return None
        n_sentences, n_open = self._totals.shape
        seen = self._seen.view(n_sentences, n_open, -1)
        lengths = torch.tensor([len(self._sources[number] or ()) for number in self.numbers])
        inside = torch.arange(seen.shape[2]) < lengths[:, None, None]
        logs = seen.clamp(min=_LEAST_COVERAGE, max=1.0).log().masked_fill(~inside, 0.0)
        return self._search.coverage_penalty * logs.sum(dim=2)


def _check(
    model: AnyDecoder,
    prompts: Sequence[Sequence[int]],
    search: Search,
    sources: Sequence[Sequence[int]] | None,
) -> None:
    if not all(len(prompt) for prompt in prompts):
        raise UsageError("a prompt must have at least one id; start from the end-of-text id where there is none")
    if sources is None:
        named = [name for name in ("max_ratio", "min_ratio", "coverage_penalty") if getattr(search, name)]
        if named:
            raise UsageError(f"{' and '.join(named)} need sources, and there are none\nUse max_new_tokens instead.")
        return
    if len(sources) != len(prompts):
        raise UsageError(f"a search takes one source a prompt, but got {len(sources)} for {len(prompts)}")
    for source in sources:
        require_source(model, source)


def _rules(search: Search, end_ids: frozenset[int], vocabulary: int | None) -> Rules:
    import torch

    ends, forbidden = (
        torch.tensor(sorted(ids), dtype=torch.int64) for ids in (end_ids - search.forbidden_ids, search.forbidden_ids)
    )
    return Rules(beam=search.beam, ends=ends, forbidden=forbidden, vocabulary=vocabulary)


def _continued(before: "Tensor", parents: "Tensor", new: "Tensor") -> "Tensor":
    """(N, K, T), parents and new (N, L) -> (N, L, T + 1)."""
    import torch

    kept = before.gather(1, parents[:, :, None].expand(-1, -1, before.shape[2]))
    return torch.cat([kept, new[:, :, None]], dim=2)


def _stacked(first: "Tensor", second: "Tensor") -> "Tensor":
    """(B, S) and (C, U) -> (B + C, max(S, U))."""
    import torch

    width = max(first.shape[1], second.shape[1])
    return torch.cat([torch.nn.functional.pad(x, (0, width - x.shape[1])) for x in (first, second)])


def _added(before: "Tensor", new: "Tensor | None") -> "Tensor":
    """(B, S) each; the model may show fewer positions once the longest source is done, or more after a restart."""
    assert new is not None
    width = min(before.shape[1], new.shape[1])
    return before[:, :width] + new[:, :width]
