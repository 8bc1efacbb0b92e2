"""The OpenAPI document is true: what it allows is answered as it says, what it forbids is refused; never a 500."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from running import running
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

NAMES = ("writer", "en-fr", "reader", "judge")
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]
# So that examples reach the models and do not take long; the bounds themselves have tests of their own.
SMALLER: dict[str, dict[str, Any]] = {
    "model": {"enum": [*NAMES, "nobody"]},
    "max_tokens": {"maximum": 5},
    "n": {"maximum": 3},
    "best_of": {"maximum": 3},
    "logprobs": {"maximum": 5},
    "top": {"maximum": 20},
    "beam": {"maximum": 2},
    "thumbnails": {"maximum": 8},
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(NAMES, tmp_path_factory.mktemp("lessons")) as found:
        yield found


@pytest.fixture(scope="module")
def document(address: str) -> Any:
    with urllib.request.urlopen(f"{address}/openapi.json", timeout=30) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def described(address: str, document: Any) -> Any:
    schema = schemathesis.openapi.from_dict(_smaller(document))
    schema.config.update(base_url=address)
    return schema.exclude(path="/v1/lessons")  # each would train a model


def _smaller(value: Any) -> Any:
    if isinstance(value, list):
        return [_smaller(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {key: _smaller(one) for key, one in value.items()}
    for name, bounds in SMALLER.items():
        field = found.get("properties", {}).get(name)
        if isinstance(field, dict):
            parts = [part for part in field.get("anyOf", [field]) if part.get("type") in ("integer", "string")]
            for part in parts:
                part.update(bounds)
    return found


@pytest.mark.parametrize("examples", [8, pytest.param(120, marks=pytest.mark.night)])
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "forbidden"])
def test_what_the_document_says_is_so(described: Any, mode: GenerationMode, examples: int) -> None:
    names = []
    for found in described.get_all_operations():
        operation = found.ok()
        names.append(operation.label)

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def answered_as_said(case: Any) -> None:
            case.call_and_validate(checks=CHECKS, timeout=60)

        try:
            answered_as_said()
        except Unsatisfiable:  # nothing can be wrong about a request without fields
            assert mode is GenerationMode.NEGATIVE and operation.body.items == []
    assert len(names) > 15


def test_every_route_says_what_it_takes_gives_and_refuses(document: Any) -> None:
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            assert said["summary"], (path, method)
            assert "422" not in said["responses"], (path, method)  # refusals have OpenAI's shape, and 400
            assert {"400", "401", "429", "default"} <= set(said["responses"]), (path, method)
            given = said["responses"]["200"]
            assert path == "/metrics" or given["content"], (path, method)
            if path.startswith("/v1/") and method == "post" and "chat" not in path:
                assert said["requestBody"]["content"].keys() == {"application/json"}, path
    assert "text/event-stream" in document["paths"]["/v1/completions"]["post"]["responses"]["200"]["content"]
