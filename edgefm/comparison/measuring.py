"""Model files measured now, in one interleaved benchmark, so that they can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.benchmarking import record
from edgefm.benchmarking.measured import ModelFile
from edgefm.comparison.subjects import Subject
from edgefm.core import scratch
from edgefm.core.progress import SILENT, Progress

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.quality import Quality
    from edgefm.recipes import BenchmarkProtocol


@contextmanager
def measured(
    files: Sequence[Path | ModelFile],
    *,
    protocol: BenchmarkProtocol,
    accuracy: bool = True,
    data_dir: Path | None = None,
    dataset: Dataset | None = None,
    quality: Quality | None = None,
    mean: float | None = None,
    std: float | None = None,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> Iterator[Subject]:
    """Give the record of some files, measured now; see `edgefm.benchmarking.step.benchmark_files`.

    Within the block, the predictions lie beside it; they stay where `out` names a folder.
    """
    from edgefm.benchmarking.step import benchmark_files

    with scratch.folder("compare") as temporary:
        folder = temporary if out is None else out
        value: dict[str, Any] = benchmark_files(
            files,
            protocol=protocol,
            data_dir=data_dir,
            accuracy=accuracy,
            dataset=dataset,
            quality=quality,
            mean=mean,
            std=std,
            out=folder,
            progress=progress,
        )
        yield Subject(name=", ".join(file.name for file in files), record=value, path=folder / record.FILE_NAME)
