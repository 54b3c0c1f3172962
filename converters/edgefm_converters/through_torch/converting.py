"""The process that converts: `python -m edgefm_converters.through_torch FOLDER`; the last line it prints is JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import EdgefmError, ModelError
from edgefm.core.given import memory
from edgefm_converters.through_torch.beside import FILES_FOLDER, INPUTS_FILE, OUTPUTS_FILE, REQUEST_FILE


def main(arguments: Sequence[str]) -> None:
    """Convert, and print as JSON what came of it; nothing else reaches standard output."""
    memory.lift()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    answer: dict[str, Any]
    try:
        answer = {"ok": True, "made_by": _convert(Path(arguments[0]))}
    except EdgefmError as error:
        answer = {"ok": False, "reason": error.message, "hint": error.hint}
    except Exception as error:  # PyTorch, ExecuTorch and coremltools raise whatever their parts raise
        said = " ".join(str(error).split())[:300]
        answer = {"ok": False, "reason": f"{type(error).__name__}: {said}", "hint": None}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _convert(folder: Path) -> str:
    from edgefm.keras_graph.backend import use_backend, without_tensorflow

    request = json.loads((folder / REQUEST_FILE).read_text(encoding="utf-8"))
    inputs = np.load(folder / INPUTS_FILE, allow_pickle=False)
    files = folder / FILES_FOLDER
    outputs: tuple[NDArray[Any], ...] | None
    with without_tensorflow(use_backend("torch")):  # coremltools imports it where it is there, for nothing
        from edgefm_converters.through_torch.program import exported, loaded

        program = exported(loaded(Path(request["model"]), added=request["added"]), inputs[:1])
        if request["format"] == "executorch":
            from edgefm_converters.through_torch import by_executorch

            outputs, made_by = by_executorch.write(program, inputs, files / by_executorch.FILE_NAME)
        else:
            from edgefm_converters.through_torch import by_coremltools

            outputs, made_by = by_coremltools.write(
                program, inputs, files, source=request["source"], outputs=request["outputs"]
            )
    if not any(files.rglob("*")):
        raise ModelError("the library wrote nothing")
    if outputs is not None:
        np.savez(folder / OUTPUTS_FILE, *outputs)
    return made_by
