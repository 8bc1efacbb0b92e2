"""What a hostile client or a crowd may do to the server: each trial prints its figures, and what of its claims broke.

One command: `python benchmarks/attack.py` (short; `--full` for the whole load, about an hour). Each trial starts
servers of its own on loopback: of a tiny model of random weights, or of the bundled writer where its speed is what is
tried. One JSON object a line; ends with code 1 where a claim did not hold.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from attacks.crowd import QUEUE, crowd
from attacks.ending import ending
from attacks.keys import KEY, keys
from attacks.leaving import leaving
from attacks.malformed import malformed
from attacks.oversize import oversize
from attacks.raw import Trial
from attacks.slow import slow
from serve import random_model
from served import Server, request, serving

IDS = ("S1", "S2", "S3", "S4", "S5", "S6", "S9")
SHORT = 0.02


def trials(wanted: Sequence[str], scale: float, folder: Path) -> Iterator[Trial]:
    """Each that is wanted, one after another."""
    tiny = random_model(folder, tiny=True)
    if "S1" in wanted:
        yield _on_one(["writer"], crowd, scale, "--queue", str(QUEUE))
    if "S2" in wanted:
        yield _on_one([tiny], leaving, scale, "--rows", "8")
    if "S3" in wanted:
        yield _on_one([tiny], slow, scale, "--queue", "512")
    if "S4" in wanted:
        yield _on_one([tiny], oversize, scale)
    if "S5" in wanted:
        yield _on_one([tiny], malformed, scale)
    if "S6" in wanted:
        yield ending(serving, "writer", scale)
    if "S9" in wanted:
        key_file = folder / "key"
        key_file.write_text(KEY)
        yield keys(serving, tiny, str(key_file))


def _on_one(
    models: Sequence[str], trial: Callable[[Server, str, float], Awaitable[Trial]], scale: float, *options: str
) -> Trial:
    with serving(models, *options) as server:
        model = asyncio.run(request(server.port, "GET", "/v1/models")).body["data"][0]["id"]
        return asyncio.run(_tried(trial(server, model, scale)))


async def _tried(trial: Awaitable[Trial]) -> Trial:
    return await trial


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--scale", type=float, default=SHORT, help=f"the share of the whole load; default: {SHORT}")
    size.add_argument("--full", action="store_true", help="the whole load")
    parser.add_argument("--only", default=",".join(IDS), help="for instance S1,S4")
    given = parser.parse_args(arguments)
    wanted = given.only.split(",")
    if not set(wanted) <= set(IDS):
        parser.error(f"--only takes some of {', '.join(IDS)}")
    failed = 0
    with (
        tempfile.TemporaryDirectory() as temporary,
        contextlib.closing(trials(wanted, 1.0 if given.full else given.scale, Path(temporary))) as running,
    ):
        began = time.monotonic()
        for trial in running:
            seconds, began = round(time.monotonic() - began, 1), time.monotonic()
            failed += bool(trial.broken)
            line = {"id": trial.id, "held": not trial.broken, "seconds": seconds, **trial.figures}
            print(json.dumps({**line, "broken": list(trial.broken)}), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
