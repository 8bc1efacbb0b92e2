"""Carrying out a translator's request: texts become pieces, pieces batches of like length, hypotheses translations.

A piece is what the model reads at once: a text, or where it is too long for the model, each of its sentences.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from headway.decoding.beam import beam_search
from headway.decoding.choice import Choice
from headway.decoding.rows import FinishReason, Rows
from headway.decoding.search import Hypothesis, Search
from headway.errors import UsageError
from headway.models.protocol import AnyDecoder
from headway.tasks.alignment import Alignment, Head, align, attention_of
from headway.tasks.alignment_words import copied_over
from headway.tasks.sentences import joined, pieces_that_fit
from headway.text.tokenizer import Tokenizer

Unknown = Literal["keep", "forbid", "copy"]

_SHORTEST_ROW = 16  # tokens a row counts at least, so that a batch of single words does not have a thousand rows


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """Another translation that the search found, and its score."""

    text: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Translation:
    """A translation.

    logprob: of its tokens (natural logarithm), the end included and a forced prefix not; `length` says how many those
    are. score: what it is ranked by, penalties applied. ids: without the end. finish_reason: "length" where the limit
    came before the end. windowed: the text was too long, so `pieces` of it were translated one by one and joined;
    alignment and alternatives are then found in those. alternatives: the next best, the best first.
    """

    text: str
    score: float
    logprob: float
    length: int
    ids: list[int]
    finish_reason: FinishReason
    windowed: bool = False
    alignment: Alignment | None = None
    alternatives: tuple[Alternative, ...] = ()
    pieces: "tuple[Translation, ...]" = ()


@dataclass(frozen=True, kw_only=True)
class Sides:
    """A model that reads a source, the tokenizers of both its sides, and the ids that begin and end.

    plain: gives the same model in PyTorch where `model` is a compiled one, which keeps no trace. barred: ids that are
    never written. head: the attention that aligns best, where that is known. longest: the most source tokens, the end
    included.
    """

    model: AnyDecoder
    source: Tokenizer
    target: Tokenizer
    source_end: int
    start: int
    ends: frozenset[int]
    plain: Callable[[], AnyDecoder] | None = None
    barred: frozenset[int] = frozenset()
    head: Head | None = None
    longest: int = 256

    @property
    def traced(self) -> AnyDecoder:
        """The model to be asked for its attention."""
        return self.model if self.plain is None else self.plain()

    @property
    def unknown(self) -> int | None:
        """The id that stands for any word that is not in the target's vocabulary; None for byte-level ones."""
        names = ("<unk>", "[UNK]", "<UNK>", "unk")
        return next((self.target.special_tokens[name] for name in names if name in self.target.special_tokens), None)


