"""Links in a stranger's folder: none may lead out of it, whatever is read from it or written into it later."""

from __future__ import annotations

import os
from pathlib import Path

from edgefm.core.errors import EdgefmError
from edgefm.core.text import visible


def check(folder: Path, error: type[EdgefmError], *, what: str) -> None:
    """Raise an error where a link anywhere below a folder leads out of it; the folder itself may be a link.

    Args:
      folder: as it was given; it exists.
      error: class of the error.
      what: the folder is, for the message, e.g. 'run'.
    Raises:
      EdgefmError: (of the class `error`) there is such a link, or links in a circle.
    """
    root = folder.resolve()
    for place, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink() and not _leads_below(path, root):
                relative = visible(path.relative_to(root).as_posix())
                raise error(
                    f"{what} {folder} holds {relative}, a link that leaves its folder: {visible(path.readlink())}",
                    hint="Copy there what it leads to, or remove the link.",
                )


def _leads_below(link: Path, root: Path) -> bool:
    try:
        return link.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # links in a circle
        return False
