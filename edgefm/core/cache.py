"""Where edgefm keeps what it fetched, converted or compiled."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return edgefm's cache: EDGEFM_CACHE_DIR, or a folder in the user's."""
    named = os.environ.get("EDGEFM_CACHE_DIR")
    if named:
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()).absolute() / "edgefm"
