"""The best point of each budget, trained to the end with several seeds, written, and measured beside the references.

All choices are made on validation samples. The test samples are answered once, by the files that were chosen.
"""

from __future__ import annotations

import gzip
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgefm.benchmarking.measured import ModelFile
from edgefm.benchmarking.step import benchmark_files
from edgefm.core.progress import SILENT, Progress
from edgefm.quantization.export import libraries
from edgefm.quantization.source import Source
from edgefm.quantization.variant_writer import VariantWriter
from edgefm.recipes import BenchmarkProtocol, PostTraining, Variant
from edgefm.searching.budget import SearchBudget
from edgefm.searching.driver import Executor, Task, Unforeseen
from edgefm.searching.evaluation import REFERENCE, Evaluator, arena_of
from edgefm.searching.space import Epochs, Point, Space
from edgefm.searching.space.epochs import LONGER
from edgefm.searching.trials import Figures, Trial, complete_ones
from edgefm.searching.words import POINTS, unit_of

FLOAT = "float32"
MODELS_FOLDER, BENCHMARK_FOLDER = "models", "benchmark"
_MODEL_FILE = "model.tflite"


@dataclass(frozen=True, kw_only=True)
class SeedResult:
    """A finalist trained with one seed, and its figures on validation samples."""

    seed: int
    figures: Figures = field(hash=False)


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """The point that is proposed for a budget.

    Attributes:
      budget: name of it, which the file has, too.
      trial: index of the trial that tried it first.
      point: of the space.
      seeds: what came of each seed.
      seed: of the file that is written: the one that exceeds the budget least on validation samples, of equals the one
        that lost least.
    """

    budget: str
    trial: int
    point: Point = field(hash=False)
    seeds: tuple[SeedResult, ...]
    seed: int


def proposed(trials: Sequence[Trial], budget: SearchBudget) -> Trial | None:
    """Return the trial that is the best for a budget; None where none went through all stages.

    Of those that keep its limits on validation samples the one that loses least, then the fastest. Where none does, the
    one that exceeds them least as a finalist may: that is trained `LONGER` times as long, which makes neither its time
    nor its size less, and its loss is taken for as many times smaller.
    """

    def rank(trial: Trial) -> tuple[bool, float, tuple[float, ...], int]:
        loss = trial.figures.get("accuracy_loss")
        later = trial.figures if loss is None else {**trial.figures, "accuracy_loss": loss / LONGER}
        broken = bool(budget.excess(trial.figures))
        return broken, sum(budget.excess(later).values()) if broken else 0.0, trial.costs or (), trial.index

    return min(complete_ones(trials), key=rank, default=None)


def trained(
    trials: Sequence[Trial],
    budgets: Sequence[SearchBudget],
    space: Space,
    executor: Executor,
    *,
    seeds: Sequence[int],
    progress: Progress = SILENT,
) -> tuple[tuple[Finalist, ...], dict[str, str]]:
    """Return the finalists, each trained twice as long as a trial, as many at a time as trials are.

    And, by the names of budgets, why no seed of a trial that was proposed could be trained.

    Args:
      trials: of the search; none runs any more.
      budgets: each gets a finalist; those of which nothing is proposed get none.
      space: of the points.
      executor: trains them.
      seeds: that each is trained with.
      progress: receives progress.
    Raises:
      EdgefmError, OSError: see `edgefm.searching.driver.drive`.
    """
    results: dict[tuple[int, int], Figures] = {}
    reasons: dict[int, str] = {}
    proposals = [(budget, trial) for budget in budgets if (trial := proposed(trials, budget)) is not None]
    points = {trial.index: trial for _, trial in proposals}
    wanted = [(index, seed) for seed in seeds for index in points]
    first = 1 + max((trial.index for trial in trials), default=-1)
    tasks = [
        Task(index=first + place, params=dict(points[index].params), trial=index, seed=seed)
        for place, (index, seed) in enumerate(wanted)
    ]
    waiting, again = deque(tasks), set[int]()
    for done in range(len(wanted)):
        while waiting and len(wanted) - done - len(waiting) < max(1, executor.slots):
            executor.submit(waiting.popleft())
        progress.step("finalists", done, len(wanted), {"budgets": str(len(proposals)), "seeds": str(len(seeds))})
        place, outcome = executor.next()
        while isinstance(outcome, Unforeseen) and place not in again:
            progress.note(f"{tasks[place - first].label}: {outcome}; it is done again")
            again.add(place)
            executor.submit(tasks[place - first])
            place, outcome = executor.next()
        index, seed = wanted[place - first]
        if isinstance(outcome, str):
            progress.note(f"{tasks[place - first].label}: {outcome}")
            reasons[index] = outcome
        else:
            results[index, seed] = outcome.stages[-1].figures
    progress.step("finalists", len(wanted), len(wanted))
    finalists, failed = [], {}
    for budget, trial in proposals:
        ended = [
            SeedResult(seed=seed, figures=results[trial.index, seed])
            for seed in seeds
            if (trial.index, seed) in results
        ]
        if ended:
            best = min(ended, key=lambda one: (sum(budget.excess(one.figures).values()), one.figures["accuracy_loss"]))
            finalists.append(
                Finalist(
                    budget=budget.name,
                    trial=trial.index,
                    point=space.point(trial.params),
                    seeds=tuple(ended),
                    seed=best.seed,
                )
            )
        elif trial.index in reasons:
            failed[budget.name] = reasons[trial.index]
    return tuple(finalists), failed


