"""The ecosystem's tokenizer.json and tokenizer_config.json, in and out, for byte-level vocabularies.

Nothing in a file is executed: a split pattern is only compared with GPT-2's, and whatever else would change the ids
in a way we do not carry out is refused by name.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

from headway.errors import FormatError, StorageError
from headway.text.byte_alphabet import all_to_bytes, to_bytes, to_text
from headway.text.encoders import SPLIT_PATTERN
from headway.text.vocabulary import END_OF_TEXT, ByteVocabulary


class UnknownTokenizer(FormatError):
    """A tokenizer of a kind we do not have; the weights beside it may still load."""


# What may stand in a BPE model without changing anything, by key.
_NEUTRAL = {
    "dropout": (None, 0, 0.0),
    "unk_token": (None, END_OF_TEXT),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "byte_fallback": (None, False),
    "ignore_merges": (None, False),
}
_ADDED_FLAGS = ("single_word", "lstrip", "rstrip")
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def read_table(table: Any, end_of_text: str | None) -> ByteVocabulary:
    """The vocabulary in a parsed tokenizer.json; `end_of_text` names the token between documents if it is known.

    Raises UnknownTokenizer for another kind of tokenizer, FormatError for a damaged one.
    """
    if not isinstance(table, dict) or not isinstance(table.get("model"), dict):
        raise FormatError("tokenizer.json must be a table that holds a model")
    model = table["model"]
    if model.get("type", "BPE") != "BPE":
        raise UnknownTokenizer(f"the tokenizer is of the kind {model['type']!a}; byte-level BPE is the one we have")
    for key, neutral in _NEUTRAL.items():
        if model.get(key) not in neutral:
            raise UnknownTokenizer(f"the tokenizer's model sets {key} to {model[key]!a}, which is not supported")
    if table.get("normalizer") is not None:
        raise UnknownTokenizer(
            f"the tokenizer normalizes text ({kind_of(table['normalizer'])}), which is not supported"
        )
    _check_split(table.get("pre_tokenizer"))
    if table.get("post_processor") is not None and kind_of(table["post_processor"]) != "ByteLevel":
        raise UnknownTokenizer(
            f"the tokenizer adds tokens around texts ({kind_of(table['post_processor'])}), which is not supported"
        )
    return assemble(
        model.get("vocab"), _merges(model.get("merges")), added_tokens(table.get("added_tokens")), end_of_text
    )


def assemble(
    vocab: Any, merges: Sequence[tuple[str, str]], added: Mapping[str, Any], end_of_text: str | None
) -> ByteVocabulary:
    """A vocabulary of token texts with ids, merges of token texts and special tokens, checked throughout.

    Raises FormatError unless the ids are 0..size-1, each once, every token that is not special is written in the byte
    alphabet, and every merge is of two tokens into a third.
    """
    if not isinstance(vocab, dict):
        raise FormatError("the vocabulary must be a table of tokens and ids")
    names = by_id({**vocab, **added}, [*vocab.items(), *added.items()])
    special = dict(added)
    if END_OF_TEXT in vocab:
        special.setdefault(END_OF_TEXT, vocab[END_OF_TEXT])
    if end_of_text not in special:
        end_of_text = END_OF_TEXT if END_OF_TEXT in special else None
    tokens = _tokens(names, special)
    by_text = dict(zip(names, tokens, strict=True))
    try:
        sides = [map(by_text.__getitem__, map(itemgetter(side), merges)) for side in (0, 1)]
        pairs = tuple(zip(*sides, strict=True))
    except KeyError as error:
        raise FormatError(f"a merge names {error.args[0]!a:.60}, which is not in the vocabulary") from error
    return ByteVocabulary(
        tokens=tuple(tokens),
        merges=pairs,
        special_tokens=dict(sorted(special.items(), key=lambda item: item[1])),
        end_of_text=end_of_text,
    )


def by_id(table: Mapping[str, Any], entries: Sequence[tuple[str, Any]]) -> list[str]:
    """The texts at their ids. An id may come twice only with the same text."""
    given = [number for _, number in entries]
    if set(map(type, given)) <= {int} and given == [table[text] for text, _ in entries]:
        if sorted(table.values()) == list(
            range(len(table))
        ):  # as it is nearly always; what follows names what is wrong
            return sorted(table, key=table.__getitem__)
    names: list[str | None] = [None] * len(table)
    for text, number in entries:
        if type(number) is not int or not 0 <= number < len(names):
            raise FormatError(
                f"ids must be 0..{len(names) - 1} without gaps for {len(names)} tokens,"
                f" but {text[:40]!a} has {number!a:.40}"
            )
        if names[number] not in (None, text):
            raise FormatError(f"id {number} is given to both {names[number]!a:.40} and {text[:40]!a}")
        names[number] = text
    if None in names:
        raise FormatError(f"a token has two ids, and none has id {names.index(None)}")
    return [name for name in names if name is not None]


def _tokens(names: Sequence[str], special: Mapping[str, int]) -> list[bytes]:
    """The bytes each token stands for: a special one for its name, any other as the byte alphabet says."""
    try:
        tokens = all_to_bytes(["" if name in special else name for name in names])
        for name, number in special.items():
            tokens[number] = name.encode()
        return tokens
    except UnicodeEncodeError as error:
        wrong = next(name for name in names if not _is_written(name, name in special))
        raise FormatError(f"the token {wrong[:40]!a} is not written in the byte alphabet") from error


def _is_written(name: str, special: bool) -> bool:
    try:
        name.encode() if special else to_bytes(name)
        return True
    except UnicodeEncodeError:
        return False


def write_folder(vocabulary: ByteVocabulary, folder: Path, model_max_length: int | None) -> None:
    """Write tokenizer.json and tokenizer_config.json. Raises StorageError."""
    special = set(vocabulary.special_tokens.values())
    texts = [token.decode() if number in special else to_text(token) for number, token in enumerate(vocabulary.tokens)]
    level = _BYTE_LEVEL
    table = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": listed(vocabulary.special_tokens),
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": level,
        "decoder": level,
        "model": {
            "type": "BPE",
            **{key: neutral[0] for key, neutral in _NEUTRAL.items() if key not in ("byte_fallback", "ignore_merges")},
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {text: number for number, text in enumerate(texts)},
            "merges": [f"{to_text(left)} {to_text(right)}" for left, right in vocabulary.merges],
        },
    }
    named = ("bos_token", "eos_token", "unk_token") if vocabulary.end_of_text is not None else ()
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        **dict.fromkeys(named, vocabulary.end_of_text),
        **({} if model_max_length is None else {"model_max_length": model_max_length}),
    }
    write_json(folder / "tokenizer.json", table)
    write_json(folder / "tokenizer_config.json", config)


def listed(special_tokens: Mapping[str, int]) -> list[dict[str, Any]]:
    """The special tokens as tokenizer.json lists them."""
    return [
        dict.fromkeys((*_ADDED_FLAGS, "normalized"), False) | {"id": number, "content": name, "special": True}
        for name, number in special_tokens.items()
    ]


def write_json(path: Path, table: Mapping[str, Any]) -> None:
    """Write a table, the same bytes each time. Raises StorageError."""
    try:
        path.write_text(json.dumps(table, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", newline="\n")
    except OSError as error:
        raise StorageError(
            f"{path} could not be written: {error.strerror}; free space or choose another folder"
        ) from error


def _check_split(table: Any) -> None:
    """Accept ByteLevel with its own pattern, or GPT-2's pattern spelled out before a plain ByteLevel."""
    if (
        kind_of(table) == "Sequence"
        and isinstance(table.get("pretokenizers"), list)
        and len(table["pretokenizers"]) == 2
    ):
        cut, level = table["pretokenizers"]
        plain = kind_of(level) == "ByteLevel" and level.get("use_regex") is False
        same = kind_of(cut) == "Split" and cut.get("pattern") == {"Regex": SPLIT_PATTERN}
        if plain and same and cut.get("behavior") == "Isolated" and not cut.get("invert"):
            return _check_prefix(level)
    if kind_of(table) == "ByteLevel" and table.get("use_regex", True) is True:
        return _check_prefix(table)
    raise UnknownTokenizer(f"the tokenizer splits text its own way ({kind_of(table)}); only GPT-2's split is supported")


