"""Text is never markup: 1,000 payloads typed in, said by models and files, carried by links, and in what is saved."""

import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from script_payloads import lesson_events, model_list, next_answer, payloads, stream, translation

pytestmark = pytest.mark.browser
EVERY = payloads()
STREAM = {"content_type": "text/event-stream"}
BATCH = 60  # payloads in one address


def nothing_ran(page: Any) -> None:
    page.wait_for_timeout(150)
    assert page.evaluate("() => window.__ran") is None
    inside = (
        "#page script, #page iframe, #page object, #page embed, #page base, #page meta, #page link, #page style, "
        "#page video, #page audio, #page img, #page form[action], #page [formaction], #page template, #page math, "
        "#page a[href^='javascript' i], #page a[href^='data' i]"
    )
    assert page.locator(inside).count() == 0
    named = (
        "() => [...document.querySelectorAll('#page *')].flatMap((one) => [...one.attributes]).map((one) => one.name)"
    )
    assert not [name for name in page.evaluate(named) if name.startswith("on")]


def texts_of(page: Any, selector: str) -> list[str]:
    found: list[str] = page.locator(selector).all_text_contents()
    return found


def test_there_are_a_thousand_and_each_is_another() -> None:
    assert len(EVERY) == len(set(EVERY)) >= 1000


def test_writing_shows_them_and_saves_them_as_text(tab: Any, browser: Any, tmp_path: Path) -> None:
    page = tab.page
    page.route("**/v1/next", lambda route: route.fulfill(json=next_answer(EVERY)))
    page.route("**/v1/completions", lambda route: route.fulfill(body=stream(EVERY), **STREAM))
    tab.open("write")
    page.wait_for_selector(".bars .bar")
    page.locator("#prompt").fill("\n".join(EVERY[::40]))
    page.get_by_role("button", name="Write", exact=True).click()
    page.wait_for_function(f"() => document.querySelectorAll('.written .token:not(.given)').length === {len(EVERY)}")
    assert EVERY[0] in texts_of(page, ".written .token:not(.given)")
    assert EVERY[0] in " ".join(texts_of(page, ".bars .bar-text"))
    nothing_ran(page)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save this view").click()
    path = tmp_path / "view.html"
    saved.value.save_as(path)
    context = browser.new_context()  # scripts are allowed here: the file must not have any that runs
    alone = context.new_page()
    asked: list[str] = []
    alone.on("request", lambda request: asked.append(request.url))
    alone.goto(path.as_uri())
    alone.wait_for_timeout(300)
    assert alone.evaluate("() => window.__ran") is None
    assert alone.locator("script, iframe, object, embed, base, svg script").count() == 0
    assert [url for url in asked if not url.startswith(("file:", "data:image/png"))] == []
    assert EVERY[0] in texts_of(alone, ".written .token")
    context.close()


def test_both_sides_of_a_comparison_show_them(tab: Any) -> None:
    page = tab.page
    page.route("**/v1/completions", lambda route: route.fulfill(body=stream(EVERY), **STREAM))
    tab.open("compare")
    page.get_by_role("button", name="Write with both").click()
    page.wait_for_function(f"() => document.querySelectorAll('.written .token').length === {2 * len(EVERY)}")
    nothing_ran(page)


def test_translations_and_the_words_that_are_aligned_show_them(tab: Any) -> None:
    page, at = tab.page, 0

    def translate(route: Any) -> None:
        nonlocal at
        route.fulfill(json=translation(EVERY[at:] + EVERY[:at]))
        at += 60

    page.route("**/v1/translate", translate)
    for _ in range(3):
        tab.open("learn")
        tab.open("translate")
        page.wait_for_selector(".translation")
        nothing_ran(page)
    assert at >= 180


def test_guesses_show_them(tab: Any) -> None:
    page = tab.page
    guesses = [{"place": 0, "id": at, "token": text, "probability": 0.001} for at, text in enumerate(EVERY)]
    page.route("**/v1/fill", lambda route: route.fulfill(json={"data": guesses}))
    tab.open("fill")
    page.wait_for_function(f"() => document.querySelectorAll('.bars .bar').length >= {len(EVERY)}")
    nothing_ran(page)


def test_a_look_shows_them(tab: Any) -> None:
    page = tab.page

    def inspect(route: Any) -> None:
        answer = route.fetch()
        found = answer.json()
        texts = iter(EVERY * 20)
        for token in found["tokens"]:
            token["text"] = next(texts)
        for place in named(found):
            place["text"] = next(texts)
        found["notes"] = {EVERY[3]: EVERY[4]}
        route.fulfill(response=answer, json=found)

    page.route("**/v1/inspect", inspect)
    tab.open("look?text=" + urllib.parse.quote("a b c d e f g h i j k l m n o p q r s t u v w x y z " * 8))
    page.wait_for_selector("table.lens")
    page.wait_for_selector(".head-large canvas")
    nothing_ran(page)


