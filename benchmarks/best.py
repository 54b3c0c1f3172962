"""Trains the best small models, quantises them, answers the test images once, and measures them side by side.

Run: make best, or python -m benchmarks.best [--rows small,tiny] [--epochs N] [--seeds 3] [--backend B] [--precision P].
Every command is one of `edgefm`'s own, in a process of its own. The record, benchmarks/results/best.json, is written
after every finished model; a stopped series goes on with the same command. Then `python -m benchmarks.figures` writes
docs/best.md.

The first seed of all rows comes first, then the second of all: a series that ends early has figures for every row. With
several candidates (model options) of a row, each is trained for a quarter of the epochs without the validation images,
which then choose. What follows a training (quantising, the test images) runs beside the next one where there are cores
for both. Nothing is trained while latency is measured.

Every row stands alone: one that fails is named with its reason, the others go on, and the next call tries it again. A
candidate that fails loses. A full disk ends the series.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import best_record
from benchmarks.best_failures import Left, is_full_disk, output_of
from benchmarks.best_rows import CHOICE_SHARE, SEEDS, Row, named
from edgefm.core import artefacts, runs
from edgefm.core.errors import EdgefmError
from edgefm.core.runs import RunDirectory
from edgefm.recipes import Training
from edgefm.tflite.inspection import inspect
from edgefm.training import checkpoint

# Commands of edgefm that end with this process, even where it is killed: a run has one writer.
_EDGEFM = (
    "-c",
    "from edgefm.core.with_parent import end_with_parent\nend = end_with_parent()\nend and end()\n"
    "from edgefm.cli.start import main\nmain()",
)
# Backend and precision are chosen by a short trial.
_FASTEST = "auto"
# With fewer cores than these, what follows a training would slow the next one down.
_CORES_FOR_BOTH = 4


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says.

    Attributes:
      rows: to make.
      seeds: number of trainings of each row.
      epochs: of each training, instead of its recipe's.
      backend: of the trainings; None takes the default.
      precision: of the trainings; None takes the default.
      data: instead of Fashion-MNIST.
      runs: folder of the run folders.
      record: the record's file.
      deadline: `time.monotonic()` after which no training is begun.
      latency: measure it.
    """

    rows: tuple[Row, ...]
    seeds: int
    epochs: int | None
    backend: str | None
    precision: str | None
    data: str | None
    runs: Path
    record: Path
    deadline: float
    latency: bool

    def trained_on(self) -> list[str]:
        """Return the options of `edgefm train` for backend, precision and data."""
        given = {"--backend": self.backend, "--precision": self.precision, "--data": self.data}
        return [part for name, value in given.items() if value is not None for part in (name, value)]

    def data_name(self) -> str:
        """Return what the names of run folders say of data other than Fashion-MNIST, which are other runs."""
        if self.data is None:
            return ""
        sha256 = artefacts.sha256_bytes(self.data.encode())
        return f"-on-{Path(self.data).stem.replace(':', '-')}-{sha256[:8]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is not recorded yet; 1 where something was left out, 2 where the series ended, 130 after Ctrl-C."""
    try:
        return make(_options(arguments))
    except KeyboardInterrupt:
        print("stopped by the user; the same command goes on", file=sys.stderr)
        return 130
    except EdgefmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if not is_full_disk(error):
            raise
        print(f"error: {error}\n  Free some space; the same command goes on.", file=sys.stderr)
        return 2


def make(options: Options) -> int:
    """Train, quantise and answer what the record lacks, and measure latency; see `main` for the result."""
    record = best_record.read(options.record)
    left = Left()
    chosen = replace(options, rows=tuple(row for row in options.rows if _choose(row, record, options, left)))
    beside = (os.cpu_count() or 1) >= _CORES_FOR_BOTH
    with ThreadPoolExecutor(max_workers=2) as pool:
        waiting: list[tuple[Row, Future[dict[str, Any] | None]]] = []
        try:
            for row, recipe in plan(chosen, record):
                what = f"{row.name}, seed {recipe.seed}"
                if time.monotonic() >= options.deadline:
                    left.late.append(f"{what}, for want of time")
                    continue
                with left.alone(what):
                    run = _train(row, recipe, options)
                    waiting.append((row, pool.submit(_finish, row, recipe, run, options, left)))
                _collect(waiting, record, options, wait=not beside)
        finally:  # whatever ends the series: test images that were answered are not asked again
            _collect(waiting, record, options, wait=True)
    if options.latency and not left.late:
        with left.alone("latency"):
            _measure(record, options)
    missing = [*left.late, *left.failed]
    for one in missing:
        print(f"left out: {one}", flush=True)
    again = "; go on with the same command" if missing else ""
    print(f"{options.record}; the page: python -m benchmarks.figures{again}")
    return 1 if missing else 0


