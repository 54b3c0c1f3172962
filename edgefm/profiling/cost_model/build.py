"""Builds a cost model: operators are timed in groups, networks by themselves, in interleaved rounds.

The operators of a group are loaded together and invoked one after the other, as those of a network are, so that each
finds the caches as the others left them. Networks, drawn at random, tell what operators take together beside what they
take alone, a factor a kind; and how far a network is off that was left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from edgefm import runtimes
from edgefm.benchmarking import presence
from edgefm.core import scratch
from edgefm.core.environment import environment
from edgefm.core.errors import ModelError, RecipeError
from edgefm.core.progress import SILENT, Progress, StepsOnly
from edgefm.profiling import synthetic
from edgefm.profiling.cost_model import grid, networks
from edgefm.profiling.cost_model.files import model_of
from edgefm.profiling.cost_model.model import HOST, CostModel, HeldOut, MeasuredOperator
from edgefm.profiling.cost_model.regression import nonnegative
from edgefm.profiling.cost_model.shapes import OperatorShape
from edgefm.profiling.limits import CHAIN
from edgefm.profiling.timing import Timed, Together, Turns, lower_decile, time_models
from edgefm.targets import target as target_at
from edgefm.targets.base import Target
from edgefm.targets.worker_process import WorkerProcess

_GROUP = 12  # operators of a small classifier
_NETWORKS = 20  # in each dtype
_FOLDS = 10
_TURNS = Turns(rounds=5, turn_seconds=0.012, least_invokes=8, most_invokes=60, warmup_invokes=2)
_NETWORK_TURNS = Turns(rounds=9, turn_seconds=0.02, least_invokes=8, most_invokes=200, warmup_invokes=3)
# A factor stays near 1 until networks say otherwise: it weighs as much as so many of them.
_PRIOR = 0.5
_LEAST_NS = 10.0
_TRIAL = "trial"


@dataclass(frozen=True, kw_only=True)
class _Network:
    name: str
    shapes: list[OperatorShape]
    timed: Timed


@presence.announced()
def build(
    *,
    runtime: str = "litert",
    seed: int = 0,
    share: float = 1.0,
    network_count: int = _NETWORKS,
    target: str = HOST,
    progress: Progress = SILENT,
) -> CostModel:
    """Return the cost model of a runtime on one thread of a target, by default this machine, measured now.

    Two thousand operators and sixty networks take two minutes; the machine should be quiet.

    Args:
      runtime: of the target, with its kernel set where one is wanted: 'litert', 'litert:builtin'.
      seed: of the draws.
      share: of the operators; less is faster and less exact.
      network_count: in each of three dtypes, at least 2.
      target: address, see `edgefm.targets`; one whose workers time a call of any file, e.g. 'ssh://pi@board'.
      progress: receives a step a turn.
    Raises:
      RecipeError: an unknown runtime or target, or one that does not time operators in a worker process.
      TargetError: the target cannot be reached, or went away.
      ModelError: nothing could be timed.
      RuntimeUnavailableError: the runtime cannot be used here.
    """
    runtimes.module_of(runtime)
    if runtimes.split(runtime)[0] in runtimes.OF_TARGETS:
        raise RecipeError(
            f"the runtime '{runtime}' runs on another target; a cost model is measured on this machine",
            hint="Use a runtime of this machine, e.g. litert:builtin; see: edgefm doctor.",
        )
    with scratch.folder("cost-model") as folder:
        session = _Session(runtime=runtime, target=measurable(target), folder=folder, progress=progress)
        operators = session.operators(grid.shapes(seed=seed, share=share))
        drawn = session.networks(seed, network_count)
        described = session.environment()
    alone = CostModel(
        runtime=runtime,
        version=session.version,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=described,
        target=target,
        call_ns=session.call_ns,
        operators=operators,
        factors={},
        held_out=HeldOut(names=("",), predicted_ns=(1.0,), measured_ns=(1.0,)),
        disturbed=session.disturbed(),
    )
    return _calibrated(alone, drawn)


class _Session:
    """What is timed, in one stretch."""

    def __init__(self, *, runtime: str, target: Target, folder: Path, progress: Progress) -> None:
        self.version, self.call_ns = "", 0.0
        self._target = target
        self._runtime, self._folder, self._progress = runtime, folder, progress
        self._turns: list[tuple[str, ...]] = []

    def operators(self, shapes: Sequence[OperatorShape]) -> tuple[MeasuredOperator, ...]:
        """Return the times of operators, those that the runtime runs."""
        timed = {shape: self._file(f"operator-{place}", model_of([shape])) for place, shape in enumerate(shapes)}
        groups = self._groups(list(timed.values()), "operators")
        self._time(groups, replace(_TURNS, rounds=1, least_invokes=1, turn_seconds=1e-9), _TRIAL)
        lost = [model for group in groups if group.failure for model in group.models]
        if lost:  # one that cannot be run takes its group with it: each by itself, and the good ones anew
            for model in lost:
                model.failure = None
            self._time(lost, replace(_TURNS, rounds=1, least_invokes=1, turn_seconds=1e-9), _TRIAL)
        good = {shape: model for shape, model in timed.items() if model.failure is None}
        if not good:
            raise ModelError(f"no operator can be timed with {self._runtime}: {lost[0].failure}")
        for model in good.values():
            model.rounds.clear()
        chains = [self._file(f"chain-{length}", synthetic.chain(length)) for length in (1, CHAIN)]
        groups = self._groups(list(good.values()), "operators")
        first = replace(groups[0], models=[*chains, *groups[0].models])
        self._time([first, *groups[1:]], _TURNS, "operators")
        smallest, many = (_typical(chain) for chain in chains)
        self.call_ns = max(0.0, smallest - (many - smallest) / (CHAIN - 1))
        return tuple(
            MeasuredOperator(shape, max(_LEAST_NS, _typical(model) - self.call_ns))
            for shape, model in timed.items()
            if model.rounds
        )

    def networks(self, seed: int, count: int) -> list[_Network]:
        """Return networks with their times."""
        drawn = []
        for number in range(max(2, count)):
            for dtype in ("float32", "int8", "float32*int8"):
                shapes = networks.draw(np.random.default_rng((seed, number)), dtype=dtype)
                name = f"network {number} {dtype}"
                timed = self._file(name.replace(" ", "-").replace("*", "-"), model_of(shapes, seed=number))
                drawn.append(_Network(name=name, shapes=shapes, timed=timed))
        self._time([network.timed for network in drawn], _NETWORK_TURNS, "networks")
        good = [network for network in drawn if network.timed.failure is None]
        if len(good) < 2:
            raise ModelError(f"no network can be timed with {self._runtime}: {drawn[0].timed.failure}")
        return good

    def environment(self) -> dict[str, Any]:
        """Return what the target's machine is, see `edgefm.core.environment`."""
        if self._target.name == HOST:
            return environment()
        with (
            self._target.open(self._runtime) as place,
            WorkerProcess(place=place, folder=self._folder, name="environment") as worker,
        ):
            answer = worker.request("environment", doing="reading its environment", seconds=60)
        return dict(answer["environment"])

    def disturbed(self) -> tuple[str, ...]:
        """Return what disturbed more than one turn in ten."""
        kinds = Counter(kind.split(" used ")[0] for turn in self._turns for kind in set(turn))
        return tuple(
            f"{kind}: {count} of {len(self._turns)} turns"
            for kind, count in kinds.most_common()
            if 10 * count > len(self._turns)
        )

    def _groups(self, models: Sequence[Timed], name: str) -> list[Together]:
        return [
            Together(name=name, path=self._folder / f"group-{start}.json", models=models[start : start + _GROUP])
            for start in range(0, len(models), _GROUP)
        ]

    def _file(self, name: str, content: bytes) -> Timed:
        path = self._folder / f"{name}.tflite"
        path.write_bytes(content)
        return Timed(name=name, path=path)

    def _time(self, models: Sequence[Timed | Together], turns: Turns, label: str) -> None:
        progress = StepsOnly(self._progress) if label == _TRIAL else self._progress
        version = time_models(
            models,
            runtime=self._runtime,
            turns=turns,
            folder=self._folder,
            label=label,
            target=self._target,
            progress=progress,
        )
        self.version = version or self.version
        parts = [model.models[0] if isinstance(model, Together) else model for model in models]
        self._turns += [turn for part in parts for turn in part.disturbed]


