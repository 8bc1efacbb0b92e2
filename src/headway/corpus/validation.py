"""Which documents are kept aside to measure on: by their text, so that a document and its copies stay together."""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from headway.corpus.documents import text_bytes
from headway.corpus.readers import Document

logger = logging.getLogger(__name__)

SplitName = Literal["train", "validation"]

_FEW = 1 << 12  # different documents up to which their sizes are weighed one by one
_LARGE_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class ValidationPlan:
    """What is kept aside, decided before anything is divided.

    kind: "documents": those whose digest is in `digests` or below `threshold`; "tail": there is but one document, and
    what comes after its first `cut` characters is kept aside; "none": nothing is.
    """

    kind: Literal["documents", "tail", "none"]
    seed: int
    digests: frozenset[int] = frozenset()
    threshold: int = 0
    cut: int = 0


def plan_validation(documents: Iterable[Document], *, share: float, seed: int) -> ValidationPlan:
    """Read all documents once and choose about `share` of their bytes.

    Up to a few thousand documents are taken in an order drawn by `seed` as long as they fit into the share, or the
    smallest where none does; many are taken by a threshold on their digest. Memory does not grow with the corpus.
    """
    sizes: dict[int, int] = {}
    lowest = 1 << 64
    many = False
    characters = 0
    for digest, n_bytes, n_characters in _measured(documents, seed):
        lowest = min(lowest, digest)
        characters = characters or n_characters
        if not many:
            sizes[digest] = sizes.get(digest, 0) + n_bytes
            if len(sizes) > _FEW:
                many, sizes = True, {}
    if share == 0:
        return ValidationPlan(kind="none", seed=seed)
    if many:
        return ValidationPlan(kind="documents", seed=seed, threshold=max(int(share * 2**64), lowest + 1))
    if len(sizes) > 1:
        return ValidationPlan(kind="documents", seed=seed, digests=_fitting(sizes, share))
    if characters < 2:
        logger.warning("nothing is kept aside for validation: the one document has %d characters", characters)
        return ValidationPlan(kind="none", seed=seed)
    cut = min(max(1, round(characters * (1 - share))), characters - 1)
    logger.info("there is but one document: its end, about %.0f %%, is kept aside for validation", 100 * share)
    return ValidationPlan(kind="tail", seed=seed, cut=cut)


def divide(documents: Iterable[Document], plan: ValidationPlan) -> Iterator[tuple[SplitName, Document]]:
    """Each document with the split it belongs to, by the plan made from the same documents."""
    begun = False
    split: SplitName = "train"
    position = 0
    for document in documents:
        if not begun:
            split, position = "train", 0
            if plan.kind == "documents":
                digest = _digest(document.text, plan.seed)
                split = "validation" if digest in plan.digests or digest < plan.threshold else "train"
        begun = document.more
        if plan.kind == "tail":
            yield from _divide_piece(document, plan.cut - position)
            position += len(document.text)
        else:
            yield split, document


def _measured(documents: Iterable[Document], seed: int) -> Iterator[tuple[int, int, int]]:
    """The digest of each document's first piece, and the bytes and characters of all its pieces."""
    digest = n_bytes = n_characters = 0
    begun = False
    for document in documents:
        if not begun:
            digest, n_bytes, n_characters = _digest(document.text, seed), 0, 0
        n_bytes += text_bytes(document.text)
        n_characters += len(document.text)
        begun = document.more
        if not begun:
            yield digest, n_bytes, n_characters


def _digest(text: str, seed: int) -> int:
    key = hashlib.blake2b(str(seed).encode(), digest_size=16).digest()
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8, key=key).digest(), "little")


def _fitting(sizes: dict[int, int], share: float) -> frozenset[int]:
    room = share * sum(sizes.values())
    chosen = []
    for digest in sorted(sizes):
        if sizes[digest] <= room:
            room -= sizes[digest]
            chosen.append(digest)
    if not chosen:
        smallest = min(sizes, key=lambda digest: (sizes[digest], digest))
        chosen = [smallest]
        part = sizes[smallest] / max(1, sum(sizes.values()))
        log = logger.warning if part > _LARGE_SHARE else logger.info
        log(
            "no document fits into %.3g %% of the text: the smallest, %.3g %%, is kept aside for validation "
            "(give a text of its own to keep all for training: --set data.validation=PATH)",
            100 * share,
            100 * part,
        )
    return frozenset(chosen)


def _divide_piece(document: Document, cut: int) -> Iterator[tuple[SplitName, Document]]:
    """The piece's part before `cut`, moved to a paragraph, line or word's end near it, and its part behind."""
    text, more = document.text, document.more
    if cut <= 0:
        yield "validation", document
    elif cut < len(text):
        cut = _boundary(text, cut)
        yield "train", Document(text[:cut], document.source)
        yield "validation", Document(text[cut:], document.source, more=more)
    else:
        yield "train", Document(text, document.source, more=more and cut > len(text))


def _boundary(text: str, target: int) -> int:
    """The end of the paragraph, else line, else word that is nearest to `target`, not too far; else `target`."""
    reach = min(target, len(text) - target) // 2
    for mark in ("\n\n", "\n", " "):
        before = text.rfind(mark, max(0, target - reach), target) + len(mark)
        after = text.find(mark, target, target + reach) + len(mark)
        found = [place for place in (before, after) if abs(place - target) <= reach and 0 < place < len(text)]
        if found:
            return min(found, key=lambda place: abs(place - target))
    return target
