"""Asks for a Keras model in another format: PyTorch and what comes after it run in a process of their own.

Keras runs on one backend a process, and here it is TensorFlow; ExecuTorch and coremltools take seconds and memory.
"""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import scratch, subprocesses
from edgefm.core.documents import object_told
from edgefm.core.errors import ModelError, missing_extra
from edgefm.core.with_parent import end_with_parent

# Format -> library -> the extra that brings it.
NEEDS = {
    "coreml": {"keras": "coreml", "torch": "coreml", "coremltools": "coreml"},
    "executorch": {"keras": "executorch", "torch": "executorch", "executorch": "executorch"},
}
REQUEST_FILE, INPUTS_FILE, OUTPUTS_FILE, FILES_FOLDER = "request.json", "inputs.npy", "outputs.npz", "files"
_SECONDS = 900.0


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A model in another format.

    Attributes:
      files: content by path, with '/' between folders.
      outputs: its answers [n, ...] to the inputs given, an array for each output; None where nothing here runs it.
      made_by: what converted it, and what ran it where something did, with versions.
    """

    files: dict[str, bytes]
    outputs: tuple[NDArray[Any], ...] | None
    made_by: str


def check_library(name: str) -> None:
    """Raise a RuntimeUnavailableError where a library that writes this format is not installed."""
    for library, extra in NEEDS[name].items():
        if importlib.util.find_spec(library) is None:
            raise missing_extra(library, extra)


def converted(
    name: str,
    model: Path,
    inputs: NDArray[Any],
    *,
    added: str = "",
    source: str,
    outputs: tuple[str, ...],
    seconds: float = _SECONDS,
) -> Converted:
    """Return a Keras model in another format; it takes what the model takes, one sample, and gives all its outputs.

    Args:
      name: 'coreml' or 'executorch'.
      model: .keras file of Keras 3.
      inputs: samples [n, ...], float32 or int32, that it is asked.
      added: 'softmax' or 'sigmoid', which comes behind the first output; '' where nothing does.
      source: what the input is called, where the format has names.
      outputs: what the outputs are called.
      seconds: a conversion that takes longer is given up.
    Raises:
      ModelError: PyTorch cannot trace the model, or the library cannot convert or run it; the library's own words are
        told. Code in the file is not run.
      RuntimeUnavailableError: see `check_library`.
    """
    check_library(name)
    with scratch.folder("through-torch") as folder:
        request = {
            "format": name, "model": str(model.resolve()), "added": added, "source": source, "outputs": list(outputs)
        }  # fmt: skip
        (folder / REQUEST_FILE).write_text(json.dumps(request), encoding="utf-8")
        np.save(folder / INPUTS_FILE, inputs, allow_pickle=False)
        (folder / FILES_FOLDER).mkdir()
        command = subprocesses.python_module("edgefm_converters.through_torch", str(folder))
        environment = {**os.environ, "PYTHONPATH": subprocesses.import_path(), "KERAS_BACKEND": "torch"}
        try:
            result = subprocesses.run(command, seconds=seconds, environment=environment, before=end_with_parent())
        except subprocesses.TimeLimitError:
            raise ModelError(f"{model} was not converted to {name} in {seconds:g} s") from None
        lines = result.output.splitlines()
        answer = object_told(lines[-1]) if result.code == 0 and lines else None
        if answer is None:
            raise ModelError(f"the conversion of {model} to {name} ended with exit code {result.code}: "
                             f"{result.last_error}")  # fmt: skip
        if not answer["ok"]:
            raise ModelError(f"{model} cannot be written as {name}: {answer['reason']}", hint=answer["hint"])
        within = folder / FILES_FOLDER
        files = {path.relative_to(within).as_posix(): path.read_bytes() for path in within.rglob("*") if path.is_file()}
        answers = None
        if (folder / OUTPUTS_FILE).is_file():
            with np.load(folder / OUTPUTS_FILE, allow_pickle=False) as kept:
                answers = tuple(kept[f"arr_{place}"] for place in range(len(kept.files)))
    return Converted(files=dict(sorted(files.items())), outputs=answers, made_by=str(answer["made_by"]))
