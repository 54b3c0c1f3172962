"""`edgefm.explain`: what a classifier confuses, how far its confidence holds, where it looks, doubtful labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core import artefacts, html, manifest, whole_folders
from edgefm.core.arguments import PathLike, as_path, check_items, check_number
from edgefm.core.errors import RecipeError
from edgefm.core.progress import Progress, shown
from edgefm.core.runs import RunDirectory
from edgefm.jobs.arguments import folder_path
from edgefm.jobs.run_folder import RunFolder

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource

FOLDER = "explain"
SAMPLES = 10_000
_LEAST_SAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What was found out about a classifier, on validation samples.

    Attributes:
      document: the content of explanation.json, see edgefm/schemas/explanation-1.schema.json. Each part has a
        `reason`: why it was left out, or None.
      files: pictures and page by name.
    """

    document: Mapping[str, Any] = field(repr=False, hash=False)
    files: Mapping[str, bytes] = field(repr=False, hash=False, compare=False)

    @classmethod
    def open(cls, folder: PathLike) -> Explanation:
        """Return the explanation in a folder, e.g. `explain` of a run.

        Raises:
          RunError: it is missing, damaged, or a newer edgefm wrote it.
        """
        from edgefm.report.content import explanation as documents

        path = as_path(folder, "folder")
        return cls(document=documents.read(path), files=documents.read_files(path))

    @property
    def accuracy(self) -> float:
        """Accuracy of the model on the validation samples, 0 to 1."""
        return float(self.document["confusion"]["accuracy"]["value"])

    @property
    def left_out(self) -> Mapping[str, str]:
        """The parts that were left out, with the reason."""
        from edgefm.report.content.explanation import PARTS

        return {name: self.document[name]["reason"] for name in PARTS if self.document[name]["reason"] is not None}

    @property
    def lines(self) -> tuple[str, ...]:
        """What was found, in words."""
        from edgefm.report.explanation.words import findings

        return tuple(findings(self.document))

    def to_json(self) -> dict[str, Any]:
        """Return the content of explanation.json."""
        return dict(self.document)

    def save(self, folder: PathLike) -> list[Path]:
        """Write explanation.json, the pictures and index.html, all or none, and return their paths."""
        from edgefm.report.content import explanation as documents

        path = folder_path(folder, "folder")
        files = {documents.FILE_NAME: artefacts.json_bytes(self.document), **self.files}
        whole_folders.write(path, files, gone=documents.ALL_FILES)
        return [path / name for name in files]

    def _repr_html_(self) -> str:
        pictures = [
            html.picture(content, alt=name.removesuffix(".png"))
            for name, content in self.files.items()
            if name.endswith(".png")
        ]
        return "".join([*map(html.paragraph, self.lines), *pictures])


def explain(
    model: Any,
    *,
    data: Dataset | DataSource | PathLike | None = None,
    variants: str | Sequence[str] | None = None,
    folds: int | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
    out: PathLike | None = None,
    labels: Sequence[str] | None = None,
    value_range: Sequence[float] | None = None,
    head: str = "auto",
    trust: bool = False,
    data_dir: PathLike | None = None,
    progress: Progress | bool | None = None,
) -> Explanation:
    """Return what a classifier confuses, how far its confidence holds, where it looks and which labels are doubtful.

    Only validation samples are looked at (with `folds` those of training, too); the test split is not touched.

    Args:
      model: an `edgefm.Run` or the path of one; or a keras.Model, the path of a model (.keras, .h5, SavedModel,
        .tflite) or a result of edgefm.train or edgefm.compress, with `data`.
      data: of a model that is in no run; see `edgefm.data`. A run has its own.
      variants: TFLite files of the run whose calibration is shown beside the model's; by default int8_w8a8.
      folds: train the run's recipe anew on so many stratified folds, and judge labels out of fold.
      samples: validation samples that are looked at, drawn at random where there are more.
      seed: of the samples, the folds and the bootstrap.
      out: folder for explanation.json, the pictures and index.html; by default `explain` in the run's folder, and
        nothing is written for a model in no run.
      labels: class names of a model in no run; by default those of the data.
      value_range: lowest and highest input value of a model in no run, for pixels 0 and 255.
      head: what the outputs of a model in no run become, see `edgefm.quantize`.
      trust: run code that the file of a model in no run contains.
      data_dir: folder of the Fashion-MNIST files.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type.
      RecipeError: a number out of range, or folds of a model that edgefm did not train, or that began with one that
        has seen their pictures.
      RunError: no such run, or one without a model.
      ModelError: the model cannot be read, is no classifier, or gives values that are not finite.
      DataError: there are no data, they have one class, or too few samples of one for the folds.
      RuntimeUnavailableError: matplotlib or jinja2 is not installed; or Keras runs on another backend than TensorFlow,
        and the model is not one that edgefm trained in a run.
    """
    for name, value in (("folds", folds), ("samples", samples), ("seed", seed)):
        check_number(value, name, int)
    if samples is None or samples < _LEAST_SAMPLES:
        raise RecipeError(f"samples {samples} is not allowed: {_LEAST_SAMPLES} or more is expected")
    if seed is None or seed < 0:
        raise RecipeError(f"seed {seed} is not allowed: 0 or more is expected")
    if folds is not None and folds < 2:
        raise RecipeError(f"folds {folds} is not allowed: 2 or more is expected")
    names = (variants,) if isinstance(variants, str) else variants
    if names is not None:
        check_items(names, "variants", str, "the name of a variant")
    folder = None if out is None else folder_path(out, "out")
    from edgefm.jobs.explain.make import explain_model, explain_run

    directory = _run(model)
    with shown(progress) as receiver:
        if directory is None:
            if folds is not None or names:
                given = "folds" if folds is not None else "variants"
                raise RecipeError(
                    f"{given} were asked for, and the model is in no run", hint="Give a run that edgefm trained."
                )
            result = Explanation(
                **explain_model(
                    model,
                    data=data,
                    samples=samples,
                    seed=seed,
                    labels=labels,
                    value_range=value_range,
                    head=head,
                    trust=trust,
                    progress=receiver,
                )
            )
        else:
            if data is not None:
                raise RecipeError("data were given beside a run, which has its own", hint="Leave them out.")
            result = Explanation(
                **explain_run(
                    directory,
                    variants=None if names is None else tuple(names),
                    folds=folds,
                    samples=samples,
                    seed=seed,
                    data_dir=None if data_dir is None else as_path(data_dir, "data_dir"),
                    progress=receiver,
                )
            )
    if folder is None and directory is not None:
        folder = directory.path / FOLDER
    if folder is not None:
        result.save(folder)
    return result


def _run(model: Any) -> RunDirectory | None:
    """Return the run that an argument `model` means, None where it means a model."""
    if isinstance(model, RunFolder):
        return RunDirectory.open(model.path)
    if isinstance(model, str) or hasattr(model, "__fspath__"):
        path = as_path(model, "model")
        if path.is_dir() and (path / manifest.FILE_NAME).is_file():
            return RunDirectory.open(path)
    return None
