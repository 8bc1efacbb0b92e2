"""GPT-2's way of writing any byte as one visible character, so that vocabularies of bytes fit into JSON and lines.

Bytes that print as themselves in Latin-1 stay; the other 68 take the characters from U+0100 on, in order
(Radford et al. 2019, the published `bytes_to_unicode`).
"""

from collections.abc import Sequence
from itertools import accumulate

_VISIBLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_HIDDEN = tuple(byte for byte in range(256) if byte not in _VISIBLE)
_TO_TEXT = {byte: 0x100 + place for place, byte in enumerate(_HIDDEN)}
# A hidden byte's own Latin-1 character is not in the alphabet: it is sent where Latin-1 cannot follow.
_TO_BYTES = {code: byte for byte, code in _TO_TEXT.items()} | dict.fromkeys(_HIDDEN, 0xFFFF)

BYTE_ORDER = (*_VISIBLE, *_HIDDEN)
"""All 256 bytes in the order of their characters, which is the order of GPT-2's first 256 ids."""


def to_text(data: bytes) -> str:
    """One visible character a byte."""
    return data.decode("latin-1").translate(_TO_TEXT)


def to_bytes(text: str) -> bytes:
    """The bytes such text stands for. Raises UnicodeEncodeError for a character outside the alphabet."""
    return text.translate(_TO_BYTES).encode("latin-1")


def all_to_bytes(texts: Sequence[str]) -> list[bytes]:
    """`to_bytes` of many texts in one go, many times faster."""
    data = to_bytes("".join(texts))
    ends = list(accumulate(map(len, texts)))
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
