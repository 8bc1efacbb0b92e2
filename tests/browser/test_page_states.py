"""Every view in the states it comes into: nothing is wider than the screen, axe finds no serious fault, Tab is seen."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_states import READY, STATES

pytestmark = pytest.mark.browser
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
SIZES = [(1280, "light"), (360, "dark")]  # contrast is a matter of the colours, room one of the width
TABS = 60


def come_to(page: Any, address: str, state: str) -> None:
    where, steps = STATES[state]
    page.goto("about:blank")
    page.goto(f"{address}/#/{where}")
    page.wait_for_selector("#view h1")
    steps(page)


def sideways(page: Any) -> bool:
    found: bool = page.evaluate("() => document.documentElement.scrollWidth > innerWidth")
    return found


def all_states(page: Any, address: str) -> Iterator[str]:
    """Each view as it opens, and each state."""
    for view, ready in READY.items():
        page.goto("about:blank")
        page.goto(f"{address}/#/{view}")
        page.wait_for_selector(ready)
        yield view
    for state in STATES:
        come_to(page, address, state)
        yield state


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: npm ci")
@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_no_state_is_too_wide_or_has_a_serious_fault(browser: Any, address: str, width: int, scheme: str) -> None:
    # The page's policy lets no script in that is not its own; the browser's own way past it is for tests such as this.
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True)
    context.set_default_timeout(30_000)
    page, wide, faults = context.new_page(), [], []
    for state in all_states(page, address):
        if sideways(page):
            wide.append(state)
        page.add_script_tag(path=str(AXE))
        result = page.evaluate("async () => await axe.run({resultTypes: ['violations']})")
        assert len(result["passes"]) > 10
        faults += [
            (state, fault["id"], [node["html"][:200] for node in fault["nodes"]][:3])
            for fault in result["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
    context.close()
    assert (wide, faults) == ([], [])


def test_no_state_is_too_wide_for_the_smallest_phone(new_tab: Any) -> None:
    tab = new_tab(viewport={"width": 320, "height": 568})
    tab.expected = {429}  # what one state makes the server say
    wide = [state for state in all_states(tab.page, tab.address) if sideways(tab.page)]
    assert wide == []


def test_presenter_mode_fits_on_a_phone_and_on_a_desk(new_tab: Any) -> None:
    for width in (360, 1280):
        tab = new_tab(viewport={"width": width, "height": 800})
        page = tab.open("write")
        page.evaluate("() => { document.documentElement.setAttribute('data-presenter', 'on'); }")
        for state in ("look, a head off", "fourier, attention", "play, three words"):
            where, steps = STATES[state]
            page.evaluate("(where) => { location.hash = `#/${where}`; }", where)
            page.wait_for_selector(f".view-{where.partition('?')[0]} h1")
            steps(page)
            assert page.evaluate("() => document.documentElement.dataset.presenter") == "on"
            assert not sideways(page), (width, state)


@pytest.mark.parametrize("state", [state for state in STATES if "refused" not in state])
def test_where_tab_leads_is_seen_and_never_lost(new_tab: Any, state: str) -> None:
    """From the beginning of the page on: a ring around what has the focus, each control once, and no trap."""
    tab = new_tab()
    come_to(tab.page, tab.address, state)
    page = tab.page
    page.evaluate("() => document.querySelector('dialog[open] button, a.skip').focus()")
    seen: list[str] = []
    for _ in range(TABS):
        page.keyboard.press("Tab")
        now = page.evaluate(
            """() => {
              const one = document.activeElement;
              if (one === null || one === document.body) return null;
              const style = getComputedStyle(one);
              const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
              window.__order = window.__order ?? [];
              if (!window.__order.includes(one)) window.__order.push(one);
              return {number: window.__order.indexOf(one), ring: ring || style.boxShadow !== "none",
                name: `${one.tagName} ${one.id} ${one.className} ${one.textContent.slice(0, 40)}`};
            }"""
        )
        if now is None:  # past the last one: the browser's own controls
            break
        assert now["ring"], now["name"]
        if now["number"] != len(seen):
            assert now["number"] == 0, f"a trap at {now['name']}"  # a dialog begins again
            break
        seen.append(now["name"])
    assert len(seen) >= (2 if state == "models" else 10)
