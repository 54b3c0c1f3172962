"""The cost model: measured operators, what they add up to, and how far that was off on networks of its own."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edgefm.core import html
from edgefm.core.documents import check_schema, read_versioned
from edgefm.core.errors import EdgefmError, ModelError
from edgefm.core.results import JsonResult
from edgefm.profiling.cost_model.regression import Fit, fit, fit_any
from edgefm.profiling.cost_model.shapes import OperatorShape, operators_of
from edgefm.tflite import flatbuffer

HOST = "host"
KIND, VERSION, SCHEMA = "edgefm/cost_model", 1, "cost-model-1"
_DAMAGED = "Build the cost model again."
# Octaves by which a time that rests on operators like none that was measured may be off: an assumption.
_DOUBT = 1.0
# Kernels that are portable and slow, of kinds that are not measured: nanoseconds a multiply-accumulate and a value of
# the result. LiteRT 2.3.0, AMD EPYC; float32 takes 0.04 a multiply-accumulate. Another processor may take a quarter of
# that, or four times as much: an assumption.
_PORTABLE_INT16 = (3.0, 0.0)
_PORTABLE = {
    "BATCH_MATMUL int8": (0.25, 0.0),
    "SQUARED_DIFFERENCE int8": (0.0, 6.0),
    "RSQRT int8": (0.0, 50.0),
}
_PORTABLE_DOUBT = 2.0
# Octaves by which operators may be off in a network though such were measured. The first takes three times as long for
# where its buffers lie: 44 us and 127 us of the same shape. Dense layers of rows: 17.7 us of a network that was
# forecast to take 21.2, 40 us of one of 31.7; networks of them are not measured.
_ALONE = {"DEPTHWISE_CONV_2D float32*int8": 1.6}
_ROWS_DOUBT = 0.4
# No call takes less; factors of zero would make it so.
_LEAST_NS = 1.0


class CostModelError(EdgefmError):
    """A cost model's file is missing, damaged, or of another machine or runtime."""


