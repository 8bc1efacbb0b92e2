"""What can be told of the languages of pairs without knowing any: scripts of letters, and whether two sets agree."""

import functools
import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headway.corpus.pair_readers import Pair

_SAMPLE = 2000  # pairs of each set, evenly spread
_MARGIN = 0.1  # of a cosine; by so much the crossed languages must be nearer before it is said that they are crossed
_LETTERS = 3  # letters to a gram

# Scripts that one language writes side by side: Japanese, and Korean with its Chinese letters.
_TOGETHER = {"CJK": "EAST ASIAN", "HIRAGANA": "EAST ASIAN", "KATAKANA": "EAST ASIAN", "HANGUL": "EAST ASIAN"}


@dataclass(frozen=True, kw_only=True)
class LanguageOrder:
    """How near the sides of two sets of pairs are, 0 to 1: each to the same side, and each to the other side."""

    straight: float
    crossed: float

    @property
    def swapped(self) -> bool:
        """Whether source and target of the second set are likely to be in the wrong order."""
        return self.crossed > self.straight + _MARGIN

    def __str__(self) -> str:
        return (
            "source and target seem to be swapped between the training pairs and the others: by their letters, sides "
            f"that should be of one language are {100 * self.straight:.0f} % alike, "
            f"crossed ones {100 * self.crossed:.0f} %"
            if self.swapped
            else f"the languages stand in the same order ({100 * self.straight:.0f} % alike; "
            f"crossed {100 * self.crossed:.0f} %)"
        )


def language_order(train: Iterable[Pair], other: Iterable[Pair]) -> LanguageOrder:
    """Compare two sets by how often each group of three letters stands on each side (Cavnar and Trenkle 1994).

    Both are read once, and some thousands of pairs of each are held. Where both sides have one language, as a text and
    its summary, straight and crossed come out nearly equal, and nothing is swapped.
    """
    ours, theirs = _spread(train), _spread(other)
    source, target = _grams([pair.source for pair in ours]), _grams([pair.target for pair in ours])
    their_source, their_target = _grams([pair.source for pair in theirs]), _grams([pair.target for pair in theirs])
    return LanguageOrder(
        straight=(_likeness(source, their_source) + _likeness(target, their_target)) / 2,
        crossed=(_likeness(source, their_target) + _likeness(target, their_source)) / 2,
    )


@functools.lru_cache(maxsize=1 << 17)
def script_of(character: str) -> str | None:
    """The script of a letter, "LATIN" or "CYRILLIC", by the first word of its Unicode name; None for no letter.

    Letters in other dress (full width, bold, superscript) count as the plain ones.
    """
    if not character.isalpha():
        return None
    plain = unicodedata.normalize("NFKD", character)[0]
    first = unicodedata.name(plain, "").partition(" ")[0].partition("-")[0]
    if unicodedata.category(plain) == "Lm" or not first:  # marks like the modifier apostrophe stand in any script
        return None
    return _TOGETHER.get(first, first)


def scripts(characters: Counter[str]) -> Counter[str]:
    """How many letters of each script there are among counted characters."""
    found: Counter[str] = Counter()
    for character, count in characters.items():
        script = script_of(character)
        if script is not None:
            found[script] += count
    return found


def _spread(pairs: Iterable[Pair]) -> list[Pair]:
    """Every n-th pair, n such that between `_SAMPLE` and twice as many remain; all, where they are fewer."""
    held: list[Pair] = []
    stride = 1
    for number, pair in enumerate(pairs):
        if number % stride == 0:
            held.append(pair)
            if len(held) > 2 * _SAMPLE:
                held, stride = held[::2], 2 * stride
    return held


def _grams(texts: Sequence[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for text in texts:
        spaced = f" {' '.join(text.lower().split())} "
        found.update(spaced[place : place + _LETTERS] for place in range(len(spaced) - _LETTERS + 1))
    return found


def _likeness(one: Counter[str], other: Counter[str]) -> float:
    """The cosine of two tables of counts; 0 where one is empty."""
    norms = math.sqrt(sum(n * n for n in one.values()) * sum(n * n for n in other.values()))
    return sum(count * other[gram] for gram, count in one.items()) / norms if norms else 0.0
