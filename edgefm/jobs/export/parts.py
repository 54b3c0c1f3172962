"""What a bundle is written from: the file that is meant, its contract, its golden vectors, what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edgefm
from edgefm.core import manifest
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
    from edgefm_converters.bundles.web_runtime import WebPage

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
    beside: Sequence[PathLike] | None = None,
    served: bool = False,
    labels: Sequence[str] | None,
    mean: float | None,
    std: float | None,
    samples: int,
    seed: int,
    progress: Progress,
) -> tuple[BundleParts, tuple[tuple[str, str], ...]]:
    """Return all that the bundle is written from, and which models are left out of a page, with the reason."""
    from edgefm.agreement import arithmetic
    from edgefm.agreement.inputs import from_chance, from_data
    from edgefm.benchmarking import feeding
    from edgefm.benchmarking.step import sample_task
    from edgefm.data.source import data_source_of, dataset_of
    from edgefm.jobs.arguments import dataset_and_quality
    from edgefm.jobs.export.beside import as_shipped
    from edgefm.jobs.export.card import model_card, notice
    from edgefm.jobs.export.facts import measured
    from edgefm.jobs.export.golden import golden_vectors
    from edgefm.jobs.export.web import check_web, web_page
    from edgefm.tflite.inspection import inspect, operator_names
    from edgefm_converters.bundles.head import check_input, fields
    from edgefm_converters.bundles.parts import BundleParts

    ends = arithmetic.ends(inspect(path))
    if kind == "web":
        check_web(path)
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
    content = path.read_bytes()
    contract = as_shipped(contract, content, written=written is not None)
    if dataset is None:
        inputs = from_chance(path, ends=ends, samples=samples, seed=seed, reason=_RANDOM)
    else:
        inputs = from_data(path, dataset, ends=ends, samples=samples, seed=seed, mean=mean, std=std)
    golden = golden_vectors(path, contract, inputs, ends, progress)
    arena, reason = _arena(path, inputs) if kind in MICROCONTROLLER else (None, "it was not asked for")
    web: WebPage | None = None
    left_out: tuple[tuple[str, str], ...] = ()
    if kind == "web":
        web, left_out = web_page(
            run, path, contract, golden, dataset=dataset, beside=beside, served=served, samples=samples, seed=seed,
            progress=progress,
        )  # fmt: skip
    card = model_card(
        contract,
        measured=measured(run, contract),
        golden=golden,
        unlike=None if web is None else web.unlike,
        use=writer(kind).USE,
        version=edgefm.__version__,
    )
    parts = BundleParts(
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
    return parts, left_out


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
