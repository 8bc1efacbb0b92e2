"""Scores of taggers equal seqeval's, leniently and strictly, on generated tags, sound and broken."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from seqeval import metrics
    from seqeval.scheme import IOB2, IOBES

from headway.corpus.tag_schemes import Span, tags_of
from headway.errors import DataError, UsageError
from headway.evaluation.bootstrap import Resampling
from headway.evaluation.span_scores import score_spans, score_tags

FEW = Resampling(resamples=19)
SCHEMES = {"BIO": ("BI", IOB2), "BIOES": ("BIES", IOBES)}


def tag_lists(prefixes: str) -> st.SearchStrategy[list[tuple[list[str], list[str]]]]:
    """Sentences of (true, predicted) tags, each tag drawn alone, so that most break the scheme."""
    tag = st.sampled_from(["O", *(f"{prefix}-{label}" for prefix in prefixes for label in ("PER", "LOC"))])
    sentence = st.lists(st.tuples(tag, tag), min_size=1, max_size=9)
    return st.lists(sentence.map(lambda words: ([a for a, _ in words], [b for _, b in words])), min_size=1, max_size=5)


def check_against_seqeval(pairs: list[tuple[list[str], list[str]]], scheme: str, strict: bool) -> None:
    truth, predicted = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    found = score_tags(truth, predicted, scheme, strict=strict, resampling=FEW)
    mode = {"mode": "strict", "scheme": SCHEMES[scheme][1]} if strict else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for value, score in (
            (found.precision, metrics.precision_score),
            (found.recall, metrics.recall_score),
            (found.f1, metrics.f1_score),
        ):
            assert value == pytest.approx(score(truth, predicted, zero_division=0, **mode))
        if found.labels:
            macro = metrics.f1_score(truth, predicted, average="macro", zero_division=0, **mode)
            assert found.macro_f1 == pytest.approx(macro)
            report = metrics.classification_report(truth, predicted, output_dict=True, zero_division=0, **mode)
            for part in found.by_label:
                wanted = report[part.label]
                assert (part.precision, part.recall, part.f1) == pytest.approx(
                    (wanted["precision"], wanted["recall"], wanted["f1-score"])
                )
                assert part.examples == wanted["support"]
        assert found.word_accuracy == pytest.approx(metrics.accuracy_score(truth, predicted))


@settings(deadline=None, max_examples=60)
@given(tag_lists("BI"))
def test_lenient_scores_of_bio_equal_seqeval(pairs: list[tuple[list[str], list[str]]]) -> None:
    check_against_seqeval(pairs, "BIO", strict=False)


@settings(deadline=None, max_examples=60)
@given(tag_lists("BIES"))
def test_lenient_scores_of_bioes_equal_seqeval(pairs: list[tuple[list[str], list[str]]]) -> None:
    check_against_seqeval(pairs, "BIOES", strict=False)


@settings(deadline=None, max_examples=60)
@given(tag_lists("BI"))
def test_strict_scores_of_bio_equal_seqeval(pairs: list[tuple[list[str], list[str]]]) -> None:
    check_against_seqeval(pairs, "BIO", strict=True)


@settings(deadline=None, max_examples=60)
@given(tag_lists("BIES"))
def test_strict_scores_of_bioes_equal_seqeval(pairs: list[tuple[list[str], list[str]]]) -> None:
    check_against_seqeval(pairs, "BIOES", strict=True)


def test_scores_worked_by_hand() -> None:
    truth = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-LOC"]]
    predicted = [["B-PER", "I-PER", "O", "B-PER"], ["B-LOC", "B-LOC"]]
    found = score_tags(truth, predicted, "BIO", resampling=FEW)
    assert (found.sentences, found.spans, found.predicted) == (2, 3, 4)
    assert (found.precision, found.recall, found.f1) == pytest.approx((2 / 4, 2 / 3, 4 / 7))
    assert found.word_accuracy == pytest.approx(4 / 6)


def test_spans_and_their_tags_score_alike() -> None:
    truth = [[Span(0, 2, "PER"), Span(3, 5, "LOC")], [Span(1, 2, "LOC")]]
    predicted = [[Span(0, 2, "PER"), Span(3, 4, "LOC")], [Span(1, 2, "PER")]]
    by_spans = score_spans(truth, predicted, resampling=FEW)
    tags = [[tags_of(spans, 5, "BIOES") for spans in sentences] for sentences in (truth, predicted)]
    by_tags = score_tags(tags[0], tags[1], "BIOES", strict=True, resampling=FEW)
    assert (by_spans.f1, by_spans.by_label) == (by_tags.f1, by_tags.by_label)
    assert by_spans.word_accuracy is None


def test_tags_of_single_words_are_scored_as_accuracy() -> None:
    found = score_tags([["NOUN", "VERB"], ["NOUN"]], [["NOUN", "NOUN"], ["NOUN"]], "none", resampling=FEW)
    assert found.f1 == pytest.approx(2 / 3) == found.word_accuracy


def test_unequal_numbers_and_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="sentence 2 has 1 words, 2 tags"):
        score_tags([["O"], ["O"]], [["O"], ["O", "O"]], "BIO")
    with pytest.raises(UsageError, match="2 have those of 1"):
        score_tags([["O"], ["O"]], [["O"]], "BIO")
    with pytest.raises(DataError, match="no sentence"):
        score_tags([], [], "BIO")
