"""What stood behind a mask: the likeliest tokens, with the text as each would make it."""

import re
from dataclasses import dataclass

import torch

from headway.corpus.layout_of_texts import lay_out
from headway.errors import DataError, FormatError, UsageError
from headway.tasks.reading import Opened, Row
from headway.text.tokenizer import MASK


@dataclass(frozen=True, kw_only=True)
class Fill:
    """A guess for one mask.

    place: which mask of the text, from 0. token: what the id adds to a text, without blanks around; text: the whole
    text with it in place of that mask, other masks as they were.
    """

    place: int
    token: str
    probability: float
    id: int
    text: str


def fill(reader: Opened, text: str, *, top: int) -> tuple[Fill, ...]:
    """The `top` likeliest tokens for each mask of the text, mask by mask; special tokens are never guessed.

    A mask is written [MASK], or as the tokenizer writes its own. A text longer than the model is read around each mask.
    Raises UsageError for a text without a mask, FormatError for a reader that guesses no words.
    """
    if getattr(reader.model, "output", None) is None or not hasattr(reader.model, "before_output"):
        raise FormatError(
            f"{reader.name} guesses no words: it has no masked-word head\n"
            "Take a model trained with --family bert; one that writes goes on from a text instead: headway write"
        )
    mask, own = reader.tokenizer.mask, reader.tokenizer.mask_token
    if mask is None or own is None:
        raise FormatError(f"the tokenizer of {reader.name} has no {MASK}, so nothing can be hidden from it")
    if not 1 <= top <= reader.tokenizer.size:
        raise UsageError(f"top must be in 1..{reader.tokenizer.size}, but got {top}")
    if not text.strip():
        raise DataError(f"there is no text; give one with {MASK} where a word is to be guessed")
    apart = _apart(text, own)
    ids = reader.tokenizer.encode(own.join(apart[::2]), allowed_special={own})
    places = [place for place, id in enumerate(ids) if id == mask]
    if not places:
        raise UsageError(f'write {MASK} where a word is to be guessed, for instance "The {MASK} of the Union"')
    rows = [_around(reader, ids, place, number) for number, place in enumerate(places)]
    found: dict[int, tuple[Fill, ...]] = {}
    special = list(reader.tokenizer.special_tokens.values())
    for some, states, _ in reader.states([row for row, _ in rows]):
        for row, state in zip(some, states, strict=True):
            number = row.text
            with torch.no_grad():
                read = reader.model.before_output(state[rows[number][1]][None])
                logits = reader.model.output(read)[0].float()
            probabilities = logits.softmax(dim=-1)
            probabilities[special] = -1.0
            best = probabilities.topk(min(top, len(probabilities) - len(special)))
            found[number] = tuple(
                _guess(reader, apart, number, id, value)
                for value, id in zip(best.values.tolist(), best.indices.tolist(), strict=True)
            )
    return tuple(guess for number in sorted(found) for guess in found[number])


def _around(reader: Opened, ids: list[int], place: int, number: int) -> tuple[Row, int]:
    """The row that holds a mask, as much of the text on either side as fits, and where in it the mask stands."""
    room = reader.room(pair=False)
    begin = min(max(0, place - room // 2), max(0, len(ids) - room))
    laid, segments = lay_out(reader.tokenizer, ids[begin : begin + room])
    first = int(reader.tokenizer.begin_of_text is not None)
    return Row(text=number, ids=laid, segments=segments, begin=begin), place - begin + first


def _apart(text: str, own: str) -> list[str]:
    """What stands between the masks, and at odd places the masks as they were written."""
    names = "|".join(re.escape(name) for name in sorted({MASK, own}))
    return re.split(f"({names})", text)


def _guess(reader: Opened, apart: list[str], number: int, id: int, probability: float) -> Fill:
    token = reader.tokenizer.decode([id]).strip()
    parts = list(apart)
    continues = reader.tokenizer.continues_word
    if continues is not None and continues[id]:
        token = token.removeprefix("##")
        parts[2 * number] = parts[2 * number].rstrip()
    parts[2 * number + 1] = token
    return Fill(place=number, token=token, probability=probability, id=id, text="".join(parts))
