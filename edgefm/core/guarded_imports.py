"""Modules of a folder run only as the user trusted them: those that a trusted function imports in turn, whenever.

What would be imported cannot be known without running it. So all that Python could import from the folder is listed
when the function is trusted, and each import is held against that list.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader, all_suffixes
from pathlib import Path
from types import CodeType, ModuleType

from edgefm.core import artefacts, trust

# The nearest of a folder are listed; what lies beyond is not trusted.
_MOST_ENTRIES, _MOST_MODULES = 100_000, 1_000
_OURS = ("edgefm", "edgefm_converters")


def modules_in(folder: str) -> dict[str, str]:
    """Return sha256 by relative path of what Python could import from a folder and those below it; nothing is imported.

    At most 1,000 modules among 100,000 files and folders, those of upper levels first. Virtual environments and folders
    that no import names are left out.
    """
    found: dict[str, str] = {}
    left = _MOST_ENTRIES
    waiting = deque([""])
    while waiting and left > 0 and len(found) < _MOST_MODULES:
        below = waiting.popleft()
        try:
            with os.scandir(os.path.join(folder, below)) as entries:  # noqa: PTH118  # strings, as in sys.path
                listed = sorted(itertools.islice(entries, left), key=lambda entry: entry.name)
        except OSError:
            continue
        left -= len(listed)
        if any(entry.name == "pyvenv.cfg" for entry in listed):
            continue
        for entry in listed:
            path = f"{below}/{entry.name}" if below else entry.name
            if entry.is_dir():
                if entry.name.isidentifier() and entry.name != "__pycache__":
                    waiting.append(path)
            elif entry.name.endswith(tuple(all_suffixes())) and entry.is_file() and len(found) < _MOST_MODULES:
                found |= _listed(path, entry.path)
    return found


def remember(folder: str, *, also: Sequence[str] = ()) -> None:
    """Put what Python could import from a folder on the user's list, and further files of it."""
    modules = modules_in(folder)
    for origin in also:
        path = _below(origin, folder)
        if path is not None:
            modules |= _listed(path, origin)
    trust.remember_all([(sha256, _entry(path)) for path, sha256 in modules.items()], folder=folder)


def guard(folder: str, refuse: Callable[[str, str], Exception]) -> None:
    """Let only modules of a folder be imported that the user's list holds, for as long as this process runs.

    Args:
      folder: as it was trusted.
      refuse: returns the error for a module's path and what is wrong with it.
    """
    lift(folder)
    place = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else 0
    sys.meta_path.insert(place, _Guard(folder, refuse))


def lift(folder: str) -> None:
    """Let all modules of a folder be imported again: the user names one of its functions, now."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not (isinstance(finder, _Guard) and finder.of(folder))]


class _Guard(MetaPathFinder):
    """Stands before Python's own finder, and finds what that would find."""

    def __init__(self, folder: str, refuse: Callable[[str, str], Exception]) -> None:
        self._folder = folder
        self._refuse = refuse
        self._listed = {(entry.what, entry.sha256) for entry in trust.entries() if entry.folder == folder}
        # Python imports from there whatever is trusted: an environment inside the folder.
        self._others = [other for path in sys.path if path and (other := _below(path, folder)) not in (None, ".")]

    def of(self, folder: str) -> bool:
        return self._folder == folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or not spec.has_location:
            return None
        if path is not None and fullname.partition(".")[0] in _OURS:  # below a package that was imported before
            return None
        below = _below(spec.origin, self._folder)
        if below is None or any(below.startswith(f"{other}/") for other in self._others):
            return None
        try:
            content = Path(spec.origin).read_bytes()
        except OSError:  # in an archive, say
            raise self._refuse(below, "cannot be read by itself") from None
        what = _entry(below)
        if (what, artefacts.sha256_bytes(content)) not in self._listed:
            changed = any(known == what for known, _ in self._listed)
            raise self._refuse(below, "has changed since you trusted it" if changed else "you have not trusted")
        if isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Read(fullname, spec.origin, content)
        return spec


class _Read(SourceFileLoader):
    """Runs the source that was looked at: neither what lies in __pycache__ nor what the file holds a moment later."""

    def __init__(self, name: str, path: str, content: bytes) -> None:
        super().__init__(name, path)
        self._content = content

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self._content, self.path)


def _below(path: str, folder: str) -> str | None:
    """Return a path relative to a folder, with forward slashes; None where it lies elsewhere, by any of its names."""
    for name, root in ((os.path.abspath(path), folder), (os.path.realpath(path), os.path.realpath(folder))):  # noqa: PTH100
        if name == root or name.startswith(root.rstrip(os.sep) + os.sep):
            return os.path.relpath(name, root).replace(os.sep, "/")
    return None


def _listed(path: str, origin: str) -> dict[str, str]:
    try:
        return {path: artefacts.sha256_file(Path(origin))}
    except OSError:
        return {}


def _entry(path: str) -> str:
    return f"module {path}"
