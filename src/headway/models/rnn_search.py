"""RNNsearch (Bahdanau, Cho, Bengio 2014, "Neural Machine Translation by Jointly Learning to Align and Translate").

And, one setting away, the RNN encoder-decoder (Cho et al. 2014), whose decoder reads one fixed summary of the source
instead of attending to it. Settings, presets, then the model in the order of the paper's appendix A.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from headway.errors import ConfigError, ContextError, UsageError
from headway.nn.additive import AdditiveAttention
from headway.nn.gated import GatedLayer, GatedUnit
from headway.nn.linear import Linear
from headway.nn.recurrent_state import RecurrentShape, RecurrentState
from headway.nn.source_memory import SourceMemory
from headway.nn.trace import Ablation, Trace

_LARGEST = {"vocabulary": 2**24, "source_vocabulary": 2**24, "context": 2**20}
_EMBEDDING_SHARE = 5 / 7  # of the width; measured: docs/recurrent.md
_MOST_IN_TABLES = 0.6
_LARGEST |= dict.fromkeys(("width", "embedding", "alignment", "maxout"), 2**16)


@dataclass(frozen=True, kw_only=True)
class RNNSearchConfig:
    """The sizes and choices of an RNNsearch or RNN encoder-decoder; the defaults are the paper's.

    width: n, a hidden state's, in each direction. alignment: n', the alignment network's; None means width. maxout: l,
    what the output matrix reads. attention "fixed": the decoder reads one summary of the source, the last forward
    state, joined with the last backward state where `bidirectional`. tied: the output matrix is the target embedding;
    shared: so is the source embedding. layer_norm: of the annotations (or the summary) and of the deep output.
    context: most tokens of a source and of a target row; None: unlimited.
    """

    vocabulary: int = 30_000
    source_vocabulary: int | None = None
    context: int | None = None
    width: int = 1000
    embedding: int = 620
    alignment: int | None = None
    maxout: int = 500
    attention: Literal["additive", "fixed"] = "additive"
    bidirectional: bool = True
    tied: bool = False
    shared: bool = False
    embedding_dropout: float = 0.0
    output_dropout: float = 0.0
    layer_norm: bool = False
    initial: Literal["paper", "modern"] = "paper"
    foreign: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, largest in _LARGEST.items():
            value = getattr(self, name)
            if value is not None and not 1 <= value <= largest:
                raise ConfigError(f"{name} must be in 1..{largest}, but got {name}={value}")
        for name, known in (("attention", ("additive", "fixed")), ("initial", ("paper", "modern"))):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} must be one of {', '.join(known)}, but got {getattr(self, name)!r}")
        for name in ("embedding_dropout", "output_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"{name} must be in 0..1 (1 excluded), but got {getattr(self, name)}")
        if self.tied and self.maxout != self.embedding:
            raise ConfigError(
                f"tied needs maxout equal to embedding, but got maxout={self.maxout}, embedding={self.embedding}"
            )
        if self.shared and self.source_vocabulary not in (None, self.vocabulary):
            raise ConfigError(
                "shared needs one vocabulary for both sides, but got "
                f"source_vocabulary={self.source_vocabulary}, vocabulary={self.vocabulary}"
            )

    @property
    def source_ids(self) -> int:
        """How many ids the source has."""
        return self.vocabulary if self.source_vocabulary is None else self.source_vocabulary

    @property
    def aligning(self) -> int:
        """The alignment network's width n'."""
        return self.width if self.alignment is None else self.alignment

    @property
    def annotation(self) -> int:
        """The width of an annotation h_j, and of the summary."""
        return 2 * self.width if self.bidirectional else self.width

    def n_parameters(self) -> int:
        """How many numbers the model holds, counted without building it."""
        n, m, d, a, o = self.width, self.embedding, self.annotation, self.aligning, self.maxout
        embeddings = (self.vocabulary + (0 if self.shared else self.source_ids)) * m
        unit = 3 * (m * n + n * n + n)
        encoder = unit * (2 if self.bidirectional else 1)
        decoder = unit + 3 * d * n + n * n + n
        attention = (n + d + 2) * a if self.attention == "additive" else 0
        deep = 2 * o * (n + m + d + 1) + (0 if self.tied else self.vocabulary * o)
        norms = 2 * d + 4 * o if self.layer_norm else 0
        return embeddings + encoder + decoder + attention + deep + norms


def sized(
    n_parameters: int, *, vocabulary: int, attention: Literal["additive", "fixed"] = "additive"
) -> RNNSearchConfig:
    """The practical settings for one joint vocabulary, as wide as comes nearest to that number of parameters.

    Each side has an embedding of its own, and the output a matrix, unless the three would take most of the numbers;
    then they are one. Rows of a table cost no arithmetic to read, so tables of their own leave the fastest model.
    """
    apart = _nearest(n_parameters, vocabulary, attention, one=False)
    if 3 * vocabulary * apart.embedding <= _MOST_IN_TABLES * apart.n_parameters():
        return apart
    return _nearest(n_parameters, vocabulary, attention, one=True)


def _nearest(
    n_parameters: int, vocabulary: int, attention: Literal["additive", "fixed"], *, one: bool
) -> RNNSearchConfig:
    choices = (
        RNNSearchConfig(
            vocabulary=vocabulary,
            width=width,
            embedding=4 * round(width / 4 * _EMBEDDING_SHARE),
            maxout=4 * round(width / 4 * _EMBEDDING_SHARE),
            attention=attention,
            tied=one,
            shared=one,
            embedding_dropout=0.1,
            output_dropout=0.1,
            layer_norm=True,
            initial="modern",
        )
        for width in range(4, 4097, 4)
    )
    return min(choices, key=lambda config: abs(config.n_parameters() - n_parameters))


PRESETS: dict[str, RNNSearchConfig] = {
    "rnnenc-50": RNNSearchConfig(attention="fixed", bidirectional=False),
    "rnnsearch-50": RNNSearchConfig(),
    "rnn-fixed-small": sized(3_600_000, vocabulary=4096, attention="fixed"),
    "rnnsearch-small": sized(3_600_000, vocabulary=4096),
}
"""The paper's (appendices A and B, of which the 50 is the longest sentence trained on), and practical ones of today."""


