"""Alignment: which source word each target word was made from."""

import numpy
import pytest
import torch
from copying import CopyDecoder, copier, tiny_rnn, tiny_transformer
from doubles import END, ByteTokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import ContextError, UsageError
from headway.tasks.alignment import align, attention_maps, attention_of, head_of, shows_attention
from headway.tasks.alignment_words import best_links, merged, token_texts, words_of
from headway.tasks.translator import Translator

TEXTS = ["Hello there.", "a", "l'eau de la mer", "中文 😀", "one two three four five"]


def test_the_row_of_a_token_is_the_attention_that_predicted_it() -> None:
    found = copier().align(["abc"], ["abc"])[0]
    assert found.source_tokens == ["a", "b", "c", "<end>"] and found.target_tokens == ["a", "b", "c"]
    assert found.weights == numpy.eye(4)[:3].tolist()
    words = copier().align(["one two."], ["one two."])[0]
    assert words.source_words == ["one", "two", ".", "<end>"]
    assert words.links == [(0, 0), (1, 1), (2, 2)]


def test_a_translation_carries_the_alignment_it_was_made_with() -> None:
    found = copier().translate(["one two", "a text that is longer"], alignment=True)
    for one in found:
        assert one.alignment is not None
        n_words = len(one.text.split())
        assert one.alignment.links == [(at, at) for at in range(n_words)]
    assert copier().translate("one").alignment is None
    pieces = copier(context=20).translate("One is short. Two is too.", beam=1, alignment=True)
    assert pieces.alignment is None and all(piece.alignment is not None for piece in pieces.pieces)


@pytest.mark.parametrize("model", [tiny_transformer, tiny_rnn])
def test_attention_is_that_of_decoding_step_by_step(model) -> None:  # type: ignore[no-untyped-def]
    """Fed token by token with its own trace, the model attends as in the one teacher-forced pass."""
    decoder = model()
    source, target = list(b"Where?") + [END], list(b"Ou?")
    maps = attention_maps(decoder, [source], [target], start=END)[0]
    state = decoder.start(torch.tensor([source]), torch.tensor([len(source)]), rows=1)
    for at, token in enumerate([END, *target[:-1]]):
        from headway.nn.trace import Trace

        trace = Trace()
        _, state = decoder.step(torch.tensor([[token]]), torch.tensor([1]), state, trace=trace)
        for layer in range(maps.shape[0]):
            here = trace.found[f"layers.{layer}.cross_attention"][0, :, 0]
            assert torch.allclose(torch.from_numpy(maps[layer, :, at]), here, atol=1e-5)


@pytest.mark.parametrize("model", [tiny_transformer, tiny_rnn])
@pytest.mark.parametrize("batch_cells", [1, 500, 1 << 22])
def test_alignment_does_not_depend_on_the_batch_and_rows_sum_to_one(model, batch_cells: int) -> None:  # type: ignore[no-untyped-def]
    decoder = model()
    sources = [[*text.encode(), END] for text in TEXTS]
    targets = [list(text.encode()) for text in TEXTS[::-1]]
    together = align(decoder, sources, targets, start=END, batch_cells=batch_cells)
    for source, target, weights in zip(sources, targets, together, strict=True):
        alone = align(decoder, [source], [target], start=END)[0]
        assert weights.shape == (len(target), len(source))
        numpy.testing.assert_allclose(weights, alone, atol=1e-5)
        numpy.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-5)
        found = attention_of(ByteTokenizer(), ByteTokenizer(), source, target, weights)
        numpy.testing.assert_allclose(numpy.sum(found.word_weights, axis=1), 1.0, atol=1e-5)


def test_without_a_choice_the_last_layer_but_one_is_taken() -> None:
    model = tiny_transformer()
    source, target = [*b"abc", END], list(b"ab")
    maps = attention_maps(model, [source], [target], start=END)[0]
    assert maps.shape == (3, 2, 2, 4)
    numpy.testing.assert_array_equal(align(model, [source], [target], start=END)[0], maps[1].mean(axis=0))
    chosen = align(model, [source], [target], start=END, head=(2, 1))[0]
    numpy.testing.assert_array_equal(chosen, maps[2, 1])
    remembered = Translator.of(model, ByteTokenizer(), generation={"headway_alignment_head": [0, None]})
    numpy.testing.assert_allclose(remembered.align(["abc"], ["ab"])[0].weights, maps[0].mean(axis=0), atol=1e-6)
    for head in ((3, 0), (0, 2)):
        with pytest.raises(UsageError, match="3 layers of 2 heads"):
            align(model, [source], [target], start=END, head=head)


def test_a_fixed_vector_has_no_alignment_and_says_why() -> None:
    translator = Translator.of(tiny_rnn("fixed"), ByteTokenizer())
    with pytest.raises(UsageError, match="bottleneck") as caught:
        translator.align(["abc"], ["ab"])
    assert len(str(caught.value).splitlines()) <= 6
    with pytest.raises(UsageError, match="bottleneck"):
        translator.translate("abc", alignment=True)
    assert not shows_attention(tiny_rnn("fixed"), start=END, end=END)
    assert shows_attention(tiny_rnn(), start=END, end=END)


