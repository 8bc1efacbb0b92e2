"""Learned vocabularies equal the reference trainer's, and what cannot be learned is said."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_text import random_strings
from tokenizers import Tokenizer as ReferenceTokenizer
from tokenizers import models, pre_tokenizers, trainers
from vocabularies import PROSE, merges_of

from headway.errors import ConfigError, DataError
from headway.text.byte_alphabet import to_text
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.byte_level_training import train_byte_level, vocabulary_size


def reference_merges(texts: Sequence[str], size: int, min_frequency: int) -> list[tuple[str, str]]:
    tokenizer = ReferenceTokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return merges_of(tokenizer)


def our_merges(tokenizer: ByteLevelTokenizer) -> list[tuple[str, str]]:
    return [(to_text(left), to_text(right)) for left, right in tokenizer.vocabulary.merges]


def word_soup(seed: int) -> list[str]:
    """Texts of made-up words, the early ones far more common, as in a language."""
    source = random.Random(seed)
    words = ["".join(source.choices("etaoinshr", k=source.randrange(1, 9))) for _ in range(300)]
    weights = [1 / place for place in range(1, 301)]
    return [" ".join(source.choices(words, weights, k=50)) for _ in range(100)]


SAMPLES = {
    "prose": [PROSE],
    "words": word_soup(13),
    "random unicode": list(random_strings(1_500, seed=17)),
    "runs": ["a" * 97, "aaab" * 31, "abababab" * 11, " " * 53 + "\n" * 59, "\u4e2d" * 61, "ababa aba ab"],
    "new letters": ["\U00018dc6're \U00018dc6're\u088f's\u088f's x\U0001e6c0'll"],
    "one character": ["a"],
}


@pytest.mark.parametrize("min_frequency", [0, 2, 7])
@pytest.mark.parametrize("name", SAMPLES)
def test_merges_equal_the_reference_trainers(name: str, min_frequency: int) -> None:
    size = 256 + 500
    trained = train_byte_level(SAMPLES[name], size, special_tokens=(), min_frequency=min_frequency)
    assert our_merges(trained) == reference_merges(SAMPLES[name], size, min_frequency)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(texts=st.lists(st.text(st.sampled_from("aab \u00e9"), min_size=1, max_size=30), min_size=1, max_size=5))
def test_merges_of_repetitive_text_equal_the_reference_trainers(texts: list[str]) -> None:
    assert our_merges(train_byte_level(texts, 290, special_tokens=(), min_frequency=1)) == reference_merges(
        texts, 290, 1
    )


def test_the_order_of_the_texts_does_not_matter() -> None:
    texts = SAMPLES["words"]
    forwards, backwards = train_byte_level(texts, 401), train_byte_level(reversed(texts), 401)
    assert forwards.vocabulary == backwards.vocabulary


def test_the_size_asked_for_is_the_size_had_special_tokens_last() -> None:
    tokenizer = train_byte_level(SAMPLES["words"], 307, special_tokens=("<|endoftext|>", "<|user|>"))
    assert tokenizer.size == 307
    assert dict(tokenizer.special_tokens) == {"<|endoftext|>": 305, "<|user|>": 306}
    assert tokenizer.end_of_text == 305
    assert len(tokenizer.vocabulary.merges) == 307 - 256 - 2


def test_little_text_gives_a_smaller_vocabulary() -> None:
    tokenizer = train_byte_level(["abab abab"], 1_000)
    assert 257 < tokenizer.size < 270
    assert tokenizer.decode(tokenizer.encode("abab \u4e2d")) == "abab \u4e2d"


def test_without_the_end_of_text_token_there_is_no_end_of_text() -> None:
    assert train_byte_level(["ab"], 256, special_tokens=()).end_of_text is None
    assert train_byte_level(["ab"], 300, special_tokens=("<|pad|>",)).end_of_text is None


def test_texts_are_read_once_and_one_by_one() -> None:
    seen = []
    tokenizer = train_byte_level((seen.append(text) or text for text in SAMPLES["words"]), 300)  # type: ignore[func-returns-value]
    assert seen == SAMPLES["words"]
    assert tokenizer.size == 300


def test_counts_beyond_32_bits_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    # As if 3 billion times "ab" and 4 billion times "cd" had been read: past 32 bits, signed or not.
    monkeypatch.setattr("headway.text.byte_level_training.split", lambda data: {b"ab": 3 * 10**9, b"cd": 2**32 + 1})
    assert train_byte_level(["x"], 258, special_tokens=()).vocabulary.merges == ((b"c", b"d"), (b"a", b"b"))


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_no_text_is_an_error(texts: list[str]) -> None:
    with pytest.raises(DataError, match="not a single character"):
        train_byte_level(texts, 300)


@pytest.mark.parametrize("size", [-1, 0, 255, 256, 2**31])
def test_a_size_without_room_for_the_bytes_is_an_error(size: int) -> None:
    with pytest.raises(ConfigError, match=f"at least 257.*size={size}"):
        train_byte_level(["text"], size)


@pytest.mark.parametrize("names", [("",), ("<|x|>", "<|x|>"), ("\ud800",), "<|x|>"])
def test_impossible_special_tokens_are_an_error(names: Sequence[str]) -> None:
    with pytest.raises(ConfigError, match="special"):
        train_byte_level(["text"], 300, special_tokens=names)


@pytest.mark.parametrize("name", ["a", "the", "\u0120the"])
def test_a_special_token_that_is_common_text_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match=r"choose one like <\|"):
        train_byte_level(["then the other the a"] * 3, 300, special_tokens=(name,))


def test_a_negative_frequency_is_an_error() -> None:
    with pytest.raises(ConfigError, match="min_frequency=-1"):
        train_byte_level(["text"], 300, min_frequency=-1)


def test_the_size_grows_with_the_corpus_in_multiples_of_64() -> None:
    assert [vocabulary_size(10**power) for power in range(12)] == [
        *(512, 512, 512, 512, 512, 1_024, 4_096, 8_192, 16_384, 32_768, 50_304, 50_304),
    ]
    assert vocabulary_size(50_000_000) == 8_192
    assert all(vocabulary_size(3**power) % 64 == 0 for power in range(25))
