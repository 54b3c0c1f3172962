"""What the base install takes on disk, and how soon it gives a first figure.

A wheel is built and installed without extras into a new environment from the package index. Run:
pytest benchmarks/test_base_install.py --benchmark-enable.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import Any

from benchmarks.recorded import write_result

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "android_demo_assets" / "int8" / "model.tflite"
LIMIT_BYTES = 150e6
LIMIT_SECONDS = 5.0
# Bytes of each installed package, from what pip wrote down of its files.
PARTS = """
import importlib.metadata, json, os
sizes = {}
for package in importlib.metadata.distributions():
    paths = {os.path.realpath(file.locate()) for file in package.files or ()}
    sizes[f"{package.name} {package.version}"] = sum(os.lstat(path).st_size for path in paths if os.path.exists(path))
print(json.dumps(dict(sorted(sizes.items(), key=lambda item: -item[1]))))
"""


def test_base_install_is_small_and_quick(tmp_path: Path, benchmark: Any) -> None:
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    bare, there_before = size(folder), set(parts(python))
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), str(wheel)], check=True
    )
    taken = size(folder) - bare
    command = [str(folder / "bin" / "edgefm"), "benchmark", str(MODEL), "--latency-only", "--rounds-at-most", "1"]
    options: dict[str, Any] = {"check": True, "capture_output": True, "cwd": tmp_path}
    started = time.perf_counter()
    subprocess.run(command, **options)
    first_ever = time.perf_counter() - started
    benchmark.pedantic(subprocess.run, (command,), options, rounds=7, warmup_rounds=1)
    seconds = benchmark.stats.stats
    largest = {name: bytes_ for name, bytes_ in parts(python).items() if name not in there_before}
    print(f"\n{taken / 1e6:.1f} MB; first figure after {seconds.median:.2f} s; largest: {list(largest.items())[:6]}")
    write_result(
        "base_install",
        what="disk space of `pip install edgefm` without extras above an empty environment, bytecode included; seconds "
        "of a whole `edgefm benchmark` of one model, one round",
        command="pytest benchmarks/test_base_install.py --benchmark-enable",
        figures={
            "size_bytes": taken,
            "parts_bytes": largest,
            "first_ever_seconds": first_ever,
            "seconds": seconds.median,
            "samples": seconds.data,
        },
    )
    assert seconds.median <= LIMIT_SECONDS
    assert taken <= LIMIT_BYTES


def size(folder: Path) -> int:
    """Return the bytes of all files in a folder, links not followed."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def parts(python: str) -> dict[str, int]:
    """Return the bytes of each package of an environment, the largest first."""
    done = subprocess.run([python, "-c", PARTS], check=True, capture_output=True, text=True)
    found: dict[str, int] = json.loads(done.stdout)
    return found
