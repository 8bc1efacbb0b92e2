"""Reader: guesses, labels, tags, answers, vectors, the same alone or in a batch, over windows; and its refusals."""

from pathlib import Path

import numpy
import pytest
import torch

from headway.errors import DataError, FormatError, UsageError
from headway.formats.folder import save
from headway.formats.reader_settings import ReaderSettings, write_reader_settings
from headway.models.bert import BERT
from headway.models.bert_sizes import BERTConfig
from headway.models.gpt2 import GPT2, GPT2Config
from headway.tasks.reader import Reader
from headway.tasks.writer import Writer
from headway.text.byte_level_training import train_byte_level
from headway.text.tokenizer import Tokenizer
from headway.text.vocabulary import END_OF_TEXT
from headway.text.word_piece import WordPieceTokenizer
from headway.text.word_piece_training import train_word_piece

TEXTS = ["the red house by the sea", "a ship came home in the evening", "nobody saw the lighthouse keeper again"]


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    return train_word_piece(TEXTS * 3, 120)


def bert(tokenizer: Tokenizer, head: str, n_labels: int = 0) -> BERT:
    torch.manual_seed(5)
    sizes = {"context": 16, "width": 12, "n_layers": 2, "n_heads": 3, "feed_forward": 17, "initial_deviation": 0.5}
    return BERT(BERTConfig(vocabulary=tokenizer.size, head=head, n_labels=n_labels, **sizes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def filler(tokenizer: WordPieceTokenizer) -> Reader:
    return Reader.of(bert(tokenizer, "masked"), tokenizer)


@pytest.fixture(scope="module")
def judge(tokenizer: WordPieceTokenizer) -> Reader:
    table = ((0.9, 0.0, 0.2), (0.6, 0.1, 0.5), (0.3, 0.4, 1.0))
    settings = ReaderSettings(task="classify", labels=("bad", "fair", "good"), temperature=2.0, abstention=table)
    return Reader.of(bert(tokenizer, "classify", 3), tokenizer, settings)


def test_guesses_are_the_likeliest_tokens_of_the_whole_pass(filler: Reader, tokenizer: WordPieceTokenizer) -> None:
    guesses = filler.fill("the [MASK] house", top=3)
    ids = [tokenizer.begin_of_text, *tokenizer.encode("the"), tokenizer.mask, *tokenizer.encode("house")]
    with torch.no_grad():
        logits = filler.model(torch.tensor([[*ids, tokenizer.end_of_text]]))[0, 1 + len(tokenizer.encode("the"))]
    expected = logits.softmax(dim=-1)
    expected[list(tokenizer.special_tokens.values())] = -1.0
    assert [guess.id for guess in guesses] == expected.topk(3).indices.tolist()
    assert [guess.probability for guess in guesses] == pytest.approx(expected.topk(3).values.tolist(), rel=1e-4)
    for guess in guesses:
        assert guess.place == 0 and guess.token in guess.text and "[MASK]" not in guess.text


def test_each_mask_has_its_own_guesses_also_in_a_long_text(filler: Reader) -> None:
    guesses = filler.fill("[MASK] red " + "house " * 40 + "[MASK]", top=2)
    assert [guess.place for guess in guesses] == [0, 0, 1, 1]
    assert guesses[0].text.startswith(guesses[0].token) and guesses[0].text.endswith("[MASK]")
    assert guesses[2].text.startswith("[MASK]") and guesses[2].text.endswith(guesses[2].token)


def test_a_mask_is_written_as_the_tokenizer_writes_its_own_or_as_bert_does() -> None:
    tokenizer = train_byte_level(TEXTS * 3, 307, special_tokens=(END_OF_TEXT, "<mask>"))
    assert tokenizer.mask == tokenizer.special_tokens["<mask>"]
    reader = Reader.of(bert(tokenizer, "masked"), tokenizer)
    guesses = reader.fill("the <mask> sea [MASK]", top=2)
    assert [guess.place for guess in guesses] == [0, 0, 1, 1]
    assert guesses[0].text == f"the {guesses[0].token} sea [MASK]"
    assert guesses[2].text == f"the <mask> sea {guesses[2].token}"
    other = reader.fill("the [MASK] sea <mask>", top=2)
    assert [guess.id for guess in other] == [guess.id for guess in guesses]


def test_another_vocabularys_mask_is_text_like_any_other(filler: Reader) -> None:
    guesses = filler.fill("the <mask> sea [MASK]", top=2)
    assert [guess.place for guess in guesses] == [0, 0]
    assert guesses[0].text == f"the <mask> sea {guesses[0].token}"
    with pytest.raises(UsageError, match="is to be guessed"):
        filler.fill("the <mask> sea")


def test_labels_do_not_depend_on_the_batch(judge: Reader) -> None:
    together = judge.classify([*TEXTS, "sea " * 60])
    alone = [judge.classify(text) for text in [*TEXTS, "sea " * 60]]
    for one, other in zip(together, alone, strict=True):
        assert one.label == other.label and one.windows == other.windows
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    assert [one.windows for one in together] == [1, 1, 1, 5]
    assert sum(together[0].probabilities.values()) == pytest.approx(1.0)


def test_probabilities_are_of_logits_divided_by_the_temperature(judge: Reader) -> None:
    scores = judge.logits(TEXTS[:1])[0] / 2.0
    expected = numpy.exp(scores) / numpy.exp(scores).sum()
    assert list(judge.classify(TEXTS[0]).probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-6)


def test_an_unsure_reader_abstains(judge: Reader) -> None:
    sure = judge.classify(TEXTS[0]).probability
    assert judge.classify(TEXTS[0], threshold=sure + 0.01).label is None
    assert judge.classify(TEXTS[0], threshold=sure - 0.01).label is not None
    assert judge.classify(TEXTS[0], error_rate=0.1).abstained == (sure < 0.6)
    with pytest.raises(UsageError, match="not both"):
        judge.classify(TEXTS[0], threshold=0.5, error_rate=0.1)
    with pytest.raises(UsageError, match="above 0"):
        judge.classify(TEXTS[0], error_rate=0.0)


def test_an_error_rate_needs_a_calibrated_reader(judge: Reader, tokenizer: WordPieceTokenizer) -> None:
    settings = ReaderSettings(task="classify", labels=("a", "b", "c"))
    with pytest.raises(UsageError, match="not calibrated"):
        Reader.of(judge.model, tokenizer, settings).classify("a text", error_rate=0.1)


def test_multi_label_readers_choose_any_number(tokenizer: WordPieceTokenizer) -> None:
    settings = ReaderSettings(task="classify", labels=("a", "b", "c"), multi_label=True)
    reader = Reader.of(bert(tokenizer, "classify", 3), tokenizer, settings)
    found = reader.classify(TEXTS)
    for one in found:
        assert one.labels == tuple(label for label, value in one.probabilities.items() if value >= 0.5)
        assert (one.label is None) == (not one.labels)


def test_pairs_are_read_together_and_cut_to_fit(tokenizer: WordPieceTokenizer) -> None:
    settings = ReaderSettings(task="classify", labels=("no", "yes"), pair=True)
    reader = Reader.of(bert(tokenizer, "classify", 2), tokenizer, settings)
    one, long = reader.classify([(TEXTS[0], TEXTS[1]), ("sea " * 50, "house " * 50)])
    assert one.probabilities == pytest.approx(reader.classify((TEXTS[0], TEXTS[1])).probabilities, abs=1e-5)
    assert long.windows == 1
    assert one.probabilities != pytest.approx(reader.classify((TEXTS[1], TEXTS[0])).probabilities, abs=1e-5)
    with pytest.raises(UsageError, match="pairs of texts"):
        reader.classify(TEXTS[0])


def test_vectors_are_means_of_states_and_of_length_one(filler: Reader, tokenizer: WordPieceTokenizer) -> None:
    vectors = filler.embed(TEXTS)
    assert vectors.shape == (3, 12) and vectors.dtype == numpy.float32
    assert numpy.linalg.norm(vectors, axis=1) == pytest.approx([1.0] * 3, abs=1e-5)
    assert numpy.allclose(filler.embed(TEXTS[1]), vectors[1], atol=1e-5)
    ids = [tokenizer.begin_of_text, *tokenizer.encode(TEXTS[0]), tokenizer.end_of_text]
    with torch.no_grad():
        states = filler.model.encode(torch.tensor([ids]))[0]
    assert numpy.allclose(filler.embed(TEXTS[0], normalise=False), states.mean(dim=0).numpy(), atol=1e-5)
    assert numpy.allclose(filler.embed(TEXTS[0], pooling="cls", normalise=False), states[0].numpy(), atol=1e-5)


def test_a_million_characters_without_a_blank_are_read(filler: Reader, judge: Reader) -> None:
    text = "x" * 1_000_000
    assert judge.classify(text).windows == 1  # one word too long for the vocabulary: [UNK]
    assert numpy.isfinite(filler.embed(text)).all()
    assert filler.embed("-" * 20_000).shape == (12,)


def test_mixed_scripts_are_read(filler: Reader, judge: Reader) -> None:
    assert judge.classify("the 海 море \u0627\u0644\u0628\u062d\u0631 \U0001f30a house").label is not None


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_text_is_refused_by_its_number(judge: Reader, filler: Reader, text: str) -> None:
    with pytest.raises(DataError, match="text 2 of 2 is empty"):
        judge.classify(["a", text])
    with pytest.raises(DataError, match="text 1 of 1"):
        filler.embed(text)
    with pytest.raises(DataError, match="no text"):
        filler.fill(text)


def test_what_a_model_cannot_do_is_refused_with_the_way_out(
    filler: Reader, judge: Reader, tokenizer: WordPieceTokenizer, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"write \[MASK\]"):
        filler.fill("no mask here")
    with pytest.raises(UsageError, match="top must"):
        filler.fill("[MASK]", top=0)
    with pytest.raises(FormatError, match="guesses no words"):
        judge.fill("the [MASK]")
    with pytest.raises(UsageError, match="no labels"):
        filler.classify("a text")
    save(bert(tokenizer, "masked"), tokenizer, tmp_path / "reader")
    with pytest.raises(UsageError, match="headway fill"):
        Writer(tmp_path / "reader")
    save(bert(tokenizer, "masked"), None, tmp_path / "mute")
    with pytest.raises(FormatError, match="no tokenizer"):
        Reader(tmp_path / "mute")


def test_a_folder_says_what_its_reader_is(tokenizer: WordPieceTokenizer, judge: Reader, tmp_path: Path) -> None:
    save(judge.model, tokenizer, tmp_path / "judge")
    write_reader_settings(tmp_path / "judge", judge.settings)
    again = Reader(tmp_path / "judge", device="cpu")
    assert again.settings == judge.settings
    with pytest.raises(UsageError, match="verb is headway classify"):
        Writer(tmp_path / "judge")
    assert again.classify(TEXTS[0]).probabilities == pytest.approx(judge.classify(TEXTS[0]).probabilities, abs=1e-5)


def test_a_writer_embeds_too(tokenizer: WordPieceTokenizer) -> None:
    torch.manual_seed(3)
    model = GPT2(GPT2Config(vocabulary=tokenizer.size, context=16, width=12, n_layers=1, n_heads=2))
    assert Reader.of(model, tokenizer).embed(TEXTS).shape == (3, 12)


TAGS = ("O", "B-SHIP", "I-SHIP", "B-MAN", "I-MAN")


@pytest.fixture(scope="module")
def tagger(tokenizer: WordPieceTokenizer) -> Reader:
    return Reader.of(
        bert(tokenizer, "tag", len(TAGS)), tokenizer, ReaderSettings(task="tag", labels=TAGS, scheme="BIO")
    )


@pytest.fixture(scope="module")
def answerer(tokenizer: WordPieceTokenizer) -> Reader:
    return Reader.of(bert(tokenizer, "answer"), tokenizer, ReaderSettings(task="answer", stride=3))


def test_words_and_spans_stand_in_the_text_where_they_say(tagger: Reader) -> None:
    text = "  The R\u00e9d   house, by-the-sea;\u4e2d sea's end. " + "ship " * 30
    found = tagger.tag(text)
    assert [word.text for word in found.words[:7]] == ["The", "R\u00e9d", "house", ",", "by-the-sea", ";", "\u4e2d"]
    for part in (*found.words, *found.spans):
        assert text[part.start : part.end] == part.text
    assert all(word.tag in TAGS for word in found.words)
    assert len(found.words) == 7 + 3 + 30


def test_a_words_tag_is_that_of_its_first_piece(tagger: Reader, tokenizer: WordPieceTokenizer) -> None:
    text = "the lighthouses keep"
    ids, spans = tokenizer.encode_with_spans(text)
    with torch.no_grad():
        row = torch.tensor([[tokenizer.begin_of_text, *ids, tokenizer.end_of_text]])
        best = tagger.model(row)[0].argmax(dim=-1).tolist()
    expected = [TAGS[best[1 + place]] for place, (begin, _) in enumerate(spans) if begin in (0, 4, 16)]
    assert [word.tag for word in tagger.tag(text).words] == expected


def test_tags_do_not_depend_on_the_batch_and_strict_spans_are_fewer(tagger: Reader) -> None:
    texts = [*TEXTS, "sea " * 50]
    together = tagger.tag(texts)
    for text, one in zip(texts, together, strict=True):
        alone = tagger.tag(text)
        assert [word.tag for word in alone.words] == [word.tag for word in one.words]
        strict = tagger.tag(text, repair="strict")
        assert len(strict.spans) <= len(alone.spans)
        assert {word.tag for word in strict.words} == {word.tag for word in alone.words}


def test_the_best_answer_is_the_best_of_all_stretches(answerer: Reader, tokenizer: WordPieceTokenizer) -> None:
    question, context = "who saw", "nobody saw the sea"
    ids, spans = tokenizer.encode_with_spans(context)
    asked = tokenizer.encode(question)[:4]
    row = [tokenizer.begin_of_text, *asked, tokenizer.end_of_text, *ids, tokenizer.end_of_text]
    assert len(row) <= 16
    segments = [0] * (len(asked) + 2) + [1] * (len(ids) + 1)
    with torch.no_grad():
        scores = answerer.model(torch.tensor([row]), None, torch.tensor([segments]))[0]
    shift = len(asked) + 2
    stretches = {
        (begin, end): float(scores[shift + begin, 0] + scores[shift + end, 1])
        for begin in range(len(ids))
        for end in range(begin, len(ids))
    }
    (begin, end), best = max(stretches.items(), key=lambda item: item[1])
    found = answerer.answer(question, context, no_answer=False)
    assert (found.start, found.end) == (spans[begin][0], spans[end][1])
    assert found.text == context[found.start : found.end]
    assert found.score == pytest.approx(best, abs=1e-4)
    assert found.no_answer_score == pytest.approx(float(scores[0].sum()), abs=1e-4)


def test_an_answer_is_found_in_a_context_of_any_length(answerer: Reader) -> None:
    context = "the red house by the sea " * 400
    found = answerer.answers([("who", context)], top=3, no_answer=False)[0]
    assert len(found) == 3
    for one in found:
        assert context[one.start : one.end] == one.text
    places = sorted((one.start, one.end) for one in found)
    assert all(first[1] <= second[0] for first, second in zip(places, places[1:], strict=False))
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_no_answer_is_given_where_none_scores_higher(answerer: Reader, tokenizer: WordPieceTokenizer) -> None:
    plain = answerer.answer("who saw", "nobody saw the sea", no_answer=False)
    difference = plain.no_answer_score - plain.score
    for shift, empty in ((0.5, True), (-0.5, False)):
        settings = ReaderSettings(task="answer", stride=3, no_answer_threshold=difference - shift)
        found = Reader.of(answerer.model, tokenizer, settings).answer("who saw", "nobody saw the sea")
        assert (found.text == "") == empty


@pytest.mark.night
def test_a_context_of_100_000_words_is_searched(answerer: Reader) -> None:
    context = "nobody saw the lighthouse keeper again " * 17_000
    assert answerer.answer("who saw", context, no_answer=False).text


def test_each_reader_names_the_verb_that_is_its_own(tagger: Reader, answerer: Reader) -> None:
    with pytest.raises(UsageError, match="its own verb is headway tag"):
        tagger.answer("who", "a context")
    with pytest.raises(UsageError, match="its own verb is headway answer"):
        answerer.classify("a text")
    with pytest.raises(DataError, match="empty"):
        answerer.answer("", "a context")
    with pytest.raises(UsageError, match="lenient or strict"):
        tagger.tag("a text", repair="loose")  # type: ignore[arg-type]
