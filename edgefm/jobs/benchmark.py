"""`edgefm.benchmark`: quality, latency, cold start, size and memory of .tflite files, side by side."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.benchmarking.measured import ModelFile
from edgefm.core import html
from edgefm.core.arguments import PathLike, as_path, check_number, check_type
from edgefm.core.errors import RecipeError
from edgefm.core.progress import Progress, shown
from edgefm.jobs.arguments import FolderResult, dataset_and_quality, new_folder, scratch_folder
from edgefm.jobs.inspect import tflite_in
from edgefm.jobs.quantize import QuantizationResult, TfliteFile
from edgefm.recipes import BenchmarkProtocol
from edgefm.recipes.benchmark import rounds_between

if TYPE_CHECKING:
    from edgefm.comparison.shipping.verdict import Verdict
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource

_MODELS = (
    "the path of a .tflite file or of a folder with a model.tflite, a list of paths, a dict of names and paths, or the "
    "result of edgefm.quantize"
)


@dataclass(frozen=True, kw_only=True)
class BenchmarkRecord(FolderResult, Mapping[str, Mapping[str, Any]]):
    """A benchmark record: one row a model by its name; `len`, `in`, iteration and `[name]` work as on a dict.

    Attributes:
      record: the content of record.json, see edgefm/schemas/benchmark-record-3.schema.json.
      path: of its file; predictions.npz lies beside it where classes were predicted.
    """

    record: Mapping[str, Any] = field(repr=False, hash=False)
    path: Path

    @classmethod
    def open(cls, path: PathLike, *, scratch: Any = None) -> BenchmarkRecord:
        """Return the record in a file, in a folder or in a run's newest benchmark; of any schema version.

        Raises:
          RunError: there is none, it is damaged, or a newer edgefm wrote it.
        """
        from edgefm.comparison.subjects import open_subject

        subject = open_subject(str(as_path(path, "path")))
        assert subject.path is not None, "it was opened from a file"
        return cls(folder=subject.path.parent, path=subject.path, record=subject.record, _scratch=scratch)

    def save(self, folder: PathLike) -> Path:
        """Copy record.json, and predictions.npz where there is one, into a new or empty folder and return it.

        Raises:
          RunError: the folder holds something.
        """
        from edgefm.benchmarking import record

        target = new_folder(folder)
        shutil.copyfile(self.path, target / record.FILE_NAME)
        predictions = self.path.with_name(record.PREDICTIONS_FILE_NAME)
        if predictions.is_file():
            shutil.copyfile(predictions, target / record.PREDICTIONS_FILE_NAME)
        return target

    @property
    def environment(self) -> Mapping[str, Any]:
        """The machine and the versions that it was measured with."""
        environment: Mapping[str, Any] = self.record["environment"]
        return environment

    @property
    def failed(self) -> Mapping[str, str]:
        """Models that could not be measured, with the reason."""
        return {row["name"]: row["reason"] for row in self.record["models"] if row["status"] != "ok"}

    @property
    def verdict(self) -> Verdict:
        """Which file to ship, and why; see `edgefm.verdict`."""
        from edgefm.comparison.shipping.of_record import verdict_of

        return verdict_of(self.record, path=self.path)

    def to_json(self) -> dict[str, Any]:
        """Return the content of record.json."""
        return dict(self.record)

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        for row in self.record["models"]:
            if row["name"] == name:
                return dict(row)
        raise KeyError(f"{name!r}; the models are {', '.join(self)}")

    def __iter__(self) -> Iterator[str]:
        return (row["name"] for row in self.record["models"])

    def __len__(self) -> int:
        return len(self.record["models"])

    def _repr_html_(self) -> str:
        environment, target = self.record["environment"], self.record["target"]["name"]
        data, models = self.record["dataset"], self.record["models"]
        samples = f", quality on {data['images']:,} test samples of {data['name']}" if data else ""
        rounds = max((len(row["rounds"]) for row in models), default=0)
        where = f"{environment['cpu']}, target {target}, {rounds} rounds per model{samples}, {self.record['created']}"
        return html.table([_row(row) for row in self.record["models"]], _HEADERS, caption=where) + html.paragraph(
            self.verdict.headline
        )


def benchmark(
    models: QuantizationResult | TfliteFile | PathLike | Sequence[PathLike | TfliteFile] | Mapping[str, PathLike],
    *,
    data: Dataset | DataSource | PathLike | None = None,
    quality: str | None = None,
    target: str = "host",
    runtime: str = "",
    threads: int = 1,
    rounds: int | None = None,
    rounds_at_most: int | None = None,
    budget_seconds: float | None = None,
    protocol: BenchmarkProtocol | None = None,
    mean: float | None = None,
    std: float | None = None,
    out: PathLike | None = None,
    progress: Progress | bool | None = None,
) -> BenchmarkRecord:
    """Measure .tflite files side by side, each turn in a fresh process, and return the record.

    Args:
      models: what is measured; the reference is 'float32', else the first one.
      data: whose test samples are answered; None measures no quality.
      quality: measure of quality; by default that of the data's task.
      target: where to measure: 'host', 'ssh://user@board', 'adb', 'browser', 'qemu-aarch64', 'cortex-m', 'vela'.
      runtime: e.g. 'litert:reference'; '' takes the target's default.
      threads: of the runtime.
      rounds: least number of rounds, 15 by default; they go on until p50 is known to 1 %.
      rounds_at_most: greatest number of rounds, 45 by default.
      budget_seconds: no round begins after this time; by default 600.
      protocol: instead of target, runtime, threads, rounds and budget_seconds: all about how it is measured.
      mean: real input = (pixel - mean) / std, for files without a contract.
      std: see `mean`.
      out: folder for record.json and predictions.npz; by default a temporary one.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type.
      ModelError: a file is missing.
      RecipeError: an unknown target or runtime, or a value out of range.
      DataError: the data cannot be read.
    """
    from edgefm.benchmarking.step import benchmark_files, sample_shape, sample_task

    files = model_files(models)
    chosen = benchmark_protocol(
        protocol,
        target=target,
        runtime=runtime,
        threads=threads,
        rounds=rounds,
        rounds_at_most=rounds_at_most,
        budget_seconds=budget_seconds,
    )
    folder, scratch = scratch_folder() if out is None else (as_path(out, "out"), None)
    with shown(progress) as receiver:
        paths = [path_of(file) for file in files] if data is not None else []
        dataset, measure = dataset_and_quality(
            data, quality=quality, input_shape=sample_shape(paths), task=sample_task(paths), progress=receiver
        )
        benchmark_files(
            files,
            protocol=chosen,
            accuracy=dataset is not None,
            dataset=dataset,
            quality=measure,
            mean=mean,
            std=std,
            out=folder,
            progress=receiver,
        )
    return BenchmarkRecord.open(folder, scratch=scratch)


def model_files(models: Any) -> list[Path | ModelFile]:
    """Return the files that an argument `models` means, under the names that it gives; see `benchmark`.

    Raises:
      ArgumentError: it is none of the forms that are allowed.
    """
    if isinstance(models, QuantizationResult):
        return [ModelFile(name=file.name, path=file.path) for file in models.files]
    if isinstance(models, TfliteFile):
        return [ModelFile(name=models.name, path=models.path)]
    if isinstance(models, str | os.PathLike):
        return [tflite_in(as_path(models, "models"))]
    if isinstance(models, Mapping):
        return [
            ModelFile(name=str(name), path=tflite_in(as_path(getattr(file, "path", file), f"models[{name!r}]")))
            for name, file in models.items()
        ]
    check_type(models, "models", Sequence, _MODELS)
    files: list[Path | ModelFile] = []
    for index, file in enumerate(models):
        files += model_files(file) if isinstance(file, TfliteFile) else [tflite_in(as_path(file, f"models[{index}]"))]
    return files


def path_of(file: Path | ModelFile) -> Path:
    """Return the path of a file."""
    return file.path if isinstance(file, ModelFile) else file


def benchmark_protocol(
    protocol: BenchmarkProtocol | None = None,
    *,
    target: str = "host",
    runtime: str = "",
    threads: int = 1,
    rounds: int | None = None,
    rounds_at_most: int | None = None,
    budget_seconds: float | None = None,
) -> BenchmarkProtocol:
    """Return the protocol that `benchmark`'s arguments ask for; see there."""
    for name, value in (("threads", threads), ("rounds", rounds), ("rounds_at_most", rounds_at_most)):
        check_number(value, name, int)
    check_number(budget_seconds, "budget_seconds")
    if protocol is not None:
        check_type(protocol, "protocol", BenchmarkProtocol, "a BenchmarkProtocol")
        given = (target, runtime, threads, rounds, rounds_at_most, budget_seconds)
        if given != ("host", "", 1, None, None, None):
            raise RecipeError(
                "a protocol was given together with target, runtime, threads, rounds or budget_seconds",
                hint="A protocol contains all of these: give either the protocol or the other arguments.",
            )
        return protocol
    changes: dict[str, Any] = dict(rounds_between(rounds, rounds_at_most))
    changes |= {} if budget_seconds is None else {"budget_seconds": budget_seconds}
    return BenchmarkProtocol(target=target, runtime=runtime, threads=threads, **changes)


_HEADERS = ("model", "quality", "p50 (us)", "size (KB)", "gzip (KB)", "status")


def _row(row: Mapping[str, Any]) -> list[str]:
    latency, quality = row["latency_ns"], row["quality"]
    factor, unit = (100, " %") if quality and quality["unit"] == "%" else (1, "")
    return [
        row["name"],
        _figure(quality, factor, unit) if quality else "-",
        _figure(latency["p50"], 1e-3, "") if latency else "-",
        f"{row['size_bytes'] / 1000:,.1f}",
        f"{row['size_gzip_bytes'] / 1000:,.1f}",
        row["status"] if row["status"] == "ok" else f"{row['status']}: {row['reason']}",
    ]


def _figure(estimate: Mapping[str, Any], factor: float, unit: str) -> str:
    if estimate["value"] is None:
        return "-"
    value, low, high = (
        None if estimate[name] is None else f"{factor * estimate[name]:.4g}" for name in ("value", "low", "high")
    )
    return f"{value}{unit}" if low is None else f"{value}{unit} ({low} to {high})"
