"""Tagged sentences, questions with answers, windows, and the layout of rows."""

import json
from pathlib import Path

import pytest

from headway.corpus.layout_of_texts import added, lay_out, room_for_two
from headway.corpus.questions import read_questions
from headway.corpus.strides import windows, word_windows
from headway.corpus.tagged import read_tagged
from headway.errors import ConfigError, DataError
from headway.text.tokenizer import Tokenizer
from headway.text.word_piece_training import train_word_piece

DATA = Path(__file__).parents[1] / "data"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_of_words_and_tags(tmp_path: Path) -> None:
    text = "-DOCSTART- -X- O\n\nJane NNP B-PER\nAusten NNP I-PER\n\n\n# NN O\nwrote VB O\n"
    (first, second) = read_tagged(write(tmp_path / "a.conll", text)).sentences
    assert first.words == ("Jane", "Austen") and first.tags == ("B-PER", "I-PER")
    assert second.words == ("#", "wrote") and second.tags == ("O", "O")
    found = read_tagged(tmp_path / "a.conll", tag_field="2")
    assert found.scheme == "none" and found.sentences[0].tags == ("NNP", "NNP")


def test_broken_tags_are_mended_and_counted_or_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", "a B-X\nb I-X\n\nc I-X\nd I-Y\n\ne O\n")
    found = read_tagged(path)
    assert found.repaired == 1 and found.sentences[1].tags == ("B-X", "B-Y") and found.example.endswith(":4")
    with pytest.raises(DataError, match="word 1 has 'I-X' at the beginning"):
        read_tagged(path, strict=True)
    assert read_tagged(write(tmp_path / "b.conll", "a U-X\nb B-X\nc L-X\n")).repaired == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no sentences"),
        ("\n\n", "no sentences"),
        ("word\nword\n", "1 columns"),
        ("a O\nb X O\n", r":2 has 3 columns, but the lines before have 2"),
        ("".join(f"a tag{number}\n" for number in range(99)), "hardly tags"),
    ],
)
def test_files_that_hold_no_tagged_words_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_tagged(write(tmp_path / "a.conll", text))


def test_questions_of_json_lines_and_of_squad(tmp_path: Path) -> None:
    flat = {"context": "red and red", "question": "which?", "answer": "red", "start": 8}
    squad = {
        "data": [
            {
                "paragraphs": [
                    {
                        "context": "red and red",
                        "qas": [
                            {"id": "1", "question": "which?", "answers": [{"text": "red", "answer_start": 8}]},
                            {"id": "2", "question": "why?", "answers": [], "is_impossible": True},
                        ],
                    }
                ]
            }
        ]
    }
    (one,) = read_questions(write(tmp_path / "a.jsonl", json.dumps(flat) + "\n")).questions
    two, none = read_questions(write(tmp_path / "a.json", json.dumps(squad))).questions
    assert (one.answers, one.starts) == (two.answers, two.starts) == (("red",), (8,))
    assert none.answers == () and none.id == "2"


def test_an_answer_that_stands_elsewhere_is_found_and_one_that_stands_nowhere_is_left_out(tmp_path: Path) -> None:
    rows = [{"context": "a red hat", "question": "which?", "answer": "red", "start": 5} for _ in range(9)]
    rows.append({"context": "a red hat", "question": "which?", "answer": "blue"})
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    found = read_questions(path)
    assert found.questions[0].starts == (2,) and found.left_out == 1 and found.examples[0].endswith(":10")
    write(path, "".join(json.dumps(row) + "\n" for row in rows[-3:]))
    with pytest.raises(DataError, match="1 of 3 .*do not, first at .*:3"):
        read_questions(path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", "", "no questions"),
        ("a.jsonl", '{"question": "what?", "answer": "x"}\n', "no text 'context'"),
        ("a.jsonl", '{"context": "x", "question": "what?"}\n', "neither an answer"),
        ("a.json", '{"data": [{"paragraphs": [{"qas": [{}]}]}]}', "not as SQuAD"),
        ("a.json", '{"rows": []}', 'must hold a table with "data"'),
        ("a.json", "{", "not JSON"),
        ("a.jsonl", '{"context": "x", "question": "?", "answers": [3]}\n', "an answer is a text"),
    ],
)
def test_files_that_hold_no_questions_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_questions(write(tmp_path / name, text))


def test_samples_are_whole() -> None:
    found = read_questions(DATA / "questions" / "coqa.jsonl")
    assert found.left_out == 0
    for question in found.questions:
        for answer, start in zip(question.answers, question.starts, strict=True):
            assert question.context[start : start + len(answer)] == answer


@pytest.mark.parametrize(("length", "room", "overlap"), [(0, 5, 2), (5, 5, 2), (6, 5, 2), (41, 7, 3), (1000, 13, 0)])
def test_windows_cover_all_overlap_and_are_full(length: int, room: int, overlap: int) -> None:
    found = windows(length, room, overlap)
    assert found[0][0] == 0 and found[-1][1] == length
    for (begin, end), (after, _) in zip(found, found[1:], strict=False):
        assert end - begin == room and after > begin and end - after >= overlap
    with pytest.raises(ConfigError, match="data.stride"):
        windows(9, 5, 5)


def test_words_are_never_divided_by_windows() -> None:
    assert word_windows([2, 2, 2, 1], 4) == [(0, 2), (2, 4)]
    assert word_windows([9, 1, 1], 4) == [(0, 1), (1, 3)]
    assert word_windows([1, 2], 4) == [(0, 2)]


def test_rows_have_their_ends() -> None:
    tokenizer = train_word_piece(["a b c d e f g"], 40)
    begin, end = tokenizer.begin_of_text, tokenizer.end_of_text
    assert lay_out(tokenizer, [7, 8]) == ([begin, 7, 8, end], [0, 0, 0, 0])
    assert lay_out(tokenizer, [7], [8, 9]) == ([begin, 7, end, 8, 9, end], [0, 0, 0, 1, 1, 1])
    assert (added(tokenizer, False), added(tokenizer, True)) == (2, 3)
    bytes_of = Tokenizer.load("gpt2")
    assert lay_out(bytes_of, [7]) == ([7, bytes_of.end_of_text], [0, 0])
    assert added(bytes_of, True) == 2


def test_of_two_texts_the_longer_is_cut() -> None:
    assert room_for_two(10, 3, 4) == (3, 4)
    assert room_for_two(10, 3, 40) == (3, 7)
    assert room_for_two(10, 30, 2) == (8, 2)
    assert room_for_two(11, 30, 40) == (5, 6)
