"""What every tokenizer keeps, whatever its kind: the contract suite of this room."""

import pickle
import re
from pathlib import Path

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_text import random_strings
from vocabularies import PROSE, reference

from headway.errors import UsageError
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.tokenizer import Tokenizer

fixed = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@fixed
@given(text=texts)
def test_text_comes_back_exactly(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(tokenizer.encode(text, allowed_special="all")) == text


@fixed
@given(data=st.binary(max_size=40))
def test_bytes_come_back_exactly(tokenizer: Tokenizer, data: bytes) -> None:
    ids = tokenizer.encode_bytes(data)
    assert tokenizer.decode_bytes(ids) == data
    assert tokenizer.decode(ids) == data.decode("utf-8", errors="replace")


@fixed
@given(text=texts)
def test_bytes_of_text_encode_as_the_text(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.encode_bytes(text.encode()) == tokenizer.encode(text)


def test_every_byte_has_a_token(tokenizer: Tokenizer) -> None:
    everything = bytes(range(256))
    assert tokenizer.decode_bytes(tokenizer.encode_bytes(everything)) == everything


def test_a_corpus_gets_the_same_ids_as_its_texts(any_tokenizer: Tokenizer) -> None:
    samples = ["", PROSE, "\ud800 lone", *random_strings(200, seed=3)]
    arrays = any_tokenizer.encode_corpus(iter(samples))
    assert [array.tolist() for array in arrays] == [any_tokenizer.encode(sample) for sample in samples]
    assert all(array.dtype == numpy.int32 and array.ndim == 1 for array in arrays)


def test_ids_are_the_reference_librarys(tokenizer: ByteLevelTokenizer) -> None:
    samples = [PROSE, "the then thethe aaaaaaaa ttthe", *random_strings(300, seed=5)]
    theirs = [encoding.ids for encoding in reference(tokenizer.vocabulary).encode_batch_fast(samples)]
    assert [tokenizer.encode(sample) for sample in samples] == theirs


def test_every_id_is_in_range_and_decodes(any_tokenizer: Tokenizer) -> None:
    assert all(0 <= id < any_tokenizer.size for id in any_tokenizer.encode(PROSE))
    assert len(any_tokenizer.decode_bytes(range(any_tokenizer.size))) >= any_tokenizer.size
    for id in (-1, any_tokenizer.size):
        with pytest.raises(UsageError, match=rf"0\.\.{any_tokenizer.size - 1}, but got {id}"):
            any_tokenizer.decode([5, id])


def end_name(tokenizer: Tokenizer) -> str:
    """The name of the token that ends a text."""
    return {id: name for name, id in tokenizer.special_tokens.items()}[tokenizer.end_of_text]


def test_special_tokens_are_text_unless_allowed(any_tokenizer: Tokenizer) -> None:
    name = end_name(any_tokenizer)
    text, end = f"one{name}two", any_tokenizer.end_of_text
    assert end not in any_tokenizer.encode(text)
    assert end not in any_tokenizer.encode_corpus([text])[0]
    assert any_tokenizer.encode_corpus([text])[0].tolist() == any_tokenizer.encode(text)
    allowed = [*any_tokenizer.encode("one"), end, *any_tokenizer.encode("two")]
    assert any_tokenizer.encode(text, allowed_special={name}) == allowed
    assert any_tokenizer.encode(text, allowed_special="all") == allowed
    stripped = any_tokenizer.decode(allowed).replace(" ", "")  # words have blanks around it
    assert stripped == any_tokenizer.decode(any_tokenizer.encode(text, allowed_special="all")).replace(" ", "")
    assert any_tokenizer.unknown is not None or stripped == text


def test_an_unknown_special_token_is_refused(any_tokenizer: Tokenizer) -> None:
    with pytest.raises(UsageError, match=rf"'<\|pad\|>' is not a special token.*{re.escape(end_name(any_tokenizer))}"):
        any_tokenizer.encode("x", allowed_special=["<|pad|>"])


@fixed
@given(ids=st.lists(st.integers(0, 330), max_size=30))
def test_a_stream_equals_decoding_at_once(any_tokenizer: Tokenizer, ids: list[int]) -> None:
    ids = [id % any_tokenizer.size for id in ids]
    stream = any_tokenizer.stream()
    assert "".join([*map(stream.push, ids), stream.flush()]) == any_tokenizer.decode(ids)


@fixed
@given(text=texts)
def test_what_each_id_adds_makes_up_all_of_the_bytes(any_tokenizer: Tokenizer, text: str) -> None:
    ids = any_tokenizer.encode(text)
    each = any_tokenizer.decode_each(iter(ids))
    assert len(each) == len(ids)
    assert b"".join(each) == any_tokenizer.decode_bytes(ids)


@fixed
@given(data=st.binary(max_size=12))
def test_bytes_come_back_or_are_refused(any_tokenizer: Tokenizer, data: bytes) -> None:
    try:
        ids = any_tokenizer.encode_bytes(data)
    except UsageError:
        assert any_tokenizer.unknown is not None
    else:
        assert any_tokenizer.decode_bytes(ids) == data


def test_saved_and_loaded_it_is_the_same(tokenizer: ByteLevelTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert isinstance(again, ByteLevelTokenizer)
    assert again.vocabulary == tokenizer.vocabulary


def test_it_travels_to_another_process(any_tokenizer: Tokenizer) -> None:
    any_tokenizer.encode("built")
    again = pickle.loads(pickle.dumps(any_tokenizer))
    assert again.encode(PROSE) == any_tokenizer.encode(PROSE)


@fixed
@given(text=texts)
def test_spans_go_forward_within_the_text_and_their_ids_are_the_texts(any_tokenizer: Tokenizer, text: str) -> None:
    ids, spans = any_tokenizer.encode_with_spans(text)
    assert ids == any_tokenizer.encode(text)
    assert len(spans) == len(ids)
    assert all(0 <= begin <= end <= len(text) for begin, end in spans)
    assert all(left <= right for left, right in zip(spans, spans[1:], strict=False))


@fixed
@given(text=texts)
def test_spans_of_bytes_cover_the_text(tokenizer: Tokenizer, text: str) -> None:
    _, spans = tokenizer.encode_with_spans(text)
    assert {place for begin, end in spans for place in range(begin, end)} == set(range(len(text)))


@pytest.mark.parametrize("text", ["\ud83d\ude82 two", "\ud800two one", "one\udc00 two", "\ud800\ud83d\ude82,two"])
def test_spans_count_half_characters_as_they_stand(any_tokenizer: Tokenizer, text: str) -> None:
    ids, spans = any_tokenizer.encode_with_spans(text)
    assert ids == any_tokenizer.encode(text)
    begin = text.index("two")
    inside = [text[first:last].strip() for first, last in spans if first < begin + 3 and last > begin]
    assert "".join(inside) == "two"


def test_ids_of_special_tokens_are_named(any_tokenizer: Tokenizer) -> None:
    special = any_tokenizer.special_tokens
    for name, id in (("[MASK]", any_tokenizer.mask), ("[PAD]", any_tokenizer.padding)):
        assert id == special.get(name)
    assert any_tokenizer.begin_of_text == special.get("[CLS]")
    assert any_tokenizer.continues_word is None or any_tokenizer.continues_word.shape == (any_tokenizer.size,)
