"""The documents of a file or folder, one after another: what training, vocabularies and measuring read."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from headway.corpus.readers import Document as Document
from headway.corpus.readers import read_json_lines, read_parquet, read_table, read_text
from headway.corpus.text_file import shown, unreadable
from headway.errors import DataError

logger = logging.getLogger(__name__)

_READERS: dict[str, Callable[[Path, str | None], Iterator[Document]]] = {
    ".txt": read_text,
    ".md": read_text,
    ".jsonl": read_json_lines,
    ".csv": read_table,
    ".tsv": read_table,
    ".parquet": read_parquet,
}
_KINDS = ".txt .md .jsonl .csv .tsv (each also with .gz) and .parquet"
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Documents:
    """The documents under a path; every iteration reads them anew, in the same order, holding one at a time."""

    path: Path
    files: tuple[Path, ...]
    text_field: str | None = None

    def __iter__(self) -> Iterator[Document]:
        """The documents, those without text left out. Raises DataError for a bad file, or if none has text."""
        given = blank = 0
        begun = False
        for file in self.files:
            for document in _reader(file)(file, self.text_field):
                if begun or document.more or (document.text and not document.text.isspace()):
                    given += 1
                    yield document
                else:
                    blank += 1
                begun = document.more
        if given == 0:
            raise DataError(
                f"there is no text in {shown(self.path)}: {len(self.files)} file(s) with {blank} empty document(s)\n"
                "Put some text there, or give another path."
            )
        if blank:
            logger.info("left out %d documents without text in %s", blank, shown(self.path))


def read_documents(path: str | Path, *, text_field: str | None = None) -> Documents:
    """The documents of a file, or of a folder and its folders in the order of their relative paths.

    A .txt or .md file is a document; .jsonl has one a line (a string, or an object with the field "text"); .csv and
    .tsv, with a header, and .parquet have one a row (the column "text" or the only one). `text_field` names another.
    Text is kept as it is, but CRLF becomes LF. Hidden files are skipped; files of other kinds are logged. Raises
    DataError for a missing path or a folder without a readable file at once, for what is in the files when read.
    """
    path = Path(path)
    files, ignored = _files(path)
    if ignored:
        some = ", ".join(shown(Path(name)) for name in ignored[:5]) + (", ..." if len(ignored) > 5 else "")
        logger.warning("ignored %d files in %s, which are not %s: %s", len(ignored), shown(path), _KINDS, some)
    return Documents(path=path, files=tuple(files), text_field=text_field)


def fingerprint(path: str | Path) -> str:
    """A hash of the names and bytes of all the files that `read_documents` would read: 32 hexadecimal digits.

    The folder may move; a file renamed, added, changed or taken away gives another hash.
    """
    path = Path(path)
    digest = hashlib.blake2b(digest_size=16)
    for file in _files(path)[0]:
        name = os.fsencode(file.name if file == path else file.relative_to(path))
        content = hashlib.blake2b()
        try:
            with open(file, "rb") as opened:
                while chunk := opened.read(_CHUNK):
                    content.update(chunk)
        except OSError as error:
            raise DataError(unreadable(file, error)) from error
        digest.update(len(name).to_bytes(8, "little") + name + content.digest())
    return digest.hexdigest()


def corpus_bytes(path: str | Path, *, text_field: str | None = None) -> int:
    """The exact number of UTF-8 bytes of the text under `path`: one pass over all of it, so bad files show here."""
    path = Path(path)
    documents = Documents(path=path, files=tuple(_files(path)[0]), text_field=text_field)
    return sum(text_bytes(document.text) for document in documents)


def text_bytes(text: str) -> int:
    """How many bytes the text has in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8"))


def _files(path: Path) -> tuple[list[Path], list[str]]:
    """The files to read, and the relative paths of those of other kinds."""
    if not path.exists():
        raise DataError(
            f"there is no file or folder {shown(path)}\nGive the path of a text file or of a folder with {_KINDS}."
        )
    if not path.is_dir():
        if _kind(path) is None:
            raise DataError(
                f"a file of text is one of {_KINDS}, but got {shown(path)}\n"
                "Convert it, or rename it if it is plain text: name.txt"
            )
        return [path], []
    found: list[str] = []
    ignored: list[str] = []
    for relative in sorted(_walk(path)):
        (ignored if _kind(path / relative) is None else found).append(relative)
    if not found:
        raise DataError(
            f"the folder {shown(path)} has no text to read: {len(ignored)} file(s) of other kinds, none of\n"
            f"{_KINDS}\nPut text there, or give another path."
        )
    return [path / relative for relative in found], ignored


def _walk(path: Path) -> Iterator[str]:
    """The relative paths of all files that are not hidden; a link to a folder is given as a file would be."""

    def stop(error: OSError) -> None:
        raise DataError(unreadable(Path(error.filename), error)) from error

    for parent, folders, names in os.walk(path, onerror=stop):
        folders[:] = [name for name in folders if not name.startswith(".")]
        linked = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        for name in names + linked:
            if not name.startswith("."):
                yield Path(parent, name).relative_to(path).as_posix()


def _kind(path: Path) -> str | None:
    """The suffix that names the reader, or None: a kind we do not read, a link to a folder."""
    name = path.name.lower()
    inner = name.removesuffix(".gz")
    suffix = os.path.splitext(inner)[1]
    if suffix not in _READERS or (suffix == ".parquet" and inner != name) or path.is_dir():
        return None
    return suffix


def _reader(path: Path) -> Callable[[Path, str | None], Iterator[Document]]:
    kind = _kind(path)
    if kind is None:
        raise DataError(f"{shown(path)} was a file of text when the folder was listed, and is none now")
    return _READERS[kind]
