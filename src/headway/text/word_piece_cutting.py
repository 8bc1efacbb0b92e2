"""How BERT reads text: made ready character by character, cut into words, each word into its longest known pieces.

The rules are those of Devlin et al.'s released code (2018). What kind of character each is (control, blank, accent,
mark, Chinese) is asked of the `tokenizers` library once: Python's own tables differ from one Python to the next.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cached_property, partial
from typing import TYPE_CHECKING

from headway.text.encoders import guarded
from headway.text.remembered import RememberedChunks

if TYPE_CHECKING:
    import tokenizers

    from headway.text.word_piece import WordPieceVocabulary

CONTINUES = "##"
UNKNOWN = "[UNK]"

_BLANK = re.compile("[\t\n\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_DROPPED = re.compile("[\x0b\x0c\x1c-\x1f\x85]")
_NONE = -1
_WORD = re.compile("[^ ]+")


class OrderMatters(Exception):
    """Without accents the character may stand elsewhere among its neighbours (Unicode's canonical ordering)."""


class ReadyCharacters(dict[int, str]):
    """What becomes of each character, by its code, for `str.translate`; each is found out when it is first met.

    Nothing for a control character, a blank for any blank, a small letter or one without its accent where that is
    asked for, and marks and Chinese characters between blanks, so that words are what stands between blanks. Raises
    OrderMatters for the rare character that cannot be made ready without its neighbours.
    """

    def __init__(self, vocabulary: "WordPieceVocabulary") -> None:
        from tokenizers import pre_tokenizers

        super().__init__()
        self._normalizer = normalizer(vocabulary)
        self._splitter = pre_tokenizers.BertPreTokenizer()
        strips = vocabulary.strip_accents
        self._reorders = vocabulary.lowercase if strips is None else strips  # decomposing puts marks in order

    def __missing__(self, code: int) -> str:
        kept = guarded(partial(self._normalizer.normalize_str, chr(code)))
        if self._reorders and any(_may_move(character) for character in kept):
            raise OrderMatters
        self[code] = ready = "".join([self._apart(character) for character in kept])
        return ready

    def _apart(self, character: str) -> str:
        """The character itself, between blanks for a mark, as a blank for one."""
        n_words = len(guarded(partial(self._splitter.pre_tokenize_str, f"a{character}a")))
        return character if n_words == 1 else " " if n_words == 2 else f" {character} "

    def words(self, text: str) -> list[str]:
        """The words and marks of the text, made ready. Raises OrderMatters."""
        return [word for word in text.translate(self).split(" ") if word]


class PieceCutter:
    """Text to the ids of one vocabulary's pieces, in time that grows with its length alone."""

    def __init__(self, vocabulary: "WordPieceVocabulary") -> None:
        special = vocabulary.special_tokens
        # Text becomes no special token, whatever its name.
        self._plain = {piece: id for piece, id in vocabulary.ids.items() if piece not in special}
        self._vocabulary = vocabulary
        self._unknown = special[UNKNOWN]
        later = [(piece, id) for piece, id in self._plain.items() if piece.startswith(CONTINUES)]
        self._beginnings = _with_beginnings(self._plain.items())
        self._others = _with_beginnings((piece.removeprefix(CONTINUES), id) for piece, id in later)
        self._sizes = [len(piece) for piece in vocabulary.pieces]  # in characters of a word
        for piece, id in later:
            self._sizes[id] = len(piece) - len(CONTINUES)
        self._characters = ReadyCharacters(vocabulary)
        self._words = RememberedChunks(self._pieces)
        self._chunks = RememberedChunks(self._encode)

    def ids(self, text: str) -> list[int]:
        """The ids of text without surrogates."""
        return self._chunks.ids(chunks(text))

    def ids_with_spans(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of text without surrogates, and the characters [begin, end) that each stands for."""
        characters = self._characters
        try:
            parts = [characters[ord(character)] for character in text]
        except OrderMatters:
            found = guarded(partial(self._library.encode, text, add_special_tokens=False))
            return found.ids, found.offsets
        origins = [place for place, part in enumerate(parts) for _ in part]
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        for match in _WORD.finditer("".join(parts)):
            place, end = match.span()
            pieces = self._words.one(match.group())
            ids += pieces
            if len(pieces) == 1:  # perhaps [UNK], which is as long as its word
                spans.append((origins[place], origins[end - 1] + 1))
                continue
            for id in pieces:
                end = place + self._sizes[id]
                spans.append((origins[place], origins[end - 1] + 1))
                place = end
        return ids, spans

    def _encode(self, chunk: str) -> list[int]:
        try:
            return self._words.ids(self._characters.words(chunk))
        except OrderMatters:
            ids: list[int] = guarded(partial(self._library.encode, chunk, add_special_tokens=False)).ids
            return ids

    def _pieces(self, word: str) -> list[int]:
        """The longest piece that begins the word, then the longest that goes on, and so to its end; or [UNK]."""
        if len(word) > self._vocabulary.longest_word:
            return [self._unknown]
        ids: list[int] = []
        known, begin, size = self._beginnings, 0, len(word)
        while begin < size:
            found, after, end = _NONE, begin, begin + 1
            while end <= size:
                id = known.get(word[begin:end])
                if id is None:
                    break
                if id != _NONE:
                    found, after = id, end
                end += 1
            if found == _NONE:
                return [self._unknown]
            ids.append(found)
            known, begin = self._others, after
        return ids

    @cached_property
    def _library(self) -> "tokenizers.Tokenizer":
        """The library's tokenizer with the same vocabulary, for text with characters that move."""
        from tokenizers import Tokenizer, models, pre_tokenizers

        plain = {**self._plain, UNKNOWN: self._unknown}
        longest = self._vocabulary.longest_word
        library = Tokenizer(
            guarded(lambda: models.WordPiece(plain, unk_token=UNKNOWN, max_input_chars_per_word=longest))
        )
        library.normalizer = normalizer(self._vocabulary)
        library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return library


def _with_beginnings(pieces: Iterable[tuple[str, int]]) -> dict[str, int]:
    """The pieces and all that one of them begins with, so that a search may stop early; _NONE is the id of the rest."""
    known: dict[str, int] = {}
    for piece, id in pieces:
        for end in range(1, len(piece)):
            known.setdefault(piece[:end], _NONE)
        known[piece] = id
    return known


def chunks(text: str) -> list[str]:
    """The text cut where BERT sees a blank. No piece crosses one, so chunks can be encoded one by one.

    Some of Python's blanks are control characters to BERT, which drops them and joins what was around them.
    """
    if _DROPPED.search(text):
        return [chunk for chunk in _BLANK.split(text) if chunk]
    return text.split()


def normalizer(vocabulary: "WordPieceVocabulary") -> "tokenizers.normalizers.Normalizer":
    """The library's way to make text ready as this vocabulary asks."""
    from tokenizers import normalizers

    return normalizers.BertNormalizer(
        clean_text=vocabulary.clean,
        handle_chinese_chars=vocabulary.chinese,
        strip_accents=vocabulary.strip_accents,
        lowercase=vocabulary.lowercase,
    )


def _may_move(character: str) -> bool:
    """Whether canonical ordering may move it; of a character this Python does not know, it may."""
    return unicodedata.combining(character) != 0 or unicodedata.category(character) == "Cn"
