"""The files of one split while they are written: shards of tokens, and where each document begins."""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from headway.corpus.index import ShardFile, SplitIndex

OFFSETS_DTYPE = "<u8"


class SplitWriter:
    """Takes documents as ids, and leaves shards of at most `shard_tokens` tokens. Raises OSError as files do."""

    def __init__(self, folder: Path, name: str, *, dtype: str, shard_tokens: int, end_of_text: int) -> None:
        self._folder = folder
        self._name = name
        self._dtype = dtype
        self._shard_tokens = shard_tokens
        self._end = numpy.array([end_of_text], dtype=dtype)
        self._shards: list[ShardFile] = []
        self._file: NumberFile | None = None
        self._offsets = NumberFile(folder / f"{name}.offsets.bin")
        self._tokens = self._bytes = 0
        self._begun = False

    def add(self, ids: NDArray[Any], n_bytes: int, *, more: bool) -> None:
        """Append ids; unless there are `more` of the same document, the end-of-text token after them."""
        if not self._begun:
            self._mark()
        self._begun = more
        self._append(ids.astype(self._dtype))
        self._bytes += n_bytes
        if not more:
            self._append(self._end)

    def finish(self) -> SplitIndex:
        """Flush everything to the disk and say what there is."""
        if self._file is not None:
            self._shards.append(self._file.finish())
            self._file = None
        self._mark()
        offsets = self._offsets.finish()
        return SplitIndex(
            documents=offsets.count - 1,
            tokens=self._tokens,
            bytes=self._bytes,
            shards=tuple(self._shards),
            offsets=offsets,
        )

    def close(self) -> None:
        """Let go of the files, whatever state they are in."""
        for file in (self._file, self._offsets):
            if file is not None:
                file.close()

    def _mark(self) -> None:
        self._offsets.add(numpy.array([self._tokens], dtype=OFFSETS_DTYPE))

    def _append(self, ids: NDArray[Any]) -> None:
        while len(ids):
            if self._file is None:
                self._file = NumberFile(self._folder / f"{self._name}-{len(self._shards):05}.bin")
            now = ids[: self._shard_tokens - self._file.count]
            self._file.add(now)
            self._tokens += len(now)
            ids = ids[len(now) :]
            if self._file.count == self._shard_tokens:
                self._shards.append(self._file.finish())
                self._file = None


class NumberFile:
    """A file of numbers of one kind, hashed as it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open(path, "xb", buffering=1 << 20)
        self._digest = hashlib.sha256()
        self.count = 0

    def add(self, numbers: NDArray[Any]) -> None:
        """Append numbers."""
        data = numbers.tobytes()
        self._file.write(data)
        self._digest.update(data)
        self.count += len(numbers)

    def finish(self) -> ShardFile:
        """Flush to the disk, close, and say what was written."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return ShardFile(name=self._path.name, count=self.count, sha256=self._digest.hexdigest())

    def close(self) -> None:
        """Close without a word: on a full disk closing fails as writing did."""
        with contextlib.suppress(OSError):
            self._file.close()
