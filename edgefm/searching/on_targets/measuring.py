"""The p50 of files on the targets that budgets name; one that is away is measured when the search is resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgefm.benchmarking.measured import ModelFile
from edgefm.benchmarking.step import benchmark_files
from edgefm.core.artefacts import sha256_bytes
from edgefm.core.errors import EdgefmError
from edgefm.core.progress import SILENT, Progress
from edgefm.recipes import BenchmarkProtocol
from edgefm.searching.budget import on_target


@dataclass(frozen=True, kw_only=True)
class MeasuredOnTargets:
    """What came of measuring.

    Attributes:
      p50_us: microseconds, by the name of the file and of the figure; what was not measured is not in it.
      waiting: why not all files were measured on a target, by its address.
    """

    p50_us: Mapping[str, Mapping[str, float]] = field(hash=False)
    waiting: Mapping[str, str] = field(hash=False)


def measured_on(
    addresses: Sequence[str],
    files: Mapping[str, Path],
    protocol: BenchmarkProtocol,
    *,
    out: Path,
    progress: Progress = SILENT,
) -> MeasuredOnTargets:
    """Return the p50 of files on targets, measured side by side there; their answers are those that they give here.

    Args:
      addresses: of the targets.
      files: by name.
      protocol: of the benchmark; its target and runtime are not looked at.
      out: takes the record of each benchmark, in a folder of its own.
      progress: receives progress.
    """
    p50_us: dict[str, dict[str, float]] = {name: {} for name in files}
    waiting: dict[str, str] = {}
    for address in addresses:
        models = [ModelFile(name=name, path=path) for name, path in files.items()]
        there = replace(protocol, target=address, runtime="")
        try:
            folder = out / f"benchmark-{sha256_bytes(address.encode())[:8]}"
            record = benchmark_files(models, protocol=there, accuracy=False, out=folder, progress=progress)
        except EdgefmError as error:  # also of a worker there that ends before it has a file
            waiting[address] = error.message
        else:
            failed = []
            for row in record["models"]:
                if row["status"] == "ok" and row.get("latency_ns"):
                    p50_us[row["name"]][on_target(address)] = row["latency_ns"]["p50"]["value"] / 1000
                else:
                    failed.append(f"{row['name']}: {row.get('reason') or 'no time was taken'}")
            if failed:
                waiting[address] = "; ".join(failed)
        if address in waiting:
            progress.note(f"not measured on {address}: {waiting[address]}")
    return MeasuredOnTargets(p50_us=p50_us, waiting=waiting)
