"""The rows of a profile: what one operator took, and what that is beside the machine's limits."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgefm.profiling.cutting import Cutter
from edgefm.profiling.limits import Limit, Limits, limited_by
from edgefm.profiling.names import layer_name
from edgefm.profiling.operator_times import Times
from edgefm.profiling.result import ProfiledOperator, rate
from edgefm.statistics.estimates import Estimate, interval
from edgefm.tflite.inspection import Inspection

# What is faster than the peak by more than its uncertainty did not do all of its work in its own time.
_BEYOND_PEAK = 1.03
_INTEGER_WEIGHTS = frozenset({"int8", "uint8", "int4", "int2", "int16"})


def operator_row(
    place: int, times: Times, limits: Limits, *, inspection: Inspection, cutter: Cutter
) -> ProfiledOperator:
    """Return what is known of one operator: its time, its work, and which limit of the machine it is near."""
    info, tensors = inspection.operators[place], inspection.tensors
    activations = cutter.activations(place)
    # An input that is neither comes from no operator: a constant, as it is or unpacked, or a variable.
    weights = sum(tensors[index].size_bytes for index in dict.fromkeys(info.inputs) if index not in activations)
    moved = sum(tensors[index].size_bytes for index in (*activations, *info.outputs))
    dtype = None
    if info.macs:
        dtype = "int8" if tensors[info.inputs[1]].dtype in _INTEGER_WEIGHTS else "float32"
    time = estimate(times.operators[place]) if place in times.operators else None
    speed = rate(info.macs, time) if time else None
    # All of the model's bytes are touched between two calls of an operator: they say which cache its own lie in.
    among = inspection.weight_bytes + inspection.largest_activation_bytes
    floors = limits.floors_ns(macs=info.macs, dtype=dtype, size_bytes=weights + moved, among_bytes=among)
    return ProfiledOperator(
        index=place,
        name=info.name,
        layer=layer_name([tensors[index].name for index in info.outputs], [tensors[i].name for i in activations]),
        time=time,
        reason=None if time else times.timed[place].failure,
        share=None if time is None or times.whole is None else time.value / float(times.whole[0]),
        macs=info.macs,
        dtype=dtype,
        weight_bytes=weights,
        activation_bytes=moved,
        gmac_per_s=speed,
        peak_share=speed / limits.peaks[str(dtype)].gmac_per_s if speed and dtype in limits.peaks else None,
        gb_per_s=rate(weights + moved, time) if time else None,
        limit=_limit(time, floors) if time else None,
        rounds=times.timed[place].rounds,
    )


def _limit(time: Estimate, floors_ns: Mapping[Limit, float]) -> Limit | None:
    """Return what limits an operator; None where the ends of its time's interval do not agree on it."""
    limit, *others = (limited_by(time_ns, floors_ns) for time_ns in (time.value, time.low, time.high))
    return limit if all(other == limit for other in others) else None


def beyond_peak(operator: ProfiledOperator, limits: Limits) -> bool:
    """Return whether an operator is faster than the peak even at the upper end of its time's interval."""
    peak = limits.peaks.get(operator.dtype or "")
    if peak is None or operator.time is None or operator.peak_share is None:
        return False
    return operator.macs / operator.time.high > _BEYOND_PEAK * peak.gmac_per_s


def estimate(values: NDArray[np.float64]) -> Estimate:
    """Return the estimate of [resamples + 1] values, the plain one first."""
    return interval(float(values[0]), values[1:])


def kind_of(reason: str) -> str:
    """Return a reason without its figures: in so short a turn they say little.

    >>> kind_of("other programs used 1.6 of 2 cores")
    'other programs used …'
    """
    return re.sub(r"\s*\d.*$", " …", reason)
