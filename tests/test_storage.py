"""Files and folders that are there whole or not at all."""

import builtins
import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headway import storage as atomic
from headway.errors import FormatError, StorageError
from headway.storage import new_folder, replace_file, sweep, verify_manifest, write_manifest


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def write_two(folder: Path, text: str) -> None:
    (folder / "first").write_text(text)
    (folder / "inner").mkdir()
    (folder / "inner/second").write_text(text)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for text in ("one", "two"):
        replace_file(path, lambda partial, text=text: partial.write_text(text) and None)  # type: ignore[misc]
        assert contents(tmp_path) == {"file": text}


def test_a_failed_replacement_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(partial: Path) -> None:
        partial.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageError, match="No space left") as caught:
        replace_file(path, fail)
    assert contents(tmp_path) == {"file": "old"}
    assert str(path) in str(caught.value) and "free" in str(caught.value) and len(str(caught.value).splitlines()) <= 6


def test_a_folder_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "above/model"
    with new_folder(path) as folder:
        write_two(folder, "new")
        assert not path.exists()
    assert contents(tmp_path) == {"above/model/first": "new", "above/model/inner/second": "new"}


def test_a_taken_name_is_refused_unless_overwriting_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    write_two(tmp_path, "old")
    for path, overwrite in ((tmp_path, False), (tmp_path / "file", False), (tmp_path / "file", True)):
        with pytest.raises(StorageError), new_folder(path, overwrite=overwrite):
            raise AssertionError("the block must not run")
    (tmp_path / "empty").mkdir()
    with new_folder(tmp_path / "empty") as folder:
        write_two(folder, "new")
    assert contents(tmp_path / "empty") == {"first": "new", "inner/second": "new"}


@pytest.mark.parametrize("in_one_step", [True, False])
def test_overwriting_swaps_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_one_step: bool
) -> None:
    if not in_one_step:
        monkeypatch.setattr(atomic, "_exchange", lambda *_: False)
    path = tmp_path / "model"
    for text in ("one", "two"):
        with new_folder(path, overwrite=True) as folder:
            write_two(folder, text)
        assert contents(tmp_path) == {"model/first": text, "model/inner/second": text}
    with pytest.raises(ZeroDivisionError), new_folder(path, overwrite=True) as folder:
        write_two(folder, "three")
        raise ZeroDivisionError
    assert contents(tmp_path) == {"model/first": "two", "model/inner/second": "two"}
    assert os.listdir(tmp_path) == ["model"]


