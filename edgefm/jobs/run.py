"""`edgefm.Run`: the main job in a folder: each step written whole, found again, resumed after a stop."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core import html
from edgefm.core.arguments import PathLike, as_path, check_type
from edgefm.core.errors import RecipeError
from edgefm.core.progress import Progress, shown
from edgefm.core.runs import DEFAULT_ROOT, RunDirectory, Step
from edgefm.jobs.arguments import pair_of_numbers
from edgefm.jobs.benchmark import BenchmarkRecord, benchmark_protocol
from edgefm.jobs.quantize import QuantizationResult, quantization_recipe
from edgefm.jobs.train import TrainingResult, training_recipe
from edgefm.recipes import BenchmarkProtocol, Quantization, Training

if TYPE_CHECKING:
    from edgefm.data.source import DataSource
    from edgefm.recipes import Variant

_MANIFEST = "manifest.json"


class Run:
    """A run folder: `edgefm.Run("runs/demo")` opens one, or makes one when it is first written to.

    Its methods do what the functions of `edgefm` do, with the results kept in the folder.
    """

    def __init__(self, path: PathLike) -> None:
        """Name a run's folder; nothing is written yet.

        Raises:
          ArgumentError: it is no path.
          RecipeError: it is a file.
        """
        self._path = as_path(path, "path")
        self._to_be_named = False
        if self._path.is_file():
            raise RecipeError(f"{self._path} is a file, not the folder of a run")

    @classmethod
    def latest(cls, root: PathLike = DEFAULT_ROOT) -> Run:
        """Return the run below a folder that changed last.

        Raises:
          RunError: there is none.
        """
        return cls(RunDirectory.latest(as_path(root, "root")).path)

    @classmethod
    def new(cls, name: str, root: PathLike = DEFAULT_ROOT) -> Run:
        """Return a run that will be called `<UTC time>-<name>`; its folder is made when it is first written to."""
        run = cls(as_path(root, "root") / name)
        run._to_be_named = True
        return run

    @classmethod
    def bring(
        cls,
        model: PathLike,
        path: PathLike | None = None,
        *,
        data: DataSource | PathLike | None = None,
        labels: Sequence[str] | None = None,
        value_range: Sequence[float] | None = None,
        calibration_data: PathLike | None = None,
        trust: bool = False,
        progress: Progress | bool | None = None,
    ) -> Run:
        """Return a run that holds a copy of a model of your own.

        Args:
          model: .keras, .h5, SavedModel folder, or float .tflite.
          path: of the run; by default `runs/<model>`.
          data: where its data come from: a path, 'module:function' or an `edgefm.data.DataSource`.
          labels: class names; by default those of the data.
          value_range: least and greatest input for pixels 0 to 255; by default (0, 255).
          calibration_data: .npz with `images`, for a model without `data`.
          trust: run code that the model file holds.
          progress: True, False, None (bars in a terminal and a notebook) or a receiver.
        Raises:
          ModelError, DataError, RunError: see `edgefm.quantization.bring.bring_model`.
        """
        from edgefm.quantization.bring import bring_model

        file = as_path(model, "model")
        with shown(progress) as receiver:
            directory = bring_model(
                DEFAULT_ROOT / file.stem if path is None else as_path(path, "path"),
                file,
                data=_data_source(data),
                labels=None if labels is None else tuple(labels),
                value_range=pair_of_numbers(value_range, "value_range"),
                calibration_data=None if calibration_data is None else as_path(calibration_data, "calibration_data"),
                trust=trust,
                progress=receiver,
            )
        return cls(directory.path)

    @property
    def path(self) -> Path:
        """Folder of the run."""
        return self._path

    @property
    def steps(self) -> tuple[Step, ...]:
        """The finished steps, oldest first.

        Raises:
          RunError: there is no run here yet, or its manifest is damaged.
        """
        return self._open().steps()

    def train(
        self,
        recipe: Training | str | None = None,
        *,
        data: DataSource | PathLike | None = None,
        backend: str | None = None,
        precision: str | None = None,
        resume: bool = False,
        data_dir: PathLike | None = None,
        progress: Progress | bool | None = None,
    ) -> TrainingResult:
        """Train a zoo model into this run, unless the same training is already there.

        Args:
          recipe: what to train and how; a `Training` or the name of a preset. With `resume` that of
            the stopped training.
          data: where its data come from: a path, 'module:function' or an `edgefm.data.DataSource`; by default
            Fashion-MNIST. The run remembers it. With `resume` that of the stopped training.
          backend: 'tensorflow', 'jax' or 'torch'; by default KERAS_BACKEND, else the first one installed.
          precision: 'float32' (the default), 'mixed_bfloat16' or 'mixed_float16'.
          resume: go on with the stopped training of this run.
          data_dir: folder of the Fashion-MNIST files.
          progress: True, False, None (bars in a terminal and a notebook) or a receiver.
        Raises:
          RunError: the run is in use, or holds a stopped attempt that `resume` does not ask for.
          RecipeError, DataError, TrainingDivergedError: see `edgefm.train`.
        """
        from edgefm import zoo
        from edgefm.data.checks import check_fit
        from edgefm.data.source import FASHION_MNIST, DataSource
        from edgefm.keras_graph.backend import find_backend
        from edgefm.report.drawing.curves import draw_curves
        from edgefm.training.step import stopped_training, train_run

        chosen = None if recipe is None else training_recipe(recipe)
        source = _data_source(data)
        if resume:
            stopped = stopped_training(self._open())
            stopped.check(recipe=chosen, backend=backend, precision=precision, source=source)
            chosen, backend, precision = stopped.recipe, stopped.backend, stopped.precision
            source = stopped.source
        chosen, precision = chosen or Training(), precision or "float32"
        zoo.check_options(chosen.model, chosen.model_options)
        find_backend(backend, precision)
        with shown(progress) as receiver:
            architecture = zoo.architecture(chosen.model)
            shape = architecture.input_shape
            source = source or DataSource()
            dataset = source.load(shape, data_dir=_folder(data_dir), progress=receiver)
            check_fit(dataset, input_shape=shape, value_range=(0.0, 255.0), classes=architecture.classes)
            step = train_run(
                self._open_or_create(),
                dataset,
                recipe=chosen,
                draw=draw_curves,
                backend=backend,
                precision=precision,
                resume=resume,
                source=None if source.where == FASHION_MNIST else source,
                progress=receiver,
            )
        return self._training(step)

    @property
    def training(self) -> TrainingResult:
        """The newest training.

        Raises:
          RunError: there is none.
        """
        return self._training(self._open().require("train"))

    def _training(self, step: Step) -> TrainingResult:
        from edgefm.training.files import HISTORY_FILE, MODEL_FILE

        folder = self.path / step.name
        history = json.loads((folder / HISTORY_FILE).read_text(encoding="utf-8"))
        return TrainingResult(
            recipe=Training.from_json(step.recipe),
            history=tuple(history["epochs"]),
            verdict=history["verdict"],
            device=history["device"],
            file=folder / MODEL_FILE,
            _load=functools.cache(lambda: _load_keras(folder / MODEL_FILE)),
        )

    def quantize(
        self,
        variants: str | Variant | Sequence[str | Variant] | None = None,
        *,
        recipe: Quantization | PathLike | None = None,
        quick: bool = False,
        calibration_images: int | None = None,
        seed: int | None = None,
        fold: bool = True,
        data_dir: PathLike | None = None,
        progress: Progress | bool | None = None,
    ) -> QuantizationResult:
        """Write the TFLite files of this run's model, unless they are already there; see `edgefm.quantize`.

        Args:
          variants: see `edgefm.quantize`.
          recipe: see `edgefm.quantize`.
          quick: see `edgefm.quantize`.
          calibration_images: see `edgefm.quantize`.
          seed: see `edgefm.quantize`.
          fold: see `edgefm.quantize`.
          data_dir: folder of the Fashion-MNIST files.
          progress: True, False, None (bars in a terminal and a notebook) or a receiver.
        """
        from edgefm.quantization.step import quantize_run

        chosen = quantization_recipe(
            variants, recipe=recipe, quick=quick, calibration_images=calibration_images, seed=seed, fold=fold
        )
        directory = self._open()
        with shown(progress) as receiver:
            step = quantize_run(
                directory, recipe=chosen, skip=variants is None, data_dir=_folder(data_dir), progress=receiver
            )
        return QuantizationResult.open(directory.folder(step))

    @property
    def files(self) -> QuantizationResult:
        """The newest TFLite files.

        Raises:
          RunError: there are none.
        """
        directory = self._open()
        return QuantizationResult.open(directory.folder(directory.require("quantize")))

    def benchmark(
        self,
        *,
        target: str = "host",
        runtime: str = "",
        threads: int = 1,
        rounds: int | None = None,
        rounds_at_most: int | None = None,
        budget_seconds: float | None = None,
        protocol: BenchmarkProtocol | None = None,
        data_dir: PathLike | None = None,
        progress: Progress | bool | None = None,
    ) -> BenchmarkRecord:
        """Measure the newest TFLite files of this run on its data; see `edgefm.benchmark`."""
        from edgefm.benchmarking.step import benchmark_run

        directory = self._open()
        chosen = benchmark_protocol(
            protocol,
            target=target,
            runtime=runtime,
            threads=threads,
            rounds=rounds,
            rounds_at_most=rounds_at_most,
            budget_seconds=budget_seconds,
        )
        with shown(progress) as receiver:
            step, _ = benchmark_run(directory, protocol=chosen, data_dir=_folder(data_dir), progress=receiver)
        return BenchmarkRecord.open(directory.folder(step))

    @property
    def record(self) -> BenchmarkRecord:
        """The newest benchmark record.

        Raises:
          RunError: there is none.
        """
        return BenchmarkRecord.open(self.path)

    def report(
        self,
        *,
        out: PathLike | None = None,
        data_dir: PathLike | None = None,
        progress: Progress | bool | None = None,
    ) -> Path:
        """Write the report of this run and return the path of its HTML page; see `edgefm.report.write`."""
        from edgefm.report import write

        with shown(progress) as receiver:
            return write(self._open(), out=_folder(out), data_dir=_folder(data_dir), progress=receiver)

    def assets(self, out: PathLike, *, variant: str = "int8_w8a8") -> list[Path]:
        """Write a variant's model, contract, labels and README for an app to embed; return the paths."""
        from edgefm.quantization.assets import write_assets

        check_type(variant, "variant", str, "the name of a variant")
        return list(write_assets(self._open(), as_path(out, "out"), variant=variant))

    def __repr__(self) -> str:
        return f"Run({str(self._path)!r})"

    def _repr_html_(self) -> str:
        """Show the report where there is one, else what has been done."""
        from edgefm.report import FOLDER, PAGE

        page = self.path / FOLDER / PAGE
        if page.is_file():
            return html.page(page.read_text(encoding="utf-8"), title=f"report of {self.path.name}")
        if not (self.path / _MANIFEST).exists():
            return html.paragraph(f"{self.path}: nothing yet")
        rows = [[step.name, step.created, f"{step.seconds:.1f} s"] for step in self.steps]
        return html.table(rows, ["step", "finished", "took"], caption=str(self.path))

    def _open(self) -> RunDirectory:
        return RunDirectory.open(self._path)

    def _open_or_create(self) -> RunDirectory:
        if self._to_be_named:
            self._path = RunDirectory.create(self._path.name, root=self._path.parent).path
            self._to_be_named = False
        known = (self._path / _MANIFEST).exists()
        return self._open() if known else RunDirectory.create_at(self._path)


def _folder(path: PathLike | None) -> Path | None:
    return None if path is None else as_path(path, "a folder")


def _data_source(data: DataSource | PathLike | None) -> DataSource | None:
    """Return where data come from; an existing path whole, so that the run finds it from another folder, too."""
    from edgefm.data.source import DataSource

    if data is None or isinstance(data, DataSource):
        return data
    path = as_path(data, "data")
    return DataSource(where=str(path.resolve()) if path.exists() else str(path))


def _load_keras(path: Path) -> Any:
    import keras

    return keras.saving.load_model(path)
