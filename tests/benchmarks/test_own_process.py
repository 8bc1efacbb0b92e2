import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_value_comes_from_another_process():
    from own_process import alone

    assert alone(os.getpid) != os.getpid()
    with pytest.raises(ZeroDivisionError):
        alone(divmod, 1, 0)


def test_a_killed_parent_takes_the_measurement_along(tmp_path):
    script, said = tmp_path / "parent.py", tmp_path / "child.txt"
    script.write_text(
        "import os, pathlib, sys, time\n"
        "from own_process import alone\n"
        "def child(path):\n"
        "    pathlib.Path(path).with_suffix('.partial').write_text(str(os.getpid()))\n"
        "    os.rename(pathlib.Path(path).with_suffix('.partial'), path)\n"
        "    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    alone(child, sys.argv[1])\n"
    )
    parent = subprocess.Popen([sys.executable, script, said], env={**os.environ, "PYTHONPATH": str(BENCHMARKS)})
    deadline = time.monotonic() + 50
    while not said.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    child = int(said.read_text())
    parent.kill()
    parent.wait()
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(child)


def alive(process):
    """Whether it runs still; one that nobody has waited for yet does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
