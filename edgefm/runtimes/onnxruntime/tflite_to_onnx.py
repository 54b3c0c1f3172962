"""A .tflite file as an .onnx file: tf2onnx, run once a file in a process of its own, its answers checked.

tf2onnx needs TensorFlow, seconds and memory, so that it runs beside the process that measures. It gets some graphs
wrong without a word (of tf2onnx 1.17.0: a FULLY_CONNECTED that takes a feature map without a RESHAPE before it), so
that a conversion is only used where it answers random inputs as LiteRT does, but for what kernels differ by.

The process is `python -m edgefm.runtimes.onnxruntime MODEL.tflite OUT.onnx SECONDS`; the last line it prints is JSON.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import signal
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import scratch, subprocesses
from edgefm.core.artefacts import sha256_file, write_bytes
from edgefm.core.cache import cache_folder
from edgefm.core.documents import object_told
from edgefm.core.errors import EdgefmError, ModelError, RuntimeUnavailableError
from edgefm.core.given import limits, memory
from edgefm.core.with_parent import end_with_parent
from edgefm.runtimes.base import RuntimeSession, TensorDetails
from edgefm.runtimes.random_inputs import random_input
from edgefm.runtimes.session import split_input
from edgefm.tflite.open_batch import fixed_batch

OPSET = 17
_PROGRAM = "edgefm.runtimes.onnxruntime"
SECONDS = 300
# Root mean square of the difference, of the spread of LiteRT's answers; levels for outputs that hardly vary.
_TOLERANCE, _LEVELS = 0.1, 2
_INPUTS = 8
_NEEDS = ("tensorflow", "tf2onnx", "onnx", "onnxruntime", "ai_edge_litert")
_REMEDY = "Install the converter with: pip install 'edgefm[peers,compress]'; or give an .onnx file of the model."


# Path, size and time of change of a .tflite file, and the cache's folder -> its .onnx file. What is prepared is found
# by `load` without another look at the file's content.
_known: dict[tuple[Path, int, int, Path], Path] = {}


@cache
def title() -> str:
    """Return what converts: name, version and opset."""
    return f"tf2onnx {importlib.metadata.version('tf2onnx')}, opset {OPSET}"


def converted(path: Path, *, seconds: int = SECONDS) -> Path:
    """Return the .onnx file of a .tflite file, from the cache where it is there.

    Args:
      path: .tflite file, checked.
      seconds: a conversion that takes longer is given up.
    Raises:
      ModelError: tf2onnx cannot convert the file, or the conversion answers otherwise.
      RuntimeUnavailableError: tf2onnx or what it needs is not installed.
    """
    seen = path.stat()
    key = (path.resolve(), seen.st_size, seen.st_mtime_ns, cache_folder() / "onnx")
    known = _known.get(key)
    if known is not None and known.is_file():
        return known
    lacking = [package for package in _NEEDS if importlib.util.find_spec(package) is None]
    if lacking:
        raise RuntimeUnavailableError(
            f"onnxruntime runs .onnx files; converting {path.name} needs {', '.join(lacking)}", hint=_REMEDY
        )
    version = importlib.metadata.version("tf2onnx")
    out = cache_folder() / "onnx" / f"{sha256_file(path)}-tf2onnx-{version}-opset-{OPSET}.onnx"
    if not out.is_file():
        out.parent.mkdir(parents=True, exist_ok=True)
        _convert_beside(path, out, seconds)
    _known[key] = out
    return out


def _convert_beside(path: Path, out: Path, seconds: int) -> None:
    """Convert in a new process; `out` is there afterwards."""
    with scratch.folder("onnx") as folder:
        unfinished = folder / out.name
        command = subprocesses.python_module(_PROGRAM, str(path), str(unfinished), str(seconds))
        environment = {**os.environ, "PYTHONPATH": subprocesses.import_path(), "TF_CPP_MIN_LOG_LEVEL": "3"}
        try:
            # A worker that is killed leaves no TensorFlow beside the next one.
            result = subprocesses.run(command, seconds=seconds, environment=environment, before=end_with_parent())
        except subprocesses.TimeLimitError:
            raise ModelError(f"tf2onnx did not convert {path} in {seconds} s") from None
        lines = result.output.splitlines()
        answer = object_told(lines[-1]) if result.code == 0 and lines else None
        if answer is None:
            last = (result.errors.strip() or "no error message").splitlines()[-1]
            raise ModelError(f"the conversion of {path} to ONNX failed with exit code {result.code}: {last}")
        if not answer["ok"]:
            raise ModelError(f"onnxruntime cannot run {path}: {answer['reason']}", hint=answer["hint"])
        write_bytes(out, unfinished.read_bytes())


def _convert(path: Path, out: Path) -> None:
    """Write the .onnx file of a .tflite file, checked; in this process, which imports TensorFlow."""
    convert = importlib.import_module("tf2onnx.convert")
    with memory.limited(limits.working(path.stat().st_size)):
        _convert_by(convert, path, out)
        _check_answers(path, out)


def _convert_by(convert: Any, path: Path, out: Path) -> None:
    try:
        with scratch.folder("onnx") as folder:
            fixed = folder / "model.tflite"
            fixed.write_bytes(fixed_batch(path.read_bytes()))
            model, _ = convert.from_tflite(str(fixed), opset=OPSET)
    except Exception as error:  # it raises whatever an operator that it does not know leads to
        lines = str(error).strip().splitlines() or [""]
        raise ModelError(
            f"tf2onnx {importlib.metadata.version('tf2onnx')} cannot convert it ({type(error).__name__}: {lines[0]})",
            hint="Give an .onnx file of the model instead.",
        ) from error
    out.write_bytes(model.SerializeToString())


def _check_answers(path: Path, out: Path) -> None:
    """Raise a ModelError where the .onnx file does not answer as LiteRT answers with the .tflite file."""
    from edgefm.runtimes import litert

    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        native = onnxruntime.InferenceSession(out.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # each of its status codes is a class of its own
        message = " ".join(str(error).split())
        raise ModelError(
            f"the model that tf2onnx {importlib.metadata.version('tf2onnx')} writes is not valid ({message})",
            hint="Give an .onnx file of the model instead.",
        ) from error
    sources = [port.name for port in native.get_inputs()]
    with litert.load(path) as session:
        expected, answers = [], []
        for sample in _samples(session):
            session.set_input(sample)
            session.invoke()
            expected.append(session.get_outputs())
            values = [array for _, array in split_input(session.input, sample)]
            answers.append(native.run(None, dict(zip(sources, values, strict=True))))
        for place, tensor in enumerate(session.outputs):
            _check_output(tensor, [outputs[place] for outputs in expected], [outputs[place] for outputs in answers])


def _samples(session: RuntimeSession) -> list[NDArray[Any]]:
    """Return random inputs of a session's own dtype."""
    generator = np.random.default_rng(0)
    return [random_input(session.input, generator) for _ in range(_INPUTS)]


