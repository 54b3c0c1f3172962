"""Where a run lies: its folder named, found, made when it is first written to, and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from edgefm.core import html, manifest
from edgefm.core.arguments import PathLike, as_path
from edgefm.core.errors import RecipeError
from edgefm.core.runs import DEFAULT_ROOT, RunDirectory, Step


class RunFolder:
    """A run's folder, which is made when it is first written to."""

    def __init__(self, path: PathLike) -> None:
        """Name a run's folder; nothing is written yet.

        Raises:
          ArgumentError: it is no path.
          RecipeError: it is a file.
        """
        self._path = as_path(path, "path")
        self._to_be_named = False
        if self._path.is_file():
            raise RecipeError(f"{self._path} is a file, not the folder of a run", hint="Give a folder, or a new name.")

    @classmethod
    def latest(cls, root: PathLike = DEFAULT_ROOT) -> Self:
        """Return the run that changed last.

        Args:
          root: folder of the runs.
        Raises:
          ArgumentError: it is no path.
          RunError: it holds no run.
        """
        return cls(RunDirectory.latest(as_path(root, "root")).path)

    @classmethod
    def new(cls, name: str, root: PathLike = DEFAULT_ROOT) -> Self:
        """Return a run that will be called `<UTC time>-<name>`; its folder is made when it is first written to.

        Args:
          name: last part of the folder's name.
          root: folder of the runs.
        Raises:
          ArgumentError: `root` is no path.
        """
        run = cls(as_path(root, "root") / name)
        run._to_be_named = True
        return run

    @property
    def path(self) -> Path:
        """Folder of the run."""
        return self._path

    @property
    def steps(self) -> tuple[Step, ...]:
        """The finished steps, oldest first.

        Raises:
          RunError: there is no run here yet, or its manifest is damaged.
        """
        return self._open().steps()

    def __repr__(self) -> str:
        return f"Run({str(self._path)!r})"

    def _repr_html_(self) -> str:
        """Show the report where there is one, else what has been done."""
        from edgefm.report import FOLDER, PAGE

        page = self.path / FOLDER / PAGE
        if page.is_file():
            return html.page(page.read_text(encoding="utf-8"), title=f"report of {self.path.name}")
        if not self._is_there():
            return html.paragraph(f"{self.path}: no steps yet")
        rows = [[step.name, step.created, f"{step.seconds:.1f} s"] for step in self.steps]
        return html.table(rows, ["step", "finished", "took"], caption=str(self.path))

    def _is_there(self) -> bool:
        return (self._path / manifest.FILE_NAME).exists()

    def _open(self) -> RunDirectory:
        return RunDirectory.open(self._path)

    def _open_or_create(self) -> RunDirectory:
        if self._to_be_named:
            self._path = RunDirectory.create(self._path.name, root=self._path.parent).path
            self._to_be_named = False
        return self._open() if self._is_there() else RunDirectory.create_at(self._path)
