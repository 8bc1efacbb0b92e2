"""Text is never markup, and other pages reach nothing."""

import http.server
import json
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.browser
CODE = "window.__ran=1"


def payloads() -> list[str]:
    """What would run in a page that took text for markup: elements, attributes, links, templates, disguised."""
    elements = [
        f"<script>{CODE}</script>",
        f"<img src=x onerror={CODE}>",
        f"<svg onload={CODE}>",
        f"<svg><animate onbegin={CODE} attributeName=x dur=1s>",
        f"<iframe srcdoc='<script>parent.{CODE}</script>'></iframe>",
        f"<body onpageshow={CODE}>",
        f"<details open ontoggle={CODE}>",
        f"<input autofocus onfocus={CODE}>",
        f"<video><source onerror={CODE}></video>",
        f"<math><mtext><script>{CODE}</script></mtext></math>",
        f"<a href='javascript:{CODE}'>x</a>",
        f"<form action='javascript:{CODE}'><button>x</button></form>",
        f"<object data='javascript:{CODE}'></object>",
        f"<template><script>{CODE}</script></template>",
        f"<style>@import 'javascript:{CODE}';</style>",
        f"<base href='javascript:{CODE}//'>",
        f"<meta http-equiv=refresh content='0;url=javascript:{CODE}'>",
        f"${{{CODE}}}",
        f"{{{{constructor.constructor('{CODE}')()}}}}",
        f"javascript:{CODE}",
        f"<noscript><p title='</noscript><img src=x onerror={CODE}>'>",
        f"<xmp><p title='</xmp><img src=x onerror={CODE}>'>",
        f"<textarea></textarea><img src=x onerror={CODE}>",
        f"<title></title><svg onload={CODE}>",
        f"<select><option><img src=x onerror={CODE}></select>",
    ]
    disguises = [
        lambda text: text,
        lambda text: f'">{text}',
        lambda text: f"'>{text}",
        lambda text: f"</textarea></title></script>{text}",
        lambda text: f"-->{text}<!--",
        lambda text: f"`{text}`",
        lambda text: text.replace("<", "\uff1c<").replace(" ", "\x0c"),
        lambda text: f"\u202e{text}\u2028\ufeff",
    ]
    return [disguise(text) for text in elements for disguise in disguises]


def test_scripts_as_prompts_and_as_a_model_s_words_run_nothing(tab: Any) -> None:
    """200 payloads: typed in, and back as tokens, alternatives, translations, guesses and an error's words."""
    every = payloads()
    assert len(every) == 200
    page = tab.page
    page.route("**/v1/next", lambda route: route.fulfill(json=next_answer(every)))
    page.route("**/v1/completions", lambda route: route.fulfill(body=stream(every), content_type="text/event-stream"))
    tab.open("write")
    page.wait_for_selector(".bars .bar")
    page.locator("#prompt").fill("\n".join(every))
    page.get_by_role("button", name="Write", exact=True).click()
    page.wait_for_selector(".written .token")
    page.wait_for_function("() => document.querySelectorAll('.written .token:not(.given)').length === 200")
    assert every[0] in page.locator(".written .token:not(.given)").all_text_contents()
    nothing_ran(page)
    page.route("**/v1/translate", lambda route: route.fulfill(json=translation(every)))
    tab.open("translate")
    page.wait_for_selector(".translation")
    nothing_ran(page)
    guesses = [{"place": 0, "id": at, "token": text, "probability": 0.001} for at, text in enumerate(every)]
    page.route("**/v1/fill", lambda route: route.fulfill(json={"data": guesses}))
    tab.open("fill")
    page.wait_for_function("() => document.querySelectorAll('.bars .bar').length > 200")
    nothing_ran(page)
    tab.open("look?text=" + "%0A".join(map(urllib.request.quote, every[:5])))
    page.wait_for_selector("table.lens")
    nothing_ran(page)
    page.route("**/v1/inspect", lambda route: route.fulfill(status=400, json={"error": {"message": " ".join(every)}}))
    tab.open("look?text=again")
    page.get_by_role("button", name="Look", exact=True).click()
    page.wait_for_selector(".trouble")
    nothing_ran(page)
    tab.wrong[:] = [wrong for wrong in tab.wrong if "status of 400" not in wrong]  # the answer that this test made


