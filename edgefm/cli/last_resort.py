"""What is done about an error that nobody foresaw: its details go to a file of the user's, and a sentence says so."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import traceback
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from edgefm.core.text import without_passwords

_SHOWN = 200
# Files of details that stay; older ones go.
_KEPT = 20


def told(error: BaseException) -> tuple[str, str]:
    """Return what went wrong in a sentence, and where to report it with which file; the file is written.

    Where it cannot be written, the second text ends with the details themselves.
    """
    details = _details(error)
    place = _place()
    try:
        path = _written(details)
    except OSError as failure:
        why = failure.strerror or str(failure)
        where = f"Please report it to {place} with these details, which could not be written to a file ({why}):"
        return _sentence(error), f"{where}\n{details}"
    return _sentence(error), f"Please report it to {place} with the file {path}, which holds the details."


def _sentence(error: BaseException) -> str:
    text = without_passwords(" ".join(str(error).split()))
    text = "".join(letter if letter.isprintable() else "?" for letter in text[:_SHOWN]) + "…" * (len(text) > _SHOWN)
    return f"this is a fault of edgefm itself: {type(error).__name__}{': ' if text else ''}{text}"


def _place() -> str:
    """Return the page of the project's issues, or who made it where the package names none."""
    try:
        about = metadata.metadata("edgefm")
    except metadata.PackageNotFoundError:
        return "the project"
    pages = dict(entry.split(", ", 1) for entry in about.get_all("Project-URL") or () if ", " in entry)
    return pages.get("Issues") or ", ".join(about.get_all("Author-email") or ()) or "the project"


def _details(error: BaseException) -> str:
    """Return versions, the command and the traceback."""
    try:
        from edgefm.core.environment import versions

        libraries = ", ".join(f"{name} {version}" for name, version in versions().items())
    except Exception as failure:  # the details of one fault must not be lost by another
        libraries = f"not known ({type(failure).__name__})"
    return "\n".join(
        [
            "Details of a fault of edgefm. They name files of this machine: read them before you pass them on.",
            f"time: {datetime.now(UTC).isoformat(timespec='seconds')}",
            f"python: {platform.python_version()} on {platform.platform()}",
            f"libraries: {libraries}",
            f"command: {list(map(without_passwords, sys.argv))!r}",
            "",
            *map(without_passwords, traceback.format_exception(error)),
        ]
    )


def _written(details: str) -> Path:
    """Write details to a new file that only the user may read, in the user's folder of logs, and return its path.

    The newest 20 files stay there.
    """
    import platformdirs

    folder = Path(platformdirs.user_log_dir("edgefm", appauthor=False))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    path = folder / f"fault-{now}-{os.getpid()}.txt"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(details)
    former = sorted(other for other in folder.glob("fault-*-*-*.txt") if other != path)
    for other in former[: max(0, len(former) + 1 - _KEPT)]:
        with contextlib.suppress(OSError):
            other.unlink()
    return path
