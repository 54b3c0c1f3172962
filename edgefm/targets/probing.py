"""What a runtime says of itself under another Python than this one."""

from __future__ import annotations

import os
from pathlib import Path

from edgefm.core import scratch, subprocesses
from edgefm.core.documents import object_told
from edgefm.core.subprocesses import CommandError, TimeLimitError
from edgefm.runtimes.probe import PROBE, Probed
from edgefm.targets.bundle import bundle

_PROBE_SECONDS = 20.0


def probed_by(module: str, python: Path) -> Probed:
    """Return what another interpreter says of a runtime; it is asked with the worker's bundle on its path."""
    # What the user put there stays: it may hold a runtime of their own.
    given = [str(Path(part).resolve()) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    with scratch.folder("probe") as folder:
        try:
            answer = subprocesses.run(
                [str(python.absolute()), "-m", PROBE, module],
                environment={**os.environ, "PYTHONPATH": os.pathsep.join([str(bundle(folder)), *given])},
                cwd=folder,  # -m looks there first
                seconds=_PROBE_SECONDS,
            )
        except TimeLimitError:
            return Probed(reason=f"{python} gave no answer in {_PROBE_SECONDS:g} s")
        except CommandError as error:
            return Probed(reason=error.message)
    lines = answer.output.splitlines()
    if answer.code or not lines:
        said = (answer.errors.strip() or "no answer").splitlines()[-1]
        return Probed(reason=f"{python} ends with exit code {answer.code}: {said}")
    try:
        return Probed.from_json(object_told(lines[-1]) or {})
    except (TypeError, KeyError):
        return Probed(reason=f"{python} gave an unexpected answer: {lines[-1][:100]}")
