"""What a model card says of a file: what it learnt from, and what was measured of it in a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgefm.benchmarking import record as records
from edgefm.core.runs import RunDirectory
from edgefm.tflite.contract import Contract

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a benchmark found of a file.

    Attributes:
      quality: name, value, low, high, n and unit of the measure; None where none was measured.
      latency: p50, low and high in microseconds; None where it was not measured.
      runtime: that ran it, with its version.
      cpu: of the machine.
      date: of the record.
      disturbed: other programs disturbed the machine while the time was measured.
    """

    quality: Mapping[str, Any] | None
    latency: Mapping[str, float] | None
    runtime: str
    cpu: str
    date: str
    disturbed: bool = False


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """What a model learnt from.

    Attributes:
      name: of the data set; '' where the run does not say it.
      samples: number of samples of each split, 'train', 'validation' and 'test'; {} where the run does not say it.
      classes: number of them; 0 where there are none, or the run does not say it.
      sha256: of the content and the split.
      with_validation: the validation samples were learnt too.
    """

    name: str
    samples: Mapping[str, int]
    classes: int
    sha256: str
    with_validation: bool


def learnt(run: RunDirectory | None, dataset: Dataset | None) -> Learnt | None:
    """Return what the model of a run learnt from; None where edgefm did not train it.

    Args:
      run: of the model, where it is of one.
      dataset: at hand; where it is the one that was learnt, it tells what the manifest of an older run does not.
    """
    step = None if run is None or run.last("import") is not None else run.last("train")
    if step is None:
        return None
    sha256 = step.inputs.get("dataset", "")
    about: Mapping[str, Any] = step.summary.get("dataset") or {}
    if not about and dataset is not None and dataset.sha256 == sha256:
        about = {"name": dataset.name, "classes": len(dataset.labels)}
        about |= {split.name: len(split) for split in dataset.splits}
    return Learnt(
        name=str(about.get("name", "")),
        samples={name: int(about[name]) for name in ("train", "validation", "test") if name in about},
        classes=int(about.get("classes", 0)),
        sha256=sha256,
        with_validation=bool(step.summary.get("validation_seen")),
    )


def measured(run: RunDirectory | None, contract: Contract) -> Measured | None:
    """Return what the newest benchmark of a run found of this very file; None where there is none of it."""
    step = None if run is None else run.last("benchmark")
    if run is None or step is None:
        return None
    record = records.read(run.folder(step) / records.FILE_NAME)
    for row in record["models"]:
        if row["sha256"] != contract.sha256 or row["status"] != "ok":
            continue
        p50 = (row["latency_ns"] or {}).get("p50") or {}
        quality = row["quality"]
        return Measured(
            quality=None if not quality or quality.get("value") is None else quality,
            latency=None if p50.get("value") is None else {name: p50[name] / 1000 for name in ("value", "low", "high")},
            runtime=f"{row['runtime']['name']} {row['runtime']['version']}",
            cpu=record["environment"]["cpu"],
            date=record["created"][:10],
            disturbed=bool((row.get("disturbed") or {}).get("used")),
        )
    return None