def measurable(address: str) -> Target:
    """Return a target on which operators can be timed one by one.

    Raises:
      RecipeError: an unknown one, or one that counts instructions, estimates, or times whole models by a program of its
        own.
      TargetError: its module cannot be imported.
    """
    found = target_at(address)
    if found.latency and any(name not in runtimes.OF_TARGETS for name in found.runtimes):
        return found
    reason = "times whole models by a program of its own" if found.latency else "does not measure time"
    raise RecipeError(
        f"operators cannot be timed on the target '{address}': it {reason}",
        hint="Allowed: host, and boards that are reached by ssh, e.g. ssh://pi@board.",
    )


def _typical(timed: Timed) -> float:
    """Return the median over rounds of each round's lower decile, in nanoseconds."""
    return float(np.median([lower_decile(samples) for samples in timed.rounds]))


def _calibrated(alone: CostModel, drawn: Sequence[_Network]) -> CostModel:
    """Return a cost model with its factors, and with the networks that were predicted without having been used."""
    measured = {network.name: _typical(network.timed) for network in drawn}
    numbers = list(dict.fromkeys(network.name.split()[1] for network in drawn))
    predicted: dict[str, float] = {}
    for fold in range(min(_FOLDS, len(numbers))):
        left_out = set(numbers[fold::_FOLDS])
        rest = [network for network in drawn if network.name.split()[1] not in left_out]
        model = replace(alone, factors=_factors(alone, rest, measured))
        for network in drawn:
            if network.name.split()[1] in left_out:
                predicted[network.name] = model.call_ns + sum(map(model.operator_ns, network.shapes))
    held_out = HeldOut(
        names=tuple(measured),
        predicted_ns=tuple(predicted[name] for name in measured),
        measured_ns=tuple(measured.values()),
    )
    return replace(alone, factors=_factors(alone, drawn, measured), held_out=held_out)


def _factors(alone: CostModel, drawn: Sequence[_Network], measured: Mapping[str, float]) -> dict[str, float]:
    """Return by kind and dtypes what an operator takes in networks beside what it takes alone."""
    groups = sorted({shape.group for network in drawn for shape in network.shapes})
    rows = []
    for network in drawn:
        sums: dict[str, float] = defaultdict(float)
        for shape in network.shapes:
            sums[shape.group] += alone.operator_ns(shape)
        rows.append([sums[group] for group in groups])
    times = np.array([measured[network.name] - alone.call_ns for network in drawn])
    costs = nonnegative(np.array(rows), times, prior=np.ones(len(groups)), weight=_PRIOR)
    return dict(zip(groups, costs.tolist(), strict=True))
