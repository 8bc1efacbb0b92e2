"""The ecosystem's tokenizer.json and tokenizer_config.json, in and out, for vocabularies of words.

A WordLevel model behind our split, and a decoder that puts blanks between words by one pattern. Patterns in a file are
only compared with ours, never run.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headway.errors import FormatError
from headway.text.tokenizer_json import UnknownTokenizer, added_tokens, by_id, kind_of, listed, write_json
from headway.text.vocabulary import END_OF_TEXT
from headway.text.word_level import CJK, SPLIT_PATTERN, WordVocabulary

_SPLIT = {"type": "Split", "pattern": {"Regex": SPLIT_PATTERN}, "behavior": "Removed", "invert": True}
_MARKS = re.compile(r" \(\?=\[((?:\\.)+)\]\(\?: \|\\z\)\)\|")
_OPENING = re.compile(r"\(\?<=\\A\[((?:\\.)+)\]\| \[((?:\\.)+)\]\) \|")


def read_words(table: Mapping[str, Any], end_of_text: str | None) -> WordVocabulary:
    """The vocabulary in a parsed tokenizer.json with a WordLevel model; `end_of_text` names the token if it is known.

    Raises UnknownTokenizer for one that splits or joins words its own way, FormatError for a damaged one.
    """
    if table.get("normalizer") is not None:
        raise UnknownTokenizer(
            f"the tokenizer normalizes text ({kind_of(table['normalizer'])}), which is not supported"
        )
    if not _adds_nothing(table.get("post_processor")):
        raise UnknownTokenizer(
            f"the tokenizer adds tokens around texts ({kind_of(table['post_processor'])}), which is not supported"
        )
    if table.get("pre_tokenizer") != _SPLIT:
        raise UnknownTokenizer(
            "the tokenizer is of the kind WordLevel and splits text its own way"
            f" ({kind_of(table.get('pre_tokenizer'))}); only our own split is supported"
        )
    closing, opening = _read_decoder(table.get("decoder"))
    model = table["model"]
    vocab, unknown = model.get("vocab"), model.get("unk_token")
    if not isinstance(vocab, dict):
        raise FormatError("the vocabulary must be a table of words and ids")
    added = added_tokens(table.get("added_tokens"))
    words = by_id({**vocab, **added}, [*vocab.items(), *added.items()])
    if not isinstance(unknown, str) or unknown not in vocab:
        raise FormatError(f"unk_token must be a word of the vocabulary, but is {unknown!a:.60}")
    for word in words:
        if any("\ud800" <= character <= "\udfff" for character in word):
            raise FormatError(f"the word {word[:40]!a} is not valid text")
    special = {name: vocab[name] for name in (unknown, END_OF_TEXT) if name in vocab} | added
    if end_of_text not in special:
        end_of_text = END_OF_TEXT if END_OF_TEXT in special else None
    return WordVocabulary(
        words=tuple(words),
        special_tokens=dict(sorted(special.items(), key=lambda item: item[1])),
        unknown=unknown,
        end_of_text=end_of_text,
        closing=closing,
        opening=opening,
    )


def _adds_nothing(table: Any) -> bool:
    """Whether there is no post-processor, or the empty template that transformers writes in its place."""
    if table is None:
        return True
    template = isinstance(table, dict) and table.get("type") == "TemplateProcessing"
    return template and table.get("single") == [{"Sequence": {"id": "A", "type_id": 0}}]


def write_folder(vocabulary: WordVocabulary, folder: Path, model_max_length: int | None) -> None:
    """Write tokenizer.json and tokenizer_config.json. Raises StorageError."""
    table = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": listed(vocabulary.special_tokens),
        "normalizer": None,
        "pre_tokenizer": _SPLIT,
        "post_processor": None,
        "decoder": _decoder(vocabulary.closing, vocabulary.opening),
        "model": {"type": "WordLevel", "vocab": vocabulary.ids, "unk_token": vocabulary.unknown},
    }
    end = {} if vocabulary.end_of_text is None else dict.fromkeys(("bos_token", "eos_token"), vocabulary.end_of_text)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        **end,
        "unk_token": vocabulary.unknown,
        **({} if model_max_length is None else {"model_max_length": model_max_length}),
    }
    write_json(folder / "tokenizer.json", table)
    write_json(folder / "tokenizer_config.json", config)


def _decoder(closing: str, opening: str) -> dict[str, Any]:
    """Words joined by blanks, then the blanks taken out that marks do not have.

    The library's WordPiece part puts a blank before every word that does not begin with its prefix; none begins with
    a blank. Its marks are single words: blanks or the text's ends stand around them.
    """
    close, open_ = _escaped(closing), _escaped(opening)
    pattern = rf" (?=[{close}](?: |\z))|" if close else ""
    pattern += rf"(?<=\A[{open_}]| [{open_}]) |" if open_ else ""
    pattern += rf"(?<=[^ ]['\u2019]) |(?<=[{CJK}]) (?=[{CJK}])"
    return {
        "type": "Sequence",
        "decoders": [
            {"type": "WordPiece", "prefix": " ", "cleanup": False},
            {"type": "Fuse"},
            {"type": "Replace", "pattern": {"Regex": pattern}, "content": ""},
        ],
    }


def _read_decoder(table: Any) -> tuple[str, str]:
    """The marks in a decoder of ours. Raises UnknownTokenizer for any other decoder."""
    try:
        pattern = table["decoders"][2]["pattern"]["Regex"]
        closing, opening = _MARKS.match(pattern), _OPENING.search(pattern)
    except (TypeError, KeyError, IndexError):
        closing = opening = None
    marks = tuple("" if found is None else found[1][1::2] for found in (closing, opening))
    if table != _decoder(*marks):
        raise UnknownTokenizer(f"the tokenizer joins words its own way ({kind_of(table)}), which is not supported")
    return marks[0], marks[1]


def _escaped(marks: str) -> str:
    return "".join(f"\\{mark}" for mark in marks)
