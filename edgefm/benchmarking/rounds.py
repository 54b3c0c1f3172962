"""The rounds of a benchmark: in each one every model has one turn, in an order that is drawn anew.

What slows the machine down for a while slows all models down alike. Each turn is a process of its own, for where
memory happens to lie makes one process a little faster than the next for as long as it lives; and it gives the cold
start each time. A disturbed turn is repeated at once and stays in the record. Rounds end when each p50 is known well
enough, or the time is up.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgefm.benchmarking import presence
from edgefm.benchmarking.bench import Bench
from edgefm.benchmarking.measured import ColdStart, MeasuredModel, Round
from edgefm.benchmarking.session import BenchmarkSession
from edgefm.benchmarking.stopping import reason_to_stop
from edgefm.core.errors import EdgefmError
from edgefm.core.progress import Progress
from edgefm.targets.base import Place

# A loop of samples ends after this share of the time limit, however slow the model is: three loops fit.
_SHARE_OF_LIMIT = 1 / 8


def take_rounds(bench: Bench, models: Sequence[MeasuredModel], *, session: BenchmarkSession) -> None:
    """Let each model have its turn in each round, until every p50 is known well enough; keep what is seen of the place.

    Args:
      bench: where.
      models: that are measured; turns are added to their rounds.
      session: receives the states of the place, how long it took and why no further round was taken.
    """
    if not session.target.latency:
        session.stopped = f"{session.target.name} measures no latency"
        return
    protocol, progress, count = bench.protocol, bench.progress, len(models)
    started = time.monotonic()
    _note_state(bench.place, session)
    for index, order in enumerate(turn_order(count, rounds=protocol.rounds_at_most, seed=protocol.seed)):
        total = max(protocol.rounds, index + 1)
        for position, place in enumerate(order):
            model = models[place]
            bench.attempts.attempt(model, partial(_take_turns, bench, model, index=index, position=position))
            figures = {"round": f"{index + 1}/{total}", "model": model.name}
            # The bar ends with the last round, which is not known before; so it stays one turn short of it.
            turns = index * count + position + 1
            progress.step("latency", min(turns, total * count - 1), total * count, figures)
        _note_state(bench.place, session)
        _note_others(session, progress)
        session.seconds = time.monotonic() - started
        alive = [model for model in models if model.failure is None]
        stop = reason_to_stop(
            [_medians(model.calm) for model in alive],
            used=[_medians(model.used) for model in alive],
            pairs=_fewest_common([{turn.index for turn in model.calm} for model in alive]),
            rounds=index + 1,
            least=protocol.rounds,
            most=protocol.rounds_at_most,
            interval=protocol.interval,
            seconds=session.seconds,
            budget_seconds=protocol.budget_seconds,
        )
        if stop is not None:
            session.stopped = stop
            progress.step("latency", total * count, total * count)
            break


def turn_order(models: int, *, rounds: int, seed: int) -> list[list[int]]:
    """Return the order of models in each round, drawn anew for each."""
    generator = np.random.default_rng(seed)
    return [[int(index) for index in generator.permutation(models)] for _ in range(rounds)]


def _take_turns(bench: Bench, model: MeasuredModel, *, index: int, position: int) -> None:
    """Let a model have its turn, again where it was disturbed; every turn is kept."""
    turn = _turn(bench, model, index=index, position=position, attempt=0)
    repeats = sum(earlier.attempt for earlier in model.rounds)
    model.rounds.append(turn)
    if turn.disturbed and repeats < bench.protocol.repeats_at_most:
        model.rounds.append(_turn(bench, model, index=index, position=position, attempt=1))


def _turn(bench: Bench, model: MeasuredModel, *, index: int, position: int, attempt: int) -> Round:
    protocol = bench.protocol
    most_ns = int(protocol.model_seconds * 1e9 * _SHARE_OF_LIMIT)
    with bench.worker() as worker:
        loaded = bench.start(model, worker)
        samples = worker.request(
            "samples",
            doing="being timed",
            seconds=protocol.model_seconds,
            warmup_calls=protocol.warmup_invokes,
            least_calls=protocol.round_invokes,
            # Half of the turn for invokes alone, half for end to end.
            least_ns=min(int(protocol.round_seconds * 1e9 / 2), most_ns),
            most_calls=max(protocol.round_invokes, protocol.round_invokes_at_most),
            most_ns=most_ns,
        )
        peak = worker.request("peak", doing="being timed", seconds=protocol.model_seconds)
    energy = samples["energy"]
    return Round(
        index=index,
        position=position,
        attempt=attempt,
        warmup_ns=_compact(samples["warmup_ns"]),
        invoke_ns=_compact(samples["invoke_ns"]),
        end_to_end_ns=_compact(samples["end_to_end_ns"]),
        cold_start_ns=ColdStart(
            process=loaded["process_ns"],
            runtime=loaded["import_ns"],
            load=loaded["load_ns"],
            first_invoke=loaded["first_invoke_ns"],
        ),
        peak_bytes=peak["peak_bytes"],
        bare_bytes=loaded["bare_bytes"],
        disturbed=tuple(samples["disturbed"]),
        refused=samples["refused"],
        conditions=samples["conditions"],
        energy_j=energy["reason"] if energy["value"] is None else energy["value"],
    )


def _note_state(place: Place, session: BenchmarkSession) -> None:
    """Keep what the place tells of itself now."""
    with contextlib.suppress(EdgefmError):  # the next turn will tell that the target is gone
        session.states.append(dict(place.state()))


def _note_others(session: BenchmarkSession, progress: Progress) -> None:
    """Say once that another benchmark runs beside this one."""
    if session.target.name != "host" or session.notes:
        return
    beside = presence.others()
    if beside:
        note = presence.sentence_on(beside)
        session.notes.append(note)
        progress.note(f"{note} (process {', '.join(map(str, beside))})")


def _medians(turns: Sequence[Round]) -> list[float]:
    return [float(np.median(turn.invoke_ns)) for turn in turns]


def _fewest_common(calm: Sequence[set[int]]) -> int:
    """Return how many undisturbed rounds those two models have in common which have the fewest."""
    return min((len(first & second) for first in calm for second in calm), default=0)


def _compact(samples: list[int]) -> NDArray[np.int64]:
    return np.asarray(samples, dtype=np.int64)
