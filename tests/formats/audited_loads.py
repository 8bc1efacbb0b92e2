"""Load folders under Python's audit hook, which raises where anything but reading the folder is tried.

Usage: audited_loads.py GOOD FOLDER...; prints "loaded" or "refused" a line. Good is loaded first, unwatched and in both
kinds of file, so that what the libraries import when first used is there.
"""

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from headway.errors import FormatError
from headway.formats.folder import load

FORBIDDEN = ("exec", "compile", "import", "socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn")
CHANGING = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "os.symlink", "os.link", "shutil.")
watched: list[Path] = []


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Raises SystemExit, which no code catches by accident."""
    if not watched:
        return
    bad = event.startswith(FORBIDDEN + CHANGING)
    if event == "open" and not isinstance(arguments[0], int):
        path = Path(os.path.realpath(os.fsdecode(arguments[0])))
        bad = not path.is_relative_to(watched[0]) or bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    if bad:
        watched.clear()
        print("forbidden:", event, arguments)
        os._exit(1)


good = Path(sys.argv[1])
with tempfile.TemporaryDirectory() as place:
    for new_kind in (True, False):
        copy = Path(place, str(new_kind))
        shutil.copytree(good, copy)
        torch.save(
            load_file(copy / "model.safetensors"), copy / "pytorch_model.bin", _use_new_zipfile_serialization=new_kind
        )
        load(copy)
        (copy / "model.safetensors").unlink()
        load(copy)
        (copy / "pytorch_model.bin").write_bytes(b"damaged")
        with contextlib.suppress(FormatError):
            load(copy)
sys.addaudithook(watch)
for name in sys.argv[2:]:
    watched.append(Path(os.path.realpath(name)))
    try:
        load(name)
        outcome = "loaded"
    except FormatError:
        outcome = "refused"
    watched.clear()
    print(outcome)