def named(found: Any) -> Iterator[dict[str, Any]]:
    """Every token that an inspection names beside its text's own."""
    if isinstance(found, dict):
        if "text" in found and "probability" in found:
            yield found
        for value in found.values():
            yield from named(value)
    elif isinstance(found, list):
        for value in found:
            yield from named(value)


def test_the_game_and_a_lesson_show_them(tab: Any) -> None:
    page = tab.page
    tab.open("play")
    page.locator("#passage").select_option("own")
    page.locator("#own").fill(" ".join(EVERY[:8]))
    page.route("**/v1/next", lambda route: route.fulfill(json=next_answer(EVERY)))
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_selector("#guess")
    for turn in range(1, 4):
        page.locator("#guess").fill(EVERY[turn])
        page.get_by_role("button", name="Show the word").click()
        page.wait_for_function(
            f"() => document.querySelectorAll('[aria-label=\"All turns\"] tbody tr').length === {turn}"
        )
    nothing_ran(page)
    page.route("**/v1/lessons", lambda route: route.fulfill(json={"id": EVERY[0]}))
    page.route("**/v1/lessons/*/events", lambda route: route.fulfill(body=lesson_events(EVERY), **STREAM))
    tab.open("learn")
    page.locator("#text").fill("\n".join(EVERY[:100]))
    page.get_by_role("button", name="Learn", exact=True).click()
    page.wait_for_function(f"() => document.querySelectorAll('.samples .sample').length === {len(EVERY) - 1}")
    nothing_ran(page)


def test_model_cards_and_names_show_them(tab: Any) -> None:
    page = tab.page

    def models(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=model_list(answer.json(), EVERY))

    page.route("**/v1/models", models)
    tab.open("write")
    page.get_by_role("button", name="Models").click()
    page.get_by_role("dialog").wait_for()
    page.wait_for_selector(".markdown p")
    nothing_ran(page)
    assert CODE_AS_TEXT in page.locator(".markdown").text_content()


CODE_AS_TEXT = "<script>window.__ran=1</script>"


def test_errors_say_them(tab: Any) -> None:
    page = tab.page
    tab.expected = {400}
    page.route("**/v1/inspect", lambda route: route.fulfill(status=400, json={"error": {"message": " ".join(EVERY)}}))
    tab.open("look?text=again")
    page.wait_for_selector(".trouble")
    assert EVERY[0] in page.locator(".trouble").first.text_content()
    nothing_ran(page)


def test_links_carry_them(tab: Any) -> None:
    page = tab.page
    page.route("**/v1/next", lambda route: route.fulfill(json=next_answer([])))
    for first in range(0, len(EVERY), BATCH):
        batch = EVERY[first : first + BATCH]
        fields = {
            "prompt": " ".join(batch),
            "seed": batch[0],
            "temperature": batch[1],
            "model": batch[2],
            batch[3]: "x",
        }
        page.goto("about:blank")
        page.goto(f"{tab.address}/#/write?{urllib.parse.urlencode(fields, quote_via=urllib.parse.quote)}")
        page.wait_for_selector("#prompt")
        assert page.evaluate("() => window.__ran") is None
    nothing_ran(page)
    for view in [urllib.parse.quote(text, safe="") for text in EVERY[::50]] + EVERY[::50]:
        page.evaluate("(view) => { location.hash = `#/${view}`; }", view)
        page.wait_for_timeout(20)
    nothing_ran(page)


def test_objects_in_place_of_texts_make_no_elements(tab: Any) -> None:
    """What a component library would take for an element, had it come as JSON."""
    made = {"type": "script", "props": {"children": "window.__ran=1"}, "key": None, "ref": None, "constructor": None}
    page = tab.page
    guesses = [{"place": 0, "id": 0, "token": made, "probability": 0.5}]
    page.route("**/v1/fill", lambda route: route.fulfill(json={"data": guesses}))
    page.goto(f"{tab.address}/#/fill")
    page.get_by_text("This view failed").wait_for()
    assert page.inner_text("#main h1") == "Fill"
    assert page.evaluate("() => window.__ran") is None
    assert page.locator("#page script").count() == 0
    page.unroute_all()
    page.get_by_role("button", name="Show it again").click()
    page.wait_for_selector("#view .bars")