def _check_prefix(level: Mapping[str, Any]) -> None:
    if level.get("add_prefix_space", True) is not False:
        raise UnknownTokenizer(
            "the tokenizer puts a space before every text (add_prefix_space), which is not supported"
        )


def kind_of(table: Any) -> str:
    """The type that a part of tokenizer.json names, for comparisons and messages."""
    kind = table.get("type") if isinstance(table, dict) else table
    return kind if isinstance(kind, str) else f"{kind!a:.40}"


def _merges(listed: Any) -> list[tuple[str, str]]:
    if not isinstance(listed, list):
        raise FormatError("the merges must be a list")
    pairs = [item.split(" ") if isinstance(item, str) else item for item in listed]
    for item, parts in zip(listed, [] if _are_pairs(pairs) else pairs, strict=False):
        if not _are_pairs([parts]):
            raise FormatError(f"each merge must be two tokens, but one is {item!a:.80}")
    return list(map(tuple, pairs))


def _are_pairs(found: Sequence[Any]) -> bool:
    """Whether all are lists of two texts; of many at once this is many times faster than one by one."""
    return (
        set(map(type, found)) <= {list}
        and set(map(len, found)) <= {2}
        and set(map(type, chain.from_iterable(found))) <= {str}
    )


def added_tokens(found: Any) -> dict[str, Any]:
    """The added tokens by text, their ids as yet unchecked. Raises UnknownTokenizer for one that changes other ids."""
    added: dict[str, Any] = {}
    for item in [] if found is None else found if isinstance(found, list) else [found]:
        name = item.get("content") if isinstance(item, dict) else None
        if not isinstance(name, str) or not name:
            raise FormatError(f"each added token must be a table with its text as content, but one is {item!a:.80}")
        flags = [flag for flag in _ADDED_FLAGS if item.get(flag, False) is not False]
        if flags:
            raise UnknownTokenizer(f"the added token {name[:40]!a} sets {flags[0]}, which is not supported")
        added[name] = item.get("id")  # checked with all the other ids
    return added
