"""Token shards: a corpus as ids in memory-mapped files, divided into training and validation, whole or not there."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from headway.corpus.batching import encoded
from headway.corpus.index import INDEX, VERSION, Index, ShardFile, SplitIndex, read_index, write_index
from headway.corpus.index import ShardSettings as ShardSettings
from headway.corpus.readers import Document
from headway.corpus.shard_files import OFFSETS_DTYPE, SplitWriter
from headway.corpus.stream import TokenStream as TokenStream
from headway.corpus.stream import end_of_text, token_dtype
from headway.corpus.validation import SplitName, divide, plan_validation
from headway.errors import FormatError, StorageError, UsageError
from headway.storage import new_folder
from headway.text.tokenizer import Tokenizer

_CHUNK = 1 << 20


class TokenShards:
    """A sound folder of shards. settings, validation_from, vocabulary, end_of_text: as its index says."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder = folder
        self.settings = index.settings
        self.validation_from = index.validation_from
        self.vocabulary = index.vocabulary
        self.end_of_text = index.end_of_text
        self._index = index

    @classmethod
    def open(cls, folder: str | Path, *, verify: bool = False) -> "TokenShards":
        """The shards of a folder, sizes checked; `verify` reads every file and checks its hash too.

        Raises FormatError where the folder is not one of shards, or is damaged.
        """
        folder = Path(folder)
        index = read_index(folder)
        width = numpy.dtype(index.dtype).itemsize
        for split in (index.train, index.validation):
            for file in split.shards:
                _check_file(folder, file, width, verify)
            _check_file(folder, split.offsets, numpy.dtype(OFFSETS_DTYPE).itemsize, verify)
        return cls(folder, index)

    def split(self, name: SplitName) -> TokenStream:
        """The tokens of "train" or "validation", mapped from the files; "validation" may be empty."""
        split = self._split(name)
        parts = [self._mapped(file, self._index.dtype) for file in split.shards]
        return TokenStream(parts, bytes=split.bytes, documents=split.documents, end_of_text=self._index.end_of_text)

    def offsets(self, name: SplitName) -> NDArray[Any]:
        """(documents + 1,) where each document of the split begins in its stream, and where the last ends."""
        return self._mapped(self._split(name).offsets, OFFSETS_DTYPE)

    def _split(self, name: SplitName) -> SplitIndex:
        if name not in ("train", "validation"):
            raise UsageError(f'a split is "train" or "validation", but got {name!r}')
        return self._index.train if name == "train" else self._index.validation

    def _mapped(self, file: ShardFile, dtype: str) -> NDArray[Any]:
        if file.count == 0:  # an empty file cannot be mapped
            return numpy.empty(0, dtype=dtype)
        return numpy.memmap(self.folder / file.name, dtype=dtype, mode="r", shape=(file.count,))


def write_shards(
    folder: str | Path,
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    settings: ShardSettings,
    *,
    validation: Iterable[Document] | None = None,
    progress: Callable[[int], None] | None = None,
) -> TokenShards:
    """Write the documents as shards, divided by document into training and validation, and open them.

    documents: a list or `read_documents(...)`: it is read twice, first to choose what is kept aside; not so with
    `validation`, which gives other documents for that. progress: called with the bytes of text written so far.
    The same text and settings give the same files. Shards in `folder` are replaced; what else stands there is not.
    Raises StorageError where writing fails (the folder is then as it was), ConfigError for a tokenizer without
    end-of-text token, DataError as the readers do.
    """
    folder = Path(folder)
    kept = _kept(folder, settings, given=validation is not None)
    if kept is not None:
        return kept
    end = end_of_text(tokenizer)
    plan = None
    if validation is None:
        if iter(documents) is documents:
            raise UsageError("documents are read twice, so pass a list or read_documents(...), not an iterator")
        plan = plan_validation(documents, share=settings.validation_share, seed=settings.seed)
    with new_folder(folder, overwrite=True) as building:
        pieces = divide(documents, plan) if plan else _given(documents, validation or ())
        train, held_out = _write_splits(building, pieces, tokenizer, settings, progress)
        index = Index(
            version=VERSION,
            settings=settings,
            dtype=token_dtype(tokenizer.size),
            vocabulary=tokenizer.size,
            end_of_text=end,
            validation_from=plan.kind if plan else "given",
            train=train,
            validation=held_out,
        )
        write_index(building, index)
    return TokenShards.open(folder)


def _kept(folder: Path, settings: ShardSettings, *, given: bool) -> TokenShards | None:
    """What stands at `folder` if it is what would be written; raises StorageError if it is none of ours."""
    if not os.path.lexists(folder):
        return None
    if not (folder / INDEX).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise StorageError(
            f"{folder} exists and is not a folder of token shards; it is not overwritten\nChoose another folder."
        )
    if settings.tokenizer is None or settings.corpus is None:
        return None
    with contextlib.suppress(FormatError):  # a damaged one is written anew
        shards = TokenShards.open(folder, verify=True)
        if shards.settings == settings and (shards.validation_from == "given") == given:
            return shards
    return None


def _given(documents: Iterable[Document], validation: Iterable[Document]) -> Iterator[tuple[SplitName, Document]]:
    for document in documents:
        yield "train", document
    for document in validation:
        yield "validation", document


def _write_splits(
    folder: Path,
    pieces: Iterable[tuple[SplitName, Document]],
    tokenizer: Tokenizer,
    settings: ShardSettings,
    progress: Callable[[int], None] | None,
) -> tuple[SplitIndex, SplitIndex]:
    end, dtype, most = end_of_text(tokenizer), token_dtype(tokenizer.size), settings.shard_tokens
    with contextlib.ExitStack() as stack:
        writers: dict[SplitName, SplitWriter] = {}
        for split in ("train", "validation"):
            writer = SplitWriter(folder, split, dtype=dtype, shard_tokens=most, end_of_text=end)
            writers[split] = stack.enter_context(contextlib.closing(writer))
        written = 0
        for name, document, ids, n_bytes in encoded(pieces, tokenizer):
            writers[name].add(ids, n_bytes, more=document.more)
            written += n_bytes
            if progress is not None:
                progress(written)
        return writers["train"].finish(), writers["validation"].finish()


def _check_file(folder: Path, file: ShardFile, width: int, verify: bool) -> None:
    path = folder / file.name
    way_out = "Delete the folder and prepare the text again."
    try:
        size = path.stat().st_size
        if size != file.count * width:
            raise FormatError(f"{path} must have {file.count * width} bytes, but has {size}\n{way_out}")
        if verify and _sha256(path) != file.sha256:
            raise FormatError(f"{path} is damaged: its SHA-256 is not the one in {INDEX}\n{way_out}")
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}\n{way_out}") from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
