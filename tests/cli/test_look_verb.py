"""`headway look`: an alignment as a table, a picture, a page or an object."""

import json
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest
from test_translate_verb import fixed, translating  # noqa: F401  # fixtures

from headway.tasks.translator import Translator


def test_the_table_has_a_row_for_each_word_of_the_translation(command: Callable, translating: Path) -> None:  # noqa: F811
    finished = command("look", translating, "Where is it?", "--target", "Ou est il ?")
    lines = finished.out.splitlines()
    assert finished.code == 0 and lines[:2] == ["Where is it?", "Ou est il ?"]
    assert [line.split()[0] for line in lines[-4:]] == ["Ou", "est", "il", "?"]
    assert all(line.endswith("%") for line in lines[-4:])


def test_json_is_the_librarys_alignment(command: Callable, translating: Path) -> None:  # noqa: F811
    words = ("look", translating, "Where is it?", "--target", "Ou est il ?", "--json")
    expected = Translator(translating, device="cpu").align(["Where is it?"], ["Ou est il ?"], head=(1, 0))[0]
    found = json.loads(command(*words, "--layer", "1", "--head", "0").out)
    assert found["target_words"] == expected.target_words and found["links"] == [list(link) for link in expected.links]
    for got, wanted in zip(found["weights"], expected.weights, strict=True):
        assert got == pytest.approx(wanted)
    assert json.loads(command(*words).out)["weights"] != found["weights"]


def test_pictures_and_pages_are_written(command: Callable, translating: Path, tmp_path: Path) -> None:  # noqa: F811
    finished = command(
        "look",
        translating,
        "<b>Where</b> & مرحبا",
        "--svg",
        tmp_path / "a.svg",
        "--html",
        tmp_path / "a.html",
        "--tokens",
    )
    assert (finished.code, finished.out) == (0, "") and "a.svg" in finished.err and "a.html" in finished.err
    ElementTree.parse(tmp_path / "a.svg")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<b>Where" not in page and "&lt;b&gt;Where" in page and "layer but one" in page


def test_what_cannot_be_looked_at_is_refused_with_a_reason(
    command: Callable,
    translating: Path,  # noqa: F811
    fixed: Path,  # noqa: F811
    tiny: Path,
) -> None:
    for words, code, said in (
        ((tiny, "one", "--target", "un"), 2, "translators"),
        ((tiny, "one", "--layer", "1"), 2, "--json"),
        ((tiny, "one", "--ablate", "x"), 2, "layer.head"),
        ((tiny, "one", "--ablate", "7.0"), 2, "ablate"),
        ((tiny, "--pairs", "pairs.tsv"), 2, "reads no source"),
        ((tiny, "one", "--spectrum", "-o", "x.html"), 2, "--spectrum"),
        ((translating, "one", "--svg", "x.svg", "-o", "x.html"), 2, "alignments"),
        ((fixed, "one", "--target", "un"), 2, "bottleneck"),
        ((translating, ""), 3, "no text"),
        ((translating, "word " * 40), 3, "too long"),
        ((translating, "word", "--target", "mot " * 40), 3, "context"),
        ((translating, "one", "--head", "1"), 2, "--layer"),
        ((translating, "one", "--layer", "7"), 2, "2 layers"),
    ):
        finished = command("look", *words)
        assert finished.code == code and said in finished.err and len(finished.err.splitlines()) <= 6, finished


