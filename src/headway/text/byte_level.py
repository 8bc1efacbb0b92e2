"""GPT-2's tokenizer: byte-level byte pair encoding (Radford et al. 2019, section 2.2), for any such vocabulary."""

import re
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from headway.errors import UsageError
from headway.text.encoders import CorpusEncoder, ListEncoder, PromptEncoder, corpus_encoder
from headway.text.streaming import StreamDecoder
from headway.text.surrogates import utf8, without_surrogates
from headway.text.tokenizer import Tokenizer
from headway.text.vocabulary import ByteVocabulary

if TYPE_CHECKING:
    import numpy

_INVALID = re.compile("([\udc80-\udcff]+)")


class ByteLevelTokenizer(Tokenizer):
    """Any text to ids and back to the same text; any bytes to ids and back to the same bytes.

    The ids are those of the `tokenizers` library with the same vocabulary, its special tokens set aside.
    In a str, a surrogate pair is read as the character it spells and a lone surrogate as U+FFFD, as tiktoken does.
    """

    def __init__(self, vocabulary: ByteVocabulary) -> None:
        self.vocabulary = vocabulary

    @property
    def size(self) -> int:
        """How many ids there are, special tokens included."""
        return len(self.vocabulary.tokens)

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """The special tokens and their ids."""
        return self.vocabulary.special_tokens

    @property
    def end_of_text(self) -> int | None:
        """The id between documents, or None where the vocabulary has none."""
        name = self.vocabulary.end_of_text
        return None if name is None else self.special_tokens[name]

    def encode(self, text: str, *, allowed_special: Collection[str] | Literal["all"] = ()) -> list[int]:
        """The ids of the text. Special tokens are plain text unless named in `allowed_special` (or "all").

        Of allowed ones that begin at the same place the longest counts. Raises UsageError for a name that is no
        special token.
        """
        text = without_surrogates(text)
        if not allowed_special:
            return self._prompt_encoder.encode(text)
        ids: list[int] = []
        for place, part in enumerate(special_pattern(self.special_tokens, allowed_special).split(text)):
            if place % 2:
                ids.append(self.special_tokens[part])
            elif part:
                ids += self._prompt_encoder.encode(part)
        return ids

    def encode_corpus(self, texts: Iterable[str]) -> "list[numpy.ndarray]":
        """The ids (T,) int32 of each text, special tokens as plain text, on the fastest path that is right."""
        import numpy

        encoder = self._corpus_encoder
        if isinstance(encoder, CorpusEncoder):
            return [encoder.encode(utf8(text)) for text in texts]
        return [numpy.array(encoder.encode(without_surrogates(text)), dtype=numpy.int32) for text in texts]

    def encode_bytes(self, data: bytes) -> list[int]:
        """The ids of any bytes. Valid UTF-8 is encoded as text; each byte that is not becomes its own token."""
        ids: list[int] = []
        for place, part in enumerate(_INVALID.split(data.decode("utf-8", errors="surrogateescape"))):
            if place % 2:
                ids += [self.vocabulary.ids[bytes((ord(character) - 0xDC00,))] for character in part]
            elif part:
                ids += self._prompt_encoder.encode(part)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids, special tokens by name; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of the ids, exactly. Raises UsageError for an id outside 0..size-1."""
        return b"".join([self._token(id) for id in ids])

    def stream(self) -> StreamDecoder:
        """A decoder to feed id by id that never gives out half a character."""
        return StreamDecoder(self.decode_bytes)

    def save(self, folder: Path, *, model_max_length: int | None = None) -> None:
        """Write tokenizer.json and tokenizer_config.json into an existing folder; transformers opens it.

        Raises StorageError where writing fails.
        """
        from headway.text.tokenizer_json import write_folder

        write_folder(self.vocabulary, Path(folder), model_max_length)

    def __reduce__(self) -> "tuple[type[ByteLevelTokenizer], tuple[ByteVocabulary]]":
        # Only the vocabulary travels to another process; the encoders are built there.
        return ByteLevelTokenizer, (self.vocabulary,)

    def __repr__(self) -> str:
        return f"ByteLevelTokenizer(size={self.size}, special_tokens={dict(self.special_tokens)!a})"

    @cached_property
    def _prompt_encoder(self) -> PromptEncoder | ListEncoder:
        return PromptEncoder(self.vocabulary) if self.vocabulary.proper else ListEncoder(self.vocabulary)

    @cached_property
    def _corpus_encoder(self) -> CorpusEncoder | PromptEncoder | ListEncoder:
        prompt = self._prompt_encoder
        return prompt if isinstance(prompt, ListEncoder) else corpus_encoder(self.vocabulary, prompt)

    def _token(self, id: int) -> bytes:
        if 0 <= id < len(self.vocabulary.tokens):
            return self.vocabulary.tokens[id]
        raise UsageError(f"ids of this tokenizer are 0..{self.size - 1}, but got {id}")


def special_pattern(special_tokens: Collection[str], allowed: Collection[str] | Literal["all"]) -> re.Pattern[str]:
    """A pattern whose `split` puts the allowed special tokens at odd places, the longest where several begin.

    Raises UsageError for a name that is no special token.
    """
    names = special_tokens if allowed == "all" else {allowed} if isinstance(allowed, str) else allowed
    unknown = [name for name in names if name not in special_tokens]
    if unknown:
        raise UsageError(
            f"{unknown[0]!a} is not a special token of this tokenizer;"
            f" it has {', '.join(ascii(name) for name in special_tokens) or 'none'}"
        )
    if not names:
        return re.compile("((?!))")
    return re.compile(f"({'|'.join(re.escape(name) for name in sorted(names, key=len, reverse=True))})")
