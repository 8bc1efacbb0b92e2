"""The tokenizers the tests of this room share; each is made once."""

import pytest
from tokenizers import Tokenizer as ReferenceTokenizer
from vocabularies import PROSE, of_merges, reference, shuffled

from headway.text.byte_level import ByteLevelTokenizer
from headway.text.byte_level_training import train_byte_level
from headway.text.loading import load
from headway.text.tokenizer import Tokenizer
from headway.text.word_level import WordTokenizer
from headway.text.word_level_training import train_words
from headway.text.word_piece_training import train_word_piece

KINDS = ("shipped", "trained", "shuffled ids", "unusual merges")


@pytest.fixture(scope="session")
def gpt2() -> ByteLevelTokenizer:
    tokenizer = load("gpt2")
    assert isinstance(tokenizer, ByteLevelTokenizer)
    return tokenizer


@pytest.fixture(scope="session")
def gpt2_reference(gpt2: ByteLevelTokenizer) -> ReferenceTokenizer:
    return reference(gpt2.vocabulary)


@pytest.fixture(scope="session")
def tokenizers_by_kind(gpt2: ByteLevelTokenizer) -> dict[str, ByteLevelTokenizer]:
    trained = train_byte_level([PROSE], 331, special_tokens=("<|endoftext|>", "<|end|>", "<|end|>more"))
    # "th" and "he" both lead to "the", so the rank of "the" alone does not say which pair may merge.
    pairs = ((b"t", b"h"), (b"h", b"e"), (b"t", b"he"), (b" ", b"t"), (b"th", b"e"), (b"a", b"a"), (b"a", b"aa"))
    return {
        "shipped": gpt2,
        "trained": trained,
        "shuffled ids": ByteLevelTokenizer(shuffled(trained.vocabulary, seed=7)),
        "unusual merges": ByteLevelTokenizer(of_merges(pairs)),
    }


@pytest.fixture(scope="session")
def words() -> WordTokenizer:
    return train_words([PROSE, 'He said: "No." (Yes, 1,000 times!)'], 43)


@pytest.fixture(scope="session")
def word_pieces() -> dict[str, Tokenizer]:
    return {
        "word pieces": train_word_piece([PROSE, "two, one"], 181),
        "word pieces with capitals": train_word_piece([PROSE, "two, one"], 191, lowercase=False),
    }


@pytest.fixture(params=[*KINDS, "words", "word pieces", "word pieces with capitals"])
def any_tokenizer(
    request: pytest.FixtureRequest,
    tokenizers_by_kind: dict[str, ByteLevelTokenizer],
    words: WordTokenizer,
    word_pieces: dict[str, Tokenizer],
) -> Tokenizer:
    """Of every kind, also those that do not give every text back."""
    return {**tokenizers_by_kind, **word_pieces, "words": words}[request.param]


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest, tokenizers_by_kind: dict[str, ByteLevelTokenizer]) -> ByteLevelTokenizer:
    return tokenizers_by_kind[request.param]
