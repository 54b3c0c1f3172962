"""Measures the shipped models on every runtime, kernel set and target that is here, and writes the leaderboard.

Records go to results/leaderboard/, a folder each; the page to docs/leaderboard.md and docs/leaderboard.html. What is
not here is left out, with the reason on the terminal: see `edgefm doctor`.

Accuracies are of places that tell latencies too: an emulator takes hours for 10,000 images, and `edgefm agree` says
what its answers are worth.

Run: python -m benchmarks.leaderboard [--missing] [--page-only].
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgefm import runtimes
from edgefm.benchmarking import record
from edgefm.benchmarking.step import benchmark_files
from edgefm.core.errors import EdgefmError
from edgefm.core.progress import Bars
from edgefm.recipes import BenchmarkProtocol
from edgefm.report.leaderboard import write_leaderboard
from edgefm.runtimes.base import Unavailable
from edgefm.targets import target

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "benchmarks" / "results" / "leaderboard"
MODELS = sorted((ROOT / "android_demo_assets").glob("*/model.tflite"))
ESTIMATES = ("vela:ethos-u55-128", "vela:ethos-u65-512", "vela:ethos-u85-256", "cortex-m:m4")
EMULATED = ("qemu-aarch64:cortex-a53", "qemu-aarch64:cortex-a72", "qemu-aarch64:cortex-a76")
# Few samples a round keep the records small; rounds are what an interval is made of.
SAMPLES = 300


def main() -> None:
    """Measure, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page-only", action="store_true", help="write the page from the records that are there")
    parser.add_argument("--missing", action="store_true", help="measure only what has no record yet")
    given = parser.parse_args()
    if not given.page_only:
        measure_all(missing=given.missing)
    write_page()


def measure_all(*, missing: bool) -> None:
    """Write a record of all models for each place; where `missing`, only of those that have none."""
    for address, runtime, threads in places():
        name = f"{address}-{runtime}-{threads}".replace(":", "-").replace("/", "-")
        if missing and (RECORDS / name / "record.json").exists():
            continue
        protocol = BenchmarkProtocol(target=address, runtime=runtime, threads=threads, round_invokes_at_most=SAMPLES)
        bars = Bars()
        try:
            accuracy = target(address).latency
            benchmark_files(MODELS, protocol=protocol, accuracy=accuracy, out=RECORDS / name, progress=bars)
        except EdgefmError as error:
            print(f"{address} {runtime}: left out: {error.message}")
            continue
        finally:
            bars.close()
        # Which picture got which answer is of no use here, and large.
        (RECORDS / name / "predictions.npz").unlink(missing_ok=True)
        place_below(RECORDS / name / record.FILE_NAME)
        print(f"{address} {runtime}: measured")


def place_below(path: Path) -> None:
    """Write the models' paths in a record relative to the project: it is passed on."""
    value = record.read(path)
    for model in value["models"]:
        model["file"] = (ROOT / model["file"]).relative_to(ROOT).as_posix()
    record.write(path, value)


def places() -> Iterator[tuple[str, str, int]]:
    """Yield (target, runtime with its kernel set, threads) of everything that can be used here."""
    for name, module in runtimes.modules().items():
        if name in runtimes.OF_TARGETS:
            continue
        loaded = runtimes.import_runtime(module)
        usable = loaded.availability()
        if isinstance(usable, Unavailable) and runtimes.interpreter_of(name) is None:
            print(f"host {name}: left out: {usable.reason}")
            continue
        for kernels in runtimes.kernels_of(loaded) or ("",):
            yield "host", f"{name}:{kernels}" if kernels else name, 1
    for address in (*EMULATED, "browser", *ESTIMATES):
        found = target(address)
        usable = found.availability()
        if isinstance(usable, Unavailable):
            print(f"{address}: left out: {usable.reason}")
            continue
        for threads in (1, 2) if address == "browser" else (1,):
            yield address, found.runtimes[0] if found.runtimes else "", threads


def write_page() -> None:
    """Write docs/leaderboard.md and .html and their pictures from the records."""
    docs = ROOT / "docs"
    with tempfile.TemporaryDirectory() as folder:
        write_leaderboard([RECORDS], Path(folder))
        page = (Path(folder) / "leaderboard.md").read_text(encoding="utf-8")
        for picture in Path(folder).glob("*.png"):
            shutil.copyfile(picture, docs / "images" / picture.name)
            page = page.replace(f"]({picture.name})", f"](images/{picture.name})")
        again = "Measured by `python -m benchmarks.leaderboard`; written from `benchmarks/results/leaderboard/`."
        (docs / "leaderboard.md").write_text(f"{page}\n{again}\n", encoding="utf-8")
        shutil.copyfile(Path(folder) / "leaderboard.html", docs / "leaderboard.html")
    print(f"page: {docs / 'leaderboard.html'}")


if __name__ == "__main__":
    main()
