"""The import rules, read from the source itself: which room may use which, and what the package never does."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import headway

ROOT = Path(headway.__file__).parent
TOP = {"errors", "settings", "storage", "version"}  # files every room may use

# What each room may import of ours. "models.protocol" allows that one file of the room, not the room.
MAY_IMPORT: dict[str, set[str]] = {
    "text": set(),
    "nn": set(),
    "corpus": {"text"},
    "models": {"nn"},
    "decoding": {"models.protocol"},
    "formats": {"models", "text"},
    "engine": {"models.protocol", "formats"},
    "training": {"text", "nn", "corpus", "models", "formats", "decoding"},
    "tasks": {"text", "corpus", "models", "formats", "decoding", "engine"},
    "insight": {"text", "nn", "models", "tasks"},
    "evaluation": {"text", "corpus", "models", "tasks"},
    "studies": {"text", "nn", "corpus", "models", "formats", "training", "tasks", "insight", "evaluation"},
    "automl": {"text", "nn", "corpus", "models", "formats", "training", "tasks", "insight", "evaluation"},
    "serve": {"text", "models.protocol", "decoding", "tasks", "insight", "training"},
}
MAY_IMPORT["cli"] = set(MAY_IMPORT)
# The public face names all rooms; the settings speak through the errors alone; `python -m headway` is the command line.
MAY_IMPORT_TOP = {
    "__init__": set(MAY_IMPORT) - {"cli"} | TOP,
    "__main__": {"cli"},
    "errors": set(),
    "settings": {"errors"},
    "storage": {"errors"},
    "version": set(),
}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}
FORBIDDEN_CALLS = {"eval", "exec", "__import__", "compile"}
WITHOUT_TORCH = [
    "headway",
    "headway.text",
    "headway.decoding",
    "headway.tasks.writer",
    "headway.models.protocol",
    "headway.cli.main",
]

FILES = sorted(ROOT.rglob("*.py"))


def module_of(path: Path) -> str:
    """ "text.tokenizer" for src/headway/text/tokenizer.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def room_of(module: str) -> str:
    return module.partition(".")[0]


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line and target of every import of ours in a file, wherever it stands; "" is the package itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "headway":
                    yield node.lineno, alias.name.partition(".")[2]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are written in full, without dots"
            if (node.module or "").partition(".")[0] == "headway":
                inner = (node.module or "").partition(".")[2]
                for alias in node.names:
                    yield node.lineno, f"{inner}.{alias.name}".lstrip(".")


def is_allowed(target: str, allowed: set[str]) -> bool:
    """Whether an import target, such as "models.protocol.State", lies in what is allowed."""
    parts = target.split(".")
    return any(".".join(parts[: count + 1]) in allowed for count in range(len(parts)))


def calls_of(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node


def test_every_room_is_in_the_table() -> None:
    rooms = {path.parent.relative_to(ROOT).parts[0] for path in FILES if path.parent != ROOT}
    assert rooms <= set(MAY_IMPORT), f"rooms without a line in the table: {rooms - set(MAY_IMPORT)}"
    files = {path.stem for path in ROOT.glob("*.py")}
    assert files <= set(MAY_IMPORT_TOP), f"files beside the rooms: {files - set(MAY_IMPORT_TOP)}"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_run_one_way(path: Path) -> None:
    module = module_of(path)
    room = room_of(module)
    allowed = MAY_IMPORT_TOP[module] if path.parent == ROOT else MAY_IMPORT[room] | TOP | {room}
    if room == "cli":
        allowed = allowed | {"__version__", *headway.__all__}  # the command line may use the public names
    wrong = [f"line {line}: headway.{target}" for line, target in imports_of(path) if not is_allowed(target, allowed)]
    assert not wrong, f"{path.relative_to(ROOT)} may import {sorted(allowed)}, but imports {wrong}"


def test_no_circle_between_rooms() -> None:
    arrows: dict[str, set[str]] = {room: set() for room in MAY_IMPORT}
    for path in FILES:
        room = room_of(module_of(path))
        if path.parent != ROOT:
            arrows[room] |= {room_of(target) for _, target in imports_of(path)} & set(MAY_IMPORT) - {room}
    while arrows:
        leaves = {room for room, targets in arrows.items() if not targets & set(arrows)}
        assert leaves, f"rooms that import each other in a circle: {sorted(arrows)}"
        for room in leaves:
            del arrows[room]


def test_the_table_itself_has_no_circle() -> None:
    remaining = {room: {room_of(target) for target in targets} - {room} for room, targets in MAY_IMPORT.items()}
    while remaining:
        leaves = {room for room, targets in remaining.items() if not targets & set(remaining)}
        assert leaves, f"a circle in the table: {remaining}"
        for room in leaves:
            del remaining[room]


def test_files_are_named_for_what_they_hold() -> None:
    named = [part for path in FILES for part in path.relative_to(ROOT).with_suffix("").parts]
    assert not FORBIDDEN_NAMES & set(named)


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_nothing_executes_data(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert not {name.partition(".")[0] for name in names} & FORBIDDEN_MODULES, f"{path}: {names}"
    for call in calls_of(path):
        place = f"{path.relative_to(ROOT)}:{call.lineno}"
        if isinstance(call.func, ast.Name):
            assert call.func.id not in FORBIDDEN_CALLS, f"{place} calls {call.func.id}"
        keywords = {word.arg: word.value for word in call.keywords}
        shell = keywords.get("shell")
        assert not (isinstance(shell, ast.Constant) and shell.value), f"{place} starts a shell"
        if ast.unparse(call.func) in ("torch.load", "os.system", "os.popen", "numpy.load", "np.load"):
            assert ast.unparse(call.func).endswith("load"), f"{place} starts a shell"
            if ast.unparse(call.func) == "torch.load":
                safe = keywords.get("weights_only")
                assert isinstance(safe, ast.Constant) and safe.value is True, f"{place}: weights_only=True is missing"
            else:
                risky = keywords.get("allow_pickle")
                assert not (isinstance(risky, ast.Constant) and risky.value), f"{place} allows pickles"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_files_and_functions_keep_their_limits(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 400, "a file over 400 lines holds more than one idea"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            start = node.body[1].lineno if ast.get_docstring(node) and len(node.body) > 1 else node.body[0].lineno
            assert (node.end_lineno or start) - start < 60, f"{node.name} is over 60 lines"
            assert node.args.kwarg is None, f"{node.name} takes ** and so hides a misspelt name"


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_import_does_not_load_torch(module: str) -> None:
    code = f"import {module}, sys; sys.exit('torch was loaded' if 'torch' in sys.modules else 0)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0, finished.stderr
