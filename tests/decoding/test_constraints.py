"""Constrained rows: what they write follows the constraint, and no constraint can hold up the rows beside them."""

import json
import re
import sys
from collections import defaultdict
from typing import Any

import numpy
import pytest
import torch

from headway.decoding.choice import Choice, choose
from headway.decoding.constraints import MOST_CHARACTERS, MOST_DEPTH, Constraint, GrammarVocabulary
from headway.decoding.rows import Rows
from headway.decoding.speculation import Lookup
from headway.errors import ConfigError, DependencyError, HeadwayError, UsageError
from headway.models.gpt2 import GPT2, GPT2Config
from headway.serve.grammars import grammar_vocabulary
from headway.text.tokenizer import Tokenizer

END = 256
TOKENS = [*(bytes([byte]) for byte in range(256)), b"", b'{"', b'": ', b"tru", "é".encode(), b"\xe2\x82", b"12", b'"}']
GREEDY = Choice(temperature=0)
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "kind": {"enum": ["cat", "dog", None]},
        "tags": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
    },
    "required": ["name", "age", "kind", "tags"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def vocabulary() -> GrammarVocabulary:
    return GrammarVocabulary(TOKENS, end=END, encode=list)


@pytest.fixture(scope="module")
def model() -> GPT2:
    torch.manual_seed(3)
    config = GPT2Config(vocabulary=len(TOKENS), context=97, width=14, n_layers=2, n_heads=2, initial_deviation=0.6)
    return GPT2(config).eval()


def texts(model: GPT2, constraint: Constraint, choice: Choice, *, samples: int = 1, **settings: Any) -> list[bytes]:
    """What the samples write, and that each ended by itself."""
    rows = Rows(model, vocabulary=len(TOKENS), **settings)
    rows.add([5], choice, max_new_tokens=300, samples=samples, stop_ids=frozenset([END]), constraint=constraint)
    written: dict[int, list[int]] = defaultdict(list)
    while len(rows):
        for emitted in rows.step():
            if emitted.finish_reason is None:
                written[emitted.row].append(emitted.id)
            else:
                assert emitted.finish_reason == "stop" and emitted.id == END
    return [b"".join(TOKENS[id] for id in written[row]) for row in range(samples)]


def test_fifty_sampled_texts_are_json_by_the_schema(vocabulary: GrammarVocabulary, model: GPT2) -> None:
    written = texts(model, vocabulary.json_schema(PERSON), Choice(seed=7), samples=50)
    assert len(set(written)) > 25
    for text in written:
        value = json.loads(text.decode())
        assert list(value) == ["name", "age", "kind", "tags"]
        assert isinstance(value["name"], str) and len(value["name"]) <= 5
        assert isinstance(value["age"], int) and 0 <= value["age"] <= 150
        assert value["kind"] in ["cat", "dog", None]
        assert 1 <= len(value["tags"]) <= 3 and all(isinstance(tag, bool) for tag in value["tags"])


@pytest.mark.parametrize(
    "choice",
    [
        GREEDY,
        Choice(seed=3, temperature=1e9),
        Choice(seed=3, top_k=1),
        Choice(seed=3, top_p=0.5),
        Choice(seed=3, min_p=0.9, repetition_penalty=1.5),
        Choice(seed=3, bias={ord("z"): 1e6}),
        Choice(temperature=0, bias={ord("z"): 1e6}, frequency_penalty=2.0),
    ],
)
def test_no_choice_leads_out_of_the_constraint(vocabulary: GrammarVocabulary, model: GPT2, choice: Choice) -> None:
    pattern = r"[a-f]{3}-(12|3)+\.é€"
    pattern = pattern.replace("+", "{1,4}")
    for text in texts(model, vocabulary.regex(pattern), choice, samples=5):
        assert re.fullmatch(pattern, text.decode())


def test_a_json_object_and_a_grammar(vocabulary: GrammarVocabulary, model: GPT2) -> None:
    grammar = 'start: "(" start ")" | "[" word "]"\nword: /[ab]{2}/'
    for text in texts(model, vocabulary.lark(grammar), Choice(seed=1), samples=9):
        inner = text.decode()
        while inner.startswith("("):
            assert inner.endswith(")")
            inner = inner[1:-1]
        assert re.fullmatch(r"\[[ab]{2}\]", inner)
    mask = vocabulary.json_object().begin().mask()
    assert set(numpy.flatnonzero(mask)) == {ord("{"), TOKENS.index(b'{"')}


def test_the_end_is_allowed_where_the_text_is_whole_and_nowhere_else(vocabulary: GrammarVocabulary) -> None:
    progress = vocabulary.regex("ab?").begin()
    assert not progress.mask()[END]
    progress.take(ord("a"))
    assert set(numpy.flatnonzero(progress.mask())) == {ord("b"), END}
    progress.take(ord("b"))
    assert set(numpy.flatnonzero(progress.mask())) == {END}
    with pytest.raises(UsageError, match="can no longer be followed"):
        progress.take(ord("c"))


def test_rows_of_one_constraint_do_not_disturb_each_other(vocabulary: GrammarVocabulary) -> None:
    constraint = vocabulary.regex("ab|cd")
    first, second = constraint.begin(), constraint.begin()
    first.take(ord("a"))
    second.take(ord("c"))
    assert set(numpy.flatnonzero(first.mask())) == {ord("b")}
    assert set(numpy.flatnonzero(second.mask())) == {ord("d")}


def test_a_constrained_row_writes_the_same_beside_others_and_with_proposals(
    vocabulary: GrammarVocabulary, model: GPT2
) -> None:
    constraint = vocabulary.regex("(abc|abd){2,9}")
    alone = texts(model, constraint, GREEDY)
    assert texts(model, constraint, GREEDY, drafter=Lookup()) == alone
    rows = Rows(model, vocabulary=len(TOKENS))
    rows.add([5], GREEDY, max_new_tokens=300, stop_ids=frozenset([END]), constraint=constraint)
    free = rows.add([7, 8], GREEDY, max_new_tokens=9)[0]
    found = defaultdict(list)
    while len(rows):
        for emitted in rows.step():
            found[emitted.row].append(emitted.id)
    assert b"".join(TOKENS[id] for id in found[0]) == alone[0]
    unconstrained = Rows(model, vocabulary=len(TOKENS))
    unconstrained.add([7, 8], GREEDY, max_new_tokens=9)
    assert found[free] == [emitted.id for _ in range(9) for emitted in unconstrained.step()]


def test_the_vocabulary_of_gpt2_is_followed(model: GPT2) -> None:
    tokenizer = Tokenizer.load("gpt2")
    torch.manual_seed(1)
    large = GPT2(GPT2Config(vocabulary=tokenizer.size, context=53, width=6, n_layers=1, n_heads=1)).eval()
    rows = Rows(large, vocabulary=tokenizer.size)
    constraint = grammar_vocabulary(tokenizer).json_schema({"enum": [{"café": ["naïve", 12.5]}, "日本"]})
    end = tokenizer.end_of_text
    assert end is not None
    rows.add([1], Choice(seed=2), max_new_tokens=60, samples=4, stop_ids=frozenset([end]), constraint=constraint)
    found = defaultdict(list)
    while len(rows):
        for emitted in rows.step():
            found[emitted.row].append(emitted.id)
    written = [json.loads(tokenizer.decode(found[row][:-1])) for row in range(4)]
    assert all(value in ({"café": ["naïve", 12.5]}, "日本") for value in written)


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


HOSTILE: dict[str, Any] = {
    "too deep": nested(MOST_DEPTH),
    "very deep": nested(50_000),
    "too large": {"enum": ["x" * MOST_CHARACTERS]},
    "too many combinations": {
        "allOf": [{"anyOf": [{"properties": {f"a{at}": {"const": at}}} for at in range(12)]} for _ in range(8)]
    },
    "from elsewhere": {"$ref": "http://127.0.0.1:1/schema.json"},
    "only itself": {"$ref": "#"},
    "unknown keyword": {"type": "object", "propertyNames": {"pattern": "a"}, "unevaluatedProperties": False},
    "wrong value": {"type": "integer", "multipleOf": 0},
    "not JSON": {"const": float("nan")},
    "no schema": {"type": "nothing"},
    "a list": [],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_is_refused_in_few_words(vocabulary: GrammarVocabulary, name: str) -> None:
    with pytest.raises(UsageError) as refused:
        vocabulary.json_schema(HOSTILE[name])
    assert len(str(refused.value)) < 500
    assert str(refused.value).count("\n") < 6


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {f"k{at}": {"type": "string"} for at in range(2000)}},
        {"anyOf": [{"type": "object", "properties": {f"k{at}{n}": {} for n in range(5)}} for at in range(300)]},
    ],
    ids=["properties", "branches"],
)
def test_a_schema_with_too_many_ways_on_is_given_up_as_soon_as_they_open(
    vocabulary: GrammarVocabulary, schema: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match="can no longer be followed"):
        progress = vocabulary.json_schema(schema).begin()
        for token in b'{"k':
            progress.take(token)
            progress.mask()


