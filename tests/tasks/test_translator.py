"""Translator: texts in, translations out, in order, each as if it were alone."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from copying import CopyDecoder, copier, tiny_rnn, tiny_transformer
from doubles import SIZE, ByteTokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

import headway
from headway.errors import FormatError, HeadwayError, UsageError
from headway.models.gpt2 import GPT2, GPT2Config
from headway.models.transformer import Transformer, TransformerConfig
from headway.tasks.translator import Translator, windows
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.vocabulary import ByteVocabulary

MODELS = {"transformer": tiny_transformer, "rnnsearch": tiny_rnn, "rnn-fixed": lambda: tiny_rnn("fixed")}
HOSTILE = ["😀👩‍👩‍👧", "مرحبا بالعالم", "\x00nul\x00", "\ufeffmark", "\u202eevil", "中文。", " lead", "tail ", "\t"]


class WithUnknown(ByteTokenizer):
    """The double with an unknown word in place of the byte 1."""

    @property
    def special_tokens(self) -> Mapping[str, int]:
        return {**super().special_tokens, "<unk>": 1}

    def _bytes(self, token: int) -> bytes:
        return b"<unk>" if token == 1 else super()._bytes(token)


def byte_level(*, merges: int = 0) -> ByteLevelTokenizer:
    end = "<|endoftext|>"
    pairs = tuple((b"a", bytes([98 + at])) for at in range(merges))
    tokens = (*(bytes([byte]) for byte in range(256)), *(first + second for first, second in pairs), end.encode())
    return ByteLevelTokenizer(ByteVocabulary(tokens=tokens, merges=pairs, special_tokens={end: 256 + merges}))


@pytest.fixture(scope="module", params=MODELS)
def translator(request: pytest.FixtureRequest) -> Translator:
    return Translator.of(MODELS[request.param](), ByteTokenizer())


def test_a_text_gives_a_translation_and_a_list_a_list() -> None:
    found = copier().translate("Hello.")
    assert (found.text, found.ids, found.finish_reason, found.windowed) == ("Hello.", list(b"Hello."), "stop", False)
    assert found.length == 7 and found.score == pytest.approx(found.logprob / 7)
    assert [one.text for one in copier().translate(["b", "", "a b"])] == ["b", "", "a b"]
    assert copier().translate([]) == []


@settings(max_examples=12, deadline=None)
@given(texts=st.lists(st.text(max_size=12), max_size=7), batch_tokens=st.integers(1, 300))
def test_translations_come_in_the_order_of_the_texts(texts: list[str], batch_tokens: int) -> None:
    found = copier().translate(texts, beam=2, batch_tokens=batch_tokens)
    for text, one in zip(texts, found, strict=True):
        if "\n" not in text:
            assert one.text == (text.strip() if text.strip() else "").encode(errors="replace").decode()


@pytest.mark.parametrize("beam", [1, 3])
def test_a_translation_does_not_depend_on_its_batch(translator: Translator, beam: int) -> None:
    texts = ["Hello.", "a", "", "Where is it?", *HOSTILE, "a longer sentence than the others are"]
    options = {"beam": beam, "n_best": beam, "max_new_tokens": 7}
    alone = [translator.translate(text, **options) for text in texts]
    for batch_tokens in (40, 10_000):
        together = translator.translate(texts[::-1], batch_tokens=batch_tokens, **options)[::-1]
        assert [one.ids for one in together] == [one.ids for one in alone]
        assert [one.score for one in together] == pytest.approx([one.score for one in alone], abs=1e-4)


def test_batches_hold_like_lengths_and_at_most_the_tokens_asked_for() -> None:
    model = CopyDecoder()
    Translator.of(model, ByteTokenizer()).translate(["x" * n for n in (90, 2, 91, 3, 40)], batch_tokens=200)
    assert sorted(model.batches) == [(1, 91), (1, 92), (3, 41)] or all(
        rows * wide <= 200 for rows, wide in model.batches
    )
    assert len(model.batches) < 5 and max(rows * max(wide, 16) for rows, wide in model.batches) <= 200


def test_equal_texts_are_read_once() -> None:
    model = CopyDecoder()
    found = Translator.of(model, ByteTokenizer()).translate(["a", "b", "a", "a"], temperature=0.1, seed=1)
    assert [one.text for one in found] == ["a", "b", "a", "a"]
    assert sum(rows for rows, _ in model.batches) == 2


def test_streamed_translations_are_the_same_and_read_no_further_than_their_window() -> None:
    read = []

    def lines() -> Iterator[str]:
        for number in range(100):
            read.append(number)
            yield f"line {number}"

    found = copier().stream(lines(), beam=1, window=7)
    assert not read
    assert next(found).text == "line 0"
    assert len(read) == 7
    assert [one.text for one in found] == [f"line {number}" for number in range(1, 100)]


def test_windows_grow_and_are_bounded() -> None:
    sizes = [len(window) for window in windows("x" for _ in range(20_000))]
    assert sizes[:3] == [16, 32, 64] and max(sizes) == 4096 and sum(sizes) == 20_000
    assert [len(window) for window in windows(["x" * (1 << 22)] * 3)] == [1, 1, 1]


def test_a_text_past_the_limit_is_translated_sentence_by_sentence() -> None:
    text = "One is short. Two is too.\nThree, " + "which has clauses, " * 5 + "ends here."
    found = copier(context=40).translate(text, beam=1)
    assert found.windowed and found.text == text and found.finish_reason == "stop"
    assert [piece.text for piece in found.pieces][:2] == ["One is short.", "Two is too."]
    assert found.ids == [token for piece in found.pieces for token in piece.ids]
    assert found.logprob == pytest.approx(sum(piece.logprob for piece in found.pieces))
    assert not copier(context=40).translate("One is short.").windowed
    assert copier().translate("One is short. Two is too.", longest=20).windowed
    assert len(copier().translate("One. Two.", by_sentence=True).pieces) == 2


def test_ten_thousand_words_are_translated_whole() -> None:
    text = " ".join(str(number % 10) for number in range(10_000))
    found = copier(context=128).translate(text, beam=1, batch_tokens=200_000)
    assert found.windowed and found.text == text
    unbroken = "x" * 3000
    assert copier(context=128).translate(unbroken, beam=1, batch_tokens=200_000).text.replace(" ", "") == unbroken


def test_blank_lines_stay_and_pieces_of_blanks_are_dropped() -> None:
    found = copier(context=20).translate("\n\n  Hello there.  \n\n\nGood bye to you.\n\n", beam=1)
    assert found.text.split("\n")[0] == "Hello there." and found.text.endswith("Good bye to you.")
    assert copier().translate(["  ", "\n", "\x0b"], beam=1)[0].text == ""


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_goes_through(translator: Translator, text: str) -> None:
    assert copier().translate(text, beam=2).text == (text.strip() if text.strip() else "")
    assert len(translator.translate(text, max_new_tokens=5).ids) <= 5


def test_beam_one_is_greedy_and_wider_beams_score_at_least_as_much(translator: Translator) -> None:
    greedy = translator.translate("What is it?", beam=1, length_penalty="none", max_new_tokens=9)
    wide = translator.translate("What is it?", beam=8, n_best=3, length_penalty="none", max_new_tokens=9)
    assert wide.score >= greedy.score - 1e-5
    scores = [wide.score, *(one.score for one in wide.alternatives)]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)
    assert len(translator.translate("What is it?", n_best=6, max_new_tokens=3).alternatives) == 5


def test_coverage_counts_where_there_is_attention_and_is_refused_where_there_is_none() -> None:
    for model in (tiny_transformer(), tiny_rnn()):
        translator = Translator.of(model, ByteTokenizer())
        plain = translator.translate("What is it?", max_new_tokens=9)
        covering = translator.translate(["What is it?", "abc"], coverage_penalty=5.0, max_new_tokens=9)
        assert covering[0].score < plain.score  # the penalty is never above 0
        assert covering[0].score < covering[0].logprob / covering[0].length
    with pytest.raises(UsageError, match="coverage_penalty"):
        Translator.of(tiny_rnn("fixed"), ByteTokenizer()).translate("abc", coverage_penalty=0.5)


def test_a_forced_prefix_begins_the_translation(translator: Translator) -> None:
    found = translator.translate(["one", "two"], prefix="Le ", max_new_tokens=7)
    assert all(one.text.startswith("Le ") and len(one.ids) > 3 for one in found)
    assert copier().translate("xyz", prefix="ab").text == "abz"  # the copier goes on from where it stands
    assert (
        copier(context=20).translate("One is short. Two is too.", prefix="on", beam=1).pieces[1].text == "Two is too."
    )


def test_a_prefix_without_room_is_refused() -> None:
    with pytest.raises(UsageError, match="prefix has 20 tokens"):
        copier(context=20).translate("a", prefix="x" * 20)


def test_draws_repeat_with_their_seed_whatever_the_batch(translator: Translator) -> None:
    options = {"temperature": 1.3, "seed": 4, "max_new_tokens": 9}
    first = translator.translate(["one", "two", "three"], n_best=3, **options)
    assert [one.ids for one in translator.translate(["three", "one", "two"], n_best=3, **options)] == [
        first[at].ids for at in (2, 0, 1)
    ]
    assert all(len(one.alternatives) == 2 for one in first)
    other = translator.translate(["one", "two", "three"], n_best=3, **{**options, "seed": 5})
    assert [one.ids for one in other] != [one.ids for one in first]


def test_limits_hold_for_searches_and_draws(translator: Translator) -> None:
    for options in ({"beam": 2}, {"temperature": 5.0, "seed": 1}):
        found = translator.translate(["abc", "a"], max_ratio=1.0, **options)
        assert [len(one.ids) for one in found] <= [4, 2]
    assert len(translator.translate("abcdef", min_ratio=2.0, max_ratio=3.0).ids) >= 13
    assert len(copier().translate("abcdef", max_new_tokens=3).ids) == 3
    assert copier().translate("abcdef", max_new_tokens=3).finish_reason == "length"


def test_unknown_words_are_kept_forbidden_or_copied() -> None:
    model = CopyDecoder(swapped={ord("Z"): 1, ord("o"): 1})
    translator = Translator.of(model, WithUnknown())
    assert translator.translate("a Z b").text == "a <unk> b"
    assert "<unk>" not in translator.translate("a Z b", unknown="forbid").text
    found = translator.translate("a Z! b", unknown="copy")
    assert (found.text, found.alignment) == ("a Z! b", None)
    assert translator.translate("Z", unknown="copy", temperature=0.1, seed=1).text == "Z"
    assert copier().translate("Z", unknown="copy").text == "Z"  # a vocabulary without one


def test_arguments_that_contradict_are_refused() -> None:
    translator = copier()
    for options, named in (
        ({"beam": 0}, "beam"),
        ({"beam": 2, "n_best": 3}, "n_best"),
        ({"temperature": 1.0, "beam": 2}, "temperature"),
        ({"temperature": 1.0, "min_ratio": 0.5}, "temperature"),
        ({"min_ratio": 2.0, "max_ratio": 1.0}, "min_ratio"),
        ({"max_ratio": 0.0}, "max_ratio"),
        ({"unknown": "drop"}, "unknown"),
        ({"length_penalty": "wu"}, "length_penalty"),
        ({"longest": 0}, "longest"),
        ({"batch_tokens": 0}, "batch_tokens"),
        ({"coverage_penalty": -1.0}, "coverage_penalty"),
    ):
        with pytest.raises(UsageError, match=named):
            translator.translate("a", **options)
        with pytest.raises(UsageError, match=named):
            translator.stream(iter("a"), **options)  # at the call, before anything is read
    with pytest.raises(UsageError, match="window"):
        translator.stream(["a"], window=0)
    with pytest.raises(UsageError, match="takes text"):
        translator.translate([b"bytes"])  # type: ignore[list-item]


def test_defaults_are_the_folders() -> None:
    generation = {"num_beams": 2, "length_penalty": 0.5, "max_length": 4, "headway_longest_source": 9}
    translator = Translator.of(CopyDecoder(), ByteTokenizer(), generation=generation)
    search = translator.request().search
    assert (search.beam, search.length_penalty, search.alpha, search.max_new_tokens) == (2, "mean", 0.5, 3)
    assert translator.request(length_penalty="gnmt", beam=5).search.alpha == 1.0
    assert translator.translate("abcdefgh").ids == list(b"abc")
    assert translator.translate("abcdefgh i").windowed
    assert Translator.of(CopyDecoder(), ByteTokenizer()).request().search.beam == 4


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_beams", 0),
        ("num_beams", "4"),
        ("length_penalty", True),
        ("eos_token_id", -1),
        ("bad_words_ids", [[1, 2]]),
        ("headway_alignment_head", [1]),
        ("headway_alignment_head", [None, 1]),
        ("headway_longest_source", 0),
        ("max_length", 1.5),
    ],
)
def test_settings_of_a_folder_that_make_no_sense_are_named(key: str, value: object) -> None:
    with pytest.raises(FormatError, match=key) as caught:
        Translator.of(CopyDecoder(), ByteTokenizer(), generation={key: value})
    assert len(str(caught.value).splitlines()) <= 6


def test_ids_that_pad_or_begin_are_never_written() -> None:
    swapped = {ord("p"): 257, ord("s"): 258, ord("b"): 259}
    generation = {"pad_token_id": 257, "decoder_start_token_id": 258, "bad_words_ids": [[259]], "eos_token_id": [256]}
    translator = Translator.of(CopyDecoder(swapped=swapped), ByteTokenizer(), generation=generation)
    assert translator.sides.start == 258
    assert not {257, 258, 259} & set(translator.translate("psb", beam=1).ids)
    assert not {257, 258, 259} & set(translator.translate("psb", temperature=0.5, seed=1).ids)


def test_a_tokenizer_without_an_end_is_refused() -> None:
    with pytest.raises(FormatError, match="ends a text"):
        Translator.of(CopyDecoder(), ByteTokenizer(has_end=False))
    given = Translator.of(CopyDecoder(), ByteTokenizer(has_end=False), generation={"eos_token_id": 256})
    assert given.translate("ab").text == "ab"


def test_a_folder_translates_as_the_model_in_memory_does(tmp_path: Path) -> None:
    torch.manual_seed(3)
    sizes = {"context": 61, "width": 10, "n_heads": 2, "encoder_layers": 1, "decoder_layers": 1, "feed_forward": 14}
    model = Transformer(TransformerConfig(vocabulary=259, source_vocabulary=257, shared=False, norm="pre", **sizes))
    source, target = byte_level(), byte_level(merges=2)
    ids = dict.fromkeys(("eos_token_id", "pad_token_id", "decoder_start_token_id"), target.end_of_text)
    headway.save(model.eval(), source, tmp_path / "two", target_tokenizer=target, generation={"num_beams": 3, **ids})
    opened = Translator(tmp_path / "two", device="cpu")
    here = Translator.of(model, source, target_tokenizer=target, generation={"num_beams": 3})
    assert opened.sides.start == opened.sides.target.end_of_text == 258 and opened.sides.source_end == 256
    assert opened.request().search.beam == 3
    texts = ["Hello there.", "abc"]
    expected = [one.ids for one in here.translate(texts, max_new_tokens=9)]
    assert [one.ids for one in opened.translate(texts, max_new_tokens=9)] == expected


def test_a_model_without_source_or_tokenizer_is_refused_with_the_way_out(tmp_path: Path) -> None:
    config = GPT2Config(vocabulary=257, context=23, width=10, n_layers=1, n_heads=2)
    headway.save(GPT2(config), byte_level(), tmp_path / "writer")
    headway.save(tiny_transformer(), None, tmp_path / "mute")
    for name, said in (("writer", "headway write"), ("mute", "tokenizer.json")):
        with pytest.raises(HeadwayError, match=said) as caught:
            Translator(tmp_path / name)
        assert len(str(caught.value).splitlines()) <= 6


def test_the_doubles_have_one_vocabulary() -> None:
    assert tiny_transformer().config.vocabulary == SIZE == ByteTokenizer().size
