"""What a screen reader is told of each view's work: the outcome, in a place that it watched before."""

from collections.abc import Callable
from typing import Any

import pytest
from page_states import READY, compared, learned, looked, played, refused, written

pytestmark = pytest.mark.browser

# A place that is put in together with its words is passed over by some readers: those that stood before alone count.
LISTEN = """() => {
  const live = '[role=status], [role=alert], [aria-live]';
  window.__heard = [];
  new MutationObserver((records) => {
    const added = records.flatMap((record) => [...record.addedNodes]);
    for (const {target} of records) {
      const place = (target.nodeType === Node.TEXT_NODE ? target.parentElement : target)?.closest(live);
      if (place && !added.some((node) => node.contains(place))) window.__heard.push(place.textContent);
    }
  }).observe(document.querySelector('#view'), {childList: true, characterData: true, subtree: true});
}"""
HEARD = "(words) => window.__heard.some((said) => said.includes(words))"


def asked_again(field: str, text: str, button: str) -> Callable[[Any], None]:
    def steps(page: Any) -> None:
        page.locator(field).fill(text)
        page.get_by_role("button", name=button, exact=True).click()

    return steps


def text_of(selector: str) -> Callable[[Any], str]:
    return lambda page: str(page.locator(selector).first.inner_text()).strip()


WORK: dict[str, tuple[str, Callable[[Any], None], str | Callable[[Any], str]]] = {
    "written": ("write?length=20&seed=4", written, text_of(".written .token:not(.given)")),
    "refused": ("write?seed=5", refused, "Try again in 7 s."),
    "looked at": ("look", asked_again("#look-text", "The king is", "Look"), "3 tokens looked at. Most likely next: "),
    "a head off": ("look?text=The%20king%20said", looked, "1 head is off"),
    "looked at, a reader": (
        "look?model=reader",
        asked_again("#look-text", "The [MASK] is strong.", "Look"),
        "Most likely behind the mask: ",
    ),
    "translated": ("translate", asked_again("#translate-text", "The house is small.", "Translate"), "maison"),
    "guessed": ("fill", asked_again("#fill-text", "The [MASK] is strong.", "Guess"), text_of(".bars .bar-text")),
    "measured": ("fourier", asked_again("#fourier-text", "The king said that.", "Measure"), "Measured."),
    "compared": ("compare?length=20", compared, text_of(".written .token:not(.given)")),
    "played": ("play", played, "the model"),
    "learned": ("learn", learned, "Learned in 60 seconds and 39 steps"),
}


@pytest.mark.parametrize("work", WORK)
def test_what_came_of_it_is_said(new_tab: Any, work: str) -> None:
    where, steps, words = WORK[work]
    tab = new_tab()
    tab.expected = {429} if work == "refused" else set()
    page = tab.open(where)
    page.wait_for_selector(READY[where.partition("?")[0]])
    page.evaluate(LISTEN)
    steps(page)
    if callable(words):
        page.wait_for_function("() => window.__heard.length > 0")
        words = words(page)
    assert words
    page.wait_for_function(HEARD, arg=words)


def test_an_export_and_a_copied_link_are_said(new_tab: Any) -> None:
    page = new_tab().open("write")
    place = page.locator("header [role=status]")
    assert place.text_content() == ""
    with page.expect_download():
        page.get_by_role("button", name="Save this view").click()
    page.wait_for_function("() => document.querySelector('header [role=status]').textContent !== ''")
