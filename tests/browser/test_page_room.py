"""Drawings keep to the room they have: bars, alignments, long texts, the table of a game, the map of a saved look."""

from pathlib import Path
from typing import Any

import pytest
from page_states import PARAGRAPH, SENTENCE, STATES, at, busy_over, guessed, translated

from headway.insight.inspection import InspectionRequest, inspect
from headway.insight.look_html import look_html
from headway.tasks.described import open_in_pytorch

pytestmark = pytest.mark.browser
LONGEST = f"{SENTENCE[:-1]}, and that nobody in the village believed her."


def hidden(region: Any) -> int:
    """How many pixels of what it holds a box does not show, in width."""
    wide: int = region.evaluate("(one) => one.scrollWidth - one.clientWidth")
    return wide


def test_bars_are_as_long_as_their_figures_and_what_is_longer_is_broken(tab: Any) -> None:
    page = tab.open(at("fill", text="The [MASK] of the [MASK] is strong."))
    guessed(page)
    page.wait_for_timeout(300)  # bars glide
    for bars in page.locator(".bars").all():
        widths = [one.bounding_box()["width"] for one in bars.locator("li:not(.bar-rest) .bar-own").all()]
        figures = [float(one.text_content().split()[0]) for one in bars.locator("li:not(.bar-rest) .bar-number").all()]
        whole = bars.locator(".bar-track").first.bounding_box()["width"]
        assert widths[0] == pytest.approx(whole, abs=1)
        # A figure is rounded to a twentieth of a per cent.
        assert widths == pytest.approx([whole * figure / figures[0] for figure in figures], rel=0.06)
        assert bars.locator("li:not(.bar-rest) .broken").count() == 0
        rest = bars.locator(".bar-rest .bar-own")
        assert rest.evaluate("(one) => one.classList.contains('broken')")
        assert rest.bounding_box()["width"] == pytest.approx(whole, abs=1)


@pytest.mark.parametrize("width", [1024, 1280, 1920])
@pytest.mark.parametrize("text", ["The man who lives in the big house is my brother.", SENTENCE, LONGEST])
def test_an_alignment_of_any_length_is_seen_whole_on_a_desk(new_tab: Any, text: str, width: int) -> None:
    page = new_tab(viewport={"width": width, "height": 800}).open(at("translate", text=text))
    translated(page)
    maps = page.locator("[role=region][aria-label^=Alignment]").all()
    assert len(maps) == 2
    for one in maps:
        assert hidden(one) <= 0
        names = one.locator(".labelled-columns span").all()
        assert all(name.bounding_box()["width"] >= 12 for name in names)
    assert page.get_by_text("The map goes on to the right.").count() == 0


def test_an_alignment_too_long_for_a_phone_says_so_and_keeps_its_rows_named(new_tab: Any) -> None:
    page = new_tab(viewport={"width": 360, "height": 800}).open(at("translate", text=LONGEST))
    translated(page)
    one = page.locator("[role=region][aria-label^=Alignment]").last
    assert hidden(one) > 0
    assert page.get_by_text("The map goes on to the right.").count() == 2
    one.evaluate("(box) => { box.scrollLeft = box.scrollWidth; }")
    box, names = one.bounding_box(), one.locator(".labelled-rows").bounding_box()
    last = one.locator(".labelled-columns span").last.bounding_box()
    assert names["x"] == pytest.approx(box["x"], abs=1)
    assert last["x"] + last["width"] <= box["x"] + box["width"] + 1


def test_larger_type_makes_a_map_larger_and_not_wider_than_its_place(new_tab: Any) -> None:
    page = new_tab(viewport={"width": 1280, "height": 800}).open(at("translate", text=SENTENCE))
    translated(page)
    one = page.locator("[role=region][aria-label^=Alignment]").last
    before = one.locator("canvas").bounding_box()["width"]
    page.get_by_role("button", name="Presenter").click()
    page.wait_for_function(
        "(before) => document.querySelector('article:last-child canvas').clientWidth > before", arg=before
    )
    assert hidden(one) <= 0


def test_a_long_text_scrolls_in_a_box_that_shows_the_token_picked(new_tab: Any) -> None:
    page = new_tab(viewport={"width": 360, "height": 800}).open(STATES["look, a paragraph"][0])
    STATES["look, a paragraph"][1](page)
    boxes = page.locator(".tokens").all()
    assert len(boxes) == 2
    for box in boxes:
        assert box.locator(".token").count() > len(PARAGRAPH.split())
        assert box.bounding_box()["height"] < 300 < box.evaluate("(one) => one.scrollHeight")
    marked = boxes[1].locator("[aria-pressed=true]").bounding_box()  # the last token, to begin with
    frame = boxes[1].bounding_box()
    assert frame["y"] - 1 <= marked["y"] and marked["y"] + marked["height"] <= frame["y"] + frame["height"] + 1
    assert page.evaluate("() => document.documentElement.scrollTop") == 0


