"""Everything that can be seen of one pass, asked for in one request and answered as one object for JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from headway.errors import DataError, UsageError
from headway.insight.anatomy import Anatomy, anatomy_of
from headway.insight.attention_maps import Encoding, MapTrace, encoded, require_room, thumbnails
from headway.insight.contributions import contributions
from headway.insight.head_kinds import FEWEST_REPEATS, random_repeated, repeats
from headway.insight.logit_lens import MOST, logit_lens, most_probable
from headway.insight.one_pass import Fed, Pass, run_pass
from headway.insight.token_texts import TokenTexts
from headway.nn.trace import Ablation
from headway.text.tokenizer import Tokenizer

_LARGEST_SIDE = 128
_MOST_NEXT = 1000
WHOLE_LAYER = -1
"""In place of a head's number in `ablate`: every head of that layer."""


@dataclass(frozen=True, kw_only=True)
class InspectionRequest:
    """What is wanted of a pass; what is not asked for costs nothing.

    attention: layers whose maps are wanted whole. thumbnails: the side of small maps of every head, 0 for none.
    logit_lens: how many tokens at each layer and position, 0 for none. contributions, heads: see `contributions` and
    `head_kinds`. ablate: (layer, head) to silence, head -1 for all of a layer. top: how many next tokens. encoding: of
    whole maps.
    """

    attention: tuple[int, ...] = ()
    thumbnails: int = 0
    logit_lens: int = 0
    contributions: bool = False
    heads: bool = False
    ablate: frozenset[tuple[int, int]] = frozenset()
    top: int = 10
    encoding: Encoding = "json"

    def __post_init__(self) -> None:
        for name, largest in (("thumbnails", _LARGEST_SIDE), ("logit_lens", MOST), ("top", _MOST_NEXT)):
            if not 0 <= getattr(self, name) <= largest:
                raise UsageError(f"{name} must be in 0..{largest}, but got {getattr(self, name)}")
        if self.encoding not in ("json", "u16"):
            raise UsageError(f'encoding must be "json" or "u16", but got {self.encoding!r}')


@dataclass(frozen=True, kw_only=True)
class SourceText:
    """What an encoder-decoder reads: its ids with the end id, the source's tokenizer, and the id targets begin with."""

    ids: Sequence[int]
    tokenizer: Tokenizer
    start: int


def inspect(
    model: nn.Module,
    tokenizer: Tokenizer,
    ids: Sequence[int] | str,
    request: InspectionRequest,
    *,
    source: SourceText | None = None,
) -> dict[str, Any]:
    """Look into one pass of a PyTorch model in evaluation mode; everything returned can be written as JSON.

    Open the model in float32: in bfloat16 all numbers are as coarse as that, and contributions do not quite add up.

    ids: the row as the model takes it, or a text: a reader's gets its begin and end, and its mask's name stands for the
    mask. source: of an encoder-decoder, whose `ids` are the target's, without start and end; "tokens" then begin with
    the start. Always there: "tokens" and "source_tokens" (None without one), "family", "n_layers", "n_heads", "attends"
    (layers with self-attention), "surprise" (bits of each token given those before it, None for the first, and None
    altogether for a reader), "next" (the most probable tokens to follow, None for a reader), "masks" (a reader's: the
    most probable tokens at each mask), "notes" (what was asked for and is not there, with the reason).

    As asked for: "attention" maps by layer, "0" a text's own, "encoder.0" and "cross.0" of a translator, each [H][T][S]
    rows reading columns; "thumbnails" (see `attention_maps`), with "encoder" and "cross" inside for a translator;
    "logit_lens", "contributions"; "heads": scores "previous", "first" and "repeat" [L][H] (see `head_kinds`), where
    "repeat_measured_on" is "text", or "random" where fewer than four of its tokens occurred before: the model then
    reads random ids of its own, drawn with a fixed seed, twice over. Layers without heads have rows of None. With
    `ablate` all of these are of the pass without those heads, and "without_ablation" holds "next", "surprise" and
    "masks" of the model as it is. A position's numbers speak of the token that follows it.

    Raises UsageError, DataError and ContextError for what cannot be; see `run_pass`.
    """
    anatomy = anatomy_of(model)
    looker = _Look(anatomy, tokenizer, request, _fed(anatomy, tokenizer, ids, source))
    with torch.no_grad():
        return looker.result(source)


