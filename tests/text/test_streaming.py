"""Ids become text as they come, never half a character."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import UsageError
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.streaming import StreamDecoder


def as_bytes(ids: Sequence[int]) -> bytes:
    return bytes(ids)


def test_a_character_of_several_tokens_comes_whole_and_at_its_last_token(gpt2: ByteLevelTokenizer) -> None:
    ids = gpt2.encode("a\U0001f682b")
    stream = gpt2.stream()
    pieces = [stream.push(id) for id in ids]
    assert [piece for piece in pieces if piece] == ["a", "\U0001f682", "b"]
    assert len(pieces) > 3
    assert stream.flush() == ""


def test_an_unfinished_character_is_replaced_once_at_the_end(gpt2: ByteLevelTokenizer) -> None:
    stream = gpt2.stream()
    ids = gpt2.encode_bytes("\u4e2d".encode()[:2])
    assert [stream.push(id) for id in ids] == [""] * len(ids)
    assert stream.flush() == "\ufffd"
    assert stream.flush() == ""


def test_a_flushed_stream_begins_anew(gpt2: ByteLevelTokenizer) -> None:
    stream = gpt2.stream()
    stream.push(gpt2.encode_bytes(b"\xf0")[0])
    stream.flush()
    assert stream.push(gpt2.encode("a")[0]) == "a"


def test_two_streams_do_not_disturb_each_other(gpt2: ByteLevelTokenizer) -> None:
    first, second = gpt2.stream(), gpt2.stream()
    left, right = gpt2.encode_bytes("\u00e9".encode()[:1]), gpt2.encode("b")
    assert (first.push(left[0]), second.push(right[0]), first.flush()) == ("", "b", "\ufffd")


def test_an_unknown_id_is_refused_and_the_stream_goes_on(gpt2: ByteLevelTokenizer) -> None:
    stream = gpt2.stream()
    with pytest.raises(UsageError):
        stream.push(50257)
    assert stream.push(15496) == "Hello"


@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.one_of(st.binary(max_size=12), st.text(max_size=8).map(lambda text: text.encode(errors="replace"))))
def test_any_bytes_streamed_equal_the_bytes_decoded_at_once(data: bytes) -> None:
    stream = StreamDecoder(as_bytes)
    assert "".join([*map(stream.push, data), stream.flush()]) == data.decode("utf-8", errors="replace")
