"""The edge of the command line: starts the verb, turns what goes wrong into a few lines and an exit code.

Data goes to stdout, everything else to stderr.
"""

import errno
import logging
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from headway.cli.verbs import VERBS, overview
from headway.errors import HeadwayError, Interrupted, ResourceError, StorageError, UsageError
from headway.version import __version__

if TYPE_CHECKING:
    from cyclopts import App

INTERRUPTED, TERMINATED, PIPE_CLOSED = 130, 143, 141  # 128 + the number of the signal
MOST_LINES = 6


def main() -> None:
    """Run the command line of this process and exit with its code."""
    signal.signal(signal.SIGTERM, _terminate)
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s: %(message)s", level=logging.WARNING)
    logging.addLevelName(logging.INFO, "note")
    logging.addLevelName(logging.WARNING, "warning")
    logging.addLevelName(logging.ERROR, "error")
    warnings.showwarning = _show_warning
    if sys.stdout is None:  # closed by the caller (>&-)
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 shows \u2014, no traceback
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; prints the errors a user can mend."""
    words, debug = _without(list(arguments), "--debug")
    words, verbose = _without(words, "--verbose")
    logger, level = logging.getLogger("headway"), logging.getLogger("headway").level
    if verbose:
        logger.setLevel(logging.INFO)
    try:
        if words in ([], ["--help"], ["-h"], ["help"]):
            print(overview(__version__))
        elif words == ["--version"]:
            print(__version__)
        elif words[0] == "help":
            _run_verb([words[1], "--help"])
        else:
            _run_verb(words)
        sys.stdout.flush()
        return 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`| head`): be quiet, also when Python flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except Exception as error:
        if debug:
            raise
        mendable = _as_mendable(error)
        if mendable is None:
            print(f"error: headway itself failed: {type(error).__name__}: {error}"[:400], file=sys.stderr)
            print("Run the same command with --debug for the traceback, and please report it.", file=sys.stderr)
            return 1
        lead = "" if isinstance(mendable, Interrupted) else "error: "
        print("\n".join(f"{lead}{mendable}".splitlines()[:MOST_LINES]), file=sys.stderr)
        return mendable.exit_code
    finally:
        logger.setLevel(level)


def build_app() -> "App":
    """The parser with every verb; a verb's own file is imported when the verb is called."""
    from cyclopts import App, Parameter

    app = App(
        name="headway",
        version=__version__,
        help_format="plaintext",
        help_epilogue=(
            "Anywhere before --: --verbose says on stderr what runs and why, "
            "--debug shows the full traceback of an error."
        ),
        default_parameter=Parameter(negative=()),
        print_error=False,
        exit_on_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    for verb in VERBS:
        app.command(verb.function, name=verb.name)
    return app


def _run_verb(words: list[str]) -> None:
    from cyclopts import CycloptsError, MissingArgumentError

    try:
        build_app()(_lone_hyphen_last(words))
    except CycloptsError as error:
        known = words[0] if words[0] in {verb.name for verb in VERBS} else ""
        message = str(error)
        if isinstance(error, MissingArgumentError) and error.argument is not None and not error.keyword:
            message = f"headway {known} needs {error.argument.name}"
        raise UsageError(f"{message}\nSee: headway {known + ' ' if known else ''}--help") from error


def _as_mendable(error: Exception) -> HeadwayError | None:
    """The error as one the user can mend; None where only we can."""
    if isinstance(error, HeadwayError):
        return error
    if isinstance(error, MemoryError) or _is_of_torch_memory(error):
        return ResourceError("memory ran out; a smaller model, batch or context needs less")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"the disk is full: {error}; free some space and run the same command again")
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS):
        return StorageError(f"not allowed: {error}; choose another place or change its permissions")
    return None


def _is_of_torch_memory(error: Exception) -> bool:
    """torch says it by a RuntimeError: of its own class on a GPU, by the message alone on a CPU."""
    named = type(error).__name__ == "OutOfMemoryError" or "allocate memory" in str(error)
    return isinstance(error, RuntimeError) and named


def _without(words: list[str], flag: str) -> tuple[list[str], bool]:
    """The words without a flag that may stand anywhere before --, and whether it stood there."""
    end = words.index("--") if "--" in words else len(words)
    kept = [word for word in words[:end] if word != flag]
    return kept + words[end:], len(kept) < end


def _lone_hyphen_last(words: list[str]) -> list[str]:
    """The words with a lone - (standard input) behind a --, where the parser does not take it for an option."""
    if "-" not in words or "--" in words:
        return words
    return [*(word for word in words if word != "-"), "--", "-"]


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"warning: {message}", file=file or sys.stderr)
