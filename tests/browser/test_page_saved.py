"""A view as a file says what the page said; a link brings back what was set."""

from pathlib import Path
from typing import Any

import pytest
from page_states import STATES

pytestmark = pytest.mark.browser
SAVED = [state for state in STATES if state not in ("models", "write, refused", "look, a paragraph")]
SAYS = """(root) => [...document.querySelectorAll(root)].flatMap((one) => [...one.querySelectorAll(
  ".token, .bar-number, .bar-text, .figures, .translation, td, th, dd, svg text, .sample, h2, h3")])
  .filter((one) => one.closest("[data-export='no']") === null).map((one) => one.textContent)"""
FIELDS = """() => [...document.querySelectorAll("#view input, #view textarea, #view select")]
  .filter((one) => one.type !== "file").map((one) => [one.id, one.value])"""


@pytest.mark.parametrize("state", SAVED)
def test_a_saved_view_says_the_same_without_a_server_and_without_scripts(
    new_tab: Any, browser: Any, tmp_path: Path, state: str
) -> None:
    tab = new_tab()
    page = tab.page
    where, steps = STATES[state]
    page.goto(f"{tab.address}/#/{where}")
    page.wait_for_selector("#view h1")
    steps(page)
    page.wait_for_timeout(300)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save this view").click()
    said = page.evaluate(SAYS, "#view")
    canvases = page.locator("#view canvas").count()
    path = tmp_path / "view.html"
    download.value.save_as(path)
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text and "http://127" not in text
    context = browser.new_context(java_script_enabled=False, offline=True)
    asked: list[str] = []
    alone = context.new_page()
    alone.on("request", lambda request: asked.append(request.url))
    alone.goto(path.as_uri())
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert len(said) > 5
    assert alone.evaluate(SAYS, "main") == said
    assert alone.locator("img").count() == canvases
    assert all(image.bounding_box()["width"] > 8 for image in alone.locator("img").all())
    context.close()


def brought_back(new_tab: Any, page: Any) -> Any:
    """Another browser at the same link; its fields are compared, and it is given back for more."""
    page.wait_for_timeout(500)
    other = new_tab().page
    other.goto(page.url)
    other.wait_for_selector("#view h1")
    other.wait_for_function(f"(fields) => JSON.stringify(({FIELDS})()) === fields", arg=fields_of(page))
    return other


def fields_of(page: Any) -> str:
    found: str = page.evaluate(f"() => JSON.stringify(({FIELDS})())")
    return found


def test_a_link_brings_back_a_prompt_its_seed_and_how_is_chosen(new_tab: Any) -> None:
    page = new_tab().open("write")
    page.locator("#prompt").fill("Once there was a small ship")
    page.locator("#temperature").fill("0.5")
    page.locator("#seed").fill("77")
    page.locator("#seed").blur()
    other = brought_back(new_tab, page)
    assert other.locator("#prompt").input_value() == "Once there was a small ship"
    assert other.locator("#seed").input_value() == "77"
    assert other.locator("#temperature").input_value() == "0.5"


def test_a_link_brings_back_a_head_and_what_is_off(new_tab: Any) -> None:
    page = new_tab().open("look")
    page.wait_for_selector("table.lens")
    page.locator("#look-text").fill("A small ship went out to sea.")
    page.get_by_role("button", name="Look", exact=True).click()
    page.locator("[data-at='2.3']").click()
    page.get_by_role("button", name="Switch this head off").click()
    page.wait_for_selector("text=1 head is off")
    other = brought_back(new_tab, page)
    other.wait_for_selector("text=1 head is off")
    assert other.locator("[data-at='2.3']").get_attribute("aria-pressed") == "true"
    assert other.locator("#look-text").input_value() == "A small ship went out to sea."


@pytest.mark.parametrize(("view", "field"), [("translate", "#translate-text"), ("fill", "#fill-text")])
def test_a_link_brings_back_a_sentence(new_tab: Any, view: str, field: str) -> None:
    page = new_tab().open(view)
    page.wait_for_selector(".translation, .bars .bar")
    page.locator(field).fill("The [MASK] is here, & so am I = 100 %.")
    other = brought_back(new_tab, page)
    assert other.locator(field).input_value() == "The [MASK] is here, & so am I = 100 %."


def test_a_link_brings_back_a_layer(new_tab: Any) -> None:
    page = new_tab().open("fourier?model=writer")
    page.wait_for_selector(".view-fourier canvas")
    page.get_by_role("group", name="Layers").get_by_role("button").nth(2).click()
    page.wait_for_function("() => location.hash.includes('layer=2')")
    other = brought_back(new_tab, page)
    other.wait_for_selector("[aria-label=Layers] button:nth-child(3)[aria-pressed=true]")
    assert other.locator("#fourier-model").input_value() == "writer"


def test_a_link_brings_back_a_comparison_and_a_game(new_tab: Any) -> None:
    page = new_tab().open("compare")
    page.locator("#model-0").select_option("other")
    page.locator("#model-1").select_option("writer")
    page.locator("#prompt").fill("Two roads")
    page.locator("#length").fill("17")
    page.locator("#length").blur()
    other = brought_back(new_tab, page)
    assert (other.locator("#model-0").input_value(), other.locator("#length").input_value()) == ("other", "17")
    page = new_tab().open("play")
    page.locator("#passage").select_option("1")
    assert brought_back(new_tab, page).locator("#passage").input_value() == "1"
