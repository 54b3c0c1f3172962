"""Reports of runs: one self-contained HTML page, and Markdown, CSV, JSON and PNG beside it."""

from __future__ import annotations

from pathlib import Path

from edgefm.core.errors import RunError
from edgefm.core.progress import SILENT, Progress
from edgefm.core.runs import RunDirectory

FOLDER = "report"
PAGE = "index.html"


def write(
    run: RunDirectory, *, out: Path | None = None, data_dir: Path | None = None, progress: Progress = SILENT
) -> Path:
    """Write the report of a run and return its index.html.

    Beside the page stand report.md, table.csv, report.json and one PNG a picture. All files are written or none;
    those of an earlier report are replaced, or removed where they no longer apply. What the run
    lacks is named on the page, with the command that makes it.

    Args:
      run: with at least one finished step; the newest of each kind is reported.
      out: folder of the report; None means `report` in the run's folder.
      data_dir: folder of the Fashion-MNIST files, for the pictures of single images.
      progress: told which part is being written.
    Raises:
      RunError: the run has no finished step, a file is damaged, or a newer edgefm wrote it.
      RuntimeUnavailableError: matplotlib or jinja2 is not installed.
    """
    if out is None and (run.path / FOLDER).is_symlink():
        raise RunError(
            f"{run.path / FOLDER} is a link; a report there would replace what it leads to",
            hint="Remove the link, or name another folder for the report.",
        )
    _check_libraries()
    from edgefm.report import build
    from edgefm.report.content import inputs

    progress.step("report", 0, 4)
    run_inputs = inputs.read(run, data_dir=data_dir, progress=progress)
    return build.build(run_inputs, out if out is not None else run.path / FOLDER, run=run.path, progress=progress)


def write_record(record: Path, *, out: Path | None = None, progress: Progress = SILENT) -> Path:
    """Write the report of a benchmark record alone, such as one that a phone wrote, and return its index.html.

    Args:
      record: the file.
      out: folder of the report; None means `report` beside the record.
      progress: told which part is being written.
    Raises:
      RunError: it is no record, damaged, or a newer edgefm wrote it.
      RuntimeUnavailableError: matplotlib or jinja2 is not installed.
    """
    _check_libraries()
    from edgefm.report import build
    from edgefm.report.content.record_inputs import of_record

    progress.step("report", 0, 4)
    target = out if out is not None else record.parent / FOLDER
    return build.build(of_record(record), target, run=None, progress=progress)


def _check_libraries() -> None:
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
        import PIL  # noqa: F401
    except ImportError:
        from edgefm.core.errors import missing_extra

        raise missing_extra("matplotlib and jinja2", "report") from None
