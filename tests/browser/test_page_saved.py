"""A view as a file says what the page said; a link brings back what was set."""

import re
from pathlib import Path
from typing import Any

import pytest
from page_states import STATES

pytestmark = pytest.mark.browser
SAVED = [state for state in STATES if state not in ("models", "write, refused", "look, a paragraph")]
NAMESPACES = {"http://www.w3.org/1999/xhtml", "http://www.w3.org/2000/svg"}  # names, which nothing fetches
SAYS = """(root) => [...document.querySelectorAll(root)].flatMap((one) => [...one.querySelectorAll(
  ".token, .bar-number, .bar-text, .figures, .translation, td, th, dd, svg text, .sample, h2, h3")])
  .filter((one) => one.closest("[data-export='no']") === null).map((one) => one.textContent)"""
TITLES = "(root) => [...document.querySelectorAll(`${root} [title]`)].map((one) => one.title)"
"""What stands behind a pointer: the bits of a token, the other words of a cell."""
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
    said, titles = page.evaluate(SAYS, "#view"), page.evaluate(TITLES, "#view")
    canvases = page.locator("#view canvas").count()
    path = tmp_path / "view.html"
    download.value.save_as(path)
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text and set(re.findall(r"https?://[^\s\"'<>)]+", text)) <= NAMESPACES
    context = browser.new_context(java_script_enabled=False, offline=True)
    asked: list[str] = []
    alone = context.new_page()
    alone.on("request", lambda request: asked.append(request.url))
    alone.goto(path.as_uri())
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert len(said) > 5
    assert alone.evaluate(SAYS, "main") == said
    assert alone.evaluate(TITLES, "main") == titles
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


@pytest.mark.parametrize(
    ("view", "settings"),
    [
        ("write", {"model": "other", "length": "33", "top-k": "7", "top-p": "0.5", "min-p": "0.1"}),
        ("look", {"look-model": "reader", "look-text": "The [MASK] of the Union."}),
        ("fill", {"fill-model": "reader-fnet", "fill-text": "A [MASK] day."}),
        ("fourier", {"fourier-text": "A fine day by the sea.", "fourier-model": "en-fr"}),
        ("compare", {"model-0": "other", "seed": "8", "temperature": "1.2", "top-k": "3", "min-p": "0.2"}),
        ("play", {"model": "other", "passage": "own"}),
    ],
)
def test_a_link_brings_back_every_setting(new_tab: Any, view: str, settings: dict[str, str]) -> None:
    page = new_tab().open(view)
    for name, value in settings.items():
        field = page.locator(f"#{name}")
        if field.evaluate("(one) => one.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
            field.blur()
    page.wait_for_function("() => document.querySelector('#view .waiting, #view .main[disabled]') === null")
    again = brought_back(new_tab, page)
    assert {name: again.locator(f"#{name}").input_value() for name in settings} == settings


def test_a_link_brings_back_a_head_and_a_row_of_its_signal(new_tab: Any) -> None:
    page = new_tab().open("fourier?model=writer&layer=1")
    page.get_by_role("button", name="Head 2").click()
    page.locator("#signal-row").fill("5")
    page.wait_for_function("() => location.hash.includes('head=2') && location.hash.includes('row=5')")
    again = brought_back(new_tab, page)
    again.wait_for_selector("svg[aria-label^='Spectrum of row']")
    assert again.get_by_role("button", name="Head 2").get_attribute("aria-pressed") == "true"
    figure = "() => [...document.querySelectorAll('.signal polyline')].map((one) => one.getAttribute('points'))"
    assert again.evaluate(figure) == page.evaluate(figure)
    page.get_by_role("group", name="Layers").get_by_role("button").nth(2).click()
    page.wait_for_function("() => location.hash.includes('layer=2') && !/head=|row=/.test(location.hash)")


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
