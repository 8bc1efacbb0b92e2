"""Leaving out what is hardly a pair, with a report of what went and why.

The rules are those of the cleaning scripts of translation (Koehn et al. 2007, Moses; empty, over-long, of very unequal
length), with limits that follow the corpus: a text and its summary are of unequal length by nature.
"""

import hashlib
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy
from numpy.typing import NDArray

from headway.corpus.pair_languages import script_of, scripts
from headway.corpus.pair_readers import Pair
from headway.errors import ConfigError, DataError

_BLOCK = 1 << 13
_EXAMPLES = 3
_SHOWN = 60  # characters of an example
_NAME_WORDS = 3
_SLACK = 10  # characters added to both lengths before they are compared: a few letters more are no sign in "Go."
_SPREADS = 6  # robust deviations that a ratio may lie from the middle of the corpus, where that allows more
_MAIN_SHARE = 0.1  # of a side's letters that make a script one of its own

RULES = {
    "empty": "a side is empty",
    "long": "a side is longer than the limit",
    "copy": "the target is a copy of the source",
    "script": "a side has letters of a script that is not the corpus's",
    "ratio": "the lengths of the sides do not fit each other",
    "duplicate": "the same pair stands before",
}
"""What each rule leaves out; a pair is counted under the first that it breaks."""


@dataclass(frozen=True, kw_only=True)
class CleaningSettings:
    """Which pairs are left out.

    copies: the share of the pairs that may be copies of up to three words, as names are; all other pairs with target
    and source equal (but for case) are left out. length_ratio: how many times as long as the other a side may be, in
    characters, the corpus's own middle ratio put at 1 and some characters of slack given to short sentences; in a
    corpus whose ratios differ much by nature the limit is wider, six of its own (robust) deviations. None: any ratio.
    longest_words: words a side may have; ten characters count as a word at least. other_script: the share of a side's
    letters that may be of a script that is on neither side one of the main ones (a tenth of the letters). duplicates:
    whether pairs equal to one before stay.
    """

    copies: float = 0.01
    length_ratio: float | None = 3.0
    longest_words: int = 2000
    other_script: float = 0.3
    duplicates: bool = False

    def __post_init__(self) -> None:
        for name in ("copies", "other_script"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be in 0..1, but got {getattr(self, name)}")
        if self.length_ratio is not None and self.length_ratio <= 1:
            raise ConfigError(f"length_ratio must be above 1, or None, but got {self.length_ratio}")
        if self.longest_words < 1:
            raise ConfigError(f"longest_words must be at least 1, but got {self.longest_words}")


@dataclass(frozen=True, kw_only=True)
class CleaningReport:
    """What was left out of how many pairs, by rule (names of RULES), with examples of each.

    source_scripts, target_scripts: the main scripts of the sides' letters, most frequent first.
    """

    pairs: int
    kept: int
    counts: dict[str, int]
    examples: dict[str, tuple[Pair, ...]]
    source_scripts: tuple[str, ...] = ()
    target_scripts: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.kept:,} of {self.pairs:,} pairs kept, {self.pairs - self.kept:,} left out"]
        for name, count in self.counts.items():
            if count:
                lines.append(f"  {name}: {count:,} ({RULES[name]})")
                lines += [
                    f"    {pair.place}: {_cut(pair.source)} | {_cut(pair.target)}" for pair in self.examples[name]
                ]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class CleanPairs:
    """The pairs that were kept; every iteration reads the files anew and passes over the others."""

    pairs: Iterable[Pair]
    kept: NDArray[numpy.bool_]
    report: CleaningReport

    def __iter__(self) -> Iterator[Pair]:
        """The kept pairs in order. Raises DataError where the files have more or fewer pairs than when judged."""
        number = -1
        for number, pair in enumerate(self.pairs):
            if number >= len(self.kept):
                break
            if self.kept[number]:
                yield pair
        if number + 1 != len(self.kept):
            raise DataError(
                f"the pairs have changed since they were cleaned: there were {len(self.kept)}\nStart again from them."
            )