@pytest.mark.parametrize("pattern", ["(a", "(?=a)b", r"(a)\1", "x" * (MOST_CHARACTERS + 1), 7])
def test_a_pattern_that_cannot_be_followed_is_refused(vocabulary: GrammarVocabulary, pattern: Any) -> None:
    with pytest.raises(UsageError):
        vocabulary.regex(pattern)


@pytest.mark.parametrize("grammar", ["", "start: other", "begin: /a/", 'start: "', None])
def test_a_grammar_that_cannot_be_followed_is_refused(vocabulary: GrammarVocabulary, grammar: Any) -> None:
    with pytest.raises(UsageError):
        vocabulary.lark(grammar)


@pytest.mark.parametrize("pattern", ["(a+)+$", "((a{1,1000}){1,1000}){1,1000}", "(.*a.{20})|(.*b.{20})|(.*c.{19})"])
def test_patterns_that_explode_elsewhere_are_followed_or_refused(vocabulary: GrammarVocabulary, pattern: str) -> None:
    try:
        progress = vocabulary.regex(pattern).begin()
        for _ in range(40):
            mask = progress.mask()
            if not mask[ord("a")]:
                break
            progress.take(ord("a"))
    except UsageError as refused:
        assert len(str(refused)) < 500


def test_a_bias_against_all_that_is_allowed_fails_the_row_alone(vocabulary: GrammarVocabulary, model: GPT2) -> None:
    failures: list[tuple[int, HeadwayError]] = []
    rows = Rows(model, vocabulary=len(TOKENS), on_failure=lambda row, error: failures.append((row, error)))
    stops = frozenset([END])
    never_b = Choice(bias={ord("b"): float("-inf")})
    bad = rows.add([5], never_b, max_new_tokens=9, stop_ids=stops, constraint=vocabulary.regex("ab"))[0]
    good = rows.add([5], GREEDY, max_new_tokens=9, stop_ids=stops, constraint=vocabulary.regex("ab"))[0]
    found = defaultdict(list)
    while len(rows):
        for emitted in rows.step():
            found[emitted.row].append(emitted.id)
    assert found[bad] == [ord("a")]
    assert found[good] == [ord("a"), ord("b"), END]
    assert [row for row, _ in failures] == [bad]
    assert isinstance(failures[0][1], ConfigError)


