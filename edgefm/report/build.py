"""Makes all files of a report from what a run holds."""

from __future__ import annotations

from pathlib import Path

from edgefm.core import artefacts, whole_folders
from edgefm.core.errors import RunError
from edgefm.core.progress import SILENT, Progress
from edgefm.report import PAGE
from edgefm.report.compose import PICTURES, compose
from edgefm.report.content.inputs import ReportInputs
from edgefm.report.pages import markdown, page, steps_table, summary, tables
from edgefm.report.text import reproduce


def build(run_inputs: ReportInputs, out: Path, *, run: Path | None, progress: Progress = SILENT) -> Path:
    """Write all files of a report into a folder and return the path of the page.

    Args:
      run_inputs: what it is made from.
      out: the folder.
      run: folder of the run that it is on; None without one.
      progress: told which part is being written.
    """
    progress.step("report", 1, 4)
    content = compose(run_inputs)
    progress.step("report", 2, 4)
    files = {f"{picture.name}.png": picture.png for picture in content.pictures.values()}
    files["report.md"] = markdown.render(content).encode(errors="backslashreplace")
    files["report.json"] = artefacts.json_bytes(summary.summary(content))
    if content.facts is not None:
        files["table.csv"] = tables.csv_table(content.facts).encode(errors="backslashreplace")
    if content.waterfall is not None:
        files["steps.csv"] = steps_table.csv_table(content.waterfall).encode(errors="backslashreplace")
    recipe = reproduce.recipe_file(run_inputs.steps)
    if recipe is not None:
        files[reproduce.RECIPE_FILE] = artefacts.json_bytes(recipe)
    # A page elsewhere would name folders of this machine.
    below = run is not None and out.resolve().parent == run.resolve()
    files[PAGE] = page.render(content, files=".." if below else "").encode(errors="backslashreplace")
    progress.step("report", 3, 4)
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file; the report needs a folder", hint="Give another one as out.")
    others = (*(f"{name}.png" for name in PICTURES), "table.csv", "steps.csv", reproduce.RECIPE_FILE)
    whole_folders.write(out, files, gone=others)
    progress.step("report", 4, 4)
    return out / PAGE
