"""The tokens of a split as one long row: documents one after another, each followed by the end-of-text token."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy
from numpy.typing import NDArray

from headway.corpus.batching import encoded
from headway.corpus.readers import Document
from headway.errors import ConfigError
from headway.text.tokenizer import Tokenizer


class TokenStream:
    """A row of token ids in parts that lie in memory or are mapped from files.

    tokens: how many ids, end-of-text included; bytes: of the text in UTF-8, for bits per byte; documents: how many;
    end_of_text: the id that follows each document.
    """

    def __init__(self, parts: Sequence[NDArray[Any]], *, bytes: int, documents: int, end_of_text: int) -> None:
        """parts: integer arrays of one dimension."""
        self._parts = [part for part in parts if len(part)]
        self._starts = numpy.cumsum([0] + [len(part) for part in self._parts])
        self.tokens = int(self._starts[-1])
        self.bytes = bytes
        self.documents = documents
        self.end_of_text = end_of_text

    def read(self, start: int, count: int) -> NDArray[numpy.int64]:
        """(count,) ids from `start` on. Raises IndexError outside 0..tokens."""
        if not 0 <= start <= start + count <= self.tokens:
            raise IndexError(f"ids {start}..{start + count} of a stream of {self.tokens}")
        found = numpy.empty(count, dtype=numpy.int64)
        filled = 0
        number = int(numpy.searchsorted(self._starts, start, side="right")) - 1
        while filled < count:
            begin = start + filled - int(self._starts[number])
            piece = self._parts[number][begin : begin + count - filled]
            found[filled : filled + len(piece)] = piece
            filled += len(piece)
            number += 1
        return found


def encode_stream(documents: Iterable[Document], tokenizer: Tokenizer) -> TokenStream:
    """The stream of a few documents, in memory, with nothing written. Raises as `write_shards` does."""
    end = end_of_text(tokenizer)
    kind = token_dtype(tokenizer.size)
    parts: list[NDArray[Any]] = []
    n_bytes = n_documents = 0
    for _, document, ids, size in encoded((("train", document) for document in documents), tokenizer):
        parts.append(ids.astype(kind))
        n_bytes += size
        if not document.more:
            parts.append(numpy.array([end], dtype=kind))
            n_documents += 1
    whole = [numpy.concatenate(parts)] if parts else []
    return TokenStream(whole, bytes=n_bytes, documents=n_documents, end_of_text=end)


def token_dtype(size: int) -> Literal["<u2", "<u4"]:
    """The narrowest of the two little-endian kinds that holds ids of a vocabulary of that size."""
    return "<u2" if size <= 1 << 16 else "<u4"


def end_of_text(tokenizer: Tokenizer) -> int:
    """The id that stands between documents. Raises ConfigError where the tokenizer has none."""
    end = tokenizer.end_of_text
    if end is None:
        raise ConfigError(
            "documents are divided by the end-of-text token, but this tokenizer has none\n"
            "Take one that has, for instance gpt2, or let one be trained on the text."
        )
    return end
