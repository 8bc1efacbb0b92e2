"""Small vocabularies of every sort for the tests, and the reference each is held against."""

import json
import random
from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer as ReferenceTokenizer
from tokenizers import decoders, models, pre_tokenizers

from headway.text.byte_alphabet import BYTE_ORDER, to_text
from headway.text.vocabulary import ByteVocabulary

BYTES = tuple(bytes((byte,)) for byte in BYTE_ORDER)

PROSE = (
    "It was a bright cold day in the north, and the clocks of the town weren't striking any more.\n\n"
    "\u201cWho's there?\u201d she asked; they'd been told 12 times, or 13, or 1,000 times already...\n"
    "Der Zug f\u00e4hrt um f\u00fcnf Uhr. \u041f\u043e\u0435\u0437\u0434 \u0438\u0434\u0451\u0442. "
    "\u5217\u8f66\u4e94\u70b9\u5f00\u3002\u5217\u8f66\u4e94\u70b9\u5f00\u3002 \U0001f682\U0001f682"
    " aaaaaaa    aaaa\t\t\t\n\n\n"
) * 3


def of_merges(pairs: Iterable[tuple[bytes, bytes]], specials: Sequence[str] = ("<|endoftext|>",)) -> ByteVocabulary:
    """256 bytes, what the pairs form (each once), the special tokens."""
    pairs = tuple(pairs)
    tokens = (*BYTES, *dict.fromkeys(left + right for left, right in pairs))
    return ByteVocabulary(
        tokens=(*tokens, *(name.encode() for name in specials)),
        merges=pairs,
        special_tokens={name: len(tokens) + place for place, name in enumerate(specials)},
        end_of_text="<|endoftext|>" if "<|endoftext|>" in specials else None,
    )


def shuffled(vocabulary: ByteVocabulary, seed: int) -> ByteVocabulary:
    """The same vocabulary with its ids dealt anew, special ones in between."""
    tokens = list(vocabulary.tokens)
    random.Random(seed).shuffle(tokens)
    return ByteVocabulary(
        tokens=tuple(tokens),
        merges=vocabulary.merges,
        special_tokens={name: tokens.index(name.encode()) for name in vocabulary.special_tokens},
        end_of_text=vocabulary.end_of_text,
    )


def revealing() -> ByteVocabulary:
    """A vocabulary whose ids show whether a character beyond ASCII was taken for a letter, a digit, space or the rest.

    The last byte of its UTF-8 merges with whatever stands in the same piece after it.
    """
    return of_merges((bytes((last,)), after) for last in range(0x80, 0xC0) for after in (b"a", b"1", b"!", b" "))


def reference(vocabulary: ByteVocabulary) -> ReferenceTokenizer:
    """The `tokenizers` library's tokenizer with the same ids, special tokens set aside."""
    vocab = {to_text(token): number for number, token in enumerate(vocabulary.tokens)}
    merges = [(to_text(left), to_text(right)) for left, right in vocabulary.merges]
    tokenizer = ReferenceTokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def merges_of(tokenizer: ReferenceTokenizer) -> list[tuple[str, str]]:
    """The merges of a reference tokenizer, in its own alphabet."""
    return [(left, right) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]
