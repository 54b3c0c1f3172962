"""Profiles a .tflite file from Python alone: each operator is cut out of the file and timed by itself.

No runtime's Python package tells the time of single operators. A model of one operator, timed beside the whole, does:
its time less that of a call. Their sum is checked against the whole. It is too large where the runtime fuses operators
that stand together, and too small where weights are in a near cache for one operator and not for the whole model.
Then prefixes of the model are timed instead (the graph up to an operator, each one operator longer): differences of
prefixes hold fusion and caches, but the noise of two whole times, and add up to the whole by construction.
"""

from __future__ import annotations

import mmap
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgefm import artefacts, runtimes
from edgefm.benchmarking.statistics import Estimate, interval
from edgefm.environment import environment
from edgefm.errors import ModelError, RecipeError, RuntimeUnavailableError
from edgefm.inspection import Inspection, inspect
from edgefm.profiling import synthetic
from edgefm.profiling.cutting import Cutter
from edgefm.profiling.limits import CHAIN, Limits, limited_by, measure_limits
from edgefm.profiling.names import layer_name
from edgefm.profiling.result import Check, Disturbed, Method, Operator, Profile, rate
from edgefm.profiling.timing import Timed, Turns, time_models
from edgefm.progress import SILENT, Progress

METHODS = ("auto", "operators", "prefixes")
_RESAMPLES = 1000
# All prefixes lie on the disk at once.
_MOST_PREFIX_BYTES = 4_000_000_000
# What is faster than the peak by more than its uncertainty did not do all of its work in its own time.
_BEYOND_PEAK = 1.03
_INTEGER_WEIGHTS = frozenset({"int8", "uint8", "int4", "int2", "int16"})


def profile(
    model: Path,
    *,
    runtime: str = "litert",
    method: Literal["auto", "operators", "prefixes"] = "auto",
    turns: Turns | None = None,
    progress: Progress = SILENT,
) -> Profile:
    """Return where the time of a model goes, on one thread of this machine.

    An operator whose cut model cannot be made, crashes or hangs is a row with the reason; the others go on.

    Args:
      model: .tflite file.
      runtime: name of a runtime, with its kernel set where one is wanted: 'litert', 'litert:builtin'.
      method: 'operators' times models of one operator; 'prefixes' takes differences of prefixes; 'auto' takes
        operators, and prefixes where the operators' sum is off by more than 10 %.
      turns: how long each cut model is timed.
      progress: receives a step a turn.
    Raises:
      ModelError: the file is damaged, has no operator, or none of its operators can be timed.
      RecipeError: an unknown runtime or method.
      RuntimeUnavailableError: the runtime cannot be used here.
    """
    if method not in METHODS:
        raise RecipeError(f"unknown method '{method}'", hint=f"Known: {', '.join(METHODS)}.")
    runtimes.module_of(runtime)
    model, turns = Path(model), turns or Turns()
    found = inspect(model)
    with tempfile.TemporaryDirectory(prefix="edgefm-profile-") as name, model.open("rb") as file:
        # The weights are read from the file when a cut needs them, not before.
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        bench = _Bench(model, content, found, runtime, turns, Path(name), progress)
        return bench.profile(method)


@dataclass(frozen=True, kw_only=True)
class _Times:
    """The times of one method: float64 [resamples + 1], the plain estimate first, then bootstrap resamples."""

    method: Method
    operators: dict[int, NDArray[np.float64]]
    whole: NDArray[np.float64] | None
    call: NDArray[np.float64]
    timed: dict[int, Timed]
    whole_timed: Timed


