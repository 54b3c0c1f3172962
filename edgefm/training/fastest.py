"""The backend and the precision that train fastest on this machine, where 'auto' asks for them.

Each installed backend is tried in a process of its own, because Keras runs on one backend in a process; what came of it
is kept for the model, the machine and the versions that are installed. The model counts: two Zen 5 cores train
convolutions 1.7 times as fast in bfloat16 as in float32, and depthwise ones at a quarter of the speed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

from edgefm import zoo
from edgefm.core import artefacts, environment, subprocesses
from edgefm.core.cache import cache_folder
from edgefm.core.documents import read_json
from edgefm.core.errors import EdgefmError, RuntimeUnavailableError
from edgefm.core.progress import Progress
from edgefm.recipes import BACKENDS, Training

AUTO = "auto"
_PROBED = ("float32", "mixed_bfloat16")
_PROGRAM = "edgefm.training.speed_probe"
_VARIABLES = ("CUDA_VISIBLE_DEVICES", "TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS", "XLA_FLAGS", "JAX_PLATFORMS")
_DRIVER = Path("/proc/driver/nvidia/gpus")
# One backend may take so long, with its imports and its compilation.
_SECONDS = 180.0


def fastest_setting(
    backend: str | None, precision: str, *, recipe: Training, progress: Progress
) -> tuple[str | None, str]:
    """Return backend and precision with what is 'auto' chosen by speed; others as they are given.

    Where Keras already runs in this process, its backend is the only one that can be chosen.

    Args:
      backend: a name, 'auto', or None.
      precision: Keras dtype policy, or 'auto'.
      recipe: of the training. Its architecture is tried, of the size that the recipe says, else that of its source; the
        Enhanced CNN stands in for a model of the user's own.
      progress: told what was tried and taken.
    Raises:
      RuntimeUnavailableError: 'auto' asks for a choice, and no backend could be tried.
    """
    if AUTO not in (backend, precision):
        return backend, precision
    if backend == AUTO and "keras" in sys.modules:
        import keras

        backend = keras.config.backend()
        progress.note(f"Keras already runs on {backend} in this process: no other backend can be chosen")
    if precision == AUTO and backend is None:
        backend = os.environ.get("KERAS_BACKEND") or next(iter(installed()), None)
    if AUTO not in (backend, precision):
        return backend, precision
    backends = installed() if backend == AUTO else (str(backend),)
    precisions = _PROBED if precision == AUTO else (precision,)
    tried = _tried(recipe)
    speeds = _speeds(tried, backends, precisions, progress)
    if not speeds:
        raise RuntimeUnavailableError(
            f"no speed could be measured on {', '.join(backends) or 'any backend'} in {', '.join(precisions)}",
            hint="Name a backend and a precision, e.g. tensorflow and float32.",
        )
    chosen = max(speeds, key=speeds.__getitem__)
    listed = ", ".join(f"{name} {speed:,.0f}" for name, speed in speeds.items())
    progress.note(f"images/s of {tried['model']} by a short trial: {listed}; {chosen} is taken")
    best_backend, _, best_precision = chosen.partition(" ")
    return best_backend, best_precision


def installed() -> tuple[str, ...]:
    """Return the backends of Keras that are installed."""
    return tuple(name for name in BACKENDS if importlib.util.find_spec(name) is not None)


def _tried(recipe: Training) -> dict[str, Any]:
    """Return the model that is tried: its name, options and the shape of its pictures."""
    if recipe.model not in zoo.names():
        recipe = Training()
    height, width, channels = zoo.architecture(recipe.model).input_shape
    if zoo.is_sized(recipe.model):
        height, width = (recipe.image_size or height, recipe.image_size or width)
        channels = recipe.channels or channels
    return {"model": recipe.model, "options": dict(recipe.model_options), "shape": [height, width, channels]}


def _speeds(
    tried: dict[str, Any], backends: tuple[str, ...], precisions: tuple[str, ...], progress: Progress
) -> dict[str, float]:
    """Return images a second by 'backend precision', from the cache or measured now."""
    path = _cache_file(tried, precisions)
    known = _read(path)
    for index, backend in enumerate(backends):
        if backend not in known:
            progress.step("trying backends", index, len(backends), {"backend": backend})
            known[backend] = _measured(tried, backend, precisions, progress)
            if known[backend]:  # what failed is tried again the next time
                artefacts.write_json(path, {name: speeds for name, speeds in known.items() if speeds})
    progress.step("trying backends", len(backends), len(backends))
    return {
        f"{backend} {precision}": speed
        for backend in backends
        for precision, speed in known[backend].items()
        if speed is not None
    }


def _measured(
    tried: dict[str, Any], backend: str, precisions: tuple[str, ...], progress: Progress
) -> dict[str, float | None]:
    variables = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": subprocesses.import_path()}
    command = subprocesses.python_module(_PROGRAM, json.dumps(tried), backend, *precisions)
    try:
        done = subprocesses.run(command, seconds=_SECONDS, environment=variables)
        if done.code == 0:
            found: dict[str, float | None] = json.loads(done.output.strip().splitlines()[-1])
            return found
        reason = done.last_error
    except (subprocesses.CommandError, ValueError, IndexError) as error:
        reason = str(error)
    progress.note(f"{backend} is left out, it could not be tried: {reason}")
    return {}


def _cache_file(tried: dict[str, Any], precisions: tuple[str, ...]) -> Path:
    machine = {
        "tried": tried,
        "versions": environment.versions(),
        "cpu": environment.cpu_model(),
        "cores": environment.usable_cores(),
        "python": sys.version,
        "precisions": precisions,
        "gpus": _gpus(),
        "variables": {name: os.environ.get(name) for name in _VARIABLES},
    }
    return cache_folder() / "training-speed" / f"{artefacts.sha256_json(machine)[:16]}.json"


def _gpus() -> list[str]:
    """Return what the driver says of each NVIDIA GPU."""
    return sorted(path.read_text(errors="replace") for path in _DRIVER.glob("*/information"))


def _read(path: Path) -> dict[str, dict[str, float | None]]:
    """Return what was measured before; nothing where there is no readable file."""
    try:
        value = read_json(path, what="speeds of backends", error=RuntimeUnavailableError)
    except EdgefmError:
        return {}
    if not isinstance(value, dict):
        return {}
    return {
        str(backend): {str(name): speed for name, speed in speeds.items() if isinstance(speed, float | None)}
        for backend, speeds in value.items()
        if isinstance(speeds, dict)
    }
