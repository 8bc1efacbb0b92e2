from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pytest

from headway.errors import ConfigError
from headway.settings import assign, from_dict, to_dict, without_none


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.5
    name: Literal["a", "b"] = "a"


@dataclass(frozen=True, kw_only=True)
class Outer:
    size: int
    inner: Inner = Inner()
    maybe: float | None = None
    pair: tuple[int, int] = (2, 3)
    extra: Mapping[str, object] = field(default_factory=dict)


def test_a_table_becomes_settings_and_the_same_table_again():
    table = {"size": 7, "inner": {"rate": 1, "name": "b"}, "maybe": 2, "pair": [5, 11], "extra": {"x": [1]}}
    settings = from_dict(Outer, table)
    assert settings == Outer(size=7, inner=Inner(rate=1.0, name="b"), maybe=2.0, pair=(5, 11), extra={"x": [1]})
    assert from_dict(Outer, to_dict(settings)) == settings
    assert "maybe" not in without_none(to_dict(Outer(size=7)))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"size": 7, "iner": {}}, "iner is not a setting; did you mean inner?"),
        ({"size": 7, "inner": {"rat": 1}}, "inner.rat is not a setting; did you mean inner.rate?"),
        ({"size": 7, "zzzzzz": 1}, "zzzzzz is not a setting; known are extra, inner"),
        ({}, "Outer needs a value for size"),
        ({"size": "7"}, "size must be a whole number, but got '7'"),
        ({"size": True}, "size must be a whole number, but got True"),
        ({"size": 7, "maybe": "x"}, "maybe must be a number, but got 'x'"),
        ({"size": 7, "inner": {"name": "c"}}, "inner.name must be one of 'a', 'b', but got 'c'"),
        ({"size": 7, "inner": 3}, "inner must be"),
        ({"size": 7, "pair": [1]}, "pair must have 2 values"),
    ],
)
def test_a_wrong_table_names_the_setting_the_rule_and_the_value(table, message):
    with pytest.raises(ConfigError) as caught:
        from_dict(Outer, table)
    assert message in str(caught.value)


def test_an_assignment_of_the_command_line_is_read_as_toml_or_text():
    table = assign({"train": {"steps": 1, "seed": 2}}, "train.steps=10")
    assert table == {"train": {"steps": 10, "seed": 2}}
    assert assign({}, "data.path=my texts/a.txt") == {"data": {"path": "my texts/a.txt"}}
    assert assign({}, "model.tied=false") == {"model": {"tied": False}}
    for wrong in ("train.steps", "=3"):
        with pytest.raises(ConfigError, match="NAME=VALUE"):
            assign({}, wrong)
    with pytest.raises(ConfigError, match="not a table"):
        assign({"train": 3}, "train.steps=10")
