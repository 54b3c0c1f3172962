"""Are wrong models and data found and named, and sound ones left alone? 40 planted faults, 40 sound models.

Each fault is planted into a classifier that is right by construction (the nearest mean of colours or of bright cells),
or into a small regression, and goes through `edgefm.quantize` as a user's would. It counts as found where the error, a
note or a finding names it in the words given with it; a wrong alarm is an error or a finding on a sound model.

Run: python -m benchmarks.planted_faults [--show]; about five minutes of one core.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import edgefm
from benchmarks import recorded
from edgefm.core.errors import EdgefmError

FOUND_AT_LEAST = 0.95
ALARMS_AT_MOST = 1
SIDE = 8
# A case: what is planted -> (model, data, arguments of quantize), and the words that name it.
Case = tuple[str, Callable[[], tuple[Any, Any, dict[str, Any]]], str]


class _Notes:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def step(self, label: str, done: int, total: int, figures: Mapping[str, str] | None = None) -> None:
        pass

    def note(self, message: str) -> None:
        self.texts.append(message)


def main() -> int:
    """Record how many were found; 1 where too few, or too many wrong alarms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="what was said of each")
    show = parser.parse_args().show
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")
    faults = {name: bool(re.search(words, said(build), re.IGNORECASE)) for name, build, words in FAULTS}
    alarms = {name: alarm(build) for name, build in SOUND}
    if show:
        for name, build, _ in FAULTS:
            if not faults[name]:
                print(f"not found: {name}: {said(build)[:600]}")
    found, wrong = sum(faults.values()), {name: text for name, text in alarms.items() if text}
    print(f"{found} of {len(faults)} faults found; {len(wrong)} of {len(alarms)} sound models alarmed: {wrong}")
    recorded.write_result(
        "planted_faults",
        what="planted faults that edgefm.quantize found and named, and wrong alarms on sound models",
        command="python -m benchmarks.planted_faults",
        figures={"found": faults, "alarms": alarms},
    )
    return 0 if found >= FOUND_AT_LEAST * len(faults) and len(wrong) <= ALARMS_AT_MOST else 1


def said(build: Callable[[], tuple[Any, Any, dict[str, Any]]]) -> str:
    """Return all that is said of a model: notes, findings, reasons of left-out variants, the error."""
    notes = _Notes()
    try:
        model, data, arguments = build()
        files = edgefm.quantize(
            model, data=data, progress=notes, **{"variants": ["float32", "float16", "int8_w8a8"], **arguments}
        )
    except EdgefmError as error:
        return "\n".join([*notes.texts, str(error)])
    findings = [f"{finding['where']}: {finding['message']}" for finding in files.findings]
    return "\n".join([*notes.texts, *findings, *files.skipped.values()])


def alarm(build: Callable[[], tuple[Any, Any, dict[str, Any]]]) -> str:
    """Return what is wrongly said of a sound model: an error, or the findings; '' for nothing."""
    try:
        model, data, arguments = build()
        files = edgefm.quantize(
            model, data=data, progress=False, **{"variants": ["float32", "float16", "int8_w8a8"], **arguments}
        )
    except EdgefmError as error:
        return str(error)
    return "; ".join(f"{finding['where']}: {finding['message']}" for finding in files.findings)


