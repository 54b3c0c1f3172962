"""The worker as one zip file: the rooms of edgefm that need only Python and numpy.

It runs where edgefm is not installed: under another Python of this machine, on a board, in an emulator. The file
goes on PYTHONPATH there, or is run itself: `python3 worker.zip`.
"""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path

# All that the worker and the runtimes import, whole rooms of it: a test runs them from the bundle alone.
MODULES = ("edgefm/__init__.py", "edgefm/schemas/__init__.py")
PACKAGES = ("edgefm/worker", "edgefm/runtimes", "edgefm/tflite", "edgefm/core")
_SUFFIXES = (".py", ".html", ".js")  # the browser's page is read from the zip file
_MAIN = "from edgefm.core.with_parent import become\n\nbecome('edgefm.worker.worker')\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same modules always give the same bytes


def bundle(folder: Path) -> Path:
    """Return the worker's zip file in a folder; it is written where it is not there yet."""
    path = folder / "worker.zip"
    if not path.exists():
        path.write_bytes(content())
    return path


@cache
def content() -> bytes:
    """Return the bytes of the worker's zip file."""
    import io

    root = Path(__file__).parents[2]
    names = [
        *MODULES,
        *(
            path.relative_to(root).as_posix()
            for package in PACKAGES
            for path in (root / package).rglob("*")
            if path.suffix in _SUFFIXES
        ),
    ]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(names):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), (root / name).read_bytes())
        archive.writestr(zipfile.ZipInfo("__main__.py", _EPOCH), _MAIN)
    return buffer.getvalue()
