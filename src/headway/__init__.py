"""headway: train, run and look inside the models that led from the recurrent encoder-decoder to GPT-2.

The public names, loaded when first used: importing the package alone loads neither torch nor any room.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from headway.errors import HeadwayError as HeadwayError
from headway.version import __version__ as __version__

if TYPE_CHECKING:
    from headway.formats.folder import load as load
    from headway.formats.folder import save as save
    from headway.tasks.reader import Reader as Reader
    from headway.tasks.translator import Translator as Translator
    from headway.tasks.writer import Writer as Writer
    from headway.text.tokenizer import Tokenizer as Tokenizer
    from headway.training.recipe import Recipe as Recipe
    from headway.training.recipe import recipe_from as recipe_from
    from headway.training.run import train as train

_HOMES = {
    "Reader": "headway.tasks.reader",
    "Recipe": "headway.training.recipe",
    "Tokenizer": "headway.text.tokenizer",
    "Translator": "headway.tasks.translator",
    "Writer": "headway.tasks.writer",
    "load": "headway.formats.folder",
    "recipe_from": "headway.training.recipe",
    "save": "headway.formats.folder",
    "train": "headway.training.run",
}

__all__ = [
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


def __getattr__(name: str) -> object:
    """The public name from its home (PEP 562), kept for the next look."""
    if name not in _HOMES:
        raise AttributeError(f"module 'headway' has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
