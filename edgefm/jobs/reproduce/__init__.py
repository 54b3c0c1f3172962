"""`edgefm.reproduce`: train the documented systems as their documents say, and judge what they claim."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core import artefacts, html
from edgefm.core.arguments import PathLike, as_path, check_number
from edgefm.core.errors import RecipeError
from edgefm.core.progress import Progress, shown
from edgefm.core.results import JsonResult
from edgefm.core.runs import DEFAULT_ROOT
from edgefm.jobs.arguments import data_source, optional_path
from edgefm.jobs.reproduce import compressed, data_space, folder, folds, latency, one_training, page, plan, record

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource
    from edgefm.recipes import Variant

_MOST_SEEDS = 100


@dataclass(frozen=True, kw_only=True)
class Reproduction(JsonResult):
    """What came out of documented systems: claims beside measured figures, with a verdict each.

    Attributes:
      record: the content of zoo.json: dataset, settings, rule, systems, experiments, latency.
      folder: of the reproduction, with the run of each training.
    """

    record: Mapping[str, Any] = field(repr=False, hash=False)
    folder: Path

    @property
    def verdicts(self) -> Mapping[str, str]:
        """The verdict on each system that was trained, e.g. 'reproduced', with 'shortened' where it was."""
        return {row["id"]: page.verdict_of(row) for row in self.record["systems"]}

    @property
    def page(self) -> Path:
        """The page in Markdown."""
        return self.folder / folder.PAGE_FILE

    def to_json(self) -> dict[str, Any]:
        """Return the content of zoo.json."""
        return dict(self.record)

    def _repr_html_(self) -> str:
        rows = page.summary_rows(self.record["systems"], self.record["latency"])
        return html.table(rows, page.SUMMARY, caption=f"{self.folder}: {page.data_line(self.record)}")


def reproduce(
    systems: str | Sequence[str] | None = None,
    *,
    seeds: int = 3,
    epochs: int | None = None,
    variants: str | Sequence[str] | None = None,
    data: Dataset | DataSource | PathLike | None = None,
    out: PathLike | None = None,
    backend: str | None = None,
    precision: str = "float32",
    rounds: int | None = None,
    data_dir: PathLike | None = None,
    progress: Progress | bool | None = None,
) -> Reproduction:
    """Train documented systems as their documents say, quantise and measure them, and judge the claims.

    Each training is a run of its own in `out`. Called again with the same settings it goes on where it was stopped:
    what is finished is not trained again. The record and the page are of all that the folder holds.

    Args:
      systems: ids of documented systems and experiments, see `edgefm zoo list`; None takes all systems.
      seeds: number of trainings of each, with the seeds 0, 1, ...
      epochs: at most so many of the stated epochs; a verdict then says that it was shortened. Fine-tuning has at most
        so many, too.
      variants: names of further variants to make of each system's first training beside float32 and int8, e.g.
        'slim50_int8_w8a8', see `edgefm.quantize`.
      data: instead of Fashion-MNIST, to try it: pictures of 28x28x1 in ten classes. See `edgefm.data`.
      out: folder of the reproduction; by default `runs/zoo`.
      backend: 'tensorflow', 'jax' or 'torch'; by default KERAS_BACKEND, else the first one installed.
      precision: 'float32', 'mixed_bfloat16' or 'mixed_float16'.
      rounds: of the benchmark of all files; by default as many as p50 needs, see `edgefm.benchmark`.
      data_dir: folder of the Fashion-MNIST files.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type.
      RecipeError: an unknown system, or a value out of range.
      DataError: the data cannot be read, or do not fit the documented systems.
      RunError: the folder is in use, or holds something else, or a reproduction with other settings.
    """
    for name, value in (("seeds", seeds), ("epochs", epochs), ("rounds", rounds)):
        check_number(value, name, int)
        if value is not None and value < 1:
            raise RecipeError(f"{name} {value} is not allowed: 1 or more is expected")
    if seeds > _MOST_SEEDS:
        raise RecipeError(f"seeds {seeds} is not allowed: at most {_MOST_SEEDS} are expected")
    from edgefm.keras_graph.backend import find_backend
    from edgefm.zoo.documented import system_ids

    ids = plan.checked_ids(systems)
    more = compressed.checked(variants, epochs=epochs)
    target = DEFAULT_ROOT / "zoo" if out is None else as_path(out, "out")
    with shown(progress) as receiver:
        dataset, given = _loaded(data, optional_path(data_dir, "data_dir"), receiver)
        backend = find_backend(backend, precision)
        settings = {"epochs": epochs, "dataset": dataset.sha256, "backend": backend, "precision": precision}
        learning = _learning(given, optional_path(data_dir, "data_dir"), backend, precision)
        with folder.held(target, settings):
            work = _Work(target, learning, settings, dataset, receiver)
            if any(plan.document_of(name) == data_space.DOCUMENT for name in ids):
                data_space.written(target, dataset, progress=receiver)
            work.train(plan.planned(ids, epochs=epochs), seeds)
            work.try_chosen(ids, epochs)
            work.compress([plan.planned_system(name, epochs) for name in ids if name in system_ids()], more)
            return work.finish(rounds)


class _Work:
    """One call of `reproduce`, in a folder that it holds."""

    def __init__(
        self,
        out: Path,
        learning: one_training.Learning,
        settings: Mapping[str, Any],
        dataset: Dataset,
        progress: Progress,
    ) -> None:
        from edgefm.zoo.documented import system_ids
        from edgefm.zoo.experiments import experiment_ids

        self.out, self.learning, self.settings = out, learning, settings
        self.dataset, self.progress = dataset, progress
        self._all = plan.planned((*system_ids(), *experiment_ids()), epochs=settings["epochs"])
        self.diverged = folder.diverged(out, self._all)

    def train(self, rows: Sequence[plan.PlannedTraining], count: int) -> None:
        """Train all rows with all seeds, leaving out what is there, and say how long the rest will take."""
        rows = list({row.key: row for row in rows}.values())  # trials that are trained as a system is are that system
        left = [
            (row, seed)
            for row in rows
            for seed in range(count)
            if not self._is_finished(row, seed) and seed not in self.diverged.get(row.key, {})
        ]
        total = len(rows) * count
        self.progress.note(f"{total} trainings in {self.out}: {total - len(left)} are finished already")
        pace = _Pace()
        for number, (row, seed) in enumerate(left):
            rest = pace.left([(entry.key, entry.epochs) for entry, _ in left[number:]])
            self.progress.note(f"training {total - len(left) + number + 1} of {total}: {row.key}, seed {seed}{rest}")
            began = time.perf_counter()
            message = self._train_seed(row, seed)
            pace.took(row.key, (time.perf_counter() - began) / row.epochs)
            if message is not None:
                self.diverged.setdefault(row.key, {})[seed] = message
                folder.write_diverged(self.out, self.diverged, self._all)
                self.progress.note(f"{row.key}, seed {seed}: {message}")
            if number + 1 == len(left) or left[number + 1][0] is not row:
                self.write(None)

    def _is_finished(self, row: plan.PlannedTraining, seed: int) -> bool:
        if row.folds is not None:
            return folds.is_finished(self.out, row, seed)
        return one_training.is_finished(self.out, row, seed)

    def _train_seed(self, row: plan.PlannedTraining, seed: int) -> str | None:
        """Train one seed of a row; return the message where its loss became infinite."""
        if row.folds is not None:
            return folds.train_seed(self.out, row, seed, self.learning, self.dataset, progress=self.progress)
        return one_training.train_seed(
            self.out, row, seed, self.learning, test=not row.searched, progress=self.progress
        )

    def try_chosen(self, ids: Sequence[str], epochs: int | None) -> None:
        """Try the chosen trial of each search on the test images, and no other."""
        for name in ids:
            rows = plan.planned((name,), epochs=epochs)
            best = record.chosen_trial(self.out, rows, self.diverged) if rows[0].searched else None
            if best is None:
                continue
            for seed in one_training.finished_seeds(self.out, best):
                if not one_training.is_finished(self.out, best, seed, test=True):
                    one_training.train_seed(self.out, best, seed, self.learning, test=True, progress=self.progress)

    def compress(self, rows: Sequence[plan.PlannedTraining], variants: Sequence[Variant]) -> None:
        """Make further variants of the first training of each system, leaving out those that are there."""
        left = [
            (row, seed, variant)
            for row in rows
            for seed in one_training.finished_seeds(self.out, row)[:1]
            for variant in variants
            if not compressed.is_finished(self.out, row, seed, variant.name)
        ]
        for number, (row, seed, variant) in enumerate(left):
            self.progress.note(f"compression {number + 1} of {len(left)}: {row.key}, {variant.name}")
            compressed.compress(self.out, row, seed, variant, self.learning, progress=self.progress)
            self.write(None)

    def finish(self, rounds: int | None) -> Reproduction:
        """Measure the files of all systems beside each other, and write record and page."""
        found = self.write(None)
        files = {
            f"{row['id']} {name}": self.out / file["path"]
            for row in found["systems"]
            for name, file in row["files"].items()
        }
        files |= {
            f"{row['id']} {made['variant']}": self.out / made["path"]
            for row in found["systems"]
            for made in row["compressed"]
            if made["left_out"] is None
        }
        benchmark = latency.measured(self.out, files, rounds=rounds, progress=self.progress)
        return Reproduction(record=self.write(latency.figures_of(benchmark)), folder=self.out)

    def write(self, times: Mapping[str, Any] | None) -> dict[str, Any]:
        """Write record and page of all that is finished, and return the record."""
        found = record.record_of(
            self.out, settings=self.settings, dataset=self.dataset, diverged=self.diverged, latency=times
        )
        artefacts.write_json(self.out / folder.RECORD_FILE, artefacts.finite(found))
        artefacts.write_text(self.out / folder.PAGE_FILE, page.page(found))
        return found


class _Pace:
    """How long an epoch of each row took, to tell how long the rest will take."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def took(self, key: str, seconds_an_epoch: float) -> None:
        """Keep how long an epoch of a row took."""
        self._seconds[key] = seconds_an_epoch

    def left(self, rows: Sequence[tuple[str, int]]) -> str:
        """Say how long rows with so many epochs will take; of a row without a time, like the mean of others."""
        if not self._seconds:
            return ""
        mean = sum(self._seconds.values()) / len(self._seconds)
        seconds = sum(self._seconds.get(key, mean) * epochs for key, epochs in rows)
        return f"; about {seconds / 60:.0f} min left" if seconds >= 60 else f"; about {seconds:.0f} s left"


def _learning(data: Any, data_dir: Path | None, backend: str | None, precision: str) -> one_training.Learning:
    return one_training.Learning(data=data, data_dir=data_dir, backend=backend, precision=precision)


def _loaded(data: Any, data_dir: Path | None, progress: Progress) -> tuple[Dataset, Any]:
    """Return the data set, checked to fit every documented system, and what a training takes for it."""
    from edgefm.data.checks import check_fit, check_has_classes
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource
    from edgefm.zoo.documented.system import CLASSES, SHAPE

    source = None if isinstance(data, Dataset) else data_source(data, dataset=True)
    loaded = (
        data
        if isinstance(data, Dataset)
        else (source or DataSource()).load(SHAPE, data_dir=data_dir, progress=progress)
    )
    check_has_classes(loaded)
    check_fit(loaded, input_shape=SHAPE, value_range=(0.0, 255.0), classes=CLASSES)
    return loaded, data if isinstance(data, Dataset) else source
