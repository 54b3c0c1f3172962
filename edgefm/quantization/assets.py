"""A folder that an app embeds: one model, its contract, its labels and how to use them."""

from __future__ import annotations

from functools import partial
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from edgefm.benchmarking import record as records
from edgefm.comparison.shipping.of_run import default_variant, run_verdict
from edgefm.comparison.shipping.sentences import on_file
from edgefm.core import artefacts
from edgefm.core.documents import inside
from edgefm.core.errors import ModelError, RunError, missing_extra, unknown_name
from edgefm.core.runs import RunDirectory
from edgefm.core.text import code, fenced, markdown, one_a_line
from edgefm.quantization.app_text import app_text
from edgefm.tflite import contract
from edgefm.tflite.contract import Contract
from edgefm_converters.bundles.kotlin import kotlin_code
from edgefm_converters.bundles.python import python_code

MODEL_FILE = "model.tflite"
LABELS_FILE = "labels.txt"
COMMAND = "edgefm assets"
# Inputs of these types take pixels, unless the contract says otherwise.
_PIXELS = ("uint8", "int8", "float32")


def write_assets(run: RunDirectory, out: Path, *, variant: str | None = None) -> tuple[Path, ...]:
    """Write model.tflite, contract.json, README.md and, of a classifier, labels.txt of a run's variant into `out`.

    All of them are written or none.

    Args:
      run: a run with a quantize step.
      out: folder; files of these names in it are replaced, others are left alone.
      variant: which of the run's variants; by default the one that the verdict on its newest benchmark recommends for
        phones, its reference where none is recommended, and int8_w8a8 without a benchmark.
    Returns:
      paths of the files.
    Raises:
      RunError: the run has no quantize step.
      RecipeError: the step has no such variant.
      ModelError: the model is not the one its contract was written for, or no code is known for its ends.
    """
    folder = run.folder(run.require("quantize"))
    verdict = run_verdict(run)
    variant = variant or default_variant(verdict)
    variants = sorted(path.parent.name for path in folder.glob(f"*/{MODEL_FILE}"))
    if variant not in variants:
        raise unknown_name("variant of this run", variant, variants)
    model = inside(folder, f"{variant}/{MODEL_FILE}", where=run.path, error=RunError)
    model_contract = contract.read(model)
    if model_contract is None:
        raise ModelError(f"{model} has no contract", hint="Write it again with: edgefm quantize")
    advice = None if verdict is None else on_file(verdict, variant)
    page = readme(model_contract, accuracy=_accuracy(run, model_contract), advice=advice)
    files = {MODEL_FILE: model.read_bytes(), contract.FILE_NAME: artefacts.json_bytes(model_contract.to_json())}
    if model_contract.labels:
        files[LABELS_FILE] = one_a_line(model_contract.labels).encode()
    files["README.md"] = page.encode()
    artefacts.write_folder(out, files)
    return tuple(out / name for name in files)


def readme(model: Contract, *, accuracy: str | None, advice: str | None = None) -> str:
    """Return how to embed a model in an app, in Markdown, from its contract.

    Args:
      model: its contract.
      accuracy: a sentence on what was measured; None without a benchmark.
      advice: what the verdict says of this file; None without a benchmark.
    Raises:
      RuntimeUnavailableError: jinja2 is not installed.
      ModelError: no code is known for the ends of the model.
    """
    template = resources.files("edgefm.quantization").joinpath("templates").joinpath("assets.md.j2")
    return markdown_page(
        template,
        model=model,
        labels=bool(model.labels),
        accuracy=accuracy,
        advice=advice,
        text=app_text(model),
        argument="levels" if model.no_pixels is None and model.input.dtype in _PIXELS else "values",
        kotlin=kotlin_code(model),
        python=python_code(model),
        command=COMMAND,
    )


def markdown_page(template: Traversable, **values: Any) -> str:
    """Return a template in Markdown with its values, each escaped unless it is `Markdown` already.

    Raises:
      RuntimeUnavailableError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError:
        raise missing_extra("jinja2", "report") from None
    # Markdown, not HTML: `finalize` is what escapes each value.
    environment = Environment(
        undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False, finalize=markdown
    )
    environment.filters |= {"code": code, "cell": partial(code, in_table=True), "fenced": fenced}
    return environment.from_string(template.read_text(encoding="utf-8")).render(**values)


def _accuracy(run: RunDirectory, model: Contract) -> str | None:
    """Return a sentence on the measured accuracy of this very file, or None where the run has no benchmark of it."""
    step = run.last("benchmark")
    if step is None:
        return None
    record = records.read(run.folder(step) / records.FILE_NAME)
    for row in record["models"]:
        if row["sha256"] == model.sha256 and row["accuracy"]["value"] is not None:
            value, low, high = (100 * row["accuracy"][key] for key in ("value", "low", "high"))
            samples = "samples" if model.no_pixels is not None or len(model.input.shape) != 4 else "images"
            return (
                f"Measured: {value:.2f} % of {record['dataset']['images']:,} test {samples} right (95 % interval "
                f"{low:.2f} to {high:.2f}), {record['created'][:10]}, "
                f"{row['runtime']['name']} {row['runtime']['version']} on {record['environment']['cpu']}."
            )
    return None