def plan(options: Options, record: Mapping[str, Any]) -> list[tuple[Row, Training]]:
    """Return the trainings that are not recorded: the first seed of all rows, then the second."""
    wanted: list[tuple[Row, Training]] = []
    for seed in range(options.seeds):
        for row in options.rows:
            chosen = record["rows"].get(row.name, {}).get("choice", {}).get("chosen")
            recipe = row.training(seed=seed, epochs=options.epochs, options=chosen)
            if (chosen or not row.candidates) and not best_record.holds(record, row, recipe):
                wanted.append((row, recipe))
    return wanted


def _choose(row: Row, record: dict[str, Any], options: Options, left: Left) -> bool:
    """Choose among a row's candidates by the validation images, unless it is known; False where it cannot be.

    A candidate that fails loses against those that do not; where all fail, the row does.
    """
    epochs = math.ceil(CHOICE_SHARE * (options.epochs or row.recipe.epochs))
    known = record["rows"].get(row.name, {}).get("choice")
    if not row.candidates or (known is not None and known["tried"][0]["epochs"] >= epochs):
        return True
    if time.monotonic() >= options.deadline:
        left.late.append(f"{row.name}, which of its candidates, for want of time")
        return False
    tried = []
    losers = Left()
    for candidate in row.candidates:
        recipe = row.training(seed=0, epochs=epochs, options=candidate)
        recipe = Training.from_json(
            {"kind": "train", "params": {**recipe.to_json()["params"], "with_validation": False}}
        )
        name = "-".join(candidate.values())
        accuracy = None
        with losers.alone(f"{row.name}, candidate {name}"):
            run = _train(row, recipe, options, suffix=f"-{name}")
            accuracy = run.require("train").summary["validation_accuracy"]
        tried.append({"options": dict(candidate), "epochs": epochs, "validation_accuracy": accuracy})
    finished = [one for one in tried if one["validation_accuracy"] is not None]
    if not finished:
        left.failed.extend(losers.failed)
        return False
    best = max(finished, key=lambda one: one["validation_accuracy"])
    record["rows"].setdefault(row.name, {})["choice"] = {"tried": tried, "chosen": best["options"]}
    best_record.write(record, options.record)
    return True


def _train(row: Row, recipe: Training, options: Options, *, suffix: str = "") -> RunDirectory:
    """Return the run of a training, begun, gone on with, or finished before."""
    name = f"{row.name}-{recipe.epochs}e-seed{recipe.seed}{suffix}{options.data_name()}"
    path, file = options.runs / name, options.runs / f"{name}.json"
    artefacts.write_json(file, recipe.to_json())
    begun = (path / "manifest.json").exists()
    stopped = begun and (RunDirectory.open(path).partial("train") / checkpoint.FILE_NAME).exists()
    print(f"{name}: {'going on' if stopped else 'training'} for {recipe.epochs} epochs", flush=True)
    given = ["train", "--recipe", str(file), "--run", str(path), *options.trained_on()]
    output_of([sys.executable, *_EDGEFM, *given, *(["--resume"] if stopped else [])], where=f"{path}.log")
    return RunDirectory.open(path)


def _finish(row: Row, recipe: Training, run: RunDirectory, options: Options, left: Left) -> dict[str, Any] | None:
    """Return the entry of a training; None where what follows it fails."""
    entry = None
    with left.alone(f"{row.name}, seed {recipe.seed}"):
        entry = _entry(row, recipe, run, options)
    return entry  # noqa: RET504  # it may have failed


def _entry(row: Row, recipe: Training, run: RunDirectory, options: Options) -> dict[str, Any]:
    """Return what the record keeps of a training: its file quantised, and the test images answered once."""
    step = run.require("train")
    model = run.folder(step) / "model.keras"
    history = json.loads((run.folder(step) / "history.json").read_text(encoding="utf-8"))
    facts: dict[str, Any] = {"variant": row.variant}
    if row.variant:
        given = ["quantize", str(run.path), "--variant", row.variant]
        output_of([sys.executable, *_EDGEFM, *given], where=f"{run.path}.log", also={"CUDA_VISIBLE_DEVICES": ""})
        file = run.folder(run.require("quantize")) / row.variant / "model.tflite"
        facts |= {
            "file": str(file),
            "sha256": artefacts.sha256_file(file),
            "size_bytes": file.stat().st_size,
            "macs": inspect(file).macs,
        }
        model = file
    if row.final:
        facts |= {"test": _answers(model, "test", history["device"]["backend"], options)}
    return {
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "shortened": recipe.epochs < row.recipe.epochs,
        "recipe": recipe.to_json(),
        "data": options.data or "fashion-mnist",
        "parameters": _parameters(run.folder(step) / "model.keras"),
        "validation_accuracy": None if recipe.with_validation else step.summary["validation_accuracy"],
        "device": history["device"],
        "seconds": step.seconds,
        "images_per_second": history["epochs"][-1].get("images_per_second"),
        "created": runs.now(),
        **facts,
    }


