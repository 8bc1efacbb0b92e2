"""BERT's tokenizer: words cut into the longest pieces that a vocabulary holds (Devlin et al. 2018, section 3).

Text is cleaned, Chinese characters are set apart, letters made small and accents taken off where the vocabulary asks
for it; words are cut at blanks and punctuation, each into its longest known beginning and then into pieces "##...".
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from headway.errors import FormatError, UsageError
from headway.text.byte_level import special_pattern
from headway.text.streaming import StreamDecoder
from headway.text.surrogates import character_places, without_surrogates
from headway.text.tokenizer import MASK, Tokenizer
from headway.text.word_piece_cutting import CONTINUES, UNKNOWN, PieceCutter

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

PADDING, BEGIN, END = "[PAD]", "[CLS]", "[SEP]"
SPECIAL = (PADDING, UNKNOWN, BEGIN, END, MASK)
LONGEST_WORD = 100
"""Characters of a word; a longer one is [UNK], as in the released code."""

# What the decoder writes without the blank before it, in the order it looks for them.
_TIDY = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " do not", " 's", " 've", " 're")
_TIDIED = (".", "?", "!", ",", "'", "n't", "'m", " don't", "'s", "'ve", "'re")


@dataclass(frozen=True, kw_only=True)
class WordPieceVocabulary:
    """Pieces by id, special tokens by name, and how text is made ready.

    lowercase: letters are made small; strip_accents: accents are taken off, None: where letters are made small;
    chinese: Chinese characters are words of their own; clean: control characters are dropped. Raises FormatError for a
    piece that stands twice, or without [UNK] among the pieces.
    """

    pieces: tuple[str, ...]
    special_tokens: Mapping[str, int]
    lowercase: bool = True
    strip_accents: bool | None = None
    chinese: bool = True
    clean: bool = True
    longest_word: int = LONGEST_WORD

    def __post_init__(self) -> None:
        for name, number in self.special_tokens.items():
            if not 0 <= number < len(self.pieces) or self.pieces[number] != name:
                raise FormatError(f"special token {name[:40]!a} must have an id of its own, but its id is {number}")
        for needed in (UNKNOWN, END):
            if needed not in self.special_tokens:
                raise FormatError(f"a vocabulary of word pieces needs the token {needed}, but has none")
        if len(self.ids) != len(self.pieces):
            twice = next(piece for number, piece in enumerate(self.pieces) if self.ids[piece] != number)
            raise FormatError(f"the piece {twice[:40]!a} stands twice in the vocabulary; each needs one id")

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each piece and special token."""
        return {piece: number for number, piece in enumerate(self.pieces)}


