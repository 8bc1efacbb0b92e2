"""BERT's tokenizer files, in and out: tokenizer.json with a WordPiece model, and vocab.txt, a piece a line.

What would change the ids in another way than a vocabulary's settings can say is refused by name. Tokens that a file
adds around texts ([CLS], [SEP]), its padding and its truncation are left to those who lay out rows.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headway.errors import FormatError, StorageError
from headway.text.tokenizer import MASK
from headway.text.tokenizer_json import UnknownTokenizer, added_tokens, by_id, kind_of, listed, write_json
from headway.text.word_piece import BEGIN, END, LONGEST_WORD, PADDING, SPECIAL, WordPieceVocabulary
from headway.text.word_piece_cutting import CONTINUES, UNKNOWN

VOCABULARY = "vocab.txt"
# Classes that read text as BERT does, with "Fast" or without; for these tokenizer_config.json is heard.
_CLASSES = tuple(
    f"{name}Tokenizer{fast}"
    for name in ("Bert", "ConvBert", "DistilBert", "Electra", "LayoutLM", "MobileBert", "RetriBert", "SqueezeBert")
    for fast in ("", "Fast")
)
_ANY = (None, "PreTrainedTokenizer", "PreTrainedTokenizerFast", "TokenizersBackend")
_NAMES = {"unk_token": UNKNOWN, "sep_token": END, "pad_token": PADDING, "cls_token": BEGIN, "mask_token": MASK}
_AROUND = (None, "BertProcessing", "TemplateProcessing")


def read_word_pieces(table: Mapping[str, Any], config: Mapping[str, Any]) -> WordPieceVocabulary:
    """The vocabulary in a parsed tokenizer.json with a WordPiece model, beside the table of tokenizer_config.json.

    Where that names one of BERT's classes, what it says of capitals, accents and Chinese wins, as in transformers.
    Raises UnknownTokenizer for one that readies, cuts or marks pieces its own way, FormatError for a damaged one.
    """
    model = table["model"]
    for key, wanted in (("unk_token", UNKNOWN), ("continuing_subword_prefix", CONTINUES)):
        if model.get(key, wanted) != wanted:
            raise UnknownTokenizer(f"the tokenizer's model sets {key} to {model[key]!a:.60}, which is not supported")
    if kind_of(table.get("pre_tokenizer")) != "BertPreTokenizer":
        raise UnknownTokenizer(
            f"the tokenizer splits text its own way ({kind_of(table.get('pre_tokenizer'))}); only BERT's is supported"
        )
    after = table.get("post_processor")
    if after is not None and kind_of(after) not in _AROUND:
        raise UnknownTokenizer(f"the tokenizer adds tokens around texts ({kind_of(after)}), which is not supported")
    ready = table.get("normalizer")
    if not isinstance(ready, dict) or kind_of(ready) != "BertNormalizer":
        raise UnknownTokenizer(f"the tokenizer normalizes text its own way ({kind_of(ready)}), which is not supported")
    vocab = model.get("vocab")
    if not isinstance(vocab, dict):
        raise FormatError("the vocabulary must be a table of pieces and ids")
    added = added_tokens(table.get("added_tokens"))
    pieces = by_id({**vocab, **added}, [*vocab.items(), *added.items()])
    longest = model.get("max_input_chars_per_word", LONGEST_WORD)
    if type(longest) is not int or not 1 <= longest <= 10**6:
        raise FormatError(f"max_input_chars_per_word must be a whole number of characters, but is {longest!a:.40}")
    heard = config if config.get("tokenizer_class") in _CLASSES else {}
    return _assembled(
        pieces,
        added,
        {
            "lowercase": _flag(heard, "do_lower_case", _flag(ready, "lowercase", True)),
            "strip_accents": _flag(heard, "strip_accents", _flag(ready, "strip_accents", None)),
            "chinese": _flag(heard, "tokenize_chinese_chars", _flag(ready, "handle_chinese_chars", True)),
            "clean": _flag(ready, "clean_text", True),
            "longest_word": longest,
        },
    )


def read_vocab_txt(text: str, config: Mapping[str, Any], added: Mapping[str, Any]) -> WordPieceVocabulary:
    """The vocabulary of a vocab.txt, beside the tables of tokenizer_config.json and added_tokens.json, if any.

    Raises UnknownTokenizer where it belongs to another kind of tokenizer, FormatError for a line twice or empty.
    """
    _check_class(config)
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    pieces = [line.rstrip("\r") for line in lines]
    for needed in (UNKNOWN, END):
        if needed not in pieces:
            raise UnknownTokenizer(f"a vocabulary of BERT's kind has a line {needed}, but there is none")
    if added:
        pieces = _with_added(pieces, added)
    settings = {
        "lowercase": _flag(config, "do_lower_case", True),
        "strip_accents": _flag(config, "strip_accents", None),
        "chinese": _flag(config, "tokenize_chinese_chars", True),
    }
    return _assembled(pieces, added, settings)


def _check_class(config: Mapping[str, Any]) -> None:
    """Refuse a vocab.txt whose tokenizer_config.json says that text is read in another way than BERT's."""
    name = config.get("tokenizer_class")
    if name not in (*_CLASSES, *_ANY):
        raise UnknownTokenizer(f"tokenizer_config.json names the class {name!a:.60}, which is not known to be BERT's")
    if config.get("do_basic_tokenize", True) is False or config.get("never_split"):
        raise UnknownTokenizer("do_basic_tokenize or never_split in tokenizer_config.json is not supported")
    for key, wanted in _NAMES.items():
        given = config.get(key)
        given = given.get("content") if isinstance(given, dict) else given
        if given not in (None, wanted):
            raise UnknownTokenizer(f"tokenizer_config.json sets {key} to {given!a:.60}; only {wanted} is supported")


