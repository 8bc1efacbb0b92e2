"""S4: what is too large, too many or too deep is refused at once, and the server does not grow by it."""

import asyncio
import json
import time
from collections.abc import Sequence

from attacks.raw import Trial, answer_to, forget_peak, peak_of, post, scaled
from served import HOST, Server, request

GROWTH = 16 * 1024 * 1024
QUICK_SECONDS = 5.0
NEXT_SECONDS = 0.1


async def oversize(server: Server, model: str, scale: float) -> Trial:
    """Headers, bodies, chunks and JSON, one kind after another; each may make the process larger by 16 MiB at most."""
    megabytes = scaled(400, scale, 20)
    kinds = {
        "headers": _headers(megabytes),
        "bodies": _bodies(megabytes),
        "chunks": _chunks(scaled(1_000_000, scale, 50_000)),
        "json": _json(model),
        "smuggled": _smuggled(),
    }
    first = {"model": model, "prompt": "a", "max_tokens": 2, "response_format": {"type": "regex", "regex": "a+"}}
    await request(server.port, "POST", "/v1/completions", first)  # what is loaded once is loaded now
    figures: dict[str, object] = {"megabytes_sent": megabytes}
    broken = []
    for name, requests in kinds.items():
        before, slowest, statuses = server.memory(), 0.0, []
        forget_peak(server)
        for sent in requests:
            began = time.perf_counter()
            statuses.append(await answer_to(server.port, sent))
            slowest = max(slowest, time.perf_counter() - began)
        after = await request(server.port, "GET", "/healthz")
        grown = max(peak_of(server), server.memory()) - before
        figures[name] = {
            "statuses": statuses,
            "slowest_s": round(slowest, 3),
            "peak_growth_mb": round(grown / 1e6, 1),
            "next_s": round(after.seconds, 4),
        }
        broken += [f"{name}: answered {status}" for status in set(statuses) if not 400 <= status < 500 and status != 0]
        broken += [f"{name}: grew by {grown / 1e6:.0f} MB"] * (grown > GROWTH)
        broken += [f"{name}: the next request took {after.seconds:.2f} s"] * (after.seconds > NEXT_SECONDS)
        await asyncio.sleep(0.1)
    return Trial("S4", figures, broken)


def _headers(megabytes: int) -> Sequence[bytes]:
    """Many, a long one, a long path, one that never ends."""
    many = post(b"{}", more=[f"X-{number}: {'a' * 100}" for number in range(10_000)])
    long = post(b"{}", more=["X-Long: " + "a" * (megabytes * 700_000)])
    path = post(b"{}", path="/v1/" + "a" * 1_000_000)
    endless = b"POST / HTTP/1.1\r\nX-Endless: " + b"a" * (megabytes * 700_000)
    return [many, long, path, endless, b"GET /" + b"?" * 100_000, b"\r\n" * 1_000_000]


def _bodies(megabytes: int) -> Sequence[bytes]:
    """Stated as huge, huge, huge in chunks without an end, compressed, and a range of nonsense."""
    chunk = b"100000\r\n" + b"a" * 0x100000 + b"\r\n"
    return [
        post(b"{", length=10**15),
        post(b'{"prompt": "' + b"a" * (megabytes * 1_000_000)),
        post(b"", more=["Transfer-Encoding: chunked"]) + chunk * megabytes,
        post(b"\x1f\x8b" + b"\0" * 1000, more=["Content-Encoding: gzip"]),
        post(b"{}", more=["Range: bytes=" + ",".join(f"{at}-{10**12}" for at in range(2_000))]),
    ]


def _chunks(count: int) -> Sequence[bytes]:
    """A flood of one byte each, and sizes that are no numbers."""
    head = post(b"", more=["Transfer-Encoding: chunked"])
    wrong = [head + line + b"\r\n" for line in (b"-1", b"f" * 40, b"1;" + b"a" * 100_000 + b"\r\na\r\n0\r\n", b"\0")]
    return [head + b"1\r\n \r\n" * count + b"0\r\n\r\n", *wrong]


def _json(model: str) -> Sequence[bytes]:
    """Nesting, long numbers, a hundred thousand keys, the same key again and again, counts beyond all bounds."""
    asked = {"model": model, "prompt": "a"}
    bodies = [b"[" * 500_000, b'{"a":' * 200_000, b'{"seed": ' + b"9" * 500_000 + b"}", b'{"temperature": 1e999999}']
    bodies += [b'{"model":"' + b"\\u0000" * 100_000 + b'"}', b"{" + b'"prompt": "a",' * 50_000 + b'"prompt": "a"}']
    bodies += [
        json.dumps(body).encode()
        for body in (
            {f"key{number}": number for number in range(100_000)},
            {**asked, "prompt": ["a"] * 100_000},
            {**asked, "prompt": [[1]] * 100_000},
            {**asked, "n": 10**6, "best_of": 10**9},
            {**asked, "stop": ["a" * 1_000] * 3_000},
            {**asked, "max_tokens": 10**18},
            {**asked, "logit_bias": {str(id): 1 for id in range(100_000)}},
            {**asked, "response_format": {"type": "regex", "regex": "(" * 9_000}},
        )
    ]
    return [post(body) for body in bodies]


def _smuggled() -> Sequence[bytes]:
    """Two lengths, a length beside chunks, foreign hosts, paths out of the page's folder."""
    paths = ("/static/../../etc/passwd", "/static/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/static/\\..\\x", "/%00")
    return [
        post(b"{}", more=["Content-Length: 7"]),
        post(b"0\r\n\r\n", more=["Transfer-Encoding: chunked", "Content-Length: 5"]),
        b"GET /v1/models HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        *(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode() for path in paths),
    ]
