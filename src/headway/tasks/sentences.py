"""Text in pieces that a model can read: sentences, and where a sentence is too long, its clauses, then its words.

Rules, no model: a stop, its closing quotes and a blank end a sentence, unless an abbreviation stands before it or a
small letter follows. The pieces put together are the text, character by character. All searches take linear time.
"""

import re
from collections.abc import Callable, Sequence

from headway.errors import UsageError

_STOPS = ".!?\u2026"  # these end a sentence only before a blank
_FULL_STOPS = "\u3002\uff01\uff1f\uff61\u061f\u06d4\u0964\u0965\u0589"  # CJK, Arabic, Indic, Armenian: always
_CLOSERS = "\"')\\]}\u201d\u2019\u00bb\u203a\u300d\u300f\uff09\u3011\u3009\u300b"
_END = re.compile(
    rf"(?<![{_STOPS}{_FULL_STOPS}])(?P<stops>[{_STOPS}{_FULL_STOPS}]++)"
    rf"(?:[{_CLOSERS}]|[ \u00a0\u202f]\u00bb)*+(?P<blank>\s*+)"
)
_LINE = re.compile(r"\n\s*+")
_CLAUSE = re.compile("[,;:\u2013\u2014](?=\\s)\\s++|[\u060c\u061b\u3001\uff0c\uff1b\uff1a]\\s*+")
_SPACE = re.compile(r"\s++")
_LONGEST_ABBREVIATION = 16

# Before a name, whatever case it has.
_TITLES = frozenset(
    "mr mrs ms dr prof st sr jr gen col capt lt sgt rev hon gov sen rep pres messrs mt ft vs v cf viz approx ca "
    "m mm mme mmes mlle mlles mgr pr ste av bd env ex hr fr bzw str abb bd sog sra srta sig".split()
)
# Before a number.
_NUMBERED = frozenset(
    "no nos nr n\u00b0 vol vols fig figs p pp art arts chap ch sec sect par para eq ed tab "
    "jan feb mar apr jun jul aug sep sept oct nov dec janv f\u00e9vr avr juil d\u00e9c".split()
)
_SMALLEST = 4  # a character can be four tokens


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, each with the blanks behind it; a line's end ends a sentence too.

    "".join(...) is the text. An empty text has none.
    """
    ends = {match.end() for match in _LINE.finditer(text)}
    ends |= {match.end() for match in _END.finditer(text) if _is_end(text, match)}
    return _cut_at(text, ends)


def pieces_that_fit(text: str, longest: int, count: Callable[[str], int], *, packed: bool = False) -> list[str]:
    """The sentences of a text, those of more than `longest` tokens cut at clauses, then blanks, then anywhere.

    packed: as many sentences go into one piece as fit, where else each is a piece of its own. count: a text's tokens.
    "".join(...) is the text. Raises UsageError for a `longest` below 4.
    """
    if longest < _SMALLEST:
        raise UsageError(f"a piece must have room for {_SMALLEST} tokens (one character), but longest={longest}")
    pieces = [piece for sentence in split_sentences(text) for piece in _cut(sentence, longest, count, 0)]
    return _packed(pieces, longest, count) if packed else pieces


def joined(pieces: Sequence[str], sources: Sequence[str]) -> str:
    """What was made of the pieces of a text as one text, with the blanks that stood between them in the source.

    A blank is added where there was none, and left out where both its neighbours are written without (Chinese,
    Japanese); a line's end always stays. Empty pieces leave nothing behind.
    """
    text = ""
    between = ""
    for piece, source in zip(pieces, sources, strict=True):
        piece = piece.strip()
        if piece:
            text += (_blank(between, text[-1], piece[0]) if text else "") + piece
            between = ""
        between += source[len(source.rstrip()) :]
    return text


def _is_end(text: str, match: re.Match[str]) -> bool:
    stops = match["stops"]
    if any(stop in _FULL_STOPS for stop in stops):
        return True
    if not match["blank"] or match.end() == len(text):
        return False  # inside a word or number; or the very end, which needs no mark
    following = text[match.end()]
    if following.islower():
        return False
    if stops != ".":
        return True
    before = text[max(0, match.start() - _LONGEST_ABBREVIATION) : match.start()]
    word = re.split("[\\s(\\[\"'\u00ab\u201c\u2018\u2019]", before)[-1]
    initial = len(word) == 1 and word.isupper() and word != "I"
    if initial or "." in word and all(len(part) == 1 and part.isalpha() for part in word.split(".")):
        return False  # J. K. Rowling, the U.S. Army
    known = word.lower()
    return not (known in _TITLES or (known in _NUMBERED and following.isdigit()))


def _cut_at(text: str, ends: set[int]) -> list[str]:
    places = sorted({0, len(text)} | ends)
    return [text[start:end] for start, end in zip(places, places[1:], strict=False)]


def _cut(text: str, longest: int, count: Callable[[str], int], level: int) -> list[str]:
    """A piece in pieces that fit: at clauses (level 0), at blanks (1), in the middle (2)."""
    if count(text) <= longest or len(text) < 2:
        return [text]
    if level == 2:
        middle = len(text) // 2
        return _cut(text[:middle], longest, count, 2) + _cut(text[middle:], longest, count, 2)
    parts = _cut_at(text, {match.end() for match in (_CLAUSE, _SPACE)[level].finditer(text)})
    if len(parts) == 1:
        return _cut(text, longest, count, level + 1)
    whole = [smaller for part in parts for smaller in _cut(part, longest, count, level + 1)]
    return _packed(whole, longest, count)


def _packed(parts: Sequence[str], longest: int, count: Callable[[str], int]) -> list[str]:
    """Neighbouring parts together, as many as fit; parts that fit alone stay whole."""
    groups: list[list[str]] = []
    room = 0
    for part in parts:
        tokens = count(part)
        if groups and tokens <= room:
            groups[-1].append(part)
            room -= tokens
        else:
            groups.append([part])
            room = longest - tokens
    return [piece for group in groups for piece in _verified(group, longest, count)]


def _verified(group: list[str], longest: int, count: Callable[[str], int]) -> list[str]:
    """The group as one piece, or in halves where it has more tokens together than its parts have alone."""
    whole = "".join(group)
    if len(group) == 1 or count(whole) <= longest:
        return [whole]
    middle = len(group) // 2
    return _verified(group[:middle], longest, count) + _verified(group[middle:], longest, count)


def _blank(between: str, before: str, after: str) -> str:
    if "\n" in between:
        return between[between.index("\n") :]
    if _without_blanks(before) and _without_blanks(after):
        return ""
    return between or " "


def _without_blanks(character: str) -> bool:
    """Chinese and Japanese characters and their punctuation."""
    return "\u2e80" <= character <= "\u9fff" or "\uf900" <= character <= "\ufaff" or "\uff00" <= character <= "\uffef"
