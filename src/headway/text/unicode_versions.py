"""Characters the libraries disagree on, because their Unicode tables are of different years.

gigatoken knows the letters and digits of Unicode 17; tokenizers and tiktoken stop at Unicode 16 and take the same code
points for symbols, so text is cut elsewhere. A test compares the libraries on every character there is.
"""

import re

_RANGES = (
    *((0x88F, 0x88F), (0xC5C, 0xC5C), (0xCDC, 0xCDC), (0xA7CE, 0xA7CF), (0xA7D2, 0xA7D2), (0xA7D4, 0xA7D4)),
    *((0xA7F1, 0xA7F1), (0x10940, 0x10959), (0x10EC5, 0x10EC7), (0x11DB0, 0x11DDB), (0x11DE0, 0x11DE9)),
    *((0x16EA0, 0x16EB8), (0x16EBB, 0x16ED3), (0x16FF2, 0x16FF6), (0x187F8, 0x187FF), (0x18D09, 0x18D1E)),
    *((0x18D80, 0x18DF2), (0x1E6C0, 0x1E6DE), (0x1E6E0, 0x1E6E2), (0x1E6E4, 0x1E6E5), (0x1E6E7, 0x1E6ED)),
    *((0x1E6F0, 0x1E6F4), (0x1E6FE, 0x1E6FF), (0x2B73A, 0x2B73F), (0x2CEA2, 0x2CEAD), (0x323B0, 0x33479)),
)
_DISPUTED = re.compile("[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in _RANGES) + "]")
_ASCII = bytes(range(128))
# How their UTF-8 begins: a search for a few bytes is many times faster than one for characters, and seldom finds any.
_BEGINNINGS = {
    chr(code).encode()[: 3 if code < 0x10000 else 2] for first, last in _RANGES for code in range(first, last + 1)
}
_LEADS: dict[bytes, list[bytes]] = {}
for _beginning in sorted(_BEGINNINGS):
    _LEADS.setdefault(_beginning[:1], []).append(_beginning)


def has_disputed(data: bytes) -> bool:
    """Whether UTF-8 text holds such a character. Most text is mostly ASCII, so that is taken out first."""
    rest = data.translate(None, _ASCII)
    leads = [lead for lead in _LEADS if lead in rest]
    if not any(beginning in rest for lead in leads for beginning in _LEADS[lead]):
        return False
    return _DISPUTED.search(rest.decode()) is not None
