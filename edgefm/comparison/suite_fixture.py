"""What the fixture `tflite_benchmark` does: measure by edgefm's protocol, hand the times to pytest-benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgefm.comparison.aspects import latency_comparison
from edgefm.comparison.subjects import figures_of, rounds_of
from edgefm.core.errors import ModelError
from edgefm.statistics.estimates import Estimate
from edgefm.statistics.round_comparison import LatencyComparison

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.quality import Quality
    from edgefm.recipes import BenchmarkProtocol


class Replay:
    """A timer for pytest-benchmark that tells times which were measured before.

    pytest-benchmark reads its timer before and after each round: the first reading is 0, the second the sample.
    """

    def __init__(self) -> None:
        self.samples: list[float] = []  # seconds
        self._started = False

    @property
    def timer(self) -> Callable[[], float]:
        """The timer, a function with a name that stands in pytest-benchmark's files."""

        def edgefm_worker() -> float:
            self._started = not self._started
            return 0.0 if self._started else self.samples.pop(0)

        return edgefm_worker


@dataclass(frozen=True, kw_only=True)
class TfliteResult:
    """What was measured of a model.

    Attributes:
      enabled: latencies were measured; False under --benchmark-disable, where the model is run once, and on a target
        that has none.
      record: the whole benchmark record.
      row: the model's row in it.
      baseline: the baseline's row, where one was given.
      comparison: with the baseline; None without one, or where nothing was timed.
    """

    enabled: bool
    record: Mapping[str, Any]
    row: Mapping[str, Any]
    baseline: Mapping[str, Any] | None
    comparison: LatencyComparison | None

    @property
    def p50_ns(self) -> Estimate | None:
        """Median latency in nanoseconds with its 95 % interval; None where nothing was timed."""
        latency = self.row["latency_ns"]
        return Estimate(**latency["p50"]) if self.enabled and latency and latency["p50"]["value"] is not None else None

    @property
    def p50_us(self) -> float | None:
        """Median latency in microseconds; None where nothing was timed."""
        nanoseconds = self.p50_ns
        return None if nanoseconds is None else nanoseconds.value / 1e3

    @property
    def p50_ratio(self) -> Estimate | None:
        """Median latency over the baseline's, round by round, with its 95 % interval; None without one."""
        return None if self.comparison is None else self.comparison.round_ratio

    @property
    def accuracy(self) -> float | None:
        """Share of the test images that are right; None without data."""
        value: float | None = self.row["accuracy"]["value"]
        return value

    @property
    def quality(self) -> float | None:
        """The quality measure on the test samples; None without data."""
        figure = self.row["quality"]
        return None if figure is None else figure["value"]

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return int(self.row["size_bytes"])

    @property
    def size_gzip_bytes(self) -> int:
        """Size of the file after gzip -9."""
        return int(self.row["size_gzip_bytes"])

    @property
    def peak_memory_bytes(self) -> int | None:
        """Peak memory above the bare runtime's."""
        memory = self.row["memory"]
        return None if memory is None else int(memory["above_bare_bytes"])

    @property
    def arena_bytes(self) -> int | None:
        """Tensor arena, of runtimes that tell it."""
        arena = figures_of(self.row).get("arena_bytes")
        return None if arena is None else int(arena[0])


