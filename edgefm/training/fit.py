"""The training loop: one for all backends, many steps a call, each epoch saved."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import keras
import numpy as np
from numpy.typing import NDArray

from edgefm import zoo
from edgefm.core.errors import RunError, TrainingDivergedError
from edgefm.core.progress import SILENT, Progress
from edgefm.data.dataset import Dataset
from edgefm.keras_graph.backend import BackendDevice
from edgefm.recipes import Training
from edgefm.training import checkpoint
from edgefm.training.callbacks import Hooks, check_callbacks
from edgefm.training.device.memory import is_out_of_memory, peak_bytes
from edgefm.training.device.session import Session
from edgefm.training.distillation import Teacher
from edgefm.training.evaluation import Evaluation, worst_mistake
from edgefm.training.fused_batch_norm import fused_batch_norm
from edgefm.training.tensorboard import EventFiles
from edgefm.training.verdict import FitVerdict, judge

# A call on the device takes about this long, so that progress is shown and a stop is prompt.
_CALL_SECONDS = 1.0
# The most frequent mistake is noted this often in a training.
_MISTAKES_NOTED = 5


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained model and how it got there.

    Attributes:
      model: keras.Model of plain Keras layers.
      epochs: one entry an epoch: epoch, loss, accuracy, val_loss, val_accuracy, learning_rate, seconds,
        images_per_second, batch_size. Validation losses are mean cross-entropy (natural logarithm), training losses
        that of the recipe; accuracies 0 to 1.
      verdict: how it fits.
      resumed_from: number of epochs that an earlier, stopped attempt had finished.
      best_epoch: the epoch whose weights the model has, where patience or a callback chose; None stands for the last.
      confusion: int64 [classes, classes] of the model on the validation split, see `Evaluation`.
      peak_memory: most bytes held at once: `process_bytes`, and `device_bytes` on a GPU.
    """

    model: Any
    epochs: tuple[dict[str, Any], ...]
    verdict: FitVerdict
    resumed_from: int
    best_epoch: int | None = None
    confusion: NDArray[np.int64] = field(repr=False, compare=False)
    peak_memory: dict[str, int] = field(default_factory=dict)

    @property
    def kept(self) -> dict[str, Any]:
        """The entry of the epoch whose weights the model has."""
        return self.epochs[(self.best_epoch or len(self.epochs)) - 1]


def fit(
    dataset: Dataset,
    recipe: Training,
    *,
    device: BackendDevice,
    folder: Path,
    teacher: Teacher | None = None,
    model: Any = None,
    frozen: Collection[str] = (),
    callbacks: Sequence[Any] = (),
    tensorboard: Path | None = None,
    progress: Progress = SILENT,
) -> Trained:
    """Return a model trained by a recipe; go on from the checkpoint in `folder` if there is one.

    After each epoch the whole state is saved in `folder`, so that a stop loses at most one epoch, and a resumed
    training has the history that an unbroken one would have had. The last epoch's weights are the result: no
    epoch is picked by its validation figures, unless the recipe has patience, and then by the validation loss.

    Where the recipe has a distillation, `teacher` is asked once an epoch, about the images as they are augmented for
    it; the loss is then that of `edgefm.recipes.Distillation`. If the memory is too small for the first epoch, the
    training begins again with half the batch, once.

    Args:
      dataset: training and validation splits are used.
      recipe: how.
      device: see `use_backend`, which was called.
      folder: of the checkpoint.
      teacher: for a recipe with a distillation.
      model: a built keras.Model to train; None builds the recipe's from the zoo.
      frozen: names of its layers that are not trained in the first `recipe.frozen_epochs` epochs.
      callbacks: of Keras, told of epochs, not of batches. An epoch is saved before they are told of its end, and again
        with what they changed: an error or a stop in one of them loses nothing.
      tensorboard: folder for event files.
      progress: told a few times a second at most.
    Raises:
      TrainingDivergedError: the loss is not finite; the checkpoint of the last good epoch stays, and its model is
        saved beside it as `last-good.keras`.
      RecipeError: a recipe that does not fit the data or the model.
      ArgumentError: callbacks that cannot be served.
      RunError: memory ran out with half the batch too, or after the first epoch.
    """
    served = check_callbacks(callbacks, recipe, progress)
    keras.utils.set_random_seed(recipe.seed)
    make_deterministic()
    if model is None:
        model = zoo.build(recipe.model, recipe.model_options)
        zoo.learn_from(recipe.model, model, dataset.train.images)
    start = [keras.ops.convert_to_numpy(variable.value) for variable in model.variables]
    state = folder / checkpoint.FILE_NAME
    batch_size = recipe.batch_size
    if state.exists():
        batch_size = int(checkpoint.history(state)[-1].get("batch_size", batch_size))
    with fused_batch_norm(model):
        for again in (False, True):
            batch_size = min(batch_size, len(dataset.train))
            session: Session | None = None
            try:
                session = Session(
                    dataset,
                    recipe,
                    model=model,
                    frozen=frozen,
                    teacher=teacher,
                    batch_size=batch_size,
                    xla=device.backend.startswith("tensorflow") and device.kind != "cpu",
                    progress=progress,
                )
                return _Attempt(session, folder=folder, tensorboard=tensorboard, progress=progress).run(served)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if again or state.exists() or batch_size == 1:
                    raise _too_little_memory(batch_size, dataset, state) from error
            session = None  # nor the data that it holds on the device
            progress.note(f"out of memory with {batch_size} images a step: beginning again with {batch_size // 2}")
            batch_size //= 2
            for variable, value in zip(model.variables, start, strict=True):
                variable.assign(value)
    raise AssertionError("the second attempt returns or raises")