def clean(pairs: Iterable[Pair], settings: CleaningSettings | None = None) -> CleanPairs:
    """Judge every pair by the rules and give those that are kept, with the report.

    pairs: a list or `read_pairs(...)`: they are read twice. About 30 bytes of each are held meanwhile, one after that.
    Raises DataError where nothing is kept.
    """
    settings = settings or CleaningSettings()
    facts = _measure(pairs, settings)
    main = _main_scripts(facts.source_characters), _main_scripts(facts.target_characters)
    broken = _broken(facts, settings)
    examples: dict[str, list[Pair]] = {name: [] for name in RULES}
    counts = dict.fromkeys(RULES, 0)
    kept = numpy.ones(len(facts), dtype=numpy.bool_)
    foreign = _foreign(facts, {*main[0], *main[1]})
    names = list(RULES)
    script = names.index("script")
    for number, pair in enumerate(pairs):
        rule = int(broken[number])
        if rule > script and foreign and _has_other_script(pair, foreign, settings.other_script):
            rule = script
        if rule < len(names):
            kept[number] = False
            counts[names[rule]] += 1
            if len(examples[names[rule]]) < _EXAMPLES:
                examples[names[rule]].append(pair)
    report = CleaningReport(
        pairs=len(facts),
        kept=int(kept.sum()),
        counts=counts,
        examples={name: tuple(found) for name, found in examples.items()},
        source_scripts=main[0],
        target_scripts=main[1],
    )
    if report.kept == 0:
        raise DataError(f"cleaning leaves no pair: {_reasons(report)}\nGive other pairs, or none of the rules.")
    return CleanPairs(pairs=pairs, kept=kept, report=report)


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What one reading finds, a number a pair, and how often each character stands on each side."""

    source_lengths: "array[int]" = field(default_factory=lambda: array("I"))
    target_lengths: "array[int]" = field(default_factory=lambda: array("I"))
    digests: "array[int]" = field(default_factory=lambda: array("Q"))
    rules: "array[int]" = field(default_factory=lambda: array("B"))
    names: "array[int]" = field(default_factory=lambda: array("Q"))  # numbers of the copies that may be names
    source_characters: Counter[str] = field(default_factory=Counter)
    target_characters: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.rules)


def _measure(pairs: Iterable[Pair], settings: CleaningSettings) -> _Facts:
    facts = _Facts()
    empty, long, copy, none = (*(list(RULES).index(name) for name in ("empty", "long", "copy")), len(RULES))
    block: list[Pair] = []
    for number, pair in enumerate(pairs):
        source, target = pair.source, pair.target
        facts.source_lengths.append(len(source))
        facts.target_lengths.append(len(target))
        facts.digests.append(_digest(source, target))
        rule = none
        if not source or source.isspace() or not target or target.isspace():
            rule = empty
        elif _is_long(source, settings.longest_words) or _is_long(target, settings.longest_words):
            rule = long
        elif source.strip().casefold() == target.strip().casefold():
            rule = copy
            if len(source.split()) <= _NAME_WORDS:
                facts.names.append(number)
        facts.rules.append(rule)
        block.append(pair)
        if len(block) == _BLOCK:
            _count(block, facts)
            block = []
    _count(block, facts)
    return facts


def _count(block: list[Pair], facts: _Facts) -> None:
    facts.source_characters.update("".join([pair.source for pair in block]))
    facts.target_characters.update("".join([pair.target for pair in block]))


def _broken(facts: _Facts, settings: CleaningSettings) -> NDArray[numpy.int64]:
    """(pairs,) the number of the first rule that each breaks, scripts not looked at; len(RULES) for none."""
    names = list(RULES)
    broken = numpy.array(facts.rules, dtype=numpy.int64)
    allowed = int(settings.copies * len(facts))
    broken[numpy.array(facts.names[:allowed], dtype=numpy.int64)] = len(RULES)
    free = broken == len(RULES)
    if settings.length_ratio is not None and free.any():
        sides = (
            numpy.array(side, dtype=numpy.float64) + _SLACK for side in (facts.source_lengths, facts.target_lengths)
        )
        ratios = numpy.log(next(sides) / next(sides))
        middle = numpy.median(ratios[free])
        deviation = 1.4826 * numpy.median(numpy.abs(ratios[free] - middle))
        limit = max(math.log(settings.length_ratio), _SPREADS * float(deviation))
        broken[free & (numpy.abs(ratios - middle) > limit)] = names.index("ratio")
    if not settings.duplicates:
        digests = numpy.array(facts.digests, dtype=numpy.uint64)
        again = numpy.ones(len(digests), dtype=numpy.bool_)
        again[numpy.unique(digests, return_index=True)[1]] = False
        broken[again & (broken == len(RULES))] = names.index("duplicate")
    return broken


def _main_scripts(characters: Counter[str]) -> tuple[str, ...]:
    found = scripts(characters)
    total = sum(found.values())
    return tuple(script for script, count in found.most_common() if count >= _MAIN_SHARE * total)


def _foreign(facts: _Facts, main: set[str]) -> frozenset[str]:
    """The letters of the corpus that are of none of its main scripts."""
    letters = {*facts.source_characters, *facts.target_characters}
    return frozenset(letter for letter in letters if script_of(letter) not in {None, *main})


def _has_other_script(pair: Pair, foreign: frozenset[str], share: float) -> bool:
    for text in (pair.source, pair.target):
        if not foreign.isdisjoint(text):
            letters = sum(script_of(character) is not None for character in text)
            if sum(character in foreign for character in text) > share * letters:
                return True
    return False


def _is_long(text: str, words: int) -> bool:
    return len(text) > 10 * words or (len(text) > 2 * words and len(text.split()) > words)


def _digest(source: str, target: str) -> int:
    text = f"{len(source)} {source}{target}"  # the length, so that a word moved over to the other side is told apart
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _reasons(report: CleaningReport) -> str:
    return ", ".join(f"{name} {count}" for name, count in report.counts.items() if count) or "there is none"


def _cut(text: str) -> str:
    """The beginning of a text on one line, what cannot be shown replaced."""
    shown = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[:_SHOWN]
    )
    return shown + "..." if len(text) > _SHOWN else shown or "(nothing)"