def colours(samples: int = 300, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy pictures of one colour each, and which it is."""
    random = np.random.default_rng(1)
    labels = np.arange(samples) % classes
    images = random.integers(0, 70, (samples, SIDE, SIDE, 3)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[..., label % 3] += np.uint8(180 if label < 3 else 90)
    return images, labels


def brightnesses(classes: int = 4, samples: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures of several brightnesses, and which it is: that depends on the scale of the inputs."""
    random = np.random.default_rng(2)
    labels = np.arange(samples) % classes
    images = random.integers(0, 50, (samples, SIDE, SIDE, 3)).astype(np.uint8)
    return images + (labels * (200 // classes)).astype(np.uint8)[:, None, None, None], labels


def cells(classes: int, samples: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures in which one of up to 16 cells is bright, and which it is."""
    random = np.random.default_rng(3)
    labels = np.arange(samples) % classes
    images = random.integers(0, 60, (samples, SIDE, SIDE, 3)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * (label // 4) : 2 * (label // 4) + 2, 2 * (label % 4) : 2 * (label % 4) + 2] += np.uint8(180)
    return images, labels


def nearest_mean(inputs: np.ndarray, labels: np.ndarray, *, activation: str | None = "softmax") -> Any:
    """Return a classifier by the nearest mean colour of the inputs that it is made from."""
    import keras

    colour = inputs.mean(axis=(1, 2))
    means = np.array([colour[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
    sharpness = 20 / np.square(means - means.mean(axis=0)).sum(axis=1).mean()
    entry = keras.Input(inputs.shape[1:])
    head = keras.layers.Dense(len(means), activation=activation, name="head")
    model = keras.Model(entry, head(keras.layers.GlobalAveragePooling2D()(entry)), name="nearest_mean")
    head.set_weights([2 * sharpness * means.T, -sharpness * np.square(means).sum(axis=1)])
    return model


def cells_model(order: list[int], *, sharpness: float = 6.0) -> Any:
    """Return a classifier of bright cells whose output k is cell order[k]; it takes pixels 0 to 255."""
    import keras

    entry = keras.Input((SIDE, SIDE, 3))
    means = keras.layers.AveragePooling2D(2)(keras.layers.Rescaling(1 / 255)(entry))
    head = keras.layers.Dense(len(order), activation="softmax", name="head")
    model = keras.Model(entry, head(keras.layers.Flatten()(means)), name="cells")
    kernel = np.zeros((48, len(order)), np.float32)
    for place, cell in enumerate(order):
        kernel[3 * cell : 3 * cell + 3, place] = sharpness
    head.set_weights([kernel, np.zeros(len(order))])
    return model


def numbers(scales: tuple[float, ...]) -> tuple[Any, Any, dict[str, Any]]:
    """Return a regression whose outputs have these scales, with its data."""
    import keras

    random = np.random.default_rng(4)
    x = random.normal(size=(400, 6)).astype(np.float32)
    entry = keras.Input((6,))
    head = keras.layers.Dense(len(scales), name="numbers")
    model = keras.Model(entry, head(entry), name="numbers")
    kernel = random.normal(size=(6, len(scales)))
    head.set_weights([kernel * np.array(scales), np.zeros(len(scales))])
    # What is asked for varies also where the model's answer does not.
    wanted = (x @ kernel * [scale or 1.0 for scale in scales]).astype(np.float32)
    return model, edgefm.data.from_arrays(x, wanted, task="regression"), {}


def joined(operation: str) -> tuple[Any, Any, dict[str, Any]]:
    """Return a model in which a large and a small branch meet in an operation."""
    import keras

    random = np.random.default_rng(5)
    x = random.normal(size=(400, 6)).astype(np.float32)
    entry = keras.Input((6,))
    large, small = keras.layers.Dense(2, name="large"), keras.layers.Dense(2, name="small")
    branches = [large(entry), small(entry)]
    outputs = {
        "concatenate": lambda: keras.layers.Concatenate(name="joined")(branches),
        "stack": lambda: keras.layers.Flatten()(keras.ops.stack(branches, axis=1)),
        "three": lambda: keras.layers.Concatenate(name="joined")([*branches, keras.layers.Dense(1)(entry)]),
    }[operation]()
    model = keras.Model(entry, outputs, name="joined")
    large.set_weights([random.normal(size=(6, 2)) * 1000, np.zeros(2)])
    small.set_weights([random.normal(size=(6, 2)), np.zeros(2)])
    return model, edgefm.data.from_arrays(x, model.predict(x, verbose=0), task="regression"), {}


def _data(images: np.ndarray, labels: np.ndarray, **options: Any) -> Any:
    return edgefm.data.from_arrays(images, labels, progress=False, **options)


def _order(names: list[str], order: list[int]) -> Callable[[], tuple[Any, Any, dict[str, Any]]]:
    """Return a case of named classes whose model has them in another order; names are sorted as Python does."""

    def build() -> tuple[Any, Any, dict[str, Any]]:
        images, labels = cells(len(names))
        return cells_model(order), _data(images, np.array(names)[labels]), {}

    return build


def _by_number(names: list[str]) -> list[int]:
    return sorted(range(len(names)), key=lambda place: int(names[place]))


def _range(make: Callable[[np.ndarray], np.ndarray], **arguments: Any) -> Callable[[], tuple[Any, Any, dict[str, Any]]]:
    def build() -> tuple[Any, Any, dict[str, Any]]:
        images, labels = brightnesses(6)
        return nearest_mean(make(images.astype(np.float64)), labels), _data(images, labels), arguments

    return build


def _swapped(make: Callable[[np.ndarray], np.ndarray]) -> Callable[[], tuple[Any, Any, dict[str, Any]]]:
    def build() -> tuple[Any, Any, dict[str, Any]]:
        images, labels = colours()
        model = nearest_mean(make(images.astype(np.float64))[..., ::-1], labels)
        given = images if make is _as_they_are else make(images.astype(np.float64)).astype(np.float32)
        return model, _data(given, labels), {}

    return build


def _as_they_are(pixels: np.ndarray) -> np.ndarray:
    return pixels


def _hot(scores: np.ndarray) -> np.ndarray:
    return (scores > 0).astype(int)


def _float(scores: np.ndarray) -> np.ndarray:
    return scores.astype(np.float32)


def _made_of(make: Callable[[np.ndarray], np.ndarray]) -> tuple[Any, Any, dict[str, Any]]:
    images, labels = colours()
    return nearest_mean(make(images.astype(np.float64)), labels), _data(images, labels), {}


def _torch(pixels: np.ndarray) -> np.ndarray:
    return (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]


def _caffe(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., ::-1] - [103.939, 116.779, 123.68]


def _head(
    units: int, activation: str | None, labels: Any, **arguments: Any
) -> Callable[[], tuple[Any, Any, dict[str, Any]]]:
    def build() -> tuple[Any, Any, dict[str, Any]]:
        import keras

        random = np.random.default_rng(6)
        x = random.normal(size=(300, 6)).astype(np.float32)
        entry = keras.Input((6,))
        model = keras.Model(entry, keras.layers.Dense(units, activation=activation, name="head")(entry))
        scores = keras.Model(entry, entry).predict(x, verbose=0) @ model.get_layer("head").get_weights()[0]
        return model, _data(x, labels(scores)), arguments

    return build


def _weights(change: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[], tuple[Any, Any, dict[str, Any]]]:
    def build() -> tuple[Any, Any, dict[str, Any]]:
        images, labels = cells(4)
        model = cells_model([0, 1, 2, 3])
        model.get_layer("head").set_weights(change(*model.get_layer("head").get_weights()))
        return model, _data(images, labels), {}

    return build


def _masks(make: Callable[[np.ndarray], np.ndarray]) -> Callable[[], tuple[Any, Any, dict[str, Any]]]:
    def build() -> tuple[Any, Any, dict[str, Any]]:
        import keras

        images, _ = colours(120)
        entry = keras.Input((SIDE, SIDE, 3))
        scores = keras.layers.Conv2D(2, 1, activation="softmax")(keras.layers.Rescaling(1 / 255)(entry))
        return keras.Model(entry, scores), _data(images, make(images), task="segmentation"), {}

    return build


def _at(value: float, array: np.ndarray) -> np.ndarray:
    changed = array.copy()
    changed.flat[0] = value
    return changed


def _nan_in_data() -> tuple[Any, Any, dict[str, Any]]:
    model, _, _ = numbers((1.0, 1.0))
    x = np.random.default_rng(7).normal(size=(400, 6)).astype(np.float32)
    x[17, 2] = np.nan
    return model, _data(x, np.zeros((400, 2), np.float32), task="regression"), {}


def _tokens_as_floats() -> tuple[Any, Any, dict[str, Any]]:
    import keras

    entry = keras.Input((12,), dtype="int32")
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(50, 8)(entry))
    x_floats = np.random.default_rng(8).uniform(0, 50, (120, 12)).astype(np.float32)
    return keras.Model(entry, keras.layers.Dense(2, activation="softmax")(x)), _data(x_floats, np.arange(120) % 2), {}


def _pictures_of_another_size() -> tuple[Any, Any, dict[str, Any]]:
    images, labels = cells(4)
    return cells_model([0, 1, 2, 3]), _data(images[:, :6], labels), {}


def _more_labels_than_outputs() -> tuple[Any, Any, dict[str, Any]]:
    images, labels = cells(6)
    return cells_model([0, 1, 2, 3]), _data(images, labels), {}


def _dead_label() -> tuple[Any, Any, dict[str, Any]]:
    model, data, arguments = _head(4, "sigmoid", lambda scores: (scores > 0).astype(int))()
    kernel, bias = model.get_layer("head").get_weights()
    kernel[:, 2] = 0
    model.get_layer("head").set_weights([kernel, bias])
    return model, data, arguments


def _targets_of_another_shape() -> tuple[Any, Any, dict[str, Any]]:
    model, _, _ = numbers((1.0, 1.0))
    x = np.random.default_rng(9).normal(size=(400, 6)).astype(np.float32)
    return model, _data(x, np.zeros((400, 3), np.float32), task="regression"), {}


def _few_samples() -> tuple[Any, Any, dict[str, Any]]:
    images, labels = cells(4, samples=200)
    return cells_model([0, 1, 2, 3]), _data(images, labels), {"variants": None}


NUMBERS = sorted(str(number) for number in range(12))
CASES = sorted(["apple", "Bear", "cat", "Dog"])
POWERS = sorted(["1", "10", "100", "1000", "2", "20"])
CHANCE = "order of classes, the value range"
ORDER = "classes in the order|fits none of them"
FAULTS: list[Case] = [
    ("order: numbers", _order(NUMBERS, _by_number(NUMBERS)), ORDER),
    ("order: powers", _order(POWERS, _by_number(POWERS)), ORDER),
    ("order: upper and lower case", _order(CASES, sorted(range(4), key=lambda place: CASES[place].lower())), ORDER),
    ("order: reversed numbers", _order(NUMBERS, list(range(12))[::-1]), ORDER),
    ("order: shifted by one", _order(["a", "b", "c", "d"], [1, 2, 3, 0]), CHANCE),
    ("order: reversed", _order(["a", "b", "c", "d", "e", "f"], [5, 4, 3, 2, 1, 0]), CHANCE),
    ("range: 0 to 1", _range(lambda pixels: pixels / 255), "inputs 0 to 1"),
    ("range: -1 to 1", _range(lambda pixels: pixels / 127.5 - 1), "inputs -1 to 1"),
    ("range: ImageNet's mean and deviation", _range(_torch), "std of ImageNet"),
    ("range: said wrongly", _range(lambda pixels: pixels / 255, value_range=(0, 255)), CHANCE),
    ("range: said wrongly, the other way", _range(_as_they_are, value_range=(0, 1)), CHANCE),
    ("channels: BGR", _swapped(_as_they_are), "BGR"),
    ("channels: BGR, floats", _swapped(lambda pixels: pixels / 255), "BGR"),
    ("channels: ImageNet's mean, BGR", lambda: _made_of(_caffe), "BGR"),
    ("head: one logit", _head(1, None, lambda scores: (scores[:, 0] > 0).astype(int)), "a sigmoid is added"),
    ("head: logits of classes", _head(3, None, lambda scores: scores.argmax(axis=1)), "a softmax is added"),
    ("head: logits of several labels", _head(4, None, lambda scores: (scores > 0).astype(int)), "a sigmoid is added"),
    ("head: softmax over one unit", _head(1, "softmax", lambda scores: np.arange(300) % 2), "always 1"),
    ("head: softmax for several labels", _head(4, None, _hot, head="softmax"), "several labels"),
    ("head: logarithms of probabilities", _head(3, "log_sigmoid", lambda scores: scores.argmax(axis=1)), "log_sigmoid"),
    ("scale: one small number of three", lambda: numbers((300.0, 1.0, 200.0)), "levels left"),
    ("scale: concatenated", lambda: joined("concatenate"), "float32"),
    ("scale: stacked", lambda: joined("stack"), "float32"),
    ("scale: three branches", lambda: joined("three"), "float32"),
    ("dtype: floats for tokens", _tokens_as_floats, "whole numbers"),
    ("dtype: a weight beyond float16", _weights(lambda kernel, bias: (_at(1e8, kernel), bias)), "float16 cannot hold"),
    ("dtype: NaN among the weights", _weights(lambda kernel, bias: (_at(np.nan, kernel), bias)), "head"),
    ("dtype: NaN among the samples", _nan_in_data, r"\b17\b"),
    ("shape: pictures of another size", _pictures_of_another_size, "8"),
    ("shape: more classes than outputs", _more_labels_than_outputs, "6 classes|class 5|labels"),
    ("masks: of another size", _masks(lambda images: np.zeros((120, 4, 4), int)), "masks"),
    ("masks: a class too many", _masks(lambda images: np.full((120, SIDE, SIDE), 2)), "class 2"),
    ("dead: all outputs", _weights(lambda kernel, bias: (0 * kernel, np.arange(4.0))), "the same for all"),
    ("dead: always one class", _weights(lambda kernel, bias: (kernel, bias + np.array([0, 99, 0, 0]))), CHANCE),
    ("dead: one number", lambda: numbers((1.0, 0.0, 1.0)), "column 1 of output 0"),
    ("dead: one label of several", _dead_label, "column 2 of output 0"),
    ("targets: of another shape", _targets_of_another_shape, "shape"),
    ("targets: classes that the model never learnt", _order(list("abcdefgh"), [3, 0, 1, 2, 7, 4, 5, 6]), CHANCE),
    ("head: a sigmoid for numbers", _head(3, None, _float, head="sigmoid"), "no scores of labels"),
    ("small n: too few to fine-tune on", _few_samples, "few to fine-tune on"),
]  # fmt: skip


def _sound() -> list[tuple[str, Callable[[], tuple[Any, Any, dict[str, Any]]]]]:
    """Return 40 sound models: orders, ranges, heads and scales as they should be."""
    cases: list[tuple[str, Callable[[], tuple[Any, Any, dict[str, Any]]]]] = []
    for classes in (2, 3, 4, 6, 9, 10, 12, 16):
        for sharpness in (1.5, 6.0):
            cases.append(
                (
                    f"cells {classes}, sharpness {sharpness}",
                    lambda classes=classes, sharpness=sharpness: (
                        cells_model(list(range(classes)), sharpness=sharpness), _data(*cells(classes)), {},
                    ),
                )
            )  # fmt: skip
    for classes in (2, 3, 4, 5, 6):
        cases.append((f"brightness {classes}", lambda classes=classes: _sound_range(_as_they_are, classes, None)))
        cases.append(
            (
                f"brightness {classes}, range said",
                lambda classes=classes: _sound_range(lambda pixels: pixels / 255, classes, (0, 1)),
            )
        )
    for scales in ((1.0,), (1.0, 1.0), (2.0, 1.0, 3.0), (5.0, 1.0), (0.01, 0.02), (100.0, 80.0)):
        cases.append((f"numbers {scales}", lambda scales=scales: numbers(scales)))
    heads: list[tuple[int, str, Any]] = [
        (1, "sigmoid", lambda scores: (scores[:, 0] > 0).astype(int)),
        (2, "softmax", lambda scores: scores.argmax(axis=1)),
        (5, "softmax", lambda scores: scores.argmax(axis=1)),
        (3, "sigmoid", lambda scores: (scores > 0).astype(int)),
        (6, "sigmoid", lambda scores: (scores > 0).astype(int)),
        (4, "softmax", lambda scores: np.eye(4)[scores.argmax(axis=1)]),
        (1, "linear", lambda scores: scores.astype(np.float32)),
        (3, "linear", lambda scores: scores.astype(np.float32)),
    ]
    for units, activation, labels in heads:
        cases.append((f"head {units} {activation}", _head(units, activation, labels)))
    return cases


def _sound_range(
    make: Callable[[np.ndarray], np.ndarray], classes: int, said_range: tuple[float, float] | None
) -> tuple[Any, Any, dict[str, Any]]:
    images, labels = brightnesses(classes)
    model = nearest_mean(make(images.astype(np.float64)), labels)
    return model, _data(images, labels), {} if said_range is None else {"value_range": said_range}


SOUND = _sound()

if __name__ == "__main__":
    raise SystemExit(main())