class _Bench:
    """One profile in the making."""

    def __init__(
        self,
        model: Path,
        content: mmap.mmap,
        found: Inspection,
        runtime: str,
        turns: Turns,
        folder: Path,
        progress: Progress,
    ) -> None:
        self._model, self._found, self._runtime = model, found, runtime
        self._turns, self._folder, self._progress = turns, folder, progress
        self._cutter = Cutter(content)
        self._places = [place for place in range(self._cutter.operators) if not self._cutter.unpacks(place)]
        self._version = ""
        self._notes: list[str] = []
        # The plain estimate takes each round once; the same rounds are drawn for all models.
        drawn = np.random.default_rng(turns.seed).integers(0, turns.rounds, (_RESAMPLES, turns.rounds))
        self._draws = np.vstack([np.arange(turns.rounds), drawn])
        self._whole = model
        if len(found.inputs) != 1:
            self._whole = folder / "whole.tflite"
            self._whole.write_bytes(self._cutter.whole())
            self._notes.append(
                f"the model has {len(found.inputs)} inputs: one is fed with random numbers, the others hold zeros"
            )

    def profile(self, method: str) -> Profile:
        """Measure, check, and measure anew where the check does not hold and another method may be taken."""
        checks: list[Check] = []
        times: _Times | None = None
        if method != "prefixes":
            times = self._operators()
            checks += self._check(times)
        off = bool(checks) and not checks[-1].missing and not checks[-1].holds
        if method == "prefixes" or (method == "auto" and off):
            needed = self._prefix_bytes()
            if needed <= _MOST_PREFIX_BYTES:
                times = self._prefixes()
                checks += self._check(times)
            elif times is None:
                raise ModelError(
                    f"its prefixes would take {needed / 1e9:,.1f} GB; {_MOST_PREFIX_BYTES / 1e9:g} GB are allowed",
                    hint="Use --method operators.",
                )
            else:
                self._notes.append(f"prefixes were not tried: they would take {needed / 1e9:,.1f} GB on the disk")
        assert times is not None
        limits, _ = measure_limits(
            runtime=self._runtime, turns=self._turns, folder=self._folder, progress=self._progress
        )
        return self._result(times, checks, limits)

    def _operators(self) -> _Times:
        """Time models of one operator."""
        timed = {}
        for place in self._places:
            one = timed[place] = Timed(name=self._label(place), path=self._folder / f"operator-{place}.tflite")
            try:
                one.path.write_bytes(self._cutter.one_operator(place, one_input=True))
            except ModelError as error:
                one.failure = error.message
        whole, chains = self._time(list(timed.values()), label="operators")
        call = self._call(chains)
        alone = {place: self._medians(one) - call for place, one in timed.items() if one.rounds}
        if not alone:
            first = next(iter(timed.values())).failure
            reason = whole.failure or first
            raise ModelError(f"no operator of {self._model} can be timed: {reason}", hint=_hint(reason, first))
        return self._times("operators", alone, whole, call, timed)

    def _prefixes(self) -> _Times:
        """Time the graph up to each operator."""
        timed = {}
        for place in self._places:
            one = timed[place] = Timed(name=self._label(place), path=self._folder / f"prefix-{place}.tflite")
            try:
                one.path.write_bytes(self._cutter.prefix_in_order(place))
            except ModelError as error:
                one.failure = error.message
        whole, chains = self._time(list(timed.values()), label="prefixes")
        call = self._call(chains)
        found = {}
        before: NDArray[np.float64] | None = call
        for place, one in timed.items():
            until = self._medians(one) if one.rounds else None
            if until is not None and before is not None:
                found[place] = until - before
            elif until is not None:
                one.failure = "the graph up to the operator before it could not be timed"
            before = until
        if not found:
            reason = whole.failure or next(iter(timed.values())).failure
            raise ModelError(f"no operator of {self._model} can be timed: {reason}")
        return self._times("prefixes", found, whole, call, timed)

    def _time(self, cuts: Sequence[Timed], *, label: str) -> tuple[Timed, list[Timed]]:
        """Time cut models beside the whole and two chains of operators that do nothing."""
        chains = []
        for length in (1, CHAIN):
            path = self._folder / f"chain-{length}.tflite"
            path.write_bytes(synthetic.chain(length))
            chains.append(Timed(name=f"{length} least operators", path=path))
        whole = Timed(name="whole", path=self._whole)
        self._version = time_models(
            [whole, *chains, *cuts],
            runtime=self._runtime,
            turns=self._turns,
            folder=self._folder,
            label=label,
            progress=self._progress,
        )
        for one in cuts:
            one.path.unlink(missing_ok=True)
        for one in chains:
            if one.failure is not None:
                raise RuntimeUnavailableError(
                    f"the runtime '{self._runtime}' cannot run a model of one operator: {one.failure}",
                    hint="See which runtimes work here with: edgefm doctor",
                )
        return whole, chains

    def _call(self, chains: Sequence[Timed]) -> NDArray[np.float64]:
        """Return the time of an invoke without operators: one operator less than the least model."""
        one, many = (self._medians(chain) for chain in chains)
        found: NDArray[np.float64] = one - np.maximum(0.0, (many - one) / (CHAIN - 1))
        return found

    def _times(
        self,
        method: Method,
        operators: dict[int, NDArray[np.float64]],
        whole: Timed,
        call: NDArray[np.float64],
        timed: dict[int, Timed],
    ) -> _Times:
        return _Times(
            method=method,
            operators=operators,
            whole=self._medians(whole) if whole.rounds else None,
            call=call,
            timed=timed,
            whole_timed=whole,
        )

    def _medians(self, timed: Timed) -> NDArray[np.float64]:
        """Return the median over rounds of each round's median, for the rounds as they are and for each resample."""
        rounds = np.array([np.median(samples) for samples in timed.rounds])
        found: NDArray[np.float64] = np.median(rounds[self._draws], axis=1)
        return found

    def _check(self, times: _Times) -> list[Check]:
        if times.whole is None:
            return []
        total = np.sum([times.call, *times.operators.values()], axis=0)
        return [
            Check(
                method=times.method,
                sum=_estimate(total),
                of_whole=_estimate(total / times.whole),
                missing=tuple(place for place in self._places if place not in times.operators),
            )
        ]

    def _result(self, times: _Times, checks: Sequence[Check], limits: Limits) -> Profile:
        disturbed = [turn for one in (times.whole_timed, *times.timed.values()) for turn in one.disturbed]
        operators = tuple(self._operator(place, times, limits) for place in self._places)
        for operator in operators:
            if operator.peak_share and operator.peak_share > _BEYOND_PEAK:
                self._notes.append(
                    f"operator {operator.index}, {operator.name}, would run at {100 * operator.peak_share:.0f} % of "
                    "the peak: the runtime joins it with the operator before it; read their times together"
                )
        return Profile(
            model={
                "name": self._model.name,
                "sha256": artefacts.sha256_file(self._model),
                "size_bytes": self._found.size_bytes,
            },
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            runtime=self._runtime,
            version=self._version,
            environment=environment(),
            turns=self._turns,
            method=times.method,
            whole=None if times.whole is None else _estimate(times.whole),
            whole_reason=times.whole_timed.failure,
            whole_rounds=times.whole_timed.rounds,
            call=_estimate(times.call),
            checks=tuple(checks),
            limits=limits,
            operators=operators,
            unpacking=tuple(sorted(set(range(self._cutter.operators)) - set(self._places))),
            disturbed=Disturbed(
                turns=sum(bool(reasons) for reasons in disturbed),
                of_turns=len(disturbed),
                kinds=dict(Counter(_kind(reason) for reasons in disturbed for reason in reasons)),
            ),
            notes=tuple(self._notes),
        )

    def _operator(self, place: int, times: _Times, limits: Limits) -> Operator:
        info, tensors = self._found.operators[place], self._found.tensors
        activations = self._cutter.activations(place)
        # An input that is neither comes from no operator: a constant, as it is or unpacked, or a variable.
        weights = sum(tensors[index].size_bytes for index in dict.fromkeys(info.inputs) if index not in activations)
        moved = sum(tensors[index].size_bytes for index in (*activations, *info.outputs))
        dtype = None
        if info.macs:
            dtype = "int8" if tensors[info.inputs[1]].dtype in _INTEGER_WEIGHTS else "float32"
        time = _estimate(times.operators[place]) if place in times.operators else None
        speed = rate(info.macs, time) if time else None
        # A cut of one operator finds its bytes where its last call left them; a prefix touches all else between.
        among = 0 if times.method == "operators" else self._found.weight_bytes + self._found.largest_activation_bytes
        floors = limits.floors_ns(macs=info.macs, dtype=dtype, size_bytes=weights + moved, among_bytes=among)
        return Operator(
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
            limit=limited_by(time.value, floors) if time else None,
            rounds=times.timed[place].rounds,
        )

    def _prefix_bytes(self) -> int:
        """Return about how many bytes all prefixes take: each holds the weights of all operators up to its own."""
        sizes = np.array([self._found.operators[place].weight_bytes for place in self._places], dtype=np.float64)
        return int(np.cumsum(sizes).sum())

    def _label(self, place: int) -> str:
        return f"{place} {self._cutter.name(place)}"


def _estimate(values: NDArray[np.float64]) -> Estimate:
    """Return the estimate of [resamples + 1] values, the plain one first."""
    return interval(float(values[0]), values[1:])


def _kind(reason: str) -> str:
    """Return a reason without its figures: in so short a turn they say little.

    >>> _kind("other programs used 1.6 of 2 cores")
    'other programs used …'
    """
    return re.sub(r"\s*\d.*$", " …", reason)


def _hint(reason: str | None, first: str | None) -> str | None:
    """Return what the first operator's failure adds to the whole's."""
    return None if first is None or first == reason else f"Its first operator: {first}."
