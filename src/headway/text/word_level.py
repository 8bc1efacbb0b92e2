"""Whole words as tokens: the most frequent ones of a text, and one id for all others.

The shortlist of Bahdanau, Cho and Bengio (2014, section 4.1), who keep the 30,000 most frequent words of each language
and map every other to [UNK].
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from headway.errors import FormatError, UsageError
from headway.text.byte_level import special_pattern
from headway.text.encoders import guarded
from headway.text.remembered import RememberedChunks
from headway.text.streaming import StreamDecoder
from headway.text.surrogates import character_places, without_surrogates
from headway.text.tokenizer import Tokenizer
from headway.text.vocabulary import END_OF_TEXT

if TYPE_CHECKING:
    import numpy
    import tokenizers

UNKNOWN = "[UNK]"

# Han, kana, bopomofo, repeat marks and their wide punctuation: written without blanks, each a piece of its own.
CJK = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303b\u3041-\u3096\u309d-\u309f\u30a1-\u30fa"
    "\u30fc-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff"
    "\u3001-\u3004\u3008-\u3020\u3030\u303d-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)
_IS_CJK = re.compile(f"[{CJK}]")
_PART = rf"[\p{{L}}\p{{M}}\p{{N}}&&[^{CJK}]]"
# In the order tried: an elided French or Italian word with its apostrophe (where the Moses tokenizer of the paper's
# data cuts too); letters and digits with apostrophes, hyphens and underscores inside, a mark between two digits, a
# stop before a single letter (a.m, U.S.A); a flag; any other character with what joins or modifies it. Possessive
# throughout: nothing is tried twice.
SPLIT_PATTERN = (
    rf"(?<!{_PART})(?i:[cdjlmnst]|(?:lors|puis|jus|quoi)?qu)['\u2019](?=\p{{L}})"
    rf"|{_PART}++(?:(?:['\u2019_\-]|(?<=\p{{N}})[.,:](?=\p{{N}})|(?<=\p{{L}})\.(?=\p{{L}}(?![\p{{L}}\p{{M}}])))"
    rf"{_PART}++)*+"
    "|[\U0001f1e6-\U0001f1ff]{2}"
    "|\\S(?:[\\p{M}\U0001f3fb-\U0001f3ff]|\u200d\\S)*+"
)

# What the pattern's \s is: Python's own notion of a blank has four control characters more.
_BLANK = re.compile("[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_CONTROLS = re.compile("[\x1c-\x1f]")

# Marks that have no blank before them, and none after, unless the text they were learned from shows otherwise.
CLOSING = ".,;:!?)]}%\u2026'\u2019\u201d\u00bb\u3001\u3002\uff0c\uff0e\uff01\uff1f\uff1a\uff1b\uff09\u300d\u300f\u3011"
OPENING = "([{$#@\u00a1\u00bf\u2018\u201c\u00ab\uff08\u300c\u300e\u3010"
# Marks that have both by default; with the two above, all whose blanks are learned.
FREE = "-/&*+=<>|~^\\`\u2013\u2014\u00b7\u00b0\u20ac\u00a3\u201e\u2039\u203a"
QUOTE = '"'  # opens and closes in turn
_APOSTROPHES = "'\u2019"


@dataclass(frozen=True, kw_only=True)
class WordVocabulary:
    """Words by id, special tokens by name, and the marks that stand without a blank.

    `unknown` names the special token for all other words, `end_of_text` the one between documents, or is None.
    `closing` and `opening`: marks without a blank before, or after them. Raises FormatError for a word with a blank in
    it, one that stands twice, a special token without an id of its own.
    """

    words: tuple[str, ...]
    special_tokens: Mapping[str, int]
    unknown: str = UNKNOWN
    end_of_text: str | None = END_OF_TEXT
    closing: str = CLOSING
    opening: str = OPENING

    def __post_init__(self) -> None:
        for name, number in self.special_tokens.items():
            if not 0 <= number < len(self.words) or self.words[number] != name:
                raise FormatError(f"special token {name[:40]!a} must have an id of its own, but its id is {number}")
        for needed in {self.unknown, self.end_of_text or self.unknown}:
            if needed not in self.special_tokens:
                raise FormatError(f"the token {needed[:40]!a} is not among the special tokens")
        for word in self.words:
            if not word or (_BLANK.search(word) and word not in self.special_tokens):
                raise FormatError(f"the word {word[:40]!a} is empty or has a blank in it, so no text can become it")
        if len(self.ids) != len(self.words):
            twice = next(word for number, word in enumerate(self.words) if self.ids[word] != number)
            raise FormatError(f"the word {twice[:40]!a} stands twice in the vocabulary; each needs one id")

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each word and special token."""
        return {word: number for number, word in enumerate(self.words)}


