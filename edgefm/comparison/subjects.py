"""What is compared: a run's newest benchmark, a record file, or a model file that is yet to be measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgefm.benchmarking import record
from edgefm.core.errors import RunError, unknown_name
from edgefm.core.given import npz
from edgefm.core.runs import RunDirectory

_MANIFEST = "manifest.json"
_MODEL_FILE = "model.tflite"
_HINT = (
    "Give a run folder, a record.json, a model file (.tflite, .onnx), or a folder with a record.json or model.tflite."
)
# Of files that a runtime loads; see `edgefm.runtimes.base.Runtime.load`.
MODEL_SUFFIXES = (".tflite", ".onnx")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A benchmark record to compare.

    Attributes:
      name: as it was given.
      record: of the newest schema.
      path: of the record file; None where it was never written.
      model: the row that is meant; None for all.
    """

    name: str
    record: Mapping[str, Any]
    path: Path | None = None
    model: str | None = None

    @property
    def rows(self) -> dict[str, Mapping[str, Any]]:
        """The rows that are meant, by name."""
        rows = {row["name"]: row for row in self.record["models"]}
        if self.model is None:
            return rows
        if self.model not in rows:
            raise unknown_name(f"model of {self.name}", self.model, rows)
        return {self.model: rows[self.model]}

    def predictions(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of predictions.npz beside the record; empty where there is none that can be read."""
        if self.path is None:
            return {}
        path = self.path.parent / record.PREDICTIONS_FILE_NAME
        try:
            return npz.read(path, RunError, missing=f"no answers at {path}")
        except (RunError, OSError):
            return {}


def split_name(text: str) -> tuple[Path, str | None]:
    """Return the path and the name of a row in 'path::name'.

    >>> split_name("runs/a::int8_w8a8")
    (PosixPath('runs/a'), 'int8_w8a8')
    """
    if "::" in text and not Path(text).exists():
        where, _, name = text.rpartition("::")
        return Path(where), name
    return Path(text), None


def is_model(text: str) -> bool:
    """Return whether this is a model file, or a folder with one, to be measured before it can be compared."""
    path, _ = split_name(text)
    if path.is_dir():
        measured = any((path / name).exists() for name in (_MANIFEST, record.FILE_NAME))
        return (path / _MODEL_FILE).is_file() and not measured
    return path.suffix.lower() in MODEL_SUFFIXES


def open_subject(text: str) -> Subject:
    """Return the record that a run, a record file or a folder with one holds; 'path::name' means one row of it.

    Raises:
      RunError: there is none, it is damaged, or was written by a newer edgefm.
    """
    path, model = split_name(text)
    if path.is_dir():
        if (path / _MANIFEST).exists():
            run = RunDirectory.open(path)
            path = run.folder(run.require("benchmark")) / record.FILE_NAME
        elif (path / record.FILE_NAME).exists():
            path = path / record.FILE_NAME
        else:
            raise RunError(f"{path} is not a run and has no {record.FILE_NAME}", hint=_HINT)
    elif not path.exists():
        raise RunError(f"{path} does not exist", hint=_HINT)
    return Subject(name=text, record=record.read(path), path=path, model=model)


def rounds_of(row: Mapping[str, Any]) -> dict[int, Sequence[int]]:
    """Return the samples of each round of a row that its statistics are made of, by the number of the round."""
    return {turn["index"]: turn["invoke_ns"] for turn in row["rounds"] if turn.get("used", True) and turn["invoke_ns"]}


def figures_of(row: Mapping[str, Any]) -> dict[str, tuple[float, str, Mapping[str, Any]]]:
    """Return what is known of a row beside times: by name the value, its mode, and what it depends on."""
    facts: dict[str, tuple[float, str, Mapping[str, Any]]] = {
        name: (float(value), "measured", {})
        for name, value in row.get("facts", {}).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    figures = {
        figure["name"]: (float(figure["value"]), figure["mode"], figure["details"])
        for figure in row.get("figures", [])
        if figure["value"] is not None
    }
    return {**facts, **figures}
