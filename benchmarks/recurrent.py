"""How fast does an RNNsearch or RNN encoder-decoder learn, beside a plain loop over single positions?

`python benchmarks/recurrent.py` prints target tokens per second of one training step (forward, loss, backward) of the
small presets: ours, and the same network as a textbook writes it, `PlainRNNSearch`: every position a handful of torch
operations, in the encoder and in the decoder, with attention, unit and output at each; U_a h at every position, as the
equations read ("plain"), or once a source ("plain, keys once"). The same weights, the same numbers. Medians of
repeats in turn.
"""

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from headway.models.rnn_search import PRESETS, RNNSearch, RNNSearchConfig
from headway.nn.cross_entropy import linear_cross_entropy


class PlainUnit(nn.Module):
    """The gated unit at one position."""

    def __init__(self, inputs: int, width: int, context: int | None = None) -> None:
        super().__init__()
        self.input = nn.ModuleList(nn.Linear(inputs, width) for _ in range(3))
        self.recurrent = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(3))
        self.context = nn.ModuleList(nn.Linear(context or 0, width, bias=False) for _ in range(3 if context else 0))

    def forward(self, x: Tensor, state: Tensor, context: Tensor | None = None) -> Tensor:
        terms = [layer(x) for layer in self.input]
        if context is not None:
            terms = [term + layer(context) for term, layer in zip(terms, self.context, strict=True)]
        z = torch.sigmoid(terms[0] + self.recurrent[0](state))
        r = torch.sigmoid(terms[1] + self.recurrent[1](state))
        candidate = torch.tanh(terms[2] + self.recurrent[2](r * state))
        return (1 - z) * state + z * candidate


class PlainRNNSearch(nn.Module):
    """The paper's appendix A, position by position; sources of one length."""

    def __init__(self, config: RNNSearchConfig, *, keys_once: bool = False) -> None:
        super().__init__()
        m, n, d, a, o = config.embedding, config.width, config.annotation, config.aligning, config.maxout
        self.additive, self.keys_once = config.attention == "additive", keys_once
        self.source_embedding = nn.Embedding(config.source_ids, m)
        self.target_embedding = nn.Embedding(config.vocabulary, m)
        self.forwards, self.backwards = PlainUnit(m, n), PlainUnit(m, n)
        self.initial_state = nn.Linear(n, n)
        self.query, self.key = nn.Linear(n, a, bias=False), nn.Linear(d, a)
        self.score = nn.Linear(a, 1, bias=False)
        self.decoder = PlainUnit(m, n, d)
        self.from_state, self.from_embedding = nn.Linear(n, 2 * o, bias=False), nn.Linear(m, 2 * o)
        self.from_context = nn.Linear(d, 2 * o, bias=False)
        self.output = nn.Linear(o, config.vocabulary, bias=False)
        if config.tied:
            self.output.weight = self.target_embedding.weight
        if config.shared:
            self.source_embedding.weight = self.target_embedding.weight

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """source (B, S), target (B, T) -> logits (B, T, V)."""
        annotations, state, summary = self.encode(source)
        keys = self.key(annotations)
        logits = []
        for position in target.unbind(1):
            embedded = self.target_embedding(position)
            context = summary
            if self.additive:
                keys = keys if self.keys_once else self.key(annotations)
                scores = self.score(torch.tanh(self.query(state)[:, None] + keys))[:, :, 0]
                context = (torch.softmax(scores, dim=1)[:, None] @ annotations)[:, 0]
            deep = self.from_state(state) + self.from_embedding(embedded) + self.from_context(context)
            logits.append(self.output(torch.maximum(*deep.chunk(2, dim=1))))
            state = self.decoder(embedded, state, context)
        return torch.stack(logits, dim=1)

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Annotations (B, S, D), the decoder's initial state (B, N), the summary (B, D)."""
        embedded = [self.source_embedding(position) for position in source.unbind(1)]
        ahead, back = [], []
        state = other = embedded[0].new_zeros(len(source), self.initial_state.in_features)
        for x in embedded:
            state = self.forwards(x, state)
            ahead.append(state)
        for x in reversed(embedded):
            other = self.backwards(x, other)
            back.append(other)
        annotations = torch.stack([torch.cat(pair, dim=1) for pair in zip(ahead, reversed(back), strict=True)], dim=1)
        return annotations, torch.tanh(self.initial_state(other)), torch.cat([state, other], dim=1)

    @torch.no_grad()
    def take_weights(self, model: RNNSearch) -> None:
        """The weights of one of ours, without layer norm and with two directions."""
        assert model.encoder.backwards is not None
        pairs = [(self.forwards, model.encoder.forwards), (self.backwards, model.encoder.backwards)]
        for plain, unit in [*pairs, (self.decoder, model.decoder)]:
            _copy(plain.input, unit.input.weight, unit.input.bias)
            _copy(plain.recurrent, torch.cat([unit.gates.weight, unit.candidate.weight]))
            if unit.context is not None:
                _copy(plain.context, unit.context.weight)
        for name in ("source_embedding", "target_embedding", "initial_state", "output"):
            getattr(self, name).load_state_dict(getattr(model, name).state_dict())
        for name in ("from_state", "from_embedding", "from_context"):
            getattr(self, name).load_state_dict(getattr(model.deep_output, name).state_dict())
        if model.attention is not None:
            self.query.load_state_dict(model.attention.query.state_dict())
            self.key.load_state_dict(model.attention.key.state_dict())
            self.score.weight.copy_(model.attention.score[None])


