"""Times the main job on this machine and records its result: train (best), quantize, benchmark.

Beside it the `standard` preset is trained, for its time and its validation accuracy. Both trainings take the precision
that is the fastest here. The recipe of the files is `benchmarks/recorded_recipe.json`: the default set, and the
variants that have targets beside it.

Each command runs as a user would run it, in a process of its own. Writes results/main_job.json and the
pictures of the README. Run: python -m benchmarks.main_job [--run FOLDER]. Steps that the run already holds are not done
again, and the times recorded with them stay; the benchmark is always measured anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from edgefm.core import artefacts, runs
from edgefm.core.environment import environment
from edgefm.core.runs import RunDirectory, Step
from edgefm.statistics.round_comparison import time_ratio

RESULTS = Path(__file__).parent / "results"
PICTURES = Path(__file__).parent.parent / "docs" / "images"
RECIPE = Path(__file__).parent / "recorded_recipe.json"
PRESET = "best"


def main() -> None:
    """Run the commands and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/main-job"))
    path: Path = parser.parse_args().run
    plain = path.with_name(f"{path.name}-standard")
    standard_seconds = timed("train", "--preset", "standard", "--precision", "auto", "--run", str(plain))
    train_seconds = timed("train", "--preset", PRESET, "--precision", "auto", "--run", str(path))
    quick_seconds = timed("quantize", str(path), "--quick")
    quantize_seconds = timed("quantize", str(path), "--recipe", str(RECIPE))
    benchmark_seconds = timed("benchmark", str(path))

    run = RunDirectory.open(path)
    training, quantized, measured = (run.require(kind) for kind in ("train", "quantize", "benchmark"))
    standard = RunDirectory.open(plain).require("train")
    record = json.loads((run.folder(measured) / "record.json").read_text(encoding="utf-8"))
    int8 = next(model for model in record["models"] if model["name"] == "int8_w8a8")
    report = json.loads((run.folder(quantized) / "quantize.json").read_text(encoding="utf-8"))
    artefacts.write_json(
        RESULTS / "main_job.json",
        {
            "what": "the main job, each command a process of its own, wall-clock seconds",
            "command": "python -m benchmarks.main_job",
            "created": runs.now(),
            "environment": environment(),
            "preset": PRESET,
            "train_seconds": before(training, "training", "train_seconds") or train_seconds,
            "standard_seconds": before(standard, "standard", "standard_seconds") or standard_seconds,
            "quick_seconds": quick_seconds,
            "quantize_seconds": before(quantized, "quantization", "quantize_seconds") or quantize_seconds,
            "benchmark_seconds": benchmark_seconds,
            "training": training.to_json(),
            "standard": standard.to_json(),
            "quantization": quantized.to_json(),
            "models": [summary(model, int8) for model in record["models"]],
            "variants": {variant["variant"]: compression(variant) for variant in report["variants"]},
            "dataset": record["dataset"],
            "protocol": record["protocol"],
            "session": record["session"],
        },
    )
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name in ("tradeoff.png", "curves.png", "steps.png"):
        shutil.copyfile(path / "report" / name, PICTURES / name)
    print(f"wrote {RESULTS / 'main_job.json'}")


def before(step: Step, part: str, seconds: str) -> float | None:
    """Return the time recorded for the very same step, None where it was done only now."""
    path = RESULTS / "main_job.json"
    recorded = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return float(recorded[seconds]) if recorded.get(part, {}).get("created") == step.created else None


def timed(*arguments: str) -> float:
    """Return the wall-clock seconds of an edgefm command that must run to its end."""
    started = time.perf_counter()
    done = subprocess.run([str(Path(sys.executable).with_name("edgefm")), *arguments], check=False)
    if done.returncode not in (0, 1):  # 1: a limit was broken, which is recorded like everything else
        raise SystemExit(done.returncode)
    return time.perf_counter() - started


def summary(model: dict[str, Any], int8: dict[str, Any]) -> dict[str, Any]:
    """Return a model's row of a record without its raw samples and lists of images, with its time over int8_w8a8's."""
    row = {key: value for key, value in model.items() if key not in ("rounds", "confusion", "classes")}
    row["samples"] = sum(len(round_["invoke_ns"]) for round_ in model["rounds"])
    row["rounds"] = len(model["rounds"])
    ratio = time_ratio(model, int8)
    row["time_over_int8"] = None if ratio is None else ratio.to_json()
    if row["against_reference"]:
        against = dict(row["against_reference"])
        against["flipped"] = len(against["flipped"])
        row["against_reference"] = against
    return row


def compression(variant: dict[str, Any]) -> dict[str, Any]:
    """Return what a quantize report says of a variant, without the facts of each kernel."""
    names = ("description", "macs", "size_bytes", "gzip_bytes", "zstd_bytes", "promises", "validation", "seconds")
    found = {name: variant[name] for name in names}
    found["passes"] = [
        {
            "kind": done["recipe"]["kind"],
            "seconds": done["seconds"],
            "history": done["history"],
            "parity": done["facts"].get("parity"),
        }
        for done in variant["passes"]
    ]
    return found


if __name__ == "__main__":
    main()
