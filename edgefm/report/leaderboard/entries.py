"""The rows of the leaderboard: one model on one target with one runtime, as a record tells it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgefm.benchmarking import record
from edgefm.core.documents import read_json
from edgefm.core.errors import EdgefmError, RunError
from edgefm.report.content.wording import Interval

# Where the figure of a model on a target comes from, the ones to be relied on most first.
MODES = ("measured", "estimated", "simulated")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model on one target with one runtime.

    Attributes:
      model: name of its row in the record.
      sha256: of the file.
      size_bytes: of the file.
      target: address, e.g. 'host', 'vela:ethos-u55-128'.
      mode: what the target's figures are worth, one of `MODES`.
      hardware: processor, as the target tells it.
      runtime: with its kernel set, e.g. 'litert:reference'; '' where nothing is run.
      version: of the runtime.
      threads: of the runtime.
      p50: of one inference, nanoseconds; of an estimating target its estimate, without interval.
      accuracy: 0 to 1, or None with the reason in `no_accuracy`.
      no_accuracy: why there is none.
      cold_start_ns: process, import, load and first inference, median.
      memory_bytes: peak above the bare runtime.
      arena_bytes: of the tensors, where runtime or target tell it.
      instructions: of one inference, in an emulator.
      rounds: that p50 is made of.
      disturbed: the machine was.
      reason: why it could not be run; None where it was.
      created: of the record.
    """

    model: str
    sha256: str
    size_bytes: int
    target: str
    mode: str
    hardware: str
    runtime: str
    version: str
    threads: int
    p50: Interval | None
    accuracy: Interval | None
    no_accuracy: str
    cold_start_ns: float | None
    memory_bytes: int | None
    arena_bytes: int | None
    instructions: int | None
    rounds: int
    disturbed: bool
    reason: str | None
    created: str


@dataclass(frozen=True, kw_only=True)
class ModelBoard:
    """All entries of one file, the fastest first; those that could not be run last."""

    name: str
    size_bytes: int
    sha256: str
    entries: tuple[Entry, ...]

    @property
    def timed(self) -> tuple[Entry, ...]:
        """The entries with a time; none that failed, though some of its rounds were timed before."""
        return tuple(entry for entry in self.entries if entry.p50 is not None and entry.reason is None)

    @property
    def counted(self) -> tuple[Entry, ...]:
        """The entries with a count of instructions."""
        return tuple(entry for entry in self.entries if entry.instructions is not None and entry.reason is None)


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """All that the page shows.

    Attributes:
      models: in the order of the records.
      images: test images behind the accuracies, None without any.
      created: of the oldest and the newest record.
    """

    models: tuple[ModelBoard, ...]
    images: int | None
    created: tuple[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the board as a JSON object."""
        return {"kind": "leaderboard", "schema_version": 1, **asdict(self)}


def board(files: Iterable[Path]) -> Leaderboard:
    """Return the leaderboard of some records; of several of the same model, target and runtime the newest counts.

    Raises:
      RunError: a file is no record, or damaged; a JSON file of another kind that lies beside records is passed over.
    """
    records = []
    files = list(files)
    for path in files:
        if len(files) > 1 and _other_json(path):
            continue
        records.append(record.read(path))
    if not records:
        raise RunError("none of the files is a benchmark record", hint="Give files that edgefm benchmark wrote.")
    records.sort(key=lambda value: str(value["created"]))
    newest: dict[tuple[Any, ...], Entry] = {}
    for value in records:
        for row in value["models"]:
            entry = _entry(value, row)
            newest[entry.sha256, entry.target, entry.hardware, entry.runtime, entry.threads] = entry
    by_file: dict[str, list[Entry]] = {}
    for entry in newest.values():
        by_file.setdefault(entry.sha256, []).append(entry)
    images = [value["dataset"]["images"] for value in records if value["dataset"]]
    return Leaderboard(
        models=tuple(_model_board(entries) for entries in by_file.values()),
        images=max(images) if images else None,
        created=(str(records[0]["created"]), str(records[-1]["created"])),
    )


def _other_json(path: Path) -> bool:
    """Whether a file is JSON of another kind, such as a page's own data."""
    try:
        value = read_json(path, what="record")
    except (OSError, EdgefmError):
        return False  # `record.read` says what is wrong
    return not isinstance(value, dict) or value.get("kind") != record.KIND


def _model_board(entries: list[Entry]) -> ModelBoard:
    def order(entry: Entry) -> tuple[Any, ...]:
        time = entry.p50.value if entry.p50 else float("inf")
        return (entry.reason is not None, MODES.index(entry.mode), time, entry.instructions or 0, entry.target)

    latest = max(entries, key=lambda entry: entry.created)
    return ModelBoard(
        name=latest.model,
        size_bytes=latest.size_bytes,
        sha256=latest.sha256,
        entries=tuple(sorted(entries, key=order)),
    )


def _entry(value: Mapping[str, Any], row: Mapping[str, Any]) -> Entry:
    figures = {figure["name"]: figure for figure in row["figures"] if figure["value"] is not None}
    options, latency = row["runtime"]["options"], row["latency_ns"]
    p50 = Interval.of(latency["p50"]) if latency and value["target"]["latency"] else None
    if p50 is None and "latency_ns" in figures:
        p50 = Interval.alone(figures["latency_ns"]["value"])
    runtime = row["runtime"]["name"] if options.get("module") else ""
    kernels = options.get("kernels")
    failed = row["status"] != "ok"
    unsaid = [figure["reason"] for figure in row["figures"] if figure["value"] is None]
    nothing = failed or (not runtime and not figures)
    return Entry(
        model=row["name"],
        sha256=row["sha256"],
        size_bytes=row["size_bytes"],
        target=value["target"]["name"],
        mode=value["mode"],
        hardware=_hardware(value),
        runtime=f"{runtime}:{kernels}" if kernels else runtime,
        version=row["runtime"]["version"] if runtime else "",
        threads=int(options.get("threads", 1)),
        p50=p50,
        accuracy=Interval.of(row["accuracy"]),
        no_accuracy=row["accuracy"].get("reason", ""),
        cold_start_ns=row["cold_start_ns"]["total"]["value"] if row["cold_start_ns"] else None,
        memory_bytes=row["memory"]["above_bare_bytes"] if row["memory"] else None,
        arena_bytes=_whole(row["facts"].get("arena_bytes", figures.get("arena_bytes", {}).get("value"))),
        instructions=_whole(figures.get("instructions", {}).get("value")),
        rounds=sum(turn["used"] for turn in row["rounds"]),
        disturbed=bool(row["disturbed"]["used"]),
        reason=row["reason"] if failed else "; ".join(unsaid) or "no reason was given" if nothing else None,
        created=str(value["created"]),
    )


def _hardware(value: Mapping[str, Any]) -> str:
    """Return what the figures are of: a processor, or what an emulator or estimator stands for."""
    if value["mode"] == "measured":
        return str(value["environment"]["cpu"])
    kind, _, rest = value["target"]["name"].partition(":")
    return rest or kind


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