class TfliteBenchmark:
    """Callable once in a test: `result = tflite_benchmark("model.tflite", baseline="old.tflite")`."""

    def __init__(self, benchmark: Any, replay: Replay) -> None:
        self._benchmark = benchmark
        self._replay = replay

    def __call__(
        self,
        model: str | Path,
        *,
        baseline: str | Path | None = None,
        data: Dataset | str | Path | None = None,
        quality: str | None = None,
        mean: float | None = None,
        std: float | None = None,
        target: str = "host",
        runtime: str = "",
        threads: int = 1,
        rounds: int | None = None,
        rounds_at_most: int | None = None,
        protocol: BenchmarkProtocol | None = None,
        each_invoke: bool = False,
    ) -> TfliteResult:
        """Measure a model in worker processes and give pytest-benchmark the median of each round.

        Args:
          model: a .tflite file.
          baseline: another one, measured in the same rounds.
          data: a data set, or where it is as `edgefm benchmark --data` takes it; None measures no quality.
          quality: name of the measure; by default that of the data's task.
          mean: of a file without a contract: real input = (pixel - mean) / std.
          std: see `mean`.
          target: see `edgefm doctor`.
          runtime: by default the target's.
          threads: of the runtime.
          rounds: least number of rounds, 15 by default; they go on until p50 is known to 1 %.
          rounds_at_most: greatest number of rounds, 45 by default.
          protocol: all of these, and the rest.
          each_invoke: give pytest-benchmark every invoke rather than the median of each round.
        Raises:
          ModelError: the model or the baseline cannot be measured, or cannot be fed the data.
        """
        from edgefm.benchmarking.step import benchmark_files
        from edgefm.recipes import BenchmarkProtocol
        from edgefm.recipes.benchmark import rounds_between

        enabled = bool(self._benchmark.enabled)
        how = protocol or BenchmarkProtocol(
            target=target, runtime=runtime, threads=threads, **rounds_between(rounds, rounds_at_most)
        )
        files = [Path(model)] if baseline is None else [Path(model), Path(baseline)]
        dataset, measure = _data(files, data, quality)
        record = benchmark_files(
            files,
            protocol=how if enabled else _once(how),
            accuracy=dataset is not None,
            dataset=dataset,
            quality=measure,
            mean=mean,
            std=std,
        )
        row, base = record["models"][0], record["models"][1] if baseline is not None else None
        for measured_row in (row, base):
            if measured_row is not None and measured_row["status"] != "ok":
                raise ModelError(f"{measured_row['name']} could not be measured: {measured_row['reason']}")
        if row["quality"] is not None and row["quality"]["value"] is None:
            raise ModelError(f"{row['name']} has no {row['quality']['name']}: {row['quality']['reason']}")
        timed = enabled and bool(record["target"]["latency"]) and bool(rounds_of(row))
        both = timed and base is not None and bool(rounds_of(base))
        comparison = latency_comparison(base, row, paired=True) if both and base is not None else None
        result = TfliteResult(enabled=timed, record=record, row=row, baseline=base, comparison=comparison)
        self._hand_over(result, each_invoke=each_invoke)
        return result

    def _hand_over(self, result: TfliteResult, *, each_invoke: bool) -> None:
        self._benchmark.extra_info.update(_extra(result))
        if not result.enabled:
            # Nothing to tell: as under --benchmark-disable, no benchmark is listed.
            self._benchmark.disabled = True
            self._benchmark.pedantic(_nothing)
            return
        rounds = list(rounds_of(result.row).values())
        samples = np.concatenate(rounds) if each_invoke else np.array([np.median(samples) for samples in rounds])
        self._replay.samples = [float(nanoseconds) / 1e9 for nanoseconds in samples]
        self._benchmark.pedantic(_nothing, rounds=len(self._replay.samples), iterations=1)


def _nothing() -> None:
    """Stand for the work that was done already."""


def _once(protocol: BenchmarkProtocol) -> BenchmarkProtocol:
    """Return a protocol that runs each model just once."""
    from dataclasses import replace

    return replace(
        protocol, rounds=1, rounds_at_most=1, repeats_at_most=0, round_seconds=0.0, round_invokes=1,
        round_invokes_at_most=1, warmup_invokes=0,
    )  # fmt: skip


def _data(
    files: Sequence[Path], data: Dataset | str | Path | None, quality: str | None
) -> tuple[Dataset | None, Quality | None]:
    from edgefm.benchmarking.step import sample_shape
    from edgefm.data.quality import quality as named_quality
    from edgefm.data.source import DataSource

    if data is None:
        return None, None
    if isinstance(data, str | Path):
        source = DataSource(where=str(data), quality=quality)
        dataset = source.load(sample_shape(files))
        return dataset, source.measure(dataset)
    return data, None if quality is None else named_quality(quality, task=data.task)


def _extra(result: TfliteResult) -> dict[str, Any]:
    """Return what stands beside the times in pytest-benchmark's files."""
    runtime, ratio = result.row["runtime"], result.p50_ratio
    facts = {
        "model": result.row["name"],
        "sha256": result.row["sha256"],
        "size_bytes": result.size_bytes,
        "runtime": f"{runtime['name']} {runtime['version']}",
        "threads": runtime["options"]["threads"],
        "target": result.record["target"]["name"],
        "p50_us": result.p50_us,
        "p50_ratio": None if ratio is None else ratio.to_json(),
        "accuracy": result.accuracy,
        "quality": result.quality,
    }
    return {name: value for name, value in facts.items() if value is not None}
