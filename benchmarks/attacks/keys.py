"""S9: with a key set, every route but the sign of life and the page's own files needs it, whatever the method."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractContextManager

from attacks.raw import Trial, answer_to, text_of
from served import HOST, Server

KEY = "a-key-of-some-length"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND")
WRONG = (None, "Bearer no", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"bearer{KEY}", f"Basic {KEY}", KEY, "Bearer ")


def keys(serving: Callable[..., AbstractContextManager[Server]], model: str, key_file: str) -> Trial:
    """Every path of the OpenAPI document, and some beside it, by every method, with no key and with wrong ones."""
    with serving([model], "--key-file", key_file, key=KEY) as server:
        tried, let_in = asyncio.run(_walk(server.port))
    broken = [f"{one} was let in" for one in let_in[:10]] + ["too few routes were found"] * (tried < 1000)
    return Trial("S9", {"tried": tried, "let_in": len(let_in)}, broken)


async def _walk(port: int) -> tuple[int, list[str]]:
    answer = await text_of(port, "/openapi.json", key=KEY)
    paths = list(json.loads(answer.split("\r\n\r\n", 1)[1])["paths"])
    paths += [
        "/openapi.json",
        "/nowhere",
        "/v1",
        "/static",
        "//healthz",
        "/healthz/",
        "/HEALTHZ",
        "/static/../v1/models",
    ]
    tried, let_in = 0, []
    for path in paths:
        for method in METHODS:
            for number, key in enumerate(WRONG):
                if path == "/healthz":
                    continue
                lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", "Connection: close"]
                lines += [f"Authorization: {key}"] * (key is not None)
                lines += ["Content-Type: application/json", "Content-Length: 2"]
                status = await answer_to(port, "\r\n".join([*lines, "", "{}"]).encode())
                tried += 1
                # Under /static/ lie the page's own files, and nothing else is found there.
                allowed = (401, 404, 405) if path.startswith("/static/") else (401,)
                if status not in allowed:
                    let_in.append(f"{method} {path} with key {number}: {status}")
    return tried, let_in
