"""How many trials at a time a search does on this machine where nobody said it: one a core, as memory allows."""

from __future__ import annotations

from edgefm.core.container import core_share, free_memory_bytes
from edgefm.core.errors import EdgefmError
from edgefm.core.progress import SILENT, Progress, stated
from edgefm.data.dataset import Dataset
from edgefm.keras_graph.backend import device_of
from edgefm.quantization.source import Source
from edgefm.searching.parcel import Parcel
from edgefm.searching.workers import Workers

# What a worker takes beside its data: 1.0 GB was measured with TensorFlow 2.21 and 60,000 pictures of 28x28, and some
# is left for larger models. Data are held twice: as they are, and in parts as floats.
_WORKER_BYTES, _COPIES = 1_300_000_000, 2


def processes(source: Source, *, trials: int, try_one: bool, progress: Progress = SILENT) -> int:
    """Return how many processes do the trials of a source; 1 means that this process does them.

    Args:
      source: the model with its data.
      trials: most of them: no more processes are started.
      try_one: start a process to see whether it can take the model and the data.
      progress: is told why there are fewer than cores.
    """
    cores = min(core_share(), trials)
    if cores == 1:
        return 1
    gpu = gpu_of_trials()
    if gpu is not None:
        progress.note(f"one trial at a time, in this process: several would share one GPU, {gpu}")
        return 1
    assert source.task is not None, "a search has data"
    room = free_memory_bytes() // (_WORKER_BYTES + _COPIES * bytes_of(source.task.dataset))
    count = max(1, min(cores, room))
    if count < cores:
        progress.note(f"{count} of {cores} trials at a time: free memory has room for no more processes")
    if count > 1 and try_one:
        try:
            with (
                stated(progress, "handing the model to another process"),
                Workers(Parcel.of(source), 1, model=source.model) as workers,
            ):
                workers.check()
        except EdgefmError as error:
            progress.note(alone(error))
            return 1
    return count


def alone(error: EdgefmError) -> str:
    """Return the note that this process does the trials, and why."""
    return f"one trial at a time, in this process: {error.message}"


def bytes_of(dataset: Dataset) -> int:
    """Return the bytes of a data set's samples and labels."""
    return sum(split.images.nbytes + split.labels.nbytes for split in dataset.splits)


def gpu_of_trials() -> str | None:
    """Return the name of a GPU that trials are trained on; None where there is none."""
    import keras

    for backend in dict.fromkeys(("tensorflow", keras.config.backend())):
        kind, name = device_of(backend)
        if kind == "gpu":
            return name
    return None
