"""The best point of each budget, trained to the end with several seeds, written, and measured beside the references.

All choices are made on validation samples. The test samples are answered once, by the files that were chosen.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgefm.benchmarking.measured import ModelFile
from edgefm.benchmarking.step import benchmark_files
from edgefm.core.progress import SILENT, Progress
from edgefm.quantization.conversion import Converter
from edgefm.quantization.export import libraries
from edgefm.quantization.source import Source
from edgefm.quantization.variant_writer import VariantWriter
from edgefm.recipes import BenchmarkProtocol, PostTraining, Quantization, Variant
from edgefm.searching.budget import SearchBudget
from edgefm.searching.driver import REFUSALS
from edgefm.searching.evaluation import REFERENCE, Evaluator, arena_of
from edgefm.searching.space import Epochs, Point
from edgefm.searching.trials import Figures, Trial, complete_ones
from edgefm.searching.words import POINTS, unit_of

FLOAT = "float32"
MODELS_FOLDER, BENCHMARK_FOLDER = "models", "benchmark"
_MODEL_FILE = "model.tflite"
# Of finalists, in epochs of a trial.
LONGER = 2


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
      seed: of the file that is written: the one that lost least on validation samples.
    """

    budget: str
    trial: int
    point: Point = field(hash=False)
    seeds: tuple[SeedResult, ...]
    seed: int


def proposed(trials: Sequence[Trial], budget: SearchBudget) -> Trial | None:
    """Return the trial that is the best for a budget; None where none went through all stages.

    Of those that keep its limits on validation samples the one that loses least, then the fastest; where none does, the
    one that exceeds them least.
    """
    complete = complete_ones(trials)
    return min(complete, key=lambda trial: (_excess(budget, trial), trial.costs, trial.index), default=None)


def _excess(budget: SearchBudget, trial: Trial) -> float:
    return sum(budget.excess(trial.figures).values())


def trained(
    trials: Sequence[Trial],
    budgets: Sequence[SearchBudget],
    evaluator: Callable[[int], Evaluator],
    *,
    epochs: int,
    seeds: Sequence[int],
    progress: Progress = SILENT,
) -> tuple[Finalist, ...]:
    """Return the finalists, each trained twice as long as a trial.

    Args:
      trials: of the search.
      budgets: each gets a finalist; those of which nothing is proposed get none.
      evaluator: for a seed of fine-tuning.
      epochs: of a trial.
      seeds: that each is trained with.
      progress: receives progress.
    """
    results: dict[tuple[int, int], Figures] = {}
    proposals = [(budget, trial) for budget in budgets if (trial := proposed(trials, budget)) is not None]
    points = {trial.index: trial for _, trial in proposals}
    done, total = 0, len(seeds) * len(points)
    for seed in seeds:
        of_seed = evaluator(seed)
        for index, trial in points.items():
            progress.step("finalists", done, total, {"trial": str(index), "seed": str(seed)})
            variant = of_seed.space.variant(of_seed.space.point(trial.params), final_epochs(epochs), name="finalist")
            try:
                results[index, seed] = of_seed.figures(of_seed.made(variant), label="finalist on validation")
            except REFUSALS as error:
                progress.note(f"trial {index} with seed {seed}: {error.message}")
            of_seed.forget()
            done += 1
    progress.step("finalists", total, total)
    finalists = []
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
                    point=evaluator(seeds[0]).space.point(trial.params),
                    seeds=tuple(ended),
                    seed=best.seed,
                )
            )
    return tuple(finalists)


def final_epochs(epochs: int) -> Epochs:
    """Return how long a finalist is trained, where a trial's channels get so many epochs."""
    return Epochs.of(LONGER * epochs)


def written(
    finalists: Sequence[Finalist],
    evaluator: Evaluator,
    folder: Path,
    *,
    epochs: int,
    kept: Path,
    progress: Progress = SILENT,
) -> dict[str, Path]:
    """Write the references and the finalists into `<folder>/<name>/model.tflite`, each with its contract.

    Returns:
      the files by name: 'float32', 'int8_w8a8', then the budgets.
    """
    source: Source = evaluator.source
    writer = VariantWriter(
        source=source,
        folder=folder,
        made_by={"source": source.to_json(), "versions": libraries()},
        given=evaluator.given,
        progress=progress,
    )

    def converter(seed: int) -> Converter:
        return Converter(source, Quantization(seed=seed), kept=kept, progress=progress)

    first = converter(0)
    references = [Variant(name=name, quantization=PostTraining(scheme=name)) for name in (FLOAT, REFERENCE)]
    baseline = writer.reference(first, references[0])
    for variant in references:
        writer.write(first, variant, baseline)
    for finalist in finalists:
        variant = evaluator.space.variant(finalist.point, final_epochs(epochs), name=finalist.budget)
        writer.write(converter(finalist.seed), variant, baseline)
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
