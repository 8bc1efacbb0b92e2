"""`headway serve`: models behind an API that clients know, and a page that shows what attention does."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway.cli.output import note
from headway.cli.translate import compact
from headway.errors import DependencyError, StorageError, UsageError


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may come in."""

    key_file: Annotated[Path | None, Parameter(help="A file whose first line is the key that every request needs.")] = (
        None
    )
    no_key: Annotated[bool, Parameter(help="Let everyone in who reaches the address.", negative=())] = False
    allow_host: Annotated[tuple[str, ...], Parameter(help="A name that this server is called by. Repeatable.")] = ()
    origin: Annotated[tuple[str, ...], Parameter(help="A page of this origin may call. Repeatable.")] = ()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Room:
    """How much at once."""

    rows: Annotated[int, Parameter(help="Texts written at once; more wait.")] = 64
    queue: Annotated[int, Parameter(help="Requests that may wait; more are refused.")] = 256
    grace: Annotated[float, Parameter(help="Seconds for running texts when the server is told to end.")] = 30.0


# More than six parameters: each is a word of the command line.
def serve(
    *models: Annotated[str, Parameter(help="Model folders or bundled models; default: all bundled ones.")],
    host: Annotated[str, Parameter(help="The address; others than this machine's own need a key.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="0 is any that is free.")] = 8321,
    access: Access | None = None,
    room: Room | None = None,
    engine: Annotated[str, Parameter(help="Of writers: auto, compiled or torch.")] = "auto",
    bits: Annotated[int | None, Parameter(help="Of a writer's weights in the compiled engine: 32, 16, 8 or 4.")] = None,
    keep: Annotated[Path | None, Parameter(help="Where lessons keep their models.")] = None,
    json: Annotated[bool, Parameter(help="Print one JSON object with the address once it is ready.")] = False,
) -> None:
    """Serve models: a page at /, OpenAI's completions at /v1, offline. Ctrl-C ends it once running texts are done.

    Example: headway serve
    Example: headway serve my-model en-fr --host 0.0.0.0 --key-file key
    """
    access, room = access or Access(), room or Room()
    try:
        from headway.serve.limits import Limits
        from headway.serve.models_served import Opening
        from headway.serve.server import Serving
        from headway.serve.server import serve as run
    except ModuleNotFoundError as error:
        raise DependencyError(f"serving needs {error.name}\nInstall headway again: pip install headway") from None
    from headway.tasks.described import served_by_default

    if access.no_key and access.key_file is not None:
        raise UsageError("--no-key and --key-file exclude each other")
    serving = Serving(
        models=models or tuple(served_by_default()),
        host=host,
        port=port,
        key=None if access.key_file is None else _key(access.key_file),
        open_to_all=access.no_key,
        allow_hosts=access.allow_host,
        origins=access.origin,
        opening=Opening(engine=engine, bits=bits),
        limits=Limits(rows=room.rows, queue=room.queue),
        grace_s=room.grace,
        models_folder=keep,
    )

    def ready(address: str) -> None:
        if json:
            print(compact({"address": address, "models": list(serving.models)}))
        else:
            print(f"headway serves at {address}")
            note("Ctrl-C ends it.")
        sys.stdout.flush()

    code = run(serving, ready=ready)
    if code:
        sys.exit(code)


def _key(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"the key cannot be read from {path}: {error}") from None
    if not lines or not lines[0].strip():
        raise UsageError(f"{path} holds no key\nWrite one into its first line.")
    return lines[0].strip()
