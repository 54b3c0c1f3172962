"""The runtime `linear`: a model file is one .npy matrix [inputs, classes]; its answer is x @ matrix."""

import numpy as np

from edgefm.runtimes.base import Available, TensorDetails
from edgefm.runtimes.session import BaseSession

name = "linear"


def version():
    return np.__version__


def availability():
    return Available()  # or Unavailable(reason="what is missing")


def load(path, *, threads=1):
    return LinearSession(np.load(path, allow_pickle=False))


class LinearSession(BaseSession):
    def __init__(self, matrix):
        floats = {"dtype": "float32", "scale": None, "zero_point": None}
        x, y = (TensorDetails(name=n, shape=(1, size), **floats) for n, size in zip("xy", matrix.shape, strict=True))
        super().__init__(x, [y], self.multiply)
        self.matrix = matrix

    def multiply(self):  # what is timed
        self.y = self.x @ self.matrix

    def set_input(self, array):
        self.x = np.array(array)

    def get_outputs(self):
        return (self.y.copy(),)
