"""S5: noise, requests with wrong bytes, and what the OpenAPI document allows and forbids: never a 500, no hang."""

import asyncio
import json
import random
import warnings
from typing import Any

from attacks.raw import Trial, answer_to, post, scaled, text_of
from served import HOST, Server, request

TOGETHER = 8
SECONDS = 5.0
# So that what is allowed is answered quickly; the bounds themselves are tried elsewhere.
_SMALLER = {"max_tokens": 5, "n": 3, "best_of": 3, "logprobs": 5, "top": 20, "beam": 2, "thumbnails": 8}


async def malformed(server: Server, model: str, scale: float) -> Trial:
    """Half of the bytes are noise, half a good request with up to seven bytes changed; then schemathesis."""
    port, draw, count = server.port, random.Random(5), scaled(10_000, scale, 100)
    right = post(json.dumps({"model": model, "prompt": "a", "max_tokens": 1}).encode())
    statuses: dict[int, int] = {}
    sick = 0
    for first in range(0, count, TOGETHER):
        sent = [_noise(draw) if draw.random() < 0.5 else _changed(right, draw) for _ in range(TOGETHER)]
        for status in await asyncio.gather(*(answer_to(port, one, ends=True) for one in sent)):
            statuses[status] = statuses.get(status, 0) + 1
        if first % 96 == 0:
            healthy = await request(port, "GET", "/healthz", limit=60.0)
            sick += healthy.status != 200 or healthy.seconds > SECONDS
    document = json.loads((await text_of(port, "/openapi.json")).split("\r\n\r\n", 1)[1])
    cases, wrong = await asyncio.to_thread(_by_document, document, port, model, scaled(10_000, scale, 100))
    alive = server.process.poll() is None
    figures = {"raw": count, "statuses": statuses, "cases": cases, "unhealthy": sick, "alive": alive}
    broken = [f"{statuses[status]} answers {status}" for status in statuses if status >= 500 and status != 503]
    broken += [f"{statuses.get(-1)} hung"] * (-1 in statuses)
    broken += [f"{sick} times not healthy"] * bool(sick) + wrong[:10] + ["it died"] * (not alive)
    return Trial("S5", figures, broken)


def _noise(draw: random.Random) -> bytes:
    return draw.randbytes(draw.randrange(1, 2_000))


def _changed(right: bytes, draw: random.Random) -> bytes:
    changed = bytearray(right)
    for _ in range(draw.randrange(1, 8)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed[: draw.randrange(1, len(changed))] if draw.random() < 0.2 else changed)


def _by_document(document: Any, port: int, model: str, count: int) -> tuple[int, list[str]]:
    """Schemathesis' cases over every operation, allowed and forbidden ones; how many were sent, what was wrong."""
    import schemathesis
    from hypothesis import HealthCheck, given, settings
    from hypothesis.errors import Unsatisfiable
    from schemathesis import GenerationMode

    warnings.simplefilter("ignore")
    schema = schemathesis.openapi.from_dict(_smaller(document, model)).exclude(path="/v1/lessons")
    operations = [found.ok() for found in schema.get_all_operations()]
    examples, sent, wrong = max(1, count // (2 * len(operations))), 0, []
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=examples,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            def tried(case: Any) -> None:
                nonlocal sent
                answer = case.call(base_url=f"http://{HOST}:{port}", timeout=60)
                sent += 1
                if answer.status_code == 500 or b"Traceback" in answer.content:
                    wrong.append(f"{case.method} {case.path} answered {answer.status_code}: {answer.content[:200]!r}")

            try:
                tried()
            except Unsatisfiable:  # nothing can be wrong about a request without fields
                continue
            except Exception as error:
                wrong.append(f"{operation.label}: {type(error).__name__} {str(error)[:200]}")
    return sent, wrong


def _smaller(value: Any, model: str) -> Any:
    if isinstance(value, list):
        return [_smaller(one, model) for one in value]
    if not isinstance(value, dict):
        return value
    found = {key: _smaller(one, model) for key, one in value.items()}
    fields = found.get("properties", {})
    if isinstance(fields.get("model"), dict):
        fields["model"]["enum"] = [model, "nobody"]
    for name, most in _SMALLER.items():
        field = fields.get(name)
        if isinstance(field, dict):
            for part in field.get("anyOf", [field]):
                if part.get("type") == "integer":
                    part["maximum"] = most
    return found
