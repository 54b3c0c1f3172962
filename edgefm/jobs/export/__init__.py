"""`edgefm.export`: a model with its contract, golden vectors and code for a target, as a folder that proves itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edgefm
from edgefm.core import artefacts, html, manifest
from edgefm.core.arguments import PathLike, as_path, check_items, check_number, check_type
from edgefm.core.errors import ArgumentError, EdgefmError, ModelError, RunError, unknown_name
from edgefm.core.progress import Progress, shown
from edgefm.core.results import JsonResult
from edgefm.core.runs import RunDirectory
from edgefm.jobs.inspect import tflite_in
from edgefm.jobs.quantize import TfliteFile
from edgefm.tflite import contract as contracts

if TYPE_CHECKING:
    from edgefm.agreement.inputs import MatrixInputs
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource
    from edgefm_converters.bundles.parts import BundleParts

KINDS = ("android", "c", "python")
_SAMPLES = 20
_MOST_SAMPLES = 1000
_MICROCONTROLLER = ("c",)
_RANDOM = "no data were given"


@dataclass(frozen=True, kw_only=True)
class ExportResult(JsonResult):
    """A bundle that was written.

    Attributes:
      kind: 'android', 'c' or 'python'.
      folder: that holds it.
      files: paths in it, sorted.
      size_bytes: of all files.
      variant: of the model.
      sha256: of the model file.
      golden: number of golden vectors, and where their inputs come from, 'data' or 'random'.
    """

    kind: str
    folder: Path
    files: tuple[str, ...]
    size_bytes: int
    variant: str
    sha256: str
    golden: tuple[int, str]

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return {
            **{name: getattr(self, name) for name in ("kind", "size_bytes", "variant", "sha256")},
            "folder": str(self.folder),
            "files": list(self.files),
            "golden": {"vectors": self.golden[0], "source": self.golden[1]},
        }

    def _repr_html_(self) -> str:
        rows = [[self.kind, self.folder, self.variant, len(self.files), f"{self.size_bytes / 1000:,.1f} KB"]]
        return html.table(rows, ["bundle", "folder", "variant", "files", "size"])


def export(
    model: PathLike | TfliteFile,
    kind: str,
    *,
    out: PathLike,
    variant: str | None = None,
    data: Dataset | DataSource | PathLike | None = None,
    labels: Sequence[str] | None = None,
    mean: float | None = None,
    std: float | None = None,
    samples: int = _SAMPLES,
    seed: int = 0,
    force: bool = False,
    progress: Progress | bool | None = None,
) -> ExportResult:
    """Write a bundle: the model, its contract, golden vectors, a model card and code for a target.

    The same model, data and edgefm give the same bytes. `edgefm.verify` checks a bundle.

    Args:
      model: .tflite file, a folder that holds one with its contract, or a run.
      kind: 'android' (phones), 'c' (microcontrollers) or 'python' (a Raspberry Pi, a server).
      out: folder of the bundle; it must not exist, or be empty, unless `force`.
      variant: of a run; by default the one that the verdict on its newest benchmark recommends for the target, its
        reference where none is recommended, and int8_w8a8 without a benchmark.
      data: test samples for golden inputs; by default those of the run; of a file alone, random inputs are taken.
      labels: class names for a file without a contract.
      mean: for a file without a contract: input = (pixel - mean) / std.
      std: see `mean`.
      samples: number of golden vectors, 1 to 1000.
      seed: draws them.
      force: replace a bundle that is there; nothing else is ever replaced.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type, or out of range.
      RecipeError: an unknown kind or variant.
      ModelError: the file cannot be read, or code for this target cannot be written for it.
      DataError: the data cannot be read, or do not fit.
      RunError: the run has no TFLite files, or the folder holds something else.
      RuntimeUnavailableError: jinja2 or cyclonedx-python-lib is not installed.
    """
    from edgefm_converters.bundles.manifest import FILE_NAME, with_manifest
    from edgefm_converters.bundles.parts import common_files

    if kind not in KINDS:
        raise unknown_name("kind of bundle", kind, KINDS)
    check_type(force, "force", bool, "True or False")
    check_number(samples, "samples", int)
    if not 1 <= samples <= _MOST_SAMPLES:
        raise ArgumentError(f"samples is {samples}; 1 to {_MOST_SAMPLES:,} is expected")
    check_number(seed, "seed", int)
    if labels is not None:
        check_items(labels, "labels", str, "the name of a class")
    target = as_path(out, "out")
    check_target(target, force=force, manifest_name=FILE_NAME)
    with shown(progress) as receiver:
        run, path, chosen = _model(model, kind, variant)
        parts = _parts(
            run, path, kind, data=data, labels=labels, mean=mean, std=std, samples=samples, seed=seed, progress=receiver
        )
        writer = _writer(kind)
        own = writer.files(parts)
        files = with_manifest(
            {**common_files(parts, writer.NEEDS), **own}, kind=kind, written_by=f"edgefm {parts.version}"
        )
        _write(target, files)
    return ExportResult(
        kind=kind,
        folder=target,
        files=tuple(sorted(files)),
        size_bytes=sum(len(content) for content in files.values()),
        variant=chosen or parts.contract.variant,
        sha256=parts.contract.sha256,
        golden=(len(parts.golden), str(parts.golden.source["kind"])),
    )


def check_target(target: Path, *, force: bool, manifest_name: str) -> None:
    """Raise a RunError unless a bundle may be written to a folder: a new or empty one, or with `force` a bundle."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not target.is_dir():
        raise RunError(f"{target} is a file; a folder is expected", hint="Give a new folder.")
    if not (target / manifest_name).is_file():
        raise RunError(f"{target} exists and holds something else than a bundle", hint="Give a new folder.")
    if not force:
        raise RunError(
            f"{target} holds a bundle already", hint="Give a new folder, or say that this one is to be replaced: force."
        )


