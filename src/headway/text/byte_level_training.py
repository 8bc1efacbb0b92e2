"""Learning a byte-level vocabulary: byte pair encoding (Sennrich et al. 2016, algorithm 1) over counted pieces.

The most frequent pair of neighbours merges first; of equally frequent ones the pair with the smaller ids, as in the
`tokenizers` library, whose merges these equal. Counts are Python's own integers, which do not overflow.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from headway.errors import ConfigError, DataError
from headway.text.byte_alphabet import BYTE_ORDER, to_text
from headway.text.byte_level import ByteLevelTokenizer, utf8
from headway.text.encoders import split
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

_PAIR = 32  # a pair of ids is kept as one integer, left << 32 | right: quick to hash, and in the order of the pair


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
    merges = _Merger(pieces).learn(size - 256 - len(special_tokens), max(min_frequency, 1))
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


class _Merger:
    """The pieces as symbols, and for every pair of neighbours its count and the pieces that may hold it."""

    def __init__(self, pieces: Counter[bytes]) -> None:
        symbol = {byte: place for place, byte in enumerate(BYTE_ORDER)}
        self.words = [[symbol[byte] for byte in piece] for piece in pieces]
        self.frequencies = list(pieces.values())
        self.counts: defaultdict[int, int] = defaultdict(int)
        self.places: defaultdict[int, set[int]] = defaultdict(set)  # may name pieces that no longer hold the pair
        for number, (word, frequency) in enumerate(zip(self.words, self.frequencies, strict=True)):
            for left, right in zip(word, word[1:], strict=False):
                self.counts[left << _PAIR | right] += frequency
                self.places[left << _PAIR | right].add(number)

    def learn(self, n_merges: int, min_frequency: int) -> list[tuple[int, int]]:
        """Up to so many merges as pairs of ids; the merge at place n forms id 256 + n."""
        queue = [(-count, pair) for pair, count in self.counts.items()]
        heapq.heapify(queue)
        merges: list[tuple[int, int]] = []
        while queue and len(merges) < n_merges:
            negative, pair = heapq.heappop(queue)
            count = self.counts[pair]
            if count < min_frequency:
                continue
            if count != -negative:  # it lost occurrences to other merges since it was queued
                heapq.heappush(queue, (-count, pair))
                continue
            left, right = pair >> _PAIR, pair & (1 << _PAIR) - 1
            for fresh in self._merge(left, right, 256 + len(merges)):
                heapq.heappush(queue, (-self.counts[fresh], fresh))
            merges.append((left, right))
        return merges

    def _merge(self, left: int, right: int, formed: int) -> set[int]:
        """Put one symbol for the pair everywhere; returns the pairs that came to be."""
        counts, places = self.counts, self.places
        pair = left << _PAIR | right
        fresh: set[int] = set()
        for number in places.pop(pair):
            word, frequency = self.words[number], self.frequencies[number]
            merged: list[int] = []
            place, last = 0, len(word) - 1
            while place <= last:
                symbol = word[place]
                if symbol != left or place == last or word[place + 1] != right:
                    merged.append(symbol)
                    place += 1
                    continue
                if merged:
                    before = merged[-1] << _PAIR
                    counts[before | left] -= frequency
                    counts[before | formed] += frequency
                    places[before | formed].add(number)
                    fresh.add(before | formed)
                if place + 1 < last:
                    after = word[place + 2]
                    counts[right << _PAIR | after] -= frequency
                    counts[formed << _PAIR | after] += frequency
                    places[formed << _PAIR | after].add(number)
                    fresh.add(formed << _PAIR | after)
                merged.append(formed)
                place += 2
            self.words[number] = merged
        del counts[pair]
        return {key for key in fresh if counts[key] > 0}