def _check_output(tensor: TensorDetails, expected: Sequence[NDArray[Any]], answers: Sequence[NDArray[Any]]) -> None:
    reference, converted_values = np.stack(expected).astype(np.float64), np.stack(answers).astype(np.float64)
    if reference.shape != converted_values.shape:
        raise ModelError(
            f"tf2onnx gives '{tensor.name}' the shape {converted_values.shape[1:]}; {reference.shape[1:]} is expected"
        )
    difference = float(np.sqrt(np.mean((reference - converted_values) ** 2)))
    floor = _LEVELS if tensor.scale is not None else 1e-5 * float(np.abs(reference).max(initial=0))
    allowed = _TOLERANCE * float(reference.std()) + floor
    if not difference <= allowed:  # not a number is wrong as well
        raise ModelError(
            f"the model that tf2onnx {importlib.metadata.version('tf2onnx')} writes gives other outputs: "
            f"'{tensor.name}' differs from LiteRT's by {difference:.3g} (root mean square; {allowed:.3g} is allowed)",
            hint="Give an .onnx file of the model instead.",
        )


def main(arguments: Sequence[str]) -> None:
    """Convert, and print as JSON whether it went well; nothing else reaches standard output."""
    path, out, seconds = Path(arguments[0]), Path(arguments[1]), int(arguments[2])
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)  # where it does not end with its parent, it does not outlive it by long
    memory.lift()  # of the worker that asks: it is for the model alone
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    answer: dict[str, Any] = {"ok": True}
    try:
        _convert(path, out)
    except EdgefmError as error:
        answer = {"ok": False, "reason": error.message, "hint": error.hint}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
