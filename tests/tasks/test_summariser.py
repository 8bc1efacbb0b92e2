"""Summariser: documents in, summaries out; what is too long is read in windows of whole sentences."""

import pytest
from copying import copier

from headway.errors import UsageError
from headway.tasks.summariser import Summariser


def test_a_document_that_fits_is_read_at_once() -> None:
    found = Summariser(copier()).summarise("One line.\n\n  Another   line.\n", beam=1)
    assert (found.text, found.windowed) == ("One line. Another line.", False)


def test_a_long_document_is_read_in_windows_of_whole_sentences() -> None:
    document = "\n".join(f"Sentence number {number}." for number in range(9))
    found = Summariser(copier()).summarise(document, beam=1, longest=50)
    assert found.windowed and found.text == document.replace("\n", " ")
    assert [piece.text.count(".") for piece in found.pieces] == [2, 2, 2, 2, 1]


def test_a_list_in_gives_a_list_out_and_nothing_stays_nothing() -> None:
    found = Summariser(copier()).summarise(["b", "", " \n ", "a"], beam=1)
    assert [one.text for one in found] == ["b", "", "", "a"]


def test_arguments_are_the_translators() -> None:
    assert Summariser(copier()).summarise("abcdef", max_new_tokens=2).text == "ab"
    with pytest.raises(UsageError, match="min_ratio"):
        Summariser(copier()).summarise("abc", min_ratio=2.0, max_ratio=1.0)
