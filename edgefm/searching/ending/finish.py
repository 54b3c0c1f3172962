"""The end of a search: its finalists trained, written and measured, and the result."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgefm.core import artefacts
from edgefm.core.errors import RuntimeUnavailableError
from edgefm.core.progress import SILENT, Progress
from edgefm.recipes import BenchmarkProtocol
from edgefm.searching import finalists as finals
from edgefm.searching.budget import SearchBudget
from edgefm.searching.evaluation import PASSES_FOLDER, Evaluator
from edgefm.searching.page import page
from edgefm.searching.picture import front_png
from edgefm.searching.result import PAGE_FILE, PICTURE_FILE, RESULT_FILE, document
from edgefm.searching.trials import Trial
from edgefm.searching.words import unit_of


def finish(
    folder: Path,
    own: Evaluator,
    evaluator: Callable[[int], Evaluator],
    trials: Sequence[Trial],
    *,
    budgets: Sequence[SearchBudget],
    impossible: Mapping[str, str],
    epochs: int,
    seeds: Sequence[int],
    protocol: BenchmarkProtocol,
    identity: Mapping[str, Any],
    arena: bool,
    progress: Progress = SILENT,
) -> None:
    """Train and measure the finalists, and write the result: whole, or the former one stays.

    Args:
      folder: of the result.
      own: evaluator of the search's own seed.
      evaluator: for a seed of fine-tuning.
      trials: of the search.
      budgets: each gets a finalist.
      impossible: why some budgets cannot be met, by their names.
      epochs: of a trial.
      seeds: that each finalist is trained with.
      protocol: by which files are measured.
      identity: what was searched.
      arena: ask TFLite Micro for the arena.
      progress: receives progress.
    """
    source = own.source
    chosen = finals.trained(trials, budgets, evaluator, epochs=epochs, seeds=seeds, progress=progress)
    unfinished = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    files = finals.written(
        chosen,
        own,
        unfinished / finals.MODELS_FOLDER,
        epochs=epochs,
        kept=folder.parent / PASSES_FOLDER,
        progress=progress,
    )
    figures = finals.measured(
        files, source, protocol, arena=arena, out=unfinished / finals.BENCHMARK_FOLDER, progress=progress
    )
    assert source.task is not None, "checked at the beginning"
    result = document(
        identity=identity,
        model=source.name,
        space=own.space,
        budgets=budgets,
        impossible=impossible,
        trials=trials,
        finalists=chosen,
        figures=figures,
        validation=len(own.given.inputs),
        test=len(source.task.dataset.test),
        unit=unit_of(source.task.quality),
    )
    artefacts.write_json(unfinished / RESULT_FILE, artefacts.finite(result))
    drawn = False
    try:
        artefacts.write_bytes(unfinished / PICTURE_FILE, front_png(result))
        drawn = True
    except RuntimeUnavailableError as error:
        progress.note(f"no picture of the front: {error.message}")
    artefacts.write_text(unfinished / PAGE_FILE, page(result, picture=drawn))
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
