"""Each view's own work with the keyboard alone: Tab reaches it, a ring shows where, and no step loses the place."""

import json
import re
from typing import Any

import pytest
from page_states import lesson_told

pytestmark = pytest.mark.browser
FAR = 90  # presses of Tab, after which a control counts as out of reach
HERE = """() => {
  const one = document.activeElement;
  const style = getComputedStyle(one);
  return {lost: one === document.body || one === document.documentElement, name: one.outerHTML.slice(0, 160),
    ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2
      && style.outlineColor !== getComputedStyle(document.body).backgroundColor};
}"""


class Hands:
    """Two hands on a keyboard; every press checks that the page still knows where they are."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def press(self, key: str) -> None:
        """A key on what has the focus, which is still somewhere once the page has drawn what follows."""
        self.page.keyboard.press(key)
        self.still_here(key)

    def still_here(self, after: str) -> None:
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert not self.page.evaluate(HERE)["lost"], f"nothing has the focus after {after}"

    def until(self, condition: str, after: str) -> None:
        self.page.wait_for_function(f"() => {condition}")
        self.still_here(after)

    def reach(self, selector: str, *, back: bool = False) -> None:
        """Tab until what the selector names has the focus; each stop on the way has a ring."""
        for _ in range(FAR):
            self.page.keyboard.press("Shift+Tab" if back else "Tab")
            here = self.page.evaluate(HERE)
            assert here["ring"] or here["lost"] or 'id="main"' in here["name"], f"no ring: {here['name']}"
            if self.page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"Tab does not reach {selector}")

    def write(self, text: str) -> None:
        """In place of what the field holds."""
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(text)


IDLE = """document.querySelector('.written [aria-busy=true]') === null
  && document.querySelector('.written .token:not(.given)')"""
MAIN = "button.main"


@pytest.fixture
def hands(tab: Any) -> Any:
    def open_at(view: str) -> Hands:
        return Hands(tab.open(view))

    return open_at


def test_a_text_is_written_and_branched(hands: Any) -> None:
    hand = hands("write?length=12&seed=4")
    hand.reach("#prompt")
    hand.write("The king looked at")
    hand.reach(MAIN)
    hand.press("Enter")
    hand.until(IDLE, "writing")
    hand.reach(".written .token")
    for _ in range(8):
        hand.press("ArrowRight")
    hand.press("Enter")
    assert hand.page.evaluate("() => document.activeElement.getAttribute('aria-pressed')") == "true"
    hand.page.wait_for_selector("text=In place of")
    hand.reach("button.bar:not(.chosen)")
    hand.page.wait_for_function("() => document.querySelector('.bars .chosen') !== null")
    hand.press("Enter")
    hand.page.wait_for_selector(".tree button")
    hand.until(IDLE, "branching")
    assert hand.page.locator(".tree button").count() == 2


def test_a_token_picked_is_let_go_and_another_is_added_at_the_end(hands: Any) -> None:
    hand = hands("write?length=8&seed=4")
    hand.reach("#prompt")
    hand.press("Control+Enter")
    hand.until(IDLE, "writing")
    hand.reach(".written .token")
    hand.press("End")
    hand.press("Enter")
    hand.page.wait_for_selector("text=In place of")
    hand.press("Escape")
    hand.until("!document.body.textContent.includes('In place of')", "Escape")
    hand.press("Enter")
    hand.reach("#alternatives button.plain")
    hand.press("Enter")
    hand.until("!document.body.textContent.includes('In place of')", "Back to the end")
    before = hand.page.locator(".written .token").count()
    hand.reach("button.bar")
    for more in (1, 2):
        with hand.page.expect_response("**/v1/next"):
            hand.press("Enter")
        hand.until(f"document.querySelectorAll('.written .token').length === {before + more}", "adding a token")
    assert hand.page.evaluate("() => document.activeElement.matches('button.bar')")


def test_writing_is_stopped(hands: Any) -> None:
    hand = hands("write?length=1000&seed=4")
    hand.reach(MAIN)
    hand.press("Enter")
    hand.page.wait_for_selector(".written .token:not(.given)")
    reach_named(hand, "Stop")
    hand.press("Enter")
    hand.until(IDLE, "Stop")


def reach_named(hand: Hands, name: str) -> None:
    """Tab to the button that is called so."""
    for _ in range(FAR):
        hand.page.keyboard.press("Tab")
        if hand.page.evaluate("() => document.activeElement.textContent.trim()") == name:
            assert hand.page.evaluate(HERE)["ring"], name
            return
    raise AssertionError(f"Tab does not reach {name}")


def test_a_look_a_token_a_head_and_heads_off_and_on_again(hands: Any) -> None:
    hand = hands("look")
    hand.page.wait_for_selector("table.lens")
    hand.reach("#look-text")
    hand.write("The king said that the king was dead.")
    hand.reach(MAIN)
    with hand.page.expect_response("**/v1/inspect"):
        hand.press("Enter")
    hand.until("document.querySelector('button.main:disabled, button.main[aria-disabled=true]') === null", "looking")
    hand.page.wait_for_selector("table.lens")
    hand.reach('[aria-label="The text\'s tokens"] .token')
    hand.press("ArrowRight")
    hand.press("Enter")
    hand.until("document.querySelectorAll('table.lens th.now').length === 1", "picking a token")
    hand.reach("button.head")
    hand.press("ArrowDown")
    hand.press("ArrowRight")
    with hand.page.expect_response("**/v1/inspect"):
        hand.press("Enter")
    hand.until("document.activeElement.dataset.at === '1.1'", "choosing a head")
    hand.page.wait_for_selector("h3:text-is('Layer 1, head 1')")
    reach_named(hand, "Switch this head off")
    hand.press("Enter")
    hand.page.wait_for_selector("text=1 head is off")
    hand.until("document.querySelector('table.lens') && document.querySelector('.head-large canvas')", "a head off")
    reach_named(hand, "All on again")
    hand.press("Enter")
    hand.page.wait_for_selector("text=1 head is off", state="detached")
    hand.until("document.querySelector('table.lens') && document.querySelector('.head-large canvas')", "all on again")


@pytest.mark.parametrize(
    ("view", "field", "text", "done"),
    [
        (
            "translate",
            "#translate-text",
            "Where is the station?",
            "document.querySelectorAll('.translation').length === 3",
        ),
        ("fill", "#fill-text", "The [MASK] was [MASK] by the king.", "document.querySelectorAll('.bars').length === 2"),
        ("fourier", "#fourier-text", "One two three four five six.", "document.querySelector('.view-fourier canvas')"),
    ],
)
def test_a_text_is_asked_about(hands: Any, view: str, field: str, text: str, done: str) -> None:
    hand = hands(view)
    hand.page.wait_for_selector(f"#view {MAIN}:not(:disabled):not([aria-disabled=true])")
    hand.reach(field)
    hand.write(text)
    hand.reach(MAIN)
    with hand.page.expect_response("**/v1/*"):
        hand.press("Enter")
    idle = f"document.querySelector('{MAIN}:disabled, {MAIN}[aria-disabled=true]') === null"
    hand.until(f"{idle} && {done}", "asking")
    assert hand.page.evaluate(f"() => document.activeElement.matches('{MAIN}')")


def test_an_example_sentence_is_translated(hands: Any) -> None:
    hand = hands("translate")
    hand.page.wait_for_function("() => document.querySelectorAll('.translation').length === 3")
    reach_named(hand, "A long one")
    hand.press("Enter")
    hand.until("document.querySelectorAll('.translation').length === 3", "an example")


def test_another_layer_s_row_is_seen_as_a_signal(hands: Any) -> None:
    hand = hands("fourier?model=writer")
    hand.page.wait_for_selector("#signal-row")
    hand.reach('[aria-label="Layers"] button[aria-pressed="false"]')
    hand.press("Enter")
    hand.page.wait_for_selector("#signal-row")
    hand.still_here("another layer")
    hand.reach('[aria-label="Heads"] button[aria-pressed="false"]')
    hand.press("Enter")
    hand.reach("#signal-row")
    before = hand.page.locator("output[for=signal-row]").text_content()
    hand.press("ArrowLeft")
    assert hand.page.locator("output[for=signal-row]").text_content() != before


def test_two_models_are_compared(hands: Any) -> None:
    hand = hands("compare?length=8")
    hand.reach("#prompt")
    hand.write("The king")
    hand.reach(MAIN)
    hand.press("Enter")
    hand.page.wait_for_function("() => document.querySelectorAll('dl.facts').length === 2")
    hand.until(IDLE, "writing with both")


def test_a_game_is_played_to_its_end(hands: Any) -> None:
    hand = hands("play")
    hand.reach("#passage")
    hand.page.keyboard.press("End")  # the last choice is one's own text
    hand.page.wait_for_selector("#own")
    hand.reach("#own")
    hand.write("one two three four five six seven eight")
    hand.reach(MAIN, back=True)
    hand.press("Enter")
    hand.until("document.activeElement.id === 'guess'", "Start")
    for turn, word in enumerate(("six", "seven", "eight"), 1):
        hand.page.keyboard.insert_text(word)
        hand.page.keyboard.press("Enter")
        hand.page.wait_for_function(
            f"() => document.querySelectorAll('[aria-label=\"All turns\"] tbody tr').length === {turn}"
        )
        hand.still_here(f"turn {turn}")
        if turn < 3:
            hand.until("document.activeElement.id === 'guess'", f"turn {turn}")
    assert hand.page.evaluate("() => document.activeElement.textContent") == "From the start"


def test_a_lesson_is_begun_kept_and_gone_on_from(hands: Any) -> None:
    hand = hands("learn")
    page = hand.page
    lesson_told(page, over=True)
    page.route("**/v1/lessons/*/keep", lambda route: route.fulfill(json={"model": "writer"}))
    hand.reach("#text")
    hand.write("It was the best of times, it was the worst of times. " * 30)
    reach_named(hand, "Learn")
    hand.press("Enter")
    page.wait_for_selector("#keep-name")
    hand.still_here("Learn")
    hand.reach("#keep-name")
    hand.write("mine")
    reach_named(hand, "Keep")
    hand.press("Enter")
    page.wait_for_selector("text=Kept as writer")
    hand.still_here("Keep")
    reach_named(hand, "Write with it")
    page.keyboard.press("Enter")
    page.wait_for_selector(".view-write h1")
    hand.still_here("another view")


def test_a_lesson_is_stopped(hands: Any) -> None:
    hand = hands("learn")
    lesson_told(hand.page, over=False)
    hand.page.route("**/v1/lessons/lesson-1", lambda route: route.fulfill(status=204))
    hand.reach("#text")
    hand.write("It was the best of times, it was the worst of times. " * 30)
    reach_named(hand, "Learn")
    hand.press("Enter")
    hand.page.wait_for_selector(".head-picture canvas")
    hand.still_here("Learn")
    hand.reach("#head-step")
    hand.press("ArrowLeft")
    hand.page.wait_for_selector("figcaption:has-text('step 20')")
    for _ in range(FAR):
        hand.page.keyboard.press("Shift+Tab")
        if hand.page.evaluate("() => document.activeElement.textContent") == "Stop the lesson":
            break
    hand.press("Enter")
    hand.page.wait_for_selector("#text")
    hand.still_here("Stop the lesson")


def test_escape_closes_the_models_and_goes_back_to_where_one_was(new_tab: Any) -> None:
    for width in (1280, 360):
        hand = Hands(new_tab(viewport={"width": width, "height": 800}).open("write"))
        if width == 360:
            hand.reach("#tools-menu")
            hand.press("Enter")
        hand.reach("#tools button")
        hand.press("Enter")
        hand.page.get_by_role("dialog").wait_for()
        assert hand.page.evaluate("() => document.activeElement.closest('dialog') !== null")
        hand.reach("dialog .choices button[aria-pressed='false']")
        hand.press("Enter")
        hand.press("Escape")
        hand.page.get_by_role("dialog").wait_for(state="detached")
        assert hand.page.evaluate("() => /^Models/.test(document.activeElement.textContent)"), width
        if width == 360:
            hand.press("Escape")
            assert hand.page.evaluate("() => document.activeElement.id") == "tools-menu"
            assert hand.page.get_by_role("button", name=re.compile("^Models")).count() == 0


def test_a_server_that_is_back_is_asked_again(tab: Any) -> None:
    page = tab.page
    tab.expected.add(503)
    told = {"error": {"message": "The server is stopping.", "code": "stopping"}}
    page.route("**/v1/models", lambda route: route.fulfill(status=503, body=json.dumps(told)))
    page.goto(f"{tab.address}/#/write")
    page.wait_for_selector(".trouble")
    page.unroute("**/v1/models")
    hand = Hands(page)
    reach_named(hand, "Try again")
    page.keyboard.press("Enter")
    page.wait_for_selector("#view h1")
    hand.still_here("Try again")
