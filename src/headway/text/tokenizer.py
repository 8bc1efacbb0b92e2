"""What every tokenizer of ours promises; callers never ask which kind they hold.

Strings become ids and ids become strings here and nowhere else: models and decoding never see a tokenizer.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from headway.text.surrogates import character_places, without_surrogates

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    from headway.text.streaming import StreamDecoder

MASK = "[MASK]"
"""The token that hides a word, in vocabularies of bytes too."""
_MASKS = (MASK, "<mask>")  # the second is RoBERTa's and its kin's


class Tokenizer(ABC):
    """Text to ids and back; special tokens only where the caller allows them.

    Without an `unknown` id every text and every byte comes back exactly. With one, words outside the vocabulary are
    lost in it and blanks come back by rule; what cannot then be kept is refused, never done by halves.
    """

    @staticmethod
    def load(name_or_folder: str | Path) -> "Tokenizer":
        """The tokenizer of that shipped name ("gpt2") or in that folder; an existing path wins over a name.

        Raises DataError where there is neither, UnknownTokenizer (a FormatError) for a kind we do not have.
        """
        from headway.text.loading import load

        return load(name_or_folder)

    @property
    @abstractmethod
    def size(self) -> int:
        """How many ids there are; every id is in 0..size-1."""

    @property
    @abstractmethod
    def special_tokens(self) -> Mapping[str, int]:
        """The special tokens and their ids, such as {"<|endoftext|>": 50256}."""

    @property
    @abstractmethod
    def end_of_text(self) -> int | None:
        """The id that ends a document and stands between documents, or None."""

    @property
    def unknown(self) -> int | None:
        """The id that stands for every word outside the vocabulary, or None where every text can be said."""
        return None

    @property
    def begin_of_text(self) -> int | None:
        """The id that stands before a text, BERT's [CLS], or None."""
        return None

    @property
    def mask_token(self) -> str | None:
        """How the token that hides a word from a reader is written here, or None."""
        return next((name for name in _MASKS if name in self.special_tokens), None)

    @property
    def mask(self) -> int | None:
        """The id that hides a word from a reader, or None."""
        name = self.mask_token
        return None if name is None else self.special_tokens[name]

    @property
    def padding(self) -> int | None:
        """The id that fills up a row, or None where there is none of its own."""
        return None

    @property
    def continues_word(self) -> "NDArray[numpy.bool_] | None":
        """(V,) True for ids that go on the word before them; None where the tokenizer cannot tell."""
        return None

    @abstractmethod
    def encode(self, text: str, *, allowed_special: Collection[str] | Literal["all"] = ()) -> list[int]:
        """The ids of the text. Special tokens are plain text unless named in `allowed_special`."""

    def encode_with_spans(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of the text, and the characters [begin, end) of the text that each stands for.

        An id with a part of a character spans the whole; one without any has an empty span.
        """
        ids = self.encode(text)
        return ids, byte_spans(text, [len(part) for part in self.decode_each(ids)])

    @abstractmethod
    def encode_corpus(self, texts: Iterable[str]) -> "list[numpy.ndarray]":
        """The same ids as `encode` for many texts, one int32 array (T,) a text, on the fastest path there is."""

    @abstractmethod
    def encode_bytes(self, data: bytes) -> list[int]:
        """The ids of any bytes, valid UTF-8 or not; `decode_bytes` gives the same bytes back.

        Raises UsageError where it would not, which only tokenizers with an `unknown` id do.
        """

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids; bytes that are not UTF-8 become U+FFFD."""

    @abstractmethod
    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of the ids, exactly. Raises UsageError for an id outside 0..size-1."""

    def decode_each(self, ids: Iterable[int]) -> list[bytes]:
        """What each id adds to the text, as bytes; joined they are `decode_bytes` of all ids.

        Words come with the blank before them, if there is one, as tokens of bytes often do.
        """
        return [self.decode_bytes((id,)) for id in ids]

    @abstractmethod
    def stream(self) -> "StreamDecoder":
        """A decoder to feed id by id that never gives out half a character."""

    @abstractmethod
    def save(self, folder: Path, *, model_max_length: int | None = None) -> None:
        """Write tokenizer.json and tokenizer_config.json, as transformers reads them, into an existing folder.

        `model_max_length`: the model's context, noted for transformers. Raises StorageError.
        """


def byte_spans(text: str, sizes: Iterable[int]) -> list[tuple[int, int]]:
    """The characters [begin, end) of the text that hold each of its consecutive pieces of so many bytes of UTF-8."""
    begins = [0]  # where each character begins, in bytes
    for character in without_surrogates(text):
        begins.append(begins[-1] + len(character.encode()))
    places = character_places(text)
    spans, place = [], 0
    for size in sizes:
        begin = bisect_right(begins, place) - 1
        place += size
        end = bisect_left(begins, place) if size else begin
        spans.append((places[begin], places[end]))
    return spans
