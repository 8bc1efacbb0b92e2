"""The edge: what goes where, which code says what, and how an error reads."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

import headway
from headway.cli import main as edge
from headway.cli.verbs import VERBS
from headway.errors import HeadwayError, Interrupted, ResourceError, StorageError

HEADWAY = [sys.executable, "-m", "headway"]


def start(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run([*HEADWAY, *words], capture_output=True, text=True, timeout=120, env=settings)


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_overview_names_every_verb(command: Callable, words: tuple[str, ...]) -> None:
    finished = command(*words)
    assert finished.code == 0 and finished.err == ""
    for verb in VERBS:
        assert re.search(rf"^  {verb.name} +{re.escape(verb.summary)}$", finished.out, re.MULTILINE)


def test_overview_loads_neither_parser_nor_torch() -> None:
    code = (
        "import sys; from headway.cli.main import run; run(['--help']);"
        "heavy = {'cyclopts', 'rich', 'torch', 'numpy'} & set(sys.modules); sys.exit(str(heavy) if heavy else 0)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0, finished.stderr


def test_version_is_the_package_version(command: Callable) -> None:
    assert command("--version").out.strip() == headway.__version__


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_every_verb_explains_itself_with_an_example(command: Callable, verb: str) -> None:
    finished = command(verb, "--help")
    assert finished.code == 0 and finished.err == ""
    assert f"Example: headway {verb}" in finished.out
    assert "--json" in finished.out and "--debug" in finished.out
    assert command("help", verb).out == finished.out


def test_verbs_start_without_torch() -> None:
    imports = "; ".join(f"import {verb.function.partition(':')[0]}" for verb in VERBS)
    code = f"import sys; {imports}; sys.exit('torch was loaded' if 'torch' in sys.modules else 0)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("wriet",), 'Did you mean "write"?'),
        (("models", "--jsno"), "Did you mean --json?"),
        (("models", "superfluous"), "superfluous"),
        (("evaluate", "a-model"), "needs TEXT"),
        (("export", "a-model", "--to", "gguff", "-o", "x"), "Choose from"),
        (("train", "texts", "-o", "x", "--minutes", "many"), "--minutes"),
    ],
)
def test_usage_errors_exit_2_and_say_what_was_meant(command: Callable, words: tuple[str, ...], hint: str) -> None:
    finished = command(*words)
    assert finished.code == 2 and finished.out == ""
    assert finished.err.startswith("error: ") and hint in finished.err and "--help" in finished.err
    assert len(finished.err.splitlines()) <= 6


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (HeadwayError("a rule\n" + "line\n" * 9), 1, "error: a rule"),
        (ResourceError("no such device"), 4, "error: no such device"),
        (StorageError("taken"), 5, "error: taken"),
        (Interrupted("stopped and saved", signal.SIGTERM), 143, "stopped and saved"),
        (MemoryError(), 4, "error: memory ran out"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 4, "error: memory ran out"),
        (OSError(errno.ENOSPC, "No space left on device"), 5, "error: the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 5, "error: not allowed"),
        (KeyError("ours"), 1, "error: headway itself failed: KeyError"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_errors_are_a_few_lines_and_their_own_code(
    monkeypatch: pytest.MonkeyPatch, command: Callable, error: BaseException, code: int, text: str
) -> None:
    def fail(words: list[str]) -> None:
        raise error

    monkeypatch.setattr(edge, "_run_verb", fail)
    finished = command("models")
    assert finished.code == code and finished.out == ""
    assert finished.err.startswith(text) and len(finished.err.splitlines()) <= 6
    assert "Traceback" not in finished.err


def test_verbose_says_what_runs_and_without_it_nothing_is_said() -> None:
    said = start("translate", "en-fr", "No!", "--engine", "torch", "--beam", "1", "--verbose").stderr
    assert "note: runs on PyTorch: engine=torch was asked for" in said
    assert start("translate", "en-fr", "No!", "--engine", "torch", "--beam", "1").stderr == ""


def test_debug_lets_the_traceback_through() -> None:
    assert "Traceback" in start("wriet", "--debug").stderr
    assert "Traceback" not in start("wriet").stderr


def test_python_dash_m_is_the_command() -> None:
    finished = start("models", "--json")
    assert finished.returncode == 0 and finished.stderr == ""
    assert isinstance(json.loads(finished.stdout)["models"], list)


def test_no_colour_leaves_no_escape_sequences() -> None:
    assert "\x1b" not in start("models", "--help", NO_COLOR="1").stdout


def test_closed_pipe_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    finished = subprocess.run([*HEADWAY, "--help"], stdout=writer, stderr=subprocess.PIPE, timeout=60)
    os.close(writer)
    assert finished.returncode == edge.PIPE_CLOSED
    assert finished.stderr == b""


def test_closed_standard_output_is_no_failure() -> None:
    finished = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *HEADWAY, "--help"], stderr=subprocess.PIPE, timeout=60
    )
    assert finished.returncode == 0 and finished.stderr == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_a_command_with_their_code(number: int, code: int) -> None:
    wait = (
        # A shell's background job ignores Ctrl-C, and its children with it.
        "import signal, time; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from headway.cli import main as edge;"
        "edge._run_verb = lambda words: (print('ready', flush=True), time.sleep(60)); edge.main()"
    )
    command = [sys.executable, "-c", wait, "models"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in errors