class FailingDisk:
    """Lets so many operations that write pass, and fails the next: opening, writing, flushing, renaming."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, passes: int, code: int) -> None:
        self.passes, self.code, self.failed = passes, code, False
        for name in ("fsync", "replace", "rename", "mkdir"):
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))
        monkeypatch.setattr(atomic, "_exchange", self._counted(atomic._exchange))
        opened, write = builtins.open, Path.write_text

        def open_counted(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            return (self._counted(opened) if set(mode) & set("wxa") else opened)(file, mode, *args, **options)

        monkeypatch.setattr(builtins, "open", open_counted)
        monkeypatch.setattr(Path, "write_text", lambda path, text: self._counted(write)(path, text))

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if self.passes == 0 and not self.failed:
                self.failed = True
                raise OSError(self.code, os.strerror(self.code))
            self.passes -= 1
            return function(*args, **options)

        return call


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_full_disk_at_any_step_leaves_the_old_folder_or_the_new(tmp_path: Path, code: int, in_one_step: bool) -> None:
    path = tmp_path / "model"
    failures = 0
    for passes in range(100):
        with pytest.MonkeyPatch.context() as monkeypatch:
            if not in_one_step:
                monkeypatch.setattr(atomic, "_exchange", lambda *_: False)
            with new_folder(path, overwrite=True) as folder:
                write_two(folder, "old")
            disk = FailingDisk(monkeypatch, passes, code)
            try:
                with new_folder(path, overwrite=True) as folder:
                    write_two(folder, "new")
            except StorageError as error:
                assert os.strerror(code) in str(error)
            else:
                assert contents(path)["first"] == "new"
        found = contents(path)
        assert set(found) == {"first", "inner/second"} and len(set(found.values())) == 1
        assert os.listdir(tmp_path) == ["model"]
        if not disk.failed:
            break
        failures += 1
    assert failures >= 8 and found["first"] == "new"


def leave_behind(script: str, folder: Path) -> None:
    """Run a script that kills itself while it writes."""
    start = (
        "import os, signal\nfrom pathlib import Path\n"
        "from headway import storage as atomic\nfrom headway.storage import new_folder, replace_file\n"
    )
    result = subprocess.run([sys.executable, "-c", start + script], cwd=folder, timeout=60)
    assert result.returncode < 0


def test_what_a_dead_writer_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/first").write_text("old")
    leave_behind(
        "with new_folder('model', overwrite=True) as folder:\n"
        " (folder / 'first').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)",
        tmp_path,
    )
    leave_behind(
        "def write(partial): partial.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
        "replace_file(Path('model/first'), write)",
        tmp_path,
    )
    assert len(os.listdir(tmp_path)) == 2 and len(os.listdir(tmp_path / "model")) == 2
    sweep(tmp_path / "model")
    assert contents(tmp_path) == {"model/first": "old"} and os.listdir(tmp_path) == ["model"]


def test_an_old_folder_moved_away_by_a_dead_writer_comes_back(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/first").write_text("old")
    leave_behind(
        "atomic._exchange = lambda *_: False\n"
        "rename = os.rename\n"
        "def die(source, target):\n"
        " if '.partial-' in str(source): os.kill(os.getpid(), signal.SIGKILL)\n"
        " rename(source, target)\n"
        "os.rename = die\n"
        "with new_folder('model', overwrite=True) as folder: (folder / 'first').write_text('new')",
        tmp_path,
    )
    assert not (tmp_path / "model").exists()
    sweep(tmp_path / "model")
    assert contents(tmp_path) == {"model/first": "old"} and os.listdir(tmp_path) == ["model"]


def test_the_work_of_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with new_folder(path) as folder:
        sweep(path)
        write_two(folder, "new")
        with new_folder(tmp_path / "other") as other:
            write_two(other, "new")
    assert contents(path) == {"first": "new", "inner/second": "new"}
    locked = tmp_path / ".model.partial-999999999-0123abcd"  # another container's, so the number says nothing here
    locked.mkdir()
    held = os.open(locked, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    sweep(path)
    assert locked.exists()
    os.close(held)
    sweep(path)
    assert not locked.exists()


def test_sweeping_touches_nothing_but_leftovers(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / ".model.partial-999999999-0123abcd").symlink_to(tmp_path / "precious")
    for name in (
        ".model.partial",
        ".model.partial-1-zz",
        ".models.partial-999999999-0123abcd",
        "model.partial-1-0123abcd",
    ):
        (tmp_path / name).mkdir()
    before = sorted(os.listdir(tmp_path))
    sweep(tmp_path / "model")
    assert sorted(os.listdir(tmp_path)) == before


def test_a_manifest_finds_every_damage(tmp_path: Path) -> None:
    write_two(tmp_path, "content")
    write_manifest(tmp_path)
    verify_manifest(tmp_path)
    for name in ("first", "inner/second"):
        path = tmp_path / name
        for damage in ("Content", "conten", "content "):
            path.write_text(damage)
            with pytest.raises(FormatError, match=name):
                verify_manifest(tmp_path)
        path.unlink()
        with pytest.raises(FormatError, match=f"{name} is missing"):
            verify_manifest(tmp_path)
        path.write_text("content")
    verify_manifest(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"files": 3}', '{"files": {"first": {}}}', '{"files": {"../first": {"bytes": 1, "sha256": ""}}}'],
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(FormatError, match="manifest.json"):
        verify_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(FormatError, match="manifest.json"):
        verify_manifest(tmp_path)
