"""A page that shows a model in the browser of this machine, as `edgefm demo` opens it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import edgefm
from edgefm.core import artefacts
from edgefm.core.arguments import PathLike, as_path
from edgefm.core.cache import cache_folder
from edgefm.core.errors import ModelError
from edgefm.core.progress import Progress
from edgefm.jobs.export.models import is_bundle
from edgefm.jobs.inspect import tflite_in

_FOLDER = "demo"


def demo_page(
    source: PathLike,
    *,
    variant: str | None = None,
    data: Any = None,
    progress: Progress | bool | None = None,
) -> Path:
    """Write a page that shows a model, into edgefm's cache, and return its path.

    The page of a bundle is written anew from its model, contract and golden vectors: no code of the bundle runs.

    Args:
      source: a bundle of any kind, a run, or a .tflite file with its contract beside it.
      variant: of a run; see `edgefm.export`.
      data: samples to show; see `edgefm.export`. Those of a bundle are its golden vectors.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      EdgefmError: see `edgefm.export`; or the bundle was changed.
    """
    from edgefm_converters.bundles.for_web import PAGE

    path = as_path(source, "source")
    if is_bundle(path):
        content = _page_of_bundle(path)
        folder = cache_folder() / _FOLDER / artefacts.sha256_bytes(content)[:16]
        artefacts.write_bytes(folder / PAGE, content)
        return folder / PAGE
    folder = cache_folder() / _FOLDER / artefacts.sha256_bytes(f"{path.absolute()} {variant}".encode())[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    edgefm.export(path, "web", out=folder, variant=variant, data=data, force=True, progress=progress)
    return folder / PAGE


def _page_of_bundle(bundle: Path) -> bytes:
    from edgefm.jobs.export.web_runtime import web_runtime
    from edgefm.tflite import contract as contracts
    from edgefm.tflite.inspection import operator_names
    from edgefm_converters.bundles.for_web import page
    from edgefm_converters.bundles.golden import read_golden
    from edgefm_converters.bundles.manifest import changes, read_manifest
    from edgefm_converters.bundles.parts import BundleParts

    problems = list(changes(bundle, read_manifest(bundle)))
    if problems:
        raise ModelError(f"{bundle} is not as it was written: {problems[0]}", hint="Write the bundle again.")
    model = tflite_in(bundle)
    contract = contracts.read(model)
    if contract is None:
        raise ModelError(f"{bundle} has no contract of its {model.name}", hint="Write the bundle again.")
    web = web_runtime(model)
    parts = BundleParts(
        contract=contract,
        model=model.read_bytes(),
        golden=read_golden(bundle),
        card="",
        notice="",
        operators=operator_names(model),
        arena_bytes=None,
        arena_reason="it was not asked for",
        version=edgefm.__version__,
        web=web,
    )
    return page(parts, web).encode()
