"""Learning on the page with a real lesson, and the game."""

import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser
CHAPTER = Path(__file__).parents[1] / "data" / "corpus" / "chapter.txt"


def test_a_model_learns_is_kept_and_writes_without_a_reload(tab: Any) -> None:
    text = (CHAPTER.read_text(encoding="utf-8") * 3)[:60_000]
    page = tab.open("learn")
    page.locator("#text").fill(text)
    page.locator("#seconds").fill("20")
    page.get_by_role("button", name="Learn", exact=True).click()
    now = page.locator("p.figures", has_text=re.compile(r"^Step \d+: "))
    now.wait_for(timeout=90_000)
    first = float(re.search(r": ([\d.]+) bits a byte", now.text_content())[1])
    page.locator("#keep-name").wait_for(timeout=90_000)
    said = page.locator("p[role=status].figures").text_content()
    found = re.search(r"Learned in \d+ seconds and (\d+) steps: ([\d.]+) bits a byte", said)
    assert found is not None and int(found[1]) > 1 and float(found[2]) < first
    assert page.locator(".samples .sample").count() >= 1
    assert page.locator("svg path, svg polyline").count() >= 1
    page.locator("#keep-name").fill("learnt-here")
    page.get_by_role("button", name="Keep", exact=True).click()
    page.get_by_role("link", name="Write with it").click()
    page.wait_for_selector(".view-write h1")
    page.wait_for_selector(".bars .bar")
    assert page.locator("#model").input_value() == "learnt-here"
    page.locator("#length").fill("5")
    page.get_by_role("button", name="Write", exact=True).click()
    page.wait_for_selector(".written .token:not(.given), .view .trouble")
    assert page.locator(".view .trouble").all_text_contents() == []
    page.wait_for_function("() => document.querySelector('.written .tokens').getAttribute('aria-busy') === 'false'")


def test_the_game_counts_the_bits_of_the_room_and_of_the_model(tab: Any) -> None:
    page = tab.open("play")
    page.get_by_role("button", name="Start", exact=True).click()
    rows = page.locator("[aria-label='All turns'] tbody tr")
    for turn in range(1, 4):
        page.locator("#guess").fill("the" if turn < 3 else "")
        page.get_by_role("button", name="Show the word").click()
        page.wait_for_function(
            f"() => document.querySelectorAll('[aria-label=\"All turns\"] tbody tr').length === {turn}"
        )
    bits = [[float(cell.text_content()) for cell in row.locator("td.number").all()] for row in rows.all()]
    room, model = (sum(column) / 3 for column in zip(*bits, strict=True))
    shown = [
        float(re.match(r"([\d.]+) bits", text)[1]) for text in page.locator(".score .bar-number").all_text_contents()
    ]
    assert shown == pytest.approx([room, model], abs=0.06)
    assert bits[0][0] == pytest.approx(13.3, abs=0.1)  # without a guess: one of 10,000 words
    assert page.locator("svg[aria-label^='Running bits a word']").count() == 1
