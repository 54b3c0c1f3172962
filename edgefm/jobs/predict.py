"""Classifying picture files with a model file and its contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

import edgefm
from edgefm.comparison.shipping.of_run import default_variant, run_verdict
from edgefm.core import html, manifest
from edgefm.core.arguments import PathLike, as_path, as_paths, check_number
from edgefm.core.documents import inside
from edgefm.core.errors import DataError, ModelError, RecipeError, RunError
from edgefm.core.picture_steps import ChannelOrder, Filter, Fit
from edgefm.core.progress import Progress, shown
from edgefm.core.results import JsonResult
from edgefm.core.runs import DEFAULT_ROOT, RunDirectory
from edgefm.core.text import command
from edgefm.data.own.image_folders import SUFFIXES
from edgefm.data.picture_file import Invert
from edgefm.jobs.export.models import is_bundle
from edgefm.jobs.inspect import tflite_in
from edgefm.jobs.quantize import TfliteFile
from edgefm.tflite import contract as contracts
from edgefm.tflite.contract import Contract
from edgefm.tflite.contract_fit import check_fit

_TOP = 3
# A small int8 model of Fashion-MNIST, so that there is one right after installing; `make assets` writes it.
SHIPPED_MODEL = Path(edgefm.__file__).parent / "shipped_model" / "model.tflite"


@dataclass(frozen=True, kw_only=True)
class Score:
    """A class with its probability, 0 to 1."""

    label: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says of a picture.

    Attributes:
      picture: the file.
      top: the most probable classes, best first.
      inverted: whether the picture's brightness was inverted first, because its background is light.
      unlike: by which measures it is unlike the data, 'distance', 'entropy'; () where it is like them, or where no
        `unlike.json` beside the model, as in a bundle for browsers, says from where on it is not.
    """

    picture: Path
    top: tuple[Score, ...]
    inverted: bool
    unlike: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the prediction as a JSON object."""
        return {**asdict(self), "picture": str(self.picture), "unlike": list(self.unlike)}


@dataclass(frozen=True, kw_only=True)
class Predictions(JsonResult, Sequence[Prediction]):
    """What a model says of some pictures, in the order given; `len`, iteration and `[index]` work as on a tuple.

    Attributes:
      model: the file.
      items: one prediction a picture.
    """

    model: Path
    items: tuple[Prediction, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the predictions as a JSON object."""
        return {"model": str(self.model), "predictions": [item.to_json() for item in self.items]}

    @overload
    def __getitem__(self, index: int) -> Prediction: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Prediction]: ...

    def __getitem__(self, index: int | slice) -> Prediction | Sequence[Prediction]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def _repr_html_(self) -> str:
        rows = [
            [item.picture, *(f"{score.label} {100 * score.probability:.1f} %" for score in item.top)]
            for item in self.items
        ]
        places = range(1, 1 + max((len(item.top) for item in self.items), default=0))
        return html.table(rows, ["picture", *(f"{place}." for place in places)], caption=str(self.model))


def predict(
    pictures: PathLike | Sequence[PathLike],
    *,
    model: PathLike | TfliteFile | None = None,
    top: int | None = None,
    invert: Invert = "auto",
    fit: Fit | None = None,
    filter: Filter | None = None,
    channel_order: ChannelOrder | None = None,
    background: int | None = None,
    progress: Progress | bool | None = None,
) -> Predictions:
    """Return the most probable classes of each picture, in the order given; of several labels each has its own.

    Args:
      pictures: one file or folder, or several; a folder stands for the pictures in it and in its folders, by name. See
        `edgefm.data.picture_file.read_picture` for how they are read.
      model: .tflite file with its contract.json beside it, a folder that holds both, or a run; by default the latest
        run, else the small one of Fashion-MNIST that comes with edgefm. Of a run, the file is the one that the verdict
        on its newest benchmark recommends for phones, its reference where none is recommended, and int8_w8a8 without
        a benchmark.
      top: number of classes a picture, 1 to the number of labels; by default three, or all where there are fewer.
      invert: 'yes', 'no', or 'auto', as the contract says: for a model that was trained on bright things on a dark
        background, pictures on a light one; for another model, none.
      fit: 'stretch', 'contain' or 'cover', in the place of what the contract says; see
        `edgefm.core.picture_steps.PictureSteps`.
      filter: 'nearest', 'box', 'bilinear', 'bicubic' or 'lanczos', in the place of what the contract says.
      channel_order: 'rgb' or 'bgr', in the place of what the contract says.
      background: level around a picture that is contained, 0 to 255, in the place of what the contract says.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type.
      ModelError: no model, no contract, or a contract of another file.
      DataError: a picture is missing or damaged, or a folder holds none; nothing is predicted then.
      RecipeError: `top`, `invert`, `fit`, `filter` or `channel_order` is not allowed.
      RuntimeUnavailableError: LiteRT or Pillow is not installed.
    """
    from edgefm.runtimes import apart, picture_answer
    from edgefm_converters.bundles.unlike import read_unlike

    paths, model = _files(as_paths(pictures, "pictures")), model_file(model)
    check_number(top, "top", int)

    contract = picture_answer.rechosen(
        _contract(model), fit=fit, filter=filter, channel_order=channel_order, background=background
    )
    unlike = read_unlike(model.parent)
    if top is None:
        top = min(_TOP, len(contract.labels))
    if not 1 <= top <= len(contract.labels):
        most = len(contract.labels)
        raise RecipeError(f"top {top} is not allowed: {model} has {most} classes; 1 to {most} is expected")
    predictions = []
    with shown(progress) as receiver, apart.load(model) as session:
        check_fit(contract, session.input, session.outputs)  # before a picture gets the size that it says
        for place, path in enumerate(paths):
            receiver.step("pictures", place, len(paths))
            picture = picture_answer.read(path, contract, invert=invert)
            decoded = picture_answer.answer(session, contract, picture).outputs[0].reshape(1, -1)
            probabilities: NDArray[np.float32] = contract.probabilities(decoded)[0]
            if probabilities.size == 1 and len(contract.labels) == 2:  # that of the second of two classes
                probabilities = np.array([1 - probabilities[0], probabilities[0]], np.float32)
            if probabilities.size != len(contract.labels):
                raise ModelError(
                    f"{model} gives {probabilities.size:,} scores; its contract names {len(contract.labels):,} classes",
                    hint="Write it again with: edgefm quantize",
                )
            best = np.argsort(-probabilities, kind="stable")[:top]
            scores = tuple(
                Score(label=contract.labels[index], probability=float(probabilities[index])) for index in best
            )
            measures = () if unlike is None else unlike.measures(contract.sha256, picture.pixels, probabilities)
            predictions.append(Prediction(picture=path, top=scores, inverted=picture.inverted, unlike=measures))
        receiver.step("pictures", len(paths), len(paths))
    return Predictions(model=model, items=tuple(predictions))


