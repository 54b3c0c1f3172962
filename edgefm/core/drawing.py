"""Matplotlib as edgefm draws with it: by its own defaults, whatever a `matplotlibrc` in the working folder says."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

# Class names are drawn letter by letter: '$' in one begins no formula.
_LITERAL = {"text.parse_math": False}
# Matplotlib's settings are the process's: one thread draws at a time.
_LOCK = threading.RLock()


@contextmanager
def settings(changed: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Draw with matplotlib's defaults and these rcParams inside this block; the user's own ones come back behind it.

    Matplotlib takes the `matplotlibrc` of the working folder before all others. One from a stranger could have each
    text typeset by LaTeX, with a preamble of its own.

    Raises:
      ImportError: matplotlib is not installed.
    """
    import matplotlib

    with _LOCK, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_LITERAL, **(changed or {})})
        yield
