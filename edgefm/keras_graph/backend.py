"""Chooses the Keras backend before Keras is imported, and says what it runs on."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.abc import MetaPathFinder
from typing import Any

from edgefm.core import environment
from edgefm.core.errors import RuntimeUnavailableError, missing_extra, unknown_name
from edgefm.core.silence import silenced
from edgefm.recipes import BACKENDS, PRECISIONS

_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
_EXTRAS = {"tensorflow": "train", "jax": "train-jax", "torch": "train-torch"}


@dataclass(frozen=True, kw_only=True)
class BackendDevice:
    """What a model is trained on.

    Attributes:
      backend: 'tensorflow', 'jax' or 'torch', with its version.
      kind: 'cpu' or 'gpu'.
      name: the device as the backend calls it.
      precision: Keras dtype policy.
      keras: version of Keras.
    """

    backend: str
    kind: str
    name: str
    precision: str
    keras: str

    def to_json(self) -> dict[str, Any]:
        """Return the device as a JSON object."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}), Keras {self.keras} on {self.backend}, {self.precision}"


def use_backend(backend: str | None, precision: str = "float32") -> BackendDevice:
    """Make Keras run on a backend and return the device it runs on.

    Args:
      backend: a name, or None for the KERAS_BACKEND variable, else the first one installed of
        tensorflow, jax and torch.
      precision: Keras dtype policy.
    Raises:
      RecipeError: an unknown name.
      RuntimeUnavailableError: the backend is not installed, or Keras already runs on another in this process.
    """
    backend = find_backend(backend, precision)
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = backend
    with silenced(), _onednn():
        import keras

    if keras.config.backend() != backend:
        raise RuntimeUnavailableError(
            f"Keras already runs on {keras.config.backend()} in this process; {backend} was asked for",
            hint=f"Start a new process with KERAS_BACKEND={backend}.",
        )
    keras.config.set_dtype_policy(precision)
    with silenced():
        kind, name = device_of(backend)
    version = sys.modules[backend].__version__
    return BackendDevice(
        backend=f"{backend} {version}", kind=kind, name=name, precision=precision, keras=keras.__version__
    )


@contextmanager
def _onednn() -> Iterator[None]:
    """Let TensorFlow, if it is imported now, use oneDNN on every x86 processor, unless the user's variable decides.

    By itself TensorFlow does so only where there is AVX-512 VNNI, though AVX2 gains as well (docs/adr/0025).
    """
    if platform.machine() not in ("x86_64", "AMD64") or _ONEDNN in os.environ:
        yield
        return
    os.environ[_ONEDNN] = "1"  # read once, when TensorFlow is loaded
    try:
        yield
    finally:
        os.environ.pop(_ONEDNN, None)


def find_backend(backend: str | None, precision: str) -> str:
    """Return the name of the backend that `use_backend` would use, importing nothing.

    Raises:
      RecipeError: an unknown name.
      RuntimeUnavailableError: the backend or Keras is not installed.
    """
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    backend = backend or os.environ.get("KERAS_BACKEND") or _first_installed()
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    if importlib.util.find_spec("keras") is None:
        raise missing_extra("keras", "train")
    if importlib.util.find_spec(backend) is None:
        raise missing_extra(backend, _EXTRAS[backend])
    return backend


@contextmanager
def dtype_policy_kept() -> Iterator[None]:
    """Leave Keras's dtype policy as it was, float32 where Keras was not loaded: models of the caller follow it."""
    before = sys.modules["keras"].config.dtype_policy() if "keras" in sys.modules else "float32"
    try:
        yield
    finally:
        if "keras" in sys.modules:
            sys.modules["keras"].config.set_dtype_policy(before)


@contextmanager
def without_tensorflow(device: BackendDevice) -> Iterator[None]:
    """Keep Keras from importing TensorFlow, where it is installed, while it runs on another backend.

    Keras imports TensorFlow, if it finds it, only to compare types when it saves a layer: seconds and hundreds of
    megabytes for nothing.
    """
    if device.backend.startswith("tensorflow") or "tensorflow" in sys.modules:
        yield
        return
    blocker = _NoTensorFlow()
    sys.meta_path.insert(0, blocker)
    try:
        yield
    finally:
        sys.meta_path.remove(blocker)


class _NoTensorFlow(MetaPathFinder):
    """Makes `import tensorflow` fail as if it were not installed."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        """Refuse tensorflow, leave everything else to the other finders."""
        if fullname == "tensorflow":
            raise ModuleNotFoundError(
                "tensorflow is not loaded within a training on another backend; what needs it imports it before",
                name=fullname,
            )


def _first_installed() -> str:
    for backend in BACKENDS:
        if importlib.util.find_spec(backend) is not None:
            return backend
    raise missing_extra("a Keras backend (tensorflow, jax or torch)", "train")


def device_of(backend: str) -> tuple[str, str]:
    """Return ('cpu' or 'gpu', name) of the device that an installed backend trains on; it is imported."""
    count = environment.usable_cores()
    cores = f"{count} CPU core{'' if count == 1 else 's'}"
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            return "gpu", tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
        return "cpu", cores
    if backend == "jax":
        import jax

        device = jax.devices()[0]
        return ("cpu", cores) if device.platform == "cpu" else ("gpu", device.device_kind)
    import torch

    return ("gpu", torch.cuda.get_device_name()) if torch.cuda.is_available() else ("cpu", cores)