class _Look:
    """One inspection: the request checked against the model, then its parts."""

    def __init__(self, anatomy: Anatomy, tokenizer: Tokenizer, request: InspectionRequest, fed: Fed) -> None:
        self._anatomy, self._tokenizer, self._request, self._fed = anatomy, tokenizer, request, fed
        self._texts = TokenTexts(tokenizer)
        self._ablate = spelled_out(anatomy, request.ablate)
        self._notes: dict[str, str] = {}
        self._check_layers()

    def result(self, source: SourceText | None) -> dict[str, Any]:
        """See `inspect`."""
        request, anatomy = self._request, self._anatomy
        places = repeats(self._fed.ids)
        by_text = len(places) >= FEWEST_REPEATS
        trace = MapTrace(
            residual=request.logit_lens > 0 or request.contributions,
            parts=request.contributions,
            layers=frozenset(request.attention),
            side=request.thumbnails,
            places=(places if by_text else ()) if request.heads else None,
        )
        seen = run_pass(anatomy, self._fed, trace, self._ablate)
        found: dict[str, Any] = {
            "family": anatomy.family,
            "tokens": self._texts.every(self._fed.ids),
            "source_tokens": None if source is None else TokenTexts(source.tokenizer).every(source.ids),
            "n_layers": anatomy.n_layers,
            "n_heads": anatomy.n_heads,
            "attends": list(anatomy.attends),
            **self._says(seen),
        }
        if request.attention:
            found["attention"] = {name: encoded(maps, request.encoding) for name, maps in trace.whole.items()}
        if request.thumbnails:
            found["thumbnails"] = self._thumbnails(trace)
        if request.logit_lens:
            found["logit_lens"] = self._lens(trace.found)
        if request.contributions:
            found["contributions"] = self._contributions(seen, trace.found)
        if request.heads:
            found["heads"] = self._heads(trace, by_text)
        if self._ablate:
            # With a trace the same plain softmax runs, so that nothing but the ablation makes a difference.
            found["without_ablation"] = self._says(run_pass(anatomy, self._fed, MapTrace()))
        return {**found, "notes": self._notes}

    def _says(self, seen: Pass) -> dict[str, Any]:
        """What the model predicts: "surprise" and "next" of a writer, "masks" of a reader."""
        ids, top = self._fed.ids, self._request.top
        if not self._anatomy.has_words:
            self._notes["next"] = "this model gives labels, not words"
            return {"surprise": None, "next": None, "masks": None}
        if not self._anatomy.writes:
            at = [place for place, id in enumerate(ids) if id == self._tokenizer.mask]
            best = most_probable(seen.logits(at), self._texts, top) if at and top else []
            masks = [{"position": place, "top": tops} for place, tops in zip(at, best, strict=bool(best))]
            return {"surprise": None, "next": None, "masks": masks}
        last = most_probable(seen.logits([len(ids) - 1]), self._texts, top)[0] if top else []
        return {"surprise": _surprise(seen, ids), "next": last, "masks": None}

    def _thumbnails(self, trace: MapTrace) -> dict[str, Any] | None:
        found = thumbnails(trace.small, "", self._anatomy.n_layers)
        others = {
            name: thumbnails(trace.small, name, 1 + max(layers, default=0))
            for name, layers in (
                ("encoder", self._anatomy.encoder_attends),
                ("cross", self._anatomy.cross_attends),
            )
            if layers
        }
        if found is None and not others:
            self._notes["thumbnails"] = "no layer of this model has attention"
            return None
        # A map smaller than a thumbnail is its own.
        side = self._request.thumbnails if found is None else found["shape"][-1]
        return {"side": side, **(found or {"shape": [0, 0, side, side], "data": ""}), **others}

    def _lens(self, found: Mapping[str, Tensor]) -> dict[str, Any] | None:
        if not self._anatomy.blocks or not self._anatomy.has_words:
            self._notes["logit_lens"] = "this model has no layers with a stream, or no output over words"
            return None
        return logit_lens(self._anatomy, found, self._texts, self._request.logit_lens)

    def _contributions(self, seen: Pass, found: Mapping[str, Tensor]) -> dict[str, Any] | None:
        if not self._anatomy.writes or not self._anatomy.blocks:
            self._notes["contributions"] = (
                "they add up only where the output is linear in the stream: GPT-2, Laplace, the Transformer's decoder"
            )
            return None
        ids = self._fed.ids
        last = int(seen.logits([len(ids) - 1])[0].argmax())
        return contributions(self._anatomy, found, ids, last, self._texts)

    def _heads(self, trace: MapTrace, by_text: bool) -> dict[str, Any] | None:
        anatomy = self._anatomy
        if not anatomy.attends:
            self._notes["heads"] = "no layer of this model has heads"
            return None
        repeated = trace.kinds if by_text else self._random_kinds()
        rows = range(anatomy.n_layers)
        result: dict[str, Any] = {
            "previous": [list(trace.kinds[layer].previous) if layer in trace.kinds else None for layer in rows],
            "first": [list(trace.kinds[layer].first) if layer in trace.kinds else None for layer in rows],
            "repeat": [list(repeated[layer].repeat or ()) if layer in repeated else None for layer in rows],
        }
        result["repeat_measured_on"] = "text" if by_text else "random"
        if not repeated:
            self._notes["heads"] = "the model's context is too short to measure repeats in"
        return result

    def _random_kinds(self) -> dict[int, Any]:
        """The kinds of heads on a random sequence of the model's own tokens, said twice; none where it does not fit."""
        anatomy, tokenizer = self._anatomy, self._tokenizer
        begin, end = _ends(anatomy, tokenizer)
        if anatomy.reads_source:
            begin = [self._fed.ids[0]]
        context = anatomy.model.context
        size = min(tokenizer.size, anatomy.model.config.vocabulary)
        room = None if context is None else context - len(begin) - len(end)
        drawn = random_repeated(size, list(tokenizer.special_tokens.values()), room)
        if not drawn:
            return {}
        ids = [*begin, *drawn, *end]
        trace = MapTrace(places=repeats(ids))
        run_pass(anatomy, Fed(ids=ids, source=self._fed.source), trace, self._ablate)
        return trace.kinds

    def _check_layers(self) -> None:
        anatomy, wanted = self._anatomy, self._request.attention
        known = {*anatomy.attends, *anatomy.encoder_attends, *anatomy.cross_attends}
        highest = max(anatomy.n_layers, 1 + max(known, default=0))
        for layer in wanted:
            if not 0 <= layer < highest:
                raise UsageError(f"attention takes layers in 0..{highest - 1}, but got {layer}")
        without = sorted(set(wanted) - known)
        if without:
            named = ", ".join(map(str, without))
            self._notes["attention"] = f"no attention in layers {named}: they mix by something else"
        longest = max(len(self._fed.ids), len(self._fed.source or ()))
        kinds = 3 if anatomy.reads_source else 1
        require_room(kinds * len(set(wanted) & known), anatomy.n_heads or 1, longest * longest, self._request.encoding)


