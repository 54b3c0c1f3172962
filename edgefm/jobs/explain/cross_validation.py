"""k-fold cross-validation of a training: each picture is answered by a model that was not trained on it."""

from __future__ import annotations

import dataclasses
import io
import itertools
import shutil
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import artefacts, environment
from edgefm.core.errors import RunError
from edgefm.core.given import npz
from edgefm.core.progress import SILENT, Progress
from edgefm.data.dataset import Dataset, Split
from edgefm.data.folds import stratified_folds
from edgefm.data.repeated import equal_groups
from edgefm.jobs.explain.leakage import FoldRecipe
from edgefm.jobs.explain.subject import probabilities_of
from edgefm.recipes import Training

if TYPE_CHECKING:
    from edgefm.keras_graph.backend import BackendDevice


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """What models of the same recipe say of pictures that they were not trained on.

    Attributes:
      accuracies: of each fold, 0 to 1.
      fold: int64 [n], the fold of each picture of the training and validation splits, in this order.
      truth: int64 [n], their classes.
      probabilities: float32 [n, classes], each row of the model whose fold held the picture out.
      where: the split and the place in it of each picture.
      labels: class names.
      seed: of the folds.
      recipe: of the trainings.
    """

    accuracies: tuple[float, ...]
    fold: NDArray[np.int64]
    truth: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    where: tuple[tuple[str, int], ...]
    labels: tuple[str, ...]
    seed: int
    recipe: FoldRecipe

    def to_json(self) -> dict[str, Any]:
        """Return the accuracies as a JSON object; the spread is the standard deviation of the folds (n - 1)."""
        return {
            "reason": None,
            "folds": len(self.accuracies),
            "seed": self.seed,
            "n": len(self.truth),
            "epochs": self.recipe.training.epochs,
            "accuracies": list(self.accuracies),
            "mean": statistics.fmean(self.accuracies),
            "spread": statistics.stdev(self.accuracies),
            **self.recipe.to_json(),
        }


def cross_validate(
    root: Path,
    recipe: FoldRecipe,
    dataset: Dataset,
    *,
    folds: int,
    seed: int,
    device: BackendDevice,
    named_in: Path | None,
    inputs: Mapping[str, str],
    progress: Progress,
) -> CrossValidation:
    """Train a model for each fold of the training and validation splits by a recipe, and return the answers.

    The test split is not touched. Finished folds are kept in a folder of their own, and the epochs of the one that
    was stopped: the same call goes on from there. Early stopping is left out: it would choose by the fold that it is
    measured on.

    Args:
      root: that the folds' folder is made in; whoever calls this holds it for writing.
      recipe: of each training.
      dataset: whose training and validation splits are divided.
      folds: number of folds, 2 or more.
      seed: of the folds; that of the training is the recipe's.
      device: what is trained on.
      named_in: file that the recipe was read from; None of one that edgefm has itself. See `to_learn`.
      inputs: sha256 of what the recipe names beside the data, by name; folds of other inputs are other folds.
      progress: receives progress.
    Raises:
      RecipeError: fewer than 2 folds, or a model that cannot be found any more.
      DataError: a class has fewer pictures than there are folds.
      TrainingDivergedError: the loss is not finite.
    """
    training = dataclasses.replace(recipe.training, patience=None)
    truth = np.concatenate([dataset.train.labels, dataset.validation.labels]).astype(np.int64)
    groups = equal_groups(itertools.chain(dataset.train.images, dataset.validation.images))
    repeated = int((groups != np.arange(len(groups))).sum())
    if repeated:
        progress.note(
            f"{repeated:,} of the {len(truth):,} images are equal to another one: equal images are in the same fold"
        )
    fold = stratified_folds(truth, folds, names=dataset.labels, seed=seed, groups=groups)
    where = [(split.name, place) for split in (dataset.train, dataset.validation) for place in range(len(split))]
    identity = {
        "recipe": training.to_json(),
        "inputs": dict(inputs),
        "dataset": dataset.sha256,
        "folds": folds,
        "seed": seed,
        "backend": device.backend,
        "keras": device.keras,
        "precision": device.precision,
        "edgefm": environment.versions()["edgefm"],
        **({"equal_images": "in the same fold"} if repeated else {}),  # older folds had them apart
    }
    folder = root / artefacts.sha256_json(identity)[:16]
    probabilities = np.zeros((len(truth), len(dataset.labels)), np.float32)
    accuracies = []
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(folds):
        held = fold == index
        kept = folder / f"fold-{index + 1}.npz"
        answers = _kept(kept, (int(held.sum()), len(dataset.labels)))
        if answers is None:
            progress.note(f"fold {index + 1} of {folds}: {int((~held).sum()):,} images train, {int(held.sum()):,} test")
            answers = _trained(
                _divided(dataset, truth, held, sha256=f"{dataset.sha256}-{index + 1}-of-{folds}-{seed}"),
                training,
                device=device,
                folder=folder / f"fold-{index + 1}",
                named_in=named_in,
                progress=progress,
            )
            content = io.BytesIO()
            np.savez(content, probabilities=answers)
            artefacts.write_bytes(kept, content.getvalue())
            shutil.rmtree(folder / f"fold-{index + 1}", ignore_errors=True)
        probabilities[held] = answers
        accuracies.append(float((answers.argmax(axis=1) == truth[held]).mean()))
        progress.note(f"fold {index + 1} of {folds}: accuracy {100 * accuracies[-1]:.2f} %, n = {int(held.sum()):,}")
    return CrossValidation(
        accuracies=tuple(accuracies),
        fold=fold,
        truth=truth,
        probabilities=probabilities,
        where=tuple(where),
        labels=dataset.labels,
        seed=seed,
        recipe=recipe,
    )


