"""Which models work: 54 of the kinds that people bring, each variant of each, beside Keras and the stock converter.

Each model is trained for a few steps, given to `edgefm.quantize` with all variants, and its files are run by LiteRT's
own Interpreter: float32 against Keras's predict, int8 against the file that TensorFlow's converter makes with the same
calibration samples. A model has a process of its own and 30 minutes.

Run: python -m benchmarks.models [--only NAME] [--list]; then python -m benchmarks.figures writes docs/models.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import model_builders, recorded, stock_converter
from benchmarks.against_keras import compared
from benchmarks.model_builders import Build
from benchmarks.trained_models import trained
from edgefm.core.errors import EdgefmError
from edgefm.recipes import DEFAULT_VARIANTS

VARIANTS = (*DEFAULT_VARIANTS[:5], "int16x8", *DEFAULT_VARIANTS[5:])
SECONDS = 1800
FLOAT32_AT_MOST = 1e-4
# Of a model that computes in bfloat16 itself: half its eps, twice.
HALF_AT_MOST = 8e-3
# An error this much above the stock file's is the luck of rounding on so few samples.
AS_GOOD = 1.1
_MORE_SEEDS = (1, 2, 3)


def builders() -> dict[str, Build]:
    """Return the models by name."""
    from tests.fixtures import models_of_several_inputs as several
    from tests.fixtures import models_people_bring as bring

    def first(build: Any) -> Build:
        return lambda: build()[0]

    found: dict[str, Build] = {**model_builders.MLPERF_TINY, **model_builders.APPLICATIONS, **model_builders.OTHERS}
    kinds = {**bring.TRAINABLE, "mixed_precision": bring.mixed_precision, **bring.SEQUENCES, **bring.TOKENS}
    found |= {name.replace("_", " "): build for name, build in kinds.items()}
    return found | {f"several inputs: {build.__name__.replace('_', ' ')}": first(build) for build in several.KINDS}


def main() -> int:
    """Record the table; 1 where a model ended in a traceback or differs by more than it may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="this model alone; the others keep what was recorded")
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(_one(options.child)))
        return 0
    names = options.only or list(builders())
    if options.list:
        print("\n".join(builders()))
        return 0
    known = recorded.result("models")["rows"] if options.only and "models" in recorded.names() else {}
    rows = {name: row for name, row in known.items() if name in builders()}
    for place, name in enumerate(names):
        rows[name] = _in_a_process(name)
        print(f"{place + 1}/{len(names)} {name}: {_short(rows[name])}", flush=True)
        ordered = {name: rows[name] for name in builders() if name in rows}
        recorded.write_result(
            "models",
            what="variants of models of the kinds that people bring: works or why not; float32 against Keras, int8 "
            "against the stock converter's",
            command="python -m benchmarks.models",
            figures={"rows": ordered},
        )
    return 0 if all(held(row) for row in rows.values()) else 1


def held(row: Mapping[str, Any]) -> bool:
    """Return whether a model keeps what is promised: no traceback, float32 as Keras, int8 as good as the stock file."""
    most = HALF_AT_MOST if row.get("half") else FLOAT32_AT_MOST
    return not row["traceback"] and (row["float32"] or 0) <= most and as_good(row)


def as_good(row: Mapping[str, Any]) -> bool:
    """Return whether int8 is as near to Keras as the stock converter's file; True where one of them does not exist."""
    ours, stock = row["int8"], row["stock"]
    return ours is None or stock is None or ours["error"] <= AS_GOOD * stock["error"] + 1e-6


def _short(row: Mapping[str, Any]) -> str:
    works = sum(cell == "works" for cell in row["cells"].values())
    ours, stock = row["int8"], row["stock"]
    errors = (
        f"int8 {ours['error']:.4f} / stock {stock['error']:.4f}" if ours and stock else f"stock: {row['stock_reason']}"
    )
    said = row["traceback"] or f"{works} of {len(VARIANTS)}, float32 {row['float32']}, {errors}"
    return f"{said}; {row['seconds']:.0f} s"


def _in_a_process(name: str) -> dict[str, Any]:
    started = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.models", "--child", name]
    empty: dict[str, Any] = {"cells": {}, "float32": None, "int8": None, "stock": None, "stock_reason": ""}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        lines = done.stdout.strip().splitlines()
        row = json.loads(lines[-1]) if done.returncode == 0 and lines else None
        last = (done.stderr.strip() or "no word").splitlines()[-1]
        row = row or {**empty, "traceback": f"exit code {done.returncode}: {last}"}
    except subprocess.TimeoutExpired:
        row = {**empty, "traceback": f"not done in {SECONDS} s"}
    return {**row, "seconds": round(time.perf_counter() - started, 1)}


def _one(name: str) -> dict[str, Any]:
    """Return the row of a model, in this process."""
    import edgefm
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")
    model, data, test, wanted = trained(builders()[name], seed=0)
    half = any(layer.dtype_policy.compute_dtype != "float32" for layer in model._flatten_layers(include_self=False))
    row: dict[str, Any] = {"parameters": int(model.count_params()), "task": data.task, "half": half, "traceback": None}
    cells: dict[str, str] = {}
    folder = ""
    try:
        with tempfile.TemporaryDirectory(prefix="edgefm-models-") as folder:
            path = Path(folder) / "model.keras"
            model.save(path)
            head = "logits" if _ends_in_logits(name) else "auto"
            files = edgefm.quantize(path, list(VARIANTS), data=data, head=head, progress=False)
            contents = {variant: file.path.read_bytes() for variant, file in files.items()}
        cells = dict.fromkeys(contents, "works") | dict(files.skipped)
    except EdgefmError as error:
        contents, cells = {}, dict.fromkeys(VARIANTS, error.message.replace(folder, "").replace("/model.keras", name))
    except Exception:  # what must not happen
        contents, row["traceback"] = {}, traceback.format_exc(limit=-30)
    float32 = compared(contents.get("float32"), test, wanted)
    stock, reason = stock_converter.int8(model, _calibration(data))
    row |= {"int8": compared(contents.get("int8_w8a8"), test, wanted), "stock": compared(stock, test, wanted)}
    if not as_good(row):
        _over_seeds(row, name)
    return row | {
        "cells": {variant: cells.get(variant, "not named") for variant in VARIANTS},
        "float32": None if float32 is None else float32["greatest"],
        "stock_reason": reason,
    }


def _over_seeds(row: dict[str, Any], name: str) -> None:
    """Replace the errors of int8 files by their means over this and three more seeds: one is luck of rounding, too."""
    import edgefm

    errors = [(row["int8"]["error"], row["stock"]["error"])]
    for seed in _MORE_SEEDS:
        model, data, test, wanted = trained(builders()[name], seed=seed)
        head = "logits" if _ends_in_logits(name) else "auto"
        files = edgefm.quantize(model, ["int8_w8a8"], data=data, head=head, progress=False)
        stock, _ = stock_converter.int8(model, _calibration(data))
        both = (compared(content, test, wanted) for content in (files["int8_w8a8"].path.read_bytes(), stock))
        errors.append(tuple(errors_of["error"] for errors_of in both if errors_of))
    row["seeds"] = errors
    row["int8"]["error"], row["stock"]["error"] = (float(np.mean(values)) for values in zip(*errors, strict=True))


def _calibration(data: Any) -> NDArray[Any]:
    from edgefm.data.calibration import calibration_images

    return calibration_images(data.train, count=min(256, len(data.train)), seed=0)


def _ends_in_logits(name: str) -> bool:
    return name in ("logits", "one logit")


if __name__ == "__main__":
    sys.exit(main())