@dataclass(frozen=True, kw_only=True)
class LatencyForecast(JsonResult):
    """How long one inference will take on one thread of the machine that the cost model was built on.

    Attributes:
      p50_ns: predicted.
      low_ns: lower end of the 90 % interval, from the cost model's own held-out errors.
      high_ns: upper end; infinite where what an operator runs is not known: a loop, a custom operator.
      extrapolated: operators whose shape lies outside of what was measured, in words; the interval is wider then.
    """

    p50_ns: float
    low_ns: float
    high_ns: float
    extrapolated: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the forecast as a JSON object."""
        high_ns = self.high_ns if math.isfinite(self.high_ns) else None
        return {**asdict(self), "high_ns": high_ns, "extrapolated": list(self.extrapolated)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LatencyForecast:
        """Return the forecast in a JSON object."""
        high_ns = math.inf if value["high_ns"] is None else value["high_ns"]
        return cls(**{**value, "high_ns": high_ns, "extrapolated": tuple(value["extrapolated"])})

    def _repr_html_(self) -> str:
        row = [
            f"{time / 1000:,.1f} us" if math.isfinite(time) else "-"
            for time in (self.p50_ns, self.low_ns, self.high_ns)
        ]
        beyond = "".join(map(html.paragraph, self.extrapolated))
        return html.table([row], ["p50", "low (90 %)", "high (90 %)"]) + beyond


@dataclass(frozen=True)
class MeasuredOperator:
    """A row of the table: an operator and its time within a network, without the call."""

    shape: OperatorShape
    time_ns: float


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Networks that were measured, and predicted from the others; an error is |predicted / measured - 1|.

    Attributes:
      names: of the networks.
      predicted_ns: of each.
      measured_ns: of each.
    """

    names: tuple[str, ...]
    predicted_ns: tuple[float, ...]
    measured_ns: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median error."""
        return float(np.median(self._errors))

    @property
    def p90(self) -> float:
        """Error that nine in ten networks do not exceed."""
        return float(np.quantile(self._errors, 0.9))

    @property
    def range(self) -> tuple[float, float]:
        """Measured over predicted: the ends between which nine in ten further networks are expected.

        The conformal quantiles: of n ratios the ones at rank (n + 1) * 0.05 and (n + 1) * 0.95, rounded outwards; of
        fewer than 19 the least and the greatest. Source: Vovk et al. 2005, Algorithmic Learning in a Random World.
        """
        ratios = sorted(np.array(self.measured_ns) / np.array(self.predicted_ns))
        inner = max(0, math.floor((len(ratios) + 1) * 0.05) - 1)
        return float(min(1.0, ratios[inner])), float(max(1.0, ratios[-1 - inner]))

    @property
    def _errors(self) -> Any:
        return np.abs(np.array(self.predicted_ns) / np.array(self.measured_ns) - 1)


@dataclass(frozen=True, kw_only=True)
class CostModel(JsonResult):
    """Predicts the time of .tflite files: the sum of their operators' times and of the call.

    An operator that was measured has its measured time; others of its kind are between their neighbours
    (`edgefm.profiling.cost_model.regression`); kinds never measured go by MACs and bytes.

    Attributes:
      runtime: that was measured, e.g. 'litert'.
      version: of the runtime.
      created: UTC, ISO 8601.
      environment: of the machine, as in a benchmark record.
      call_ns: an invoke without its operators.
      operators: the table.
      factors: by kind and dtypes, what an operator takes in a network beside what it takes alone.
      held_out: the networks that tell the error.
      disturbed: what disturbed the measurement; () where nothing did.
      target: address of where it was measured, see `edgefm.targets`.
    """

    runtime: str
    version: str
    created: str
    environment: Mapping[str, Any] = field(hash=False)
    call_ns: float
    operators: tuple[MeasuredOperator, ...]
    factors: Mapping[str, float] = field(hash=False)
    held_out: HeldOut
    disturbed: tuple[str, ...] = ()
    target: str = HOST

    def latency(self, content: flatbuffer.FileContent) -> LatencyForecast:
        """Return the predicted time of a .tflite file; nothing is run or timed.

        Args:
          content: of the file.
        Raises:
          ModelError: it is no TFLite file, a damaged one, or has no operator.
        """
        shapes = operators_of(content)
        if not shapes:
            raise ModelError("the model has no operator")
        told = [self._operator(shape) for shape in shapes]
        total = max(_LEAST_NS, self.call_ns + sum(time for time, *_ in told))
        # The times that are in doubt may all be off the same way.
        least = max(_LEAST_NS, self.call_ns + sum(time / 2.0**octaves for time, octaves, _ in told))
        most = max(_LEAST_NS, self.call_ns + sum(time * 2.0**octaves for time, octaves, _ in told))
        low, high = self.held_out.range
        return LatencyForecast(
            p50_ns=total,
            low_ns=least * low,
            high_ns=most * high,
            extrapolated=tuple(dict.fromkeys(reason for *_, reason in told if reason)),
        )

    def operator_ns(self, shape: OperatorShape) -> float:
        """Return the predicted time of one operator in a network."""
        return self._operator(shape)[0]

    def _operator(self, shape: OperatorShape) -> tuple[float, float, str]:
        """Return an operator's time and, where none like it was measured, the octaves it may be off by, and words."""
        known = self._fits.get(shape.group)
        if known is None:
            return self._unlike_all(shape)
        time = self.factors.get(shape.group, 1.0) * (self._table.get(shape) or known.nanoseconds(shape))
        if shape not in self._table and known.beyond(shape):
            return time, _DOUBT, f"{shape}: beyond what was measured"
        if shape.groups > 1:
            return time, _DOUBT, f"{shape}: no convolution in groups was measured"
        of_rows = shape.kind == "FULLY_CONNECTED" and shape.sink[0] > 1
        return time, _ROWS_DOUBT if of_rows else _ALONE.get(shape.group, 0.0), ""

    def _unlike_all(self, shape: OperatorShape) -> tuple[float, float, str]:
        """Return what `_operator` does, of a kind and dtypes that were never measured."""
        time = max(_LEAST_NS, self._any.nanoseconds(shape))
        if not shape.whole:
            return time, math.inf, f"{shape}: what it runs is not known and not counted, the time may be far longer"
        int16 = shape.dtypes.startswith("int16") and shape.macs
        portable = _PORTABLE_INT16 if int16 else _PORTABLE.get(shape.group)
        if portable is not None:
            by = "MACs" if portable[0] else "values"
            why = f"{shape}: no such operator was measured, and no fast kernel of it exists: it goes by {by}"
            of_work = portable[0] * shape.macs + portable[1] * math.prod(shape.sink)
            return max(time, of_work), _PORTABLE_DOUBT, why
        return time, _DOUBT, f"{shape}: no such operator was measured, it goes by MACs and bytes"

    @cached_property
    def _table(self) -> dict[OperatorShape, float]:
        return {row.shape: row.time_ns for row in self.operators}

    @cached_property
    def _fits(self) -> dict[str, Fit]:
        groups = defaultdict(list)
        for row in self.operators:
            groups[row.shape.group].append(row)
        return {name: fit(*_columns(rows)) for name, rows in groups.items()}

    @cached_property
    def _any(self) -> Fit:
        return fit_any(*_columns(self.operators))

    def to_json(self) -> dict[str, Any]:
        """Return the cost model as a JSON object; schema cost-model-1."""
        return {
            "kind": KIND,
            "schema_version": VERSION,
            "created": self.created,
            "runtime": {"name": self.runtime, "version": self.version, "threads": 1},
            "target": self.target,
            "environment": dict(self.environment),
            "call_ns": self.call_ns,
            "operators": [_row(row) for row in self.operators],
            "factors": dict(self.factors),
            "held_out": {name: list(value) for name, value in asdict(self.held_out).items()},
            "disturbed": list(self.disturbed),
        }

    def _repr_html_(self) -> str:
        counts = Counter(row.shape.group for row in self.operators)
        rows = [[name, count, f"{self.factors.get(name, 1.0):.3f}"] for name, count in sorted(counts.items())]
        caption = (
            f"{self.runtime} {self.version} on {self.environment.get('cpu', 'an unknown processor')}: median error "
            f"{100 * self.held_out.median:.1f} % on {len(self.held_out.names)} networks"
        )
        return html.table(rows, ["operator", "measured", "factor in networks"], caption=caption)

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, where: str = "the cost model") -> CostModel:
        """Return the cost model in a JSON object.

        Raises:
          CostModelError: it breaks the schema.
        """
        check_schema(value, SCHEMA, where=where, error=CostModelError, hint=_DAMAGED)
        held_out = value["held_out"]
        if len({len(values) for values in held_out.values()}) != 1:
            raise CostModelError(f"{where} is damaged: held_out has columns of different lengths", hint=_DAMAGED)
        return cls(
            runtime=value["runtime"]["name"],
            version=value["runtime"]["version"],
            created=value["created"],
            environment=value["environment"],
            target=value.get("target", HOST),
            call_ns=value["call_ns"],
            operators=tuple(_measured(row) for row in value["operators"]),
            factors=value["factors"],
            held_out=HeldOut(**{name: tuple(values) for name, values in held_out.items()}),
            disturbed=tuple(value["disturbed"]),
        )

    @classmethod
    def load(cls, path: Path) -> CostModel:
        """Return the cost model in a file.

        Raises:
          CostModelError: it is missing, damaged, or a newer edgefm wrote it.
        """
        value = read_versioned(
            Path(path), what="cost model", newest=VERSION, schema=SCHEMA, error=CostModelError, hint=_DAMAGED
        )
        return cls.from_json(value, where=str(path))


def _columns(rows: Sequence[MeasuredOperator]) -> tuple[list[OperatorShape], list[float]]:
    return [row.shape for row in rows], [row.time_ns for row in rows]


def _row(row: MeasuredOperator) -> dict[str, Any]:
    shape = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(row.shape).items()}
    return {**shape, "time_ns": row.time_ns}


def _measured(row: Mapping[str, Any]) -> MeasuredOperator:
    shape: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    time_ns = shape.pop("time_ns")
    return MeasuredOperator(OperatorShape(**shape), time_ns)
