"""A folder that an app embeds: one model, its contract, its labels and how to use them."""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path

import numpy as np

from edgefm.benchmarking import record as records
from edgefm.comparison.shipping.of_run import default_variant, run_verdict
from edgefm.comparison.shipping.sentences import on_file
from edgefm.core import artefacts
from edgefm.core.errors import ModelError, missing_extra, unknown_name
from edgefm.core.runs import RunDirectory
from edgefm.tflite import contract
from edgefm.tflite.contract import Contract

MODEL_FILE = "model.tflite"
LABELS_FILE = "labels.txt"
COMMAND = "edgefm assets"


def write_assets(run: RunDirectory, out: Path, *, variant: str | None = None) -> tuple[Path, ...]:
    """Write model.tflite, contract.json, labels.txt and README.md of a run's variant into `out`.

    Args:
      run: a run with a quantize step.
      out: folder; files of these names in it are replaced, others are left alone.
      variant: which of the run's variants; by default the one that the verdict on its newest benchmark recommends for
        phones, its reference where none is recommended, and int8_w8a8 without a benchmark.
    Returns:
      paths of the four files.
    Raises:
      RunError: the run has no quantize step.
      RecipeError: the step has no such variant.
      ModelError: the model is not the one its contract was written for.
    """
    folder = run.folder(run.require("quantize"))
    verdict = run_verdict(run)
    variant = variant or default_variant(verdict)
    variants = sorted(path.parent.name for path in folder.glob(f"*/{MODEL_FILE}"))
    if variant not in variants:
        raise unknown_name("variant of this run", variant, variants)
    model = folder / variant / MODEL_FILE
    model_contract = contract.read(model)
    if model_contract is None:
        raise ModelError(f"{model} has no contract", hint="Write it again with: edgefm quantize")
    advice = None if verdict is None else on_file(verdict, variant)
    page = readme(model_contract, accuracy=_accuracy(run, model_contract), advice=advice)
    return (
        artefacts.write_bytes(out / MODEL_FILE, model.read_bytes()),
        model_contract.write(out),
        artefacts.write_text(out / LABELS_FILE, "\n".join(model_contract.labels) + "\n"),
        artefacts.write_text(out / "README.md", page),
    )


def readme(model: Contract, *, accuracy: str | None, advice: str | None = None) -> str:
    """Return how to embed a model in an app, in Markdown, from its contract.

    Args:
      model: its contract.
      accuracy: a sentence on what was measured; None without a benchmark.
      advice: what the verdict says of this file; None without a benchmark.
    Raises:
      RuntimeUnavailableError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError:
        raise missing_extra("jinja2", "report") from None

    template = resources.files("edgefm.quantization").joinpath("templates").joinpath("assets.md.j2")
    # Markdown, not HTML: nothing to escape.
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    _, height, width, channels = model.input.shape
    raw = model.input_formula() == "q = pixel"
    real = f"(level - {model.mean}f) / {model.std}f"
    real_python = f"(pixels - {model.mean}) / {model.std}"
    if raw:
        put, python = "input.put(level.toByte())", "pixels"
    elif model.input.scale is None:
        put, python = f"input.putFloat({real})", f"({real_python}).astype(np.float32)"
    else:
        limits = np.iinfo(model.input.dtype)
        put = (
            f"input.put(({real} / {model.input.scale}f + {model.input.zero_point}f).roundToInt()"
            f".coerceIn({limits.min}, {limits.max}).toByte())"
        )
        python = (
            f"np.clip(np.round({real_python} / {model.input.scale}) + {model.input.zero_point}, {limits.min}, "
            f"{limits.max}).astype(np.{model.input.dtype})"
        )
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        model=model,
        accuracy=accuracy,
        advice=advice,
        height=height,
        width=width,
        values=math.prod(model.input.shape),
        raw=raw,
        put=put,
        python=python,
        colour="grey" if channels == 1 else "RGB",
        command=COMMAND,
    )


def _accuracy(run: RunDirectory, model: Contract) -> str | None:
    """Return a sentence on the measured accuracy of this very file, or None where the run has no benchmark of it."""
    step = run.last("benchmark")
    if step is None:
        return None
    record = records.read(run.folder(step) / records.FILE_NAME)
    for row in record["models"]:
        if row["sha256"] == model.sha256 and row["accuracy"]["value"] is not None:
            value, low, high = (100 * row["accuracy"][key] for key in ("value", "low", "high"))
            return (
                f"Measured: {value:.2f} % of {record['dataset']['images']:,} test images right (95 % interval "
                f"{low:.2f} to {high:.2f}), {record['created'][:10]}, "
                f"{row['runtime']['name']} {row['runtime']['version']} on {record['environment']['cpu']}."
            )
    return None
