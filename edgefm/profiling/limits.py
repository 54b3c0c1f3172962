"""What a runtime reaches on one core of this machine at most, measured on the spot, and what that says of an operator.

An operator cannot be faster than its multiply-accumulates at the peak, nor than its bytes at the bandwidth, nor than an
operator that does nothing: the roofline model, with a floor for the call. The largest of the three limits it, where it
explains at least half of its time; where none does, the kernel itself is what costs the time. An operator without
multiply-accumulates that takes less than half of what its bytes need is elided: the runtime does it inside another
operator, or not at all.

Each limit is a difference of two times: a model's, less that of a model of as many minimal operators. Where the
difference is not clear of the noise of both, the limit is not resolved, with the reason.

Source: Williams, Waterman & Patterson 2009, Roofline, CACM 52(4):65-76.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from edgefm.core.errors import RuntimeUnavailableError
from edgefm.core.progress import SILENT, Progress
from edgefm.profiling import synthetic
from edgefm.profiling.timing import Timed, Turns, lower_decile, time_models
from edgefm.statistics.estimates import Estimate

Limit = Literal["compute", "memory", "call", "kernel", "elided"]

DTYPES = ("int8", "float32")
# Bytes of input and result together: within a first-level cache, a second-level one, a third-level one, beyond all.
STREAM_BYTES = (32 << 10, 256 << 10, 4 << 20, 64 << 20)
CHAIN = 33
# One call on arrays below this takes about as long as the call itself: they are streamed by a chain of operators.
_CHAINED_BELOW = 1 << 20
# A limit that explains less of an operator's time than this is not what costs the time.
_EXPLAINS = 0.5
# With one round nothing is known of what changes from round to round.
_LEAST_ROUNDS, _MOST_ROUNDS = 2, 4
# The least model takes half a microsecond: 500 invokes of it are over before a core has reached its speed.
_MOST_INVOKES = 5000


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
      peaks: by dtype, 'int8' and 'float32'; one that is not resolved is absent.
      bandwidth: (bytes, GB/s) for growing arrays: read and written bytes of an elementwise operator; a size that is
        not resolved is absent.
      call_ns: of one invoke, without its operators; 0 where it is not resolved.
      operator_ns: that each operator takes even where it has nothing to do; 0 where it is not resolved.
      intervals: of the figures above, from the slowest round to the fastest, by dtype, by the bytes of the arrays, and
        by 'call' and 'operator'.
      unresolved: why a figure is not resolved, by the same keys.
    """

    peaks: Mapping[str, Peak]
    bandwidth: tuple[tuple[int, float], ...]
    call_ns: float
    operator_ns: float
    intervals: Mapping[str | int, Estimate] = field(default_factory=dict)
    unresolved: Mapping[str | int, str] = field(default_factory=dict)

    def gb_per_s(self, size_bytes: int) -> float | None:
        """Return the bandwidth for so many bytes: that of the least array that is no smaller.

        Where that is not resolved, the next smaller array's stands in: it is no slower, so that no floor is too high.
        None where no smaller one is resolved either.
        """
        rates = dict(self.bandwidth)
        sizes = sorted({*rates, *(key for key in self.unresolved if isinstance(key, int))})
        until = next((place + 1 for place, size in enumerate(sizes) if size >= size_bytes), len(sizes))
        return next((rates[size] for size in reversed(sizes[:until]) if size in rates), None)

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
        rate = self.gb_per_s(max(size_bytes, among_bytes))
        if rate is not None:
            floors["memory"] = size_bytes / rate
        return floors

    def notes(self) -> tuple[str, ...]:
        """Return a sentence for each figure that is not resolved."""
        return tuple(f"{_name(key)} is not resolved: {reason}" for key, reason in self.unresolved.items())

    def to_json(self) -> dict[str, Any]:
        """Return the limits as a JSON object."""
        return {
            "peaks": {
                dtype: {"gmac_per_s": peak.gmac_per_s, "layer": peak.layer, **self._ends(dtype)}
                for dtype, peak in self.peaks.items()
            },
            "bandwidth": [{"size_bytes": size, "gb_per_s": rate, **self._ends(size)} for size, rate in self.bandwidth],
            "call_ns": self.call_ns,
            "operator_ns": self.operator_ns,
            "unresolved": [{"what": _name(key), "reason": reason} for key, reason in self.unresolved.items()],
        }

    def _ends(self, key: str | int) -> dict[str, float]:
        interval = self.intervals.get(key)
        return {} if interval is None else {"low": interval.low, "high": interval.high}


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
      turns: how long each synthetic model is timed; 2 to 4 rounds of it, and one invoke is enough in each.
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
        add(length, f"{length} minimal operators", synthetic.chain(length))
    for dtype in DTYPES:
        for layer in synthetic.LAYERS:
            add((dtype, layer), f"{dtype} {layer.name}", synthetic.layer(layer, dtype=dtype))
    for size in STREAM_BYTES:
        add(size, f"arrays of {size >> 10} KiB", synthetic.stream(size, length=_length(size)))
    short = replace(
        turns,
        rounds=min(max(turns.rounds, _LEAST_ROUNDS), _MOST_ROUNDS),
        least_invokes=1,
        most_invokes=max(turns.most_invokes, _MOST_INVOKES),
        warmup_invokes=1,
    )
    version = time_models(
        list(models.values()), runtime=runtime, turns=short, folder=folder, label="peak", progress=progress
    )
    check_runs([models[1], models[CHAIN]], runtime)
    return _limits(models), version


