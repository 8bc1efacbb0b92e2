"""A tokenizer from a shipped name or from the files in a folder, whoever wrote them.

Read are, in this order: tokenizer.json; vocab.json with merges.txt; encoder.json with vocab.bpe; vocab.txt.
"""

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from headway.errors import DataError, FormatError
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.tokenizer import Tokenizer
from headway.text.tokenizer_json import UnknownTokenizer as UnknownTokenizer
from headway.text.tokenizer_json import assemble, read_table
from headway.text.vocabulary import ByteVocabulary
from headway.text.word_level import WordTokenizer
from headway.text.word_level_json import read_words
from headway.text.word_piece import WordPieceTokenizer, WordPieceVocabulary
from headway.text.word_piece_files import VOCABULARY, read_vocab_txt, read_word_pieces

T = TypeVar("T")

SHIPPED = ("gpt2",)
_VOCABULARIES = Path(__file__).parent / "vocabularies"
_PAIRS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
# Files of tokenizers we do not read; a folder that has one has a tokenizer nonetheless.
_FOREIGN = ("spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "source.spm", "spm.model")
# Classes whose vocab.json and merges.txt are byte-level BPE; without a class GPT-2's is meant.
_CLASSES = (None, "GPT2Tokenizer", "GPT2TokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend")
_MAX_BYTES = 64 * 2**20  # several times the largest published tokenizer.json


def load(name_or_folder: str | Path) -> Tokenizer:
    """The tokenizer of that shipped name or in that folder; an existing path wins over a name.

    Raises DataError where there is neither or the folder holds none, UnknownTokenizer for a kind we do not have,
    FormatError for a damaged file.
    """
    folder = Path(name_or_folder)
    if not folder.exists():
        if str(name_or_folder) not in SHIPPED:
            raise DataError(
                f"no tokenizer {str(name_or_folder)!a}: there is no such folder, and the shipped ones are"
                f" {', '.join(SHIPPED)}"
            )
        folder = _VOCABULARIES / str(name_or_folder)
    if not folder.is_dir():
        raise DataError(f"a tokenizer is loaded from its folder, but {folder} is a file; give the folder it is in")
    tokenizer = load_from_folder(folder)
    if tokenizer is None:
        raise DataError(
            f"{folder} holds no tokenizer: neither tokenizer.json nor vocab.json with merges.txt nor vocab.txt"
        )
    return tokenizer


def load_from_folder(folder: Path) -> Tokenizer | None:
    """The tokenizer in a folder, or None where it has none.

    Raises UnknownTokenizer for a kind we do not have, FormatError for damaged files; both name the file.
    """
    with _uncollected():
        return _load_from_folder(folder)


def _load_from_folder(folder: Path) -> Tokenizer | None:
    if (folder / "tokenizer.json").is_file():
        return _from_tokenizer_json(folder)
    for vocab, merges in _PAIRS:
        if (folder / vocab).is_file() and (folder / merges).is_file():
            return ByteLevelTokenizer(_from_pair(folder, vocab, merges))
    if (folder / VOCABULARY).is_file():
        return WordPieceTokenizer(_from_vocab_txt(folder))
    for name in (*_FOREIGN, *(name for names in _PAIRS for name in names)):
        if (folder / name).is_file():
            raise UnknownTokenizer(
                f"{folder / name} belongs to a tokenizer of a kind that is not supported;"
                " give a folder with tokenizer.json, or with vocab.json and merges.txt"
            )
    return None


@contextmanager
def _uncollected() -> Iterator[None]:
    """A vocabulary is some hundred thousand objects, all of which stay: nothing is gained by looking for garbage."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _from_tokenizer_json(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    table, config = _read_json(path), _config(folder)
    end_of_text = _text(config.get("eos_token"))
    model = table.get("model") if isinstance(table, dict) else None
    if isinstance(model, dict) and model.get("type") == "WordLevel":
        return WordTokenizer(_naming(path, lambda: read_words(table, end_of_text)))
    if isinstance(model, dict) and model.get("type") == "WordPiece":
        return WordPieceTokenizer(_naming(path, lambda: read_word_pieces(table, config)))
    return ByteLevelTokenizer(_naming(path, lambda: read_table(table, end_of_text)))


def _from_pair(folder: Path, vocab_name: str, merges_name: str) -> ByteVocabulary:
    vocab, config = _read_json(folder / vocab_name), _config(folder)
    if config.get("tokenizer_class") not in _CLASSES:
        raise UnknownTokenizer(
            f"{folder / 'tokenizer_config.json'} names the class {config['tokenizer_class']!a:.60},"
            " which is not supported without a tokenizer.json"
        )
    extra = folder / "added_tokens.json"
    added = _table(extra) if extra.is_file() else {}
    if isinstance(vocab, dict):
        named = [_text(config.get(key)) for key in ("bos_token", "eos_token", "unk_token", "pad_token")]
        added = {name: vocab[name] for name in named if name is not None and name in vocab} | added
    merges = _naming(folder / merges_name, lambda: _read_merges(folder / merges_name))
    return _naming(folder / vocab_name, lambda: assemble(vocab, merges, added, _text(config.get("eos_token"))))


def _from_vocab_txt(folder: Path) -> WordPieceVocabulary:
    path, config, extra = folder / VOCABULARY, _config(folder), folder / "added_tokens.json"
    added = _table(extra) if extra.is_file() else {}
    text = _read(path)
    return _naming(path, lambda: read_vocab_txt(text, config, added))


def _config(folder: Path) -> dict[str, Any]:
    """The table of tokenizer_config.json, or an empty one. Raises UnknownTokenizer where it changes the ids."""
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return {}
    config = _table(path)
    for key in ("add_prefix_space", "add_bos_token", "add_eos_token"):
        if config.get(key) not in (None, False):
            raise UnknownTokenizer(f"{path} sets {key}, which changes the ids of every text and is not supported")
    return config


def _text(value: Any) -> str | None:
    """A special token's text, written as such or as a table that holds it."""
    value = value.get("content") if isinstance(value, dict) else value
    return value if isinstance(value, str) else None


def _read_merges(path: Path) -> list[tuple[str, str]]:
    lines = _read(path).split("\n")
    start = 1 if lines[0].startswith("#version") else 0
    merges: list[tuple[str, str]] = []
    for number, line in enumerate(lines[start:], start=start + 1):
        parts = line.rstrip("\r").split(" ")
        if parts == [""]:
            continue
        if len(parts) != 2:
            raise FormatError(f"each line must be two tokens with a space between, but line {number} is {line!a:.60}")
        merges.append((parts[0], parts[1]))
    return merges


def _table(path: Path) -> dict[str, Any]:
    table = _read_json(path)
    if not isinstance(table, dict):
        raise FormatError(f"{path} must be a table, but it holds a {type(table).__name__}")
    return table


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise FormatError(f"{path} is not readable as JSON: {reason:.200}; fetch the file again") from error


def _read(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise FormatError(f"{path} has {size} bytes; a tokenizer's file may have {_MAX_BYTES}")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8: byte {error.start} is wrong; fetch the file again") from error
    except OSError as error:
        raise FormatError(f"{path} could not be read: {error.strerror}") from error


def _naming(path: Path, build: Callable[[], T]) -> T:
    """What `build` returns; its FormatError gets the file's name put before it."""
    try:
        return build()
    except FormatError as error:
        raise type(error)(f"{path}: {error}") from error
