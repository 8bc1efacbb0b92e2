"""The states that a view comes into when it is used, and the steps that lead there."""

import json
import urllib.parse
from collections.abc import Callable
from typing import Any

PARAGRAPH = "The quick brown fox jumps over the lazy dog and runs away. " * 14
SENTENCE = (
    "Yesterday the old man who lives by the river told my sister that the bridge would not be open before the spring."
)
STREAM = {"content_type": "text/event-stream"}
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
"""Each view, and what is there once it can be used."""


def written(page: Any) -> None:
    """A text, one of its tokens picked, and a branch."""
    page.get_by_role("button", name="Write", exact=True).click()
    busy_over(page)
    page.locator(".written .token:not(.given)").nth(2).click()
    page.wait_for_function("() => document.querySelectorAll('.bars button.bar').length > 5")
    page.locator(".bars button.bar").nth(3).click()
    page.wait_for_selector(".tree button")
    busy_over(page)


def busy_over(page: Any) -> None:
    page.wait_for_selector(".written .token:not(.given)")
    page.wait_for_function("() => document.querySelector('.written [aria-busy=true]') === null")


def refused(page: Any) -> None:
    """An error of the server, with a way out."""
    told = {"error": {"message": "32 requests wait already, and more are not taken on\nTry again in 7 s.", "code": "x"}}
    page.route("**/v1/completions", lambda route: route.fulfill(status=429, json=told))
    page.get_by_role("button", name="Write", exact=True).click()
    page.wait_for_selector(".trouble")
    page.unroute("**/v1/completions")


def looked(page: Any) -> None:
    """One head large, a token picked, and a head off."""
    page.wait_for_selector("table.lens")
    page.wait_for_selector(".head-large canvas")
    page.locator('[aria-label="The text\'s tokens"] .token').nth(2).click()
    page.get_by_role("button", name="Switch this head off").click()
    page.wait_for_selector("text=1 head is off")
    page.wait_for_selector("table.lens")
    page.wait_for_selector(".head-large canvas")


def all_looked(page: Any) -> None:
    page.wait_for_selector("table.lens")
    page.wait_for_selector(".head-large canvas")


def translated(page: Any) -> None:
    page.wait_for_function("() => document.querySelectorAll('.translation').length === 3")


def guessed(page: Any) -> None:
    page.wait_for_selector(".bars .bar")
    page.wait_for_selector(".head-large canvas")


def measured(page: Any) -> None:
    page.wait_for_selector(".view-fourier canvas")
    page.wait_for_selector(".view-fourier table")


def compared(page: Any) -> None:
    page.get_by_role("button", name="Write with both").click()
    busy_over(page)
    page.wait_for_function("() => document.querySelectorAll('dl.facts').length === 2")


def played(page: Any) -> None:
    page.get_by_role("button", name="Start", exact=True).click()
    for turn in range(1, 4):
        page.locator("#guess").fill("the")
        page.get_by_role("button", name="Show the word").click()
        page.wait_for_function(
            f"() => document.querySelectorAll('[aria-label=\"All turns\"] tbody tr').length === {turn}"
        )


def lesson_told(page: Any, *, over: bool) -> None:
    """From now on a lesson tells what the server would have told, at once."""
    events: list[dict[str, Any]] = [{"model": {"parameters": 793_088, "layers": 3, "heads": 4, "text_bytes": 60_000}}]
    for step in range(1, 40):
        told = {"loss": 5.0 / step, "bits_per_byte": 1 + 6 / step, "tokens_per_s": 9000.0, "seconds_left": 40.0 - step}
        events.append({"step": step, **told})
    events.append({"kept_aside": {"step": 39, "bits_per_byte": 2.3}})
    events.append({"sample": "It was the best of times", "prompt": "It was the", "at_step": 20})
    head = {"layer": 1, "head": 2, "side": 4, "data": "AAECAwQFBgcICQoLDA0ODw=="}
    tokens = ["It", " was", " the", " best"]
    events += [{"head": {**head, "at_step": step, "tokens": tokens}} for step in (20, 39)]
    if over:
        events.append({"done": {"seconds": 60.0, "steps": 39, "bits_per_byte": 2.3}})
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    page.route("**/v1/lessons", lambda route: route.fulfill(json={"id": "lesson-1"}))
    page.route("**/v1/lessons/*/events", lambda route: route.fulfill(body=body, **STREAM))


def learning(page: Any, *, over: bool = False) -> None:
    """A lesson that runs still: its stream has told much, and not that it is done."""
    lesson_told(page, over=over)
    page.locator("#text").fill("It was the best of times, it was the worst of times. " * 30)
    page.get_by_role("button", name="Learn", exact=True).click()
    page.wait_for_selector(".head-picture canvas")
    page.unroute("**/v1/lessons")
    page.unroute("**/v1/lessons/*/events")


def learned(page: Any) -> None:
    learning(page, over=True)
    page.locator("#keep-name").wait_for()


def panelled(page: Any) -> None:
    models = page.get_by_role("button", name="Models")
    if not models.is_visible():  # on a phone it is in the menu
        page.get_by_role("button", name="Menu").click()
    models.click()
    page.get_by_role("dialog").wait_for()
    page.wait_for_selector(".markdown p")


def at(view: str, **fields: str) -> str:
    return f"{view}?{urllib.parse.urlencode(fields, quote_via=urllib.parse.quote)}" if fields else view


STATES: dict[str, tuple[str, Callable[[Any], None]]] = {
    "write, branched": (at("write", length="20", seed="4"), written),
    "write, refused": (at("write", seed="5"), refused),
    "look, a head off": (at("look", head="2.3", text="The king said that the king was dead."), looked),
    "look, a paragraph": (at("look", text=PARAGRAPH.strip()), all_looked),
    "look, a reader": (at("look", model="reader", text="The [MASK] of the Union is strong."), all_looked),
    "translate, a long sentence": (at("translate", text=SENTENCE), translated),
    "fill, two masks": (at("fill", text="The [MASK] of the [MASK] is strong."), guessed),
    "fourier, attention": (at("fourier", model="writer"), measured),
    "compare, written": (at("compare", length="20"), compared),
    "play, three words": ("play", played),
    "learn, running": ("learn", learning),
    "learn, over": ("learn", learned),
    "models": ("write", panelled),
}
"""The steps wait for what they lead to; whoever takes them is on the view already."""