def check_runs(chains: Sequence[Timed], runtime: str) -> None:
    """Raise a RuntimeUnavailableError where a runtime cannot even run operators that do next to nothing."""
    for model in chains:
        if model.failure is not None:
            raise RuntimeUnavailableError(
                f"the runtime '{runtime}' cannot run a model of one operator: {model.failure}",
                hint="See which runtimes work here with: edgefm doctor",
            )


def _limits(models: Mapping[Any, Timed]) -> Limits:
    """Return what the times of the models say: by length the least ones, by dtype and layer, by bytes."""
    intervals: dict[str | int, Estimate] = {}
    unresolved: dict[str | int, str] = {}
    smallest = models[1]
    operator = _difference(models[CHAIN], smallest, count=CHAIN - 1)
    intervals["operator"] = operator
    if operator.low <= 0:
        unresolved["operator"] = (
            f"{CHAIN} minimal operators take no longer than one; its time varies by more: {_text(smallest)}"
        )
        operator = Estimate(0.0, 0.0, 0.0)
    ends = _ends(smallest)
    call = Estimate(ends[0] - operator.value, ends[0] - operator.high, ends[1] - operator.low)
    intervals["call"] = call
    if call.low <= 0:
        unresolved["call"] = f"it cannot be separated from the operator of the smallest model: {_text(smallest)}"
    peaks = {}
    for dtype in DTYPES:
        rates = {layer: _rate(models[dtype, layer], smallest, amount=layer.macs) for layer in synthetic.LAYERS}
        reached = {layer.name: rate for layer, rate in rates.items() if isinstance(rate, Estimate)}
        if not reached:
            unresolved[dtype] = next(rate for rate in rates.values() if isinstance(rate, str))
            continue
        # The layer whose slowest round is the fastest: else the least certain rate would win.
        best = max(reached, key=lambda name: reached[name].low)
        peaks[dtype], intervals[dtype] = Peak(gmac_per_s=reached[best].value, layer=best), reached[best]
    bandwidth = []
    for size in STREAM_BYTES:
        length = _length(size)
        rate = _rate(models[size], models[length], amount=length * size)
        if isinstance(rate, str):
            unresolved[size] = rate
        else:
            bandwidth.append((size, rate.value))
            intervals[size] = rate
    return Limits(
        peaks=peaks,
        bandwidth=tuple(bandwidth),
        call_ns=0.0 if "call" in unresolved else call.value,
        operator_ns=operator.value,
        intervals=intervals,
        unresolved=unresolved,
    )


def _length(size_bytes: int) -> int:
    """Return how many operators stream arrays of a size: so many that they take longer than the call."""
    return CHAIN if size_bytes < _CHAINED_BELOW else 1


def _rate(timed: Timed, least: Timed, *, amount: int) -> Estimate | str:
    """Return 1e9 units a second, or why it is not resolved.

    The slowest round of what is taken off must be no more than half of the fastest round of the whole. So an error of
    what is taken off is at most the same error, in percent, of the rate; and a runtime that joins a chain's operators
    in one has no rate here.

    Args:
      timed: the model that does the work.
      least: a model of as many operators that have next to nothing to do.
      amount: of the work.
    """
    if timed.failure is not None:
        return timed.failure
    if _ends(timed)[0] < 2 * _ends(least)[1]:
        return f"{_text(timed)} with the work, {_text(least)} without it: the two must differ by a factor of 2"
    took = _difference(timed, least)
    return Estimate(amount / took.value, amount / took.high, amount / took.low)


def _difference(timed: Timed, least: Timed, *, count: int = 1) -> Estimate:
    """Return the nanoseconds of one of `count` things that a model does beyond another: of the fastest rounds.

    The interval is as wide as the rounds of both allow.
    """
    (fast, slow), (least_fast, least_slow) = _ends(timed), _ends(least)
    return Estimate((fast - least_fast) / count, (fast - least_slow) / count, (slow - least_fast) / count)


def _ends(timed: Timed) -> tuple[float, float]:
    """Return the lower deciles of the fastest and the slowest round, in nanoseconds."""
    rounds = [lower_decile(samples) for samples in timed.rounds]
    return min(rounds), max(rounds)


def _text(timed: Timed) -> str:
    """Return the times of a model in words."""
    fast, slow = _ends(timed)
    return f"{fast:,.0f} to {slow:,.0f} ns"


def _name(key: str | int) -> str:
    """Return what a key of `Limits.unresolved` stands for.

    >>> [_name(key) for key in ("int8", 32 << 10, "call")]
    ['the int8 peak', 'the bandwidth of arrays of 32 KiB', 'the time of a call']
    """
    if isinstance(key, int):
        return f"the bandwidth of arrays of {key >> 10} KiB"
    return f"the {key} peak" if key in DTYPES else f"the time of {'an' if key == 'operator' else 'a'} {key}"
