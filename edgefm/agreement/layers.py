"""Which operator's result leaves the tolerance first: the model is cut into prefixes, and both sides run them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgefm.agreement import arithmetic
from edgefm.agreement.arithmetic import ModelTensors
from edgefm.agreement.cells import AgreementCell
from edgefm.agreement.comparison import OutputComparison, Outputs, checked, compare
from edgefm.core import scratch
from edgefm.core.errors import EdgefmError
from edgefm.core.progress import SILENT, Progress
from edgefm.tflite.inspection import Inspection, inspect

Ask = Callable[[AgreementCell, Path, NDArray[Any]], Outputs]
Prefix = Callable[[bytes, int], bytes]

# Each prefix is a process or two; deeper models are searched by bisection alone from there on.
_MOST_PREFIXES = 64
# For the searches of all cells together; what is known by then is told.
_SECONDS = 40.0


@dataclass(frozen=True, kw_only=True)
class FirstDifference:
    """The first operator whose result leaves the tolerance.

    Attributes:
      operator: its index in the order of execution.
      name: e.g. 'CONV_2D'.
      tensor: name of its (first) result.
      comparison: of that result, on the sample.
      sample: place of the sample among the inputs.
      verified: the results of all operators before it were looked at and stay within the tolerance; where False,
        an earlier one may leave it and come back.
      prefixes: how many prefixes were run on both sides.
      reason: what could not be looked at; None where everything was.
    """

    operator: int
    name: str
    tensor: str
    comparison: OutputComparison
    sample: int
    verified: bool
    prefixes: int
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {**asdict(self), "comparison": self.comparison.to_json()}


class FirstDifferenceSearch:
    """The prefixes of a model on one input; the answers of each cell are kept for the next search."""

    def __init__(
        self,
        model: Path,
        *,
        inspection: Inspection,
        ends: ModelTensors,
        ask: Ask,
        prefix: Prefix,
        most_prefixes: int = _MOST_PREFIXES,
        seconds: float = _SECONDS,
        progress: Progress = SILENT,
    ) -> None:
        """Prepare a search.

        Args:
          model: the file.
          inspection: of it.
          ends: of it.
          ask: runs a model file in a cell.
          prefix: cuts a model, see `edgefm.profiling.cutting.prefix`.
          most_prefixes: how many prefixes a search may run.
          seconds: for all searches together; no prefix begins after this time.
          progress: receives progress.
        """
        self._content = model.read_bytes()
        self._inspection = inspection
        self._ends = ends
        self._ask, self._prefix = ask, prefix
        self._most = most_prefixes
        self._seconds, self._deadline = seconds, float("inf")
        self._progress = progress
        self._answers: dict[tuple[AgreementCell, int, bytes], Outputs] = {}
        constant = arithmetic.constants(inspection)
        # What a constant becomes is no layer: DEQUANTIZE of float16 weights, say.
        self._operators = [
            operator.index
            for operator in inspection.operators
            if operator.outputs and not all(index in constant for index in operator.outputs)
        ]

    def find(
        self, cell: AgreementCell, reference: AgreementCell, *, inputs: NDArray[Any], sample: int, limit: float
    ) -> FirstDifference | str:
        """Return the first operator at which a cell leaves the tolerance, or why none can be named.

        Bisection finds an operator within the tolerance right before one beyond it. A difference can vanish on the
        way (ReLU, pooling, rounding) and another one arise; so the operators before are looked at one by one then.

        Args:
          cell: that differs.
          reference: what it is compared with.
          inputs: of all samples.
          sample: the one to look at.
          limit: largest difference that is allowed, in levels of each result (or as a share of its magnitude).
        """
        if self._deadline == float("inf"):
            self._deadline = time.monotonic() + self._seconds
        if self._stop() is not None:
            return f"not searched: {self._stop()}"
        probe = _Probe(self, cell, reference, inputs[sample : sample + 1], limit)
        if not self._operators:
            return "no operator of the model depends on its input"
        last = len(self._operators) - 1
        if probe.differs(last) is None:
            return f"the model cannot be cut or run in parts: {probe.reason}"
        if probe.differs(last) is False:
            return "the prefix with all operators is within the limit: the difference appears only in the whole model"
        low, high = -1, last
        while high - low > 1 and self._stop() is None:
            # The nearest operator to the middle that can be run by itself.
            order = sorted(range(low + 1, high), key=lambda place: abs(place - (low + high) // 2))
            known = next((place for place in order if probe.differs(place) is not None), None)
            if known is None:
                break
            low, high = (low, known) if probe.differs(known) else (known, high)
        for place in range(high):
            stop = self._stop(len(probe.comparisons))
            if place not in probe.comparisons and stop is not None:
                probe.reason = stop
                break
            if probe.differs(place):
                high = place
                break
        comparison = probe.comparisons[high]
        assert comparison is not None
        operator = self._inspection.operators[self._operators[high]]
        return FirstDifference(
            operator=operator.index,
            name=operator.name,
            tensor=self._inspection.tensors[operator.outputs[0]].name,
            comparison=comparison,
            sample=sample,
            verified=all(probe.comparisons.get(place) is not None for place in range(high)),
            prefixes=len(probe.comparisons),
            reason=probe.reason,
        )

    def _stop(self, prefixes: int = 0) -> str | None:
        """Return why no further prefix is run, or None where one may be."""
        if prefixes >= self._most:
            return f"the limit of {self._most} prefixes was reached"
        return f"the limit of {self._seconds:g} s was reached" if time.monotonic() > self._deadline else None

    def compare(
        self, place: int, cell: AgreementCell, reference: AgreementCell, inputs: NDArray[Any]
    ) -> OutputComparison:
        """Return how the results of an operator differ; `place` counts the operators that are no constants.

        Raises:
          EdgefmError: the model cannot be cut there, or a side cannot run the part.
        """
        with scratch.folder("agree") as folder:
            path = folder / "prefix.tflite"
            path.write_bytes(self._prefix(self._content, self._operators[place]))
            part = arithmetic.ends(inspect(path))
            # A prefix of an integer model may hold no quantised tensor yet, or only that: the whole decides.
            ends = ModelTensors(
                source=part.source, sinks=part.sinks, level=part.level, arithmetic=self._ends.arithmetic
            )
            both = [self._answer(side, place, path, inputs, ends) for side in (cell, reference)]
        return compare(both[0], both[1], ends=ends)

    def _answer(self, cell: AgreementCell, place: int, path: Path, inputs: NDArray[Any], ends: ModelTensors) -> Outputs:
        key = (cell, place, inputs.tobytes())
        if key not in self._answers:
            self._answers[key] = checked(self._ask(cell, path, inputs), ends=ends, samples=len(inputs))
        return self._answers[key]

    def tell(self, place: int, cell: AgreementCell) -> None:
        """Tell of progress: prefixes that were run, of at most all."""
        total = min(len(self._operators), self._most)
        self._progress.step("first difference", min(place, total), total, {"cell": cell.name})


class _Probe:
    """What is known of each operator for one pair."""

    def __init__(
        self,
        search: FirstDifferenceSearch,
        cell: AgreementCell,
        reference: AgreementCell,
        inputs: NDArray[Any],
        limit: float,
    ) -> None:
        self.comparisons: dict[int, OutputComparison | None] = {}
        self.reason: str | None = None
        self._search = search
        self._cell, self._reference, self._inputs, self._limit = cell, reference, inputs, limit

    def differs(self, place: int) -> bool | None:
        """Return whether an operator's result leaves the tolerance; None where that cannot be told."""
        if place not in self.comparisons:
            try:
                self.comparisons[place] = self._search.compare(place, self._cell, self._reference, self._inputs)
            except EdgefmError as error:
                self.comparisons[place] = None
                self.reason = error.message
            self._search.tell(len(self.comparisons), self._cell)
        comparison = self.comparisons[place]
        return None if comparison is None else not comparison.within(self._limit)
