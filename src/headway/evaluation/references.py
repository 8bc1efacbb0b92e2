"""A test set as it is scored: each distinct source once, with every reference the file has for it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from headway.errors import DataError


class SourceAndTarget(Protocol):
    """A sentence and a translation of it, such as corpus.pairs.Pair."""

    @property
    def source(self) -> str: ...

    @property
    def target(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class TestSet:
    """Sentences to translate, and the references of each: references[i] are those of sources[i], one at least."""

    __test__ = False  # not a test, whatever pytest makes of the name

    sources: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]

    @property
    def n_references(self) -> int:
        """How many references there are in all."""
        return sum(map(len, self.references))


def read_test_set(
    pairs: Iterable[SourceAndTarget], *, single_reference: bool = False, limit: int | None = None
) -> TestSet:
    """Group pairs with an equal source, to the letter, as the references of one sentence, in the order they come.

    A pair that stands there twice is one reference. single_reference: every pair is a sentence of its own instead.
    limit: the first so many sentences, with all their references. Raises DataError where there is no pair, or one
    with an empty side, which has no score.
    """
    grouped: dict[str | int, tuple[str, list[str]]] = {}
    empty: list[int] = []
    for number, pair in enumerate(pairs, start=1):
        if not pair.source.strip() or not pair.target.strip():
            empty.append(number)
            continue
        _, references = grouped.setdefault(number if single_reference else pair.source, (pair.source, []))
        if pair.target not in references:
            references.append(pair.target)
    if empty:
        raise DataError(
            f"every pair of a test set must have both sides, but {len(empty)} have an empty one: "
            f"{', '.join(f'pair {number}' for number in empty[:5])}{', ...' if len(empty) > 5 else ''}\n"
            "Take these lines out, or complete them."
        )
    if not grouped:
        raise DataError("a test set must have at least one pair, but it has none\nGive a file of pairs.")
    kept = list(grouped.values())[:limit]
    return TestSet(sources=tuple(source for source, _ in kept), references=tuple(tuple(found) for _, found in kept))
