"""Says where a model is trained on the CPU although another installed backend of Keras has a GPU.

A program, too: `python -m edgefm.keras_graph.idle_gpu BACKEND` writes the kind and the name of its device as JSON.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from edgefm.core import subprocesses
from edgefm.core.progress import Progress
from edgefm.keras_graph.backend import BackendDevice, device_of
from edgefm.recipes import BACKENDS

_PROGRAM = "edgefm.keras_graph.idle_gpu"
# What NVIDIA's driver leaves on Linux, in a container, and on Windows' Linux.
_SIGNS = (Path("/proc/driver/nvidia"), Path("/dev/nvidia0"), Path("/dev/dxg"))
# A backend may take so long to be imported and to find its devices; a slower one is not spoken of.
_SECONDS = 60.0


def has_sign_of_gpu() -> bool:
    """Return whether this machine may have an NVIDIA GPU, by the files of its driver."""
    return any(path.exists() for path in _SIGNS)


@functools.cache
def gpu_of(backend: str) -> str | None:
    """Return the name of the GPU that an installed backend trains on, asked in another process; None without one."""
    # JAX would take most of the GPU's memory only to be asked.
    variables = {**os.environ, "PYTHONPATH": subprocesses.import_path(), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    try:
        done = subprocesses.run(subprocesses.python_module(_PROGRAM, backend), seconds=_SECONDS, environment=variables)
        kind, name = json.loads(done.output.strip().splitlines()[-1])
    except (subprocesses.CommandError, ValueError, IndexError):  # it cannot be used here
        return None
    return str(name) if kind == "gpu" else None


def note_idle_gpu(
    device: BackendDevice,
    *,
    progress: Progress,
    sign: Callable[[], bool] = has_sign_of_gpu,
    ask: Callable[[str], str | None] = gpu_of,
) -> None:
    """Note the first other installed backend that has a GPU, where a model is trained on the CPU.

    Args:
      device: that the model is trained on.
      progress: told of it.
      sign: returns whether there may be a GPU; without, nothing is asked.
      ask: returns the name of a backend's GPU, or None.
    """
    if device.kind != "cpu" or not sign():
        return
    own = device.backend.split()[0]
    for other in BACKENDS:
        if other == own or find_spec(other) is None:
            continue
        name = ask(other)
        if name is not None:
            progress.note(
                f"{own} trains on the CPU here, and {other} has a GPU, {name}: choose backend {other} to use it"
            )
            return


if __name__ == "__main__":
    sys.stdout.write(json.dumps(device_of(sys.argv[1])) + "\n")
