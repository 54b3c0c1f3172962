"""The end of a search: its finalists trained, written and measured, and the result."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgefm.core import artefacts, whole_folders
from edgefm.core.documents import inside, read_json
from edgefm.core.errors import RuntimeUnavailableError
from edgefm.core.progress import SILENT, Progress
from edgefm.recipes import BenchmarkProtocol
from edgefm.searching import finalists as finals
from edgefm.searching.budget import SearchBudget, targets_of
from edgefm.searching.evaluation import Evaluator
from edgefm.searching.journal import SearchError
from edgefm.searching.on_targets.measuring import measured_on
from edgefm.searching.page import page
from edgefm.searching.picture import front_png
from edgefm.searching.result import PAGE_FILE, PICTURE_FILE, RESULT_FILE, budget_entry, document
from edgefm.searching.trials import Trial
from edgefm.searching.words import unit_of


def finish(
    folder: Path,
    evaluator: Evaluator,
    trials: Sequence[Trial],
    chosen: Sequence[finals.Finalist],
    failed: Mapping[str, str],
    *,
    seeds: int,
    budgets: Sequence[SearchBudget],
    impossible: Mapping[str, str],
    epochs: int,
    protocol: BenchmarkProtocol,
    identity: Mapping[str, Any],
    arena: bool,
    progress: Progress = SILENT,
) -> None:
    """Write and measure the finalists, and write the result: whole, or the former one stays.

    Args:
      folder: of the result.
      evaluator: makes files.
      trials: of the search.
      chosen: the finalists.
      failed: why other budgets have none, by their names.
      seeds: number of them that each finalist was to be trained with.
      budgets: of the search.
      impossible: why some budgets cannot be met, by their names.
      epochs: of a trial.
      protocol: by which files are measured.
      identity: what was searched.
      arena: ask TFLite Micro for the arena.
      progress: receives progress.
    """
    source = evaluator.source
    unfinished = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    files = finals.written(chosen, evaluator, unfinished / finals.MODELS_FOLDER, epochs=epochs, progress=progress)
    figures = finals.measured(
        files, source, protocol, arena=arena, out=unfinished / finals.BENCHMARK_FOLDER, progress=progress
    )
    elsewhere = targets_of(budgets) if chosen else ()
    there = measured_on(elsewhere, files, protocol, out=unfinished, progress=progress)
    assert source.task is not None, "checked at the beginning"
    result = document(
        identity=identity,
        model=source.name,
        space=evaluator.space,
        budgets=budgets,
        impossible=impossible,
        trials=trials,
        finalists=chosen,
        failed=failed,
        seeds=seeds,
        figures={name: {**own, **there.p50_us[name]} for name, own in figures.items()},
        waiting=there.waiting,
        validation=len(evaluator.given.inputs),
        test=len(source.task.dataset.test),
        unit=unit_of(source.task.quality),
    )
    drawn = False
    try:
        artefacts.write_bytes(unfinished / PICTURE_FILE, front_png(result))
        drawn = True
    except RuntimeUnavailableError as error:
        progress.note(f"no picture of the front: {error.message}")
    _write(unfinished, result, picture=drawn)
    whole_folders.put(unfinished, folder)


def measure_waiting(
    folder: Path, budgets: Sequence[SearchBudget], protocol: BenchmarkProtocol, *, progress: Progress = SILENT
) -> bool:
    """Measure the files of a result on the targets that were away, and write it anew; return whether any was.

    Nothing is trained. What cannot be measured now either waits on, and keeps the time that it has.

    Args:
      folder: of the result.
      budgets: of the search.
      protocol: by which files are measured.
      progress: receives progress.
    """
    where = folder / RESULT_FILE
    result = read_json(where, what="result of a search", error=SearchError)
    waiting: Mapping[str, str] = result.get("waiting", {})
    if not waiting:
        return False
    rows = [*result["references"].items(), *((one["budget"], one["figures"]) for one in result["finalists"])]
    files = {name: inside(folder, f"{finals.MODELS_FOLDER}/{name}/model.tflite", where=where) for name, _ in rows}
    there = measured_on(list(waiting), files, protocol, out=folder, progress=progress)
    for name, figures in rows:
        figures |= there.p50_us[name]
    own, known = {entry["budget"]: entry["figures"] for entry in result["finalists"]}, result["budgets"]
    before = {entry["name"]: entry for entry in known}
    result["budgets"] = [
        budget_entry(one, own.get(one.name), before[one.name]["impossible"], before[one.name].get("failed"))
        for one in budgets
    ]
    result["waiting"] = dict(there.waiting)
    _write(folder, result, picture=(folder / PICTURE_FILE).exists())
    return True


def _write(folder: Path, result: Mapping[str, Any], *, picture: bool) -> None:
    """Write the page and the document, which counts."""
    artefacts.write_text(folder / PAGE_FILE, page(result, picture=picture))
    artefacts.write_json(folder / RESULT_FILE, artefacts.finite(result))
