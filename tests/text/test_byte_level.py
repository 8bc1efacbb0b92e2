"""GPT-2's own vocabulary: the published ids, the reference library's ids, and the inputs that break encoders."""

import subprocess
import sys
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_text import random_strings
from tokenizers import Tokenizer as ReferenceTokenizer
from vocabularies import PROSE, of_merges, reference, revealing

from headway.errors import HeadwayError
from headway.text import encoders
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.encoders import CorpusEncoder, PromptEncoder, corpus_encoder

MILLION = 1_000_000


def differences(tokenizer: ByteLevelTokenizer, reference: ReferenceTokenizer, samples: list[str]) -> list[str]:
    """The samples on which the prompt path or the corpus path is not the reference's."""
    theirs = [encoding.ids for encoding in reference.encode_batch_fast(samples)]
    corpus = tokenizer.encode_corpus(samples)
    return [
        sample
        for sample, ids, array in zip(samples, theirs, corpus, strict=True)
        if tokenizer.encode(sample) != ids or array.tolist() != ids
    ]


def test_the_published_ids(gpt2: ByteLevelTokenizer) -> None:
    assert gpt2.size == 50257
    assert gpt2.end_of_text == 50256
    assert dict(gpt2.special_tokens) == {"<|endoftext|>": 50256}
    assert gpt2.encode("Hello world") == [15496, 995]
    assert gpt2.encode(" " * 3 + "\n\n") == [220, 220, 220, 628]
    assert gpt2.encode("!\x00") == [0, 188]


def test_random_strings_get_the_references_ids(gpt2: ByteLevelTokenizer, gpt2_reference: ReferenceTokenizer) -> None:
    assert differences(gpt2, gpt2_reference, list(random_strings(4_000, seed=11))) == []


@pytest.mark.night
def test_a_hundred_thousand_random_strings_get_the_references_ids(
    gpt2: ByteLevelTokenizer, gpt2_reference: ReferenceTokenizer
) -> None:
    for seed in range(10):
        assert differences(gpt2, gpt2_reference, list(random_strings(10_000, seed=1_000 + seed))) == []


def disputes(codes: Iterable[int]) -> list[str]:
    """The characters that either path takes for another kind than the reference does."""
    vocabulary = revealing()
    tokenizer = ByteLevelTokenizer(vocabulary)
    samples = [f"{chr(code)}a{chr(code)}1{chr(code)}!{chr(code)}  x" for code in codes]
    return [sample[0] for sample in differences(tokenizer, reference(vocabulary), samples)]


# Older blocks, then those where Unicode 15, 16 and 17 put new letters: on the last the libraries' tables differ.
@pytest.mark.parametrize(
    "block", [0x80, 0x880, 0xC40, 0x2000, 0x3000, 0xA7C0, 0x1E4D0, 0x10D40, 0x11DB0, 0x16EA0, 0x18D80, 0x1E6C0, 0x323B0]
)
def test_characters_old_and_new_are_split_as_the_reference_splits_them(block: int) -> None:
    assert disputes(range(block, block + 0x80)) == []


@pytest.mark.night
def test_every_character_is_split_as_the_reference_splits_it() -> None:
    codes = [code for code in range(0x80, 0x110000) if not 0xD800 <= code < 0xE000]
    for start in range(0, len(codes), 20_000):
        assert disputes(codes[start : start + 20_000]) == []


@settings(max_examples=150, deadline=None, derandomize=True)
@given(text=st.text(st.sampled_from("a1. \t\n\r'st\u00a0\u00e9\u4e2d\u0301\u200d\x1c\x85"), max_size=12))
def test_short_strings_of_border_characters_get_the_references_ids(
    gpt2: ByteLevelTokenizer, gpt2_reference: ReferenceTokenizer, text: str
) -> None:
    assert differences(gpt2, gpt2_reference, [text]) == []


@pytest.mark.parametrize("unit", ["a", " ", "\n", "\u4e2d", "!"])
def test_a_million_equal_characters_encode_on_both_paths(unit: str, gpt2: ByteLevelTokenizer) -> None:
    text = unit * MILLION
    ids = gpt2.encode(text)
    assert gpt2.decode(ids) == text
    assert gpt2.encode_corpus([text])[0].tolist() == ids


