"""The record of a reproduction: what the documents say of each row, what was measured, and the verdict."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgefm.core import runs
from edgefm.core.environment import environment
from edgefm.data.dataset import Dataset
from edgefm.data.source import FASHION_MNIST
from edgefm.jobs.reproduce import compressed, data_space, folds, one_training
from edgefm.jobs.reproduce.plan import PlannedTraining, planned_system, planned_trials
from edgefm.statistics.claim import NOT_CREDIBLE, NOT_REPRODUCED, RULE, ClaimVerdict, judge_claim, mean_of_seeds
from edgefm.zoo.documented import documented_systems
from edgefm.zoo.experiments import experiments
from edgefm.zoo.experiments.trials import Experiment

SCHEMA_VERSION = 1
_SPLITS = ("train", "validation", "test")


def record_of(
    out: Path,
    *,
    settings: Mapping[str, Any],
    dataset: Dataset,
    diverged: Mapping[str, Mapping[int, str]],
    latency: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the record of all that a folder of a reproduction holds.

    Args:
      out: the folder.
      settings: what all of it has in common.
      dataset: that was learnt.
      diverged: messages of trainings whose loss became infinite, by key and seed.
      latency: of `edgefm.jobs.reproduce.latency`.
    """
    epochs = settings["epochs"]
    samples = {split.name: len(split) for split in dataset.splits}
    limits = () if dataset.name == FASHION_MNIST and samples["test"] == 10_000 else (_other_data(dataset),)
    systems = []
    for system in documented_systems():
        row = planned_system(system.id, epochs)
        measured = _measured(out, row, samples=samples, limits=limits, diverged=diverged)
        if measured is not None:
            known = system.architecture
            systems.append(
                {
                    "id": system.id,
                    "document": system.document,
                    "cites": system.cites,
                    "title": known.title,
                    "layers": known.summary,
                    "parameters": {"trainable": known.trainable, "other": known.non_trainable},
                    "assumed": list(system.assumed),
                    "reading": system.reading,
                    **measured,
                    "compressed": compressed.figures_of(out, row),
                }
            )
    return {
        "kind": "zoo-reproduction",
        "schema_version": SCHEMA_VERSION,
        "created": runs.now(),
        "environment": environment(),
        "dataset": {"name": dataset.name, "sha256": dataset.sha256, **samples},
        "settings": dict(settings),
        "rule": RULE,
        "data": data_space.recorded(out),
        "systems": systems,
        "experiments": _experiments(out, epochs, samples=samples, limits=limits, diverged=diverged),
        "latency": latency,
    }


def chosen_trial(
    out: Path, rows: Sequence[PlannedTraining], diverged: Mapping[str, Mapping[int, str]]
) -> PlannedTraining | None:
    """Return the trial of a search with the best mean validation accuracy.

    None until each trial has a finished seed, or has diverged. One that was tried on the test images stays the choice,
    whatever further seeds say: no second one is tried on them.
    """
    means = {}
    for row in rows:
        seeds = one_training.finished_seeds(out, row)
        if any(one_training.is_finished(out, row, seed, test=True) for seed in seeds):
            return row
        if seeds:
            finished = [one_training.figures_of(out, row, seed) for seed in seeds]
            means[row.key] = mean_of_seeds([entry["validation"]["accuracy"] for entry in finished]).value
        elif row.key not in diverged:
            return None
    return max((row for row in rows if row.key in means), key=lambda row: means[row.key], default=None)


def _experiments(
    out: Path,
    epochs: int | None,
    *,
    samples: Mapping[str, int],
    limits: Sequence[str],
    diverged: Mapping[str, Mapping[int, str]],
) -> list[dict[str, Any]]:
    entries = []
    for experiment in experiments():
        rows = planned_trials(experiment.id, epochs)
        trials = []
        for row in rows:
            measured = _measured(out, row, samples=samples, limits=limits, diverged=diverged)
            if measured is not None:
                trials.append({"label": row.label, **measured})
        if trials:
            best = chosen_trial(out, rows, diverged) if experiment.search else None
            entries.append(experiment_entry(experiment, trials, chosen=best.label if best else None))
    return entries


def experiment_entry(
    experiment: Experiment, trials: Sequence[Mapping[str, Any]], *, chosen: str | None
) -> dict[str, Any]:
    """Return an experiment with its measured trials.

    Args:
      experiment: it.
      trials: each with its label.
      chosen: the label of the trial that a search chose; None of no search, or while none is chosen.
    """
    return {
        "id": experiment.id,
        "document": experiment.document,
        "title": experiment.title,
        "reading": experiment.reading,
        "search": experiment.search,
        "chosen": chosen,
        "trials": list(trials),
    }


