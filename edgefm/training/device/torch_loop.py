"""Steps on PyTorch: one after the other; the figures of many come back at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgefm.training.device.batch import Job, batch_of, mean_loss, penalty


class TorchLoop:
    """Runs steps eagerly; see `Loop`."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def run(self, held: Mapping[str, Any], rows: Mapping[str, Any], *, first: int, count: int) -> NDArray[np.float32]:
        """See `Loop.run`."""
        figures = torch.stack([self._step(held, rows, step) for step in range(first, first + count)])
        result: NDArray[np.float32] = figures.cpu().numpy()
        return result

    def answer(self, inputs: Any) -> Any:
        """See `Loop.answer`."""
        with torch.no_grad():
            return self._job.model(inputs, training=False)

    def _step(self, held: Mapping[str, Any], rows: Mapping[str, Any], step: int) -> Any:
        job, model = self._job, self._job.model
        with torch.no_grad():
            inputs, targets, weighted, taught = batch_of(job, held, rows, step)
        variables = model.trainable_variables
        values = [variable.value for variable in variables]
        for value in values:
            value.grad = None
        outputs = model(inputs, training=True)
        loss, right = mean_loss(job, outputs, targets, weighted, taught, model.losses)
        model.optimizer.scale_loss(loss + penalty(job, values)).backward()
        with torch.no_grad():
            model.optimizer.apply([value.grad for value in values], variables)
            return torch.stack([loss.detach(), right])