def _with_added(pieces: list[str], added: Mapping[str, Any]) -> list[str]:
    numbered = {piece: number for number, piece in enumerate(pieces)}
    if len(numbered) < len(pieces):
        return pieces  # a line stands twice, which is told as such
    return by_id({**numbered, **added}, [*numbered.items(), *added.items()])


def _assembled(pieces: list[str], added: Mapping[str, int], settings: Mapping[str, Any]) -> WordPieceVocabulary:
    places = {piece: number for number, piece in enumerate(pieces)}
    special = {name: places[name] for name in SPECIAL if name in places} | dict(added)
    for piece in pieces:
        if not piece or any("\ud800" <= character <= "\udfff" for character in piece):
            raise FormatError(f"the piece {piece[:40]!a} is empty or not valid text")
    ordered = dict(sorted(special.items(), key=lambda item: item[1]))
    return WordPieceVocabulary(pieces=tuple(pieces), special_tokens=ordered, **settings)


def _flag(table: Mapping[str, Any], key: str, absent: bool | None) -> bool | None:
    value = table.get(key, absent)
    if value is None or isinstance(value, bool):
        return absent if value is None else value
    raise FormatError(f"{key} must be true or false, but is {value!a:.40}")


def write_folder(vocabulary: WordPieceVocabulary, folder: Path, model_max_length: int | None) -> None:
    """Write tokenizer.json, tokenizer_config.json and vocab.txt. Raises StorageError."""
    special = vocabulary.special_tokens
    table = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": listed(special),
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": vocabulary.clean,
            "handle_chinese_chars": vocabulary.chinese,
            "strip_accents": vocabulary.strip_accents,
            "lowercase": vocabulary.lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": _around(special) if BEGIN in special else None,
        "decoder": {"type": "WordPiece", "prefix": CONTINUES, "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": UNKNOWN,
            "continuing_subword_prefix": CONTINUES,
            "max_input_chars_per_word": vocabulary.longest_word,
            "vocab": vocabulary.ids,
        },
    }
    config = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": vocabulary.lowercase,
        "strip_accents": vocabulary.strip_accents,
        "tokenize_chinese_chars": vocabulary.chinese,
        **{key: name for key, name in _NAMES.items() if name in special},
        **({} if model_max_length is None else {"model_max_length": model_max_length}),
    }
    write_json(folder / "tokenizer.json", table)
    write_json(folder / "tokenizer_config.json", config)
    path = folder / VOCABULARY
    try:
        path.write_text("".join(f"{piece}\n" for piece in vocabulary.pieces), encoding="utf-8", newline="\n")
    except OSError as error:
        raise StorageError(
            f"{path} could not be written: {error.strerror}; free space or choose another folder"
        ) from error


def _around(special: Mapping[str, int]) -> dict[str, Any]:
    """What the ecosystem's programs put around a text and a pair of texts (Devlin et al. 2018, section 3)."""
    begin, end = {"id": BEGIN}, {"id": END}

    def token(name: dict[str, str], segment: int) -> dict[str, Any]:
        return {"SpecialToken": {**name, "type_id": segment}}

    def text(which: str, segment: int) -> dict[str, Any]:
        return {"Sequence": {"id": which, "type_id": segment}}

    single = [token(begin, 0), text("A", 0), token(end, 0)]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, text("B", 1), token(end, 1)],
        "special_tokens": {name: {"id": name, "ids": [special[name]], "tokens": [name]} for name in (BEGIN, END)},
    }
