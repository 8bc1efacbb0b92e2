"""The page of an inspection: one file, whole, and no text in it is ever markup."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from typing import Any

import pytest
from test_inspection import TOKENIZER, build, look

from headway.insight.inspection import InspectionRequest, inspect
from headway.insight.look_html import filled, look_html

PAYLOADS = [
    payload.format(number)
    for number in range(10)
    for payload in (
        "</script><script>run({})</script>",
        "<img src=x onerror=run({})>",
        "--><svg onload=run({})><!--",
        "&lt;script&gt;{}</script\n><!-- <script>",
        "\u2028']}}]);run({})//\"",
    )
]


class Elements(HTMLParser):
    """What a browser's parser would find: elements with their attributes, and what scripts and styles hold."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {}
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.inside.setdefault(tag, []).append("")
        self._open = True

    def handle_endtag(self, tag: str) -> None:
        self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:  # one text may come in several pieces
            self.inside[self.found[-1][0]][-1] += data


def parsed(page: str) -> Elements:
    elements = Elements()
    elements.feed(page)
    elements.close()
    return elements


EVERYTHING: dict[str, Any] = {
    "attention": (0, 1),
    "thumbnails": 5,
    "logit_lens": 2,
    "contributions": True,
    "heads": True,
    "encoding": "u16",
}


def test_fifty_script_payloads_stay_text() -> None:
    text = "".join(PAYLOADS)
    found = inspect(build("gpt2"), TOKENIZER, PAYLOADS[0], InspectionRequest(**EVERYTHING))
    harmless = [tag for tag, _ in parsed(look_html(found, title="plain")).found]
    found["tokens"] = [{"id": 1, "text": payload} for payload in PAYLOADS]
    found["next"] = [{"id": 1, "text": text, "probability": 1.0}]
    elements = parsed(look_html(found, title=text))
    assert [tag for tag, _ in elements.found] == harmless and harmless.count("script") == 2
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]
    data = elements.inside["script"][0]
    assert json.loads(data) == json.loads(json.dumps(found)) and not re.search("[<>&\u2028]", data)


def test_the_page_needs_no_other_file_and_forbids_what_is_not_its_own() -> None:
    page = look_html(look("transformer", **EVERYTHING), title="A & B")
    elements = parsed(page)
    assert not re.search(r"https?:|url\(|@import|fetch\(|innerHTML|eval\(", page)
    assert not [a for _, attributes in elements.found for a in attributes if a in ("src", "href", "action")]
    policy = next(attributes["content"] for tag, attributes in elements.found if "http-equiv" in attributes)
    assert policy is not None and policy.startswith("default-src 'none'")
    script = elements.inside["script"][1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "<title>A &amp; B</title>" in page and elements.found[0] == ("html", {"lang": "en"})


def test_a_template_of_ones_own_gets_the_same_data_once() -> None:
    found = {"tokens": [{"id": 3, "text": "</script><!--data-->"}]}
    page = filled("<p>before</p><script type='application/json'><!--data--></script>behind", found)
    assert page.startswith("<p>before</p>") and page.endswith("</script>behind") and page.count("</script>") == 1
    assert json.loads(parsed(page).inside["script"][0]) == found


STUB = """
class Element {
  constructor(tag) { this.tag = tag; this.children = []; this.dataset = {}; this.attributes = {};
    this.style = { setProperty() {} }; this.textContent = ""; }
  append(...all) { this.children.push(...all); }
  replaceChildren(...all) { this.children = all; }
  setAttribute(name, value) { this.attributes[name] = value;
    if (name.startsWith("data-")) this.dataset[name.slice(5)] = value; }
  addEventListener(name, run) { this[name] = run; }
  querySelectorAll(selector) { const name = selector.slice(6, -1); const found = [];
    const walk = (one) => { if (name in one.dataset) found.push(one); one.children.forEach(walk); };
    walk(this); return found; }
  getContext() { return { putImageData: (pixels) => { this.pixels = pixels; } }; }
  text() { return this.textContent + this.children.map((one) => one.text()).join(" "); }
}
globalThis.ImageData = class { constructor(width, height) {
  this.width = width; this.height = height; this.data = new Uint8ClampedArray(4 * width * height); } };
globalThis.getComputedStyle = () => ({ getPropertyValue: () => "1, 2, 3" });
globalThis.matchMedia = () => ({ addEventListener() {} });
const main = new Element("main"), json = new Element("script");
json.textContent = require("fs").readFileSync(process.argv[2], "utf-8");
globalThis.document = { documentElement: {}, createElement: (tag) => new Element(tag),
  getElementById: (id) => (id === "data" ? json : main) };
require("vm").runInThisContext(require("fs").readFileSync(process.argv[3], "utf-8"));
const heads = main.querySelectorAll("[data-head]"), tokens = main.querySelectorAll("[data-token]");
if (tokens[1]) tokens[1].click();
if (heads[3]) heads[3].click();
const pressed = heads.filter((one) => one.attributes["aria-pressed"] === "true").map((one) => one.dataset.head);
console.log(JSON.stringify({ heads: heads.length, tokens: tokens.length, pressed, text: main.text() }));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="the page's script needs node to run outside a browser")
@pytest.mark.parametrize("name", ["gpt2", "laplace", "transformer", "rnnsearch", "bert", "fnet-hybrid", "gpt2-labels"])
def test_the_script_draws_every_familys_views(name: str, tmp_path: Any) -> None:
    wanted = EVERYTHING | ({"ablate": frozenset({(0, 0)})} if name == "gpt2" else {})
    wanted |= {"attention": (0,)} if name == "rnnsearch" else {}
    found = look(name, **wanted)
    elements = parsed(look_html(found))
    data, script = elements.inside["script"]
    parts = {"data": data, "script.js": script.strip(), "stub.js": STUB}
    for file, content in parts.items():
        (tmp_path / file).write_text(content, encoding="utf-8")
    run = subprocess.run(
        ["node", *(str(tmp_path / file) for file in ("stub.js", "data", "script.js"))],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    drawn = json.loads(run.stdout)
    assert drawn["tokens"] == len(found["tokens"])
    shapes = [part["shape"] for part in _thumbnails(found) if part["data"]]
    attending = len(found["attends"]) * found["n_heads"] if shapes and found["attends"] else 0
    others = sum(part["shape"][0] * part["shape"][1] for part in _thumbnails(found)[1:])
    assert drawn["heads"] == attending + others and len(drawn["pressed"]) == min(1, drawn["heads"])
    if found["surprise"]:
        likeliest = 100 * found["next"][0]["probability"]
        assert f"{likeliest:.{2 if likeliest < 0.995 else 1}f} %" in drawn["text"]
    if found["notes"]:
        assert next(iter(found["notes"].values())) in drawn["text"]


def _thumbnails(found: dict[str, Any]) -> list[dict[str, Any]]:
    maps = found["thumbnails"]
    return [] if maps is None else [maps, *(maps[kind] for kind in ("encoder", "cross") if maps.get(kind))]
