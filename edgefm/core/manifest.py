"""manifest.json of a run: which steps are finished, when the run was made, and in which form that is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgefm.core import artefacts, documents
from edgefm.core.errors import RunError

SCHEMA_VERSION = 1
FILE_NAME = "manifest.json"
_SCHEMA = "manifest-1"


def read(folder: Path) -> dict[str, Any]:
    """Return the manifest of a run: `schema_version`, `created`, and `steps`, the oldest first.

    Raises:
      RunError: the folder has none, it is damaged, or a newer edgefm wrote it.
    """
    path = folder / FILE_NAME
    if not path.exists():
        raise RunError(
            f"{folder} is not a run: it has no {FILE_NAME}",
            hint="Give the folder of a run: edgefm train and edgefm quantize MODEL write one.",
        )
    return documents.read_versioned(
        path,
        what="manifest",
        newest=SCHEMA_VERSION,
        schema=_SCHEMA,
        error=RunError,
        hint="Restore it, or train into a new run.",
    )


def write(folder: Path, steps: Sequence[dict[str, Any]], *, created: str) -> None:
    """Write the manifest of a run, whole or not at all.

    Args:
      folder: of the run.
      steps: finished ones as JSON, the oldest first.
      created: UTC time at which the run was made, ISO 8601.
    """
    artefacts.write_json(
        folder / FILE_NAME, {"schema_version": SCHEMA_VERSION, "created": created, "steps": list(steps)}
    )
