"""Every view, in every size and colour, by keyboard, by ear, from a link and as a saved file."""

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser
VIEWS = ("write", "look", "translate", "fill", "fourier", "compare", "play", "learn")
READY = {
    "write": ".bars .bar",
    "look": "table.lens",
    "translate": "article canvas",
    "fill": ".head-large canvas",
    "fourier": ".view-fourier canvas",
    "compare": ".sliders",
    "play": ".view-play button",
    "learn": "textarea",
}
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (360, "dark"), (320, "light")])
def test_no_view_scrolls_sideways(new_tab: Any, width: int, scheme: str) -> None:
    tab = new_tab(viewport={"width": width, "height": 800}, color_scheme=scheme)
    for view in VIEWS:
        page = tab.open(view)
        page.wait_for_selector(READY[view])
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), view


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: npm ci")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Any, address: str, scheme: str) -> None:
    # The page's policy lets no script in that is not its own; the browser's own way past it is for tests such as this.
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page, found = context.new_page(), []
    for view in VIEWS:
        page.goto(f"{address}/#/{view}")
        page.wait_for_selector(READY[view])
        page.add_script_tag(path=str(AXE))
        result = page.evaluate("async () => await axe.run()")
        assert len(result["passes"]) > 10
        found += [
            (view, fault["id"], [node["html"][:200] for node in fault["nodes"]][:3])
            for fault in result["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
    context.close()
    assert found == []


def test_what_can_be_used_has_a_name(tab: Any) -> None:
    for view in VIEWS:
        page = tab.open(view)
        page.wait_for_selector(READY[view])
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('button, a, input, select, textarea, [role=button]')].filter((one) =>
              one.checkVisibility() && !(one.ariaLabel || one.textContent.trim() || one.labels?.length || one.title))
              .map((one) => one.outerHTML.slice(0, 200))"""
        )
        assert nameless == [], view


def test_views_are_reached_by_keyboard_alone(tab: Any) -> None:
    page = tab.open("write")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent.trim()") == "Look"
    ring = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert ring not in ("none", "")
    page.keyboard.press("Enter")
    page.wait_for_selector(".view-look h1")
    page.wait_for_selector(".tokens [data-at]")
    page.locator(".tokens [data-at='0']").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.dataset.at") == "1"
    assert page.evaluate("() => document.activeElement.getAttribute('aria-pressed')") == "true"


def test_presenter_mode_enlarges_the_type_and_stays(new_tab: Any) -> None:
    tab = new_tab()
    page = tab.open("write")
    size = "() => parseFloat(getComputedStyle(document.querySelector('#view textarea')).fontSize)"
    before = page.evaluate(size)
    page.get_by_role("button", name="Presenter").click()
    page.wait_for_function(f"() => ({size})() > {before * 1.2}")
    page.reload()
    page.wait_for_selector("#view textarea")
    assert page.evaluate(size) > before * 1.2
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_colours_follow_the_switch_and_the_system(new_tab: Any) -> None:
    ground = "() => getComputedStyle(document.body).backgroundColor"
    grounds = {}
    for scheme in ("light", "dark"):
        page = new_tab(color_scheme=scheme).open("learn")
        grounds[scheme] = page.evaluate(ground)
    assert grounds["light"] != grounds["dark"]
    page.locator("#theme").select_option("light")
    page.wait_for_function(f"() => ({ground})() === {grounds['light']!r}")


def test_nothing_moves_where_motion_is_unwanted(new_tab: Any) -> None:
    tab = new_tab(reduced_motion="reduce")
    for view in VIEWS:
        page = tab.open(view)
        page.wait_for_selector(READY[view])
        moving = page.evaluate(
            "() => document.getAnimations().filter((one) => one.effect.getTiming().duration > 10).length"
        )
        assert moving == 0, view


def test_a_link_carries_the_state(new_tab: Any) -> None:
    page = new_tab().open("write")
    page.locator("#prompt").fill("Once there was a small ship")
    page.locator("#temperature").fill("0.5")
    page.locator("#seed").fill("77")
    page.locator("#seed").blur()
    page.wait_for_function("() => location.hash.includes('seed=77') && location.hash.includes('ship')")
    other = new_tab().page
    other.goto(page.url)
    other.wait_for_selector("#prompt")
    assert other.locator("#prompt").input_value() == "Once there was a small ship"
    assert other.locator("#seed").input_value() == "77"
    assert other.locator("#temperature").input_value() == "0.5"


@pytest.mark.parametrize("view", ["look", "translate", "fourier"])
def test_a_saved_view_needs_no_server_and_no_script(new_tab: Any, browser: Any, tmp_path: Path, view: str) -> None:
    page = new_tab().open(view)
    page.wait_for_selector(READY[view])
    page.wait_for_timeout(500)
    canvases = page.locator("#view canvas").count()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save this view").click()
    path = tmp_path / "view.html"
    saved.value.save_as(path)
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text and "http://127" not in text
    context = browser.new_context(java_script_enabled=False, offline=True)
    asked: list[str] = []
    alone = context.new_page()
    alone.on("request", lambda request: asked.append(request.url))
    alone.goto(path.as_uri())
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert alone.locator("img").count() == canvases
    assert all(image.bounding_box()["width"] > 8 for image in alone.locator("img").all())
    context.close()


def test_models_say_what_they_are_of_and_what_they_cannot(tab: Any) -> None:
    page = tab.open("write")
    page.get_by_role("button", name="Models").click()
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    said = dialog.text_content()
    for word in ("writer", "en-fr", "reader", "icen", "imits"):
        assert word in said, word
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
