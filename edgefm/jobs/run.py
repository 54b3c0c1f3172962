"""`edgefm.Run`: the main job in a folder: each step written whole, found again, resumed after a stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core.arguments import PathLike, as_path, check_type
from edgefm.core.progress import Progress, shown
from edgefm.core.runs import DEFAULT_ROOT
from edgefm.jobs.arguments import data_source, folder_path, optional_path, pair_of_numbers
from edgefm.jobs.benchmark import BenchmarkRecord, benchmark_protocol
from edgefm.jobs.quantize import QuantizationResult, quantization_recipe, quick_like
from edgefm.jobs.run_folder import RunFolder
from edgefm.jobs.run_training import train_in, training_of
from edgefm.jobs.train import TrainingResult, said
from edgefm.jobs.trust import trust_run
from edgefm.recipes import BenchmarkProtocol, Quantization, Training

if TYPE_CHECKING:
    from edgefm.comparison.shipping.verdict import Verdict
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource
    from edgefm.jobs.explain import Explanation
    from edgefm.jobs.forecast import ForecastResult
    from edgefm.profiling.cost_model import CostModel
    from edgefm.recipes import Variant


class Run(RunFolder):
    """A run folder: `edgefm.Run("runs/demo")` opens one, or makes one when it is first written to.

    Its methods do what the functions of `edgefm` do, with the results kept in the folder.
    """

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
        head: str = "auto",
        trust: bool = False,
        progress: Progress | bool | None = None,
    ) -> Run:
        """Return a run that holds a copy of a model of your own.

        Args:
          model: .keras, .h5, SavedModel folder, or float .tflite.
          path: of the run; by default `runs/<model>`.
          data: where its data come from: a path, 'module:function' or an `edgefm.data.DataSource`.
          labels: class names; by default those of the data.
          value_range: lowest and highest input value of the model, for pixels 0 and 255; by default (0, 255).
          calibration_data: .npz with `images`, for a model without `data`.
          head: what the outputs become, see `edgefm.quantize`.
          trust: run code that the model file contains, e.g. Lambda layers.
          progress: True, False, None (bars in a terminal and a notebook) or a receiver.
        Raises:
          ArgumentError: an argument of another type.
          ModelError: no such model, or one that cannot be loaded.
          DataError: the data cannot be read, or do not fit the model.
          RunError: the run holds another model, or is in use.
        """
        from edgefm.quantization.bring import bring_model

        file = as_path(model, "model")
        with shown(progress) as receiver:
            directory = bring_model(
                DEFAULT_ROOT / file.stem if path is None else as_path(path, "path"),
                file,
                data=data_source(data),
                labels=None if labels is None else tuple(labels),
                value_range=pair_of_numbers(value_range, "value_range"),
                calibration_data=optional_path(calibration_data, "calibration_data"),
                head=head,
                trust=trust,
                progress=receiver,
            )
        return cls(directory.path)

    def trust(self) -> tuple[str, ...]:
        """Let the code that the run holds run for this user: Lambda layers, functions that it names, pickled arrays.

        It is put on the user's list (`edgefm.core.trust`), which is no part of the run: who is given the run decides
        anew.

        Returns:
          what was trusted, () where the run holds no code.
        Raises:
          RunError: there is no run here yet, or it is damaged.
          DataError: a function that the run names is nowhere to be found.
        """
        return trust_run(self._open())

    def train(
        self,
        recipe: Training | PathLike | None = None,
        *,
        model: str | None = None,
        data: Dataset | DataSource | PathLike | None = None,
        image_size: int | None = None,
        channels: int | None = None,
        pretrained: PathLike | None = None,
        frozen_epochs: int | None = None,
        value_range: Sequence[float] | None = None,
        trust: bool = False,
        changes: Mapping[str, Any] | None = None,
        backend: str | None = None,
        precision: str | None = None,
        resume: bool = False,
        callbacks: Sequence[Any] = (),
        tensorboard: PathLike | None = None,
        data_dir: PathLike | None = None,
        progress: Progress | bool | None = None,
    ) -> TrainingResult:
        """Train a model, of the zoo or your own, into this run, unless the same training is already there.

        With `resume` callbacks are told of the epochs that are left, as by `keras.Model.fit` with `initial_epoch`: what
        they knew is not kept. A training that is there counts as the same with callbacks of the same classes, whatever
        their settings; they are not called then.

        Args:
          recipe: how; 'quick', 'standard' (the default), 'paper', 'best' (the model's own), a file, or a `Training`.
            Of a preset, and in what a `Training` was made without, epochs and batch size suit small data, and pictures
            that are marked as not flippable are not mirrored; a file is trained as written. With `resume` that of the
            stopped training.
          model: name of an architecture, see `edgefm zoo`; 'module:function' of your own that builds a keras.Model; or
            the path of a `.keras` file, which goes on learning. By default the recipe's, 'enhanced_cnn' without one.
          data: what it learns; uint8 pictures [n, height, width, channels] with classes. A path, 'module:function', an
            `edgefm.data.DataSource`, or a Dataset, of which the run keeps a copy; by default Fashion-MNIST. The run
            remembers it. With `resume` that of the stopped training.
          image_size: side of the pictures in pixels, to which they are resized; by default the model's own, else that
            of the data.
          channels: of the pictures, 1 (grey) or 3 (colour); by default the model's own, else those of the data.
          pretrained: weights that it begins with, all but the head: a `.weights.h5`, `.h5` or `.keras` file.
          frozen_epochs: first epochs in which only what is new is trained, not what the pretrained weights hold.
          value_range: what a model of your own takes for pixels 0 and 255; by default what it is found to take.
          trust: run code that the file of a model holds (Lambda layers).
          changes: further parameters of `Training`, by name, that are other than the recipe's.
          backend: 'tensorflow', 'jax' or 'torch'; by default KERAS_BACKEND, else the first one installed. 'auto' takes
            the fastest here, by a short trial.
          precision: 'float32' (the default), 'mixed_bfloat16', 'mixed_float16', or 'auto'.
          resume: go on with the stopped training of this run.
          callbacks: of Keras; told when the training, each epoch and each validation begin and end, not of batches:
            many run in one call.
          tensorboard: folder that event files for TensorBoard are written into.
          data_dir: folder of the Fashion-MNIST files.
          progress: True, False, None (bars in a terminal and a notebook) or a receiver.
        Raises:
          ArgumentError: an argument of another type, or callbacks that cannot be served.
          RecipeError: an unknown architecture, preset or backend, a value out of range, or a size that the model does
            not take; with `resume`, anything that differs from the stopped training.
          DataError: the data cannot be read, are too few, or do not fit the model.
          ModelError: a model or weights that cannot be read, or do not fit.
          RunError: the run is in use, or holds a stopped training that `resume` does not ask for.
          TrainingDivergedError: the loss is not finite.
        """
        own = said(
            model=model,
            image_size=image_size,
            channels=channels,
            pretrained=pretrained,
            frozen_epochs=frozen_epochs,
            value_range=value_range,
        )
        check_type(trust, "trust", bool, "True or False")
        from edgefm.jobs.to_learn.held_out import remarks, seen_before
        from edgefm.keras_graph.backend import dtype_policy_kept

        with dtype_policy_kept(), shown(progress) as receiver:
            step = train_in(
                self._open_or_create,
                stopped_in=self._open() if resume else None,
                recipe=recipe,
                changes={**(changes or {}), **own},
                data=data,
                backend=backend,
                precision=precision,
                callbacks=callbacks,
                tensorboard=None if tensorboard is None else folder_path(tensorboard, "tensorboard"),
                trust=trust,
                data_dir=optional_path(data_dir, "data_dir"),
                progress=receiver,
            )
            for remark in remarks(seen_before(self._open(), step)):
                receiver.note(remark)
        return training_of(self._open(), step)

    @property
    def training(self) -> TrainingResult:
        """The newest training.

        Raises:
          RunError: there is none.
        """
        directory = self._open()
        return training_of(directory, directory.require("train"))

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
        """Write the TFLite files of this run's model, unless they are already there.

        Args:
          variants: names such as 'int8_w8a8', 'qat_int8', 'pruned80_qat_int8', or `Variant` recipes. Those that cannot
            be made are listed with the reason in the result's `skipped`; the others are written.
          recipe: instead of variants: a name (see `edgefm.recipes.names()`), a file, or a `Quantization`; by default
            'default', with fewer than 2,000 training samples of your own 'quick'.
          quick: the recipe 'quick': variants that need no training.
          calibration_images: samples that set int8 ranges, instead of the recipe's.
          seed: of calibration samples and fine-tuning, instead of the recipe's.
          fold: fold batch normalisation exactly.
          data_dir: folder of the Fashion-MNIST files.
          progress: True, False, None (bars in a terminal and a notebook) or a receiver.
        Raises:
          ArgumentError: an argument of another type.
          RecipeError: an unknown variant or recipe, or several of variants, recipe and quick.
          ModelError: the model cannot be converted, its float32 file does not answer as it does, or no variant can be
            made of it.
          DataError: the run's data cannot be read any more, or have changed since its training.
          RunError: the run has no model, or is in use.
        """
        from edgefm.quantization.step import quantize_run

        chosen = quantization_recipe(
            variants, recipe=recipe, quick=quick, calibration_images=calibration_images, seed=seed, fold=fold
        )
        directory = self._open()
        with shown(progress) as receiver:
            step = quantize_run(
                directory,
                recipe=chosen,
                few=None if variants or recipe or quick else quick_like(chosen),
                data_dir=optional_path(data_dir, "data_dir"),
                progress=receiver,
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

    def forecast(
        self,
        variants: str | Variant | Sequence[str | Variant] | None = None,
        *,
        target: str = "host",
        runtime: str = "litert",
        cost_model: CostModel | PathLike | None = None,
        data_dir: PathLike | None = None,
        progress: Progress | bool | None = None,
    ) -> ForecastResult:
        """Write what each variant of this run's model will cost and buy into forecast.json, before any training.

        Args:
          variants: names such as 'int8_w8a8', 'qat_int8', 'pruned80_qat_int8', or `Variant` recipes; by default those
            of `edgefm.quantize`, pruned90_qat_int8 and slim25_qat_int8. Those that cannot be made are listed with the
            reason.
          target: 'host', this machine; a board, e.g. 'ssh://pi@board', is forecast by a cost model of it, which
            `edgefm.cost_model` measures there.
          runtime: that will run the file.
          cost_model: an `edgefm.CostModel`, or the file of one; by default that of this machine, which is built when it
            is first needed (two minutes) and kept.
          data_dir: folder of the Fashion-MNIST files.
          progress: True, False, None (bars in a terminal and a notebook) or a receiver.
        Raises:
          ArgumentError: an argument of another type.
          RecipeError: an unknown variant, target or runtime, a target on which operators cannot be timed, or another
            one than this machine without a cost model.
          CostModelError: the cost model is missing, damaged, or of another target or runtime.
          ModelError: the model cannot be converted, or no variant can be made of it.
          DataError: the run's data cannot be read any more, or have changed since its training.
          RunError: the run has no model.
        """
        from edgefm.jobs.forecast import forecast_run, given_cost_model

        known = given_cost_model(cost_model, target=target, runtime=runtime)
        with shown(progress) as receiver:
            return forecast_run(
                self._open(),
                variants,
                known=known,
                runtime=runtime,
                data_dir=optional_path(data_dir, "data_dir"),
                progress=receiver,
            )

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
        """Measure the newest TFLite files of this run side by side, each turn in a fresh process, on its test samples.

        Args:
          target: where to measure: 'host', 'ssh://user@board', 'adb', 'browser', 'qemu-aarch64', 'cortex-m', 'vela'.
          runtime: e.g. 'litert:reference'; '' takes the target's default.
          threads: of the runtime.
          rounds: least number of rounds, 15 by default; they go on until p50 is known to 1 %.
          rounds_at_most: greatest number of rounds, 45 by default.
          budget_seconds: no round begins after this time; by default 600.
          protocol: instead of target, runtime, threads, rounds and budget_seconds: all about how it is measured.
          data_dir: folder of the Fashion-MNIST files.
          progress: True, False, None (bars in a terminal and a notebook) or a receiver.
        Raises:
          ArgumentError: an argument of another type.
          RecipeError: an unknown target or runtime, or a value out of range.
          DataError: the run's data cannot be read any more, or have changed since its training, or
            since the files of a model that was brought were made.
          RunError: the run has no TFLite files, or is in use.
        """
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
            step, _ = benchmark_run(
                directory, protocol=chosen, data_dir=optional_path(data_dir, "data_dir"), progress=receiver
            )
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
        """Write the report of this run and return the path of its HTML page.

        Args:
          out: folder of the report; by default `report` in the run's folder.
          data_dir: folder of the Fashion-MNIST files, for the pictures of single images.
          progress: True, False, None (bars in a terminal and a notebook) or a receiver.
        Raises:
          ArgumentError: an argument of another type.
          RunError: the run has no finished step, or a file is damaged.
          RuntimeUnavailableError: matplotlib or jinja2 is not installed.
        """
        from edgefm.report import write

        with shown(progress) as receiver:
            return write(
                self._open(),
                out=optional_path(out, "out"),
                data_dir=optional_path(data_dir, "data_dir"),
                progress=receiver,
            )

    def explain(
        self,
        variants: str | Sequence[str] | None = None,
        *,
        folds: int | None = None,
        samples: int = 10_000,
        seed: int = 0,
        out: PathLike | None = None,
        data_dir: PathLike | None = None,
        progress: Progress | bool | None = None,
    ) -> Explanation:
        """Write what this run's classifier confuses, how far its confidence holds, where it looks, doubtful labels.

        Args:
          variants: TFLite files of the run whose calibration is shown beside the model's; by default int8_w8a8.
          folds: train the run's recipe anew on so many stratified folds, and judge labels out of fold.
          samples: validation samples that are looked at, drawn at random where there are more.
          seed: of the samples, the folds and the bootstrap.
          out: folder for explanation.json, the pictures and index.html; by default `explain` in the run's folder.
          data_dir: folder of the Fashion-MNIST files.
          progress: True, False, None (bars in a terminal and a notebook) or a receiver.
        Raises:
          ArgumentError: an argument of another type.
          RecipeError: a number out of range, or folds of a model that edgefm did not train, or that began with one that
            has seen their pictures.
          RunError: the run has no model, or is in use.
          ModelError: the model cannot be read, is no classifier, or gives values that are not finite.
          DataError: there are no data, they have one class, or too few samples of one for the folds.
          RuntimeUnavailableError: matplotlib or jinja2 is not installed.
        """
        from edgefm.jobs.explain import explain

        return explain(
            self,
            variants=variants,
            folds=folds,
            samples=samples,
            seed=seed,
            out=out,
            data_dir=data_dir,
            progress=progress,
        )

    @property
    def verdict(self) -> Verdict:
        """Which file of the newest benchmark to ship, and why; see `edgefm.verdict`.

        Raises:
          RunError: there is no benchmark.
        """
        return self.record.verdict