def nothing_ran(page: Any) -> None:
    page.wait_for_timeout(150)
    assert page.evaluate("() => window.__ran") is None
    inside = (
        "#page script, #page iframe, #page object, #page base, #page meta, #page style, #page video, #page form[action]"
    )
    assert page.locator(inside).count() == 0


def next_answer(texts: list[str]) -> dict[str, Any]:
    one = {"probability": 0.001, "kept_probability": 0.001}
    candidates = [{"id": at, "text": text, **one} for at, text in enumerate(texts)]
    return {"candidates": candidates, "rest": {"count": 3, **one}, "windowed": False}


def stream(texts: list[str]) -> str:
    events = []
    for text in texts:
        logprobs = {"tokens": [text], "token_logprobs": [-1.0], "top_logprobs": [{}], "text_offset": [0]}
        choice = {"index": 0, "text": text, "ids": [1], "finish_reason": None, "logprobs": logprobs}
        events.append({"id": "x", "object": "text_completion", "model": "writer", "choices": [choice]})
    events.append({**events[-1], "choices": [{"index": 0, "text": "", "ids": [], "finish_reason": "length"}]})
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"


def translation(texts: list[str]) -> dict[str, Any]:
    weights = [[1.0] * 5 for _ in range(5)]
    alignment = {"source": texts[:5], "target": texts[5:10], "weights": weights}
    return {"data": [{"text": " ".join(texts), "score": 0.0, "finish_reason": "end", "alignment": alignment}]}


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """A page of another origin on this machine."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title><body></body>")

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_page_of_another_origin_reaches_no_route(browser: Any, address: str, elsewhere: str) -> None:
    def handled() -> float:
        """Requests that a route answered, the ones that read this number left out; a refusal counts as "other"."""
        with urllib.request.urlopen(f"{address}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        counts = [line for line in lines if line.startswith("headway_requests_total{")]
        own = ('route="other"', 'route="/metrics"')
        return sum(float(line.split()[-1]) for line in counts if not any(one in line for one in own))

    before = handled()
    context = browser.new_context()
    page = context.new_page()
    page.goto(elsewhere)
    port = address.rsplit(":", 1)[1]
    outcomes = page.evaluate(
        """async (targets) => {
          const told = [];
          const body = JSON.stringify({model: "writer", prompt: "Once", max_tokens: 3});
          for (const target of targets) {
            for (const type of ["application/json", "text/plain", "application/x-www-form-urlencoded"]) {
              for (const mode of ["cors", "no-cors"]) {
                try {
                  const headers = {"content-type": type};
                  const answer = await fetch(target + "/v1/completions", {method: "POST", mode, body, headers});
                  told.push(answer.type === "opaque" ? "opaque" : "read " + answer.status);
                } catch { told.push("refused"); }
              }
            }
            try { told.push("read " + (await fetch(target + "/v1/models")).status); } catch { told.push("refused"); }
            told.push(await new Promise((done) => {
              const socket = new WebSocket(target.replace("http", "ws") + "/v1/completions");
              socket.onopen = () => done("open");
              socket.onerror = () => done("refused");
            }));
            const frame = document.createElement("iframe");
            frame.name = "sink";
            const form = document.createElement("form");
            Object.assign(form, {method: "post", target: "sink", enctype: "text/plain"});
            form.action = target + "/v1/completions";
            const field = document.createElement("input");
            field.name = body;
            form.append(field);
            document.body.append(frame, form);
            form.submit();
            await new Promise((done) => setTimeout(done, 300));
          }
          return told;
        }""",
        [address, f"http://localhost:{port}"],
    )
    context.close()
    assert set(outcomes) <= {"refused", "opaque"} and len(outcomes) == 16
    assert handled() == before
