"""Makes all files of a report from what a run holds."""

from __future__ import annotations

import json
from pathlib import Path

from edgefm.core import artefacts
from edgefm.core.errors import RunError
from edgefm.core.progress import SILENT, Progress
from edgefm.core.runs import RunDirectory
from edgefm.report import PAGE
from edgefm.report.compose import PICTURES, compose
from edgefm.report.content import inputs
from edgefm.report.pages import markdown, page, steps_table, summary, tables
from edgefm.report.text import reproduce


def build(run: RunDirectory, out: Path, *, data_dir: Path | None = None, progress: Progress = SILENT) -> Path:
    """Write all files of a report into a folder and return the path of the page."""
    run_inputs = inputs.read(run, data_dir=data_dir, progress=progress)
    progress.step("report", 1, 4)
    content = compose(run_inputs)
    progress.step("report", 2, 4)
    files = {f"{picture.name}.png": picture.png for picture in content.pictures.values()}
    files["report.md"] = markdown.render(content).encode()
    files["report.json"] = (json.dumps(summary.summary(content), indent=2, allow_nan=False) + "\n").encode()
    if content.facts is not None:
        files["table.csv"] = tables.csv_table(content.facts).encode()
    if content.waterfall is not None:
        files["steps.csv"] = steps_table.csv_table(content.waterfall).encode()
    recipe = reproduce.recipe_file(run_inputs.steps)
    if recipe is not None:
        files[reproduce.RECIPE_FILE] = (json.dumps(recipe, indent=2) + "\n").encode()
    # A page elsewhere would name folders of this machine.
    below = out.resolve().parent == run.path.resolve()
    files[PAGE] = page.render(content, files=".." if below else "").encode()
    progress.step("report", 3, 4)
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file; the report needs a folder", hint="Give another one as out.")
    for name, data in files.items():
        artefacts.write_bytes(out / name, data)
    for name in (*(f"{name}.png" for name in PICTURES), "table.csv", "steps.csv", reproduce.RECIPE_FILE):
        if name not in files:
            (out / name).unlink(missing_ok=True)
    progress.step("report", 4, 4)
    return out / PAGE
