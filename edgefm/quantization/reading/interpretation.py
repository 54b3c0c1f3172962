"""How a classifier reads pictures, found by its answers: the value range, the order of channels and of classes.

A model file says none of these, and a wrong one gives no error, only wrong answers. With labelled pictures at hand,
each reading is tried on up to 200 of them (of the training split), and what the model answers decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import joined
from edgefm.core.errors import DataError, ModelError
from edgefm.core.progress import SILENT, Progress
from edgefm.core.text import few
from edgefm.data.dataset import Dataset, reordered
from edgefm.data.preprocessing import PIXELS
from edgefm.quantization.reading.feeds import AS_GIVEN, Reading, as_layers, feeds_of
from edgefm.statistics.estimates import mcnemar
from edgefm_converters.readers import model_file
from edgefm_converters.readers.model_file import Loaded
from edgefm_converters.tflite.outputs import of_model
from edgefm_converters.tflite.tflite_outputs import tflite_outputs

_PICTURES = 200
_LEAST_PICTURES = 30
_SURE = 1e-3
# An untrained model may tell two or three classes apart by chance, but seldom this well.
_OF_FEW_CLASSES = 0.9
# With this share right, the first reading cannot be far from that of the training: no other is tried.
_GOOD = 0.95
_ALIKE = 0.05


@dataclass(frozen=True, kw_only=True)
class Interpretation:
    """What was found.

    Attributes:
      dataset: its classes in the order of the model's outputs.
      value_range: of the inputs; None where nothing was found out.
      facts: accuracy of each reading on the samples, for quantize.json; {} where nothing was tried.
    """

    dataset: Dataset | None
    value_range: tuple[float, float] | None
    facts: dict[str, Any] = field(default_factory=dict)


def interpret(
    loaded: Loaded,
    dataset: Dataset | None,
    *,
    file: str,
    value_range: tuple[float, float] | None = None,
    labels: Sequence[str] | None = None,
    progress: Progress = SILENT,
) -> Interpretation:
    """Return how a classifier reads pictures.

    The first reading is what was said, else pixels as they are (0 to 255), red first, classes in the order of the
    data. Another one replaces it where it is right on more samples beyond doubt (exact McNemar test, p < 0.001), on
    half of those that chance leaves (of fewer than five classes, on 90 %), and no other reading does as well.

    Args:
      loaded: the model.
      dataset: labelled; anything but 30 pictures or more with classes is left as it is.
      file: name of the model, for messages.
      value_range: what its user said; it is not questioned.
      labels: class names that its user gave; their order is not questioned.
      progress: receives what was found.
    Raises:
      DataError: two orders of the classes are possible and the model fits neither, or several value ranges fit alike.
      ModelError: it was trained on swapped channels or ImageNet's normalisation, which an app would not give it.
    """
    untouched = Interpretation(dataset=dataset, value_range=value_range)
    if dataset is None or dataset.task != "classification" or not _tells_classes(loaded, dataset):
        return untouched
    if joined.is_joined(dataset.train.images):
        return untouched  # each input takes its own values
    pictures, truth = _samples(dataset)
    if len(pictures) < _LEAST_PICTURES:
        return untouched
    orders = (dataset.labels,) if labels is not None else _orders(dataset.labels)
    feeds = feeds_of(loaded, pictures, value_range)
    if len(feeds) * len(orders) == 1 or pictures.shape[1:] != model_file.input_shape(loaded):
        return untouched
    right: dict[Reading, NDArray[np.bool_]] = {}
    for place, feed in enumerate(feeds):
        scores = _scores(loaded, feed.inputs(pictures))
        for order in orders:
            reading = Reading(values=feed.values, value_range=feed.value_range, swapped=feed.swapped, labels=order)
            right[reading] = _right(scores, truth, dataset, order)
        progress.step("how the model reads pictures", place + 1, len(feeds))
        if place == 0 and max(hits.mean() for hits in right.values()) >= _GOOD:
            break
    first, best = next(iter(right)), _best(right)
    facts = {
        "pictures": len(pictures),
        "readings": [
            {
                "inputs": reading.values,
                "channels": "BGR" if reading.swapped else "as given",
                "labels": list(reading.labels),
                "right": int(hits.sum()),
            }
            for reading, hits in right.items()
        ],
    }
    if best == first or not _beats(right[best], right[first], _SURE) or not _knows(right[best], truth):
        if len(orders) > 1 and not any(_knows(hits, truth) for hits in right.values()):
            raise _neither_order(file, orders, right)
        return Interpretation(dataset=dataset, value_range=value_range, facts=facts)
    _check_clear(file, best, first, right)
    _say(file, best, first, right, progress)
    return Interpretation(
        dataset=reordered(dataset, best.labels),
        value_range=value_range if best.value_range == first.value_range else best.value_range,
        facts={**facts, "used": {"inputs": best.values, "labels": list(best.labels)}},
    )


def _best(right: dict[Reading, NDArray[np.bool_]]) -> Reading:
    """Return the reading that is right most often; one that an app can follow where it is not clearly behind."""
    plain = [reading for reading in right if reading.plain]
    best, plainest = (max(some, key=lambda reading: int(right[reading].sum())) for some in (right, plain))
    return best if _beats(right[best], right[plainest], _ALIKE) else plainest


def _tells_classes(loaded: Loaded, dataset: Dataset) -> bool:
    shape, classes = model_file.output_shape(loaded), len(dataset.labels)
    return classes > 1 and shape in ((classes,), (1,) if classes == 2 else (classes,))


def _samples(dataset: Dataset) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return up to 200 training samples, spread over the split so that all classes are among them."""
    split = dataset.train
    order = np.argsort(split.labels, kind="stable")
    places = order[np.linspace(0, len(order) - 1, min(_PICTURES, len(order))).astype(np.int64)]
    return split.images[places], split.labels[places]


