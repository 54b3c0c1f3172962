"""The runtime `linear`: a model file is one .npy matrix [inputs, classes]; its answer is x @ matrix."""

import contextlib

import numpy as np

from edgefm.runtimes.base import Available, TensorDetails

name = "linear"


def version():
    return np.__version__


def availability():
    return Available()  # or Unavailable(reason="what is missing")


def load(path, *, threads=1):
    return LinearSession(np.load(path, allow_pickle=False))


class LinearSession(contextlib.AbstractContextManager):
    def __init__(self, matrix):
        self.matrix, (inputs, classes) = matrix, matrix.shape
        floats = {"dtype": "float32", "scale": None, "zero_point": None}
        self.input = TensorDetails(name="x", shape=(1, inputs), **floats)
        self.output = TensorDetails(name="y", shape=(1, classes), **floats)
        self.outputs = (self.output,)

    def set_input(self, array):
        self.x = np.array(array)

    def invoke(self):  # what is timed
        self.y = self.x @ self.matrix

    def get_output(self):
        return self.y.copy()

    def get_outputs(self):
        return (self.get_output(),)

    def run(self, array):
        self.set_input(array)
        self.invoke()
        return self.get_output()

    def __exit__(self, *error):
        del self.matrix
