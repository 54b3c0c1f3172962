"""How good a model's answers are: accuracy, top-5, AUC, mean squared error, or a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Outputs = tuple[NDArray[Any], ...]


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A quality measure.

    Attributes:
      name: 'accuracy', 'top5', 'auc', 'mse', or 'module:function'.
      function: (outputs, targets) -> value. `outputs` are a model's outputs, float32 [n, ...] each, in its order;
        `targets` int64 [n] for classes, float32 [n, ...] otherwise.
      higher_is_better: False for an error.
      unit: '%' where the value is a share (0 to 1) that is shown in percent, '' otherwise.
    """

    name: str
    function: Callable[[Outputs, NDArray[Any]], float]
    higher_is_better: bool
    unit: str

    def loss(self, reference: float, found: float) -> float:
        """Return by how much `found` is worse than `reference`: above 0 is worse; percentage points for a share."""
        difference = reference - found if self.higher_is_better else found - reference
        return 100 * difference if self.unit == "%" else difference
