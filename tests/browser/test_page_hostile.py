"""Pages of other origins reach nothing."""

import http.server
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.browser


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
