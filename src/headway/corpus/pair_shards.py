"""Pairs as ids in memory-mapped files, divided into training and validation: a folder that is whole or not there."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from headway.corpus.documents import text_bytes
from headway.corpus.index import INDEX, ShardFile
from headway.corpus.pair_division import divide_pairs, plan_pairs
from headway.corpus.pair_index import (
    VERSION,
    PairIndex,
    PairSplitIndex,
    SideIndex,
    read_pair_index,
    side_files,
    write_pair_index,
)
from headway.corpus.pair_index import PairShardSettings as PairShardSettings
from headway.corpus.pair_readers import Pair
from headway.corpus.pair_split import Ids
from headway.corpus.pair_split import PairSplit as PairSplit
from headway.corpus.shard_files import OFFSETS_DTYPE, NumberFile
from headway.corpus.stream import token_dtype
from headway.corpus.validation import SplitName
from headway.errors import DataError, FormatError, StorageError, UsageError
from headway.storage import new_folder
from headway.text.tokenizer import Tokenizer

_PAIRS = 1 << 14  # encoded at once
_CHARACTERS = 1 << 23
_SPLITS: tuple[SplitName, ...] = ("train", "validation")
_SIDES = ("source", "target")


class PairShards:
    """A sound folder of pairs. settings, validation_from, vocabulary, target_vocabulary: as its index says."""

    def __init__(self, folder: Path, index: PairIndex) -> None:
        self.folder = folder
        self.settings = index.settings
        self.validation_from = index.validation_from
        self.vocabulary = index.vocabulary
        self.target_vocabulary = index.target_vocabulary
        self._index = index

    @classmethod
    def open(cls, folder: str | Path, *, verify: bool = False) -> "PairShards":
        """The pairs of a folder, sizes checked; `verify` reads every file and checks its hash too.

        Raises FormatError where the folder is not one of pairs, or is damaged.
        """
        folder = Path(folder)
        index = read_pair_index(folder, verify=verify)
        return cls(folder, index)

    def split(self, name: SplitName) -> PairSplit:
        """The pairs of "train" or "validation", mapped from the files; "validation" may be empty."""
        if name not in _SPLITS:
            raise UsageError(f'a split is "train" or "validation", but got {name!r}')
        split = self._index.train if name == "train" else self._index.validation
        return PairSplit(
            self._side(split.source),
            self._side(split.target),
            source_bytes=split.source.bytes,
            target_bytes=split.target.bytes,
            left_out=split.left_out,
        )

    def _side(self, side: SideIndex) -> tuple[Ids, NDArray[Any]]:
        offsets = _mapped(self.folder, side.offsets, OFFSETS_DTYPE)
        if offsets[0] != 0 or offsets[-1] != side.ids.count or (numpy.diff(offsets.astype(numpy.int64)) < 0).any():
            raise FormatError(
                f"{self.folder / side.offsets.name} does not fit {side.ids.name}\nPrepare the pairs again."
            )
        return _mapped(self.folder, side.ids, side.dtype), offsets


def write_pair_shards(
    folder: str | Path,
    pairs: Iterable[Pair],
    validation: Iterable[Pair] | None,
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer | None = None,
    settings: PairShardSettings | None = None,
    progress: Callable[[int], None] | None = None,
) -> PairShards:
    """Write the pairs as ids, divided by source into training and validation, and open them.

    pairs: a list or `read_pairs(...)` or `clean(...)`: they are read twice, first to choose what is kept aside; not so
    with `validation`, which gives other pairs for that. target_tokenizer None: one serves both sides. progress: called
    with the number of pairs encoded so far. The same pairs and settings give the same files. Pairs in `folder` are
    replaced; what else stands there is not. Raises StorageError where writing fails (the folder is then as it was),
    DataError as the readers do, and where no pair is left to train on.
    """
    folder, settings = Path(folder), settings or PairShardSettings()
    kept = _kept(folder, settings, given=validation is not None)
    if kept is not None:
        return kept
    threshold = 0
    if validation is None:
        if iter(pairs) is pairs:
            raise UsageError("pairs are read twice, so pass a list or read_pairs(...), not an iterator")
        threshold = plan_pairs(pairs, share=settings.validation_share, most=settings.most_validation)
    divided = divide_pairs(pairs, threshold) if validation is None else _given(pairs, validation)
    tokenizers = source_tokenizer, target_tokenizer or source_tokenizer
    with new_folder(folder, overwrite=True) as building:
        train, held_out = _write_splits(building, divided, tokenizers, settings, progress)
        index = PairIndex(
            kind="pairs",
            version=VERSION,
            settings=settings,
            vocabulary=tokenizers[0].size,
            target_vocabulary=tokenizers[1].size,
            validation_from="given" if validation is not None else "sources" if threshold else "none",
            train=train,
            validation=held_out,
        )
        if train.pairs == 0:
            raise DataError(
                f"no pair is left to train on: {train.left_out} of them are longer than {settings.longest} tokens\n"
                "Allow longer ones (--set data.longest=N), or give other pairs."
            )
        write_pair_index(building, index)
    return PairShards.open(folder)


def encode_pairs(
    pairs: Iterable[Pair],
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer | None = None,
    *,
    longest: int | None = None,
) -> PairSplit:
    """The ids of a few pairs, in memory, with nothing written; those with a side over `longest` tokens left out."""
    sides: tuple[list[Ids], list[Ids]] = ([], [])
    n_bytes, left_out = [0, 0], 0
    tokenizers = source_tokenizer, target_tokenizer or source_tokenizer
    for block in _blocks(("train", pair) for pair in pairs):
        for pair, both in _encode([pair for _, pair in block], tokenizers):
            if longest is not None and max(map(len, both)) > longest:
                left_out += 1
                continue
            for number, text in enumerate((pair.source, pair.target)):
                sides[number].append(both[number])
                n_bytes[number] += text_bytes(text)
    source, target = (
        (numpy.concatenate([numpy.empty(0, numpy.int32), *side]), numpy.cumsum([0, *map(len, side)])) for side in sides
    )
    return PairSplit(source, target, source_bytes=n_bytes[0], target_bytes=n_bytes[1], left_out=left_out)


class _PairWriter:
    """The four files of one split while they are written. Raises OSError as files do."""

    def __init__(self, folder: Path, name: SplitName, tokenizers: tuple[Tokenizer, Tokenizer], longest: int) -> None:
        self._longest = longest
        self._dtypes = tuple(token_dtype(tokenizer.size) for tokenizer in tokenizers)
        self._files: list[tuple[NumberFile, NumberFile]] = []
        with contextlib.ExitStack() as stack:
            for side in _SIDES:
                ids, offsets = (NumberFile(folder / file) for file in side_files(name, side))
                for file in (ids, offsets):
                    stack.callback(file.close)
                offsets.add(numpy.zeros(1, dtype=OFFSETS_DTYPE))
                self._files.append((ids, offsets))
            stack.pop_all()
        self._bytes = [0, 0]
        self._pairs = self._left_out = 0

    def add(self, pairs: Sequence[tuple[Pair, tuple[Ids, Ids]]]) -> None:
        """Append pairs, those apart that are too long."""
        kept = [(pair, both) for pair, both in pairs if max(len(both[0]), len(both[1])) <= self._longest]
        self._left_out += len(pairs) - len(kept)
        self._pairs += len(kept)
        if not kept:
            return
        for side, (ids, offsets) in enumerate(self._files):
            arrays = [both[side] for _, both in kept]
            offsets.add((ids.count + numpy.cumsum([len(array) for array in arrays])).astype(OFFSETS_DTYPE))
            ids.add(numpy.concatenate(arrays).astype(self._dtypes[side]))
        self._bytes[0] += sum(text_bytes(pair.source) for pair, _ in kept)
        self._bytes[1] += sum(text_bytes(pair.target) for pair, _ in kept)

    def finish(self) -> PairSplitIndex:
        """Flush everything to the disk and say what there is."""
        source, target = (
            SideIndex(ids=ids.finish(), offsets=offsets.finish(), dtype=self._dtypes[side], bytes=self._bytes[side])
            for side, (ids, offsets) in enumerate(self._files)
        )
        return PairSplitIndex(pairs=self._pairs, left_out=self._left_out, source=source, target=target)

    def close(self) -> None:
        """Let go of the files, whatever state they are in."""
        for files in self._files:
            for file in files:
                file.close()


def _write_splits(
    folder: Path,
    divided: Iterable[tuple[SplitName, Pair]],
    tokenizers: tuple[Tokenizer, Tokenizer],
    settings: PairShardSettings,
    progress: Callable[[int], None] | None,
) -> tuple[PairSplitIndex, PairSplitIndex]:
    with contextlib.ExitStack() as stack:
        writers: dict[SplitName, _PairWriter] = {}
        for split in _SPLITS:
            writer = _PairWriter(folder, split, tokenizers, settings.longest)
            writers[split] = stack.enter_context(contextlib.closing(writer))
        done = 0
        for block in _blocks(divided):
            names = [name for name, _ in block]
            both = _encode([pair for _, pair in block], tokenizers)
            for split in _SPLITS:
                writers[split].add([pair for name, pair in zip(names, both, strict=True) if name == split])
            done += len(block)
            if progress is not None:
                progress(done)
        return writers["train"].finish(), writers["validation"].finish()


def _given(pairs: Iterable[Pair], validation: Iterable[Pair]) -> Iterator[tuple[SplitName, Pair]]:
    for pair in pairs:
        yield "train", pair
    for pair in validation:
        yield "validation", pair


def _blocks(divided: Iterable[tuple[SplitName, Pair]]) -> Iterator[list[tuple[SplitName, Pair]]]:
    """Pairs in lists that are long enough for the fast path of a tokenizer and short enough for memory."""
    block: list[tuple[SplitName, Pair]] = []
    size = 0
    for name, pair in divided:
        block.append((name, pair))
        size += len(pair.source) + len(pair.target)
        if size >= _CHARACTERS or len(block) >= _PAIRS:
            yield block
            block, size = [], 0
    if block:
        yield block


def _encode(pairs: Sequence[Pair], tokenizers: tuple[Tokenizer, Tokenizer]) -> list[tuple[Pair, tuple[Ids, Ids]]]:
    sources = tokenizers[0].encode_corpus([pair.source for pair in pairs])
    targets = tokenizers[1].encode_corpus([pair.target for pair in pairs])
    return [(pair, (source, target)) for pair, source, target in zip(pairs, sources, targets, strict=True)]


def _kept(folder: Path, settings: PairShardSettings, *, given: bool) -> PairShards | None:
    """What stands at `folder` if it is what would be written; raises StorageError if it is none of ours."""
    if not os.path.lexists(folder):
        return None
    if not (folder / INDEX).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise StorageError(
            f"{folder} exists and is not a folder of pairs as ids; it is not overwritten\nChoose another folder."
        )
    if settings.tokenizer is None or settings.corpus is None:
        return None
    with contextlib.suppress(FormatError):  # a damaged one is written anew
        shards = PairShards.open(folder, verify=True)
        if shards.settings == settings and (shards.validation_from == "given") == given:
            return shards
    return None


def _mapped(folder: Path, file: ShardFile, dtype: str) -> NDArray[Any]:
    if file.count == 0:  # an empty file cannot be mapped
        return numpy.empty(0, dtype=dtype)
    return numpy.memmap(folder / file.name, dtype=dtype, mode="r", shape=(file.count,))
