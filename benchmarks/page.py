"""How soon the page can be used, and how soon it draws every head of a model of twelve layers.

One command: `python benchmarks/page.py` with playwright and a Chromium on this machine. It starts a server of its own
with the bundled models and a GPT-2 of the smallest published size with random weights, and prints one JSON object:
medians in milliseconds. "look" is from the click on an open page to the grid, the model's pass included; "draw" from
the answer on.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serve import random_model
from served import HOST, serving

WORDS = "the king said that the sea was calm and nobody believed him "
HEADS = 144
_DRAWN = """() => new Promise((done, fail) => {
  setTimeout(() => fail(new Error('the grid was not drawn within 60 s')), 60000);
  const maps = [...document.querySelectorAll('.heads canvas')];
  const inked = (map) => map.getContext('2d').getImageData(0, 0, map.width, map.height).data.some((x) => x);
  const begun = performance.now();
  let answered = null;
  const look = () => {
    if (!inked(maps[maps.length - 1])) { requestAnimationFrame(look); return; }
    requestAnimationFrame(() => done({look: performance.now() - begun, draw: performance.now() - answered}));
  };
  new PerformanceObserver((list, self) => {
    const found = list.getEntries().find((one) => one.name.endsWith('/v1/inspect') && one.startTime >= begun);
    if (found) { self.disconnect(); answered = found.responseEnd; look(); }
  }).observe({type: 'resource'});
  for (const map of maps) { map.width = map.width; }  // what was drawn before is gone
  document.querySelector('.asking button.main').click();
})"""


def interactive(browser: Any, address: str) -> float:
    """Milliseconds from the begin of the navigation until the first view takes a click."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(address, wait_until="commit")
    page.wait_for_selector("#view button.main:enabled")
    found: float = page.evaluate("() => performance.now()")
    context.close()
    return found


def grids(browser: Any, address: str, model: str, repeats: int) -> tuple[list[float], list[float], int]:
    """Milliseconds from the click to the drawn grid, and from the answer to it; how many tokens the text has."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{address}/#/look?model={model}&text={WORDS.strip().replace(' ', '%20')}")
    looks, draws = [], []
    for number in range(repeats + 1):
        page.wait_for_selector("table.lens", timeout=120_000)  # the model is opened when first asked for
        page.wait_for_selector(".head-large canvas")
        page.wait_for_timeout(500)
        page.locator("#look-text").fill(f"{WORDS * 16}{WORDS.replace('sea', str(number))}".strip())  # not the last one
        drawn = page.evaluate(_DRAWN)
        maps = page.locator(".heads canvas").count()
        if maps != HEADS:
            raise RuntimeError(f"the grid has {maps} maps, not {HEADS}")
        if number > 0:  # the first is of the other text
            looks.append(drawn["look"])
            draws.append(drawn["draw"])
    tokens = page.locator('[aria-label="The text\'s tokens"] .token').count()
    context.close()
    return looks, draws, tokens


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args(arguments)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("left out: there is no Chromium here", file=sys.stderr)
        return 0
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as temporary:
        model = random_model(Path(temporary), tiny=False)
        with serving(["writer", model]) as server, sync_playwright() as playwright:
            address = f"http://{HOST}:{server.port}"
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            name = Path(model).name
            opened = [interactive(browser, address) for _ in range(given.repeats)]
            looks, draws, tokens = grids(browser, address, name, given.repeats)
            browser.close()
    medians = {"interactive": opened, "look": looks, "draw": draws}
    figures = {name: round(statistics.median(values)) for name, values in medians.items()}
    print(json.dumps({**figures, "tokens": tokens, "heads": HEADS, "repeats": given.repeats}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
