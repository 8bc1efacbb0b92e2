"""BERT (Devlin et al. 2018), the published graph, and its kin that mix by something else than attention.

An encoder that reads in both directions: embeddings of words, places and segments, normed; layers of a mixer and a
feed-forward network, a norm after each sum (Vaswani et al. 2017, section 3.1); and a head for the task.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from headway.errors import ConfigError, ContextError, UsageError
from headway.models.bert_sizes import PRESETS, BERTConfig, sized
from headway.nn.attention import Rotate
from headway.nn.dropout import Dropout
from headway.nn.feed_forward import FeedForward, GatedFeedForward
from headway.nn.heads import Pooler, Transform
from headway.nn.linear import Linear
from headway.nn.mixing_block import MixingBlock, PackedAttention, packed_rotation
from headway.nn.packing import Packing
from headway.nn.positions import RotaryPositions
from headway.nn.trace import Ablation, Trace, watch


class BERT(nn.Module):
    """Ids in, states of each token out, and a head's answer; an encoder by the protocol of models/protocol.py."""

    def __init__(self, config: BERTConfig) -> None:
        """Random weights; built on the meta device it has none until they are loaded."""
        super().__init__()
        self.config = config
        width = config.width
        self.token_embedding = nn.Embedding(config.vocabulary, width)
        self.position_embedding = nn.Embedding(config.context, width) if config.positions == "learned" else None
        self.segment_embedding = nn.Embedding(config.segments, width) if config.segments else None
        self.embedding_norm = nn.LayerNorm(width, eps=config.epsilon) if config.embedding_norm else None
        self.embedding_projection = Linear(width, width) if config.embedding_projection else None
        self.embedding_dropout = Dropout(config.embedding_dropout)
        self.blocks = nn.ModuleList(_block(config, layer) for layer in range(config.n_layers))
        self.final_norm = nn.LayerNorm(width, eps=config.epsilon) if config.norm == "pre" else None
        self.pooler = Pooler(width) if config.pools else None
        self.head_dropout = Dropout(config.head_dropout)
        self.head = Linear(width, config.n_scores) if config.n_scores else None
        self.sentence_order = Linear(width, 2) if config.head == "pretraining" else None
        self.transform: Transform | None = None
        self.output: Linear | None = None
        if config.writes_words:
            if config.transform:
                self.transform = Transform(width, config.activation, epsilon=config.epsilon)
            self.output = Linear(width, config.vocabulary)
            if config.tied:
                self.output.weight = self.token_embedding.weight
        if not self.token_embedding.weight.is_meta:
            self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Draw fresh weights from torch's global generator.

        Normal with the configured deviation, biases zero (the released code, which cuts the normal at two deviations).
        Pre-norm models draw as GPT-2 does: positions with half of it, and matrices that add to the residual stream
        divided by the square root of their number. A mixer that has weights of its own kind draws them itself.
        """
        deviation, pre = self.config.initial_deviation, self.config.norm == "pre"
        into_stream = deviation / (2 * self.config.n_layers) ** 0.5 if pre else deviation
        for name, parameter in self.named_parameters():
            if name.endswith(".bias"):
                parameter.zero_()
            elif "norm" in name:
                parameter.fill_(1.0)
            elif name.endswith(("attention.output.weight", "feed_forward.contract.weight")):
                parameter.normal_(0.0, into_stream)
            elif pre and name.startswith("position_embedding"):
                parameter.normal_(0.0, deviation / 2)
            else:
                parameter.normal_(0.0, deviation)
        for block in self.blocks:
            own = getattr(block.get_submodule("attention"), "initialise", None)
            if own is not None:
                own(into_stream)

    @property
    def context(self) -> int:
        """How many tokens a row may hold."""
        return self.config.context

    def forward(
        self, ids: Tensor, lengths: Tensor | None = None, segments: Tensor | None = None, *, hidden: bool = False
    ) -> Tensor:
        """ids (B, T) -> what the head answers.

        masked, pretraining: (B, T, V), or with `hidden` what the output matrix reads, (B, T, D); classify:
        (B, n_labels); tag: (B, T, n_labels); answer: (B, T, 2), scores of begin and end; none: the states (B, T, D).
        Past a row's length the numbers mean nothing. Raises ContextError where T is past the context.
        """
        states = self.encode(ids, lengths, segments)
        if self.output is not None:
            read = self.before_output(states)
            return read if hidden else self.output(read)
        return states if self.head is None or hidden else self.read_head(states, lengths)

    # Six parameters: the encoder protocol's own.
    def encode(
        self,
        ids: Tensor,
        lengths: Tensor | None = None,
        segments: Tensor | None = None,
        trace: Trace | None = None,
        ablate: Ablation | None = None,
    ) -> Tensor:
        """ids (B, T), lengths (B,) or None: all T -> states (B, T, D), zero past each row's length.

        segments (B, T): which text of several a token is of, None: the first; a model without segments takes no notice.
        Nothing is computed on padding. Raises ContextError where T is past the context, UsageError for an empty row.
        """
        if ids.shape[1] > self.context:
            raise ContextError(f"at most {self.context} tokens fit the model's context, but got {ids.shape[1]}")
        if ablate:
            _check_heads(ablate, self.config)
        packing = Packing.of(ids, lengths)
        if not packing.n_tokens:
            return self.token_embedding.weight.new_zeros(*ids.shape, self.config.width)
        x = self._embed(ids, packing, segments)  # (N, D)
        if trace is not None and trace.residual:
            trace.stream("embedding", packing.unpack(x))
        rotate = self._rotation(packing)
        for layer, block in enumerate(self.blocks):
            x = block(x, packing, watch=watch(layer, trace, ablate), rotate=rotate)
            if trace is not None and trace.residual:
                trace.stream(f"layers.{layer}.residual", packing.unpack(x))
        return packing.unpack(x if self.final_norm is None else self.final_norm(x))

    def before_output(self, states: Tensor) -> Tensor:
        """states (..., D) -> (..., D): what the output matrix reads, so that a loss may ask for some places only."""
        return states if self.transform is None else self.transform(states)

    def next_sentence(self, states: Tensor) -> Tensor:
        """states (B, T, D) -> (B, 2): scores that the second text goes on from the first, and that it does not.

        Raises ConfigError for a head without them.
        """
        if self.sentence_order is None:
            raise ConfigError(f"only head='pretraining' says whether a text goes on, but this is {self.config.head!r}")
        return self.sentence_order(self._pooled(states, None))  # type: ignore[no-any-return]

    def read_head(self, states: Tensor, lengths: Tensor | None = None) -> Tensor:
        """states (B, T, D) -> classify: (B, n_labels); tag: (B, T, n_labels); answer: (B, T, 2).

        lengths (B,), None: all T; only a mean asks for them. Raises ConfigError without a head that answers.
        """
        if self.head is None:
            raise ConfigError(f"head={self.config.head!r} gives no labels; set head to classify, tag or answer")
        read = self._pooled(states, lengths) if self.config.head == "classify" else states
        return self.head(self.head_dropout(read))  # type: ignore[no-any-return]

    def _embed(self, ids: Tensor, packing: Packing, segments: Tensor | None) -> Tensor:
        """ids (B, T) -> (N, D)."""
        x = functional.embedding(packing.pack(ids), self.token_embedding.weight)  # (N, D)
        if self.position_embedding is not None:
            places = self.position_embedding.weight
            if (
                packing.level
            ):  # the same for each row: cheaper than a row for each token, above all in the backward pass
                x = (x.view(-1, packing.longest, x.shape[-1]) + places[: packing.longest]).flatten(0, 1)
            else:
                x = x + functional.embedding(packing.positions, places)
        if self.segment_embedding is not None:
            x = x + self._segment_rows(self.segment_embedding.weight, packing, segments)
        if self.embedding_norm is not None:
            x = self.embedding_norm(x)
        if self.embedding_projection is not None:
            x = self.embedding_projection(x)
        return self.embedding_dropout(x)  # type: ignore[no-any-return]

    def _segment_rows(self, weight: Tensor, packing: Packing, segments: Tensor | None) -> Tensor:
        """What segments (B, T) add: (N, D), or (D,) where all are the first."""
        if segments is None:
            return weight[0]
        packed = packing.pack(segments)
        if int(packed.min()) < 0 or int(packed.max()) >= len(weight):
            raise UsageError(
                f"segments must be in 0..{len(weight) - 1} for this model, but got {int(packed.min())}.."
                f"{int(packed.max())}"
            )
        return functional.embedding(packed, weight)

    def _rotation(self, packing: Packing) -> Rotate | None:
        if self.config.positions != "rotary":
            return None
        return packed_rotation(RotaryPositions(self.config.width // self.config.n_heads), packing)

    def _pooled(self, states: Tensor, lengths: Tensor | None) -> Tensor:
        """states (B, T, D), zero past each row's length, and lengths (B,) -> (B, D)."""
        row = states[:, 0]
        if self.config.pooling == "mean":
            counts = states.shape[1] if lengths is None else lengths.to(states)[:, None]
            row = states.sum(dim=1) / counts
        return row if self.pooler is None else self.pooler(row)


