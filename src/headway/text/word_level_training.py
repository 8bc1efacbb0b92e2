"""Learning a vocabulary of words: count, keep the most frequent, and see where their marks have blanks."""

from collections import Counter
from collections.abc import Iterable
from functools import partial

from headway.errors import ConfigError, DataError
from headway.text.encoders import guarded
from headway.text.surrogates import without_surrogates
from headway.text.vocabulary import END_OF_TEXT, MAX_SIZE
from headway.text.word_level import CLOSING, FREE, OPENING, UNKNOWN, WordTokenizer, WordVocabulary, chunks, splitter

# Two sides that must not both lose their blanks, or the mark would be taken for one inside a word or a number.
_INNER = "'\u2019-.,:"
_MARKS = "".join(sorted({*CLOSING, *OPENING, *FREE}))
_PRIOR = 3  # the default counts as so many sightings, so that one odd place decides nothing


def train_words(texts: Iterable[str], size: int) -> WordTokenizer:
    """Learn the vocabulary of `size` ids from texts, read once: <|endoftext|>, [UNK], then words by frequency.

    Of equally frequent words the one that sorts first is kept. Texts with fewer words give a smaller vocabulary: see
    its `size`. Whether a mark has a blank before or after it is learned too, by majority, so that French marks keep
    theirs. The same texts in any order give the same vocabulary. Raises ConfigError for a size below 3, DataError for
    texts without a word.
    """
    if isinstance(size, bool) or not isinstance(size, int) or not 3 <= size <= MAX_SIZE:
        raise ConfigError(
            f"a vocabulary of words holds two special tokens and a word, so its size must be >= 3: {size=}"
        )
    found: Counter[str] = Counter()
    first: Counter[str] = Counter()  # characters behind a blank
    last: Counter[str] = Counter()  # characters before one
    for text in texts:
        parts = chunks(without_surrogates(text))
        found.update(parts)
        first.update([part[0] for part in parts[1:]])
        last.update([part[-1] for part in parts[:-1]])
    words: Counter[str] = Counter()
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    cut = splitter()
    for chunk, count in found.items():
        pieces = [piece for piece, _ in guarded(partial(cut.pre_tokenize_str, chunk))]
        for piece in pieces:
            words[piece] += count
        for left, right in zip(pieces, pieces[1:], strict=False):
            # Marks beside marks, as the dots of an ellipsis, do not show how they stand to words.
            if right in _MARKS and left[-1].isalnum():
                before[right] += count
            elif left in _MARKS and right[0].isalnum():
                after[left] += count
    before.subtract(first)
    after.subtract(last)
    if not words:
        raise DataError("a vocabulary is learned from text, but there is not a single word in the texts given")
    frequent = sorted(words, key=lambda word: (-words[word], word))[: size - 2]
    closing, opening = _marks(before, CLOSING), _marks(after, OPENING)
    both = {mark for mark in closing if mark in opening and mark in _INNER}
    return WordTokenizer(
        WordVocabulary(
            words=(END_OF_TEXT, UNKNOWN, *frequent),
            special_tokens={END_OF_TEXT: 0, UNKNOWN: 1},
            closing="".join(mark for mark in closing if mark not in both or mark in CLOSING),
            opening="".join(mark for mark in opening if mark not in both or mark in OPENING),
        )
    )


def _marks(seen: Counter[str], default: str) -> str:
    """The marks seen more often without a blank than with one."""
    return "".join(mark for mark in _MARKS if seen[mark] + (_PRIOR if mark in default else -_PRIOR) > 0)
