"""A servant ends with the process that started it, from before its imports on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from edgefm.core import with_parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")

# What a servant imports: it says that it began, and takes long.
_SLOW = "import os, sys, time\nprint(os.getpid(), flush=True)\ntime.sleep(120)\n"
# A parent that starts a servant, and waits.
_PARENT = """
import subprocess, sys
from edgefm.core import with_parent
servant = subprocess.Popen(with_parent.command("slow"), stdin=subprocess.PIPE)
servant.wait()
"""


def test_servant_that_still_imports_ends_with_a_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(_SLOW)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        servant = psutil.Process(int(parent.stdout.readline()))
        assert servant.ppid() == parent.pid
        parent.kill()
        servant.wait(timeout=5)  # raises where it lives on


def test_servant_whose_parent_is_gone_before_it_began_does_not_begin(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(_SLOW)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    reading, writing = os.pipe()
    os.close(writing)
    done = subprocess.run(
        with_parent.command("slow"), stdin=reading, capture_output=True, env=environment, timeout=30, check=False
    )
    os.close(reading)
    assert (done.returncode, done.stdout) == (0, b"")


def test_module_runs_as_python_would_run_it(tmp_path: Path) -> None:
    (tmp_path / "told.py").write_text("import sys\nprint(__name__, sys.argv[1:])\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    command = [*with_parent.command("told"), "one", "two"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read() == "__main__ ['one', 'two']\n"


def test_servant_that_was_asked_before_its_parent_went_answers(tmp_path: Path) -> None:
    (tmp_path / "told.py").write_text("import sys\nprint(sys.stdin.read())\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    done = subprocess.run(
        with_parent.command("told"), input="asked", capture_output=True, text=True, env=environment, check=False
    )
    assert done.stdout == "asked\n", done.stderr
