"""The page's files: the vendored code as published, nothing from outside, and nothing that could run a text."""

import hashlib
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

WEB = Path(str(files("headway.serve"))) / "web"
ROOT = Path(__file__).parents[2]
OWN = sorted(
    path
    for path in WEB.rglob("*")
    if path.suffix in {".mjs", ".css", ".html", ".svg"} and not path.is_relative_to(WEB / "vendor")
)
MODULES = [path for path in OWN if path.suffix == ".mjs"]
_IMPORT = re.compile(
    r"""(?:^(?:import|export)\b[^"'`;]*\bfrom|^import|\bimport\()\s*["']([^"'\n]+)["']""", re.MULTILINE
)
_REFERENCE = re.compile(r"""(?:href|src)="([^"]+)\"""")
_ADDRESS = re.compile(r"(?:https?:|wss?:)?//[a-z0-9]", re.IGNORECASE)
_NAMESPACE = "http://www.w3.org/2000/svg"  # a name, which no browser fetches
_FORBIDDEN = [
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "eval(",
    "new Function",
    'style="',
    "javascript:",
]


def named(path: Path) -> str:
    return path.relative_to(WEB).as_posix()


def without_comments(text: str) -> str:
    """The text without /* */ and whole-line // comments."""
    return re.sub(r"^\s*//.*$", "", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL), flags=re.MULTILINE)


def test_every_vendored_file_is_the_one_its_readme_names() -> None:
    readme = (WEB / "vendor" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w.-]+\.mjs) \|.*\| ([0-9a-f]{64}) \|$", readme, flags=re.MULTILINE)
    vendored = {path.name for path in (WEB / "vendor").glob("*.mjs")}
    assert {name for name, _ in rows} == vendored and vendored
    for name, digest in rows:
        assert hashlib.sha256((WEB / "vendor" / name).read_bytes()).hexdigest() == digest, name
    for licence in re.findall(r"LICENSE\.\w+\.txt", readme):
        assert (WEB / "vendor" / licence).is_file(), licence


@pytest.mark.parametrize("path", OWN, ids=named)
def test_no_file_of_the_page_names_an_address_outside(path: Path) -> None:
    text = without_comments(path.read_text(encoding="utf-8")).replace(_NAMESPACE, "")
    assert _ADDRESS.findall(text) == []


@pytest.mark.parametrize("path", OWN, ids=named)
def test_no_file_of_the_page_turns_text_into_markup_or_code(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [word for word in _FORBIDDEN if word.lower() in text.lower()] == []


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_every_import_of_the_page_is_one_of_its_files(path: Path) -> None:
    for wanted in _IMPORT.findall(without_comments(path.read_text(encoding="utf-8"))):
        assert wanted.startswith("."), f"{wanted} is no relative path"
        assert (path.parent / wanted).resolve().is_file(), wanted


def test_the_imports_of_the_frame_are_found() -> None:
    found = set(_IMPORT.findall((WEB / "app.mjs").read_text(encoding="utf-8")))
    assert {"./api.mjs", "./vendor/preact-htm.mjs", "./views/write.mjs", "./views/look.mjs"} <= found


def test_every_file_that_the_document_names_is_there() -> None:
    references = _REFERENCE.findall((WEB / "index.html").read_text(encoding="utf-8"))
    assert len(references) >= 4
    for reference in references:
        assert reference.startswith("/static/"), reference
        assert (WEB / reference.removeprefix("/static/")).is_file(), reference


@pytest.mark.parametrize("path", OWN, ids=named)
def test_every_file_of_the_page_is_short_and_plain_ascii(path: Path) -> None:
    text = path.read_bytes().decode("ascii")
    lines = text.splitlines()
    assert len(lines) <= 400
    assert not [line for line in lines if line.rstrip() != line]


def test_the_document_has_no_inline_script() -> None:
    text = (WEB / "index.html").read_text(encoding="utf-8")
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", text, flags=re.DOTALL)
    assert scripts and all("src=" in attributes and body == "" for attributes, body in scripts)
    assert not re.search(r"\son\w+=", text)


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_every_module_of_the_page_is_valid_javascript(path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on this machine")
    checked = subprocess.run([node, "--check", str(path)], capture_output=True, text=True, check=False, timeout=60)
    assert checked.returncode == 0, checked.stderr


def test_the_types_of_the_page_hold() -> None:
    compiler = ROOT / "node_modules" / ".bin" / "tsc"
    if not compiler.exists():
        pytest.skip("the type checker is not installed: npm ci")
    command = [str(compiler), "--project", str(WEB / "tsconfig.json")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert checked.returncode == 0, checked.stdout
