"""What the package shows of itself: a short list of names, each from its one home, none loaded before it is used."""

import subprocess
import sys

import pytest

import headway

PUBLIC = [
    "HeadwayError",
    "Reader",
    "Recipe",
    "Tokenizer",
    "Translator",
    "Writer",
    "__version__",
    "load",
    "recipe_from",
    "save",
    "train",
]


def test_public_names_are_the_ones_promised() -> None:
    assert headway.__all__ == PUBLIC
    assert dir(headway) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_can_be_had_and_explains_itself(name: str) -> None:
    value = getattr(headway, name)
    assert value is getattr(headway, name)
    assert isinstance(value, str) or value.__doc__


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Wrtier'"):
        _ = headway.Wrtier  # type: ignore[attr-defined]


def test_the_names_an_editor_sees_are_the_names_served() -> None:
    assert set(headway._HOMES) | {"HeadwayError", "__version__"} == set(headway.__all__)


def test_import_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'tokenizers', 'tiktoken', 'transformers', 'rich', 'cyclopts'}"
    code = f"import headway, sys; sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0, finished.stderr