class _Attempt:
    """A training with a batch size, from its beginning or from its checkpoint to its end."""

    def __init__(self, session: Session, *, folder: Path, tensorboard: Path | None, progress: Progress) -> None:
        self._session, self._progress = session, progress
        self._state = folder / checkpoint.FILE_NAME
        self._best = folder / checkpoint.BEST_NAME
        self._folder = tensorboard
        self._epochs: list[dict[str, Any]] = []

    def run(self, callbacks: Sequence[Any]) -> Trained:
        session, recipe, progress = self._session, self._session.recipe, self._progress
        if self._state.exists():
            session.begin(done=len(checkpoint.history(self._state)))
            self._epochs = checkpoint.restore(self._state, session.model)
            progress.note(f"resuming after epoch {len(self._epochs)} of {recipe.epochs}")
        else:
            session.begin(done=0)
        resumed_from = len(self._epochs)
        hooks = Hooks(callbacks, session.model, epochs=recipe.epochs, steps=session.steps)
        events = None if self._folder is None else EventFiles(self._folder)
        hooks.train_begin()
        found: Evaluation | None = None
        while len(self._epochs) < recipe.epochs and not self._patience_ended():
            found = self._epoch(hooks)
            if events is not None:
                events.epoch(self._epochs[-1])
            if hooks.stop:
                break
        hooks.train_end(self._epochs[-1] if self._epochs else None)
        best = self._keep_best()
        if found is None or callbacks or best is not None:
            found = session.validate()
        if callbacks and best is None:
            best = self._set_by_callback(found)
        session.end()
        return Trained(
            model=session.model,
            epochs=tuple(self._epochs),
            verdict=judge(
                self._epochs,
                training=session.on_training_images().confusion,
                validation=int(found.confusion.sum()),
                best_epoch=best,
            ),
            resumed_from=resumed_from,
            best_epoch=best,
            confusion=found.confusion,
            peak_memory=peak_bytes(),
        )

    def _epoch(self, hooks: Hooks) -> Evaluation:
        session, recipe = self._session, self._session.recipe
        epoch, started = len(self._epochs), time.perf_counter()
        session.before(epoch)
        hooks.epoch_begin(epoch)
        session.draw(epoch)
        began = time.perf_counter()
        figures = self._steps(epoch)
        seconds = time.perf_counter() - began
        hooks.test_begin()
        found = session.validate()
        if not math.isfinite(found.loss):  # the last update did it: these weights must not replace the good ones
            self._diverged(epoch=epoch, step=session.steps)
        hooks.test_end(loss=found.loss, accuracy=found.accuracy)
        loss, accuracy = figures.astype(np.float64).mean(axis=0)
        self._epochs.append(
            {
                "epoch": epoch + 1,
                "loss": float(loss),
                "accuracy": float(accuracy),
                "val_loss": found.loss,
                "val_accuracy": found.accuracy,
                "learning_rate": session.learning_rate(),
                "seconds": round(time.perf_counter() - started, 3),
                "images_per_second": round(session.steps * session.batch_size / seconds, 1),
                "batch_size": session.batch_size,
            }
        )
        if recipe.patience is not None and self._best_epoch() == epoch + 1:
            checkpoint.save_weights(self._best, session.model)
        checkpoint.save(self._state, session.model, self._epochs)
        self._note(found)
        if hooks:
            hooks.epoch_end(epoch, self._epochs[-1])
            checkpoint.save(self._state, session.model, self._epochs)  # with what they changed, such as the rate
        return found

    def _steps(self, epoch: int) -> NDArray[np.float32]:
        """Run the steps of an epoch, as many a call as take about a second, and return their figures."""
        session, total = self._session, self._session.steps * self._session.recipe.epochs
        parts: list[NDArray[np.float32]] = []
        done, count, began = 0, 1, time.perf_counter()
        while done < session.steps:
            called = time.perf_counter()
            parts.append(session.run(first=done, count=count))
            done += count
            bad = np.flatnonzero(~np.isfinite(parts[-1][:, 0]))
            if len(bad):
                self._diverged(epoch=epoch, step=done - count + int(bad[0]) + 1)
            mean = np.concatenate(parts).astype(np.float64).mean(axis=0)
            figures = {
                "epoch": f"{epoch + 1}/{session.recipe.epochs}",
                "loss": f"{mean[0]:.4f}",
                "acc": f"{100 * mean[1]:.2f}%",
                "images/s": f"{done * session.batch_size / (time.perf_counter() - began):,.0f}",
            }
            self._progress.step("train", epoch * session.steps + done, total, figures)
            seconds = (time.perf_counter() - called) / count
            count = min(max(1, int(_CALL_SECONDS / seconds)), 10 * count, session.steps - done)
        return np.concatenate(parts)

    def _best_epoch(self) -> int:
        """Return the first epoch, from 1, with the least validation loss."""
        losses = [float(entry["val_loss"]) for entry in self._epochs]
        return losses.index(min(losses)) + 1

    def _patience_ended(self) -> bool:
        patience = self._session.recipe.patience
        return patience is not None and bool(self._epochs) and len(self._epochs) - self._best_epoch() >= patience

    def _keep_best(self) -> int | None:
        """Give the model the weights of the best epoch where the recipe has patience, and return that epoch."""
        if self._session.recipe.patience is None:
            return None
        best = self._best_epoch()
        checkpoint.restore_weights(
            self._best, self._session.model
        )  # of the last one, too: a callback may have set others
        if best < len(self._epochs):
            self._progress.note(f"the weights of epoch {best} are taken: its validation loss is the lowest")
        return best

    def _set_by_callback(self, found: Evaluation) -> int | None:
        """Return the epoch whose weights a callback gave the model, as EarlyStopping may; None for the last one.

        Of weights that no epoch had, such as a mean of several, the last entry says how good they are.
        """
        if (found.loss, found.accuracy) == (self._epochs[-1]["val_loss"], self._epochs[-1]["val_accuracy"]):
            return None
        for entry in self._epochs:
            if math.isclose(found.loss, entry["val_loss"], rel_tol=1e-6) and found.accuracy == entry["val_accuracy"]:
                self._progress.note(f"a callback gave the model the weights of epoch {entry['epoch']}")
                return int(entry["epoch"])
        self._progress.note("a callback gave the model other weights than the last epoch's")
        self._epochs[-1] |= {"val_loss": found.loss, "val_accuracy": found.accuracy}
        return None

    def _diverged(self, *, epoch: int, step: int) -> NoReturn:
        session = self._session
        good = "No epoch had been finished, so there is nothing to keep."
        if self._state.exists():
            checkpoint.restore(self._state, session.model)
            session.end()
            kept = self._state.with_name("last-good.keras")
            session.model.save(kept)
            good = f"The weights after epoch {epoch} are kept in {kept}."
        raise TrainingDivergedError(
            f"the loss became NaN or infinite in epoch {epoch + 1}, step {step}",
            hint=f"{good} Train into a new run with a learning rate below {session.recipe.learning_rate:g}.",
        )

    def _note(self, found: Evaluation) -> None:
        recipe, entry = self._session.recipe, self._epochs[-1]
        self._progress.note(_line(entry, recipe.epochs))
        mistake = worst_mistake(found.confusion, self._session.names)
        if mistake is not None and entry["epoch"] % max(1, recipe.epochs // _MISTAKES_NOTED) == 0:
            self._progress.note(f"most frequent mistake in validation: {mistake}")


def make_deterministic() -> None:
    """Make the same seed give the same history where the backend leaves a choice."""
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif keras.config.backend() == "torch":
        import torch

        torch.use_deterministic_algorithms(True, warn_only=True)


def _too_little_memory(batch_size: int, dataset: Dataset, state: Path) -> RunError:
    """Return the error of a training that cannot begin again with half the batch, or has done so in vain."""
    done = len(checkpoint.history(state)) if state.exists() else 0
    kept = f"; the {done} finished epochs are kept, and can be gone on with where there is more memory" if done else ""
    megabytes = dataset.train.images.nbytes / 1e6
    return RunError(
        f"out of memory with {batch_size} images a step and {megabytes:,.0f} MB of them on the device{kept}",
        hint="Train into a new run with a smaller batch size, smaller pictures or a smaller model; end what else runs.",
    )


def _line(epoch: dict[str, Any], total: int) -> str:
    return (
        f"epoch {epoch['epoch']:>{len(str(total))}}/{total}  loss {epoch['loss']:.4f}  "
        f"accuracy {100 * epoch['accuracy']:.2f} %  validation loss {epoch['val_loss']:.4f}  "
        f"accuracy {100 * epoch['val_accuracy']:.2f} %  {epoch['images_per_second']:,.0f} images/s  "
        f"{epoch['seconds']:.0f} s"
    )
