"""Every view, in every size and colour, by keyboard, by ear, from a link and as a saved file."""

from typing import Any

import pytest
from page_states import READY

pytestmark = pytest.mark.browser


def test_what_can_be_used_has_a_name(tab: Any) -> None:
    for view, ready in READY.items():
        page = tab.open(view)
        page.wait_for_selector(ready)
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


def test_bars_glide_unless_motion_is_unwanted(new_tab: Any) -> None:
    """Their width is the one thing on the page that moves by itself; it is drawn at once where that is asked for."""
    longest = {}
    for motion in ("no-preference", "reduce"):
        page = new_tab(reduced_motion=motion).open("write")
        page.wait_for_selector(".bars .bar")
        page.evaluate(
            """() => {
              window.__longest = 0;
              document.addEventListener("transitionrun", (event) => {
                const runs = document.getAnimations().map((one) => one.effect.getTiming().duration);
                window.__longest = Math.max(window.__longest, ...runs);
              });
            }"""
        )
        page.locator("#temperature").fill("1.9")
        page.wait_for_timeout(400)
        page.get_by_role("button", name="Write", exact=True).click()
        page.wait_for_function(
            "() => document.querySelector('.written .tokens')?.getAttribute('aria-busy') === 'false'"
        )
        running = page.evaluate("() => document.getAnimations().map((one) => one.effect.getTiming().duration)")
        longest[motion] = max([page.evaluate("() => window.__longest"), *running])
    assert longest["no-preference"] > 50
    assert longest["reduce"] <= 1


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
