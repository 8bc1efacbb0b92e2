"""Copy and reverse: pairs whose one right target is known, at every length, for as many symbols as one likes.

They are where the fixed vector fails first: nothing can be guessed, every symbol has to pass through.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from headway.corpus.pair_readers import Pair
from headway.errors import ConfigError

_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


@dataclass(frozen=True, kw_only=True)
class SyntheticSettings:
    """One task. symbols: how many different words there are; shortest, longest: words of a sentence, drawn evenly."""

    task: Literal["copy", "reverse"]
    symbols: int = 40
    shortest: int = 5
    longest: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        most = len(_CONSONANTS) * len(_VOWELS)
        if not 2 <= self.symbols <= most:
            raise ConfigError(f"symbols must be in 2..{most}, but got {self.symbols}")
        if not 1 <= self.shortest <= self.longest:
            raise ConfigError(f"1 <= shortest <= longest must hold, but got {self.shortest} and {self.longest}")


def synthetic_pairs(settings: SyntheticSettings, count: int) -> Iterator[Pair]:
    """`count` pairs drawn by the seed; the first n of more pairs are the same as n pairs."""
    words = [first + second for second in _VOWELS for first in _CONSONANTS][: settings.symbols]
    chance = random.Random(f"{settings.task} {settings.seed}")
    for _ in range(count):
        source = chance.choices(words, k=chance.randint(settings.shortest, settings.longest))
        yield Pair(source=" ".join(source), target=" ".join(expected(settings.task, source)))


def expected(task: str, words: list[str]) -> list[str]:
    """What the task makes of the words."""
    return words[::-1] if task == "reverse" else list(words)


def on_the_diagonal(task: str, links: list[tuple[int, int]], length: int) -> float:
    """The share of links (source word, target word) that join a word with its own copy: 1.0 is the (anti-)diagonal."""
    if not links:
        return 0.0
    right = sum(source == (length - 1 - target if task == "reverse" else target) for source, target in links)
    return right / len(links)
