"""Gradients of convolutions of one pixel with strides, on TensorFlow with oneDNN: numpy is the oracle.

In a process of its own: without the module these cases end it, or their gradients are wrong by a third.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from edgefm.core.subprocesses import import_path

_PROGRAM = """
import json, sys
import numpy as np, tensorflow as tf
library, kind, stride, channels, filters, size, count = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
keras = __import__(library)
from edgefm.keras_graph.strided_pointwise import strided_pointwise
layers = keras.layers
if kind == "conv":
    layer = layers.Conv2D(filters, 1, stride, use_bias=False)
elif kind == "transposed":
    layer = layers.Conv2DTranspose(filters, 1, stride, activation="relu")
else:
    layer = layers.DepthwiseConv2D(1, stride, use_bias=False)
inputs = keras.Input((size, size, channels))
model = keras.Model(inputs, layer(inputs))
random = np.random.default_rng(0)
x = tf.constant(random.standard_normal((count, size, size, channels)), tf.float32)
kernel = random.standard_normal(tuple(layer.weights[0].shape)).astype(np.float32)
bias = random.standard_normal(filters).astype(np.float32)
layer.set_weights([kernel, bias] if kind == "transposed" else [kernel])

@tf.function
def gradients():
    with tf.GradientTape() as tape:
        tape.watch(x)
        with strided_pointwise(model) as number:
            assert number == 1
            y = model(x * 1.0, training=True)
        loss = tf.reduce_sum(y * y)
    return tape.gradient(loss, [x, model.trainable_variables[0] if library == "tf_keras"
                                else model.trainable_variables[0].value])

for _ in range(6):
    by_input, by_kernel = (value.numpy() for value in gradients())
assert layer.strides == (stride, stride)
taken = x.numpy().astype(np.float64)[:, ::stride, ::stride]
if kind == "conv":
    y = taken @ kernel[0, 0]
    wanted_kernel = np.einsum("bijc,bijd->cd", taken, 2 * y)[None, None]
    back = (2 * y) @ kernel[0, 0].T
elif kind == "transposed":
    weights, count_and_sizes = kernel[0, 0].T, (count, size * stride, size * stride, filters)
    whole = np.zeros(count_and_sizes) + bias
    whole[:, ::stride, ::stride] += x.numpy().astype(np.float64) @ weights
    change = 2 * np.maximum(whole, 0)[:, ::stride, ::stride]
    wanted_kernel = np.einsum("bijd,bijc->dc", change, x.numpy())[None, None]
    back = change @ weights.T
    stride = 1
else:
    y = taken * kernel[0, 0, :, 0]
    wanted_kernel = np.einsum("bijc,bijc->c", taken, 2 * y)[None, None, :, None]
    back = 2 * y * kernel[0, 0, :, 0]
wanted_input = np.zeros(x.shape)
wanted_input[:, ::stride, ::stride] = back
print(json.dumps([float(np.abs(got - wanted).max() / np.abs(wanted).max())
                  for got, wanted in ((by_input, wanted_input), (by_kernel, wanted_kernel))]))
"""


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
@pytest.mark.parametrize(
    "case",
    [("conv", 2, 1, 8, 12, 4), ("conv", 4, 3, 5, 16, 32), ("depthwise", 3, 1, 1, 12, 4), ("transposed", 2, 3, 5, 9, 4)],
    ids=lambda case: "-".join(map(str, case)),
)
def test_gradients_are_those_of_numpy(library: str, case: tuple[Any, ...]) -> None:
    variables = {
        **os.environ,
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "TF_NUM_INTRAOP_THREADS": "1",
        "KERAS_BACKEND": "tensorflow",
        "PYTHONPATH": import_path(),
    }
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, library, *map(str, case)],
        capture_output=True,
        text=True,
        env=variables,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert np.max(json.loads(done.stdout.splitlines()[-1])) < 1e-5
