"""The API as clients see it: the official openai client, and plain requests for what it does not know."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from running import running

import headway

PROMPT = "It was a bright cold day"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    names = ("writer", "en-fr", "reader", "judge")
    with running(names, tmp_path_factory.mktemp("lessons")) as found:
        yield found


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def writer() -> headway.Writer:
    return headway.Writer("writer")


def post(address: str, path: str, body: Any) -> Any:
    request = urllib.request.Request(
        f"{address}{path}", json.dumps(body).encode(), {"content-type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return json.load(error)


def events(address: str, body: Any) -> list[Any]:
    request = urllib.request.Request(
        f"{address}/v1/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        lines = [line.removeprefix(b"data: ") for line in answer.read().split(b"\n\n") if line]
    assert lines[-1] == b"[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_a_completion_is_what_the_writer_writes(client: openai.OpenAI, writer: headway.Writer) -> None:
    given = {"temperature": 0.8, "top_p": 0.9, "seed": 7, "max_tokens": 23}
    answer = client.completions.create(model="writer", prompt=PROMPT, **given)
    mine = writer.write(PROMPT, temperature=0.8, top_p=0.9, seed=7, max_new_tokens=23)
    assert answer.choices[0].text == mine.text
    assert answer.choices[0].finish_reason == mine.finish_reason
    assert answer.usage is not None and answer.usage.completion_tokens == len(mine.ids)


def test_a_stream_is_the_whole_answer_in_pieces(client: openai.OpenAI) -> None:
    given: dict[str, Any] = {"model": "writer", "prompt": PROMPT, "seed": 3, "max_tokens": 29, "n": 2, "logprobs": 3}
    whole = client.completions.create(**given)
    texts, tokens, reasons = ["", ""], [[], []], [None, None]
    for chunk in client.completions.create(stream=True, **given):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            tokens[choice.index] += choice.logprobs.token_logprobs if choice.logprobs else []
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    for choice in whole.choices:
        assert choice.text == texts[choice.index]
        assert choice.logprobs is not None and choice.logprobs.token_logprobs == tokens[choice.index]
        assert choice.finish_reason == reasons[choice.index]


def test_several_prompts_and_samples_are_each_as_if_alone(client: openai.OpenAI, writer: headway.Writer) -> None:
    prompts = [PROMPT, "The king"]
    answer = client.completions.create(model="writer", prompt=prompts, n=3, seed=5, max_tokens=11, temperature=1.0)
    mine = writer.write(prompts, samples=3, seed=5, max_new_tokens=11, temperature=1.0)
    assert [choice.text for choice in answer.choices] == [one.text for row in mine for one in row]


def test_stop_strings_and_biases_hold(client: openai.OpenAI, writer: headway.Writer) -> None:
    mine = writer.write(PROMPT, temperature=0, max_new_tokens=60, stop=[" the"])
    answer = client.completions.create(model="writer", prompt=PROMPT, temperature=0, max_tokens=60, stop=" the")
    assert answer.choices[0].text == mine.text and " the" not in answer.choices[0].text
    first = writer.write(PROMPT, temperature=0, max_new_tokens=1).ids[0]
    biased = client.completions.create(
        model="writer", prompt=PROMPT, temperature=0, max_tokens=1, logit_bias={str(first): -100}
    )
    assert biased.choices[0].text != writer.tokenizer.decode([first])


def test_an_echo_is_scored_like_the_text(client: openai.OpenAI, writer: headway.Writer) -> None:
    answer = client.completions.create(model="writer", prompt=PROMPT, echo=True, max_tokens=0, logprobs=2)
    scored = writer.score(PROMPT)
    logprobs = answer.choices[0].logprobs
    assert answer.choices[0].text == PROMPT and logprobs is not None and logprobs.token_logprobs is not None
    assert logprobs.token_logprobs[0] is None
    assert logprobs.token_logprobs[1:] == pytest.approx(scored.logprobs[1:], abs=1e-4)
    assert logprobs.text_offset == [0, *logprobs.text_offset[1:]] if logprobs.text_offset else False


def test_the_best_of_several_has_the_highest_mean(client: openai.OpenAI, writer: headway.Writer) -> None:
    answer = client.completions.create(model="writer", prompt=PROMPT, best_of=4, seed=2, max_tokens=9, temperature=1.0)
    several = writer.write(PROMPT, samples=4, seed=2, max_new_tokens=9, temperature=1.0)
    best = max(several, key=lambda one: sum(one.logprobs) / len(one.logprobs))
    assert answer.choices[0].text == best.text


def test_a_schema_is_followed(address: str) -> None:
    schema = {"type": "object", "properties": {"year": {"type": "integer"}}, "required": ["year"]}
    schema["additionalProperties"] = False
    body = {"model": "writer", "prompt": "Data: ", "max_tokens": 60, "temperature": 0}
    answer = post(
        address, "/v1/completions", {**body, "response_format": {"type": "json_schema", "json_schema": schema}}
    )
    choice = answer["choices"][0]
    if choice["finish_reason"] == "stop":
        assert isinstance(json.loads(choice["text"])["year"], int)
    else:
        assert choice["text"].replace(" ", "").replace("\n", "").startswith('{"year":'[: len(choice["text"])])
    answer = post(address, "/v1/completions", {**body, "response_format": {"type": "regex", "regex": "[0-9]{3}"}})
    assert len(answer["choices"][0]["text"]) == 3 and answer["choices"][0]["text"].isdigit()


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        ({"model": "nobody", "prompt": "x"}, openai.NotFoundError, "writer"),
        ({"model": "en-fr", "prompt": "x"}, openai.BadRequestError, "write"),
        ({"model": "writer", "prompt": "x", "temperature": -1}, openai.BadRequestError, "temperature"),
        ({"model": "writer", "prompt": "x", "suffix": "y"}, openai.BadRequestError, "suffix"),
        ({"model": "writer", "prompt": "x", "best_of": 1, "n": 2}, openai.BadRequestError, "best_of"),
        ({"model": "writer", "prompt": [10**7]}, openai.BadRequestError, "ids"),
        ({"model": "writer", "prompt": "x", "logit_bias": {"a": 1}}, openai.BadRequestError, "logit_bias"),
        ({"model": "writer", "prompt": "x", "max_tokens": 10**9}, openai.BadRequestError, "max_tokens"),
        ({"model": "writer", "prompt": "x", "max_tokens": "5"}, openai.BadRequestError, "max_tokens"),
        ({"model": "writer", "prompt": [True]}, openai.BadRequestError, "prompt"),
        ({"model": "writer", "prompt": "x", "extra_body": {"tools": []}}, openai.BadRequestError, "tools"),
        ({"model": "writer", "prompt": "x", "best_of": 2, "stream": True}, openai.BadRequestError, "best_of"),
    ],
)
def test_what_cannot_be_is_refused_by_name(client: openai.OpenAI, body: Any, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        client.completions.create(**body)


def test_chat_is_refused_and_completions_named(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="/v1/completions"):
        client.chat.completions.create(model="writer", messages=[{"role": "user", "content": "hi"}])


def test_the_other_verbs_answer_as_the_library_does(address: str, client: openai.OpenAI) -> None:
    reader = headway.Reader("reader")
    vectors = client.embeddings.create(model="reader", input=["a text", "another one"])
    expected = reader.embed(["a text", "another one"])
    for at, one in enumerate(vectors.data):
        assert one.embedding == pytest.approx(expected[at].tolist(), abs=1e-6)
    filled = post(address, "/v1/fill", {"model": "reader", "input": "The [MASK] of the Union", "top": 3})
    assert [one["token"] for one in filled["data"]] == [
        one.token for one in reader.fill("The [MASK] of the Union", top=3)
    ]
    judged = post(address, "/v1/classify", {"model": "judge", "input": "A wonderful film."})
    assert judged["data"][0]["label"] == headway.Reader("judge").classify("A wonderful film.").label
    translated = post(address, "/v1/translate", {"model": "en-fr", "input": "Where is he?", "alignment": True})
    assert translated["data"][0]["text"] == headway.Translator("en-fr").translate("Where is he?").text
    weights = translated["data"][0]["alignment"]["weights"]
    assert all(sum(row) == pytest.approx(1, abs=1e-3) for row in weights)


def test_a_look_inside_has_the_model_s_own_numbers(address: str, writer: headway.Writer) -> None:
    seen = post(address, "/v1/inspect", {"model": "writer", "text": PROMPT, "attention": [0], "logit_lens": 2})
    assert [one["id"] for one in seen["tokens"]] == writer.tokenizer.encode(PROMPT)
    scored = writer.score(PROMPT).logprobs
    bits = [None if value is None else -value / 0.6931471805599453 for value in scored]
    assert seen["surprise"][1:] == pytest.approx(bits[1:], abs=1e-3)
    assert all(sum(row) == pytest.approx(1, abs=1e-3) for head in seen["attention"]["0"] for row in head)
    following = post(address, "/v1/next", {"model": "writer", "text": PROMPT, "top": 5, "top_k": 2})
    assert following["candidates"][0]["probability"] == pytest.approx(seen["next"][0]["probability"], abs=1e-4)
    assert sum(one["kept_probability"] > 0 for one in following["candidates"]) == 2
    silenced = post(address, "/v1/inspect", {"model": "writer", "text": PROMPT, "ablate": [[0, -1]]})
    assert silenced["without_ablation"]["next"][0]["probability"] == pytest.approx(seen["next"][0]["probability"])
    assert silenced["next"] != silenced["without_ablation"]["next"]


def test_a_completion_comes_with_a_look_inside_where_asked(address: str) -> None:
    body = {"model": "writer", "prompt": PROMPT, "max_tokens": 3, "inspect": {"heads": True}}
    answer = post(address, "/v1/completions", body)
    assert len(answer["inspection"]["tokens"]) == answer["usage"]["prompt_tokens"] + 3
    assert "inspection" not in post(address, "/v1/completions", {**body, "inspect": None})


def test_a_stream_ends_with_the_look_inside_and_the_usage(address: str) -> None:
    body = {"model": "writer", "prompt": PROMPT, "max_tokens": 3, "temperature": 0, "inspect": {"logit_lens": 1}}
    whole = post(address, "/v1/completions", body)
    *pieces, looked, used = events(address, {**body, "stream": True, "stream_options": {"include_usage": True}})
    assert looked["choices"] == used["choices"] == []
    assert looked["inspection"] == whole["inspection"] and used["usage"] == whole["usage"]
    assert "".join(piece["choices"][0]["text"] for piece in pieces) == whole["choices"][0]["text"]


def test_an_error_in_a_stream_is_an_event(address: str) -> None:
    body = {"model": "writer", "prompt": PROMPT, "max_tokens": 3, "inspect": {"attention": [99]}, "stream": True}
    assert events(address, body)[-1]["error"]["type"] == "invalid_request_error"


def test_a_seed_that_was_drawn_is_told_and_repeats_the_text(address: str) -> None:
    body = {"model": "writer", "prompt": PROMPT, "max_tokens": 12, "temperature": 1}
    first, other = post(address, "/v1/completions", body), post(address, "/v1/completions", body)
    again = post(address, "/v1/completions", {**body, "seed": first["seed"]})
    assert first["choices"] == again["choices"] and first["choices"] != other["choices"]
    assert first["system_fingerprint"] == again["system_fingerprint"] != ""


def test_the_models_say_what_they_are(address: str) -> None:
    with urllib.request.urlopen(f"{address}/v1/models", timeout=60) as answer:
        listed = {one["id"]: one["headway"] for one in json.load(answer)["data"]}
    assert listed["writer"]["verbs"] == ["write"] and listed["judge"]["labels"] == ["neg", "pos"]
    assert listed["en-fr"]["length_curve"][-1]["words"] > listed["en-fr"]["length_curve"][0]["words"]
    assert "Limits" in listed["reader"]["card"]["text"]


def test_metrics_count_what_was_done(address: str) -> None:
    post(address, "/v1/completions", {"model": "writer", "prompt": "a", "max_tokens": 4})
    with urllib.request.urlopen(f"{address}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    assert 'headway_tokens_total{model="writer"}' in text and "headway_first_token_seconds_count" in text


def test_a_lesson_is_watched_and_kept(address: str, tmp_path: Path) -> None:
    refused = post(address, "/v1/lessons", {"text": "too short", "seconds": 5})
    assert refused["error"]["type"] == "invalid_request_error" and "1,000" in refused["error"]["message"]
    missing = post(address, "/v1/lessons/none/keep", {"name": "x"})
    assert missing["error"]["code"] == "lesson_not_found"