def _divided(dataset: Dataset, truth: NDArray[np.int64], held: NDArray[np.bool_], *, sha256: str) -> Dataset:
    """Return a data set that validates on the samples that a fold holds out, and trains on the others.

    Nobody but the caller holds these images: two folds are never in memory at once.
    """
    return dataclasses.replace(
        dataset,
        train=Split(name="train", images=_images(dataset, ~held), labels=truth[~held]),
        validation=Split(name="validation", images=_images(dataset, held), labels=truth[held]),
        sha256=sha256,
    )


def _images(dataset: Dataset, chosen: NDArray[np.bool_]) -> NDArray[Any]:
    """Return some images of the training and validation splits, in this order, chosen by a mask over both."""
    train, validation = dataset.train.images, dataset.validation.images
    images = np.empty((int(chosen.sum()), *train.shape[1:]), train.dtype)
    of_train = int(chosen[: len(train)].sum())
    # The mode keeps numpy from making a copy of what it writes.
    np.take(train, np.flatnonzero(chosen[: len(train)]), axis=0, out=images[:of_train], mode="clip")
    np.take(validation, np.flatnonzero(chosen[len(train) :]), axis=0, out=images[of_train:], mode="clip")
    return images


def _trained(
    dataset: Dataset,
    recipe: Training,
    *,
    device: BackendDevice,
    folder: Path,
    named_in: Path | None,
    progress: Progress,
) -> NDArray[np.float32]:
    """Return what a model trained on a data set says of its validation split, float32 [n, classes]."""
    from edgefm.data.batches import evaluation_batch
    from edgefm.jobs.to_learn import to_learn
    from edgefm.keras_graph.backend import without_tensorflow
    from edgefm.training.fit import fit
    from edgefm.training.step import teacher_of

    folder.mkdir(parents=True, exist_ok=True)
    ready = to_learn(
        recipe,
        dataset=dataset,
        source=None,
        backend=device.backend.split()[0],
        precision=device.precision,
        named_in=named_in,
        progress=SILENT,
    )
    with without_tensorflow(device):
        network, frozen = (None, ()) if ready.model is None else ready.model()
        trained = fit(
            ready.dataset,
            ready.recipe,
            device=device,
            folder=folder,
            teacher=teacher_of(ready.dataset, ready.recipe),
            model=network,
            frozen=tuple(frozen),
            progress=progress,
        )
        images = ready.dataset.validation.images
        size = evaluation_batch(images.shape[1:], batch_size=trained.epochs[-1]["batch_size"])
        parts = [
            np.asarray(trained.model.predict_on_batch(images[start : start + size]), np.float32)
            for start in range(0, len(images), size)
        ]
    return probabilities_of(np.concatenate(parts), logits=False)  # of one unit, both columns


def _kept(path: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """Return the answers of a fold that was finished before, None where there are none, or others."""
    if not path.is_file():
        return None
    arrays: Mapping[str, NDArray[Any]] = npz.read(path, RunError, missing=f"no answers at {path}")
    answers = arrays.get("probabilities")
    fits = answers is not None and answers.shape == shape and answers.dtype == np.float32
    return answers if fits and np.isfinite(answers).all() else None  # type: ignore[arg-type]  # it is an array
