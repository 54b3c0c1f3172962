"""What a runtime says of itself under this Python, also for another Python: `python -m edgefm.runtimes.probe MODULE`.

Run as a module it prints one line of JSON; it needs what a worker needs: numpy and the runtime.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgefm.runtimes import import_runtime, kernels_of
from edgefm.runtimes.base import Unavailable

PROBE = "edgefm.runtimes.probe"


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What was found.

    Attributes:
      version: of the runtime; None where it cannot be used.
      reason: why it cannot be used, or None.
      kernels: names of its kernel sets, the default first; empty where it has but one.
      install: what to do to have it, or None where it does not say.
    """

    version: str | None = None
    reason: str | None = None
    kernels: tuple[str, ...] = ()
    install: str | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Probed:
        """Return what another process found."""
        return cls(**{**value, "kernels": tuple(value["kernels"])})


def probe(module: str) -> Probed:
    """Return what a runtime's module says of itself; its native library is loaded for this.

    Args:
      module: e.g. 'edgefm.runtimes.litert'.
    """
    kernels: tuple[str, ...] = ()
    install: str | None = None
    try:
        runtime = import_runtime(module)
        kernels, install = kernels_of(runtime), getattr(runtime, "INSTALL", None)
        usable = runtime.availability()
        if isinstance(usable, Unavailable):
            return Probed(reason=usable.reason, kernels=kernels, install=usable.remedy or install)
        return Probed(version=runtime.version(), kernels=kernels, install=install)
    except Exception as error:  # another package's module: whatever is wrong with it is the reason
        return Probed(reason=f"{module} fails: {type(error).__name__}: {error}", kernels=kernels, install=install)


def main(module: str) -> None:
    """Print what was found; nothing that native code prints reaches standard output."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    answers.write(json.dumps(asdict(probe(module))) + "\n")
    answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
