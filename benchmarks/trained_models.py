"""Models of the table trained for a few steps on made-up samples that they can learn, and Keras's answers to some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.model_builders import samples_of
from edgefm.core import joined

_SAMPLES, _TEST = 400, 60
_STEPS, _STEPS_OF_LARGE = 40, 8
_LARGE = 1_000_000


def trained(
    build: Callable[[], Any], *, seed: int
) -> tuple[Any, Any, dict[str, NDArray[Any]], list[NDArray[np.float32]]]:
    """Return a model that was trained for a few steps, its data, its test samples and Keras's answers to them."""
    import keras

    import edgefm

    keras.utils.set_random_seed(seed)
    model = build()
    samples = samples_of(model, _SAMPLES, seed=seed)
    targets, task = _targets(model, samples)
    _train(model, samples, targets, task)
    data = edgefm.data.from_arrays(
        _given(samples, slice(None, -_TEST)),
        targets[:-_TEST],
        test=(_given(samples, slice(-_TEST, None)), targets[-_TEST:]),
        task=task,
        progress=False,
    )
    test = {key: values[-_TEST:] for key, values in samples.items()}
    return model, data, test, [output[-_TEST:] for output in _of_keras(model, samples)]


def _given(samples: Mapping[str, NDArray[Any]], part: slice) -> Any:
    """Return some samples as `from_arrays` takes them: an array, or a mapping of several inputs."""
    some = {key: values[part] for key, values in samples.items()}
    return some.get("", some)


def _targets(model: Any, samples: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], str]:
    """Return targets that a model can learn of its samples, and their task."""
    (first, *_), shape = samples.values(), tuple(model.outputs[0].shape[1:])
    means = first.reshape(len(first), -1, first.shape[-1]).mean(axis=1)
    if first.shape[1:] == shape:
        return first, "reconstruction"
    if len(shape) == 3:
        brightness = first.mean(axis=-1)
        return np.digitize(brightness, np.quantile(brightness, [1 / 4, 1 / 2, 3 / 4])).astype(np.int64), "segmentation"
    generator = np.random.default_rng(1)
    scores = (means - means.mean(axis=0)) @ generator.normal(size=(means.shape[1], shape[0]))
    activation = getattr(getattr(model.outputs[0]._keras_history.operation, "activation", None), "__name__", "")
    if shape == (1,):
        return (scores[:, 0] > np.median(scores)).astype(np.int64), "classification"
    if activation == "sigmoid":
        return (scores > np.median(scores, axis=0)).astype(np.int64), "multilabel"
    if isinstance(getattr(model, "_outputs_struct", None), dict) and "box" in model._outputs_struct:
        return scores.astype(np.float32), "regression"
    classes = scores.argmax(axis=1)
    classes[: shape[0]] = np.arange(shape[0])  # each class occurs
    classes[-shape[0] :] = np.arange(shape[0])
    return classes.astype(np.int64), "classification"


def _train(model: Any, samples: Mapping[str, NDArray[Any]], targets: NDArray[Any], task: str) -> None:
    """Train for a few steps, so that the outputs mean something and the statistics of the layers are those of data."""
    import keras

    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5  # a few steps are enough for its averages
    losses = {"reconstruction": "mse", "regression": "mse", "multilabel": "binary_crossentropy"}
    first = keras.tree.flatten(model.outputs)[0]
    binary = keras.losses.BinaryCrossentropy(from_logits=_linear(first)) if tuple(first.shape[1:]) == (1,) else None
    loss = binary or keras.losses.get(losses.get(task, "sparse_categorical_crossentropy"))
    optimizer = keras.optimizers.Adam(1e-3)
    steps = _STEPS_OF_LARGE if model.count_params() > _LARGE else _STEPS
    logits = task == "classification" and binary is None and _linear(first)
    import tensorflow as tf

    for step in range(steps):
        places = np.random.default_rng(step).choice(_SAMPLES - _TEST, 32, replace=False)
        given = _for_keras(model, {key: values[places] for key, values in samples.items()})
        with tf.GradientTape() as tape:
            output = keras.tree.flatten(model(given, training=True))[0]
            output = keras.ops.softmax(output) if logits else output
            wanted = targets[places][:, None] if binary is not None else targets[places]
            value = keras.ops.mean(loss(wanted, output))
        gradients = tape.gradient(value, model.trainable_variables)
        pairs = [pair for pair in zip(gradients, model.trainable_variables, strict=True) if pair[0] is not None]
        if step == 0:
            optimizer.build([variable for _, variable in pairs])
        optimizer.apply_gradients(pairs)


def _linear(tensor: Any) -> bool:
    activation = getattr(tensor._keras_history.operation, "activation", None)
    return getattr(activation, "__name__", "linear") == "linear"


def _for_keras(model: Any, samples: dict[str, NDArray[Any]]) -> Any:
    from edgefm.keras_graph.ends import given_to

    return samples[""] if "" in samples else given_to(model, joined.join(samples))


def _of_keras(model: Any, samples: dict[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
    import keras

    outputs = model.predict(_for_keras(model, samples), verbose=0)
    return [np.asarray(output, np.float32) for output in keras.tree.flatten(outputs)]
