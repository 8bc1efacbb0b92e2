"""Tiny models of every family, one of each kind, for the contract suites; every size another prime where it can be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from headway.engine.compile import compiled
from headway.models.gpt2 import GPT2, GPT2Config
from headway.models.laplace import Laplace, LaplaceConfig
from headway.models.rnn_search import RNNSearch, RNNSearchConfig
from headway.models.transformer import Transformer, TransformerConfig

VOCABULARY = 31
SOURCE_VOCABULARY = 29
SOURCE_LENGTHS = (7, 3, 5, 1, 7)


@dataclass(frozen=True)
class Case:
    """A model with what the suites need to know of it, and sources for it to read where it reads any.

    engine: the compiled model that is asked for states and steps in the model's place, where there is one; the full
    pass is the PyTorch model's. heads: those that can be silenced. maps: what a trace of a decoder's step finds. alone:
    without its heads, a position knows nothing of those before it.
    """

    name: str
    model: Any
    reads_source: bool
    heads: tuple[tuple[int, int], ...]
    maps: dict[str, int]
    encoder_maps: dict[str, int]
    alone: bool
    has_capacity: bool
    engine: Any = None

    @property
    def context(self) -> int:
        assert self.model.context is not None
        return int(self.model.context)

    @property
    def embedding(self) -> nn.Embedding:
        """The target's embedding."""
        found: nn.Embedding = getattr(self.model, "token_embedding", None) or self.model.target_embedding
        return found

    def full(
        self, ids: Tensor, lengths: Tensor | None = None, *, of: Sequence[int] | None = None, hidden: bool = False
    ) -> Tensor:
        """The full pass; of: the source that each row reads, by default row n source n."""
        if not self.reads_source:
            return self.model(ids, lengths, hidden=hidden)  # type: ignore[no-any-return]
        source, source_lengths = self.sources(range(len(ids)) if of is None else of)
        return self.model(source, source_lengths, ids, lengths, hidden=hidden)  # type: ignore[no-any-return]

    def start(self, *, rows: int, capacity: int | None = None, of: Sequence[int] | None = None) -> Any:
        """A state of rows without tokens; of: the source that each row reads, by default row n source n."""
        if not self.reads_source:
            return (self.engine or self.model).start(rows=rows, capacity=capacity)
        of = list(range(rows)) if of is None else list(of)
        read = sorted(set(of))
        rows_of = [read.index(number) for number in of]
        return (self.engine or self.model).start(*self.sources(read), rows=rows_of, capacity=capacity)

    def sources(self, of: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Some of the sources, right-padded with the largest id, and their lengths."""
        generator = torch.Generator().manual_seed(11)
        ids = torch.randint(SOURCE_VOCABULARY, (len(SOURCE_LENGTHS), max(SOURCE_LENGTHS)), generator=generator)
        lengths = torch.tensor(SOURCE_LENGTHS)[list(of)]
        ids = ids[list(of)]
        ids[torch.arange(ids.shape[1]) >= lengths[:, None]] = SOURCE_VOCABULARY - 1
        return ids, lengths

    def step(self, *given: Any, **asked: Any) -> Any:
        return (self.engine or self.model).step(*given, **asked)


def _gpt2(**settings: object) -> GPT2:
    sizes = {"vocabulary": VOCABULARY, "context": 23, "width": 14, "n_layers": 3, "n_heads": 2, "feed_forward": 19}
    # Wider than the published 0.02: with it, attention hardly matters and a wrong mask would hardly show.
    return GPT2(GPT2Config(**{**sizes, "initial_deviation": 0.6, **settings}))  # type: ignore[arg-type]


def _transformer(**settings: object) -> Transformer:
    sizes = {"vocabulary": VOCABULARY, "context": 23, "width": 20, "n_heads": 5, "feed_forward": 19}
    layers = {"encoder_layers": 3, "decoder_layers": 2}
    config = TransformerConfig(**{**sizes, **layers, "initial_deviation": 0.4, **settings})  # type: ignore[arg-type]
    model = Transformer(config)
    for name, parameter in model.named_parameters():
        if name == "output_bias" or (config.positions == "relative" and name.endswith("positions.weight")):
            nn.init.normal_(parameter)  # it begins at zero, where it could not show
    return model


def _rnn_search(**settings: object) -> RNNSearch:
    sizes = {"vocabulary": VOCABULARY, "context": 23, "width": 11, "embedding": 13, "alignment": 7, "maxout": 5}
    model = RNNSearch(RNNSearchConfig(**{**sizes, "initial": "modern", **settings}))  # type: ignore[arg-type]
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.0, 0.5)
    return model


def _laplace(**settings: object) -> Laplace:
    sizes = {"vocabulary": VOCABULARY, "context": 23, "width": 14, "n_layers": 3, "modes": 5, "feed_forward": 19}
    return Laplace(LaplaceConfig(**{**sizes, "initial_deviation": 0.6, **settings}))  # type: ignore[arg-type]


DECODERS: dict[str, Callable[[], GPT2 | Laplace | Transformer | RNNSearch]] = {
    "gpt2": lambda: _gpt2(),
    "gpt2-one-head": lambda: _gpt2(n_heads=1, n_layers=1),
    "gpt2-untied": lambda: _gpt2(tied=False, activation="relu"),
    "gpt2-unscaled": lambda: _gpt2(scale_by_head_width=False, initial_deviation=0.2),
    "gpt2-scaled-by-layer": lambda: _gpt2(scale_by_layer=True, activation="silu", feed_forward=None),
    "laplace": lambda: _laplace(),
    "laplace-one-mode": lambda: _laplace(modes=1, n_layers=1, tied=False),
    "transformer": lambda: _transformer(),
    "transformer-pre": lambda: _transformer(norm="pre", scaled=False),
    "transformer-two-vocabularies": lambda: _transformer(
        shared=False, source_vocabulary=SOURCE_VOCABULARY, output_bias=True, decoder_layers=1
    ),
    "transformer-untied": lambda: _transformer(tied=False, activation="silu"),
    "transformer-learned": lambda: _transformer(positions="learned", norm="pre"),
    "transformer-rotary": lambda: _transformer(positions="rotary", norm="pre"),
    "transformer-relative": lambda: _transformer(positions="relative", n_heads=2),
    "transformer-none": lambda: _transformer(positions="none", norm="pre"),
    "rnnsearch": lambda: _rnn_search(),
    "rnnsearch-two-vocabularies": lambda: _rnn_search(source_vocabulary=SOURCE_VOCABULARY, layer_norm=True),
    "rnnsearch-fixed": lambda: _rnn_search(attention="fixed"),
    "rnnsearch-one-direction": lambda: _rnn_search(attention="fixed", bidirectional=False, shared=True),
}
FAMILY_OF = {name: name.partition("-")[0] for name in DECODERS}
IN_ENGINE = {f"{name}-in-engine": name for name, family in FAMILY_OF.items() if family in ("gpt2", "transformer")}
"""The same models in the compiled engine, at 32 bits."""

READING = sorted(name for name, family in FAMILY_OF.items() if family not in ("gpt2", "laplace"))


def build(name: str) -> Case:
    """The model of that name, the same weights every time, in evaluation mode."""
    if name in IN_ENGINE:
        case = build(IN_ENGINE[name])
        return replace(case, engine=compiled(case.model, FAMILY_OF[IN_ENGINE[name]], bits=32, threads=2))
    torch.manual_seed(3)
    model = DECODERS[name]().eval()
    if isinstance(model, RNNSearch):
        reads = model.config.attention == "additive"
        return Case(
            name=name,
            model=model,
            reads_source=True,
            heads=((0, 0),) if reads else (),
            maps={"layers.0.cross_attention": 1} if reads else {},
            encoder_maps={},
            alone=False,
            has_capacity=False,
        )
    if isinstance(model, Laplace):
        return Case(
            name=name,
            model=model,
            reads_source=False,
            heads=(),
            maps={},
            encoder_maps={},
            alone=False,
            has_capacity=False,
        )
    n_heads = model.config.n_heads
    reading = isinstance(model, Transformer)
    n_layers = model.config.decoder_layers if isinstance(model, Transformer) else model.config.n_layers
    kinds = ("attention", "cross_attention") if reading else ("attention",)
    encoder_layers = model.config.encoder_layers if isinstance(model, Transformer) else 0
    return Case(
        name=name,
        model=model,
        reads_source=reading,
        heads=tuple((layer, head) for layer in range(n_layers) for head in range(n_heads)),
        maps={f"layers.{layer}.{kind}": n_heads for layer in range(n_layers) for kind in kinds},
        encoder_maps={f"encoder.layers.{layer}.attention": n_heads for layer in range(encoder_layers)},
        alone=True,
        has_capacity=True,
    )
