"""The raw outputs of a model on any target, for raw inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import scratch
from edgefm.core.progress import SILENT, Progress
from edgefm.targets.base import Place, Target
from edgefm.targets.pieces import pieces
from edgefm.targets.worker_process import WorkerProcess

SECONDS = 60.0


def raw_outputs(
    model: Path,
    inputs: NDArray[Any],
    *,
    runtime: str,
    target: Target,
    threads: int = 1,
    seconds: float = SECONDS,
    memory_bytes: int | None = None,
    label: str = "",
    progress: Progress = SILENT,
    on_loaded: Callable[[Mapping[str, Any]], None] | None = None,
) -> tuple[NDArray[Any], ...]:
    """Return the outputs that a model gives on a target, [n, ...] each in the model's own dtype, in the file's order.

    The model runs in a fresh worker process there.

    Args:
      model: file.
      inputs: [n, ...] in the model's own dtype and shape, without the batch of 1.
      runtime: name of a runtime, with its kernel set where one is wanted.
      target: where to run.
      threads: of the runtime.
      seconds: a worker that gives no answer for so long is killed: one that does not load the model, or answer a
        piece of the inputs, in it. The first piece is one input, later ones are as large as their time allows.
      memory_bytes: that the model may use above the bare runtime; None goes by the size of its file.
      label: told to `progress`; '' tells nothing.
      progress: receives progress.
      on_loaded: receives what the worker tells of the loaded model (see `WorkerProcess.load`), before it is asked.
    Raises:
      WorkerError: the model crashed, hung, ran out of memory or cannot be run there.
      RecipeError: no runtime has this name.
      TargetError: the target cannot be reached, or went away.
    """
    with scratch.folder("answers") as folder:
        inputs_file = folder / "inputs.npy"
        np.save(inputs_file, inputs)
        with (
            target.open(runtime) as place,
            loaded(
                model,
                place=place,
                folder=folder,
                runtime=runtime,
                threads=threads,
                seconds=seconds,
                memory_bytes=memory_bytes,
            ) as (worker, loaded_model),
        ):
            if on_loaded is not None:
                on_loaded(loaded_model)
            answers = []
            there = place.put(inputs_file)
            for start, stop in pieces(len(inputs), limit_seconds=seconds):
                out = place.scratch("outputs.npz")
                worker.request(
                    "outputs",
                    doing=f"answering inputs {start} to {stop - 1}",
                    seconds=seconds,
                    inputs=there,
                    start=start,
                    stop=stop,
                    out=out,
                )
                place.get(out, folder / "outputs.npz")
                with np.load(folder / "outputs.npz") as arrays:
                    answers.append([arrays[str(index)] for index in range(len(arrays.files))])
                if label:
                    progress.step(label, stop, len(inputs))
    return tuple(np.concatenate(parts) for parts in zip(*answers, strict=True))


@contextmanager
def loaded(
    model: Path,
    *,
    place: Place,
    folder: Path,
    runtime: str,
    threads: int = 1,
    seconds: float = SECONDS,
    memory_bytes: int | None = None,
) -> Iterator[tuple[WorkerProcess, dict[str, Any]]]:
    """Give a fresh worker that has loaded a model, and what it tells of it (see `WorkerProcess.load`)."""
    with WorkerProcess(place=place, folder=folder, name="worker") as worker:
        facts = worker.load(model, runtime=runtime, threads=threads, memory_bytes=memory_bytes, seconds=seconds)
        yield worker, facts