class WordTokenizer(Tokenizer):
    """Text to the ids of its words and back to the words, with blanks by rule; other words become `unknown`.

    A piece is a word with its inner apostrophes and hyphens, a number, a punctuation mark, a Chinese or Japanese
    character, an emoji; case counts. The ids are those of the `tokenizers` library with the same vocabulary, its
    special tokens set aside. Words are not byte-exact: `encode_bytes` refuses what would not come back.
    """

    def __init__(self, vocabulary: WordVocabulary) -> None:
        self.vocabulary = vocabulary

    @property
    def size(self) -> int:
        """How many ids there are, special tokens included."""
        return len(self.vocabulary.words)

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """The special tokens and their ids."""
        return self.vocabulary.special_tokens

    @property
    def end_of_text(self) -> int | None:
        """The id between documents, or None where the vocabulary has none."""
        name = self.vocabulary.end_of_text
        return None if name is None else self.special_tokens[name]

    @property
    def unknown(self) -> int:
        """The id that stands for every word outside the vocabulary."""
        return self.special_tokens[self.vocabulary.unknown]

    def encode(self, text: str, *, allowed_special: Collection[str] | Literal["all"] = ()) -> list[int]:
        """The ids of the text's words. Special tokens are plain text unless named in `allowed_special` (or "all").

        Raises UsageError for a name that is no special token.
        """
        text = without_surrogates(text)
        if not allowed_special:
            return self._encode(text)
        ids: list[int] = []
        for place, part in enumerate(special_pattern(self.special_tokens, allowed_special).split(text)):
            if place % 2:
                ids.append(self.special_tokens[part])
            elif part:
                ids += self._encode(part)
        return ids

    def encode_with_spans(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of the text, and the characters [begin, end) of the text as given that each stands for."""
        whole = without_surrogates(text)
        found = guarded(partial(self._library.encode, whole, add_special_tokens=False))
        places = character_places(text)
        return found.ids, [(places[begin], places[end]) for begin, end in found.offsets]

    def encode_corpus(self, texts: Iterable[str]) -> "list[numpy.ndarray]":
        """The ids (T,) int32 of each text, special tokens as plain text; on the calling thread alone."""
        import numpy

        return [numpy.array(self._encode(without_surrogates(text)), dtype=numpy.int32) for text in texts]

    def encode_bytes(self, data: bytes) -> list[int]:
        """The ids of bytes that `decode_bytes` gives back. Raises UsageError for all others: words are not exact."""
        try:
            ids = self.encode(data.decode())
        except UnicodeDecodeError as error:
            raise UsageError(
                f"a tokenizer of words has no ids for bytes that are not UTF-8, and byte {error.start} is not\n"
                "Take a byte-level tokenizer."
            ) from error
        if self.decode_bytes(ids) != data:
            raise UsageError(
                "a tokenizer of words does not give these bytes back: blanks come back by rule, unknown words not at"
                " all\nEncode them as text, or take a byte-level tokenizer."
            )
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The words of the ids, special tokens by name, with blanks between as the vocabulary's marks have them."""
        stream = self.stream()
        return "".join([stream.push(id) for id in ids])

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of the decoded text. Raises UsageError for an id outside 0..size-1."""
        return self.decode(ids).encode()

    def decode_each(self, ids: Iterable[int]) -> list[bytes]:
        """What each id adds to the text, as bytes: its word, with the blank before it if there is one."""
        stream = self.stream()
        return [stream.push(id).encode() for id in ids]

    def stream(self) -> "WordStream":
        """A decoder to feed id by id; each gives its word at once."""
        return WordStream(self.vocabulary)

    def save(self, folder: Path, *, model_max_length: int | None = None) -> None:
        """Write tokenizer.json and tokenizer_config.json into an existing folder; transformers opens it.

        There the blanks around straight double quotes stay, which no file of this layout can pair. Raises
        StorageError where writing fails.
        """
        from headway.text.word_level_json import write_folder

        write_folder(self.vocabulary, Path(folder), model_max_length)

    def __reduce__(self) -> "tuple[type[WordTokenizer], tuple[WordVocabulary]]":
        # Only the vocabulary travels to another process; the library's encoder is built there.
        return WordTokenizer, (self.vocabulary,)

    def __repr__(self) -> str:
        return f"WordTokenizer(size={self.size}, special_tokens={dict(self.special_tokens)!a})"

    @cached_property
    def _library(self) -> "tokenizers.Tokenizer":
        from tokenizers import Tokenizer as Library
        from tokenizers import models

        vocabulary = self.vocabulary
        # A special token that looks like a word must not be reached by plain text.
        plain = {word: id for word, id in vocabulary.ids.items() if word not in vocabulary.special_tokens}
        plain[vocabulary.unknown] = self.unknown
        library = guarded(lambda: Library(models.WordLevel(plain, unk_token=vocabulary.unknown)))
        library.pre_tokenizer = splitter()
        return library

    @cached_property
    def _remembered(self) -> RememberedChunks:
        return RememberedChunks(
            lambda chunk: guarded(partial(self._library.encode, chunk, add_special_tokens=False)).ids
        )

    def _encode(self, text: str) -> list[int]:
        return self._remembered.ids(chunks(text))


class WordStream(StreamDecoder):
    """Feed ids, get their words, each with the blank before it if there is one.

    No blank: before closing marks and after opening ones, inside straight double quotes, behind an elided word, and
    between Chinese or Japanese characters.
    """

    def __init__(self, vocabulary: WordVocabulary) -> None:
        self._vocabulary = vocabulary
        self._last = ""
        self._quoted = False  # inside straight double quotes

    def push(self, id: int) -> str:
        """The word, after a blank or not. Raises UsageError for an unknown id."""
        vocabulary = self._vocabulary
        if not 0 <= id < len(vocabulary.words):
            raise UsageError(f"ids of this tokenizer are 0..{len(vocabulary.words) - 1}, but got {id}")
        word, last = vocabulary.words[id], self._last
        closes = word == QUOTE and self._quoted
        glued = not last or closes or (last == QUOTE and self._quoted) or self._glued(last, word)
        if word == QUOTE:
            self._quoted = not self._quoted
        elif word == vocabulary.end_of_text:
            self._quoted = False
        self._last = word
        return word if glued else f" {word}"

    def flush(self) -> str:
        """Always "": no word is ever held back. The decoder can then be used anew."""
        self._last, self._quoted = "", False
        return ""

    def _glued(self, last: str, word: str) -> bool:
        if (len(word) == 1 and word in self._vocabulary.closing) or (
            len(last) == 1 and last in self._vocabulary.opening
        ):
            return True
        return (len(last) > 1 and last[-1] in _APOSTROPHES) or (is_cjk(last[-1]) and is_cjk(word[0]))


def splitter() -> "tokenizers.pre_tokenizers.PreTokenizer":
    """The library's splitter with our pattern: one truth for learning, encoding and the saved file.

    Python's own tables of characters are not used, since they differ from one Python to the next.
    """
    from tokenizers import Regex, pre_tokenizers

    return pre_tokenizers.Split(Regex(SPLIT_PATTERN), "removed", invert=True)


def chunks(text: str) -> list[str]:
    """The text cut at blanks. No piece crosses one, so chunks can be split into pieces one by one."""
    if _CONTROLS.search(text):
        return [chunk for chunk in _BLANK.split(text) if chunk]
    return text.split()


def is_cjk(character: str) -> bool:
    """Whether it is written without blanks around it, as Chinese and Japanese characters are."""
    return character >= "\u2e80" and _IS_CJK.match(character) is not None
