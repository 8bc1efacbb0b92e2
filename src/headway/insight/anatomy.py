"""What a model is made of, as far as looking inside needs it: layers, heads, and the way from its stream to logits."""

from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from headway.errors import UsageError
from headway.models.registry import family_of
from headway.nn.attention import SelfAttention
from headway.nn.block import PostNormBlock


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """The parts of one model in evaluation mode.

    blocks: the layers that the last stream comes from, a decoder's where it has one. attends, encoder_attends,
    cross_attends: the layers with maps of each kind. n_heads: 0 where no layer has heads. post: norms stand after each
    sum. writes: it predicts the next token; reads_source: of a target, reading a source.
    """

    model: Any
    family: str
    blocks: tuple[nn.Module, ...]
    n_layers: int
    n_heads: int
    attends: tuple[int, ...]
    encoder_attends: tuple[int, ...]
    cross_attends: tuple[int, ...]
    post: bool
    writes: bool
    reads_source: bool

    @property
    def has_words(self) -> bool:
        """Whether its output is over a vocabulary."""
        return getattr(self.model, "output", None) is not None

    @property
    def final_norm(self) -> nn.Module | None:
        """The norm after the last layer, if there is one."""
        stack = self.model.decoder if self.reads_source else self.model
        found: nn.Module | None = stack.final_norm
        return found

    def normed(self, stream: Tensor) -> Tensor:
        """A stream (..., D) through the norm after the last layer."""
        norm = self.final_norm
        return stream if norm is None else norm(stream)

    def logits(self, states: Tensor) -> Tensor:
        """What the output matrix, and what stands before it, make of normed states: (..., D) -> (..., V)."""
        before = getattr(self.model, "before_output", None)
        logits = self.model.output(states if before is None else before(states))
        bias = getattr(self.model, "output_bias", None)
        return logits if bias is None else logits + bias  # type: ignore[no-any-return]


def anatomy_of(model: nn.Module) -> Anatomy:
    """The parts of a model of a known family. Raises ConfigError for another, UsageError for a compiled one."""
    if not isinstance(model, nn.Module):
        raise UsageError('a compiled model keeps no traces, so nothing can be seen in it\nOpen it with engine="torch".')
    family = family_of(model)
    stack: Any = getattr(model, "decoder", None) if family.reads_source else model
    blocks = tuple(cast(nn.ModuleList, stack.blocks)) if hasattr(stack, "blocks") else ()
    encoder: Any = getattr(model, "encoder", None) if family.reads_source else None
    encoding = tuple(encoder.blocks) if hasattr(encoder, "blocks") else ()
    recurrent = family.reads_source and not blocks
    attends = _attending(blocks)
    config: Any = model.config
    crossing = tuple(range(len(blocks))) if family.reads_source else ()
    if recurrent and config.attention == "additive":
        crossing = (0,)
    head = getattr(config, "head", "write")
    return Anatomy(
        model=model,
        family=family.name,
        blocks=blocks,
        n_layers=1 if recurrent else len(blocks),
        n_heads=config.n_heads if attends else len(crossing) if recurrent else 0,
        attends=attends,
        encoder_attends=_attending(encoding),
        cross_attends=crossing,
        post=bool(blocks) and isinstance(blocks[0], PostNormBlock),
        writes=family.decoder and head == "write",
        reads_source=family.reads_source,
    )


def _attending(blocks: tuple[nn.Module, ...]) -> tuple[int, ...]:
    return tuple(
        layer for layer, block in enumerate(blocks) if isinstance(block.get_submodule("attention"), SelfAttention)
    )
