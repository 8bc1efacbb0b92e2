"""Spans as tags of words and back: BIO (Ramshaw and Marcus 1995), BIOES (Ratinov and Roth 2009), IO, or none.

A tag is "O" or a prefix, a hyphen and a label; prefixes say whether a word begins (B, S), goes on (I) or ends (E, S) a
span. Read strictly, a span whose tags break the scheme is no span; leniently, each tag but O belongs to some span.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from headway.errors import ConfigError, DataError

Scheme = Literal["BIO", "BIOES", "IO", "none"]
"""none: tags are labels of single words, such as parts of speech."""

OUTSIDE = "O"
_PREFIXES = {"BIO": "BI", "BIOES": "BIES", "IO": "I"}


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Words [begin, end) with a label."""

    begin: int
    end: int
    label: str


def split_tag(tag: str) -> tuple[str, str]:
    """Prefix and label of a tag: ("B", "PER") of "B-PER", ("O", "") of "O", ("", "NOUN") of a bare label."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, hyphen, label = tag.partition("-")
    return (prefix, label) if hyphen and len(prefix) == 1 and prefix in "BIESLU" else ("", tag)


def scheme_of(tags: Iterable[str]) -> Scheme:
    """The scheme that these tags, all of a file, are in: by their prefixes. BILOU counts as BIOES.

    Bare labels are spans (IO) where there is an O beside them, else labels of single words.
    """
    seen = set(tags)
    prefixes = {split_tag(tag)[0] for tag in seen} - {OUTSIDE}
    if "" in prefixes:
        return "IO" if OUTSIDE in seen else "none"
    if prefixes & set("ESLU"):
        return "BIOES"
    return "BIO" if "B" in prefixes else "IO" if prefixes else "none"


def spans_of(tags: Sequence[str], scheme: str, *, strict: bool = False) -> list[Span]:
    """The spans of a sentence's tags, in order.

    Lenient, as the shared tasks scored (conlleval; seqeval's default): a word goes on the span before it where its
    prefix is I or E, the label the same, and that span was not ended; any other tag begins one. Strict (seqeval's
    mode="strict"): a span begins with B or S and, in BIOES, ends with E or S. With "none" each word is a span.
    Raises ConfigError for an unknown scheme.
    """
    check_scheme(scheme)
    if scheme == "none":
        return [Span(place, place + 1, tag) for place, tag in enumerate(tags)]
    if scheme == "IO":
        tags = [tag if split_tag(tag)[0] else f"I-{tag}" for tag in tags]
    if strict and scheme != "IO":
        return _strict_spans(tags, scheme)
    found: list[Span] = []
    going: tuple[int, str] | None = None  # where the open span began, and its label
    ended = False
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, label = _normal(tag)
        if going is not None and prefix in ("I", "E") and label == going[1] and not ended:
            ended = prefix == "E"
            continue
        if going is not None:
            found.append(Span(going[0], place, going[1]))
        going = None if prefix == OUTSIDE else (place, label)
        ended = prefix in ("E", "S")
    return found


def tags_of(spans: Iterable[Span], length: int, scheme: str) -> list[str]:
    """The tags of a sentence of `length` words with these spans, which may not overlap. Raises ConfigError."""
    check_scheme(scheme)
    tags = [OUTSIDE] * length
    for span in spans:
        size = span.end - span.begin
        for place in range(span.begin, span.end):
            if tags[place] != OUTSIDE or not 0 <= place < length:
                raise ConfigError(f"spans may not overlap or leave the sentence, but word {place} has two")
            first, last = place == span.begin, place == span.end - 1
            if scheme == "none":
                tags[place] = span.label
            elif scheme == "BIOES":
                tags[place] = f"{'S' if size == 1 else 'B' if first else 'E' if last else 'I'}-{span.label}"
            else:
                tags[place] = f"{'B' if first and scheme == 'BIO' else 'I'}-{span.label}"
    return tags


def repaired(tags: Sequence[str], scheme: str) -> list[str]:
    """The tags of the same spans, read leniently, as the scheme writes them. Sound tags come back as they are."""
    return tags_of(spans_of(tags, scheme), len(tags), scheme)


def check_tags(tags: Sequence[str], scheme: str, place: str) -> None:
    """Raises DataError, naming the word, where tags break the scheme; `place`: where the sentence stands."""
    wanted = repaired(tags, scheme)
    for number, (tag, sound) in enumerate(zip(tags, wanted, strict=True), start=1):
        if _normal(tag) != _normal(sound):
            raise DataError(
                f"the tags are {scheme}, but in the sentence at {place} word {number} has {tag!r}"
                + (f" after {tags[number - 2]!r}" if number > 1 else " at the beginning")
                + f"\nMend it; {sound!r} would be sound there."
            )


def tag_set(labels: Iterable[str], scheme: str) -> tuple[str, ...]:
    """All tags that spans with these labels can have, O first; with "none" the labels themselves."""
    check_scheme(scheme)
    ordered = sorted(set(labels))
    if scheme == "none":
        return tuple(ordered)
    return (OUTSIDE, *(f"{prefix}-{label}" for label in ordered for prefix in _PREFIXES[scheme]))


def check_scheme(scheme: str) -> None:
    """Raises ConfigError for a name that is no scheme."""
    if scheme not in get_args(Scheme):
        raise ConfigError(f"a scheme of tags is one of {', '.join(get_args(Scheme))}, but got {scheme!r}")


def _normal(tag: str) -> tuple[str, str]:
    """Prefix and label with BILOU's letters written as BIOES's; a bare label is inside."""
    prefix, label = split_tag(tag)
    return {"L": "E", "U": "S", "": "I"}.get(prefix, prefix), label


def _strict_spans(tags: Sequence[str], scheme: str) -> list[Span]:
    found, place = [], 0
    parts = [_normal(tag) for tag in tags]
    while place < len(parts):
        prefix, label = parts[place]
        begin, place = place, place + 1
        if prefix not in ("B", "S"):
            continue
        last = prefix
        while last in ("B", "I") and place < len(parts) and parts[place][1] == label and parts[place][0] in "IE":
            last = parts[place][0]
            place += 1
        if scheme == "BIO" or last in ("E", "S"):
            found.append(Span(begin, place, label))
    return found
