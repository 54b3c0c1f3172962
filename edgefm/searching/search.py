"""A whole search in a folder: forecast, trials, finalists, the page; each part is found again after a stop.

search.json    what is searched            journal.log   the trials
forecast.json  the smallest files          passes/       finished passes, by their content
live.html      how the search stands       cost-models/   of targets
result/        front.json, result.md, front.png, models/, benchmark/
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgefm.core.documents import read_json
from edgefm.core.environment import version, versions
from edgefm.core.errors import DataError, ModelError
from edgefm.core.progress import SILENT, Progress
from edgefm.quantization.checks.given_model import given_model
from edgefm.quantization.source import Source
from edgefm.recipes import BenchmarkProtocol
from edgefm.searching.budget import SearchBudget, targets_of
from edgefm.searching.driver import Limits, drive
from edgefm.searching.ending.finish import finish, measure_waiting
from edgefm.searching.evaluation import PASSES_FOLDER, Evaluator, Latency, Trials
from edgefm.searching.executors.execution import Execution, Hands
from edgefm.searching.finalists import Finalist, trained
from edgefm.searching.forecast import Rough, never_met
from edgefm.searching.journal import SearchError, opened
from edgefm.searching.live.left import seconds_to_keep
from edgefm.searching.live.state import Searched
from edgefm.searching.live.watch import Live
from edgefm.searching.on_targets.prediction import check_reachable, of_targets
from edgefm.searching.parcel import Setup, setup_of
from edgefm.searching.result import RESULT_FILE, is_finished
from edgefm.searching.sampling import TPE, Sampling
from edgefm.searching.space import Epochs, Space, space_of
from edgefm.searching.storage.shared import SharedStudy
from edgefm.searching.trials import Trial
from edgefm.searching.words import unit_of

RESULT_FOLDER = "result"
# Libraries of which the files, losses and times of trials depend.
_COUNTED = ("edgefm", "tensorflow", "keras", "ai-edge-litert")


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """How a search is done.

    Attributes:
      budgets: that files are searched for.
      limits: when it ends.
      seed: of choices and of fine-tuning.
      sampler: see `Sampling`.
      epochs: of removing channels in a whole trial; the other passes get a half, a quarter and an eighth of it.
      seeds: number of seeds that each finalist is trained with.
      execution: who does the trials.
      storage: keeps the trials instead of the folder.
      protocol: by which finalists are measured.
    """

    budgets: tuple[SearchBudget, ...]
    limits: Limits
    seed: int = 0
    sampler: str = TPE
    epochs: int = 8
    seeds: int = 3
    execution: Execution = field(default_factory=Execution)
    storage: SharedStudy | None = None
    protocol: BenchmarkProtocol


def search_in(
    folder: Path,
    source: Source,
    plan: SearchPlan,
    latency: Callable[[Path], Latency],
    *,
    rough: Rough,
    resume: bool = False,
    space: Space | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Search and return the folder of the result; what was done there before is not done again.

    Args:
      folder: of the search.
      source: the model with its data.
      plan: how.
      latency: makes what predicts a file's p50, and keeps in the folder what it needs to do so again.
      rough: makes what predicts it within seconds, by which budgets that nothing can meet are refused before.
      resume: go on with the search in the folder.
      space: of what may be chosen; by default all that applies to the model.
      progress: receives progress.
    Raises:
      SearchError: see `edgefm.searching.journal.opened`; or no budget can be met by anything in the space; or a
        target cannot be reached whose operators were not measured yet; or all trials failed.
      ModelError: there is nothing to search, or the model cannot be converted.
      DataError: there are no data.
      RuntimeUnavailableError: Optuna is not installed, or TFLite Micro where a budget limits the arena.
      OSError: the disk is full, say; the search goes on when it is resumed.
    """
    _check(source, plan.budgets)
    space = space or space_of(source.model)
    check_reachable(folder, targets_of(plan.budgets))
    trials = plan.limits.trials
    with plan.execution.ready(folder, source, trials=trials, resume=resume, progress=progress) as hands:
        return _searched(
            folder,
            source,
            plan,
            latency,
            hands,
            rough=rough,
            resume=resume,
            space=space,
            progress=progress,
        )


