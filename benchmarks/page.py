"""How soon the page can be used, and how soon it draws every head of a model of twelve layers.

One command: `python benchmarks/page.py` with playwright and a Chromium on this machine. It starts a server of its own
with the bundled models and a GPT-2 of the smallest published size with random weights, and prints one JSON object:
medians in milliseconds. "look" is from asking the server to the grid, the model's pass included; "draw" from the
answer on.
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
_DRAWN = """() => new Promise((done) => {
  const look = () => {
    const maps = [...document.querySelectorAll('.heads canvas')];
    const last = maps[maps.length - 1];
    const inked = (map) => map.getContext('2d').getImageData(0, 0, map.width, map.height).data.some((x) => x);
    if (maps.length !== HEADS || !inked(last)) { requestAnimationFrame(look); return; }
    const asked = performance.getEntriesByType('resource').filter((one) => one.name.endsWith('/v1/inspect'))[0];
    requestAnimationFrame(() => done({now: performance.now(), answered: asked.responseEnd, asked: asked.startTime}));
  };
  look();
})""".replace("HEADS", str(HEADS))


def interactive(browser: Any, address: str) -> float:
    """Milliseconds from the begin of the navigation until the first view takes a click."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(address, wait_until="commit")
    page.wait_for_selector("#view button.main:enabled")
    found: float = page.evaluate("() => performance.now()")
    context.close()
    return found


def grid(browser: Any, address: str, model: str, text: str) -> tuple[float, float, int]:
    """Milliseconds from asking to the drawn grid, and from the answer to it; how many tokens the text has."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{address}/#/look?model={model}&text={text.replace(' ', '%20')}")
    drawn = page.evaluate(_DRAWN)
    tokens = page.locator('[aria-label="The text\'s tokens"] .token').count()
    context.close()
    return drawn["now"] - drawn["asked"], drawn["now"] - drawn["answered"], tokens


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
            grid(browser, address, name, WORDS)  # the model is opened when first asked for
            opened = [interactive(browser, address) for _ in range(given.repeats)]
            grids = [grid(browser, address, name, (WORDS * 17).strip()) for _ in range(given.repeats)]
            browser.close()
    looks, draws, tokens = zip(*grids, strict=True)
    medians = {"interactive": opened, "look": looks, "draw": draws}
    figures = {name: round(statistics.median(values)) for name, values in medians.items()}
    print(json.dumps({**figures, "tokens": tokens[0], "heads": HEADS, "repeats": given.repeats}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
