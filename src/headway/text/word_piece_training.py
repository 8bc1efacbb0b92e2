"""Learning a vocabulary of word pieces: merges of neighbouring pieces over counted words, the commonest pair first.

Word pieces come from Schuster and Nakajima (2012) and Wu et al. (2016, section 4.1), who merge the pair that raises the
likelihood of the text most; BERT's release holds no learner, only how a vocabulary is applied. Here, as in the
`tokenizers` library, the pair seen most often merges (Sennrich et al. 2016). All but a word's first letter are "##x".
"""

from collections import Counter
from collections.abc import Iterable

from headway.errors import ConfigError, DataError
from headway.text.encoders import guarded
from headway.text.pair_merging import Merger
from headway.text.surrogates import without_surrogates
from headway.text.vocabulary import MAX_SIZE
from headway.text.word_piece import LONGEST_WORD, SPECIAL, WordPieceTokenizer, WordPieceVocabulary
from headway.text.word_piece_cutting import CONTINUES, OrderMatters, ReadyCharacters, chunks, normalizer

MOST_CHARACTERS = 1_000
"""Characters that become pieces: the most frequent ones, so that thousands of rare ones do not eat the vocabulary."""


def train_word_piece(
    texts: Iterable[str], size: int, *, lowercase: bool = True, min_frequency: int = 2
) -> WordPieceTokenizer:
    """Learn the vocabulary of `size` ids from texts, read once: special tokens, characters, then merges.

    Pairs seen fewer than `min_frequency` times do not merge, so a small corpus gives a smaller vocabulary than asked:
    see its `size`. The same texts in any order give the same vocabulary. Raises ConfigError for a size too small for
    the characters, DataError for texts without a word.
    """
    if isinstance(size, bool) or not isinstance(size, int) or not len(SPECIAL) < size <= MAX_SIZE:
        raise ConfigError(f"a vocabulary holds {len(SPECIAL)} special tokens and pieces, but got {size=}")
    if min_frequency < 0:
        raise ConfigError(f"min_frequency must not be negative, but got {min_frequency=}")
    ready = WordPieceVocabulary(
        pieces=SPECIAL, special_tokens={name: number for number, name in enumerate(SPECIAL)}, lowercase=lowercase
    )
    words = _words(texts, ready)
    symbols = _symbols(words)
    if len(SPECIAL) + len(symbols) > size:
        raise ConfigError(
            f"the texts are written in {len(symbols)} pieces of one character, so a vocabulary needs at least "
            f"{len(SPECIAL) + len(symbols)} ids, but got {size=}; ask for more with tokenizer.vocabulary"
        )
    numbers = {symbol: number for number, symbol in enumerate(symbols)}
    spelled = [(_spelled(word, numbers), count) for word, count in sorted(words.items())]
    known = [(word, count) for word, count in spelled if word is not None]
    merger = Merger([word for word, _ in known], [count for _, count in known])
    merges = merger.learn(size - len(SPECIAL) - len(symbols), max(min_frequency, 1), first=len(symbols))
    for left, right in merges:
        symbols.append(symbols[left] + symbols[right].removeprefix(CONTINUES))
    return WordPieceTokenizer(
        WordPieceVocabulary(
            # The same piece can come of two pairs.
            pieces=tuple(dict.fromkeys([*SPECIAL, *symbols])),
            special_tokens=ready.special_tokens,
            lowercase=lowercase,
        )
    )


def _words(texts: Iterable[str], ready: WordPieceVocabulary) -> Counter[str]:
    """How often each word stands in the texts, as BERT cuts them; words too long to be encoded left out."""
    found: Counter[str] = Counter()
    for text in texts:
        found.update(chunks(without_surrogates(text)))
    characters = ReadyCharacters(ready)
    words: Counter[str] = Counter()
    for chunk, count in found.items():
        try:
            cut = characters.words(chunk)
        except OrderMatters:
            cut = _words_with_moves(chunk, ready)
        for word in cut:
            if len(word) <= LONGEST_WORD:
                words[word] += count
    if not words:
        raise DataError("a vocabulary is learned from text, but there is not a single word in the texts given")
    return words


def _words_with_moves(chunk: str, ready: WordPieceVocabulary) -> list[str]:
    """The words as the library cuts them, for the rare characters that move."""
    from tokenizers import pre_tokenizers

    clean = guarded(lambda: normalizer(ready).normalize_str(chunk))
    return [word for word, _ in guarded(lambda: pre_tokenizers.BertPreTokenizer().pre_tokenize_str(clean))]


def _symbols(words: Counter[str]) -> list[str]:
    """The most frequent characters as a word's first and as "##x", in order; of equally frequent ones the first."""
    characters: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            characters[character] += count
    kept = {character for character, _ in sorted(characters.items(), key=_by_count)[:MOST_CHARACTERS]}
    first = {word[0] for word in words} & kept
    later = {character for word in words for character in word[1:]} & kept
    return [*sorted(first), *(CONTINUES + character for character in sorted(later))]


def _by_count(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _spelled(word: str, numbers: dict[str, int]) -> list[int] | None:
    """The symbols of a word; None where a character is not among them, so that the word is [UNK] anyway."""
    spelled = [numbers.get(character if place == 0 else CONTINUES + character) for place, character in enumerate(word)]
    return None if None in spelled else [number for number in spelled if number is not None]
