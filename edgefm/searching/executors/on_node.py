"""What a node of a Ray cluster runs: the trials of the search that its driver named."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable

from edgefm.core import scratch
from edgefm.searching.driver import Evaluate, Task
from edgefm.searching.executors.passes import Passes
from edgefm.searching.executors.store import Store
from edgefm.searching.executors.work import Answer, Workplace, answer, portable

# The work of a node's process, by its sha256, and where it keeps the passes of a trial.
_work: dict[str, tuple[Evaluate, scratch.Kept]] = {}


def do(work: str, store: str, task: Task) -> Answer:
    """Return what came of a task, on a node of the cluster."""
    if work not in _work:
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
            os.environ.setdefault(name, "1")  # as OMP_NUM_THREADS, which Ray sets
        try:
            shared, kept = Store(store), scratch.Kept("search")
            made: Callable[[Workplace], Evaluate] = pickle.loads(shared.get(work))  # bytes that the driver named
            evaluate = made(Workplace(kept=kept.path, shelf=Passes(shared).shelf))
        except Exception as error:
            return Answer(error=portable(error))
        _work.clear()
        _work[work] = evaluate, kept
    evaluate, kept = _work[work]
    try:
        return answer(evaluate, task)
    finally:
        for folder in kept.path.iterdir():  # the store has what is in there, and each process of a node a folder
            shutil.rmtree(folder, ignore_errors=True)
