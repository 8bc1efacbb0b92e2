"""How good alignments are, and which attention of a model aligns best.

With a gold alignment by the alignment error rate (Och and Ney 2003, section 4.2); without one by agreement with the
diagonal, which is where the words of languages of like order lie. A head that looks at positions alone agrees with the
diagonal too, so a gold alignment of even some dozens of sentences is the better judge.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headway.errors import DataError, UsageError
from headway.tasks.alignment import Head, attention_maps, attention_of
from headway.tasks.alignment_words import Link
from headway.tasks.search_defaults import HEAD_KEY
from headway.tasks.translating import Sides
from headway.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True, kw_only=True)
class Gold:
    """Links that people made of a sentence: the sure ones, and all that are possible, the sure ones among them."""

    sure: frozenset[Link]
    possible: frozenset[Link]


@dataclass(frozen=True, kw_only=True)
class HeadScore:
    """How well a head aligns: agreement with the diagonal, 0..1, and the error rate where there is a gold alignment."""

    head: Head
    agreement: float
    error_rate: float | None


def read_gold(line: str) -> Gold:
    """A line in Pharaoh's format: source-target pairs of word numbers from 0, "0-0 1-2"; "1p2" is only possible.

    Raises DataError for anything else.
    """
    sure: set[Link] = set()
    possible: set[Link] = set()
    for word in line.split():
        mark = "p" if "p" in word else "-"
        first, _, second = word.partition(mark)
        if not (first.isdecimal() and second.isdecimal()):
            raise DataError(f"an alignment is written as 0-0 1-2 (source-target, from 0), but got {word[:40]!r}")
        (possible if mark == "p" else sure).add((int(first), int(second)))
    return Gold(sure=frozenset(sure), possible=frozenset(sure | possible))


def alignment_error_rate(found: Sequence[Iterable[Link]], gold: Sequence[Gold]) -> float:
    """1 - (|A and S| + |A and P|) / (|A| + |S|), counted over all sentences; 0 is best.

    Raises UsageError for lists of different lengths, DataError where neither side has a link.
    """
    if len(found) != len(gold):
        raise UsageError(f"an error rate takes one gold alignment a sentence, but got {len(found)} and {len(gold)}")
    hits, total = 0, 0
    for links, wanted in zip(found, gold, strict=True):
        here = set(links)
        hits += len(here & wanted.sure) + len(here & wanted.possible)
        total += len(here) + len(wanted.sure)
    if total == 0:
        raise DataError("there are no links at all, so there is no error rate\nGive sentences that have some.")
    return 1.0 - hits / total


def diagonal_agreement(weights: "numpy.ndarray", *, reverse: bool = False) -> float:
    """How near the diagonal the attention (T, S) lies, its last column, the end, left out: 1 on it, 2/3 all over.

    reverse: the other diagonal, from the last source word to the first.
    """
    import numpy

    inner = weights[:, :-1].astype(numpy.float64)
    if 0 in inner.shape:
        return 0.0
    n_target, n_source = inner.shape
    down = (numpy.arange(n_target) + 0.5)[:, None] / n_target
    across = (numpy.arange(n_source) + 0.5)[None, :] / n_source
    near = 1.0 - numpy.abs((1.0 - across if reverse else across) - down)
    mass = inner.sum(axis=1)
    shares = (inner * near).sum(axis=1) / numpy.where(mass > 0, mass, 1.0)
    return float(shares.mean())


def score_heads(
    sides: Sides, sources: Sequence[str], targets: Sequence[str], *, gold: Sequence[Gold] | None = None
) -> list[HeadScore]:
    """Every head of every layer that reads the source, and every layer's mean, the best first.

    gold: one a pair, whose words are those between blanks. Pairs past the model's context are left out. Raises
    DataError where no pair is left or gold has another number of lines, UsageError for a model without attention.
    """
    if gold is not None and len(gold) != len(sources):
        raise DataError(f"a gold alignment has a line for each pair, but there are {len(gold)} and {len(sources)}")
    source_ids = [[*ids, sides.source_end] for ids in _encoded(sides.source, sources)]
    target_ids = _encoded(sides.target, targets)
    context = sides.model.context
    kept = [
        at
        for at, pair in enumerate(zip(source_ids, target_ids, strict=True))
        if pair[1] and (context is None or max(map(len, pair)) <= context)
    ]
    if not kept:
        raise DataError("there is no pair to judge heads by that the model can read\nGive pairs of single sentences.")
    maps = attention_maps(
        sides.traced, [source_ids[at] for at in kept], [target_ids[at] for at in kept], start=sides.start
    )
    n_layers, n_heads = maps[0].shape[:2]
    heads: list[Head] = [(layer, head) for layer in range(n_layers) for head in (*range(n_heads), None)]
    scores = []
    for layer, head in heads:
        weights = [one[layer].mean(axis=0) if head is None else one[layer, head] for one in maps]
        rate = None
        if gold is not None:
            links = [
                attention_of(sides.source, sides.target, source_ids[at], target_ids[at], one, at_blanks=True).links
                for at, one in zip(kept, weights, strict=True)
            ]
            rate = alignment_error_rate(links, [gold[at] for at in kept])
        agreement = sum(map(diagonal_agreement, weights)) / len(weights)
        scores.append(HeadScore(head=(layer, head), agreement=agreement, error_rate=rate))
    return sorted(scores, key=lambda one: -one.agreement if one.error_rate is None else one.error_rate)


def remember_head(folder: Path, head: Head) -> None:
    """Note in a model folder's generation_config.json which head aligns best. Raises StorageError, FormatError."""
    from headway.formats.folder import GENERATION, read_generation
    from headway.storage import replace_file

    table = {**read_generation(folder), HEAD_KEY: list(head)}
    text = json.dumps(table, indent=2, sort_keys=True) + "\n"
    replace_file(folder / GENERATION, lambda partial: _write(partial, text))


def _encoded(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    return [tokenizer.encode(text) for text in texts]


def _write(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
