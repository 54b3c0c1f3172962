"""A page that shows a model in the browser of this machine, as `edgefm demo` opens it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import edgefm
from edgefm.core import artefacts
from edgefm.core.arguments import PathLike, as_path
from edgefm.core.cache import cache_folder
from edgefm.core.errors import ModelError
from edgefm.core.progress import Progress
from edgefm.jobs.export.models import is_bundle
from edgefm.jobs.export.signature import FILE_NAME as SIGNATURE_FILE
from edgefm.jobs.export.web import page_of_bundle

_FOLDER = "demo"


def demo_page(
    source: PathLike,
    *,
    variant: str | None = None,
    data: Any = None,
    served: bool = False,
    progress: Progress | bool | None = None,
) -> Path:
    """Write a page that shows a model, into edgefm's cache, and return its path.

    The page of a bundle is written anew from its model, contract and golden vectors: no code of the bundle runs.

    Args:
      source: a bundle of any kind, a run, or a .tflite file with its contract beside it.
      variant: of a run; see `edgefm.export`.
      data: samples to show; see `edgefm.export`. Those of a bundle are its golden vectors.
      served: write the folder for a web server, whose page has threads; else the page in one file.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      EdgefmError: see `edgefm.export`; or the bundle was changed.
    """
    from edgefm_converters.bundles.for_web import PAGE, SERVED

    path = as_path(source, "source")
    if is_bundle(path):
        files = _pages_of_bundle(path, served=served)
        sums = {name: artefacts.sha256_bytes(content) for name, content in files.items()}
        folder = cache_folder() / _FOLDER / artefacts.sha256_json(sums)[:16]
        for name, content in files.items():
            artefacts.write_bytes(folder / name, content)
        return folder / PAGE
    folder = cache_folder() / _FOLDER / artefacts.sha256_bytes(f"{path.absolute()} {variant} {served}".encode())[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    edgefm.export(path, "web", out=folder, variant=variant, data=data, served=served, force=True, progress=progress)
    return folder / SERVED / PAGE if served else folder / PAGE


@contextmanager
def served_demo(page: Path) -> Iterator[str]:
    """Serve the folder of a page to this machine, with the headers that threads need, and give its address."""
    from edgefm.runtimes.litertjs.server import PageServer

    server = PageServer(folders={_FOLDER: page.parent}, page=f"{_FOLDER}/{page.name}")
    try:
        yield server.url
    finally:
        server.close()


def _pages_of_bundle(bundle: Path, *, served: bool) -> dict[str, bytes]:
    """Return the page of a bundle, or the files of its folder for a server, by path."""
    from edgefm_converters.bundles import for_web
    from edgefm_converters.bundles.manifest import changes, read_manifest

    problems = list(changes(bundle, read_manifest(bundle), beside=(SIGNATURE_FILE,)))
    if problems:
        raise ModelError(f"{bundle} is not as it was written: {problems[0]}", hint="Write the bundle again.")
    web = page_of_bundle(bundle)
    if served:
        return for_web.served(web, version=edgefm.__version__)
    return {for_web.PAGE: for_web.fitted(web, version=edgefm.__version__).page}
