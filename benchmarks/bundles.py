"""Measures what bundles cost: writing, sizes, the page in Chromium, the arena, Java on a JVM, trace, predict.

Run: python -m benchmarks.bundles [--model FILE]. It needs a JDK, Chromium with its driver, LiteRT.js and tflite-micro.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import edgefm
from benchmarks.recorded import write_result
from edgefm.core.artefacts import sha256_file
from tests.fixtures import java
from tests.fixtures.watched_page import watched_page

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "android_demo_assets" / "int8" / "model.tflite"
NAME = "bundles"
KINDS = ("android", "c", "python", "web")
OPENED, PICTURES = 11, 2_000
_JAVA = ROOT / "converters" / "edgefm_converters" / "bundles" / "android_files"
_HARNESS = ROOT / "tests" / "fixtures" / "android_harness" / "Harness.java"
_LOAD = (
    "import sys\nfrom tflite_micro.python.tflite_micro import runtime\n"
    "runtime.Interpreter.from_file(sys.argv[1], arena_size=int(sys.argv[2]))\n"
)


def main() -> None:
    """Write results/bundles.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    model = parser.parse_args().model
    with tempfile.TemporaryDirectory(prefix="edgefm-bundles-") as name:
        folder = Path(name)
        figures: dict[str, Any] = {"model": {"name": model.parent.name, "sha256": sha256_file(model)}}
        figures["written"] = written(model, folder)
        figures["page"] = page(folder / "web", folder / "profile")
        figures["arena"] = arena(folder / "c")
        figures["java"] = {"us_a_call": java_call(folder)}
        figures["trace"] = traced(folder)
        figures["predict"] = predicted(model, folder / "pictures")
    write_result(
        NAME,
        what="what bundles of the shipped int8 model cost",
        command=f"python -m benchmarks.{NAME}",
        figures=figures,
    )


def written(model: Path, folder: Path) -> dict[str, Any]:
    """Return seconds and bytes of each kind of bundle, with golden vectors of the data, one after the other."""
    found = {}
    for kind in KINDS:
        began = time.perf_counter()
        result = edgefm.export(model, kind, out=folder / kind, data="fashion-mnist", beside=(), progress=False)
        found[kind] = {"seconds": time.perf_counter() - began, "bytes": result.size_bytes}
    return found


def page(bundle: Path, profile: Path) -> dict[str, Any]:
    """Return bytes of the page, and milliseconds until it is ready and of an inference, in a fresh tab each time."""
    index = bundle / "index.html"
    ready, p50 = [], []
    with watched_page(profile) as browser:
        for _ in range(OPENED):
            browser.open(index.as_uri())
            browser.until("document.getElementById('verdict').textContent !== 'not run'")
            told = browser.ask("return document.getElementById('status-text').textContent")
            ready.append(int(re.search(r"Ready after (\d+) ms", told)[1]))  # type: ignore[index]
            browser.ask("document.getElementById('measure').click()")
            browser.until("document.getElementById('p50-text').textContent.includes('last 100')")
            p50.append(float(re.search(r"[\d.]+", browser.ask("return document.getElementById('p50').textContent"))[0]))  # type: ignore[index]
        held = browser.ask("return document.getElementById('verdict').textContent")
    assert "held" in held, held
    return {
        "bytes": index.stat().st_size,
        "ready_ms": {"p50": statistics.median(ready), "samples": ready},
        "int8_ms": {"p50": statistics.median(p50), "samples": p50},
    }


def arena(bundle: Path) -> dict[str, int]:
    """Return the arena that the bundle states as recorded, and the smallest that TensorFlow Lite Micro loads it in."""
    header = (bundle / "src" / "contract.h").read_text(encoding="utf-8")
    stated = int(header.split("#define EDGE_ARENA_RECORDED ")[1].split()[0])
    low, high = stated // 2, stated * 2
    while high - low > 16:
        middle = (low + high) // 2
        command = [sys.executable, "-c", _LOAD, str(bundle / "model.tflite"), str(middle)]
        if subprocess.run(command, capture_output=True).returncode == 0:
            high = middle
        else:
            low = middle
    return {"stated": stated, "smallest": high}


def java_call(folder: Path) -> float:
    """Return microseconds of the Java core's call without the interpreter's part, on a warmed-up JVM."""
    sources = [path for part in ("core", "benchmark") for path in sorted((_JAVA / part).glob("*.java"))]
    core = java.compile_java(sources, folder / "core")
    harness = java.compile_java([_HARNESS], folder / "harness", path=[core])
    return float(java.run_java([core, harness], "Harness", ["time", str(folder / "android")]).split()[0])


def traced(folder: Path) -> dict[str, int]:
    """Return how many planted faults there are in the tests, and how many trace names alone."""
    report = folder / "trace.xml"
    command = [sys.executable, "-m", "pytest", "-q", "tests/integration/test_trace.py", "-k", "planted_fault"]
    subprocess.run([*command, f"--junitxml={report}"], cwd=ROOT, capture_output=True)
    head = report.read_text(encoding="utf-8")
    tests, failures, errors = (int(re.search(rf'{what}="(\d+)"', head)[1]) for what in ("tests", "failures", "errors"))  # type: ignore[index]
    return {"planted": tests, "named": tests - failures - errors}


def predicted(model: Path, folder: Path) -> dict[str, float]:
    """Return how many pictures of 28x28 a second are classified on one core, from files."""
    from PIL import Image

    folder.mkdir()
    images = edgefm.data.fashion_mnist().test.images
    for place in range(PICTURES):
        Image.fromarray(images[place, ..., 0]).save(folder / f"{place:05d}.png")
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        edgefm.predict([folder / "00000.png"], model=model, progress=False)
        began = time.perf_counter()
        edgefm.predict(folder, model=model, progress=False)
        seconds = time.perf_counter() - began
    finally:
        os.sched_setaffinity(0, cores)
    return {"pictures": PICTURES, "per_second": PICTURES / seconds}


if __name__ == "__main__":
    main()