@dataclass(frozen=True, kw_only=True)
class TranslationRequest:
    """How texts are to be translated; see `Translator.translate`. Raises UsageError for what contradicts itself.

    temperature: draws in place of the search, `samples` of each text. packed: sentences of a text that is too long are
    read together as far as they fit, not one by one.
    """

    search: Search
    prefix: str = ""
    temperature: float | None = None
    samples: int = 1
    seed: int = 0
    unknown: Unknown = "keep"
    alignment: bool = False
    by_sentence: bool = False
    packed: bool = False
    longest: int | None = None
    batch_tokens: int = 1600

    def __post_init__(self) -> None:
        for name, value in (("batch_tokens", self.batch_tokens), ("longest", self.longest)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise UsageError(f"{name} must be a whole number of at least 1, but got {value!r}")
        if self.unknown not in ("keep", "forbid", "copy"):
            raise UsageError(f'unknown must be "keep", "forbid" or "copy", but got {self.unknown!r}')
        search = self.search
        if search.max_ratio is not None and search.max_ratio < search.min_ratio:
            raise UsageError(f"min_ratio={search.min_ratio} is above max_ratio={search.max_ratio}; change one of them")
        if self.temperature is not None and (search.beam != 1 or search.min_ratio or search.coverage_penalty):
            raise UsageError(
                "temperature draws the words, so it excludes a beam above 1, min_ratio and coverage_penalty\n"
                "Leave out one or the other."
            )


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """What is read at once: its text, its ids with the end, and the decoder's own beginning."""

    text: str
    ids: list[int]
    prompt: list[int]


def translate_all(sides: Sides, texts: Sequence[str], request: TranslationRequest) -> list[Translation]:
    """The translation of each text, in their order. None depends on the others, and equal texts are read once.

    Raises UsageError for what is no text.
    """
    for text in texts:
        if not isinstance(text, str):
            raise UsageError(f"a translator takes text, but got {text!r}"[:200])
    distinct = list(dict.fromkeys(texts))
    if len(distinct) < len(texts):
        known = dict(zip(distinct, translate_all(sides, distinct, request), strict=True))
        return [known[text] for text in texts]
    prefix = sides.target.encode(request.prefix) if request.prefix else []
    cut = [_pieces(sides, text, request, prefix) for text in texts]
    pieces = [piece for several in cut for piece in several]
    found: dict[int, Translation] = {}
    # Only pieces with equally long beginnings share a batch, as they have the same room left in the context.
    for n_prompt in sorted({len(piece.prompt) for piece in pieces}):
        alike = [at for at, piece in enumerate(pieces) if len(piece.prompt) == n_prompt]
        for places in batches([len(pieces[at].ids) for at in alike], request.batch_tokens):
            batch = [alike[place] for place in places]
            found.update(zip(batch, _translate(sides, [pieces[at] for at in batch], request), strict=True))
    finished: list[Translation] = []
    place = 0
    for text, several in zip(texts, cut, strict=True):
        own = [found[at] for at in range(place, place + len(several))]
        place += len(several)
        finished.append(_whole(text, several, own, request))
    return finished


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """The places of rows of like length, so many together that, padded, they have at most `batch_tokens` tokens."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda at: lengths[at]):
        if batch and (len(batch) + 1) * max(lengths[place], _SHORTEST_ROW) > batch_tokens:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _pieces(sides: Sides, text: str, request: TranslationRequest, prefix: list[int]) -> list[_Piece]:
    """What the model reads of a text at once, blank pieces included; a forced prefix begins the first."""
    context = sides.model.context
    longest = request.longest or sides.longest
    room = (longest if context is None else min(longest, context)) - 1  # the end follows
    if not text.strip():
        return []

    def count(part: str) -> int:
        return len(sides.source.encode(part.strip()))

    fits = "\n" not in text and not (request.by_sentence and not request.packed)
    if fits and count(text) <= room:
        parts = [text]
    else:
        parts = [part for part in pieces_that_fit(text, room, count, packed=request.packed)]
    made: list[_Piece] = []
    for part in parts:
        if not part.strip() and made:
            made[-1] = replace(made[-1], text=made[-1].text + part)
        elif part.strip():
            ids = [*sides.source.encode(part.strip()), sides.source_end]
            made.append(_Piece(text=part, ids=ids, prompt=[sides.start, *(() if made else prefix)]))
    return made


def _translate(sides: Sides, pieces: Sequence[_Piece], request: TranslationRequest) -> list[Translation]:
    """One batch of pieces."""
    search = _search(sides, len(pieces[0].prompt), request)
    if request.temperature is None:
        found = beam_search(
            sides.traced if search.coverage_penalty else sides.model,
            [piece.prompt for piece in pieces],
            search,
            sources=[piece.ids for piece in pieces],
            end_ids=sides.ends,
            vocabulary=sides.target.size,
        )
    else:
        found = _drawn(sides, pieces, request, search)
    made = [_translation(sides, piece, several, search) for piece, several in zip(pieces, found, strict=True)]
    wants_copy = request.unknown == "copy" and sides.unknown is not None
    copying = [at for at, one in enumerate(made) if wants_copy and sides.unknown in one.ids]
    aligned = list(range(len(made))) if request.alignment else copying
    if not aligned:
        return made
    weights = align(
        sides.traced,
        [pieces[at].ids for at in aligned],
        [made[at].ids for at in aligned],
        start=sides.start,
        head=sides.head,
    )
    for at, one in zip(aligned, weights, strict=True):
        alignment = attention_of(sides.source, sides.target, pieces[at].ids, made[at].ids, one)
        if at in copying:
            assert sides.unknown is not None
            made[at] = replace(made[at], text=copied_over(sides.target, made[at].ids, sides.unknown, alignment))
        made[at] = replace(made[at], alignment=alignment if request.alignment else None)
    return made


def _search(sides: Sides, prompt: int, request: TranslationRequest) -> Search:
    """The request's search behind a decoder's beginning of so many tokens, which never outgrows the context."""
    forbidden = sides.barred | request.search.forbidden_ids
    if request.unknown == "forbid" and sides.unknown is not None:
        forbidden |= {sides.unknown}
    context, most = sides.model.context, request.search.max_new_tokens
    if context is not None:
        room = context + 1 - prompt  # the last token is never fed
        if room < 1:
            raise UsageError(f"the prefix has {prompt - 1} tokens, but the model has room for {context - 1} at most")
        most = room if most is None else min(room, most)
    return replace(request.search, max_new_tokens=most, forbidden_ids=forbidden)


def _drawn(
    sides: Sides, pieces: Sequence[_Piece], request: TranslationRequest, search: Search
) -> list[list[Hypothesis]]:
    """Draws in place of a search: the samples of each piece, the most probable first."""
    assert request.temperature is not None
    bias = dict.fromkeys(search.forbidden_ids, -math.inf)
    choice = Choice(temperature=request.temperature, seed=request.seed, bias=bias)
    rows = Rows(sides.model, vocabulary=sides.target.size)
    owners: dict[int, int] = {}
    for at, piece in enumerate(pieces):
        added = rows.add(
            piece.prompt,
            choice,
            max_new_tokens=search.bounds(piece.prompt, piece.ids)[1],
            samples=request.samples,
            stop_ids=sides.ends,
            source=piece.ids,
        )
        owners.update(dict.fromkeys(added, at))
    ids: dict[int, list[int]] = {row: [] for row in owners}
    logprobs: dict[int, list[float]] = {row: [] for row in owners}
    reasons: dict[int, FinishReason | None] = {}
    while len(rows):
        for token in rows.step():
            ids[token.row].append(token.id)
            logprobs[token.row].append(token.logprob)
            reasons[token.row] = token.finish_reason
    found: list[list[Hypothesis]] = [[] for _ in pieces]
    for row, at in owners.items():
        drawn = Hypothesis(
            ids=tuple(ids[row]),
            score=sum(logprobs[row]) / search.penalty(len(ids[row])),
            logprobs=tuple(logprobs[row]),
            finished=reasons[row] == "stop",
            windowed=False,
        )
        found[at].append(drawn)
    return [sorted(several, key=lambda one: -one.score) for several in found]


def _translation(sides: Sides, piece: _Piece, found: Sequence[Hypothesis], search: Search) -> Translation:
    texts = [_ids(piece, one) for one in found]
    best = found[0]
    return Translation(
        text=sides.target.decode(texts[0]),
        score=best.score,
        logprob=sum(best.logprobs),
        length=len(best.ids),
        ids=texts[0],
        finish_reason="stop" if best.finished else "length",
        alternatives=tuple(
            Alternative(text=sides.target.decode(ids), score=one.score)
            for ids, one in zip(texts[1:], found[1:], strict=True)
        ),
    )


def _ids(piece: _Piece, hypothesis: Hypothesis) -> list[int]:
    """The forced prefix and what follows it, without the end."""
    return [*piece.prompt[1:], *(hypothesis.ids[:-1] if hypothesis.finished else hypothesis.ids)]


def _whole(
    text: str, pieces: Sequence[_Piece], found: Sequence[Translation], request: TranslationRequest
) -> Translation:
    """The translation of a text from those of its pieces."""
    if not pieces:
        return Translation(text="", score=0.0, logprob=0.0, length=0, ids=[], finish_reason="stop")
    if len(pieces) == 1:
        return found[0]
    logprob, length = sum(one.logprob for one in found), sum(one.length for one in found)
    return Translation(
        text=joined([one.text for one in found], [piece.text for piece in pieces]),
        score=logprob / request.search.penalty(length),
        logprob=logprob,
        length=length,
        ids=[token for one in found for token in one.ids],
        finish_reason="length" if any(one.finish_reason == "length" for one in found) else "stop",
        windowed=True,
        pieces=tuple(found),
    )
