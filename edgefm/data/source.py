"""Where a run's data come from, kept with the run so that every later command finds the same samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core import artefacts, manifest, trust
from edgefm.core.documents import read_json
from edgefm.core.errors import DataError, RunError
from edgefm.core.named_function import trust_function
from edgefm.core.progress import SILENT, Progress
from edgefm.core.runs import RunDirectory, Step
from edgefm.core.text import command
from edgefm.data.dataset import Dataset, resized
from edgefm.data.head import ModelHead
from edgefm.data.quality import Quality

if TYPE_CHECKING:
    from edgefm.data.own.image_folders import Sizes

FASHION_MNIST = "fashion-mnist"
FILE_NAME = "source.json"


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """How a data set was given.

    Attributes:
      where: 'fashion-mnist', or what `edgefm.data.own.load.load_data` takes: a .npz, a folder, TFRecord files or
        'module:function'.
      spec: of TFRecord files.
      task: 'classification', 'multilabel', 'regression' or 'reconstruction'; None leaves it to the data.
      labels: class names; None leaves them to the data.
      quality: name of the quality measure; None takes the task's own.
      trust: read a .npz that holds Python objects, which may run code.
      resize: give uint8 pictures that are no files the size and the channels of the model, as those in folders get
        them; without it, others than the model's are refused.
      flippable: whether a mirrored picture is one of the same class; None leaves it to the data.
      said_in: file that this was read from; None where the user says it now. What a file says allows no code to run:
        the user must have, see `edgefm.core.trust`.
    """

    where: str = FASHION_MNIST
    spec: str | None = None
    task: str | None = None
    labels: tuple[str, ...] | None = None
    quality: str | None = None
    trust: bool = False
    resize: bool = False
    flippable: bool | None = None
    said_in: Path | None = field(default=None, compare=False)

    def load(
        self,
        input_shape: tuple[int, ...] | None,
        *,
        head: ModelHead | None = None,
        data_dir: Path | None = None,
        progress: Progress = SILENT,
    ) -> Dataset:
        """Return the data set, its pictures of `input_shape` [height, width, channels].

        What its labels are for may depend on the `head` of the model that it is for.

        Raises:
          DataError: it cannot be read, or does not fit the shape.
        """
        dataset = self._loaded(None if self.resize else input_shape, head, data_dir, progress)
        if self.resize and input_shape is not None and len(input_shape) == 3:
            height, width, channels = input_shape
            dataset = resized(dataset, (height, width, channels))
        return dataset if self.flippable is None else replace(dataset, flippable=self.flippable)

    def _loaded(
        self, input_shape: tuple[int, ...] | None, head: ModelHead | None, data_dir: Path | None, progress: Progress
    ) -> Dataset:
        if self.where == FASHION_MNIST:
            from edgefm.data.reference.fashion_mnist import load_fashion_mnist

            return load_fashion_mnist(data_dir, progress=progress)
        from edgefm.data.own.load import load_data

        return load_data(
            self.where,
            input_shape=input_shape,
            task=self.task,
            spec=self._spec,
            labels=self.labels,
            head=head,
            trust=self.trust and (self.said_in is None or self._is_trusted()),
            named_in=self.said_in,
            progress=progress,
        )

    def holds_pictures(self) -> bool:
        """Return whether the data are encoded pictures, in folders or TFRecords, which `load` gives any size.

        Raises:
          DataError: TFRecords without a spec, or with a wrong one.
        """
        from edgefm.data.own.load import holds_pictures

        return self.where != FASHION_MNIST and holds_pictures(self._place, spec=self._spec)

    def sizes(self, progress: Progress = SILENT) -> Sizes:
        """Return the sizes of encoded pictures, see `holds_pictures`.

        Raises:
          DataError: there is no picture that can be read.
        """
        from edgefm.data.own.load import sizes

        return sizes(self._place, spec=self._spec, progress=progress)

    @property
    def _place(self) -> Path:
        return Path(self.where).expanduser()

    @property
    def _spec(self) -> Path | None:
        return Path(self.spec) if self.spec else None

    def measure(self, dataset: Dataset) -> Quality:
        """Return the quality measure of a data set."""
        from edgefm.data.quality import DEFAULTS, quality

        return quality(self.quality or DEFAULTS[dataset.task], task=dataset.task, named_in=self.said_in)

    def functions(self) -> tuple[str, ...]:
        """Return the functions that it names, as 'module:function'."""
        from edgefm.data.own.load import is_function

        quality = (self.quality,) if self.quality is not None and ":" in self.quality else ()
        return (*((self.where,) if is_function(self.where) else ()), *quality)

    def trust_code(self) -> tuple[str, ...]:
        """Put on the user's list what runs code when these data are read, and return what that is."""
        for function in self.functions():
            trust_function(function)
        if not self.trust or not Path(self.where).is_file():
            return self.functions()
        trust.remember(artefacts.sha256_file(Path(self.where)), f"data {self.where}")
        return (*self.functions(), self.where)

    def _is_trusted(self) -> bool:
        path = Path(self.where)
        return path.is_file() and trust.is_trusted(artefacts.sha256_file(path))

    def to_json(self) -> dict[str, Any]:
        """Return how the data were given as a JSON object; without what older versions had not, where not said."""
        value = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.compare}
        for name, nothing in (("resize", False), ("flippable", None)):
            if value[name] is nothing:
                del value[name]
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, said_in: Path) -> DataSource:
        """Return what `to_json` wrote into a file."""
        labels = value.get("labels")
        return cls(**{**value, "labels": tuple(labels) if labels is not None else None, "said_in": said_in})


