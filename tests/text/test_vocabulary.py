"""Which vocabularies the fast encoders may serve, and which are no vocabularies at all."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vocabularies import BYTES, of_merges, reference

from headway.errors import FormatError
from headway.text.byte_alphabet import BYTE_ORDER, all_to_bytes, to_bytes, to_text
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.encoders import CorpusEncoder, PromptEncoder
from headway.text.vocabulary import ByteVocabulary

SHORT_TEXTS = ["".join(letters) for length in range(1, 7) for letters in itertools.product("ab", repeat=length)]


def test_the_byte_alphabet_is_the_published_one() -> None:
    assert sorted(BYTE_ORDER) == list(range(256))
    assert to_text(b" the\n\x00\xad") == "\u0120the\u010a\u0100\u0143"
    assert all(to_bytes(to_text(bytes((byte,)))) == bytes((byte,)) for byte in range(256))
    assert all_to_bytes(["\u0120the", "", "\u010a"]) == [b" the", b"", b"\n"]


@pytest.mark.parametrize("text", [" ", "\n", "\xad", "\u4e2d", "\uffff", "\ud800"])
def test_characters_outside_the_byte_alphabet_are_refused(text: str) -> None:
    with pytest.raises(UnicodeEncodeError):
        to_bytes(text)


def test_gpt2s_and_trained_vocabularies_are_proper(tokenizers_by_kind: dict[str, ByteLevelTokenizer]) -> None:
    assert {kind: tokenizer.vocabulary.proper for kind, tokenizer in tokenizers_by_kind.items()} == {
        "shipped": True,
        "trained": True,
        "shuffled ids": True,
        "unusual merges": False,
    }


@pytest.mark.parametrize(
    "pairs",
    [
        [(b"a", b"b"), (b"b", b"c"), (b"a", b"bc")],  # a, b merge first, so a, bc never stand side by side
        [(b"a", b"a"), (b"a", b"aa")],  # equal ranks merge from the left: aaa is aa, a
        [(b"ab", b"c"), (b"a", b"b")],  # ranked before the token it is made from
        [(b"a", b"b"), (b"ab", b"c"), (b"b", b"c"), (b"a", b"bc")],  # two ways to the same bytes
        [(b"a", b"b"), (b"a", b"b")],
    ],
)
def test_lists_no_trainer_makes_are_not_proper(pairs: list[tuple[bytes, bytes]]) -> None:
    vocabulary = of_merges(pairs)
    assert not vocabulary.proper
    theirs = reference(vocabulary)
    tokenizer = ByteLevelTokenizer(vocabulary)
    for text in ("abc", "aabc", "aaa", "aaaaa", "ababcbc"):
        assert tokenizer.encode(text) == theirs.encode(text).ids


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_for_proper_vocabularies_the_fast_encoders_follow_the_list(data: st.DataObject) -> None:
    known = [b"a", b"b"]
    pairs: list[tuple[bytes, bytes]] = []
    for _ in range(data.draw(st.integers(1, 5))):
        pair = data.draw(st.tuples(st.sampled_from(known), st.sampled_from(known)))
        if pair not in pairs:
            pairs.append(pair)
            known.append(pair[0] + pair[1])
    vocabulary = of_merges(pairs)
    theirs = [encoding.ids for encoding in reference(vocabulary).encode_batch_fast(SHORT_TEXTS)]
    if vocabulary.proper:
        prompt = PromptEncoder(vocabulary)
        corpus = CorpusEncoder(vocabulary, prompt)
        assert [prompt.encode(text) for text in SHORT_TEXTS] == theirs
        assert [corpus.encode(text.encode()).tolist() for text in SHORT_TEXTS] == theirs
    tokenizer = ByteLevelTokenizer(vocabulary)
    assert [tokenizer.encode(text) for text in SHORT_TEXTS] == theirs


def test_a_missing_byte_is_refused() -> None:
    with pytest.raises(FormatError, match="each of the 256 bytes, but 1 are missing, the first is byte 32"):
        ByteVocabulary(
            tokens=tuple(token for token in BYTES if token != b" "), merges=(), special_tokens={}, end_of_text=None
        )


def test_a_merge_into_no_token_is_refused() -> None:
    with pytest.raises(FormatError, match="a token that is not in the vocabulary"):
        ByteVocabulary(tokens=BYTES, merges=((b"a", b"b"),), special_tokens={}, end_of_text=None)


def test_two_ids_for_the_same_bytes_are_refused() -> None:
    with pytest.raises(FormatError, match="both stand for b'a'"):
        ByteVocabulary(tokens=(*BYTES, b"a"), merges=(), special_tokens={}, end_of_text=None)


def test_a_special_token_must_have_its_own_id() -> None:
    for number in (-1, 3, 257):
        with pytest.raises(FormatError, match="must have an id of its own"):
            ByteVocabulary(tokens=(*BYTES, b"<|x|>"), merges=(), special_tokens={"<|x|>": number}, end_of_text=None)


def test_the_end_of_text_must_be_a_special_token() -> None:
    with pytest.raises(FormatError, match="not among the special tokens"):
        ByteVocabulary(tokens=BYTES, merges=(), special_tokens={})