def test_a_constraint_of_another_vocabulary_or_without_its_end_is_refused(
    vocabulary: GrammarVocabulary, model: GPT2
) -> None:
    constraint = vocabulary.regex("ab")
    with pytest.raises(UsageError, match="ends at id 256"):
        Rows(model, vocabulary=len(TOKENS)).add([5], GREEDY, max_new_tokens=9, constraint=constraint)
    with pytest.raises(UsageError, match="choose from 31"):
        Rows(model, vocabulary=31).add([5], GREEDY, max_new_tokens=9, stop_ids=frozenset([END]), constraint=constraint)


def test_a_mask_leaves_its_ids_the_weights_they_had() -> None:
    logits = torch.randn(1, 11, generator=torch.Generator().manual_seed(2))
    mask = numpy.zeros(11, numpy.bool_)
    mask[[2, 5, 7]] = True
    outside = [id for id in range(11) if not mask[id]]
    for position in range(50):
        choice = Choice(seed=3)
        masked = choose(logits, [choice], [[1]], [0], [position], [mask])
        biased = choose(logits, [Choice(seed=3, bias=dict.fromkeys(outside, -1e9))], [[1]], [0], [position])
        assert masked == biased


def test_without_llguidance_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(DependencyError, match=r"headway\[grammar\]"):
        GrammarVocabulary(TOKENS, end=END, encode=list)
