"""What every tokenizer keeps, whatever its kind: the contract suite of this room."""

import pickle
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


def test_a_corpus_gets_the_same_ids_as_its_texts(tokenizer: Tokenizer) -> None:
    samples = ["", PROSE, "\ud800 lone", *random_strings(200, seed=3)]
    arrays = tokenizer.encode_corpus(iter(samples))
    assert [array.tolist() for array in arrays] == [tokenizer.encode(sample) for sample in samples]
    assert all(array.dtype == numpy.int32 and array.ndim == 1 for array in arrays)


def test_ids_are_the_reference_librarys(tokenizer: ByteLevelTokenizer) -> None:
    samples = [PROSE, "the then thethe aaaaaaaa ttthe", *random_strings(300, seed=5)]
    theirs = [encoding.ids for encoding in reference(tokenizer.vocabulary).encode_batch_fast(samples)]
    assert [tokenizer.encode(sample) for sample in samples] == theirs


def test_every_id_is_in_range_and_decodes(tokenizer: Tokenizer) -> None:
    assert all(0 <= id < tokenizer.size for id in tokenizer.encode(PROSE))
    assert len(tokenizer.decode_bytes(range(tokenizer.size))) >= tokenizer.size
    for id in (-1, tokenizer.size):
        with pytest.raises(UsageError, match=rf"0\.\.{tokenizer.size - 1}, but got {id}"):
            tokenizer.decode([5, id])


def test_special_tokens_are_text_unless_allowed(tokenizer: Tokenizer) -> None:
    text = "one<|endoftext|>two"
    end = tokenizer.end_of_text
    assert end == tokenizer.special_tokens["<|endoftext|>"]
    assert end not in tokenizer.encode(text)
    assert end not in tokenizer.encode_corpus([text])[0]
    assert tokenizer.encode_corpus([text])[0].tolist() == tokenizer.encode(text)
    allowed = [*tokenizer.encode("one"), end, *tokenizer.encode("two")]
    assert tokenizer.encode(text, allowed_special={"<|endoftext|>"}) == allowed
    assert tokenizer.encode(text, allowed_special="all") == allowed
    assert tokenizer.decode(allowed) == text


def test_an_unknown_special_token_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(UsageError, match=r"'<\|pad\|>' is not a special token.*<\|endoftext\|>"):
        tokenizer.encode("x", allowed_special=["<|pad|>"])


@fixed
@given(ids=st.lists(st.integers(0, 330), max_size=30))
def test_a_stream_equals_decoding_at_once(tokenizer: Tokenizer, ids: list[int]) -> None:
    ids = [id % tokenizer.size for id in ids]
    stream = tokenizer.stream()
    assert "".join([*map(stream.push, ids), stream.flush()]) == tokenizer.decode(ids)


def test_saved_and_loaded_it_is_the_same(tokenizer: ByteLevelTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert isinstance(again, ByteLevelTokenizer)
    assert again.vocabulary == tokenizer.vocabulary


def test_it_travels_to_another_process(tokenizer: Tokenizer) -> None:
    tokenizer.encode("built")
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.encode(PROSE) == tokenizer.encode(PROSE)
