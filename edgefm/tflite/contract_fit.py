"""Whether a contract is that of a loaded model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgefm.core.errors import ModelError
from edgefm.tflite.contract import Contract
from edgefm.tflite.contract_tensor import HasEnds


def check_fit(contract: Contract, source: HasEnds, sinks: Sequence[HasEnds]) -> None:
    """Raise a ModelError where a contract is not that of a loaded model: its answers would be nonsense.

    Args:
      contract: as it was written beside the model.
      source: the input, as the runtime tells it.
      sinks: the outputs, as the runtime tells them.
    """
    if len(contract.outputs) != len(sinks):
        raise _misfit(contract, f"{len(contract.outputs)} outputs", f"{len(sinks)}")
    pairs = [(f"output {place}", *pair) for place, pair in enumerate(zip(contract.outputs, sinks, strict=True))]
    for name, said, found in [("input", contract.input, source), *pairs]:
        if (said.dtype, said.shape) != (found.dtype, found.shape):
            raise _misfit(contract, f"{name} {said.dtype} {said.shape}", f"{found.dtype} {found.shape}")
        levels = (said.scale, said.zero_point), (found.scale, found.zero_point)
        if not all(np.isclose(a or 0, b or 0, rtol=1e-6, atol=0) for a, b in zip(*levels, strict=True)):
            raise _misfit(contract, f"{name} with scale and zero point {levels[0]}", f"{levels[1]}")


def _misfit(contract: Contract, said: str, found: str) -> ModelError:
    return ModelError(
        f"the contract of {contract.file} is not that of this model: it says {said}, the file has {found}",
        hint="Write it again with: edgefm quantize",
    )
