"""`edgefm.compare`: is the second of two models faster, smaller, better; tested over rounds and samples."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgefm.comparison.aspects import Margins
from edgefm.comparison.compare import compare as compare_records
from edgefm.comparison.comparison_result import ComparisonResult
from edgefm.comparison.subjects import Subject, is_model, open_subject
from edgefm.core.arguments import PathLike, as_path, check_type
from edgefm.core.errors import ArgumentError
from edgefm.core.progress import Progress, shown
from edgefm.jobs.arguments import dataset_and_quality
from edgefm.jobs.benchmark import BenchmarkRecord, benchmark_protocol
from edgefm.jobs.quantize import TfliteFile

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource
    from edgefm.recipes import BenchmarkProtocol

_SUBJECTS = "a BenchmarkRecord, the path of a run, a record or a model file (.tflite), or 'path::model'"


def compare(
    first: BenchmarkRecord | TfliteFile | PathLike,
    second: TfliteFile | BenchmarkRecord | PathLike,
    baseline: str | None = None,
    *,
    model: str | None = None,
    margin_latency: float = 1.0,
    margin_accuracy: float = 0.0,
    margin_size: float = 0.0,
    latency: bool = True,
    force: bool = False,
    correction: str = "holm",
    data: Dataset | DataSource | PathLike | None = None,
    quality: str | None = None,
    protocol: BenchmarkProtocol | None = None,
    mean: float | None = None,
    std: float | None = None,
    out: PathLike | None = None,
    progress: Progress | bool | None = None,
) -> ComparisonResult:
    """Compare the second with the first, which is the baseline; `compare(record, name, baseline)` within one record.

    Two model files are measured now, side by side. Models of two records are matched by name; latencies of different
    machines, runtimes or settings are not compared.

    Args:
      first: the baseline: a record, the path of a run, of a record or of a model file, or 'path::model'. With
        `baseline` the record that both models are in.
      second: what is judged; with `baseline` the name of its model.
      baseline: name of the model that `second` is compared with, in one record.
      model: of two records: compare this model alone.
      margin_latency: slower by so many percent does no harm; less than 1 % is equal in practice.
      margin_accuracy: a loss of so many percentage points does no harm; of a quality that is no share, in its unit.
      margin_size: larger by so many percent does no harm.
      latency: compare latencies, too.
      force: compare latencies of different environments in spite of that.
      correction: 'holm' keeps one false alarm among all tests to 5 %; 'none' each to 5 %.
      data: of model files: whose test samples are answered; None compares no quality.
      quality: of model files: measure of quality; by default that of the data's task.
      protocol: of model files: how they are measured.
      mean: of files without contract: input = (pixel - mean) / std.
      std: see `mean`.
      out: of model files: folder for the record.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type.
      RunError: there is no record, or no model in common.
      RecipeError: a margin or correction that is not allowed.
    """

    def compared(one: Subject, other: Subject) -> ComparisonResult:
        unit = next((row["quality"]["unit"] for row in one.record["models"] if row["quality"]), "%")
        margins = Margins(
            latency=margin_latency / 100,
            quality=margin_accuracy / 100 if unit == "%" else margin_accuracy,
            size=margin_size / 100,
        )
        return compare_records(one, other, margins=margins, latency=latency, force=force, correction=correction)

    measuring: dict[str, Any] = {
        "data": data,
        "quality": quality,
        "protocol": protocol,
        "mean": mean,
        "std": std,
        "out": out,
    }
    if baseline is not None:
        refuse_measuring({**measuring, "model": model})
        record = subject_of(first, "first")
        check_type(second, "second", str, "the name of a model in the record")
        check_type(baseline, "baseline", str, "the name of a model in the record")
        return compared(replace(record, model=baseline), replace(record, model=str(second)))
    files = [isinstance(given, TfliteFile) or _is_file(given) for given in (first, second)]
    if files[0] != files[1]:
        raise ArgumentError(
            f"{first} and {second}: only one of them is a model file, so they were not measured together",
            hint="Give two model files, or two runs or records.",
        )
    if all(files) and model is not None:
        raise ArgumentError(
            "model was given with two model files; it chooses a model of runs and records: leave it out"
        )
    if not all(files):
        refuse_measuring(measuring)
        subjects = [subject_of(given, name) for given, name in ((first, "first"), (second, "second"))]
        if model is not None:
            named = [subject.name for subject in subjects if subject.model is not None]
            if named:
                raise ArgumentError(f"{named[0]} names its model already: leave out the argument model")
            subjects = [replace(subject, model=model) for subject in subjects]
        return compared(*subjects)
    with shown(progress) as receiver, measured_now([first, second], **measuring, progress=receiver) as together:
        rows = [row["name"] for row in together.record["models"]]
        names = [given.name if isinstance(given, TfliteFile) else str(given) for given in (first, second)]
        one, other = (replace(together, name=name, model=row) for name, row in zip(names, rows, strict=True))
        return compared(one, other)


def refuse_measuring(options: dict[str, Any]) -> None:
    """Raise an ArgumentError where an option of measuring is given, and what is judged was measured before."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ArgumentError(
            f"{', '.join(given)}: only for model files, which are measured now; a record is measured already"
        )


@contextmanager
def measured_now(
    models: Any,
    *,
    data: Any = None,
    quality: str | None = None,
    protocol: BenchmarkProtocol | None = None,
    mean: float | None = None,
    std: float | None = None,
    out: PathLike | None = None,
    progress: Progress,
) -> Iterator[Subject]:
    """Give the record of model files that are measured now; see `edgefm.benchmark` for the arguments."""
    from edgefm.benchmarking.step import sample_shape, sample_task
    from edgefm.comparison.measuring import measured
    from edgefm.jobs.benchmark import model_files, path_of

    files = model_files(models)
    paths = [path_of(file) for file in files] if data is not None else []
    dataset, measure = dataset_and_quality(
        data, quality=quality, input_shape=sample_shape(paths), task=sample_task(paths), progress=progress
    )
    with measured(
        files,
        protocol=benchmark_protocol(protocol),
        accuracy=dataset is not None,
        dataset=dataset,
        quality=measure,
        mean=mean,
        std=std,
        out=None if out is None else as_path(out, "out"),
        progress=progress,
    ) as subject:
        yield subject


def subject_of(given: Any, name: str) -> Subject:
    """Return the record that an argument means.

    Raises:
      ArgumentError: it is of another type.
      RunError: there is none.
    """
    if isinstance(given, BenchmarkRecord):
        return Subject(name=given.folder.name, record=given.record, path=given.path)
    from edgefm.jobs.run import Run

    if isinstance(given, Run):
        given = given.path
    check_type(given, name, (str, os.PathLike), _SUBJECTS)
    return open_subject(str(given))


def _is_file(given: Any) -> bool:
    return isinstance(given, str | os.PathLike) and is_model(str(given))