def _surprise(seen: Pass, ids: Sequence[int]) -> list[float | None]:
    """The bits of each token given those before it; None for the first."""
    bits: list[float | None] = [None]
    for begin, logits in seen.in_parts(len(ids) - 1):
        follow = torch.tensor(ids[begin + 1 : begin + 1 + logits.shape[0]], device=logits.device)
        losses = torch.nn.functional.cross_entropy(logits, follow, reduction="none")
        bits += (losses.double() / torch.log(torch.tensor(2.0, dtype=torch.float64))).tolist()
    return bits


def spelled_out(anatomy: Anatomy, asked: Ablation) -> Ablation:
    """Every head by its number, where -1 stands for all of a layer. Raises UsageError for a layer without heads."""
    spelled: set[tuple[int, int]] = set()
    for layer, head in asked:
        if head != WHOLE_LAYER:
            spelled.add((layer, head))
        elif layer in anatomy.attends or (not anatomy.blocks and layer in anatomy.cross_attends):
            spelled |= {(layer, every) for every in range(anatomy.n_heads)}
        else:
            raise UsageError(
                f"ablate names layer {layer}, but layers with heads are {list(anatomy.attends) or 'none'} in this model"
            )
    return frozenset(spelled)


def _fed(anatomy: Anatomy, tokenizer: Tokenizer, ids: Sequence[int] | str, source: SourceText | None) -> Fed:
    """What the model is given: see `inspect`. Raises DataError for a text without a token."""
    if isinstance(ids, str):
        mask = None if anatomy.writes else tokenizer.mask_token
        found = tokenizer.encode(ids, allowed_special=() if mask is None else {mask})
        if not found and source is None:
            raise DataError("there is no text to look at\nGive at least one token.")
        begin, end = _ends(anatomy, tokenizer)
        ids = [*begin, *found, *end]
    if source is None:
        return Fed(ids=list(ids))
    return Fed(ids=[source.start, *ids], source=list(source.ids))


def _ends(anatomy: Anatomy, tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """What stands before and behind a text that a reader reads; nothing around what is written."""
    if anatomy.writes:
        return [], []
    begin, end = tokenizer.begin_of_text, tokenizer.end_of_text
    return [] if begin is None else [begin], [] if end is None else [end]
