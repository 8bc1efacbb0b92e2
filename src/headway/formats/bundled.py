"""The models that come with headway, and what a name given for a model means."""

import logging
from pathlib import Path

from headway.errors import FormatError
from headway.settings import unknown_setting

ROOT = Path(__file__).parent.parent / "bundled"

logger = logging.getLogger(__name__)


def bundled_names() -> list[str]:
    """The bundled models' names, sorted."""
    return sorted(path.parent.name for path in ROOT.glob("*/config.json"))


def locate(name_or_path: str | Path) -> Path:
    """The folder of a model: a folder that exists, else the bundled model of that name.

    Raises FormatError, listing the bundled names, where there is neither.
    """
    path = Path(name_or_path)
    name = str(name_or_path)
    names = bundled_names()
    if path.is_dir():
        if name in names:
            logger.warning("%s is a folder here, and is used instead of the bundled model of that name", name)
        return path
    if path.exists():
        raise FormatError(f"{path} is a file, and a model is a folder\nGive the folder that holds it.")
    if name in names:
        return ROOT / name
    bundled = f"Bundled are: {', '.join(names)}." if names else "No model is bundled with this installation."
    near = unknown_setting(name, names).partition("; did you mean ")[2] if names else ""
    hint = f" Did you mean {near}" if near else ""
    raise FormatError(f"there is no folder {name!r} and no bundled model of that name\n{bundled}{hint}")
