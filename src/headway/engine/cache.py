"""The packed weights of a model folder, kept in a file so that a later process reads them and neither packs nor loads.

The file stands in `cache/` of the model folder, or in the user's own cache where nothing can be written there. What it
was packed from is told by SHA-256; as long as size, times and inode of a weights file are those of that moment, the
file is not read to make sure. Nothing about a cache is an error: what is damaged or of other weights is made again.
"""

import contextlib
import hashlib
import logging
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.engine import gpt2
from headway.engine.cache_file import PACKING, CacheFile, Header, Source, write_parts
from headway.engine.decoder import CompiledDecoder
from headway.engine.extension import threads_here
from headway.engine.packing import Asked, stored_bits
from headway.errors import FormatError, StorageError
from headway.formats.bundled import ROOT
from headway.formats.companions import CACHE, CONFIG
from headway.formats.reading import inside
from headway.storage import replace_file, require_space, sweep

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)

LARGEST_FLOATS = 64 << 20
"""At 32 bits packing takes no time to speak of; up to so many bytes a cache is kept, to save the start of PyTorch."""

_WEIGHTS = ("*.safetensors", "*.bin", "*.index.json")
_READ = 1 << 20
_TICK = 20_000_000  # nanoseconds
_MOST_GROWN, _LEAST_BOUND = 16, 64 << 20  # far above what packing makes of weights; no more memory is asked for
_RESERVE = 64 << 20  # a disk is not filled to its last byte for this


class Cache:
    """The caches of one folder of a GPT-2 that writes, as its files are when this is made: make it before loading."""

    def __init__(self, folder: Path) -> None:
        """`folder` is a real path. A folder whose files cannot be looked at has no cache."""
        self._folder = folder
        try:
            self._now: tuple[Source, ...] = _settled(folder)
        except (OSError, FormatError):
            self._now = ()

    def read(self, bits: int | None, *, threads: int | None = None) -> CompiledDecoder | None:
        """The model at so many bits a weight (None: those of the stored numbers), where there is a cache of it."""
        for kept in (16, 32) if bits is None else (bits,):
            for place in _places(self._folder) if self._now else ():
                path = place / _name(kept)
                try:
                    model = self._opened(path, kept, bits is None, threads or threads_here())
                except FileNotFoundError:
                    continue
                except FormatError as error:
                    logger.warning("%s is damaged and is made again: %s", path, str(error).partition("\n")[0])
                    continue
                except OSError as error:
                    logger.info("%s cannot be read: %s", path, error.strerror or error)
                    continue
                if model is not None:
                    return model
        return None

    def write(self, model: "nn.Module", packed: CompiledDecoder, parts: Any) -> None:
        """Keep the parts of a model that was loaded from the folder after this was made, and packed.

        Where that cannot be done the reason is logged, and nothing else happens.
        """
        if packed.bits == 32 and packed.bytes > LARGEST_FLOATS:
            return
        try:
            sources = _hashed(self._folder, self._now)
        except (OSError, FormatError):
            sources = None
        if not sources:
            logger.info("the packed weights are not kept: the folder's files changed while they were read")
            return
        header = Header(
            family="gpt2",
            bits=packed.bits,
            as_stored=packed.bits == stored_bits(model),
            sizes=gpt2.sizes(model.config),
            sources=sources,
        )
        self._keep(header, parts)

    def _opened(self, path: Path, bits: int, as_stored: bool, threads: int) -> CompiledDecoder | None:
        """None where it is of other weights, or not what is asked for."""
        with CacheFile(path) as file:
            header = file.header
            if (header.packing, header.family, header.bits) != (PACKING, "gpt2", bits):
                return None
            if as_stored and not header.as_stored:
                return None
            same = header.sources == self._now
            if not same and [_content(source) for source in header.sources] != self._contents():
                logger.info("%s is of other weights, and is made again", path)
                return None
            if header.bytes > _MOST_GROWN * sum(source.size for source in self._now) + _LEAST_BOUND:
                raise FormatError(f"it has {header.bytes} bytes, more than its weights fill")
            parts = file.parts()
        model = gpt2.from_parts(parts, header.sizes, Asked(bits=bits, threads=threads))
        logger.info("packed weights were read from %s", path)
        if not same:  # copied, moved or touched, and the same all the same: next time this is known without reading
            sources = _hashed(self._folder, self._now)
            if sources:
                self._keep(replace(header, sources=sources), parts)
        return model

    def _contents(self) -> list[tuple[str, int, str]] | None:
        found = _hashed(self._folder, self._now)
        return None if found is None else [_content(source) for source in found]

    def _keep(self, header: Header, parts: Any) -> None:
        blocks = parts.blocks()
        size = sum(len(block) for block in blocks.values())
        for place in _places(self._folder):
            path = place / _name(header.bits)
            made = not place.exists()
            try:
                place.mkdir(parents=True, exist_ok=True)
                if path.is_symlink():
                    path.unlink()  # or the file that it leads to would be replaced
                sweep(place)
                require_space(path, size + _RESERVE)
                replace_file(path, lambda partial: write_parts(partial, header, blocks))
            except (OSError, StorageError) as error:
                logger.info("packed weights are not kept in %s: %s", place, str(error).partition("\n")[0])
                if made:
                    with contextlib.suppress(OSError):
                        place.rmdir()
                continue
            logger.info("packed weights were written to %s, for the next start", path)
            return


def _name(bits: int) -> str:
    return f"engine-{bits}bit.cache"


def _places(folder: Path) -> list[Path]:
    """Where caches of a folder may be: in it, unless it is one of headway's own, and in the user's cache.

    Never behind a link: one that came with a folder could lead anywhere.
    """
    places = [] if folder.is_relative_to(ROOT) else [folder / CACHE]
    base = os.environ.get("XDG_CACHE_HOME", "")
    with contextlib.suppress(RuntimeError):  # a user without a home
        user = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
        places.append(user / "headway" / hashlib.sha256(os.fsencode(folder)).hexdigest()[:32])
    return [place for place in places if not place.is_symlink()]


def _sources(folder: Path) -> tuple[Source, ...]:
    """The files that packed weights come from, without their digests."""
    names = sorted({path.name for pattern in _WEIGHTS for path in folder.glob(pattern)})
    found = []
    for name in (CONFIG, *names):
        facts = inside(folder, name).stat()
        found.append(
            Source(
                name=name,
                size=facts.st_size,
                modified=facts.st_mtime_ns,
                changed=facts.st_ctime_ns,
                inode=facts.st_ino,
            )
        )
    return tuple(found) if names else ()


def _settled(folder: Path) -> tuple[Source, ...]:
    """The sources, once their times are old enough for any later change to show in them: clocks of files tick."""
    found = _sources(folder)
    age = time.time_ns() - max((source.changed for source in found), default=0)
    if age >= _TICK:
        return found
    time.sleep(_TICK / 1e9)
    return _sources(folder)


def _hashed(folder: Path, expected: tuple[Source, ...]) -> tuple[Source, ...] | None:
    """The sources with their digests; None where they are not, or do not stay, what is expected."""
    if _sources(folder) != expected:
        return None
    digests = [_digest(inside(folder, source.name)) for source in expected]
    if _sources(folder) != expected:
        return None
    return tuple(replace(source, digest=digest) for source, digest in zip(expected, digests, strict=True))


def _content(source: Source) -> tuple[str, int, str]:
    return source.name, source.size, source.digest


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(_READ):
            digest.update(chunk)
    return digest.hexdigest()
