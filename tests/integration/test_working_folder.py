"""Modules that lie in the working folder are not imported: neither by the command nor by its workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import edgefm
from edgefm.targets.host import HostPlace
from edgefm.targets.probing import probed_by
from edgefm.targets.worker_process import WorkerProcess

MODEL = Path(__file__).parents[2] / "android_demo_assets" / "int8" / "model.tflite"
NAMES = (
    "json.py",
    "numpy.py",
    "random.py",
    "sitecustomize.py",
    "usercustomize.py",
    "edgefm/__init__.py",
    "ai_edge_litert.py",
)


@pytest.fixture
def trapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder whose modules leave a mark when they are imported; return the mark."""
    mark = tmp_path / "mark"
    place = tmp_path / "place"
    for name in NAMES:
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"open({str(mark)!r}, 'a').write({name!r})\nraise ImportError('shadow')\n")
    monkeypatch.chdir(place)
    return mark


def _edgefm(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("edgefm"))
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=True)


def test_inspect_and_the_workers_of_benchmark_and_agree_import_nothing_from_there(trapped: Path) -> None:
    assert "MACs" in _edgefm("inspect", str(MODEL)).stdout
    _edgefm("benchmark", str(MODEL), "--latency-only", "--rounds-at-most", "1", "--out", "measured")
    _edgefm("agree", str(MODEL), "--runtime", "litert", "--random", "-n", "5", "--no-first-difference")
    assert not trapped.exists(), trapped.read_text()


def test_another_python_imports_nothing_from_there(trapped: Path, tmp_path: Path) -> None:
    with (
        HostPlace(python=Path(sys.executable)) as place,
        WorkerProcess(place=place, folder=tmp_path, name="w") as worker,
    ):
        worker.load(MODEL, runtime="litert", threads=1, memory_bytes=1 << 30, seconds=60)
    assert probed_by("edgefm.runtimes.litert", Path(sys.executable)).reason is None
    assert not trapped.exists(), trapped.read_text()


def test_the_way_workers_are_started_passes_the_working_folder_on_by_no_means(trapped: Path) -> None:
    code = (
        "import sys; from edgefm.targets import worker_start; "
        "worker_start.start_here('json.tool', log=sys.stderr.buffer).communicate('{}')"
    )
    root = str(Path(edgefm.__file__).parents[1])
    # An interactive Python has '' on its path, which means the working folder; -P there is the user's own business.
    script = f"import sys; sys.path[:0] = [{root!r}]; " + "sys.path.append(''); " + code
    subprocess.run([sys.executable, "-P", "-c", script], check=True, stdout=subprocess.DEVNULL)
    assert not trapped.exists(), trapped.read_text()