@pytest.mark.parametrize(
    "text",
    [
        " " * MILLION + "x",
        "x" + " \n" * 50_000 + "\u3000.",
        (" " * 20_000 + "word") * 5,
        "\u00a0" * 10_000 + "\x1c" + " " * 9_999 + "x",
    ],
    ids=["a million", "mixed", "many runs", "borders of a run"],
)
def test_long_runs_of_space_before_a_word_encode_on_both_paths(text: str, gpt2: ByteLevelTokenizer) -> None:
    ids = gpt2.encode(text)
    assert gpt2.decode(ids) == text
    assert gpt2.encode_corpus([text])[0].tolist() == ids


def test_cutting_long_runs_of_space_changes_no_id(gpt2: ByteLevelTokenizer, gpt2_reference: ReferenceTokenizer) -> None:
    runs = [" " * 10_000, "\n" * 10_001, " \t" * 5_001 + "\u2028", "\x85" * 12_000]
    samples = [before + run + after for run in runs for before in ("", "a", ".") for after in ("", "a", "1", "'s")]
    assert differences(gpt2, gpt2_reference, samples) == []


def test_a_lone_surrogate_reads_as_the_replacement_character(gpt2: ByteLevelTokenizer) -> None:
    assert gpt2.encode("a\ud800b") == gpt2.encode("a\ufffdb")
    assert gpt2.encode("\ud83d\ude00") == gpt2.encode("\U0001f600")
    assert gpt2.encode_corpus(["a\udfffb"])[0].tolist() == gpt2.encode("a\ufffdb")
    assert gpt2.encode("\udcff<|endoftext|>", allowed_special="all") == [*gpt2.encode("\ufffd"), 50256]


def test_decoding_replaces_bad_bytes_as_the_reference_does(
    gpt2: ByteLevelTokenizer, gpt2_reference: ReferenceTokenizer
) -> None:
    for data in (b"\xe4\xb8", b"\xf0\x9f\x98x", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf", b"ok\xe4\xb8\xadok\xe4"):
        ids = gpt2.encode_bytes(data)
        assert gpt2.decode(ids) == gpt2_reference.decode(ids) == data.decode("utf-8", errors="replace")


def test_of_special_tokens_that_begin_alike_the_longest_counts(
    tokenizers_by_kind: dict[str, ByteLevelTokenizer],
) -> None:
    tokenizer = tokenizers_by_kind["trained"]
    short, long = tokenizer.special_tokens["<|end|>"], tokenizer.special_tokens["<|end|>more"]
    assert tokenizer.encode("<|end|>more<|end|>", allowed_special="all") == [long, short]
    assert tokenizer.encode("<|end|>more", allowed_special=["<|end|>"]) == [short, *tokenizer.encode("more")]
    assert tokenizer.encode("<|end|>", allowed_special=[]) == tokenizer.encode("<|end|>")


def test_a_disagreement_of_the_libraries_is_said_and_the_slower_is_used(
    gpt2: ByteLevelTokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    prompt, other = PromptEncoder(gpt2.vocabulary), PromptEncoder(of_merges([(b"T", b"h")]))
    assert isinstance(corpus_encoder(gpt2.vocabulary, prompt), CorpusEncoder)
    assert caplog.text == ""
    assert corpus_encoder(gpt2.vocabulary, other) is other
    assert "disagree" in caplog.text


def test_a_renewed_corpus_encoder_gives_the_same_ids(gpt2: ByteLevelTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = CorpusEncoder(gpt2.vocabulary, PromptEncoder(gpt2.vocabulary))
    before = encoder._tokenizer
    monkeypatch.setattr(encoders, "_BYTES_BETWEEN_RENEWALS", 10)
    assert [encoder.encode(PROSE.encode()).tolist() for _ in range(2)] == [gpt2.encode(PROSE)] * 2
    assert encoder._tokenizer is not before


def test_a_librarys_panic_becomes_an_error_of_ours(gpt2: ByteLevelTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        """What Rust libraries raise in Python: no Exception, so it would slip past every handler."""

    def panic(text: str) -> list[int]:
        raise PanicException("stack overflow")

    encoder = PromptEncoder(gpt2.vocabulary)
    monkeypatch.setattr(encoder.library, "encode_ordinary", panic)
    with pytest.raises(HeadwayError, match="failed on this input: stack overflow"):
        encoder.encode("text")


def test_importing_and_prompting_load_no_torch() -> None:
    code = (
        "import sys, headway; t = headway.Tokenizer.load('gpt2'); t.encode('x'); t.encode_corpus(['x']); "
        "sys.exit(bool({'torch', 'awkward', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_importing_loads_no_library() -> None:
    code = (
        "import sys, headway.text.loading, headway.text.byte_level_training; "
        "sys.exit(bool({'torch', 'numpy', 'tiktoken', 'tokenizers', 'gigatoken'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
