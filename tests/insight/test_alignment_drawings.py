"""Alignments drawn: the numbers are there, every word is, and no text can break out of the drawing."""

import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.insight.alignment_grid import AlignmentGrid, cells_of, grid_of, shortened, shown
from headway.insight.alignment_html import alignment_html, alignment_rows
from headway.insight.alignment_svg import alignment_svg, description
from headway.insight.alignment_table import PLAIN_SHADES, alignment_table
from headway.tasks.alignment import Alignment

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = ["<script>alert(1)</script>", "&amp;", '"><svg onload=x>', "\x1b[31m", "\x00", "\u202eabc", "\udce9", "]]>"]


def grid(rows: list[str], columns: list[str], weights: list[list[float]] | None = None) -> AlignmentGrid:
    alignment = Alignment(
        source_text=" ".join(columns),
        target_text=" ".join(rows),
        source_tokens=columns,
        target_tokens=rows,
        weights=weights or [[1 / len(columns)] * len(columns) for _ in rows],
        source_spans=[],
        target_spans=[],
        source_words=columns,
        target_words=rows,
        word_weights=weights or [[1 / len(columns)] * len(columns) for _ in rows],
        links=[],
    )
    return grid_of(alignment)


EXAMPLE = grid(["un", "jardin"], ["a", "garden", "<end>"], [[0.9, 0.08, 0.02], [0.1, 0.6, 0.3]])


class Elements(HTMLParser):
    """Every element's name in a page; and that each one opened is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not any(name.startswith("on") for name, _ in attrs)
        self.names.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_table_shades_each_cell_and_names_the_strongest() -> None:
    assert alignment_table(EXAMPLE).splitlines()[-2:] == [
        "    un  \u2588\u2588\u2591\u2591    a 90%",
        "jardin  \u2591\u2591\u2593\u2593\u2592\u2592  garden 60%",
    ]
    assert alignment_table(EXAMPLE, shades=PLAIN_SHADES).splitlines()[-1] == "jardin  ..::  garden 60%".replace(
        "..::", "..**::"
    )


def test_the_tables_heading_spells_source_words_downwards() -> None:
    heading = alignment_table(EXAMPLE).splitlines()[:-2]
    assert len(heading) == 6
    assert "".join(line[8:9] for line in heading).strip() == "a"
    assert "".join(line[10:11] for line in heading) == "garden"
    assert "".join(line[12:13] for line in heading).strip() == "<end>"


def test_a_table_too_wide_goes_on_in_blocks_that_hold_every_word_once() -> None:
    columns = [f"w{number}" for number in range(40)]
    weights = [[float(at == row) for at in range(40)] for row in range(40)]
    table = alignment_table(grid([f"z{number}" for number in range(40)], columns, weights), width=40)
    assert max(map(cells_of, table.splitlines())) <= 40
    assert table.count("\u2588") == 2 * 40
    assert all(f"w{number} 100%" in table for number in range(40))


def test_wide_and_joined_characters_keep_the_columns_in_line() -> None:
    words = ["中文", "👩‍👧", "cafe\u0301", "مرحبا"]
    weights = [[float(at == row) for at in range(4)] for row in range(4)]
    lines = alignment_table(grid(words, words, weights)).splitlines()[-4:]
    starts = [cells_of(line[: line.index("\u2588")]) for line in lines]
    assert starts == [starts[0] + 2 * at for at in range(4)]


def test_the_picture_is_well_formed_and_says_every_number() -> None:
    root = ElementTree.fromstring(alignment_svg(EXAMPLE, title="A garden"))
    assert root.find(f"{SVG}title").text == "A garden"  # type: ignore[union-attr]
    assert "jardin reads garden most (60%)" in root.find(f"{SVG}desc").text  # type: ignore[union-attr, operator]
    cells = root.findall(f".//{SVG}rect[@fill-opacity]")
    assert [float(cell.get("fill-opacity", "")) for cell in cells] == [0.9, 0.08, 0.02, 0.1, 0.6, 0.3]
    assert cells[4].find(f"{SVG}title").text == "jardin \u2190 garden: 60%"  # type: ignore[union-attr]
    assert [label.text for label in root.iter(f"{SVG}tspan")] == ["un", "jardin", "a", "garden", "<end>"]
    places = {(cell.get("x"), cell.get("y")) for cell in cells}
    assert len({x for x, _ in places}) == 3 and len({y for _, y in places}) == 2


def test_the_page_stands_alone_with_a_table_of_the_same_numbers() -> None:
    page = alignment_html(EXAMPLE, title="A garden", note="From a test.")
    found = Elements(page)
    assert found.open == [] and found.names.count("table") == 1 and found.names.count("svg") == 1
    assert not {"script", "link", "img", "iframe"} & set(found.names)
    assert page.replace("http://www.w3.org/2000/svg", "").find("http") == -1
    assert "From a test." in page and page.count('scope="row"') == 2 and page.count('scope="col"') == 3
    assert ">60</td>" in alignment_rows(EXAMPLE)


@pytest.mark.parametrize("word", HOSTILE)
def test_no_word_breaks_out_of_a_drawing(word: str) -> None:
    made = grid([word], [word, word])
    picture = alignment_svg(made, title=word)
    assert ElementTree.fromstring(picture).find(f".//{SVG}script") is None
    found = Elements(alignment_html(made, title=word, note=word))
    assert found.open == [] and "script" not in found.names
    table = alignment_table(made)
    assert not any(ord(character) < 32 and character != "\n" for character in table) and "\u202e" not in table
    (picture + table).encode("utf-8")


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.text(max_size=12), max_size=4), columns=st.lists(st.text(max_size=12), min_size=1, max_size=5))
def test_any_words_can_be_drawn(rows: list[str], columns: list[str]) -> None:
    made = grid(rows, columns)
    ElementTree.fromstring(alignment_svg(made))
    assert Elements(alignment_html(made)).open == []
    assert len(alignment_table(made, width=30).splitlines()) >= len(rows)


def test_long_words_are_shortened_in_labels_and_whole_in_the_description() -> None:
    long = "x" * 10_000
    made = grid([long], [long])
    assert len(alignment_table(made)) < 1000
    labels = [label.text or "" for label in ElementTree.fromstring(alignment_svg(made)).iter(f"{SVG}tspan")]
    assert all(len(label) == 28 and label.endswith("\u2026") for label in labels)
    assert long in description(made)


def test_nothing_to_draw_is_drawn_all_the_same() -> None:
    nothing = grid([], ["<end>"])
    assert description(nothing) == "There are no target words."
    ElementTree.fromstring(alignment_svg(nothing))
    assert "<end>" in "".join(alignment_table(nothing).split())


def test_blanks_and_controls_in_tokens_are_visible() -> None:
    assert shown("a\tb\x7f\x85\u2028") == "a\u2409b\u2421\ufffd\ufffd"
    assert grid([" the", ""], ["x"]).rows == ("\u2423the", "\u2205")
    assert shortened("中文字", 5) == "中文\u2026" and shortened("ab", 2) == "ab"
