"""Tasks by file: which kind, which parts, and the mistakes that are named."""

import json
from pathlib import Path

import pytest
from readings import write_all

from headway.corpus.labelled import read_labelled
from headway.corpus.questions import read_questions
from headway.errors import ConfigError, DataError
from headway.studies.task_files import divide_task, task_files
from headway.training.recipe import DataSettings

DATA = DataSettings(path="text")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return write_all(tmp_path / "given")


def test_the_kind_is_told_by_the_file(place: Path) -> None:
    (place / "squad.json").write_text("{}")
    found = task_files([str(place / name) for name in ("moods.tsv", "where.jsonl", "squad.json")])
    assert [(task.name, task.kind) for task in found] == [
        ("moods", "classify"),
        ("where", "answer"),
        ("squad", "answer"),
    ]


def test_name_kind_and_test_file_may_be_said(place: Path) -> None:
    (place / "more.train.tsv").write_text("pos\tgood\n")
    (found,) = task_files([f"mine=classify:{place / 'moods.tsv'}+{place / 'more.train.tsv'}"])
    assert (found.name, found.kind, found.path.name) == ("mine", "classify", "moods.tsv")
    assert found.test is not None and found.test.name == "more.train.tsv"
    (plain,) = task_files([str(place / "more.train.tsv")])
    assert plain.name == "more" and plain.test is None


def test_a_file_with_a_plus_in_its_name_is_that_file(place: Path) -> None:
    (place / "a+b.tsv").write_text("pos\tgood\n")
    (found,) = task_files([f"both={place / 'a+b.tsv'}"])
    assert found.path.name == "a+b.tsv" and found.test is None


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("{place}/moods.tsv,{place}/moods.tsv", ConfigError, "two tasks are called moods"),
        ("x=embed:{place}/moods.tsv", ConfigError, "classify or answer, but got 'embed'"),
        ("a-b={place}/moods.tsv", ConfigError, "letters, digits and _"),
        ("{place}/absent.tsv", DataError, "absent.tsv"),
        ("{place}/text", DataError, "no file"),
    ],
)
def test_mistakes_are_named(place: Path, text: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        task_files(text.format(place=place).split(","))


def test_no_text_stands_in_two_parts_and_all_stand_in_one(place: Path, tmp_path: Path) -> None:
    (task,) = task_files([str(place / "moods.tsv")])
    found = divide_task(task, tmp_path / "moods", DATA, test_share=0.2, most=1000)
    parts = [
        [example.text for example in read_labelled(tmp_path / "moods" / f"{name}.jsonl")]
        for name in ("train", "validation", "test")
    ]
    assert [len(part) for part in parts] == [found.train, found.validation, found.test] and sum(map(len, parts)) == 80
    assert not set(parts[0]) & set(parts[1]) and not set(parts[0]) & set(parts[2]) and not set(parts[1]) & set(parts[2])
    assert found.labels == ("neg", "pos") and not found.test_is_given


def test_questions_keep_their_answers_and_where_they_stand(place: Path, tmp_path: Path) -> None:
    (task,) = task_files([str(place / "where.jsonl")])
    divide_task(task, tmp_path / "where", DATA, test_share=0.2, most=5)
    test = read_questions(tmp_path / "where" / "test.jsonl").questions
    given = {one.question + one.context: one for one in read_questions(place / "where.jsonl").questions}
    assert len(test) == 5
    for one in test:
        before = given[one.question + one.context]
        assert (one.answers, one.starts) == (before.answers, before.starts)


def test_questions_without_an_answer_stay_without(tmp_path: Path) -> None:
    rows = [
        {"context": f"Ann slept at {number}.", "question": "Who slept?", "answers": [] if number % 2 else ["Ann"]}
        for number in range(80)
    ]
    (tmp_path / "who.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (task,) = task_files([str(tmp_path / "who.jsonl")])
    divide_task(task, tmp_path / "who", DATA, test_share=0.3, most=1000)
    found = read_questions(tmp_path / "who" / "test.jsonl").questions
    assert {one.answers for one in found} == {(), ("Ann",)}


def test_a_given_test_file_leaves_all_of_the_other_to_learn_from(place: Path, tmp_path: Path) -> None:
    (tmp_path / "test.tsv").write_text("pos\tgood\nneg\tbad\n")  # too few to tell by themselves which is the label
    (task,) = task_files([f"{place / 'moods.tsv'}+{tmp_path / 'test.tsv'}"])
    found = divide_task(task, tmp_path / "parts", DATA, test_share=0.2, most=1000)
    assert found.test_is_given and found.test == 2 and found.train + found.validation == 80


def test_a_label_that_is_never_trained_on_is_named(place: Path, tmp_path: Path) -> None:
    (tmp_path / "test.tsv").write_text("odd\tstrange\n")
    (task,) = task_files([f"{place / 'moods.tsv'}+{tmp_path / 'test.tsv'}"])
    with pytest.raises(DataError, match="'odd'"):
        divide_task(task, tmp_path / "parts", DATA, test_share=0.2, most=1000)


def test_pairs_of_texts_are_kept_as_pairs(tmp_path: Path) -> None:
    lines = [f"one {number}\tother {number}\t{'same' if number % 3 else 'apart'}\n" for number in range(60)]
    (tmp_path / "pairs.tsv").write_text("text\tother\tlabel\n" + "".join(lines))
    (task,) = task_files([str(tmp_path / "pairs.tsv")])
    divide_task(task, tmp_path / "parts", DATA, test_share=0.2, most=1000)
    found = list(read_labelled(tmp_path / "parts" / "test.jsonl", text_field="text", other_field="other"))
    assert found and all(one.other == one.text.replace("one", "other") for one in found)
    assert (tmp_path / "parts" / "paired").exists()
