"""Documents to ids, many at once: the fast path of a tokenizer wants lists, memory wants short ones."""

from collections.abc import Iterable, Iterator
from typing import Any

from numpy.typing import NDArray

from headway.corpus.documents import text_bytes
from headway.corpus.readers import Document
from headway.corpus.validation import SplitName
from headway.text.tokenizer import Tokenizer

_CHARACTERS = 1 << 23
_DOCUMENTS = 1 << 14


def encoded(
    pieces: Iterable[tuple[SplitName, Document]], tokenizer: Tokenizer
) -> Iterator[tuple[SplitName, Document, NDArray[Any], int]]:
    """Each document with its split, its ids (no end-of-text added) and the number of its bytes, in order."""
    batch: list[tuple[SplitName, Document]] = []
    size = 0
    for name, document in pieces:
        batch.append((name, document))
        size += len(document.text)
        if size >= _CHARACTERS or len(batch) >= _DOCUMENTS:
            yield from _encode(batch, tokenizer)
            batch, size = [], 0
    yield from _encode(batch, tokenizer)


def _encode(
    batch: list[tuple[SplitName, Document]], tokenizer: Tokenizer
) -> Iterator[tuple[SplitName, Document, NDArray[Any], int]]:
    if not batch:
        return
    arrays = tokenizer.encode_corpus([document.text for _, document in batch])
    for (name, document), ids in zip(batch, arrays, strict=True):
        assert ids.size == 0 or 0 <= int(ids.min()) <= int(ids.max()) < tokenizer.size
        yield name, document, ids, text_bytes(document.text)