def data_source_of(run: RunDirectory) -> DataSource | None:
    """Return where a run's data come from, or None for a model that was imported without data.

    Raises:
      RunError: what the run says of it is damaged.
    """
    brought, trained = run.last("import"), run.last("train")
    if brought is None:
        given = trained.summary.get("data") if trained is not None else None
        return DataSource() if given is None else DataSource.from_json(given, said_in=run.path / manifest.FILE_NAME)
    folder = run.folder(brought)
    value = about_model(folder)["data"]
    return None if value is None else DataSource.from_json(value, said_in=folder / FILE_NAME)


def about_model(folder: Path) -> dict[str, Any]:
    """Return what an import step says of the model that was brought: the content of its source.json.

    Raises:
      RunError: it is missing or damaged.
    """
    about: dict[str, Any] = read_json(
        folder / FILE_NAME,
        what="description of a model",
        error=RunError,
        hint="Import the model again, into a new run.",
        schema="source-1",
    )
    return about


def dataset_of(
    run: RunDirectory, *, data_dir: Path | None = None, anew: bool = False, progress: Progress = SILENT
) -> Dataset:
    """Return the data set of a run.

    Args:
      run: with a training, or a model that was brought.
      data_dir: folder of the Fashion-MNIST files.
      anew: nothing that was made of a brought model is looked at: its data may be others than then.
      progress: receives progress.
    Raises:
      DataError: the model was imported without data, they cannot be read any more, or they are others than those that
        the run's training had, or the files of a brought model.
    """
    source = data_source_of(run)
    if source is None:
        raise DataError(
            f"the model of run {run.path} was imported without data",
            hint="Import it again: quantize the model with data.",
        )
    brought, trained = run.last("import"), run.last("train")
    origin = brought or trained
    shape = origin.summary.get("input_shape") if origin is not None else None
    shape = None if shape is None else tuple(shape)
    head = origin.summary.get("head") if origin is not None else None
    head = None if head is None else ModelHead.from_json(head)
    dataset = source.load(shape, head=head, data_dir=data_dir, progress=progress)
    learnt = trained if brought is None else None if anew else run.last("quantize")
    if learnt is not None and learnt.inputs.get("dataset", dataset.sha256) != dataset.sha256:
        raise _changed(run, learnt, source, dataset)
    return dataset


def _changed(run: RunDirectory, learnt: Step, source: DataSource, dataset: Dataset) -> DataError:
    """Return the error for other samples than a step had, or others in a split: what was learnt may be tested on."""
    counts = {split.name: len(split) for split in dataset.splits}
    before = {name: learnt.summary.get("dataset", {}).get(name) for name in counts}
    now = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    if None in before.values() or before == counts:
        told = f"the pixels, labels or order of its samples ({now}) are not the same"
    else:
        told = f"it had {', '.join(f'{count:,} {name}' for name, count in before.items())} samples; now it has {now}"
    again = " A function must return the same samples in the same order each time." if source.functions() else ""
    if learnt.kind == "train":
        return DataError(
            f"{source.where} has changed since the model of run {run.path} was trained on it: {told}",
            hint="Samples that the model learnt may now be among those that it is tested on. Bring the data back as "
            f"they were, or train into a new run.{again} For data that the model has not seen, quantize its file, "
            f"{run.folder(learnt) / 'model.keras'}, with them.",
        )
    return DataError(
        f"{source.where} has changed since the files of run {run.path} were made with it: {told}",
        hint="Samples that the files were tuned or calibrated on may now be among those that they are tested on. Bring "
        f"the data back as they were, or make the files anew: {command('edgefm', 'quantize', run.path)}{again}",
    )