def _orders(labels: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Return the orders that sorting class folders gives: the data's own first; it alone where it is no such order.

    >>> _orders(("2", "10"))
    (('2', '10'), ('10', '2'))
    >>> _orders(("T-shirt/top", "Trouser", "Pullover"))
    (('T-shirt/top', 'Trouser', 'Pullover'),)
    """
    sorts = [tuple(sorted(labels)), tuple(sorted(labels, key=str.lower))]
    if all(label.isdecimal() for label in labels):
        sorts.append(tuple(sorted(labels, key=int)))
    return tuple(dict.fromkeys((labels, *sorts))) if labels in sorts else (labels,)


def _scores(loaded: Loaded, inputs: NDArray[Any]) -> NDArray[np.float32]:
    """Return the first output, float32 [n, classes]; NaN for inputs that the model cannot be computed for."""
    try:
        if loaded.keras is not None:
            scores = of_model(loaded.keras, inputs)[0]
        else:
            assert loaded.float32 is not None, "a model is either Keras or TFLite"
            scores = tflite_outputs(loaded.float32, inputs)[0]
    except ModelError:  # it overflows on values that it was not trained on
        return np.full((len(inputs), *model_file.output_shape(loaded)), np.nan, np.float32)
    if scores.shape[1:] != (1,):
        return scores
    # That of the second of two classes.
    return np.hstack([1 - scores if _is_probability(loaded, scores) else -scores, scores])


def _is_probability(loaded: Loaded, scores: NDArray[np.float32]) -> bool:
    """Return whether one unit gives a probability, not a logit: told by the end of the model, else by its values."""
    head = model_file.head_of(loaded)
    if head.activation == "sigmoid":
        return True
    if head.activation == "linear":
        return head.loss_is_binary and not head.loss_takes_scores
    return bool(scores.min() >= 0 and scores.max() <= 1)


def _right(
    answers: NDArray[np.float32], truth: NDArray[np.int64], dataset: Dataset, order: tuple[str, ...]
) -> NDArray[np.bool_]:
    places = np.array([order.index(label) for label in dataset.labels])
    right: NDArray[np.bool_] = (answers.argmax(axis=1) == places[truth]) & np.isfinite(answers).all(axis=1)
    return right


def _beats(one: NDArray[np.bool_], other: NDArray[np.bool_], p: float) -> bool:
    more, less = int((one & ~other).sum()), int((other & ~one).sum())
    return more > less and mcnemar(more, less) < p


def _knows(right: NDArray[np.bool_], truth: NDArray[np.int64]) -> bool:
    """Return whether this is no untrained model's luck: half of what chance leaves; of few classes, 90 %."""
    commonest = int(np.bincount(truth).max()) / len(truth)
    return float(right.mean()) >= (_OF_FEW_CLASSES if commonest > 1 / 5 else (1 + commonest) / 2)


def _share(hits: NDArray[np.bool_]) -> str:
    return f"{int(hits.sum())} of {len(hits)} right"


def _check_clear(file: str, best: Reading, first: Reading, right: dict[Reading, NDArray[np.bool_]]) -> None:
    """Raise where the best reading cannot be used, or another does as well."""
    if not best.plain:
        raise ModelError(
            f"{file} was trained on pictures read in another way: with {best} it has {_share(right[best])}, with "
            f"{first} {_share(right[first])}",
            hint=f"Put this into the model, behind its input, so that apps can give it {_given(best)}: "
            + as_layers(best)
            + ("" if first.value_range in (None, PIXELS) else ". Then give no value range."),
        )
    alike = [
        reading
        for reading, hits in right.items()
        if reading.plain and reading.labels == best.labels and reading != best
        if not _beats(right[best], hits, _ALIKE) and _beats(hits, right[first], _SURE)
    ]
    if alike:
        table = "; ".join(f"{reading}: {_share(right[reading])}" for reading in (first, best, *alike))
        raise DataError(
            f"several ways to read the pictures fit {file} alike: {table}",
            hint="Say which one it was trained on, with the value range: (0, 255), (0, 1) or (-1, 1).",
        )


def _given(reading: Reading) -> str:
    """Return what goes in where a model does the rest of a reading itself."""
    return "the data as they are" if reading.values == AS_GIVEN else "plain RGB pictures 0 to 255"


def _say(file: str, best: Reading, first: Reading, right: dict[Reading, NDArray[np.bool_]], progress: Progress) -> None:
    fits = f"{_share(right[best])} against {_share(right[first])}"
    if best.values != first.values:
        progress.note(f"{file} takes inputs {best.values} for pixels 0 to 255, found by its answers: {fits}")
    if best.labels != first.labels:
        progress.note(f"{file} has its classes in the order {few(best.labels)}, found by its answers: {fits}")


def _neither_order(file: str, orders: Sequence[tuple[str, ...]], right: dict[Reading, NDArray[np.bool_]]) -> DataError:
    parts = []
    for order in orders:
        best = max((hits for reading, hits in right.items() if reading.labels == order), key=lambda hits: hits.sum())
        parts.append(f"{few(order)}: {_share(best)}")
    return DataError(
        f"the classes have more than one order, and {file} fits none of them: {'; '.join(parts)}",
        hint="Give the class names in the order of the model's outputs as labels, or check the pictures and the model.",
    )
