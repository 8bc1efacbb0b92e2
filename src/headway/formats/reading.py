"""Reading single files of a folder that nobody vouches for: nothing outside it, nothing that is not a plain file."""

import json
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

from headway.errors import FormatError

_LARGEST_JSON = 64 << 20


def inside(folder: Path, name: str) -> Path:
    """The path of the plain file `name` in `folder`.

    Links are followed within the folder, and to the `blobs` beside the `snapshots` folder it lies in, which is how the
    Hugging Face cache keeps every file. Raises FormatError for a name with a folder in it, a link that leads elsewhere,
    a file that is not there or not a plain one.
    """
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise FormatError(f"{folder} names the file {name!r}, which is not a plain file name\nIt is not opened.")
    path = folder / name
    try:
        target = Path(os.path.realpath(path, strict=True))
        kind = target.stat().st_mode
    except OSError as error:
        raise FormatError(f"{path} cannot be opened: {error.strerror}\nGet the folder again, complete.") from error
    home = Path(os.path.realpath(folder))
    allowed = [home]
    if home.parent.name == "snapshots":
        allowed.append(home.parent.parent / "blobs")
    if not any(target.is_relative_to(place) for place in allowed):
        raise FormatError(
            f"{path} is a link to {target}, outside the folder\nIt is not opened: put the file itself there."
        )
    if not stat.S_ISREG(kind):
        raise FormatError(f"{path} is not a plain file\nIt is not opened: get the folder again.")
    return target


def present(folder: Path, name: str) -> bool:
    """Whether the folder has an entry of that name, be it only a broken link."""
    return os.path.lexists(folder / name)


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """The table in a JSON file of the folder. Raises FormatError where it is damaged, too large, or no table."""
    path = inside(folder, name)
    if path.stat().st_size > _LARGEST_JSON:
        raise FormatError(f"{folder / name} has {path.stat().st_size} bytes; at most {_LARGEST_JSON} are read")
    try:
        table = json.loads(path.read_bytes().decode("utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(
            f"{folder / name} is not valid JSON: {error}\nGet the folder again, or mend the file."
        ) from error
    if not isinstance(table, dict):
        raise FormatError(f"{folder / name} must hold one JSON object, but holds {type(table).__name__}")
    return table


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