def _copy(layers: nn.ModuleList, weight: Tensor, bias: Tensor | None = None) -> None:
    for at, layer in enumerate(layers):
        assert isinstance(layer, nn.Linear)
        layer.weight.copy_(weight.chunk(3)[at])
        if bias is not None:
            layer.bias.copy_(bias.chunk(3)[at])


Step = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Source, target inputs, targets -> loss."""


def steps_of(config: RNNSearchConfig) -> dict[str, tuple[nn.Module, Step]]:
    """Each side's model, and its loss; without dropout and layer norm, which the plain one has not."""
    config = dataclasses.replace(config, embedding_dropout=0.0, output_dropout=0.0, layer_norm=False)
    ours = RNNSearch(config)
    sides: dict[str, tuple[nn.Module, Step]] = {}

    def our_loss(source: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        hidden = ours(source, None, inputs, hidden=True).flatten(0, 1)
        return linear_cross_entropy(hidden, ours.output.weight, targets.flatten(), ignored=-100)

    sides["ours"] = (ours, our_loss)
    names = {"plain": False, "plain, keys once": True} if config.attention == "additive" else {"plain": False}
    for name, keys_once in names.items():
        plain = PlainRNNSearch(config, keys_once=keys_once)
        plain.take_weights(ours)

        def plain_loss(source: Tensor, inputs: Tensor, targets: Tensor, plain: nn.Module = plain) -> Tensor:
            return functional.cross_entropy(plain(source, inputs).flatten(0, 1), targets.flatten(), reduction="sum")

        sides[name] = (plain, plain_loss)
    return sides


def seconds(model: nn.Module, loss: Step, batch: tuple[Tensor, Tensor, Tensor]) -> float:
    """One training step without the optimizer's part, which is the same for all."""
    model.zero_grad()
    started = time.perf_counter()
    loss(*batch).backward()  # type: ignore[no-untyped-call]
    return time.perf_counter() - started


def compare(config: RNNSearchConfig, rows: int, length: int, repeats: int) -> dict[str, float]:
    """The median target tokens per second of each side, in turn; the first round warms up."""
    batch = (torch.randint(config.source_ids, (rows, length)), *torch.randint(config.vocabulary, (2, rows, length)))
    sides = steps_of(config)
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats + 1):
        for name, (model, loss) in sides.items():
            taken[name].append(seconds(model, loss, batch))
    return {name: rows * length / statistics.median(found[1:]) for name, found in taken.items()}


def main() -> None:
    """Print one line a preset and batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", choices=sorted(PRESETS), default=["rnn-fixed-small", "rnnsearch-small"])
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--length", type=int, default=12, help="tokens of each source and of each target")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(1)
    print(f"training, target tokens/s, {given.threads} threads, {given.length} tokens, median of {given.repeats}")
    for preset in given.presets:
        for rows in given.batches:
            speeds = compare(PRESETS[preset], rows, given.length, given.repeats)
            parts = [f"{name} {speed:7.0f}" for name, speed in speeds.items()]
            parts += [f"{speeds['ours'] / speed:.2f} x {name}" for name, speed in speeds.items() if name != "ours"]
            print(f"{preset:16s} batch {rows:4d}: {', '.join(parts)}", flush=True)


if __name__ == "__main__":
    main()