class DeepOutput(nn.Module):
    """t~ = U_o s_{i-1} + V_o E y_{i-1} + C_o c_i, and the larger of each pair (appendix A.2.2).

    The paper's equation 4 has s_i in place of s_{i-1}; its appendix, followed here, computes with s_{i-1}. Pair j is
    (j, j + l) of t~, where the paper has neighbours: a renaming of units that the processor reads faster.
    """

    def __init__(self, config: RNNSearchConfig) -> None:
        super().__init__()
        self.from_state = Linear(config.width, 2 * config.maxout, bias=False)  # U_o
        self.from_embedding = Linear(config.embedding, 2 * config.maxout)  # V_o
        self.from_context = Linear(config.annotation, 2 * config.maxout, bias=False)  # C_o
        self.norm = nn.LayerNorm(2 * config.maxout) if config.layer_norm else nn.Identity()

    def forward(self, states: Tensor, embedded: Tensor, read: Tensor) -> Tensor:
        """states (..., N), embedded (..., M), read (..., 2L) = C_o c -> (..., L)."""
        both = self.norm(self.from_state(states) + self.from_embedding(embedded) + read)
        first, second = both.chunk(2, dim=-1)
        return torch.maximum(first, second)


class RNNSearch(nn.Module):
    """Source and target ids in, next-token logits out; a decoder and an encoder by models/protocol.py."""

    def __init__(self, config: RNNSearchConfig) -> None:
        """Random weights as `config.initial` says; built on the meta device it has none until they are loaded."""
        super().__init__()
        self.config = config
        self.target_embedding = nn.Embedding(config.vocabulary, config.embedding)  # first: its name is the shared one's
        self.source_embedding = nn.Embedding(config.source_ids, config.embedding)
        self.embedding_dropout = nn.Dropout(config.embedding_dropout)
        self.encoder = GatedLayer(config.embedding, config.width, bidirectional=config.bidirectional)
        self.annotation_norm = nn.LayerNorm(config.annotation) if config.layer_norm else nn.Identity()
        self.initial_state = Linear(config.width, config.width)  # W_s
        self.attention = (
            AdditiveAttention(config.width, config.annotation, config.aligning)
            if config.attention == "additive"
            else None
        )
        self.decoder = GatedUnit(config.embedding, config.width, context=config.annotation)
        self.deep_output = DeepOutput(config)
        self.output_dropout = nn.Dropout(config.output_dropout)
        self.output = Linear(config.maxout, config.vocabulary, bias=False)  # W_o
        if config.tied:
            self.output.weight = self.target_embedding.weight
        if config.shared:
            self.source_embedding.weight = self.target_embedding.weight
        if not self.output.weight.is_meta:
            self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Draw fresh weights from torch's global generator.

        "paper" (appendix B.1): recurrent matrices orthogonal, W_a and U_a normal with deviation 0.001, v_a and biases
        zero, all others normal with deviation 0.01. "modern": what is said in docs/recurrent.md.
        """
        modern = self.config.initial == "modern"
        for name, parameter in self.named_parameters():
            if "norm" in name and name.endswith("weight"):
                parameter.fill_(1.0)
            elif name.endswith((".bias", ".score")):
                parameter.zero_()
            elif name.endswith((".gates.weight", ".candidate.weight")):
                for square in parameter.view(-1, parameter.shape[1], parameter.shape[1]):
                    square.copy_(_orthogonal(square))
            elif modern:
                embedding = "embedding.weight" in name and "from" not in name
                embedding = embedding or (name == "output.weight" and self.config.tied)
                parameter.normal_(0.0, 0.1 if embedding else math.sqrt(1.0 / parameter.shape[1]))
            else:
                parameter.normal_(0.0, 0.001 if name.startswith("attention.") else 0.01)
        if modern and self.attention is not None:
            self.attention.score.normal_(0.0, math.sqrt(1.0 / self.config.aligning))

    @property
    def context(self) -> int | None:
        """How many tokens a row may hold; None: unlimited."""
        return self.config.context

    def encode(
        self,
        ids: Tensor,
        lengths: Tensor | None,
        segments: Tensor | None = None,
        trace: Trace | None = None,
        ablate: Ablation | None = None,
    ) -> Tensor:
        """ids (B, S) right-padded, lengths (B,) -> annotations (B, S, D); those on padding have no meaning.

        Raises UsageError for an empty source, or segments, ContextError for one past the context.
        """
        if segments is not None or ablate:
            raise UsageError("this encoder has no segments and no heads: leave segments and ablate out")
        return self._encode(ids, lengths)[0]

    def forward(
        self,
        source: Tensor,
        source_lengths: Tensor | None,
        target: Tensor,
        target_lengths: Tensor | None = None,
        *,
        hidden: bool = False,
    ) -> Tensor:
        """source (B, S), target (B, T), both right-padded -> logits (B, T, V) after each target position.

        With `hidden` what the output matrix would read, (B, T, L). source_lengths None: all S; `target_lengths` is
        taken for the sake of the other families: right padding cannot reach an earlier position here.
        """
        self._check_length(target.shape[1])
        annotations, initial, summary = self._encode(source, source_lengths)
        embedded = self.embedding_dropout(self.target_embedding(target.t()))  # (T, B, M)
        terms = self.decoder.input(embedded)  # (T, B, 3N)
        assert self.decoder.context is not None
        if self.attention is None:
            terms = terms[:-1] + self.decoder.context(summary)
            states = self.decoder.scan(terms, initial)  # (T, B, N)
            read = self.deep_output.from_context(summary)  # (B, 2L)
        else:
            mask = _mask(source_lengths, source.shape[1], source.device)
            keys, values = self.attention.key(annotations), self.decoder.context(annotations)
            states, weights = self.attention.scan(self.decoder, terms, initial, keys, values, mask)
            readable = self.deep_output.from_context(annotations)  # (B, S, 2L)
            read = (weights.to(readable.dtype) @ readable).transpose(0, 1)  # (B, T, 2L) -> (T, B, 2L)
        x = self.output_dropout(self.deep_output(states, embedded, read)).transpose(0, 1)  # (T, B, L) -> (B, T, L)
        return x if hidden else self.output(x)  # type: ignore[no-any-return]

    @torch.no_grad()
    def start(
        self,
        source: Tensor | None = None,
        source_lengths: Tensor | None = None,
        *,
        rows: int | Sequence[int],
        capacity: int | None = None,
    ) -> RecurrentState:
        """A state of rows without tokens; see `Decoder.start`. The source is read here, once.

        Raises UsageError without a source or for an empty one. `capacity` reserves nothing: a state does not grow.
        """
        if source is None:
            raise UsageError("this model reads a source: start takes source (N, S), source_lengths and rows")
        self._check_length(capacity or 0)
        lengths = torch.full((source.shape[0],), source.shape[1]) if source_lengths is None else source_lengths
        longest = int(lengths.max()) if lengths.numel() else source.shape[1]
        annotations, initial, summary = self._encode(source[:, :longest], lengths)
        assert self.decoder.context is not None
        read = summary[:, None] if self.attention is None else annotations
        tensors = [initial[:, None], self.decoder.context(read), self.deep_output.from_context(read)]
        if self.attention is not None:
            tensors.append(self.attention.key(annotations))
        memory = SourceMemory.build(tensors, lengths, rows)
        initial = memory.tensors[0][memory.rows.to(initial.device), 0]  # (B, N)
        memory = SourceMemory(memory.tensors[1:], memory.lengths, memory.rows)
        shape = RecurrentShape(
            width=self.config.width, context=self.context, dtype=initial.dtype, device=initial.device
        )
        return RecurrentState.begin(shape, initial, memory)

    @torch.no_grad()
    def step(
        self,
        ids: Tensor,
        counts: Tensor,
        state: RecurrentState,
        *,
        every: bool = False,
        trace: Trace | None = None,
        ablate: Ablation | None = None,
    ) -> tuple[Tensor, RecurrentState]:
        """Feed each row its next tokens; see `Decoder.step`.

        Put the model in evaluation mode first: in training mode dropout applies here too.
        """
        self._check_heads(ablate)
        new, before = state.check_step(counts, ids.shape[1]), state.hidden
        if ids.numel() == 0:
            shape = (*ids.shape, self.config.vocabulary) if every else (ids.shape[0], self.config.vocabulary)
            return before.new_zeros(shape), state.advance(before[None], new)
        n_new, memory = ids.shape[1], state.memory
        embedded = self.embedding_dropout(self.target_embedding(ids))  # (B, T, M)
        terms = self.decoder.input(embedded)
        trail, reads, found = [before], [], []
        for at in range(n_new):
            read_terms, read, weights = self._read(trail[-1], memory, silent=bool(ablate))
            after = self.decoder.advance(terms[:, at] + read_terms, trail[-1])
            stays = new <= at
            if bool(stays.any()):
                after = torch.where(stays.to(after.device)[:, None], trail[-1], after)
            trail.append(after)
            reads.append(read)
            found.append(weights)
        if trace is not None and self.attention is not None:
            trace.cross_attention(0, torch.stack([w for w in found if w is not None], dim=1)[:, None])
        states, read = torch.stack(trail[:-1], dim=1), torch.stack(reads, dim=1)  # (B, T, N), (B, T, 2L)
        if not every:
            rows = torch.arange(ids.shape[0], device=ids.device)
            last = (new - 1).clamp(min=0).to(ids.device)
            states, embedded, read = states[rows, last], embedded[rows, last], read[rows, last]
        logits = self.output(self.output_dropout(self.deep_output(states, embedded, read)))
        return logits, state.advance(torch.stack(trail), new)

    def _encode(self, ids: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Annotations (B, S, D), the decoder's initial states (B, N), and the summaries (B, D)."""
        self._check_length(ids.shape[1])
        if ids.shape[1] == 0 or (lengths is not None and lengths.numel() and int(lengths.min()) < 1):
            raise UsageError("a source must have at least one token: put the end id behind every source")
        mask = _mask(lengths, ids.shape[1], ids.device)
        x = self.embedding_dropout(self.source_embedding(ids.t()))  # (S, B, M)
        states, ahead, back = self.encoder(x, None if mask is None else ~mask.t())
        summary = ahead if back is None else torch.cat([ahead, back], dim=-1)
        initial = torch.tanh(self.initial_state(ahead if back is None else back))
        annotations = self.annotation_norm(states.transpose(0, 1).contiguous())  # (S, B, D) -> (B, S, D)
        return annotations, initial, self.annotation_norm(summary)

    def _read(self, hidden: Tensor, memory: SourceMemory, *, silent: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """What rows with these states (B, N) read: C c (B, 3N), C_o c (B, 2L), attention weights (B, S) or None."""
        values, readable = memory.tensors[:2]
        if self.attention is None:
            rows = memory.rows.to(hidden.device)
            return values[rows, 0], readable[rows, 0], None
        weights = self.attention.weights(memory.group(hidden[:, None]), memory.tensors[2], memory.mask)  # (N, G, S)
        if silent:
            weights = torch.zeros_like(weights)
        parts = (memory.ungroup(part)[:, 0] for part in (weights @ values, weights @ readable, weights))
        return next(parts), next(parts), next(parts)

    def _check_length(self, n_tokens: int) -> None:
        if self.context is not None and n_tokens > self.context:
            raise ContextError(f"at most {self.context} tokens fit the model's context, but got {n_tokens}")

    def _check_heads(self, ablate: Ablation | None) -> None:
        if ablate and (self.attention is None or ablate != {(0, 0)}):
            there = "no head" if self.attention is None else "one head, (0, 0)"
            raise UsageError(f"this model has {there}, but ablate names {sorted(ablate)}")


def _mask(lengths: Tensor | None, longest: int, device: torch.device) -> Tensor | None:
    """(B, S), True at a row's own positions; None where all rows are equally long."""
    if lengths is None or bool((lengths == longest).all()):
        return None
    mask: Tensor = torch.arange(longest, device=device) < lengths.to(device)[:, None]
    return mask


def _orthogonal(square: Tensor) -> Tensor:
    q, r = torch.linalg.qr(torch.randn(square.shape, device=square.device))
    signs = torch.where(r.diagonal() < 0, -1.0, 1.0)
    return torch.mul(q, signs).to(square.dtype)
