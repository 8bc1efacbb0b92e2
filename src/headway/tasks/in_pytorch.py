"""The PyTorch side of a model that runs in the engine: opened when its attention is first asked for."""

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import cast

from headway.errors import StorageError
from headway.models.protocol import AnyDecoder

logger = logging.getLogger(__name__)


def in_pytorch(folder: Path) -> Callable[[], AnyDecoder]:
    """Opens a folder's model in PyTorch at its first call, and gives that model from then on.

    That call raises StorageError where the folder has other weights by then.
    """
    stamps = _stamps(folder)

    @functools.cache
    def opened() -> AnyDecoder:
        from headway.formats.folder import load

        if _stamps(folder) != stamps:
            raise StorageError(
                f"{folder} has other weights than when it was opened, so they cannot show how it translates\n"
                "Open it again."
            )
        logger.info("the engine keeps no trace: the model is opened in PyTorch as well, to read its attention")
        model, _ = load(folder, device="cpu", dtype="float32")  # weights of bfloat16 too: the engine adds in float32
        return cast(AnyDecoder, model)

    return opened


def _stamps(folder: Path) -> list[tuple[str, int, int]]:
    """The files of weights and the configuration: name, size and time of the last change."""
    files = sorted([folder / "config.json", *folder.glob("*.safetensors"), *folder.glob("*.bin")])
    facts = [(file.name, file.stat()) for file in files if file.exists()]
    return [(name, fact.st_size, fact.st_mtime_ns) for name, fact in facts]
