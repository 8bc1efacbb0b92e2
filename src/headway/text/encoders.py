"""Three ways from text to ids for one vocabulary: for prompts, for corpora, and for unusual lists of merges.

All follow GPT-2's split pattern and give the same ids wherever more than one may be used. Special tokens are not known
here: all text is plain text.
"""

import json
import logging
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from headway.errors import HeadwayError
from headway.text.byte_alphabet import to_bytes, to_text
from headway.text.unicode_versions import has_disputed
from headway.text.vocabulary import ByteVocabulary

if TYPE_CHECKING:
    import numpy

logger = logging.getLogger(__name__)
T = TypeVar("T")

# GPT-2's published pattern, and the same written without backtracking (tiktoken's way of putting it).
SPLIT_PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
_FAST_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""

# tiktoken's regex engine keeps a stack entry for each space of a run and panics at a million of them, so long runs
# are cut where the pattern cuts them anyway: before the run, and before its last space.
_LONG_SPACE = re.compile("[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]{10000,}")

# gigatoken remembers every piece it has met and never forgets: a fresh one after so much text bounds its memory
# (about 0.5 GB at worst, seen on random letters).
_BYTES_BETWEEN_RENEWALS = 256_000_000

_PROBE = (
    "The cat's 12 dogs weren't  here;\n\n\tthey'll've 'gone'   \r\n  "
    "to_Zu\u0308rich (\u00a7 7\u00bd\u00b2)...\u00a0\u3000"
    "\u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac \u4e2d\u6587\u5b57 \u0e44\u0e17\u0e22 "
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u0660\u0661 \U0001f600\U0001f1eb\U0001f1f7 \u2167 x\u200bx\ufffd   "
)


class PromptEncoder:
    """Through tiktoken: quick to build, quick on a prompt, safe to call from many threads."""

    def __init__(self, vocabulary: ByteVocabulary) -> None:
        import tiktoken

        assert vocabulary.proper
        self._ids = _ids_of_ranks(vocabulary)
        ranks = {token: rank for rank, token in enumerate(vocabulary.ranked)}
        self.library = guarded(
            lambda: tiktoken.Encoding("byte-level", pat_str=_FAST_PATTERN, mergeable_ranks=ranks, special_tokens={})
        )

    def encode(self, text: str) -> list[int]:
        """The ids of the text; lone surrogates become U+FFFD (tiktoken's own rule)."""
        ranks = [rank for part in _cut_long_space(text) for rank in self._encode(part)]
        return self.to_ids(ranks)

    def to_ids(self, ranks: list[int]) -> list[int]:
        """tiktoken is given ranks for ids, so that it merges in the right order whatever the ids are."""
        return ranks if self._ids is None else [self._ids[rank] for rank in ranks]

    def _encode(self, text: str) -> list[int]:
        return guarded(lambda: self.library.encode_ordinary(text))


class CorpusEncoder:
    """Through gigatoken, one text at a time on the calling thread: no thread pool of its own, safe after a fork.

    Text with characters on which gigatoken stands alone goes through the prompt encoder.
    """

    def __init__(self, vocabulary: ByteVocabulary, prompt: PromptEncoder) -> None:
        import numpy

        assert vocabulary.proper
        self._prompt = prompt
        ids = _ids_of_ranks(vocabulary)
        self._ids = None if ids is None else numpy.asarray(ids, dtype=numpy.int32)
        self._table = _model_table(vocabulary)
        self._lock = threading.Lock()  # gigatoken does not say whether two threads may share one
        self._encoded = 0
        self._tokenizer = self._build()

    def encode(self, data: bytes) -> "numpy.ndarray":
        """The ids (T,) int32 of UTF-8 bytes."""
        import numpy

        if has_disputed(data):
            return numpy.array(self._prompt.encode(data.decode()), dtype=numpy.int32)
        with self._lock:
            if self._encoded > _BYTES_BETWEEN_RENEWALS:
                self._tokenizer, self._encoded = self._build(), 0
            self._encoded += len(data)
            ranks: numpy.ndarray = guarded(lambda: self._tokenizer.encode(data)).view(numpy.int32)
        return ranks if self._ids is None else self._ids[ranks]

    def _build(self) -> Any:
        import gigatoken

        return guarded(lambda: gigatoken.Tokenizer.from_json(self._table))


class ListEncoder:
    """Through `tokenizers`, which follows the list of merges to the letter: slow, and right for any list."""

    def __init__(self, vocabulary: ByteVocabulary) -> None:
        from tokenizers import Tokenizer, models, pre_tokenizers

        # Special tokens are left out: without a merge that forms them no text becomes them.
        vocab = {to_text(token): number for token, number in vocabulary.ids.items()}
        merges = [(to_text(left), to_text(right)) for left, right in vocabulary.merges]
        self.library = guarded(lambda: Tokenizer(models.BPE(vocab, merges)))
        self.library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)

    def encode(self, text: str) -> list[int]:
        """The ids of the text."""
        ids: list[int] = guarded(lambda: self.library.encode(text, add_special_tokens=False).ids)
        return ids


def corpus_encoder(vocabulary: ByteVocabulary, prompt: PromptEncoder) -> CorpusEncoder | PromptEncoder:
    """The corpus encoder if both give the same ids on a text of many scripts, else, with a warning, the other.

    A guard against a bad release of a young library on the user's machine.
    """
    corpus = CorpusEncoder(vocabulary, prompt)
    if corpus.encode(_PROBE.encode()).tolist() == prompt.encode(_PROBE):
        return corpus
    logger.warning("gigatoken and tiktoken disagree here; corpora are encoded by tiktoken, which is slower")
    return prompt


def split(data: bytes) -> Iterable[bytes]:
    """The pieces GPT-2's pattern cuts UTF-8 text into; no token ever crosses their borders."""
    if has_disputed(data):
        from tokenizers import pre_tokenizers

        level = pre_tokenizers.ByteLevel(add_prefix_space=False)
        return [to_bytes(piece) for piece, _ in guarded(lambda: level.pre_tokenize_str(data.decode()))]
    import gigatoken

    pieces: Iterable[bytes] = gigatoken.pretokenizer(data)
    return pieces


def _ids_of_ranks(vocabulary: ByteVocabulary) -> list[int] | None:
    """The id of each rank, or None where they are the same numbers, as in GPT-2's own vocabulary."""
    ids = [vocabulary.ids[token] for token in vocabulary.ranked]
    return None if ids == list(range(len(ids))) else ids


def _model_table(vocabulary: ByteVocabulary) -> str:
    """The vocabulary in tokenizer.json's terms with ranks as ids and without special tokens."""
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {
        "type": "BPE",
        "vocab": {to_text(token): rank for rank, token in enumerate(vocabulary.ranked)},
        "merges": [f"{to_text(left)} {to_text(right)}" for left, right in vocabulary.merges],
    }
    return json.dumps({"added_tokens": [], "pre_tokenizer": level, "decoder": level, "model": model})


def _cut_long_space(text: str) -> Sequence[str]:
    """The text in parts that encode one by one to the same ids."""
    if len(text) < 10_000:
        return (text,)
    borders = [0]
    for run in _LONG_SPACE.finditer(text):
        borders.append(run.start())
        if run.end() < len(text):
            borders.append(run.end() - 1)
    return [text[start:end] for start, end in zip(borders, [*borders[1:], len(text)], strict=True)]


def guarded(call: Callable[[], T]) -> T:
    """Call a library written in Rust; its panic, which is no Exception in Python, becomes an error of ours."""
    try:
        return call()
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise HeadwayError(f"the tokenizer library failed on this input: {str(error)[:200]}") from error
