"""Halves of characters in a str, as UTF-16 cuts them: pairs are joined, lone ones become U+FFFD."""

from collections.abc import Sequence


def without_surrogates(text: str) -> str:
    """The text with surrogate pairs joined and lone surrogates as U+FFFD."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def utf8(text: str) -> bytes:
    """The text as UTF-8; surrogate pairs joined, lone surrogates as U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return without_surrogates(text).encode()


def character_places(text: str) -> Sequence[int]:
    """Where each character of `without_surrogates(text)` begins in the text, and last of all where the text ends."""
    try:
        text.encode()
        return range(len(text) + 1)
    except UnicodeEncodeError:
        places, place = [0], 0
        while place < len(text):
            pair = "\ud800" <= text[place] <= "\udbff" and "\udc00" <= text[place + 1 : place + 2] <= "\udfff"
            place += 2 if pair else 1
            places.append(place)
        return places
