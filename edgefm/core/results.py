"""What results have in common: `save` writes what `to_json` gives.

A result is frozen, and equal to another one of the same content. Fields that hold mappings or lists, also somewhere
inside, do not count for its hash: they are marked with `field(hash=False)`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgefm.core import artefacts
from edgefm.core.arguments import PathLike, as_path
from edgefm.core.errors import ArgumentError, EdgefmError


class JsonResult:
    """A result whose content is its JSON."""

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        raise NotImplementedError

    def save(self, path: PathLike) -> Path:
        """Write the result as JSON, whole or not at all, and return the path; missing folders are made.

        A number that is NaN or infinite, such as a scale in a damaged file, is null there.

        Args:
          path: of a file whose name ends in .json; one that is there is replaced.
        Raises:
          ArgumentError: a folder, or another ending.
          EdgefmError: the file cannot be written there.
        """
        target = as_path(path, "path")
        if target.is_dir() or target.suffix != ".json":
            what = ", a folder" if target.is_dir() else ""
            raise ArgumentError(f"path is {target}{what}; a file name that ends in .json is expected")
        try:
            return artefacts.write_json(target, artefacts.finite(self.to_json()))
        except OSError as error:
            raise EdgefmError(
                f"{target} cannot be written: {error.strerror or error}",
                hint="Choose another folder, or check that this one is writable and that the disk is not full.",
            ) from error