def _files(paths: Sequence[Path]) -> list[Path]:
    """Return files, with those in folders in the place of the folders.

    Raises:
      DataError: a folder holds no picture.
    """
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        found = sorted(entry for entry in path.rglob("*") if entry.suffix.lower() in SUFFIXES and entry.is_file())
        if not found:
            raise DataError(f"the folder {path} holds no pictures", hint=f"Allowed: {', '.join(SUFFIXES)}.")
        files += found
    return files


def model_file(model: PathLike | TfliteFile | None) -> Path:
    """Return the file that an argument `model` means; see `predict`."""
    if model is None:
        return default_model()
    if isinstance(model, TfliteFile):
        return model.path
    path = as_path(model, "model")
    is_run = (path / manifest.FILE_NAME).is_file() and not is_bundle(path)
    return _of_run(RunDirectory.open(path)) if is_run else tflite_in(path)


def default_model(run: Path | None = None, *, root: Path = DEFAULT_ROOT) -> Path:
    """Return the file of a run's newest quantize step that its verdict recommends, int8_w8a8 without a benchmark.

    Without a run, that of the latest run below `root`, or the one that comes with edgefm where there is no run, or
    nothing was quantized in the latest.

    Raises:
      RunError: no such run or step, or the latest run is damaged.
      ModelError: the step of the run holds no such file.
    """
    if run is not None:
        return _of_run(RunDirectory.open(run))
    if not any(root.glob(f"*/{manifest.FILE_NAME}")):
        return SHIPPED_MODEL
    try:
        latest = RunDirectory.latest(root)
        return SHIPPED_MODEL if latest.last("quantize") is None else _of_run(latest)
    except (RunError, ModelError) as error:
        hint = "" if error.hint is None else f"{error.hint} "
        raise type(error)(
            f"no model was named, and the latest run cannot be taken: {error.message}",
            hint=f"{hint}Or name another run, or a model.",
        ) from error


def _of_run(run: RunDirectory) -> Path:
    step = run.require("quantize")
    variant = default_variant(run_verdict(run))
    path = inside(run.folder(step), f"{variant}/model.tflite", where=run.path, error=RunError)
    if not path.is_file():
        listed = f"{step.name}/{variant}/model.tflite"
        if listed in {output.path for output in step.outputs}:
            raise ModelError(
                f"run {run.path} is damaged: {listed} is missing, which its manifest lists",
                hint=f"Put the file back, or quantize the run again: {command('edgefm', 'quantize', run.path)}",
            )
        raise ModelError(
            f"the step {run.folder(step)} holds no variant {variant}",
            hint=f"Give the path of a .tflite file as the model, or quantize the run with the variant {variant}.",
        )
    return path


def _contract(model: Path) -> Contract:
    from edgefm.runtimes import picture_answer

    if not model.is_file():
        raise ModelError(
            f"no model file at {model}",
            hint="Give a .tflite file, for instance one that edgefm quantize wrote.",
        )
    contract = contracts.read(model)
    if contract is None:
        raise ModelError(
            f"{model} has no {contracts.FILE_NAME} beside it, which describes its input and output",
            hint="Copy it along with the model; edgefm quantize writes one beside each file.",
        )
    if contract.task == "segmentation":
        raise ModelError(
            f"{model} gives a class for each pixel; predict names the classes of whole pictures",
            hint="edgefm export android writes code that gives the masks; measure it with: edgefm benchmark",
        )
    if not contract.labels:
        raise ModelError(
            f"{model} has no class names: its contract lists none", hint="Measure it with: edgefm benchmark"
        )
    picture_answer.picture_shape(contract)
    return contract
