"""What is explained: a model with its data, the validation samples that are looked at, and what models answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.core.progress import Progress
from edgefm.jobs.to_learn.held_out import Seen

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.jobs.explain.classifier import Classifier

MODEL = "model"
_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a model says of the samples.

    Attributes:
      name: 'model' for the model itself, else the variant's.
      probabilities: float32 [n, classes], in the order of the data set's classes; of sigmoids each by itself.
    """

    name: str
    probabilities: NDArray[np.float32]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class of the highest probability, int64 [n]."""
        highest: NDArray[np.int64] = self.probabilities.argmax(axis=1).astype(np.int64)
        return highest

    @property
    def confidence(self) -> NDArray[np.float32]:
        """That probability, float32 [n]."""
        highest: NDArray[np.float32] = self.probabilities.max(axis=1)
        return highest


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is explained.

    Attributes:
      classifier: the model.
      places: int64 [n], the samples that are looked at, places in the validation split, ascending.
      step: name of the run's step that the model comes from; None in no run.
      history: of the training; None where edgefm did not train the model.
      files: of TFLite variants, by name.
      left_out: variants that cannot be looked at, with the reason.
      learnt: the model was trained on the samples, too.
      seen: what it was trained from that had learnt them, or may have.
    """

    classifier: Classifier
    places: NDArray[np.int64]
    step: str | None = None
    history: Mapping[str, Any] | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    learnt: bool = False
    seen: Seen = field(default_factory=Seen)

    @property
    def dataset(self) -> Dataset:
        """The data, their classes in the model's order."""
        return self.classifier.dataset

    @property
    def truth(self) -> NDArray[np.int64]:
        """The classes of the samples, int64 [n]."""
        labels: NDArray[np.int64] = self.dataset.validation.labels[self.places].astype(np.int64)
        return labels

    def samples(self, chosen: NDArray[np.int64] | slice) -> NDArray[Any]:
        """Return some of the samples, [k, ...], as the data set holds them; `chosen` are places among them."""
        chosen_samples: NDArray[Any] = self.dataset.validation.images[self.places[chosen]]
        return chosen_samples

    def batches(self) -> list[slice]:
        """Return the samples in parts that fit into memory, as slices of their places."""
        total = len(self.places)
        return [slice(start, min(start + _BATCH, total)) for start in range(0, total, _BATCH)]

    def inputs(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Return samples as the model takes them."""
        return self.classifier.encoding.inputs(samples)


def as_pictures(samples: NDArray[Any], value_range: tuple[float, float]) -> NDArray[np.uint8] | None:
    """Return samples as pictures, uint8 [n, height, width, channels]; None where they are none.

    Args:
      samples: uint8 pixels or floats in `value_range`, [n, ...].
      value_range: of the model's input.
    """
    if samples.dtype.names is not None or samples.ndim != 4 or samples.shape[-1] not in (1, 3, 4):
        return None
    if samples.dtype == np.uint8:
        return samples
    if samples.dtype.kind != "f":
        return None
    low, high = value_range
    scaled = (samples.astype(np.float64) - low) * (255.0 / (high - low))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def chosen_places(count: int, most: int, *, seed: int) -> NDArray[np.int64]:
    """Return the samples that are looked at: all, or a random choice, ascending; classes are as frequent as they are.

    Args:
      count: samples there are.
      most: samples to look at.
      seed: 0 or more.
    """
    if count <= most:
        return np.arange(count, dtype=np.int64)
    keys = np.random.PCG64(seed).random_raw(count)
    return np.sort(np.argsort(keys, kind="stable")[:most]).astype(np.int64)


def answers_of_model(subject: Subject, progress: Progress) -> Answers:
    """Return what the model itself says.

    Raises:
      NonFiniteError: an output is not finite.
    """
    parts = []
    for batch in subject.batches():
        parts.append(subject.classifier.answers(subject.inputs(subject.samples(batch))))
        progress.step("answers of the model", batch.stop, len(subject.places))
    scores = np.concatenate(parts)
    return Answers(name=MODEL, probabilities=probabilities_of(scores, logits=subject.classifier.logits))


def answers_of_files(subject: Subject, progress: Progress) -> tuple[list[Answers], dict[str, str]]:
    """Return what each TFLite file says, and the reasons of those that cannot be asked."""
    from edgefm.core.errors import EdgefmError
    from edgefm.tflite import contract as contracts
    from edgefm_converters.tflite.tflite_outputs import tflite_outputs

    answers, left_out = [], dict(subject.left_out)
    for name, path in subject.files.items():
        try:
            contract = contracts.read(path)
            if contract is None:
                raise ModelError("the file has no contract beside it")
            content, scores = path.read_bytes(), []
            for batch in subject.batches():
                scores.append(tflite_outputs(content, contract.real(subject.samples(batch)))[0])
                progress.step(f"answers of {name}", batch.stop, len(subject.places))
            probabilities = probabilities_of(np.concatenate(scores), logits=contract.head == "logits")
            labels = subject.dataset.labels
            if contract.labels and contract.labels != labels and sorted(contract.labels) == sorted(labels):
                probabilities = probabilities[:, [contract.labels.index(label) for label in labels]]
            if probabilities.shape[1] != len(labels):
                raise ModelError(f"the file gives {probabilities.shape[1]} scores; the data have {len(labels)} classes")
        except EdgefmError as error:
            left_out[name] = error.message
            continue
        answers.append(Answers(name=name, probabilities=probabilities))
    return answers, left_out


def probabilities_of(scores: NDArray[Any], *, logits: bool) -> NDArray[np.float32]:
    """Return first outputs as probabilities, float32 [n, classes]; one unit is the second of two classes.

    Args:
      scores: [n, ...], of n samples.
      logits: they are scores before softmax (one unit: before sigmoid).
    """
    values: NDArray[np.float64] = scores.reshape(len(scores), -1).astype(np.float64)
    if values.shape[1] == 1:
        if logits:
            values = 1 / (1 + np.exp(-np.clip(values, -700, 700)))
        values = np.hstack([1 - values, values])
    elif logits:
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        values = powers / powers.sum(axis=1, keepdims=True)
    return values.astype(np.float32)
