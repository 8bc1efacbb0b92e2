"""The Transformer (Vaswani et al. 2017, "Attention Is All You Need"): an encoder-decoder of attention alone.

The published graph (post-norm, sinusoids, three-way tied and scaled embeddings), and by settings what came after it:
norm before the sublayers, rotary, relative or no positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from headway.errors import ContextError, UsageError
from headway.models.transformer_sizes import PRESETS, TransformerConfig, sized
from headway.nn.attention import CrossAttention, SelfAttention, SourceView, causal_mask
from headway.nn.block import PostNormBlock, PreNormBlock
from headway.nn.dropout import Dropout
from headway.nn.feed_forward import FeedForward
from headway.nn.key_values import Extension, KeyValueShape, KeyValueState
from headway.nn.linear import Linear
from headway.nn.positions import (
    LearnedPositions,
    Positions,
    RelativePositions,
    RotaryPositions,
    SinusoidPositions,
)
from headway.nn.source_memory import SourceMemory
from headway.nn.trace import Ablation, Trace, watch

_UNLIMITED = 2**40  # where the context is None, a row may hold this many tokens: more than any memory


@dataclass(frozen=True, kw_only=True)
class _Pass:
    """What the layers of a stack share in one pass."""

    positions: Tensor
    mask: Tensor | None = None
    causal: bool = False
    extension: Extension | None = None
    trace: Trace | None = None
    ablate: Ablation | None = None


class TransformerState:
    """What a decoder remembers: its own keys and values a row, and what it reads of the source, once a source."""

    def __init__(self, own: KeyValueState, memory: SourceMemory) -> None:
        """memory: key and value (N, H, S, K) of each layer in turn."""
        self._own = own
        self._memory = memory

    @property
    def lengths(self) -> Tensor:
        """(B,) int64 on the CPU: how many tokens each row holds."""
        return self._own.lengths

    @property
    def capacity(self) -> int:
        """How many tokens a row has room for before the buffers grow."""
        return self._own.capacity

    @property
    def memory(self) -> SourceMemory:
        """What the rows read of their sources."""
        return self._memory

    def select(self, indices: Sequence[int] | Tensor) -> "TransformerState":
        """Keep, reorder or repeat rows; sources that no row reads any more are let go; may end empty."""
        own = self._own.select(indices)
        return TransformerState(own, self._memory.select(torch.as_tensor(indices, dtype=torch.int64).reshape(-1)))

    def join(self, other: "TransformerState") -> "TransformerState":
        """Append the rows of another state of the same model; consumes both."""
        return TransformerState(self._own.join(other._own), self._memory.join(other._memory))

    def rewind(self, counts: Sequence[int] | Tensor) -> "TransformerState":
        """Take back, per row, up to the whole latest step. Raises UsageError past it."""
        return TransformerState(self._own.rewind(counts), self._memory)

    def copy(self) -> "TransformerState":
        """An independent state; this one stays usable. What is read of the sources never changes and is shared."""
        return TransformerState(self._own.copy(), self._memory)

    def extend(self, counts: Tensor, n_new: int) -> Extension:
        """Make room for a step; see `KeyValueState.extend`."""
        return self._own.extend(counts, n_new)


class Stack(nn.Module):
    """The layers of an encoder or a decoder (section 3.1), and how they know positions."""

    def __init__(self, config: TransformerConfig, *, reads_source: bool) -> None:
        super().__init__()
        self.positions = _positions(config, both_sides=not reads_source)
        n_layers = config.decoder_layers if reads_source else config.encoder_layers
        self.blocks = nn.ModuleList(_block(config, reads_source) for _ in range(n_layers))
        self.final_norm = nn.LayerNorm(config.width, eps=config.epsilon) if config.norm == "pre" else None

    def forward(self, x: Tensor, given: _Pass, sources: Sequence[SourceView] = ()) -> Tensor:
        """x (B, T, D) -> (B, T, D), before the final norm; sources: one a layer, for a decoder."""
        mask, causal, extension, trace = given.mask, given.causal, given.extension, given.trace
        n_keys = x.shape[1] if extension is None else extension.seen
        bias = self.positions.bias(given.positions, n_keys)
        if bias is not None:
            if causal:
                mask, causal = causal_mask(x.shape[1], n_keys, x.device), False
            mask = bias if mask is None else bias.masked_fill(~mask, float("-inf"))
        rotate = self.positions.rotation(given.positions)
        if trace is not None:
            trace.stream("embedding", x)
        for layer, block in enumerate(self.blocks):
            x = block(
                x,
                mask=mask,
                causal=causal,
                extend=None if extension is None else partial(extension.write, layer),
                watch=watch(layer, trace, given.ablate),
                rotate=rotate,
                source=sources[layer] if sources else None,
            )
            if trace is not None:
                trace.stream(f"layers.{layer}.residual", x)
        return x

    def finish(self, x: Tensor) -> Tensor:
        """The norm after the last layer, where norms come before the sublayers: (..., D) -> (..., D)."""
        return x if self.final_norm is None else self.final_norm(x)


class Transformer(nn.Module):
    """A source and a target's beginning in, next-token logits out; a decoder and an encoder by models/protocol.py."""

    def __init__(self, config: TransformerConfig) -> None:
        """Random weights; built on the meta device it has none until they are loaded."""
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocabulary, config.width)
        self.source_embedding = self.token_embedding
        if not config.shared:
            self.source_embedding = nn.Embedding(config.source_vocabulary or config.vocabulary, config.width)
        self.embedding_dropout = Dropout(config.embedding_dropout)
        self.encoder = Stack(config, reads_source=False)
        self.decoder = Stack(config, reads_source=True)
        self.output = Linear(config.width, config.vocabulary, bias=False)
        if config.tied:
            self.output.weight = self.token_embedding.weight
        self.output_bias: nn.Parameter | None = None
        if config.output_bias:
            self.output_bias = nn.Parameter(torch.zeros(config.vocabulary), requires_grad=False)
        if not self.token_embedding.weight.is_meta:
            self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Draw fresh weights from torch's global generator.

        The paper does not say how; its released code draws each matrix uniformly with a variance of one over its
        inputs and outputs' mean (Glorot and Bengio 2010), and embeddings normal with deviation 1 / sqrt(width).
        """
        width, deviation = self.config.width, self.config.initial_deviation
        for name, parameter in self.named_parameters():
            if name.endswith("bias") or (name.endswith("positions.weight") and self.config.positions == "relative"):
                parameter.zero_()
            elif "norm" in name:
                parameter.fill_(1.0)
            elif deviation is not None:
                parameter.normal_(0.0, deviation)
            elif "embedding" in name or name == "output.weight" or name.endswith("positions.weight"):
                parameter.normal_(0.0, width**-0.5)
            else:
                # One matrix for query, key and value is three of the paper's.
                n_matrices = 3 if name.endswith("qkv.weight") else 2 if name.endswith("key_value.weight") else 1
                for matrix in parameter.chunk(n_matrices):
                    nn.init.xavier_uniform_(matrix)

    @property
    def context(self) -> int | None:
        """How many tokens a source, and a row of the target, may hold; None: unlimited."""
        return self.config.context

    # Six parameters: the two sides, each with its lengths, as every encoder-decoder has them.
    def forward(
        self,
        source: Tensor,
        source_lengths: Tensor | None,
        target: Tensor,
        target_lengths: Tensor | None = None,
        *,
        hidden: bool = False,
    ) -> Tensor:
        """source (B, S), target (B, T) -> logits (B, T, V), or with `hidden` what the output matrix reads, (B, T, D).

        `source_lengths` (B,); None: all S. `target_lengths` is taken for the sake of the other families: right padding
        cannot reach an earlier position here. Raises ContextError where a side is past the context, UsageError for an
        empty source.
        """
        self._check_length(target.shape[1])
        annotations, mask = self._encode(source, source_lengths, None, None)
        sources = [SourceView(key=key, value=value, mask=mask) for key, value in self._read(annotations)]
        positions = torch.arange(target.shape[1], device=target.device)[None]  # (1, T)
        x = self._embed(self.decoder, self.token_embedding, target, positions)
        x = self.decoder.finish(self.decoder(x, _Pass(positions=positions, causal=True), sources))
        return x if hidden else self._logits(x)

    def encode(
        self,
        ids: Tensor,
        lengths: Tensor | None,
        segments: Tensor | None = None,
        trace: Trace | None = None,
        ablate: Ablation | None = None,
    ) -> Tensor:
        """ids (B, S), lengths (B,) or None -> annotations (B, S, D). Raises UsageError for segments: there are none.

        A trace's names begin with `encoder.`; `ablate` silences heads of the encoder.
        """
        if segments is not None:
            raise UsageError("the Transformer's source has no segments: leave them out")
        if ablate:
            _check_heads(ablate, self.config.encoder_layers, self.config.n_heads)
        return self._encode(ids, lengths, trace, ablate)[0]

    @torch.no_grad()
    def start(
        self,
        source: Tensor | None = None,
        source_lengths: Tensor | None = None,
        *,
        rows: int | Sequence[int],
        capacity: int | None = None,
    ) -> TransformerState:
        """A state of rows that hold no tokens yet, over sources (N, S) that are encoded here, once each.

        Raises UsageError without a source, or for an empty one; ContextError past the context.
        """
        if source is None:
            raise UsageError("the Transformer reads a source: start takes source (N, S) and source_lengths (N,)")
        lengths = _lengths(source, source_lengths)
        source = source[:, : int(lengths.max()) if lengths.numel() else 0]
        annotations, _ = self._encode(source, lengths, None, None)
        tensors = [tensor for pair in self._read(annotations) for tensor in pair]
        memory = SourceMemory.build([tensor.contiguous() for tensor in tensors], lengths, rows)
        config, weight = self.config, self.token_embedding.weight
        shape = KeyValueShape(
            n_layers=config.decoder_layers,
            n_heads=config.n_heads,
            head_width=config.width // config.n_heads,
            context=config.context or _UNLIMITED,
            dtype=weight.dtype,
            device=weight.device,
        )
        return TransformerState(KeyValueState.empty(shape, memory.rows.shape[0], capacity), memory)

    @torch.no_grad()
    def step(
        self,
        ids: Tensor,
        counts: Tensor,
        state: TransformerState,
        *,
        every: bool = False,
        trace: Trace | None = None,
        ablate: Ablation | None = None,
    ) -> tuple[Tensor, TransformerState]:
        """Feed each row its next tokens; see `Decoder.step`. `ablate` silences self-attention heads of the decoder.

        Put the model in evaluation mode first: in training mode dropout applies here too.
        """
        if ablate:
            _check_heads(ablate, self.config.decoder_layers, self.config.n_heads)
        extension, memory = state.extend(counts, ids.shape[1]), state.memory
        if ids.numel() == 0:
            shape = (*ids.shape, self.config.vocabulary) if every else (ids.shape[0], self.config.vocabulary)
            return self.token_embedding.weight.new_zeros(shape), TransformerState(extension.finish(), memory)
        x = self._embed(self.decoder, self.token_embedding, ids, extension.positions)
        given = _Pass(
            positions=extension.positions,
            mask=extension.mask,
            causal=extension.causal,
            extension=extension,
            trace=trace,
            ablate=ablate,
        )
        x = self.decoder(x, given, _views(memory))
        if not every and ids.shape[1] == 1:
            x = x[:, 0]  # (B, 1, D) -> (B, D)
        elif not every:
            last = (counts.to(x.device, torch.int64) - 1).clamp(min=0)
            x = x[torch.arange(x.shape[0], device=x.device), last]  # (B, T, D) -> (B, D)
        return self._logits(self.decoder.finish(x)), TransformerState(extension.finish(), memory)

    def _encode(
        self, ids: Tensor, lengths: Tensor | None, trace: Trace | None, ablate: Ablation | None
    ) -> tuple[Tensor, Tensor | None]:
        """Annotations (B, S, D), and the mask (B, 1, 1, S) of what is no padding, None where there is none."""
        self._check_length(ids.shape[1])
        mask = _own_positions(_lengths(ids, lengths), ids)
        positions = torch.arange(ids.shape[1], device=ids.device)[None]  # (1, S)
        x = self._embed(self.encoder, self.source_embedding, ids, positions)
        inner = None if trace is None else Trace(residual=trace.residual)
        x = self.encoder(x, _Pass(positions=positions, mask=mask, trace=inner, ablate=ablate))
        if trace is not None and inner is not None:
            trace.found.update({f"encoder.{name}": tensor for name, tensor in inner.found.items()})
        return self.encoder.finish(x), mask

    def _embed(self, stack: Stack, embedding: nn.Embedding, ids: Tensor, positions: Tensor) -> Tensor:
        x = embedding(ids)
        if self.config.scaled:
            x = x * self.config.width**0.5
        return self.embedding_dropout(stack.positions.place(x, positions))  # type: ignore[no-any-return]

    def _read(self, annotations: Tensor) -> list[tuple[Tensor, Tensor]]:
        """What each layer of the decoder reads: key and value (N, H, S, K)."""
        readers = (block.get_submodule("cross_attention") for block in self.decoder.blocks)
        return [reader.read(annotations) for reader in readers if isinstance(reader, CrossAttention)]

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.output(x)
        return logits if self.output_bias is None else logits + self.output_bias

    def _check_length(self, n_tokens: int) -> None:
        if self.context is not None and n_tokens > self.context:
            raise ContextError(f"at most {self.context} tokens fit the model's context, but got {n_tokens}")


def _views(memory: SourceMemory) -> list[SourceView]:
    """What each layer reads of the sources in a state."""
    mask = None if memory.mask is None else memory.mask[:, None, None]  # (N, 1, 1, S)
    return [
        SourceView(key=key, value=value, mask=mask, memory=memory)
        for key, value in zip(memory.tensors[::2], memory.tensors[1::2], strict=True)
    ]


def _positions(config: TransformerConfig, *, both_sides: bool) -> Positions:
    if config.positions == "sinusoid":
        return SinusoidPositions()
    if config.positions == "rotary":
        return RotaryPositions(config.width // config.n_heads)
    if config.positions == "relative":
        return RelativePositions(config.n_heads, both_sides=both_sides)
    if config.positions == "learned":
        assert config.context is not None  # checked by the configuration
        return LearnedPositions(config.context, config.width)
    return Positions()


def _block(config: TransformerConfig, reads_source: bool) -> nn.Module:
    width, n_heads, dropout = config.width, config.n_heads, config.attention_dropout
    kind = PreNormBlock if config.norm == "pre" else PostNormBlock
    return kind(
        SelfAttention(width, n_heads, dropout=dropout),
        FeedForward(width, config.feed_forward, config.activation, dropout=config.activation_dropout),
        width=width,
        epsilon=config.epsilon,
        dropout=Dropout(config.residual_dropout),
        cross_attention=CrossAttention(width, n_heads, dropout=dropout) if reads_source else None,
    )


def _lengths(ids: Tensor, lengths: Tensor | None) -> Tensor:
    """(B,) int64 on the CPU. Raises UsageError for an empty source, or lengths that do not fit."""
    rows, width = ids.shape
    if lengths is None:
        lengths = torch.full((rows,), width)
    lengths = lengths.to(device="cpu", dtype=torch.int64)
    if lengths.shape != (rows,) or bool(((lengths < 1) | (lengths > width)).any()):
        raise UsageError(
            f"source_lengths takes one length in 1..{width} for each of {rows} sources, "
            f"but got {lengths.tolist()[:8]}\n"
            "A source is never empty: put the end id behind each."
        )
    return lengths


def _own_positions(lengths: Tensor, ids: Tensor) -> Tensor | None:
    """(B, 1, 1, S), True where a source has a token; None where all fill their row."""
    if not lengths.numel() or int(lengths.min()) == ids.shape[1]:
        return None
    return (torch.arange(ids.shape[1]) < lengths[:, None]).to(ids.device)[:, None, None]


def _check_heads(ablate: Ablation, n_layers: int, n_heads: int) -> None:
    for layer, head in sorted(ablate):
        if not (0 <= layer < n_layers and 0 <= head < n_heads):
            raise UsageError(f"ablate takes (layer, head) below ({n_layers}, {n_heads}), but got ({layer}, {head})")


__all__ = ["PRESETS", "Stack", "Transformer", "TransformerConfig", "TransformerState", "sized"]
