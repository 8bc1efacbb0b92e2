"""What is kept aside to measure on: whole documents by their text, or the end of the only one."""

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.corpus.readers import Document
from headway.corpus.validation import ValidationPlan, divide, plan_validation

WORDS = ["sun", "moon", "stars", "a longer text of some words\n\nand paragraphs", "x" * 200]


def named(texts: list[str]) -> list[Document]:
    return [Document(text, f"{number}") for number, text in enumerate(texts)]


def sides(documents: list[Document], plan: ValidationPlan) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"train": [], "validation": []}
    for name, document in divide(documents, plan):
        found[name].append(document.text)
    return found


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.text(st.sampled_from("ab \n"), min_size=1, max_size=60), min_size=1, max_size=12),
    st.floats(0.01, 0.5),
    st.integers(0, 5),
)
def test_nothing_is_lost_copies_stay_together_and_both_sides_have_text(
    texts: list[str], share: float, seed: int
) -> None:
    documents = named(texts)
    plan = plan_validation(documents, share=share, seed=seed)
    assert plan == plan_validation(documents, share=share, seed=seed)
    found = sides(documents, plan)
    if len(set(texts)) > 1:
        assert plan.kind == "documents"
        assert sorted(found["train"] + found["validation"]) == sorted(texts)
        assert found["train"] and found["validation"]
        assert not set(found["train"]) & set(found["validation"])
    elif len(texts[0]) > 1:
        assert plan.kind == "tail"
        assert [a + b for a, b in zip(found["train"], found["validation"], strict=True)] == texts
    else:
        assert plan.kind == "none"
        assert found["train"] == texts


def test_a_few_documents_are_taken_as_long_as_they_fit_into_the_share() -> None:
    documents = named(["x" * 900] + [f"{number:02}" * 5 for number in range(10)])
    for seed in range(10):
        found = sides(documents, plan_validation(documents, share=0.05, seed=seed))
        assert len(found["validation"]) == 5 and all(len(text) == 10 for text in found["validation"])


def test_the_smallest_document_is_kept_aside_where_none_fits(caplog: pytest.LogCaptureFixture) -> None:
    documents = named(["x" * 50, "y" * 40, "z" * 45])
    with caplog.at_level(logging.WARNING):
        found = sides(documents, plan_validation(documents, share=0.1, seed=3))
    assert found["validation"] == ["y" * 40]
    assert "29.6 %" in caplog.text and "--set data.validation=PATH" in caplog.text


def test_many_documents_are_chosen_by_their_digest_in_about_the_share() -> None:
    documents = named([f"document {number}" for number in range(20_000)])
    plan = plan_validation(documents, share=0.05, seed=7)
    assert plan.threshold and not plan.digests
    chosen = sides(documents, plan)["validation"]
    assert 900 < len(chosen) < 1100
    assert chosen != sides(documents, plan_validation(documents, share=0.05, seed=11))["validation"]
    fewer = plan_validation(documents[:5000], share=1e-9, seed=7)
    assert len(sides(documents[:5000], fewer)["validation"]) == 1


def test_the_tail_of_the_only_document_begins_at_a_paragraph_line_or_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for unit in ("One paragraph of words.\n\n", "a line of words\n", "word "):
        text = unit * 40
        with caplog.at_level(logging.INFO):
            plan = plan_validation(named([text]), share=0.25, seed=1)
        found = sides(named([text]), plan)
        assert found == {"train": [unit * 30], "validation": [unit * 10]}
    assert "there is but one document" in caplog.text
    assert sides(named(["x" * 20]), plan_validation(named(["x" * 20]), share=0.25, seed=1)) == {
        "train": ["x" * 15],
        "validation": ["x" * 5],
    }


@pytest.mark.parametrize("share", [0.02, 0.2, 0.3, 0.4, 0.5])
def test_the_tail_of_a_document_in_pieces_ends_each_side_once(share: float) -> None:
    pieces = [Document("abcdefghi\n" * 2, "a", more=number < 4) for number in range(5)]
    plan = plan_validation(pieces, share=share, seed=1)
    found = list(divide(pieces, plan))
    assert "".join(document.text for _, document in found) == "abcdefghi\n" * 10
    for name in ("train", "validation"):
        flags = [document.more for split, document in found if split == name]
        assert flags == [True] * (len(flags) - 1) + [False]
    assert [split for split, _ in found] == sorted(split for split, _ in found)


def test_pieces_of_a_document_stay_together() -> None:
    documents = [
        Document("first ", "a", more=True),
        Document("and second", "a"),
        Document("other", "b"),
        Document("third", "c", more=True),
        Document(" and fourth", "c"),
    ]
    for seed in range(5):
        found = sides(documents, plan_validation(documents, share=0.5, seed=seed))
        assert ("first " in found["train"]) == ("and second" in found["train"])
        assert ("third" in found["train"]) == (" and fourth" in found["train"])


def test_a_share_of_nothing_keeps_all_for_training() -> None:
    documents = named(WORDS)
    assert sides(documents, plan_validation(documents, share=0, seed=1))["train"] == WORDS
