"""What stands beside the weights in a model folder: tokenizer and generation settings. Reads them without PyTorch."""

import warnings
from pathlib import Path
from typing import Any

from headway.errors import FormatError
from headway.formats.bundled import locate
from headway.formats.reading import inside, present, read_json
from headway.text.loading import UnknownTokenizer, load_from_folder
from headway.text.tokenizer import Tokenizer

CONFIG = "config.json"
GENERATION = "generation_config.json"
CACHE = "cache"
"""The folder in a model folder with what can be made again from the rest of it."""

_TOKENIZER_SUFFIXES = (".json", ".txt", ".bpe", ".model")


def read_generation(folder: str | Path) -> dict[str, Any]:
    """The settings in generation_config.json; empty where there is none. Raises FormatError where it is damaged."""
    folder = locate(folder)
    return read_json(folder, GENERATION) if present(folder, GENERATION) else {}


def load_tokenizer(folder: Path) -> Tokenizer | None:
    """The folder's tokenizer; None where it has none, or, with a warning, an unknown one. Raises FormatError."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() and path.suffix in _TOKENIZER_SUFFIXES:
            inside(folder, path.name)
    try:
        return load_from_folder(folder)
    except UnknownTokenizer as error:
        warnings.warn(f"the model is opened without a tokenizer: {error}", stacklevel=4)
        return None


def check_tokenizer(tokenizer: Tokenizer | None, vocabulary: int) -> None:
    """Raises FormatError where the tokenizer has ids that the model does not know."""
    if tokenizer is not None and tokenizer.size > vocabulary:
        raise FormatError(
            f"the tokenizer has {tokenizer.size} ids, but the weights only {vocabulary}\n"
            "They are not of the same model: put the tokenizer there that the model was trained with."
        )