def _block(config: BERTConfig, layer: int) -> MixingBlock:
    feed_forward = GatedFeedForward if config.gated else FeedForward
    return MixingBlock(
        _mixer(config, layer),
        feed_forward(config.width, config.hidden, config.activation),
        width=config.width,
        norm=config.norm,
        epsilon=config.epsilon,
        dropout=Dropout(config.residual_dropout),
    )


def _mixer(config: BERTConfig, layer: int) -> nn.Module:
    kind = config.mixer_of(layer)
    if kind == "attention":
        return PackedAttention(config.width, config.n_heads, dropout=config.attention_dropout)
    if kind == "laplace":
        from headway.nn.laplace import LaplaceMixer

        return LaplaceMixer(config.width, both_sides=True)
    from headway.nn.fourier import FourierMixer, HartleyMixer, NoMixer

    return {"fourier": FourierMixer, "hartley": HartleyMixer, "none": NoMixer}[kind]()


def _check_heads(ablate: Ablation, config: BERTConfig) -> None:
    for layer, head in sorted(ablate):
        if not (0 <= layer < config.n_layers and 0 <= head < config.n_heads):
            raise UsageError(
                f"ablate takes (layer, head) below ({config.n_layers}, {config.n_heads}), but got ({layer}, {head})"
            )
        if config.mixer_of(layer) != "attention":
            raise UsageError(f"ablate names layer {layer}, which has no heads: it mixes by {config.mixer_of(layer)}")


__all__ = ["BERT", "BERTConfig", "PRESETS", "sized"]
