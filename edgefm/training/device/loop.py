"""Many steps a call on the device: what a loop does, and which loop the backend has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from edgefm.training.device.batch import Job


class Loop(Protocol):
    """Runs steps; between calls of `run` the model and its optimiser hold the state."""

    def run(self, held: Mapping[str, Any], rows: Mapping[str, Any], *, first: int, count: int) -> NDArray[np.float32]:
        """Run steps `first` … `first + count - 1` of an epoch.

        Args:
          held: on the device: images, labels, weights of classes.
          rows: on the device: order and what `epoch_chance` returns, [steps, batch, ...] each.
          first: first step.
          count: steps.
        Returns:
          float32 [count, 2]: the loss and the share of right answers of each step.
        """

    def answer(self, inputs: Any) -> Any:
        """Return the model's outputs of a batch of inputs in evaluation mode, [b, classes or 1], on the device."""


def loop_of(job: Job) -> Loop:
    """Return the loop of the backend that Keras runs on."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        from edgefm.training.device.tensorflow_loop import TensorFlowLoop

        return TensorFlowLoop(job)
    if backend == "jax":
        from edgefm.training.device.jax_loop import JaxLoop

        return JaxLoop(job)
    from edgefm.training.device.torch_loop import TorchLoop

    return TorchLoop(job)
