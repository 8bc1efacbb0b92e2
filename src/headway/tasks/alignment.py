"""What each target token was translated from: the attention to the source in one teacher-forced pass.

The row of token t is the attention of the step that predicts t, whose input is the token before it (the start id for
the first). It is not the step that t is fed to: that one already looks for the next token.
Decoding itself runs without a trace, on the fast kernels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headway.decoding.feed import begin, feed
from headway.errors import UsageError
from headway.models.protocol import AnyDecoder
from headway.tasks.alignment_words import END_MARK, Link, best_links, merged, token_texts, words_of
from headway.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import numpy

Head = tuple[int, int | None]
"""A layer and a head, counted from 0, or a layer and None: the mean over its heads."""

_CELLS = 1 << 22  # attention probabilities held at once, over all layers and heads of a batch


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """How much of each source token went into each target token, and the same for whole words.

    weights (T, S), rows sum to 1: target token after source token; the last source token is the end, shown as <end>,
    and the target has none. word_weights: sums over a source word's tokens, means over a target word's. links: (source
    word, target word), counted from 0: for each target word the source word it reads most. source_spans, target_spans:
    each token's (first character, one past the last) in source_text and target_text, the texts the tokens spell.
    """

    source_text: str
    target_text: str
    source_tokens: list[str]
    target_tokens: list[str]
    weights: list[list[float]]
    source_spans: list[tuple[int, int]]
    target_spans: list[tuple[int, int]]
    source_words: list[str]
    target_words: list[str]
    word_weights: list[list[float]]
    links: list[Link]


# Six parameters: each a plain value that callers name.
def align(
    model: AnyDecoder,
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    *,
    start: int,
    head: Head | None = None,
    batch_cells: int = _CELLS,
) -> "list[numpy.ndarray]":
    """The attention (T, S) of each pair of source ids (the end included) and target ids (without start and end).

    head: None is the mean over the heads of the last layer but one, or of the only one: Garg et al. 2019 ("Jointly
    learning to align and translate", section 4) found that layer the closest to human alignments. Raises UsageError
    for a model without attention to its source, or a head it does not have.
    """
    found: list[numpy.ndarray] = []
    for maps in attention_maps(model, sources, targets, start=start, batch_cells=batch_cells):
        found.append(_picked(maps, head))
    return found


def attention_maps(
    model: AnyDecoder,
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    *,
    start: int,
    batch_cells: int = _CELLS,
) -> "list[numpy.ndarray]":
    """All the attention of each pair, (layers, heads, T, S) float32; see `align`."""
    import torch

    found: list[Any] = [None] * len(sources)
    order = sorted(range(len(sources)), key=lambda at: (len(targets[at]), len(sources[at])))
    n_maps = 1
    with torch.inference_mode():
        while order:
            batch = _batch(order, sources, targets, batch_cells // n_maps)
            del order[: len(batch)]
            seen = _Maps()
            state = begin(model, [sources[at] for at in batch], range(len(batch)))
            feed(model, state, [[start, *targets[at][:-1]] for at in batch], trace=seen)  # the last predicts the end
            for row, at in enumerate(batch):
                found[at] = seen.of_row(row, len(targets[at]), len(sources[at]))
                n_maps = max(n_maps, found[at].shape[0] * found[at].shape[1])
    return found


def attention_of(
    source: Tokenizer,
    target: Tokenizer,
    source_ids: Sequence[int],
    target_ids: Sequence[int],
    weights: "numpy.ndarray",
    *,
    at_blanks: bool = False,
) -> Alignment:
    """The alignment of a pair from its attention (T, S); source_ids end with the end id.

    at_blanks: words end at blanks alone, as in texts whose words are apart already; else punctuation and Chinese
    characters are words of their own.
    """
    source_text, source_spans = token_texts(source, source_ids[:-1])
    target_text, target_spans = token_texts(target, target_ids)
    source_words = words_of(source_text, at_blanks=at_blanks)
    target_words = words_of(target_text, at_blanks=at_blanks)
    by_word = merged(weights, source_spans, target_spans, source_words, target_words)
    return Alignment(
        source_text=source_text,
        target_text=target_text,
        source_tokens=[*(source_text[first:last] for first, last in source_spans), END_MARK],
        target_tokens=[target_text[first:last] for first, last in target_spans],
        weights=weights.astype("float64").tolist(),
        source_spans=[*source_spans, (len(source_text), len(source_text))],
        target_spans=target_spans,
        source_words=[*(source_text[first:last] for first, last in source_words), END_MARK],
        target_words=[target_text[first:last] for first, last in target_words],
        word_weights=by_word.tolist(),
        links=best_links(by_word[:, :-1]),
    )


def shows_attention(model: AnyDecoder, *, start: int, end: int) -> bool:
    """Whether a model has attention to its source to show: tried with a source of nothing but its end."""
    try:
        align(model, [[end]], [[]], start=start)
    except UsageError:
        return False
    return True


def head_of(value: object) -> Head | None:
    """[layer, head] or [layer, null] of a JSON file as a head; None for anything else."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return None
    layer, head = value
    whole = [isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in value]
    return (layer, head) if whole[0] and (whole[1] or head is None) else None


class _Maps:
    """A trace that keeps every layer's attention to the source."""

    residual = False
    parts = False

    def __init__(self) -> None:
        self._found: dict[int, Any] = {}

    def attention(self, layer: int, probabilities: Any) -> None:
        """See `headway.nn.trace.Trace`; not kept."""

    def cross_attention(self, layer: int, probabilities: Any) -> None:
        """Keep (B, H, T, S)."""
        self._found[layer] = probabilities.detach()

    def stream(self, name: str, x: Any) -> None:
        """See `headway.nn.trace.Trace`; not kept."""

    def of_row(self, row: int, n_target: int, n_source: int) -> "numpy.ndarray":
        """(layers, heads, T, S) of a row: input position t, which predicts token t, is the row of token t."""
        import torch

        if not self._found:
            raise UsageError(
                "this model has no alignment: its decoder reads the source as one fixed vector, in which nothing says\n"
                "what each word was translated from (that is the bottleneck, which attention removes)\n"
                "Use a model of the families rnnsearch or transformer."
            )
        layers = [self._found[layer][row, :, :n_target, :n_source] for layer in sorted(self._found)]
        every: numpy.ndarray = torch.stack(layers).float().cpu().numpy()
        return every


def _picked(maps: "numpy.ndarray", head: Head | None) -> "numpy.ndarray":
    n_layers, n_heads = maps.shape[:2]
    layer, number = head if head is not None else (max(0, n_layers - 2), None)
    if layer >= n_layers or (number is not None and number >= n_heads):
        raise UsageError(
            f"the model has {n_layers} layers of {n_heads} heads that read the source, counted from 0, "
            f"but layer {layer}, head {number} was asked for"
        )
    picked: numpy.ndarray = maps[layer].mean(axis=0) if number is None else maps[layer, number]
    return picked


def _batch(
    order: Sequence[int], sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], cells: int
) -> list[int]:
    """The first places of the order whose padded attention has at most `cells` cells; one at least."""
    longest, widest = 0, 0
    for count, at in enumerate(order):
        longest, widest = max(longest, len(targets[at]) + 1), max(widest, len(sources[at]))
        if count and (count + 1) * longest * widest > cells:
            return list(order[:count])
    return list(order)
