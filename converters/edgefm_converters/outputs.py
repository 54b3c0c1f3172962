"""What a model answers: a Keras model, or a TFLite file in LiteRT; float32, one array an output."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm import contract
from edgefm.contract import Contract
from edgefm.errors import ModelError
from edgefm.progress import SILENT, Progress
from edgefm.runtimes import litert
from edgefm.silence import silenced

Arrays = tuple[NDArray[np.float32], ...]
_BATCH = 64
_TOLD_EVERY = 500


def of_model(model: Any, inputs: NDArray[np.float32]) -> Arrays:
    """Return a Keras model's outputs at inference, float32 [n, ...] each.

    Raises:
      ModelError: an output is not finite.
    """
    import keras

    with silenced():
        batches = np.split(inputs, range(_BATCH, len(inputs), _BATCH))
        answers = [keras.tree.flatten(model(batch, training=False)) for batch in batches]
        outputs = tuple(
            np.concatenate([np.asarray(answer[index], np.float32) for answer in answers])
            for index in range(len(answers[0]))
        )
    if not all(np.isfinite(output).all() for output in outputs):
        raise ModelError(f"the model '{model.name}' gives outputs that are not finite")
    return outputs


def of_tflite(float32: bytes, inputs: NDArray[np.float32]) -> Arrays:
    """Return the outputs of a .tflite file with float32 ends, float32 [n, ...] each."""
    with tempfile.TemporaryDirectory(prefix="edgefm-float32-") as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(float32)
        with litert.load(path) as session:
            return _run(session, inputs, lambda one: one)


def of_file(
    path: Path, agreed: Contract, inputs: NDArray[np.float32], *, label: str = "", progress: Progress = SILENT
) -> Arrays:
    """Return the real outputs of a .tflite file for real inputs, fed one by one as its contract says.

    Args:
      path: the file.
      agreed: its contract.
      inputs: float32 [n, ...], real inputs of this file.
      label: told to `progress`.
      progress: receives progress.
    """
    with litert.load(path) as session:
        raw = _run(session, inputs, lambda one: contract.quantize(one, agreed.input), label=label, progress=progress)
    return tuple(contract.dequantize(output, tensor) for output, tensor in zip(raw, agreed.outputs, strict=True))


def _run(
    session: litert.LiteRTSession,
    inputs: NDArray[np.float32],
    encode: Callable[[NDArray[np.float32]], NDArray[Any]],
    *,
    label: str = "",
    progress: Progress = SILENT,
) -> tuple[NDArray[Any], ...]:
    answers: list[tuple[NDArray[Any], ...]] = []
    for index in range(len(inputs)):
        session.set_input(encode(inputs[index : index + 1]))
        session.invoke()
        answers.append(session.get_outputs())
        if label and (index + 1) % _TOLD_EVERY == 0:
            progress.step(label, index + 1, len(inputs))
    if label:
        progress.step(label, len(inputs), len(inputs))
    return tuple(np.concatenate([answer[place] for answer in answers]) for place in range(len(answers[0])))