def test_alignments_need_whole_texts_one_target_each() -> None:
    with pytest.raises(ContextError, match="20 tokens"):
        copier(context=20).align(["x" * 30], ["x"])
    with pytest.raises(UsageError, match="1 and 2"):
        copier().align(["x"], ["x", "y"])
    assert copier().align(["abc"], [""])[0].weights == []
    assert copier().align([], []) == []


def test_tokens_have_whole_characters_as_their_spans() -> None:
    text, spans = token_texts(ByteTokenizer(), list("né€".encode()))
    assert (text, spans) == ("né€", [(0, 1), (1, 2), (1, 2), (2, 3), (2, 3), (2, 3)])
    text, spans = token_texts(ByteTokenizer(), [ord("x"), 263, 0x82, 0xAC, ord("y")])  # 263: "a" and a third of a euro
    assert (text, spans) == ("xa€y", [(0, 1), (1, 3), (2, 3), (2, 3), (3, 4)])
    text, spans = token_texts(ByteTokenizer(), [0xE2, ord("y"), 0xF0, 0x9F])  # broken, and broken off
    assert (text, spans) == ("\ufffdy\ufffd", [(0, 1), (1, 2), (2, 3), (2, 3)])


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=30))
def test_token_texts_are_what_the_tokenizer_decodes(data: bytes) -> None:
    text, spans = token_texts(ByteTokenizer(), list(data))
    assert text == data.decode("utf-8", "replace")
    assert all(0 <= first < last <= len(text) for first, last in spans)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The U.S. paid $1,000.50 for it.", ["The", "U.S", ".", "paid", "$", "1,000.50", "for", "it", "."]),
        ("L'accord d\u2019avril, aujourd'hui", ["L'", "accord", "d\u2019", "avril", ",", "aujourd'hui"]),
        ("we don't re-enter", ["we", "don't", "re-enter"]),
        ("中文，你", ["中", "文", "，", "你"]),
        ("👩‍👧 👍🏽!", ["👩‍👧", "👍🏽", "!"]),
        ("مرحبا بالعالم؟", ["مرحبا", "بالعالم", "؟"]),
        ("cafe\u0301 _x_ \x00", ["cafe\u0301", "_", "x", "_", "\x00"]),
        (" \t\n", []),
    ],
)
def test_words_are_what_a_reader_calls_words(text: str, words: list[str]) -> None:
    assert [text[first:last] for first, last in words_of(text)] == words


def test_words_at_blanks_are_those_of_a_text_cut_already() -> None:
    text = "I do n't , 1 000 ."
    assert [text[first:last] for first, last in words_of(text, at_blanks=True)] == text.split()


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=40))
def test_every_character_but_blanks_is_in_one_word(text: str) -> None:
    covered = [at for first, last in words_of(text) for at in range(first, last)]
    assert covered == [at for at, character in enumerate(text) if not character.isspace()]


def test_merging_sums_over_source_tokens_and_averages_over_target_tokens() -> None:
    weights = numpy.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.1, 0.2, 0.2], [0.0, 0.0, 0.5, 0.5]])
    source_tokens, source_words = [(0, 2), (2, 4), (4, 7)], [(0, 4), (5, 7)]  # "ab" "cd" " ef", then the end
    target_tokens, target_words = [(0, 1), (1, 2), (2, 4)], [(0, 2), (3, 4)]
    found = merged(weights, source_tokens, target_tokens, source_words, target_words)
    numpy.testing.assert_allclose(found, [[0.45, 0.25, 0.3], [0.0, 0.5, 0.5]])


def test_a_token_across_words_counts_for_both_and_a_blank_one_for_the_next() -> None:
    weights = numpy.array([[0.5, 0.3, 0.2]])
    found = merged(weights, [(0, 4), (4, 5)], [(0, 1)], [(0, 1), (1, 4), (5, 6)], [(0, 1)])
    numpy.testing.assert_allclose(found, [[0.125, 0.375, 0.3, 0.2]])
    blank = merged(weights, [(0, 1), (1, 2)], [(0, 1)], [], [(0, 1)])
    numpy.testing.assert_allclose(blank, [[1.0]])


def test_links_are_the_likeliest_the_mutual_or_those_above_a_threshold() -> None:
    weights = numpy.array([[0.6, 0.3, 0.1], [0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
    assert best_links(weights) == [(0, 0), (0, 1), (2, 2)]
    assert best_links(weights, mutual=True) == [(0, 1), (2, 2)]
    assert best_links(weights, threshold=0.3) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 2)]
    assert best_links(numpy.zeros((0, 3))) == [] and best_links(numpy.zeros((2, 0))) == []


def test_heads_are_read_from_lists() -> None:
    assert head_of([1, 2]) == (1, 2) and head_of((0, None)) == (0, None)
    for wrong in ([1], [None, 1], [-1, 0], [0, True], "01", None, [0.0, 1]):
        assert head_of(wrong) is None


def test_the_copy_double_looks_where_it_says() -> None:
    assert align(CopyDecoder(), [[7, 8, END]], [[7, 8]], start=END)[0].argmax(axis=1).tolist() == [0, 1]
