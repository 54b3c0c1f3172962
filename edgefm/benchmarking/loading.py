"""Loading each model once before the rounds: it tells what it takes and gives, and a bad one is found."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence

import numpy as np

from edgefm import runtimes
from edgefm.benchmarking import feeding
from edgefm.benchmarking.bench import Bench
from edgefm.benchmarking.file_facts import contents_of
from edgefm.benchmarking.measured import MeasuredModel, ModelFile
from edgefm.core.errors import EdgefmError
from edgefm.data.dataset import Dataset
from edgefm.data.quality import Quality
from edgefm.runtimes import tflite_ends
from edgefm.runtimes.base import TensorDetails
from edgefm.targets.host import HostPlace
from edgefm.targets.worker_process import WorkerError, WorkerProcess
from edgefm.tflite import micro_kernels
from edgefm.tflite.inspection import inspect

_MICRO, _PACKAGE = "tflm", "tflite_micro"
_MICRO_SAYS = re.compile(r"^tflm [a-z ]+? \S*: ")
# It is no timing: what takes longer, or more memory than this machine gives, is left to the table.
_MOST_SECONDS = 20.0
_UNDECIDED = ("cannot be imported", "no answer for", "out of memory")


def load(
    bench: Bench,
    files: Sequence[ModelFile],
    *,
    latency: bool,
    dataset: Dataset | None,
    quality: Quality | None,
    mean: float | None,
    std: float | None,
) -> list[MeasuredModel]:
    """Return the models of some files with what their workers tell of them, and how they are fed test images.

    Args:
      bench: where they are loaded.
      files: in the order of the rows.
      latency: whether the place is the real thing; an emulator's memory is not the model's.
      dataset: whose test images are answered; None feeds none.
      quality: what is measured on them.
      mean: see `edgefm.benchmarking.feeding.contract_for`.
      std: see there.
    """
    models: list[MeasuredModel] = []
    for file in files:
        model = MeasuredModel.of(file)
        models.append(model)

        def work(model: MeasuredModel = model) -> None:
            _load(bench, model, latency=latency)
            _say_what_is_measured(bench, model)
            if dataset is None:
                model.unfed = "no test images were given"
                return
            _agree_on_feeding(model, dataset, mean=mean, std=std)
            if model.unfed and quality is not None:
                bench.progress.note(f"{model.name}: no {quality.name}: {model.unfed}")

        bench.attempts.attempt(model, work)
        bench.progress.step("load", len(models), len(files), {"model": model.name})
    return models


def _load(bench: Bench, model: MeasuredModel, *, latency: bool) -> None:
    """Load a model; keep what its worker tells of it, its multiply-accumulates, and what TensorFlow Lite Micro says."""
    with bench.worker() as worker:
        loaded = bench.start(model, worker)
        if not latency:
            loaded |= {"bare_bytes": None, "peak_bytes": None}
        model.loaded = loaded
        if isinstance(bench.place, HostPlace):
            model.macs = _macs(bench, model, worker)
    if not isinstance(bench.place, HostPlace):
        with HostPlace() as here, WorkerProcess(place=here, folder=bench.folder, name="inspector") as inspector:
            model.macs = _macs(bench, model, inspector)
    model.on_micro = _on_micro(bench, model)
    model.input = TensorDetails.from_json(loaded["input"])
    model.outputs = tuple(TensorDetails.from_json(output) for output in loaded["outputs"])


def _say_what_is_measured(bench: Bench, model: MeasuredModel) -> None:
    """Say, now and in the record, what is measured of a file that leaves its batch open or has several signatures."""
    note = tflite_ends.file_note(model.path, name=model.name)
    if note is not None and model.loaded is not None:
        model.loaded["facts"] = {**model.loaded.get("facts", {}), "file_note": note}
        bench.progress.note(note)


def _agree_on_feeding(model: MeasuredModel, dataset: Dataset, *, mean: float | None, std: float | None) -> None:
    """Keep the contract by which a loaded model is fed test images, or the reason why it is not."""
    assert model.input is not None
    contract = feeding.contract_for(
        model.path,
        source=model.input,
        sinks=model.outputs,
        labels=dataset.labels,
        task=dataset.task,
        pixels=dataset.test.images.dtype == np.uint8,
        mean=mean,
        std=std,
    )
    if isinstance(contract, str):
        model.unfed = contract
        return
    model.unfed = feeding.misfit(contract, model.input, dataset.test.images)
    model.contract = None if model.unfed else contract


def _macs(bench: Bench, model: MeasuredModel, worker: WorkerProcess) -> int | None:
    """Count the multiply-accumulates in a process of this machine: a damaged file can take its parser down."""
    path, seconds = str(model.path.resolve()), bench.protocol.model_seconds
    try:
        macs: int | None = worker.request("macs", doing="being inspected", seconds=seconds, path=path)["macs"]
    except WorkerError as error:
        bench.progress.note(f"{model.name}: its MACs could not be counted: {error.message}")
        return None
    return macs


def _on_micro(bench: Bench, model: MeasuredModel) -> dict[str, str | None] | None:
    """Return whether TensorFlow Lite Micro refuses a file, tried in a worker of this machine.

    See 'tflite_micro' of `edgefm.benchmarking.file_facts`. None where it is not here, or could not be asked, and for
    files with other than integers, which no microcontroller gets.
    """
    try:
        inspection, python = inspect(model.path), runtimes.interpreter_of(_MICRO)
    except EdgefmError:
        return None
    missing = python is None and importlib.util.find_spec(_PACKAGE) is None
    if missing or any(dtype.startswith("float") for dtype in contents_of(inspection)["dtypes"]):
        return None
    protocol, path = bench.protocol, model.path.resolve()
    with (
        HostPlace(python=python) as here,
        WorkerProcess(place=here, folder=bench.folder, name=_MICRO) as worker,
    ):
        try:
            told = worker.load(
                path,
                runtime=_MICRO,
                threads=1,
                memory_bytes=protocol.model_memory_bytes,
                seconds=min(_MOST_SECONDS, protocol.model_seconds),
            )
        except WorkerError as error:
            if any(words in error.message for words in _UNDECIDED):
                return None
            said = _MICRO_SAYS.sub("", error.message.replace(str(path), path.name))
            return {
                "refused": micro_kernels.refused(inspection) or f"TensorFlow Lite Micro does not run it: {said}",
                "by": "tflite-micro",
            }
    return {"refused": None, "by": f"tflite-micro {told['version']}"}
