"""What is written of a model into a bundle: its file, its contract, its golden vectors, what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edgefm
from edgefm.core.arguments import PathLike
from edgefm.core.errors import EdgefmError, ModelError
from edgefm.core.progress import Progress
from edgefm.jobs.export.models import MICROCONTROLLER, MeantModel
from edgefm.tflite import contract as contracts

if TYPE_CHECKING:
    from edgefm.agreement.inputs import MatrixInputs
    from edgefm.data.dataset import Dataset
    from edgefm_converters.bundles.parts import BundleParts
    from edgefm_converters.bundles.web_runtime import WebPage

PAGES = ("apk", "web")
_RANDOM = "no data were given"


def data_of(meant: MeantModel, data: Any, progress: Progress, *, task: str | None) -> Dataset | None:
    """Return the samples that golden inputs are drawn from: those given, else those of the model's run, if any."""
    from edgefm.agreement import arithmetic
    from edgefm.benchmarking.step import sample_task
    from edgefm.data.source import data_source_of, dataset_of
    from edgefm.jobs.arguments import dataset_and_quality
    from edgefm.tflite.inspection import inspect

    if data is None:
        if meant.run is None or data_source_of(meant.run) is None:
            return None
        return dataset_of(meant.run, progress=progress)
    shape = arithmetic.ends(inspect(meant.path)).source.shape[1:]
    return dataset_and_quality(data, input_shape=shape, task=sample_task([meant.path]) or task, progress=progress)[0]


def parts_of(
    meant: MeantModel,
    kind: str,
    *,
    dataset: Dataset | None,
    task: str | None,
    labels: Sequence[str] | None,
    mean: float | None,
    std: float | None,
    pictures: Mapping[str, Any],
    beside: Sequence[PathLike] | None,
    served: bool,
    samples: int,
    seed: int,
    use: str,
    progress: Progress,
) -> BundleParts:
    """Return all that is written of a model into a bundle.

    Args:
      meant: the model.
      kind: of the bundle.
      dataset: that golden inputs are drawn from; None draws random ones.
      task: see `edgefm.export`.
      labels: see there.
      mean: see there.
      std: see there.
      pictures: how pictures get in, where that is to be another way than the contract's: 'fit', 'filter', ...
      beside: see there.
      served: see there.
      samples: see there.
      seed: see there.
      use: how the bundle is used and what its files are, Markdown.
      progress: receives progress.
    """
    from edgefm.agreement import arithmetic
    from edgefm.benchmarking import feeding
    from edgefm.jobs.export.beside import as_shipped
    from edgefm.jobs.export.card import model_card, notice
    from edgefm.jobs.export.facts import learnt, measured
    from edgefm.jobs.export.golden import golden_inputs, golden_vectors
    from edgefm.jobs.export.unlike import unlike_data
    from edgefm.jobs.export.web import check_web, web_page
    from edgefm.tflite.inspection import inspect, operator_names
    from edgefm.tflite.open_batch import leaves_batch_open
    from edgefm_converters.bundles.for_c import check_operators
    from edgefm_converters.bundles.head import check_input, fields
    from edgefm_converters.bundles.parts import BundleParts

    path = meant.path
    ends = arithmetic.ends(inspect(path))
    operators = operator_names(path)
    if kind in MICROCONTROLLER:
        check_operators(operators)
    if kind in PAGES:
        check_web(path)
    shape = ends.source.shape[1:]
    names = tuple(labels) if labels is not None else () if dataset is None else dataset.labels
    written = contracts.read(path)
    if written is not None:
        _check_agreed(path, written, task=task, labels=labels, mean=mean, std=std)
    contract = written or feeding.contract_for(
        path,
        source=ends.source,
        sinks=ends.sinks,
        labels=names,
        task=task or ("classification" if dataset is None else dataset.task),
        pixels=len(shape) == 3 if dataset is None else dataset.train.images.dtype.name == "uint8",
        mean=mean,
        std=std,
    )
    if isinstance(contract, str):
        raise ModelError(
            f"{path} has no {contracts.FILE_NAME} beside it, and how it is fed is not known: {contract}",
            hint="Give mean and std, and one label for each value of the first output, or no labels; "
            "edgefm quantize writes a contract beside each file.",
        )
    if written is None:
        _check_said(path, contract, dataset)
    check_input(contract)
    fields(contract)
    content = path.read_bytes()
    before, contract = contract, as_shipped(contract, content, pictures)
    reordered = before.blue_first != contract.blue_first
    inputs = golden_inputs(
        path, ends, dataset=dataset, reordered=reordered, reason=_RANDOM, samples=samples, seed=seed, mean=mean, std=std
    )
    golden = golden_vectors(path, contract, inputs, ends, progress)
    arena, reason = _arena(path, inputs) if kind in MICROCONTROLLER else (None, "it was not asked for")
    web: WebPage | None = None
    if kind in PAGES:
        web = web_page(
            meant.run, path, contract, golden, dataset=dataset, pictures=pictures,
            beside=beside, served=served and kind == "web", samples=samples, seed=seed, progress=progress,
        )  # fmt: skip
        unlike, unlike_reason = web.unlike, web.unlike_reason
    else:
        unlike, unlike_reason = unlike_data([(path, contract)], dataset, seed=seed)
    card = model_card(
        contract,
        learnt=learnt(meant.run, dataset),
        measured=measured(meant.run, contract),
        advice=meant.advice,
        golden=golden,
        unlike=unlike,
        unlike_reason=unlike_reason,
        warns=web is not None,
        open_batch=leaves_batch_open(content),
        use=use,
        version=edgefm.__version__,
    )
    return BundleParts(
        contract=contract,
        model=content,
        golden=golden,
        card=card,
        notice=notice([golden.source.get("name")]),
        operators=operators,
        arena_bytes=arena,
        arena_reason=reason,
        version=edgefm.__version__,
        web=web,
    )


def _check_said(path: Path, contract: contracts.Contract, dataset: Dataset | None) -> None:
    """Raise a ModelError where what was said of a file without a contract fits neither its outputs nor the data."""
    if dataset is not None and contract.task != dataset.task:
        raise ModelError(
            f"the task of {path} is said to be {contract.task}; the data are for {dataset.task}",
            hint="Give the task of the data, or other data.",
        )
    values, labels = contract.output.shape[-1], len(contract.labels)
    if contract.task == "segmentation" and labels and values != labels and (values, labels) != (1, 2):
        raise ModelError(
            f"the first output of {path} has {values} values at each place; {labels} labels were given",
            hint="Give one label for each value, two for a single value, or none.",
        )


def _check_agreed(
    path: Path,
    written: contracts.Contract,
    *,
    task: str | None,
    labels: Sequence[str] | None,
    mean: float | None,
    std: float | None,
) -> None:
    said = {"task": written.task, "labels": written.labels, "mean": written.mean, "std": written.std}
    given = {"task": task, "labels": None if labels is None else tuple(labels), "mean": mean, "std": std}
    for name, value in given.items():
        if value is not None and value != said[name]:
            raise ModelError(
                f"{name} differ from those that the contract of {path} says" if name == "labels"
                else f"{name} is {value}, but the contract of {path} says {said[name]}",
                hint=f"Leave {name} out, or change the {contracts.FILE_NAME} beside the file.",
            )  # fmt: skip


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
    from edgefm_converters.bundles import for_android, for_apk, for_c, for_python, for_web

    return {"android": for_android, "apk": for_apk, "c": for_c, "python": for_python, "web": for_web}[kind]