def test_a_text_that_is_being_written_is_never_boxed_in(new_tab: Any) -> None:
    page = new_tab(viewport={"width": 360, "height": 800}).open("write?length=200&seed=4")
    page.get_by_role("button", name="Write", exact=True).click()
    busy_over(page)
    page.wait_for_function("() => document.querySelectorAll('.written .token').length > 200")
    assert page.locator(".written .tokens").evaluate("(one) => one.scrollHeight <= one.clientHeight + 1")


def test_the_turns_of_a_game_fit_on_the_smallest_phone(new_tab: Any) -> None:
    page = new_tab(viewport={"width": 320, "height": 568}).open("play")
    STATES["play, three words"][1](page)
    assert hidden(page.get_by_role("region", name="All turns")) <= 0
    row = page.locator("table.turns tbody tr").first.locator("td").all()
    tops, lefts = ([one.bounding_box()[side] for one in row] for side in ("y", "x"))
    assert tops[0] == tops[1] == tops[2] < tops[3] == tops[4]
    assert lefts[1] == lefts[3] and lefts[2] == lefts[4]


def test_a_saved_look_names_the_rows_and_columns_of_its_map(browser: Any, tmp_path: Path) -> None:
    model, tokenizer = open_in_pytorch("writer")
    seen = inspect(
        model,
        tokenizer,
        "The king said that the king was dead.",
        InspectionRequest(attention=(0, 1, 2, 3), thumbnails=24),
    )
    path = tmp_path / "look.html"
    path.write_text(look_html(seen), encoding="utf-8")
    for width in (360, 1280):
        context = browser.new_context(viewport={"width": width, "height": 800})
        page = context.new_page()
        page.goto(path.as_uri())
        drawn = page.locator(".map canvas").bounding_box()
        for side, start, extent in ((".row-names", "y", "height"), (".column-names", "x", "width")):
            names = page.locator(f"{side} span").all()
            assert [one.text_content() for one in names] == [
                one.text_content() for one in page.locator("[data-token]").all()
            ]
            cell = drawn[extent] / len(names)
            middles = [one.bounding_box()[start] + one.bounding_box()[extent] / 2 for one in names]
            expected = [drawn[start] + (place + 0.5) * cell for place in range(len(names))]
            assert middles == pytest.approx(expected, abs=2)
        assert page.locator(".row-names .now").text_content() == page.locator("[data-token]").last.text_content()
        context.close()


@pytest.mark.parametrize("width", [360, 1280])
def test_a_layer_s_map_is_seen_whole_or_says_that_it_goes_on(new_tab: Any, width: int) -> None:
    page = new_tab(viewport={"width": width, "height": 800}).open(at("fourier", model="writer"))
    region = page.locator("[role=region][aria-label$=', map']")
    region.wait_for()
    page.wait_for_selector(".view-fourier table")
    assert (hidden(region) > 0) == (page.get_by_text("The map goes on to the right.").count() == 1)
    assert page.get_by_text("The table goes on to the right.").is_visible() == (width == 360)


def test_the_panel_of_models_can_be_closed_from_wherever_its_card_is_read(new_tab: Any) -> None:
    page = new_tab(viewport={"width": 360, "height": 800}).open("write")
    STATES["models"][1](page)
    panel = page.get_by_role("dialog")
    panel.evaluate("(one) => { one.scrollTop = 900; }")
    assert panel.evaluate("(one) => one.scrollTop") == 900
    close, frame = page.get_by_role("button", name="Close").bounding_box(), panel.bounding_box()
    assert frame["y"] <= close["y"] <= frame["y"] + 60
    page.get_by_role("button", name="Close").click()
    panel.wait_for(state="detached")


def test_a_branch_is_judged_by_the_words_written_and_not_by_those_given(tab: Any) -> None:
    page = tab.open("write?length=20&seed=4")
    STATES["write, branched"][1](page)
    page.get_by_role("button", name="was going").click()  # the first branch
    shown = page.locator(".written .token:not(.given)").all()
    bits = [float(one.get_attribute("title").split()[0]) for one in shown]
    said = float(page.locator(".branch-mean").first.text_content().split()[0])
    assert said == pytest.approx(sum(bits) / len(bits), abs=0.11)  # each is rounded to a tenth


def test_what_a_reader_has_not_stands_where_it_would_be(tab: Any) -> None:
    page = tab.open(STATES["look, a reader"][0])
    STATES["look, a reader"][1](page)
    told = page.get_by_text("They add up only where the output is linear")
    assert told.count() == 1
    assert told.locator("xpath=preceding-sibling::h2").text_content() == "What each part adds"
