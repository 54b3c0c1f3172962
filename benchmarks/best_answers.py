"""Accuracy of one model on one split, in a process of its own: a .tflite file by LiteRT, a .keras file by Keras.

Run: python -m benchmarks.best_answers MODEL --split test [--data DATA] [--backend jax]. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.data.dataset import Dataset, Split
from edgefm.data.source import DataSource

_BATCH = 500


def main() -> None:
    """Print {"accuracy", "images", "split", "data"}; accuracy 0 to 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--split", choices=("validation", "test"), required=True)
    parser.add_argument("--data")
    parser.add_argument("--backend")
    options = parser.parse_args()
    dataset = load(options.data)
    split = getattr(dataset, options.split)
    keras = options.model.suffix == ".keras"
    classes = by_keras(options.model, split, options.backend) if keras else by_litert(options.model, split)
    answers = {"accuracy": float((classes == split.labels).mean()), "images": len(split), "split": split.name}
    print(json.dumps({**answers, "data": dataset.sha256}))


def load(where: str | None) -> Dataset:
    """Return Fashion-MNIST, or the data at a place."""
    source = DataSource() if where is None else DataSource(where=where)
    return source.load(None)


def by_litert(model: Path, split: Split) -> NDArray[np.int64]:
    """Return the class that a file with uint8 input gives each picture, one picture a call."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(model_path=str(model), num_threads=1)
    interpreter.allocate_tensors()
    (given,), (asked,) = interpreter.get_input_details(), interpreter.get_output_details()
    classes = np.empty(len(split), np.int64)
    for place, image in enumerate(split.images):
        interpreter.set_tensor(given["index"], image[np.newaxis].astype(given["dtype"]))
        interpreter.invoke()
        classes[place] = interpreter.get_tensor(asked["index"])[0].argmax()
    return classes


def by_keras(model: Path, split: Split, backend: str | None) -> NDArray[np.int64]:
    """Return the class that a Keras model gives each picture, in evaluation mode."""
    from edgefm.keras_graph.backend import use_backend

    use_backend(backend)
    import keras

    network = keras.saving.load_model(model)
    parts = [
        np.asarray(network.predict_on_batch(split.images[start : start + _BATCH])).argmax(axis=1)
        for start in range(0, len(split), _BATCH)
    ]
    return np.concatenate(parts).astype(np.int64)


if __name__ == "__main__":
    main()
