"""The benchmark record: built from what was measured, checked against its schema, written and read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm import schemas
from edgefm.benchmarking import record_checks, record_versions
from edgefm.benchmarking.measured import MeasuredModel
from edgefm.benchmarking.record_rows import row, with_statistics
from edgefm.core import artefacts, runs
from edgefm.core.documents import read_json
from edgefm.core.errors import RunError
from edgefm.data.dataset import Dataset
from edgefm.data.quality import DEFAULTS, Quality
from edgefm.data.quality import quality as named_quality
from edgefm.recipes import BenchmarkProtocol

if TYPE_CHECKING:
    from edgefm.benchmarking.session import BenchmarkSession

KIND = "benchmark-record"
SCHEMA_VERSION = record_versions.NEWEST
FILE_NAME = "record.json"
PREDICTIONS_FILE_NAME = "predictions.npz"
_SAMPLED_ITEMS = 16
_GREATEST_COUNT = 2**53  # of the schemas
# A list of numbers as json.dumps indents it. A string holds no line break, so it cannot look like one.
_NUMBERS = re.compile(r"\[\n\s+((?:-?\d[\d.eE+-]*,\n\s+)*-?\d[\d.eE+-]*)\n\s*\]")


def build(
    measured: Sequence[MeasuredModel],
    *,
    dataset: Dataset | None,
    quality: Quality | None = None,
    protocol: BenchmarkProtocol,
    session: BenchmarkSession,
    reference: str | None,
) -> dict[str, Any]:
    """Return the validated record of what was measured.

    Args:
      measured: the models, in the order of the rows.
      dataset: whose test split was answered.
      quality: the measure of quality; by default that of the data's task.
      protocol: how it was measured; its runtime is the one that was used.
      session: where it was measured, and how the rounds went.
      reference: name of the model that the others are compared with.
    """
    if dataset is not None and quality is None:
        quality = named_quality(DEFAULTS[dataset.task], task=dataset.task)
    base = next((model for model in measured if model.name == reference and model.failure is None), None)
    value = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "created": runs.now(),
        "mode": session.target.mode,
        "target": {"name": session.target.name, "mode": session.target.mode, "latency": session.target.latency},
        "environment": dict(session.environment),
        "protocol": protocol.to_json(),
        "session": {
            "stopped": session.stopped,
            "seconds": round(session.seconds, 3),
            "disturbed": [*session.notes, *(_disturbed(model) for model in measured if model.disturbed)],
            "left_out": [_left_out(model) for model in measured if not model.disturbed and _still_disturbed(model)],
            "states": session.states,
        },
        "dataset": None if dataset is None else _dataset(dataset),
        "models": [row(model, base, dataset=dataset, quality=quality, protocol=protocol) for model in measured],
    }
    validate(value)
    return value


def dumps(value: Mapping[str, Any]) -> str:
    """Return a record as indented JSON in which arrays of numbers stand in one line each."""
    text = json.dumps(value, indent=2, allow_nan=False)
    return _NUMBERS.sub(lambda numbers: f"[{' '.join(numbers[1].split())}]", text) + "\n"


def write(path: Path, value: Mapping[str, Any]) -> Path:
    """Write a record as JSON, atomically."""
    return artefacts.write_text(path, dumps(value))


def read(path: Path) -> dict[str, Any]:
    """Return the record in a file, of the newest version and with the percentiles of its samples.

    Raises:
      RunError: it is missing, damaged, something else, or was written by a newer edgefm.
    """
    value = read_json(
        path,
        what="benchmark record",
        error=RunError,
        hint="Measure again with: edgefm benchmark",
        missing="Write one with: edgefm benchmark",
    )
    if not isinstance(value, dict) or value.get("kind") != KIND:
        raise RunError(f"{path} is not a benchmark record", hint="Give a record.json that edgefm benchmark wrote.")
    version = value.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RunError(
            f"{path} has schema version {version}; this edgefm reads up to {SCHEMA_VERSION}",
            hint="A newer edgefm wrote it: upgrade with pip install -U edgefm.",
        )
    try:
        validate(value)
        newest = record_versions.upgraded(value)
        newest = {**newest, "models": [with_statistics(model) for model in newest["models"]]}
        record_checks.check(newest)
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}", hint="Measure again with: edgefm benchmark") from error
    return newest


def validate(value: Mapping[str, Any]) -> None:
    """Raise a ValueError that names the place where a record breaks its schema."""
    version = value.get("schema_version")
    known = version if version in range(1, SCHEMA_VERSION) else SCHEMA_VERSION
    schemas.validate(_without_long_arrays(value), f"{KIND}-{known}")


def _without_long_arrays(value: Any) -> Any:
    """Return the value with its long arrays of natural numbers cut short: all items of an array have one schema.

    Samples are 100,000 numbers and more; checking each through the schema takes seconds, this does not.
    """
    if isinstance(value, Mapping):
        return {name: _without_long_arrays(item) for name, item in value.items()}
    if not isinstance(value, list):
        return value
    if len(value) > _SAMPLED_ITEMS and all(type(item) is int and 0 <= item <= _GREATEST_COUNT for item in value):
        return value[:_SAMPLED_ITEMS]
    return [_without_long_arrays(item) for item in value]


def _dataset(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "split": dataset.test.name,
        "images": len(dataset.test),
        "sha256": dataset.sha256,
        "labels": list(dataset.labels),
        "task": dataset.task,
    }


def _disturbed(model: MeasuredModel) -> str:
    """Return a sentence on a model so many of whose rounds were disturbed that they had to be used."""
    return f"{_disturbed_rounds(model)} are used in the statistics{_example(model)}"


def _left_out(model: MeasuredModel) -> str:
    """Return a sentence on a model some of whose rounds were disturbed and are no part of the statistics."""
    return f"{_disturbed_rounds(model)} are excluded from the statistics{_example(model)}"


def _disturbed_rounds(model: MeasuredModel) -> str:
    return f"{model.name}: {_still_disturbed(model)} of {model.taken} rounds were disturbed and"


def _still_disturbed(model: MeasuredModel) -> int:
    """Return the number of rounds without an undisturbed turn."""
    return model.taken - len(model.calm)


def _example(model: MeasuredModel) -> str:
    return f", e.g. {[turn for turn in model.rounds if turn.disturbed][-1].disturbed[0]}"