def _collect(
    waiting: list[tuple[Row, Future[dict[str, Any] | None]]], record: dict[str, Any], options: Options, *, wait: bool
) -> None:
    """Write down what is finished; with `wait` all of it."""
    for row, future in list(waiting):
        if not (wait or future.done()):
            continue
        waiting.remove((row, future))
        entry = future.result()
        if entry is None:  # it failed, and was named then
            continue
        best_record.add(record, row, entry)
        best_record.write(record, options.record)
        told = entry["test"]["accuracy"] if row.final else entry["validation_accuracy"]
        print(f"{row.name}, seed {entry['seed']}: {100 * told:.2f} %", flush=True)


def _measure(record: dict[str, Any], options: Options) -> None:
    """Measure the int8 file of each row beside the document's network in float32, unless these files were."""
    files = {}
    for row in options.rows:
        found = best_record.shown(record, row)
        if found and row.variant and Path(found[0]["file"]).exists():
            files[row.name] = found[0]
    known = (record["latency"] or {}).get("models", {})
    if not files or all(known.get(name, {}).get("sha256") == entry["sha256"] for name, entry in files.items()):
        return
    out = options.runs / "latency.json"
    given = [f"{name}={entry['file']}" for name, entry in files.items()]
    print(f"measuring {', '.join(files)} beside the document's network in float32", flush=True)
    log = str(options.runs / "latency.log")
    output_of([sys.executable, "-m", "benchmarks.best_latency", *given, "--out", str(out)], where=log)
    latency = json.loads(out.read_text(encoding="utf-8"))
    for name, entry in files.items():
        latency["models"][name]["sha256"] = entry["sha256"]
    best_record.add_latency(record, latency)
    best_record.write(record, options.record)


def _answers(model: Path, split: str, backend: str, options: Options) -> dict[str, Any]:
    given = [str(model), "--split", split, "--backend", backend.split()[0]]
    given += [] if options.data is None else ["--data", options.data]
    output = output_of([sys.executable, "-m", "benchmarks.best_answers", *given], where=f"{model}.log")
    answers: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return answers


def _parameters(model: Path) -> int:
    """Return the number of weights of a Keras model's file, without building it."""
    import io
    import zipfile

    import h5py

    count = 0

    def add(name: str, found: Any) -> None:
        nonlocal count
        if isinstance(found, h5py.Dataset) and "seed_generator" not in name:
            count += math.prod(found.shape)

    with zipfile.ZipFile(model) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
        weights["layers"].visititems(add)
    return count


def _options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", help="these alone, separated by commas: document, enhanced, small, tiny, ...")
    parser.add_argument(
        "--epochs", type=int, help="of each training; the record and the page say that it was shortened"
    )
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--backend", default=_FASTEST, help="of the trainings: tensorflow, jax or torch")
    parser.add_argument(
        "--precision", default=_FASTEST, help="of the trainings: float32, mixed_bfloat16, mixed_float16"
    )
    parser.add_argument("--data", help="instead of Fashion-MNIST: pictures of 28 x 28 in 10 classes, for a trial")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no training after these")
    parser.add_argument("--runs", type=Path, default=Path("runs/best"))
    parser.add_argument("--record", type=Path, default=best_record.PATH, help="another file, for a trial")
    parser.add_argument("--no-latency", action="store_true", help="measure none, e.g. on a machine that is not quiet")
    given = parser.parse_args(arguments)
    if given.seeds < 1 or (given.epochs is not None and given.epochs < 1):
        parser.error("--seeds and --epochs are 1 or more")
    if given.data is not None and given.record == best_record.PATH:
        parser.error("--data: figures on other data are no row of the table; give --record FILE for a trial")
    return Options(
        rows=named(given.rows),
        seeds=given.seeds,
        epochs=given.epochs,
        backend=given.backend,
        precision=given.precision,
        data=given.data,
        runs=given.runs,
        record=given.record,
        deadline=time.monotonic() + 60 * given.minutes,
        latency=not given.no_latency,
    )


if __name__ == "__main__":
    sys.exit(main())