def stated(row: PlannedTraining) -> dict[str, Any]:
    """Return what is claimed of a row, of how many epochs, and what speaks against it."""
    return {"stated_epochs": row.stated_epochs, "claim": dataclasses.asdict(row.claim), "doubt": row.doubt}


def _measured(
    out: Path,
    row: PlannedTraining,
    *,
    samples: Mapping[str, int],
    limits: Sequence[str],
    diverged: Mapping[str, Mapping[int, str]],
) -> dict[str, Any] | None:
    """Return what was measured of one row; None where nothing of it is there."""
    messages = diverged.get(row.key, {})
    found = _of_folds(out, row) if row.folds is not None else _of_trainings(out, row)
    if not found["seeds"] and not messages:
        return None
    if found["seeds"] and messages:
        begun = len(found["seeds"]) + len(messages)
        limits = (*limits, f"{len(found['seeds'])} of {begun} seeds: the loss of the others became infinite or NaN")
    if row.shortened:
        limits = (row.shortened, *limits)
    return {
        "key": row.key,
        "recipe": row.recipe.to_json(),
        **stated(row),
        "diverged": {str(seed): message for seed, message in messages.items()},
        **judged(row, found["seeds"], list(messages.values()), samples=samples, limits=limits),
        **found["files"],
    }


def judged(
    row: PlannedTraining,
    seeds: Sequence[Mapping[str, Any]],
    messages: Sequence[str],
    *,
    samples: Mapping[str, int],
    limits: Sequence[str],
) -> dict[str, Any]:
    """Return the figures of the seeds of one row, and what they say of its claim.

    Args:
      row: that was trained.
      seeds: its finished trainings, or cross-validations, as a record has them.
      messages: of the seeds whose loss became infinite.
      samples: number of images of each split.
      limits: of the verdict.
    """
    accuracies = _accuracies(row, seeds)
    verdicts = {
        split: judge_claim(
            accuracies[split], getattr(row.claim, f"{split}_accuracy"), samples=samples[split], doubt=row.doubt
        )
        for split in _SPLITS
    }
    decides = _deciding(row)
    verdict = verdicts[decides or "test"]
    if not seeds and decides is not None:
        reason = f"{messages[0]}; {row.doubt}" if row.doubt else messages[0]
        verdict = ClaimVerdict(name=NOT_CREDIBLE if row.doubt else NOT_REPRODUCED, reason=reason)
    return {
        "seeds": list(seeds),
        "measured": {name: _spread(values) for name, values in accuracies.items()},
        "verdicts": {split: verdict_.to_json() for split, verdict_ in verdicts.items()},
        "verdict": {**verdict.to_json(), "by": decides, "limits": list(limits)},
    }


def _accuracies(row: PlannedTraining, seeds: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return the accuracies of finished seeds by split, and those of int8; of folds the mean over them."""
    if row.folds is not None:
        return {"train": [], "validation": [entry["mean"] for entry in seeds], "test": [], "int8": []}
    return {
        "train": [entry["train"]["accuracy"] for entry in seeds],
        "validation": [entry["validation"]["accuracy"] for entry in seeds],
        "test": [entry["test"]["float32"] for entry in seeds if entry["test"]["float32"] is not None],
        "int8": [entry["test"]["int8_w8a8"] for entry in seeds if entry["test"]["int8_w8a8"] is not None],
    }


def _of_trainings(out: Path, row: PlannedTraining) -> dict[str, Any]:
    """Return the finished seeds of a row, and the files of the first."""
    finished = one_training.finished_seeds(out, row)
    return {
        "seeds": [one_training.figures_of(out, row, seed) for seed in finished],
        "files": one_training.files_of(out, row, finished[0]) if finished else {"files": {}, "left_out": {}},
    }


def _of_folds(out: Path, row: PlannedTraining) -> dict[str, Any]:
    """Return the finished cross-validations of a row."""
    finished = [seed for seed in one_training.begun_seeds(out, row) if folds.is_finished(out, row, seed)]
    return {
        "seeds": [folds.figures_of(out, row, seed) for seed in finished],
        "files": {"files": {}, "left_out": {}},
    }


def _deciding(row: PlannedTraining) -> str | None:
    """Return the split whose claim decides: test before validation before training; None where nothing is claimed."""
    claimed = (split for split in reversed(_SPLITS) if getattr(row.claim, f"{split}_accuracy") is not None)
    return next(claimed, None)


def _spread(values: Sequence[float]) -> dict[str, Any] | None:
    if not values:
        return None
    mean = mean_of_seeds(values)
    return {"mean": mean.value, "least": min(values), "greatest": max(values), "seeds": len(values)}


def _other_data(dataset: Dataset) -> str:
    return f"on other data than the documents': {len(dataset.train):,} training, {len(dataset.test):,} test images"
