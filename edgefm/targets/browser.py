"""A browser of this machine: LiteRT.js on one page in headless Chromium, driven by a worker here."""

from __future__ import annotations

from pathlib import Path

from edgefm import runtimes
from edgefm.core.errors import RecipeError
from edgefm.runtimes import litertjs
from edgefm.runtimes.base import Availability
from edgefm.targets.base import Figure, Mode, Place, TargetError
from edgefm.targets.host import HostPlace

_RUNTIME = "litertjs"


def target(rest: str) -> BrowserTarget:
    """Return the target; it takes no further address."""
    if rest:
        raise RecipeError(
            f"the target 'browser:{rest}' is not understood",
            hint="The target is 'browser'; EDGEFM_CHROMIUM names another Chromium or Chrome than the one on PATH.",
        )
    return BrowserTarget()


class BrowserTarget:
    """Headless Chromium on this machine; times are read in the page, memory is the page's."""

    name = "browser"
    mode: Mode = "measured"
    latency = True
    runtimes: tuple[str, ...] = (_RUNTIME,)

    def availability(self) -> Availability:
        """Return whether Chromium, its driver, selenium and LiteRT.js are here."""
        return litertjs.availability()

    def open(self, runtime: str) -> Place:
        """Return this machine's place: the worker runs here and starts a browser for its model.

        Raises:
          TargetError: the runtime does not run in a browser.
        """
        if runtimes.split(runtime)[0] != _RUNTIME:
            raise TargetError(f"the runtime '{runtime}' does not run in a browser", hint=f"Use '{_RUNTIME}'.")
        return HostPlace(python=runtimes.interpreter_of(_RUNTIME))

    def figures(self, model: Path) -> tuple[Figure, ...]:
        """Nothing beside what workers measure."""
        return ()
