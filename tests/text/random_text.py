"""Random Unicode strings that go where split patterns break: borders of space, letters, digits, marks and the rest."""

import random
from collections.abc import Iterator

_ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    " \t\n\r\x0b\x0c\x1c\x1f\x85\u00a0\u1680\u2003\u2028\u202f\u3000\u200b\ufeff\u180e",
    "0123456789\u00b2\u00bd\u0663\u0967\u2167\u4e00\U0001d7d8",
    ".,;:!?'\"-_()[]{}<>|/\\@#$%^&*+=~`\u2019\u201c\u2014\u2026\u3002",
    "\u00e4\u00f6\u00fc\u00df\u00e9\u00e8\u00f1\u0142\u03b1\u03b2\u03b3\u0416\u0434\u05d0\u05d1\u0627\u0628\u0905\u0e01\u0e17",
    "\u0301\u0308\u0327\u0651\u093f\u0e34\u20dd\ufe0f\u200d",
    "\u4e2d\u6587\u65e5\u672c\u8a9e\ud55c\uad6d\u3042\u30ab",
    "\U0001f600\U0001f468\U0001f3fd\U0001f1eb\U0001f1f7\u2764\U0001d400\U00020000\U000e0001\U0010ffff",
)
_SNIPPETS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", " the", "ing", "<|endoftext|>", "\r\n", "   ", "...")


def random_strings(count: int, seed: int) -> Iterator[str]:
    """So many strings of 0 to 24 parts; the same seed gives the same strings."""
    source = random.Random(seed)
    for _ in range(count):
        yield "".join(_part(source) for _ in range(source.randrange(25)))


def _part(source: random.Random) -> str:
    kind = source.random()
    if kind < 0.2:
        return source.choice(_SNIPPETS)
    if kind < 0.3:
        code = source.randrange(0x110000 - 0x800)
        return chr(code if code < 0xD800 else code + 0x800)
    if kind < 0.4:
        return source.choice(source.choice(_ALPHABETS)) * source.randrange(1, 9)
    alphabet = source.choice(_ALPHABETS)
    return "".join(source.choice(alphabet) for _ in range(source.randrange(1, 5)))
