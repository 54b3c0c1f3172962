"""The cost model of this machine, built when it is first asked for and kept in edgefm's cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgefm import runtimes
from edgefm.core import artefacts
from edgefm.core.cache import cache_folder
from edgefm.core.environment import environment, versions
from edgefm.core.progress import SILENT, Progress
from edgefm.profiling.cost_model.build import build
from edgefm.profiling.cost_model.model import KIND, VERSION, CostModel, CostModelError

# What decides the times; a new Keras changes none.
_DECIDING = ("edgefm", "ai-edge-litert", "tflite-runtime", "tflite-micro", "openvino", "onnxruntime")


def of_this_machine(*, runtime: str = "litert", progress: Progress = SILENT) -> CostModel:
    """Return the cost model of a runtime here: the one in the cache, or a new one, which is kept there.

    Another processor, another version of the runtime or another edgefm has one of its own.

    Args:
      runtime: of this machine, with its kernel set where one is wanted.
      progress: receives a step a turn where it is built, which takes two minutes.
    Raises:
      RecipeError: an unknown runtime, or one of another target.
      RuntimeUnavailableError: the runtime cannot be used here.
      ModelError: nothing could be timed.
    """
    path = kept_at(runtime)
    if path.is_file():
        try:
            return CostModel.load(path)
        except CostModelError as error:
            progress.note(f"{error.message}: it is built anew")
    progress.note("building the cost model of this machine: two minutes, once; the machine should be quiet")
    model = build(runtime=runtime, progress=progress)
    for reason in model.disturbed:
        progress.note(f"the cost model was disturbed: {reason}")
    model.save(path)
    progress.note(f"kept as {path}")
    return model


def kept_at(runtime: str = "litert") -> Path:
    """Return where the cost model of a runtime on this machine lies, or will lie."""
    runtimes.module_of(runtime)
    what = {
        "kind": KIND,
        "version": VERSION,
        "runtime": runtime,
        "python": str(runtimes.interpreter_of(runtime) or ""),
        "machine": machine(environment()),
        "versions": {name: number for name, number in versions().items() if name in _DECIDING},
    }
    return cache_folder() / "cost-models" / f"{artefacts.sha256_json(what)[:16]}.json"


def machine(described: Mapping[str, Any]) -> list[Any]:
    """Return what a recorded environment says of the processor, by which machines are told apart."""
    return [described.get("cpu"), sorted(described.get("cpu_features") or ()), described.get("cores")]
