"""How far LiteRT's own kernel sets lie apart on a model: other runtimes may differ from their reference as much.

They are the same library's, and right. Where they differ on some samples, a difference of another runtime that is no
larger and in no more values is what right kernels do to this model.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgefm.agreement.arithmetic import ModelTensors
from edgefm.agreement.cells import AgreementCell
from edgefm.agreement.comparison import OutputComparison, Outputs, compare

_LITERT = "litert"


@dataclass(frozen=True, kw_only=True)
class KernelSpread:
    """How far two kernel sets of LiteRT on this machine lie apart.

    Attributes:
      first: name of a cell.
      second: name of the other one.
      comparison: of their answers.
    """

    first: str
    second: str
    comparison: OutputComparison

    @property
    def limit(self) -> float:
        """Largest difference, levels."""
        return self.comparison.largest or 0.0

    @property
    def share(self) -> float:
        """Share of the values that differ."""
        return (self.comparison.values - self.comparison.equal_values) / self.comparison.values

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {"first": self.first, "second": self.second, "largest": self.limit, "share": self.share}


def is_litert_here(cell: AgreementCell) -> bool:
    """Return whether a cell is a kernel set of LiteRT on this machine."""
    return cell.on_host and cell.name_of_runtime == _LITERT


def kernel_spreads(outputs: Mapping[AgreementCell, Outputs], ends: ModelTensors) -> tuple[KernelSpread, ...]:
    """Return how far LiteRT's kernel sets lie apart on a quantised model, the nearest two first.

    Two that are equal, or further apart than rounding explains, are left out: a broken kernel set of LiteRT must not
    excuse others.

    Args:
      outputs: answers of all cells that ran.
      ends: of the model; of a float one there are none, as float kernels do not round to levels.
    """
    if ends.arithmetic == "float":
        return ()
    pairs = itertools.combinations([cell for cell in outputs if is_litert_here(cell)], 2)
    spreads = [
        KernelSpread(
            first=first.name, second=second.name, comparison=compare(outputs[first], outputs[second], ends=ends)
        )
        for first, second in pairs
    ]
    explained = [spread for spread in spreads if 0 < spread.limit <= ends.rounding.envelope]
    return tuple(sorted(explained, key=lambda spread: (spread.limit, spread.share)))


def covering(comparison: OutputComparison, spreads: Sequence[KernelSpread]) -> KernelSpread | None:
    """Return the first two kernel sets that lie at least as far apart as two answers do, in levels and in values."""
    return next((spread for spread in spreads if comparison.within(spread.limit, share=spread.share)), None)
