"""What a runtime reaches on one core of this machine at most, measured on the spot, and what that says of an operator.

An operator cannot be faster than its multiply-accumulates at the peak, nor than its bytes at the bandwidth, nor than an
operator that does nothing: the roofline model, with a floor for the call. The largest of the three limits it, where it
explains at least half of its time; where none does, the kernel itself is what costs the time. An operator without
multiply-accumulates that takes less than half of what its bytes need is elided: the runtime does it inside another
operator, or not at all.

Source: Williams, Waterman & Patterson 2009, Roofline, CACM 52(4):65-76.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from edgefm.core.errors import RuntimeUnavailableError
from edgefm.core.progress import SILENT, Progress
from edgefm.profiling import synthetic
from edgefm.profiling.timing import Timed, Turns, lower_decile, time_models

Limit = Literal["compute", "memory", "call", "kernel", "elided"]

DTYPES = ("int8", "float32")
# Bytes of input and result together: within a first-level cache, a second-level one, a third-level one, beyond all.
STREAM_BYTES = (32 << 10, 256 << 10, 4 << 20, 64 << 20)
CHAIN = 33
# A limit that explains less of an operator's time than this is not what costs the time.
_EXPLAINS = 0.5
_ROUNDS = 4


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The most multiply-accumulates a second that were reached.

    Attributes:
      gmac_per_s: in its fastest round; 1e9 multiply-accumulates a second.
      layer: the layer that reached it.
    """

    gmac_per_s: float
    layer: str


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the runtime reaches here on one core.

    Attributes:
      peaks: by dtype, 'int8' and 'float32'; one that cannot be run is absent.
      bandwidth: (bytes, GB/s) for growing arrays: read and written bytes of a RELU.
      call_ns: of one invoke, without its operators.
      operator_ns: that each operator takes even where it has nothing to do.
    """

    peaks: Mapping[str, Peak]
    bandwidth: tuple[tuple[int, float], ...]
    call_ns: float
    operator_ns: float

    def gb_per_s(self, size_bytes: int) -> float:
        """Return the bandwidth for so many bytes: that of the least array that is no smaller."""
        return next((rate for size, rate in self.bandwidth if size >= size_bytes), self.bandwidth[-1][1])

    def floors_ns(self, *, macs: int, dtype: str | None, size_bytes: int, among_bytes: int) -> dict[Limit, float]:
        """Return the least time that each limit leaves an operator.

        Args:
          macs: its multiply-accumulates.
          dtype: the peak that it is held against; None where there is none.
          size_bytes: that it reads and writes.
          among_bytes: that are touched between two of its calls; they say which cache its bytes lie in.
        """
        floors: dict[Limit, float] = {"call": self.operator_ns}
        if macs and dtype in self.peaks:
            floors["compute"] = macs / self.peaks[str(dtype)].gmac_per_s
        if self.bandwidth:
            floors["memory"] = size_bytes / self.gb_per_s(max(size_bytes, among_bytes))
        return floors

    def to_json(self) -> dict[str, Any]:
        """Return the limits as a JSON object."""
        return {
            "peaks": {
                dtype: {"gmac_per_s": peak.gmac_per_s, "layer": peak.layer} for dtype, peak in self.peaks.items()
            },
            "bandwidth": [{"size_bytes": size, "gb_per_s": rate} for size, rate in self.bandwidth],
            "call_ns": self.call_ns,
            "operator_ns": self.operator_ns,
        }


def limited_by(time_ns: float, floors_ns: Mapping[Limit, float]) -> Limit:
    """Return what limits an operator.

    >>> limited_by(17_000, {"compute": 15_400, "memory": 90, "call": 80})
    'compute'
    >>> limited_by(11_500, {"compute": 960, "memory": 100, "call": 80})
    'kernel'
    >>> limited_by(30, {"memory": 1_000, "call": 20})
    'elided'

    Args:
      time_ns: of the operator.
      floors_ns: see `Limits.floors_ns`.
    """
    limit, floor = max(floors_ns.items(), key=lambda item: item[1])
    if limit == "memory" and "compute" not in floors_ns and time_ns < _EXPLAINS * floor:
        return "elided"
    return limit if floor >= _EXPLAINS * time_ns else "kernel"


def measure_limits(*, runtime: str, turns: Turns, folder: Path, progress: Progress = SILENT) -> tuple[Limits, str]:
    """Return the limits of a runtime on one core, and its version.

    The fastest round counts, for peaks and bandwidth: other load on the machine can only lower them.

    Args:
      runtime: name of a runtime, with its kernel set where one is wanted.
      turns: how long each synthetic model is timed; at most 4 rounds of it, and one invoke is enough in each.
      folder: for files.
      progress: receives a step a turn.
    Raises:
      RuntimeUnavailableError: the runtime cannot run the least of models.
    """
    models: dict[Any, Timed] = {}

    def add(key: Any, name: str, content: bytes) -> None:
        path = folder / f"limit-{len(models)}.tflite"
        path.write_bytes(content)
        models[key] = Timed(name=name, path=path)

    for length in (1, CHAIN):
        add(length, f"{length} least operators", synthetic.chain(length))
    for dtype in DTYPES:
        for layer in synthetic.LAYERS:
            add((dtype, layer), f"{dtype} {layer.name}", synthetic.layer(layer, dtype=dtype))
    for size in STREAM_BYTES:
        add(("stream", size), f"RELU {size >> 10} KiB", synthetic.stream(size))
    short = replace(turns, rounds=min(turns.rounds, _ROUNDS), least_invokes=1, warmup_invokes=1)
    version = time_models(
        list(models.values()), runtime=runtime, turns=short, folder=folder, label="peak", progress=progress
    )
    if models[1].failure is not None or models[CHAIN].failure is not None:
        raise RuntimeUnavailableError(
            f"the runtime '{runtime}' cannot run a model of one operator: {models[1].failure or models[CHAIN].failure}",
            hint="See which runtimes work here with: edgefm doctor",
        )
    one, many = _fastest(models[1]), _fastest(models[CHAIN])
    operator_ns = max(0.0, (many - one) / (CHAIN - 1))
    peaks = {}
    for dtype in DTYPES:
        reached = [
            Peak(gmac_per_s=layer.macs / _beyond(one, models[dtype, layer]), layer=layer.name)
            for layer in synthetic.LAYERS
            if models[dtype, layer].failure is None
        ]
        if reached:
            peaks[dtype] = max(reached, key=lambda peak: peak.gmac_per_s)
    streams = [(size, models["stream", size]) for size in STREAM_BYTES]
    limits = Limits(
        peaks=peaks,
        bandwidth=tuple((size, size / _beyond(one, timed)) for size, timed in streams if timed.failure is None),
        call_ns=max(0.0, one - operator_ns),
        operator_ns=operator_ns,
    )
    return limits, version


def _fastest(timed: Timed) -> float:
    """Return the lower decile of the fastest round in nanoseconds."""
    return max(1.0, min(lower_decile(samples) for samples in timed.rounds))


def _beyond(least_ns: float, timed: Timed) -> float:
    """Return what a model takes beyond the least of models, in nanoseconds."""
    return max(1.0, _fastest(timed) - least_ns)