class WordPieceTokenizer(Tokenizer):
    """Text to the ids of its word pieces, exactly BERT's; words no piece begins become [UNK].

    The ids and spans are those of the `tokenizers` library with the same vocabulary, its special tokens set aside.
    Pieces are not byte-exact: `encode_bytes` refuses what would not come back. `encode` adds no [CLS] and no [SEP].
    """

    def __init__(self, vocabulary: WordPieceVocabulary) -> None:
        self.vocabulary = vocabulary

    @property
    def size(self) -> int:
        """How many ids there are, special tokens included."""
        return len(self.vocabulary.pieces)

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """The special tokens and their ids."""
        return self.vocabulary.special_tokens

    @property
    def end_of_text(self) -> int:
        """The id of [SEP], which ends a text and stands between documents."""
        return self.special_tokens[END]

    @property
    def begin_of_text(self) -> int | None:
        """The id of [CLS]."""
        return self.special_tokens.get(BEGIN)

    @property
    def padding(self) -> int | None:
        """The id of [PAD]."""
        return self.special_tokens.get(PADDING)

    @property
    def unknown(self) -> int:
        """The id of [UNK]."""
        return self.special_tokens[UNKNOWN]

    @property
    def continues_word(self) -> "NDArray[numpy.bool_]":
        """(V,) True for the pieces "##..."."""
        import numpy

        special = self.special_tokens
        return numpy.array([piece.startswith(CONTINUES) and piece not in special for piece in self.vocabulary.pieces])

    def encode(self, text: str, *, allowed_special: Collection[str] | Literal["all"] = ()) -> list[int]:
        """The ids of the text's pieces. Special tokens are plain text unless named in `allowed_special` (or "all").

        Raises UsageError for a name that is no special token.
        """
        text = without_surrogates(text)
        if not allowed_special:
            return self._cutter.ids(text)
        ids: list[int] = []
        for place, part in enumerate(special_pattern(self.special_tokens, allowed_special).split(text)):
            if place % 2:
                ids.append(self.special_tokens[part])
            elif part:
                ids += self._cutter.ids(part)
        return ids

    def encode_with_spans(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of the text, and the characters [begin, end) of the text as given that each stands for."""
        ids, spans = self._cutter.ids_with_spans(without_surrogates(text))
        places = character_places(text)
        return ids, [(places[begin], places[end]) for begin, end in spans]

    def encode_corpus(self, texts: Iterable[str]) -> "list[numpy.ndarray]":
        """The ids (T,) int32 of each text, special tokens as plain text; on the calling thread alone."""
        import numpy

        return [numpy.array(self.encode(text), dtype=numpy.int32) for text in texts]

    def encode_bytes(self, data: bytes) -> list[int]:
        """The ids of bytes that `decode_bytes` gives back. Raises UsageError for all others: pieces are not exact."""
        try:
            ids = self.encode(data.decode())
        except UnicodeDecodeError as error:
            raise UsageError(
                f"word pieces have no ids for bytes that are not UTF-8, and byte {error.start} is not\n"
                "Take a byte-level tokenizer."
            ) from error
        if self.decode_bytes(ids) != data:
            raise UsageError(
                "word pieces do not give these bytes back: blanks come back by rule, capitals and unknown words may not"
                " come back at all\nEncode them as text, or take a byte-level tokenizer."
            )
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The words of the ids, pieces joined, special tokens by name; blanks before marks taken out as BERT's are."""
        stream = self.stream()
        return "".join([stream.push(id) for id in ids])

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of the decoded text. Raises UsageError for an id outside 0..size-1."""
        return self.decode(ids).encode()

    def decode_each(self, ids: Iterable[int]) -> list[bytes]:
        """What each id adds to the text, as bytes: its piece, with the blank before it if there is one."""
        stream = self.stream()
        return [stream.push(id).encode() for id in ids]

    def stream(self) -> "WordPieceStream":
        """A decoder to feed id by id; each gives its piece at once."""
        return WordPieceStream(self.vocabulary)

    def save(self, folder: Path, *, model_max_length: int | None = None) -> None:
        """Write tokenizer.json, tokenizer_config.json and vocab.txt into an existing folder; transformers opens it.

        Raises StorageError where writing fails.
        """
        from headway.text.word_piece_files import write_folder

        write_folder(self.vocabulary, Path(folder), model_max_length)

    def __reduce__(self) -> "tuple[type[WordPieceTokenizer], tuple[WordPieceVocabulary]]":
        # Only the vocabulary travels to another process; the tables are built there.
        return WordPieceTokenizer, (self.vocabulary,)

    def __repr__(self) -> str:
        return f"WordPieceTokenizer(size={self.size}, lowercase={self.vocabulary.lowercase})"

    @cached_property
    def _cutter(self) -> PieceCutter:
        return PieceCutter(self.vocabulary)


class WordPieceStream(StreamDecoder):
    """Feed ids, get their pieces, each with the blank before it if there is one."""

    def __init__(self, vocabulary: WordPieceVocabulary) -> None:
        self._vocabulary = vocabulary
        self._first = True

    def push(self, id: int) -> str:
        """The piece, after a blank or not. Raises UsageError for an unknown id."""
        vocabulary = self._vocabulary
        if not 0 <= id < len(vocabulary.pieces):
            raise UsageError(f"ids of this tokenizer are 0..{len(vocabulary.pieces) - 1}, but got {id}")
        piece = vocabulary.pieces[id]
        if not self._first:
            continues = piece.startswith(CONTINUES) and piece not in vocabulary.special_tokens
            piece = piece.removeprefix(CONTINUES) if continues else f" {piece}"
        self._first = False
        for untidy, tidy in zip(_TIDY, _TIDIED, strict=True):
            piece = piece.replace(untidy, tidy)
        return piece

    def flush(self) -> str:
        """Always "": no piece is ever held back. The decoder can then be used anew."""
        self._first = True
        return ""