def test_heads_are_ranked_on_pairs_and_the_best_is_remembered(
    command: Callable,
    translating: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(translating, mine)
    (tmp_path / "pairs.tsv").write_text("one two\tun deux\na b c\ta b c\n", encoding="utf-8")
    (tmp_path / "gold.txt").write_text("0-0 1-1\n0-0 1p1 2-2\n", encoding="utf-8")
    words = ("look", mine, "--pairs", tmp_path / "pairs.tsv")
    by_diagonal = json.loads(command(*words, "--json").out)
    assert len(by_diagonal["heads"]) == 6 and by_diagonal["heads"][0]["error_rate"] is None
    found = json.loads(command(*words, "--gold", tmp_path / "gold.txt", "--remember", "--json").out)["heads"]
    assert [one["error_rate"] for one in found] == sorted(one["error_rate"] for one in found)
    remembered = json.loads((mine / "generation_config.json").read_text(encoding="utf-8"))["headway_alignment_head"]
    assert remembered == [found[0]["layer"], found[0]["head"]]
    table = command(*words)
    assert table.code == 0 and len(table.out.splitlines()) == 7
    for missing, wrong in (
        ("none.txt", (*words, "--gold", "none.txt")),
        ("none.tsv", ("look", mine, "--pairs", "none.tsv")),
    ):
        finished = command(*wrong)
        assert finished.code == 3 and missing in finished.err
    assert command("look", mine, "one", "--remember").code == 2


def test_a_spectrum_is_shown_of_any_model(command: Callable, tiny: Path, translating: Path, tmp_path: Path) -> None:  # noqa: F811
    finished = command("look", tiny, "--spectrum")
    assert finished.code == 0 and "learned positions" in finished.out and "Without a text" in finished.out
    text = "the cat sat on the mat, and the dog sat on the cat. " * 60
    found = json.loads(command("look", tiny, text, "--spectrum", "--json").out)
    assert found["window"] == 23 and len(found["heads"]) == 4 and found["readings"][0]["where"] == "embedding"
    finished = command("look", tiny, text, "--spectrum", "--svg", tmp_path / "s.svg", "--html", tmp_path / "s.html")
    assert (finished.code, finished.out) == (0, "") and "s.svg" in finished.err and "s.html" in finished.err
    ElementTree.parse(tmp_path / "s.svg")
    assert "effective rank" in (tmp_path / "s.html").read_text(encoding="utf-8")
    assert command("look", translating, "one two", "--spectrum").code == 0


def test_a_spectrum_that_cannot_be_shown_is_refused(
    command: Callable,
    tiny: Path,
    fixed: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    for words, code, said in (
        (("--spectrum",), 2, "model"),
        ((tiny, "one", "--spectrum", "--layer", "1"), 2, "alignments"),
        ((tiny, "", "--spectrum"), 3, "no text"),
        ((fixed, "one", "--spectrum"), 2, "no spectrum"),
        ((tmp_path / "none", "--spectrum"), None, "none"),
    ):
        finished = command("look", *words)
        assert finished.code == code or (code is None and finished.code != 0), finished
        assert said in finished.err and len(finished.err.splitlines()) <= 6, finished


def test_a_writer_shows_tokens_surprise_and_heads(command: Callable, tiny: Path) -> None:
    finished = command("look", tiny, "ab \x1b[2J")
    lines = finished.out.splitlines()
    assert finished.code == 0 and lines[0].split() == ["token", "bits"] and lines[1].split() == ['"a"']
    assert '"\\x1b"' in finished.out and "\x1b" not in finished.out  # a terminal is told nothing by a text
    assert "previous token" in finished.out and "repeats" in finished.out
    found = json.loads(command("look", tiny, "ab ab", "--json", "--layer", "1", "--ablate", "0.1", "--ablate", "1").out)
    assert [token["text"] for token in found["tokens"]] == ["a", "b", " ", "a", "b"]
    assert list(found["attention"]) == ["1"] and found["without_ablation"]["surprise"] != found["surprise"]


def test_the_page_of_all_views_is_written_for_writers_and_translators(
    command: Callable,
    tiny: Path,
    translating: Path,  # noqa: F811
    fixed: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    for number, (model, text) in enumerate(((tiny, "</script><b>x"), (translating, "Where is it?"), (fixed, "one"))):
        page = tmp_path / f"{number}.html"
        finished = command("look", model, text, "-o", page)
        assert (finished.code, finished.out) == (0, "") and page.name in finished.err, finished
        assert page.read_text(encoding="utf-8").count("</script>") == 2
    assert "cross.1" in (tmp_path / "1.html").read_text(encoding="utf-8")
    assert command("look", tiny, "one", "--html", tmp_path / "same.html").code == 0
    assert (tmp_path / "same.html").exists()