def _searched(
    folder: Path,
    source: Source,
    plan: SearchPlan,
    latency: Callable[[Path], Latency],
    hands: Hands,
    *,
    rough: Rough,
    resume: bool,
    space: Space,
    progress: Progress,
) -> Path:
    task = source.task
    assert task is not None, "checked at the beginning"
    identity = {
        "kind": "search",
        "schema_version": 1,
        "model": source.sha256,
        "data": task.dataset.sha256,
        "quality": task.quality.name,
        "head": source.head.kind,
        "value_range": list(source.encoding.value_range),
        "budgets": {budget.name: budget.to_json() for budget in plan.budgets},
        "seed": plan.seed,
        "sampler": plan.sampler,
        "optuna": version("optuna") or "",
        "versions": {name: number for name, number in versions().items() if name in _COUNTED},
        "lag": hands.lag,
        "epochs": plan.epochs,
        "scratch_epochs": Epochs.of(plan.epochs).scratch,
        "space": space.to_json(),
    }
    with opened(folder, identity, space.distributions(), resume=resume, shared=plan.storage) as journal:
        _note_versions(journal.versions, versions(), progress)
        identity |= {"lag": journal.lag, "versions": journal.versions}
        predict = functools.cache(lambda: latency(folder))
        elsewhere = functools.cache(lambda: of_targets(folder, targets_of(plan.budgets), progress=progress))
        given = functools.cache(lambda: given_model(source, progress=progress))
        arena = any("max_arena_bytes" in budget.limits for budget in plan.budgets)
        own = Evaluator(
            source,
            space,
            given=given,
            kept=folder / PASSES_FOLDER,
            latency=predict,
            on_targets=elsewhere,
            arena=arena,
            seed=plan.seed,
            shelf=hands.shelf,
            progress=progress,
        )
        never = never_met(folder, own, plan.budgets, rough=rough, progress=progress)
        possible = tuple(budget for budget in plan.budgets if budget.name not in never)
        sampling = Sampling(space=space, budgets=possible, sampler=plan.sampler, seed=plan.seed, lag=journal.lag)
        doing = Trials(evaluator=own, sampling=sampling, epochs=plan.epochs)

        def setup() -> Setup:
            kept = folder / PASSES_FOLDER
            return setup_of(doing, kept=kept, latency=predict(), arena=arena, on_targets=elsewhere())

        slots = min(hands.slots, journal.lag)
        afterwards = functools.partial(seconds_to_keep, budgets=plan.budgets, seeds=plan.seeds, slots=slots)
        limits = replace(plan.limits, afterwards=afterwards)
        searched = Searched(
            model=source.name,
            space=space,
            budgets=plan.budgets,
            impossible=never,
            limits=limits,
            slots=slots,
            seeds=plan.seeds,
            unit=unit_of(task.quality),
            validation=len(given().inputs),
        )
        result = folder / RESULT_FOLDER
        with Live(folder, searched, progress=progress) as live:
            chosen: tuple[Sequence[Finalist], Mapping[str, str]] | None = None
            with hands.executor(doing, setup, progress=progress) as executor:

                def watch(trials: Sequence[Trial], elapsed: float) -> None:
                    live.trials(trials, elapsed, slots=min(executor.slots, journal.lag))

                trials = drive(journal, sampling, executor, limits, watch=watch, progress=progress)
                _check_some(trials)
                if not is_finished(result / RESULT_FILE, seeds=plan.seeds, trials=trials, progress=progress):
                    live.finalists()
                    seeds = [plan.seed + 1 + place for place in range(plan.seeds)]
                    chosen = trained(trials, plan.budgets, space, executor, seeds=seeds, progress=progress)
            if chosen is None:
                if not measure_waiting(result, plan.budgets, plan.protocol, progress=progress):
                    progress.note(f"{result} already holds the result of these trials: nothing to do")
            else:
                finish(
                    result,
                    own,
                    trials,
                    *chosen,
                    seeds=plan.seeds,
                    budgets=plan.budgets,
                    impossible=never,
                    epochs=plan.epochs,
                    protocol=plan.protocol,
                    identity=identity,
                    arena=arena,
                    progress=progress,
                )
                _note_size(folder / PASSES_FOLDER, progress)
            live.ended(read_json(result / RESULT_FILE, what="result of a search", error=SearchError))
        return result


def _check_some(trials: Sequence[Trial]) -> None:
    """Raise a SearchError where all trials failed."""
    if trials and all(trial.outcome is None for trial in trials):
        which = "the only trial failed" if len(trials) == 1 else f"all {len(trials)} trials failed, the last one"
        raise SearchError(
            f"{which}: {trials[-1].reason}",
            hint="None of them is done again. Mend the cause, then search in a new folder; or resume with more trials.",
        )


def _note_versions(begun: Mapping[str, str], here: Mapping[str, str], progress: Progress) -> None:
    """Say where a search goes on with other libraries than it was begun with."""
    different = {name: here.get(name, "none") for name, number in begun.items() if here.get(name) != number}
    others = [f"{name} {begun[name]} (now {number})" for name, number in different.items()]
    if others:
        progress.note(
            f"this search was begun with {', '.join(others)}: what is tried from now on may come out otherwise than "
            f"before, and so may the points after it"
        )


def _note_size(passes: Path, progress: Progress) -> None:
    size = sum(path.stat().st_size for path in passes.rglob("*") if path.is_file())
    progress.note(
        f"{passes} takes {size / 1e6:,.1f} MB; where it is removed, a search that goes on does its steps again"
    )


def _check(source: Source, budgets: Sequence[SearchBudget]) -> None:
    """Raise the error that says why a source cannot be searched, if it cannot."""
    if source.model is None:
        raise ModelError(f"{source.file} holds no Keras model to train", hint="Give the .keras or .h5 file.")
    if source.task is None:
        raise DataError("a search trains and measures, and no data were given", hint="Give data.")
    if source.several_inputs or source.takes_tokens:
        raise ModelError(
            f"{source.file} takes several inputs, or tokens: passes that train take one input of floats",
            hint="Quantise it after training: edgefm quantize with the recipe 'quick'.",
        )
    limited = [budget.name for budget in budgets if "max_accuracy_loss" in budget.limits]
    if limited and source.task.quality.unit != "%":
        raise SearchError(
            f"max_accuracy_loss of {', '.join(limited)} is in percentage points; {source.task.quality.name} has none",
            hint="Leave that limit out: the loss is made small all the same.",
        )