def written(
    finalists: Sequence[Finalist],
    evaluator: Evaluator,
    folder: Path,
    *,
    epochs: int,
    progress: Progress = SILENT,
) -> dict[str, Path]:
    """Write the references and the finalists into `<folder>/<name>/model.tflite`, each with its contract.

    Returns:
      the files by name: 'float32', 'int8_w8a8', then the budgets.
    """
    source: Source = evaluator.source
    # What files lose is measured by the trials, and later on the test samples: not here, where a measure may raise.
    unlabelled = replace(evaluator.given, targets=None, quality=None)
    writer = VariantWriter(
        source=source,
        folder=folder,
        made_by={"source": source.to_json(), "versions": libraries()},
        given=unlabelled,
        progress=progress,
    )
    first = evaluator.with_seed(0).converter
    references = [Variant(name=name, quantization=PostTraining(scheme=name)) for name in (FLOAT, REFERENCE)]
    baseline = writer.reference(first, references[0])
    for variant in references:
        writer.write(first, variant, baseline)
    for finalist in finalists:
        variant = evaluator.space.variant(finalist.point, Epochs.of_finalist(epochs), name=finalist.budget)
        writer.write(evaluator.with_seed(finalist.seed).converter, variant, baseline)
    names = [FLOAT, REFERENCE, *(finalist.budget for finalist in finalists)]
    return {name: folder / name / _MODEL_FILE for name in names}


def measured(
    files: Mapping[str, Path],
    source: Source,
    protocol: BenchmarkProtocol,
    *,
    arena: bool,
    out: Path,
    progress: Progress = SILENT,
) -> dict[str, dict[str, Any]]:
    """Return the figures of files, measured side by side, their quality on the test samples.

    Args:
      files: by name; 'float32' and 'int8_w8a8' are among them.
      source: whose data are answered.
      protocol: of the benchmark.
      arena: ask TFLite Micro for the arena.
      out: folder of the benchmark's record.
      progress: receives progress.
    """
    task = source.task
    assert task is not None, "a search has data"
    record = benchmark_files(
        [ModelFile(name=name, path=path) for name, path in files.items()],
        protocol=protocol,
        dataset=task.dataset,
        quality=task.quality,
        out=out,
        progress=progress,
    )
    rows = {row["name"]: row for row in record["models"]}
    reference, float32 = rows[REFERENCE], rows[FLOAT]
    return {
        name: {
            "size_bytes": path.stat().st_size,
            "download_bytes": len(gzip.compress(path.read_bytes(), 9, mtime=0)),
            "macs": rows[name].get("macs"),
            "p50_us": (p50 := _p50(rows[name])) and p50 / 1000,
            "p50_ratio": p50 and (base := _p50(reference)) and p50 / base,
            "accuracy_loss": _loss(task, float32, rows[name]),
            "arena_bytes": arena_of(path) if arena else None,
        }
        for name, path in files.items()
    }


def _p50(row: Mapping[str, Any]) -> float | None:
    return float(row["latency_ns"]["p50"]["value"]) if row.get("latency_ns") else None


def _loss(task: Any, float32: Mapping[str, Any], row: Mapping[str, Any]) -> float | None:
    values = [one["quality"]["value"] if one.get("quality") else None for one in (float32, row)]
    if None in values:
        return None
    loss = float(task.quality.loss(*values))
    return round(loss, 4) if unit_of(task.quality) == POINTS else loss