def _model(
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
        need = MICROCONTROLLERS if kind in _MICROCONTROLLER else PHONES
        choice = None if verdict is None else next(one for one in verdict.choices if one.target == need)
        fallback = DEFAULT_VARIANT if verdict is None or kind in _MICROCONTROLLER else verdict.fallback
        variant = choice.file if choice is not None and choice.file is not None else fallback or DEFAULT_VARIANT
    if variant not in known:
        raise unknown_name("variant of this run", variant, known)
    return run, inside(folder, f"{variant}/model.tflite", where=run.path, error=RunError), variant


def _parts(
    run: RunDirectory | None,
    path: Path,
    kind: str,
    *,
    data: Any,
    labels: Sequence[str] | None,
    mean: float | None,
    std: float | None,
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
    from edgefm.runtimes.picture_answer import fit_of, learnt_on_dark
    from edgefm.tflite.inspection import inspect
    from edgefm_converters.bundles.head import check_input, fields
    from edgefm_converters.bundles.parts import MODEL_FILE, BundleParts

    inspection = inspect(path)
    ends = arithmetic.ends(inspection)
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
    if contract.takes_pictures:
        contract = dataclasses.replace(
            contract, dark_background=learnt_on_dark(contract), picture_fit=fit_of(contract) if written else "stretch"
        )
    contract = dataclasses.replace(contract, file=MODEL_FILE)
    if dataset is None:
        inputs = from_chance(path, ends=ends, samples=samples, seed=seed, reason=_RANDOM)
    else:
        inputs = from_data(path, dataset, ends=ends, samples=samples, seed=seed, mean=mean, std=std)
    golden = golden_vectors(path, contract, inputs, ends, progress)
    arena, reason = _arena(path, inputs) if kind in _MICROCONTROLLER else (None, "it was not asked for")
    card = model_card(
        contract,
        measured=measured(run, contract),
        golden=golden,
        use=_writer(kind).USE,
        version=edgefm.__version__,
    )
    return BundleParts(
        contract=contract,
        model=path.read_bytes(),
        golden=golden,
        card=card,
        notice=notice(contract),
        operators=tuple(sorted({operator.name for operator in inspection.operators})),
        arena_bytes=arena,
        arena_reason=reason,
        version=edgefm.__version__,
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


def _writer(kind: str) -> Any:
    from edgefm_converters.bundles import for_android, for_c, for_python

    return {"android": for_android, "c": for_c, "python": for_python}[kind]


def _write(target: Path, files: Mapping[str, bytes]) -> None:
    try:
        artefacts.exchange_folder(target, files)
    except OSError as error:
        raise EdgefmError(
            f"{target} cannot be written: {error.strerror or error}",
            hint="Choose another folder, or check that this one is writable and that the disk is not full.",
        ) from error
