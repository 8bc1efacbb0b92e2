"""Frozen dataclass <-> plain table (TOML, JSON), both ways and without guessing.

An unknown key is an error that names the nearest known one; a value of the wrong type names the type it must have.
"""

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from headway.errors import ConfigError

T = TypeVar("T")


def from_dict(cls: type[T], table: Mapping[str, Any], where: str = "") -> T:
    """Build the settings dataclass `cls` from a table.

    `where` is the dotted path put before a key in messages ("train."). Raises ConfigError for an unknown
    key, a missing one without default, or a value of the wrong type.
    """
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where.rstrip('.') or cls.__name__} must be a table of settings, but got {table!r}")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    for key in table:
        if key not in fields:
            raise ConfigError(unknown_setting(f"{where}{key}", [f"{where}{name}" for name in fields]))
    missing = [
        f"{where}{name}"
        for name, field in fields.items()
        if name not in table and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{cls.__name__} needs a value for {', '.join(missing)}")
    return cls(**{key: _convert(hints[key], value, f"{where}{key}") for key, value in table.items()})


def to_dict(settings: Any) -> dict[str, Any]:
    """The table of a settings dataclass; nested dataclasses become tables, tuples become lists."""
    return {field.name: _plain(getattr(settings, field.name)) for field in dataclasses.fields(settings)}


def without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table without its None values, for TOML, which has no null; absent reads back as the default."""
    return {
        key: without_none(value) if isinstance(value, Mapping) else value
        for key, value in table.items()
        if value is not None
    }


def assign(table: Mapping[str, Any], assignment: str) -> dict[str, Any]:
    """The table with one `a.b=value` of the command line put in; the value is read as TOML, else as a string.

    Raises ConfigError where there is no "=" or the path runs through something that is not a table.
    """
    path, equals, text = assignment.partition("=")
    if not equals or not path.strip():
        raise ConfigError(f"--set takes NAME=VALUE, for instance train.save_every=10, but got {assignment!r}")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    return _put(table, path.strip().split("."), value, path.strip())


def unknown_setting(key: str, known: list[str]) -> str:
    """The message for a key that is not a setting, with the nearest known name where one is near."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if near:
        return f"{key} is not a setting; did you mean {near[0]}?"
    return f"{key} is not a setting; known are {', '.join(sorted(known))}"


def _put(table: Mapping[str, Any], path: list[str], value: Any, whole: str) -> dict[str, Any]:
    head, *rest = path
    if not rest:
        return {**table, head: value}
    inner = table.get(head, {})
    if not isinstance(inner, Mapping):
        raise ConfigError(f"{whole} runs through {head}, which is a value and not a table of settings")
    return {**table, head: _put(inner, rest, value, whole)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _convert(hint: Any, value: Any, key: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        return _convert_union(arguments, value, key)
    if origin is typing.Literal:
        if value in arguments:
            return value
        raise ConfigError(f"{key} must be one of {', '.join(map(repr, arguments))}, but got {value!r}")
    if origin is tuple and isinstance(value, (list, tuple)):
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) != len(value):
            raise ConfigError(f"{key} must have {len(kinds)} values, but got {value!r}")
        return tuple(_convert(kind, item, key) for kind, item in zip(kinds, value, strict=True))
    if origin not in (None, tuple) and isinstance(value, Mapping):  # Mapping[str, ...]
        return dict(value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else from_dict(hint, value, f"{key}.")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        return value
    raise ConfigError(f"{key} must be {_kind(hint)}, but got {value!r}")


def _convert_union(options: tuple[Any, ...], value: Any, key: str) -> Any:
    for option in options:
        if option is type(None):
            if value is None:
                return None
            continue
        try:
            return _convert(option, value, key)
        except ConfigError as error:
            if dataclasses.is_dataclass(option) and isinstance(value, Mapping):
                raise error
    kinds = " or ".join(_kind(option) for option in options if option is not type(None))
    raise ConfigError(f"{key} must be {kinds}, but got {value!r}")


def _kind(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return f"one of {', '.join(map(repr, typing.get_args(hint)))}"
    if typing.get_origin(hint) is Mapping:
        return "a table of settings"
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))
