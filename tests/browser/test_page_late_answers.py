"""An answer that comes after the text has changed is not drawn."""

from typing import Any

import pytest

pytestmark = pytest.mark.browser


def test_a_late_map_of_the_text_before_is_not_drawn_over_the_text_of_now(tab: Any) -> None:
    page, held = tab.page, []

    def hold_the_first(route: Any) -> None:
        if '"attention":[0]' in (route.request.post_data or "") and not held:
            held.append((route, route.fetch()))
        else:
            route.continue_()

    page.route("**/v1/inspect", hold_the_first)
    tab.open("look?head=0.0&text=The%20king%20was%20dead.")
    page.wait_for_selector("table.lens")
    assert len(held) == 1
    page.locator("#look-text").fill("A small ship went out to sea, and nobody saw it again.")
    page.get_by_role("button", name="Look", exact=True).click()
    page.wait_for_selector(".head-large .figures")
    page.wait_for_function("() => document.querySelectorAll('table.lens thead th').length > 12")
    large = page.locator(".head-large")
    picture = "() => document.querySelector('.head-large canvas').toDataURL()"
    said, drawn = large.inner_text(), page.evaluate(picture)
    route, answer = held[0]
    with page.expect_response("**/v1/inspect"):
        route.fulfill(response=answer)
    page.wait_for_timeout(300)
    assert large.inner_text() == said
    assert page.evaluate(picture) == drawn
