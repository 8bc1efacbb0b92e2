"""Byte-level BPE in a GGUF file: the lists of tokens, their kinds and the merges, out and in.

Names and kinds are llama.cpp's (its tokenizer "gpt2", cut up as "gpt-2"). Ordinary tokens are written in the byte
alphabet, special ones as they are; rows of the embedding without a token get one that no text becomes.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headway.errors import FormatError
from headway.text.byte_alphabet import to_text
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.tokenizer import Tokenizer
from headway.text.tokenizer_json import assemble

MODEL, SPLIT = "tokenizer.ggml.model", "tokenizer.ggml.pre"
TOKENS, KINDS, MERGES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.merges"
BEGIN, END = "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"
ADDS = ("tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token", "tokenizer.ggml.add_space_prefix")
BYTE_LEVEL, GPT2_SPLIT, NO_TOKENIZER = "gpt2", "gpt-2", "none"

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5


@dataclass(frozen=True, kw_only=True)
class TokenLists:
    """A tokenizer as the file lists it: each id's text and kind, the merges, and the id between documents."""

    tokens: list[str]
    kinds: list[int]
    merges: list[str]
    end: int


def list_tokens(tokenizer: Tokenizer, vocabulary: int) -> TokenLists:
    """The lists for a model of so many ids. Raises FormatError for a tokenizer that llama.cpp would read otherwise."""
    if not isinstance(tokenizer, ByteLevelTokenizer):
        raise FormatError(
            "GGUF is written with byte-level BPE alone, and this model's tokenizer is another\n"
            "Export it --to huggingface."
        )
    known = tokenizer.vocabulary
    if tokenizer.end_of_text is None or not known.merges:
        lacking = "token that ends a text, for which llama.cpp would take id 11" if known.merges else "merges to list"
        raise FormatError(f"GGUF cannot say this model's tokenizer: it has no {lacking}\nExport it --to huggingface.")
    special = set(known.special_tokens.values())
    tokens = [token.decode() if number in special else to_text(token) for number, token in enumerate(known.tokens)]
    unused = [f"[PAD{number}]" for number in range(len(tokens), vocabulary)]
    kinds = [_CONTROL if number in special else _NORMAL for number in range(len(tokens))] + [_UNUSED] * len(unused)
    tokens += unused
    ambiguous = [token for token in known.ids if tokens[known.ids[token]] != to_text(token)]
    if ambiguous or len(set(tokens)) != len(tokens):
        twice = ambiguous[0].decode(errors="replace") if ambiguous else _repeated(tokens)
        raise FormatError(
            f"GGUF cannot say this model's tokenizer: {twice[:40]!a} is both a special token and ordinary text\n"
            "Export it --to huggingface."
        )
    merges = [f"{to_text(left)} {to_text(right)}" for left, right in known.merges]
    return TokenLists(tokens=tokens, kinds=kinds, merges=merges, end=tokenizer.end_of_text)


def read_tokenizer(file: str, metadata: Mapping[str, Any], vocabulary: int) -> Tokenizer | None:
    """The tokenizer in the metadata; None where there is none or, with a warning, one of a kind we do not have.

    Raises FormatError where the lists are damaged or contradict each other.
    """
    if metadata.get(MODEL, NO_TOKENIZER) in (NO_TOKENIZER, "no_vocab"):
        return None
    added = [key for key in ADDS if metadata.get(key, False)]
    if metadata[MODEL] != BYTE_LEVEL or metadata.get(SPLIT, GPT2_SPLIT) != GPT2_SPLIT or added:
        kind = ", ".join(f"{key}={ascii(metadata.get(key))[:40]}" for key in (MODEL, SPLIT, *added))
        warnings.warn(
            f"the model is opened without a tokenizer: {file} has {kind}, which is not supported", stacklevel=3
        )
        return None
    if SPLIT not in metadata:
        warnings.warn(f"{file} does not say how it cuts up text ({SPLIT}); GPT-2's way is taken", stacklevel=3)
    tokens, merges = _texts(file, metadata, TOKENS), _texts(file, metadata, MERGES)
    kinds = metadata.get(KINDS, [_NORMAL] * len(tokens))
    if len(tokens) != vocabulary or not isinstance(kinds, list) or len(kinds) != len(tokens):
        raise FormatError(
            f"{file} contradicts itself: {vocabulary} rows of weights, {len(tokens)} tokens and"
            f" {len(kinds) if isinstance(kinds, list) else 'no'} kinds\nGet the file again."
        )
    while kinds and kinds[-1] == _UNUSED:  # rows of the embedding that have no token
        del tokens[-1], kinds[-1]
    return _assembled(file, metadata, tokens, kinds, merges)


def _assembled(
    file: str, metadata: Mapping[str, Any], tokens: list[str], kinds: list[Any], merges: list[str]
) -> Tokenizer:
    end = metadata.get(END)
    if end is not None and (type(end) is not int or not 0 <= end < len(tokens)):
        raise FormatError(f"{file} has {END}={ascii(end)[:40]}, and {len(tokens)} tokens\nGet the file again.")
    table = {text: number for number, text in enumerate(tokens)}
    special = {
        tokens[number]: number for number, kind in enumerate(kinds) if kind in (_CONTROL, _USER_DEFINED, _UNUSED)
    }
    if end is not None:
        special[tokens[end]] = end
    pairs = []
    for merge in merges:
        left, _, right = merge.partition(" ")
        pairs.append((left, right))
    try:
        if len(table) != len(tokens):
            raise FormatError(f"the token {_repeated(tokens)[:40]!a} stands in it twice")
        return ByteLevelTokenizer(assemble(table, pairs, special, None if end is None else tokens[end]))
    except FormatError as error:
        raise FormatError(f"{file}: {error}\nThe tokenizer is damaged: get the file again.") from error


def _texts(file: str, metadata: Mapping[str, Any], key: str) -> list[str]:
    found = metadata.get(key)
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise FormatError(f"{file} has no list of texts {key}, which its tokenizer needs\nGet the file again.")
    return list(found)


def _repeated(tokens: list[str]) -> str:
    seen: set[str] = set()
    return next(token for token in tokens if token in seen or seen.add(token))  # type: ignore[func-returns-value]
