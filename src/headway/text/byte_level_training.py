"""Learning a byte-level vocabulary: byte pair encoding over the bytes of counted pieces (text/pair_merging.py).

The merges equal those of the `tokenizers` library.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from headway.errors import ConfigError, DataError
from headway.text.byte_alphabet import BYTE_ORDER, to_text
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.encoders import split
from headway.text.pair_merging import Merger
from headway.text.surrogates import utf8
from headway.text.vocabulary import END_OF_TEXT, MAX_SIZE, ByteVocabulary

# Sizes by corpus size: small enough that the rarest tokens are still seen often, large enough to shorten the text.
# All are multiples of 64, which suits the matrix units; the last is GPT-2's 50,257 rounded up.
_SIZES = (
    (50_000, 512),
    (250_000, 1_024),
    (1_000_000, 2_048),
    (10_000_000, 4_096),
    (100_000_000, 8_192),
    (1_000_000_000, 16_384),
    (10_000_000_000, 32_768),
)
_LARGEST = 50_304


def vocabulary_size(corpus_bytes: int) -> int:
    """A fitting vocabulary size for so many bytes of text.

    Below 50 kB 512, 250 kB 1,024, 1 MB 2,048, 10 MB 4,096, 100 MB 8,192, 1 GB 16,384, 10 GB 32,768, else 50,304.
    """
    return next((size for limit, size in _SIZES if corpus_bytes < limit), _LARGEST)


def train_byte_level(
    texts: Iterable[str],
    size: int,
    *,
    special_tokens: Sequence[str] = (END_OF_TEXT,),
    min_frequency: int = 2,
) -> ByteLevelTokenizer:
    """Learn a vocabulary of `size` ids from texts, read once: 256 bytes, merges, then the special tokens.

    Pairs seen fewer than `min_frequency` times do not merge, so a small corpus gives a smaller vocabulary than
    asked: see its `size`. Memory grows with the distinct pieces only. The same texts in any order give the same
    vocabulary. Raises ConfigError for a size too small or a special token that is no special one, DataError for texts
    without a character.
    """
    _check(size, special_tokens, min_frequency)
    pieces: Counter[bytes] = Counter()
    for text in texts:
        pieces.update(split(utf8(text)))
    if not pieces:
        raise DataError("a vocabulary is learned from text, but there is not a single character in the texts given")
    tokens = [bytes((byte,)) for byte in BYTE_ORDER]
    symbol = {byte: place for place, byte in enumerate(BYTE_ORDER)}
    words = [[symbol[byte] for byte in piece] for piece in pieces]
    merger = Merger(words, list(pieces.values()))
    merges = merger.learn(size - 256 - len(special_tokens), max(min_frequency, 1), first=256)
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    learned, written = set(tokens), set(map(to_text, tokens))  # in memory and in a file it must stand alone
    for name in special_tokens:
        if name.encode() in learned or name in written:
            raise ConfigError(f"special token {name!a} is common in the text itself; choose one like <|{name}|>")
    names = {name: len(tokens) + place for place, name in enumerate(special_tokens)}
    return ByteLevelTokenizer(
        ByteVocabulary(
            tokens=(*tokens, *(name.encode() for name in special_tokens)),
            merges=tuple((tokens[left], tokens[right]) for left, right in merges),
            special_tokens=names,
            end_of_text=END_OF_TEXT if END_OF_TEXT in names else None,
        )
    )


def _check(size: int, special_tokens: Sequence[str], min_frequency: int) -> None:
    if isinstance(special_tokens, str) or len(set(special_tokens)) != len(special_tokens):
        raise ConfigError(f"special_tokens must be a list of different texts, but got {special_tokens!a}")
    for name in special_tokens:
        if not name or any(0xD800 <= ord(character) < 0xE000 for character in name):
            raise ConfigError(f"a special token must be valid text of at least one character, but got {name!a}")
    least = 256 + len(special_tokens)
    if not least <= size <= MAX_SIZE:
        raise ConfigError(
            f"a vocabulary holds 256 bytes and {len(special_tokens)} special tokens, so its size must be at least"
            f" {least}, but got {size=}"
        )
    if min_frequency < 0:
        raise ConfigError(f"min_frequency must not be negative, but got {min_frequency=}")
