"""A model is loaded in the process apart first: what crashes, hangs or fills that one does not harm the command.

TensorFlow must build a model in the process that converts it. So it builds each model once where nothing can be lost,
and only what came through is built again here. A model that came through is known by its sha256 from then on, in the
user's cache.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Callable
from pathlib import Path

from edgefm.core import artefacts
from edgefm.core.cache import cache_folder
from edgefm.runtimes import apart
from edgefm.runtimes.apart.patience import patience

_LIBRARIES = ("edgefm", "keras", "tensorflow", "tf_keras")
_FOLDER = "loaded"
# Silence of a slow, busy machine that builds hundreds of layers; what never ends is ended then.
_BUILDING_SECONDS, _IMPORTING_SECONDS = 120.0, 300.0
# Of a file for which importing the libraries themselves would be no more than it may take.
_LIBRARIES_BYTES = 150 << 20


def check_loads(path: Path, load: Callable[[Path], object], *, size_bytes: int) -> None:
    """Load a model in the process apart, unless that was done before with these libraries.

    Args:
      path: of a file or folder that `keras_file.check_file` has let pass.
      load: what is called there.
      size_bytes: of it, of all its files.
    Raises:
      ModelError: it cannot be loaded, or crashed, hung or filled the process.
    """
    if apart.is_here():
        return
    known = _mark(path)
    if known.is_file():
        return
    apart.call(_import, size_bytes=_LIBRARIES_BYTES, doing="importing TensorFlow", seconds=_IMPORTING_SECONDS)
    apart.call(
        load,
        path.absolute(),
        size_bytes=size_bytes,
        doing=f"loading {path}",
        seconds=_BUILDING_SECONDS + patience(size_bytes),
    )
    _remember(known)


def remember(path: Path) -> None:
    """Take a model for known that this process has built and saved itself."""
    _remember(_mark(path))


def _remember(mark: Path) -> None:
    with contextlib.suppress(OSError):  # a cache that cannot be written: it is tried again next time
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


def _mark(path: Path) -> Path:
    """Return the file whose presence says that a model was loaded with these libraries."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    content = [[file.relative_to(path).as_posix(), artefacts.sha256_file(file)] for file in files if file.is_file()]
    versions = []
    for library in _LIBRARIES:
        try:
            versions.append(importlib.metadata.version(library))
        except importlib.metadata.PackageNotFoundError:
            versions.append("")
    return cache_folder() / _FOLDER / artefacts.sha256_json([content, path.suffix, versions])


# ---- the process apart's side


def _import() -> None:
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow", "float32")
    from edgefm_converters.bridge.bridge import import_tf_keras

    import_tf_keras()
