"""What a bundle is written from: the file that is meant, its contract, its golden vectors, what is known of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edgefm
from edgefm.core import artefacts, manifest
from edgefm.core.arguments import PathLike, as_path
from edgefm.core.errors import EdgefmError, ModelError, RunError, unknown_name
from edgefm.core.progress import Progress
from edgefm.core.runs import RunDirectory
from edgefm.jobs.inspect import tflite_in
from edgefm.jobs.quantize import TfliteFile
from edgefm.tflite import contract as contracts

if TYPE_CHECKING:
    from edgefm.agreement.inputs import MatrixInputs
    from edgefm.data.dataset import Dataset
    from edgefm_converters.bundles.parts import BundleParts

MICROCONTROLLER = ("c",)
_RANDOM = "no data were given"


def model_meant(
    model: PathLike | TfliteFile, kind: str, variant: str | None
) -> tuple[RunDirectory | None, Path, str | None]:
    """Return the run, where one is meant, the model's file and its variant."""
    from edgefm.comparison.shipping.of_run import DEFAULT_VARIANT, run_verdict
    from edgefm.comparison.shipping.verdict import MICROCONTROLLERS, PHONES
    from edgefm.core.documents import inside

    path = model.path if isinstance(model, TfliteFile) else as_path(model, "model")
    if isinstance(model, TfliteFile) or not (path / manifest.FILE_NAME).is_file():
        if variant is not None:
            raise unknown_name("variant of a single file", variant, ())
        return None, tflite_in(path), None
    run = RunDirectory.open(path)
    folder = run.folder(run.require("quantize"))
    known = sorted(file.parent.name for file in folder.glob("*/model.tflite"))
    if variant is None:
        verdict = run_verdict(run)
        need = MICROCONTROLLERS if kind in MICROCONTROLLER else PHONES
        choice = None if verdict is None else next(one for one in verdict.choices if one.target == need)
        fallback = DEFAULT_VARIANT if verdict is None or kind in MICROCONTROLLER else verdict.fallback
        variant = choice.file if choice is not None and choice.file is not None else fallback or DEFAULT_VARIANT
    if variant not in known:
        raise unknown_name("variant of this run", variant, known)
    return run, inside(folder, f"{variant}/model.tflite", where=run.path, error=RunError), variant


def parts_of(
    run: RunDirectory | None,
    path: Path,
    kind: str,
    *,
    data: Any,
    labels: Sequence[str] | None,
    mean: float | None,
    std: float | None,
    pictures: Mapping[str, Any],
    samples: int,
    seed: int,
    progress: Progress,
) -> BundleParts:
    """Return all that the bundle is written from."""
    from edgefm.agreement import arithmetic
    from edgefm.agreement.inputs import from_chance, from_data
    from edgefm.benchmarking import feeding
    from edgefm.benchmarking.step import sample_task
    from edgefm.data.source import data_source_of, dataset_of
    from edgefm.jobs.arguments import dataset_and_quality
    from edgefm.jobs.export.card import model_card, notice
    from edgefm.jobs.export.facts import measured
    from edgefm.jobs.export.golden import golden_vectors
    from edgefm.jobs.export.web_runtime import web_runtime
    from edgefm.runtimes.picture_answer import rechosen
    from edgefm.tflite.inspection import inspect, operator_names
    from edgefm_converters.bundles.head import check_input, fields
    from edgefm_converters.bundles.parts import MODEL_FILE, BundleParts

    ends = arithmetic.ends(inspect(path))
    web = web_runtime(path) if kind == "web" else None
    shape = ends.source.shape[1:]
    dataset: Dataset | None
    if data is None and run is not None and data_source_of(run) is not None:
        dataset = dataset_of(run, progress=progress)
    else:
        dataset, _ = dataset_and_quality(
            data, input_shape=shape, task=sample_task([path]) if data is not None else None, progress=progress
        )
    names = tuple(labels) if labels is not None else () if dataset is None else dataset.labels
    written = contracts.read(path)
    contract = written or feeding.contract_for(
        path,
        source=ends.source,
        sinks=ends.sinks,
        labels=names,
        task="classification" if dataset is None else dataset.task,
        pixels=len(shape) == 3 if dataset is None else dataset.train.images.dtype.name == "uint8",
        mean=mean,
        std=std,
    )
    if isinstance(contract, str):
        raise ModelError(
            f"{path} has no {contracts.FILE_NAME} beside it, and how it is fed is not known: {contract}",
            hint="Give mean and std, or labels; edgefm quantize writes a contract beside each file.",
        )
    check_input(contract)
    fields(contract)
    before, contract = contract, rechosen(contract, **pictures)
    reordered = before.blue_first != contract.blue_first
    content = path.read_bytes()
    # One that was made up for a file without a contract does not know the sum of its content.
    contract = dataclasses.replace(contract, file=MODEL_FILE, sha256=artefacts.sha256_bytes(content))
    if dataset is None:
        inputs = from_chance(path, ends=ends, samples=samples, seed=seed, reason=_RANDOM)
    else:
        inputs = from_data(path, dataset, ends=ends, samples=samples, seed=seed, mean=mean, std=std)
        if reordered and dataset.train.images.dtype.name == "uint8":
            inputs = dataclasses.replace(inputs, values=inputs.values[..., ::-1].copy())
    golden = golden_vectors(path, contract, inputs, ends, progress)
    arena, reason = _arena(path, inputs) if kind in MICROCONTROLLER else (None, "it was not asked for")
    card = model_card(
        contract,
        measured=measured(run, contract),
        golden=golden,
        use=writer(kind).USE,
        version=edgefm.__version__,
    )
    return BundleParts(
        contract=contract,
        model=content,
        golden=golden,
        card=card,
        notice=notice(contract),
        operators=operator_names(path),
        arena_bytes=arena,
        arena_reason=reason,
        version=edgefm.__version__,
        web=web,
    )


def _arena(path: Path, inputs: MatrixInputs) -> tuple[int | None, str]:
    """Return what TensorFlow Lite Micro takes of its arena for a model, and why that is not known."""
    from edgefm import targets
    from edgefm.targets.raw_outputs import raw_outputs

    loaded: dict[str, Any] = {}
    try:
        raw_outputs(path, inputs.values[:1], runtime="tflm", target=targets.target("host"), on_loaded=loaded.update)
    except EdgefmError as error:
        return None, error.message
    return int(loaded["facts"]["arena_bytes"]), ""


def writer(kind: str) -> Any:
    """Return the module that writes bundles of a kind."""
    from edgefm_converters.bundles import for_android, for_c, for_python, for_web

    return {"android": for_android, "c": for_c, "python": for_python, "web": for_web}[kind]
