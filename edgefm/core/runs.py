"""Run directories: numbered steps that are written whole, never overwritten, and found again.

Layout of one run::

    runs/<run_id>/manifest.json
    runs/<run_id>/00-train/            a finished step
    runs/<run_id>/01-quantize/
    runs/<run_id>/02-benchmark.partial a step that is being written, or was killed
    runs/<run_id>/report/              derived from the steps; rewritten at will

A step is written in `NN-kind.partial` and renamed when it is whole. Its key is the sha256 of what decides its
result: the recipe, the sha256 of its inputs, the seed and the versions. A step whose key is already in the
manifest is not done twice.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from edgefm.core import artefacts, manifest
from edgefm.core.artefacts import Artefact
from edgefm.core.documents import inside
from edgefm.core.errors import RunError
from edgefm.core.given import links
from edgefm.core.text import command

DEFAULT_ROOT = Path("runs")
_LOCK = ".lock"
_PARTIAL = ".partial"
_BEGUN = (_LOCK, f".{manifest.FILE_NAME}.")  # names, from their beginning, in a run that is only just being made
_CLOCKS_DIFFER_SECONDS = 60  # between this machine and one that shares its disk


@dataclass(frozen=True, kw_only=True)
class Step:
    """A finished step of a run.

    Attributes:
      name: folder name, '<number>-<kind>'.
      kind: 'train', 'quantize' or 'benchmark'.
      key: sha256 of what decides the result.
      created: UTC time at which the step was finished, ISO 8601.
      seconds: wall-clock time it took.
      recipe: the recipe as JSON.
      inputs: sha256 of each input by name.
      summary: a few figures worth showing without opening the step.
      outputs: the files it wrote.
    """

    name: str
    kind: str
    key: str
    created: str
    seconds: float
    recipe: Mapping[str, Any]
    inputs: Mapping[str, str]
    summary: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[Artefact, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the step as a JSON object."""
        return {
            "name": self.name,
            "kind": self.kind,
            "key": self.key,
            "created": self.created,
            "seconds": self.seconds,
            "recipe": dict(self.recipe),
            "inputs": dict(self.inputs),
            "summary": dict(self.summary),
            "outputs": [output.to_json() for output in self.outputs],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Step:
        """Return the step that `to_json` wrote."""
        outputs = tuple(Artefact(**output) for output in value["outputs"])
        return cls(**{**value, "outputs": outputs})


def step_key(kind: str, *, recipe: Mapping[str, Any], inputs: Mapping[str, str], versions: Mapping[str, str]) -> str:
    """Return the sha256 that identifies a step's result; the seed is part of the recipe."""
    return artefacts.sha256_json(
        {"kind": kind, "recipe": dict(recipe), "inputs": dict(inputs), "versions": dict(versions)}
    )


class RunDirectory:
    """One run on disk: its manifest and its steps."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def run_id(self) -> str:
        """Name of the run's folder."""
        return self.path.name

    @classmethod
    def create(cls, name: str, *, root: Path = DEFAULT_ROOT) -> RunDirectory:
        """Create an empty run called `<UTC time>-<name>` below `root` and return it."""
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        for attempt in range(1000):
            suffix = f"-{attempt}" if attempt else ""
            run = cls(root / f"{stamp}-{name}{suffix}")
            try:
                run.path.mkdir(parents=True)
            except FileExistsError:
                continue
            manifest.write(run.path, [], created=now())
            return run
        raise RunError(f"could not find a free name for a run in {root}")

    @classmethod
    def create_at(cls, path: Path) -> RunDirectory:
        """Create an empty run at `path`, which must not exist yet or be an empty folder.

        What a process left there that was stopped while it did the same is no hindrance.
        """
        path.mkdir(parents=True, exist_ok=True)
        links.check(path, RunError, what="folder")
        if any(not entry.name.startswith(_BEGUN) for entry in path.iterdir()):
            if (path / manifest.FILE_NAME).exists():  # another process made it meanwhile
                return cls.open(path)
            raise RunError(f"{path} is not empty, and it is not a run", hint="Give a new folder, or remove this one.")
        run = cls(path)
        manifest.write(run.path, [], created=now())
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Return the existing run at `path`, its manifest checked.

        Raises:
          RunError: there is no run, its manifest is damaged, a newer edgefm wrote it, or a link in it leads out of it.
        """
        if not path.is_dir():
            raise RunError(f"no run at {path}", hint="Start one with: edgefm train")
        links.check(path, RunError, what="run")
        run = cls(path)
        manifest.read(run.path)
        return run

    @classmethod
    def latest(cls, root: Path = DEFAULT_ROOT) -> RunDirectory:
        """Return the run below `root` whose manifest changed last.

        Raises:
          RunError: there is none, or the clock was set back meanwhile, so that it cannot be told.
        """
        manifests = sorted(root.glob(f"*/{manifest.FILE_NAME}"), key=lambda path: path.stat().st_mtime_ns)
        if not manifests:
            raise RunError(f"no run in {root.resolve()}", hint="Start one with: edgefm train, or name a run folder.")
        newest = manifests[-1]
        ahead = newest.stat().st_mtime - datetime.now(UTC).timestamp()
        if len(manifests) > 1 and ahead > _CLOCKS_DIFFER_SECONDS:
            raise RunError(
                f"which run in {root.resolve()} is the latest cannot be told: {newest.parent.name} was changed in the "
                "future, by this machine's clock",
                hint="Name the folder of the run.",
            )
        return cls.open(newest.parent)

    @property
    def created(self) -> str:
        """UTC time at which the run was created, ISO 8601."""
        return str(manifest.read(self.path)["created"])

    def steps(self) -> tuple[Step, ...]:
        """Return the finished steps, oldest first."""
        return tuple(Step.from_json(step) for step in manifest.read(self.path)["steps"])

    def last(self, kind: str) -> Step | None:
        """Return the newest finished step of a kind, or None."""
        steps = [step for step in self.steps() if step.kind == kind]
        return steps[-1] if steps else None

    def require(self, kind: str) -> Step:
        """Return the newest finished step of a kind.

        Raises:
          RunError: the run has none.
        """
        step = self.last(kind)
        if step is None:
            raise RunError(
                f"run {self.path} has no finished '{kind}' step",
                hint=f"Run: {command('edgefm', kind, *(('--run',) if kind == 'train' else ()), self.path)}",
            )
        return step

    def find(self, key: str) -> Step | None:
        """Return the newest finished step with this key whose files are all there unchanged, or None."""
        for step in reversed(self.steps()):
            if step.key == key and all(self._intact(output) for output in step.outputs):
                return step
        return None

    def folder(self, step: Step) -> Path:
        """Return the folder of a step.

        Raises:
          RunError: it is a link that leaves the run.
        """
        return inside(self.path, step.name, where=self.path / manifest.FILE_NAME, error=RunError)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for writing.

        Raises:
          RunError: another process holds it.
        """
        lock = FileLock(self.path / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"run {self.path} is in use by another edgefm process",
                hint="Wait for it to end, or work on another run.",
            ) from None
        try:
            self._recover()
            yield
        finally:
            lock.release()

    def begin(self, kind: str, *, keep: bool = False) -> Path:
        """Return the empty folder in which the next step of a kind is written. Call it under `lock`.

        Args:
          kind: kind of the step.
          keep: leave what a killed attempt wrote there, to resume from it.
        """
        partial, next_one = self.partial(kind), self._next(kind)
        if partial.exists() and not keep:
            shutil.rmtree(partial)
        if partial.exists() and partial != next_one:  # other steps were finished since
            partial.rename(next_one)
        next_one.mkdir(exist_ok=True)
        return next_one

    def partial(self, kind: str) -> Path:
        """Return the folder of the newest unfinished step of a kind, or where the next one would be written."""
        unfinished = self.path.glob(f"[0-9][0-9]*-{kind}{_PARTIAL}")
        return max(unfinished, key=lambda path: (len(path.name), path.name), default=self._next(kind))

    def _next(self, kind: str) -> Path:
        return self.path / f"{len(self.steps()):02d}-{kind}{_PARTIAL}"

    def finish(
        self,
        folder: Path,
        *,
        key: str,
        seconds: float,
        recipe: Mapping[str, Any],
        inputs: Mapping[str, str],
        summary: Mapping[str, Any],
        scratch: tuple[str, ...] = (),
    ) -> Step:
        """Turn a folder that `begin` gave into a finished step and enter it in the manifest.

        `scratch` names files that are needed only to resume; they go when the manifest names the step. Whenever
        this is stopped, the step is either finished or still the partial folder, with its scratch files.
        """
        name = folder.name.removesuffix(_PARTIAL)
        final = folder.with_name(name)
        folder.rename(final)
        try:
            step = self._enter(final, key, seconds, recipe, inputs, summary, scratch)
        except BaseException:
            final.rename(folder)
            raise
        for file in scratch:
            (final / file).unlink(missing_ok=True)
        return step

    def _enter(
        self,
        final: Path,
        key: str,
        seconds: float,
        recipe: Mapping[str, Any],
        inputs: Mapping[str, str],
        summary: Mapping[str, Any],
        scratch: tuple[str, ...],
    ) -> Step:
        name = final.name
        files = sorted(path for path in final.rglob("*") if path.is_file() and path.name not in scratch)
        step = Step(
            name=name,
            kind=name.split("-", 1)[1],
            key=key,
            created=now(),
            seconds=round(seconds, 3),
            recipe=recipe,
            inputs=inputs,
            summary=summary,
            outputs=tuple(artefacts.describe(path, root=self.path, produced_by=name) for path in files),
        )
        content = manifest.read(self.path)
        manifest.write(self.path, [*content["steps"], step.to_json()], created=content["created"])
        return step

    def _recover(self) -> None:
        """Make folders partial again that were renamed by a process which died before it wrote the manifest."""
        known = {step.name for step in self.steps()}
        for folder in self.path.glob("[0-9][0-9]-*"):
            if folder.is_dir() and folder.suffix != _PARTIAL and folder.name not in known:
                folder.rename(folder.with_name(folder.name + _PARTIAL))

    def _intact(self, output: Artefact) -> bool:
        path = inside(self.path, output.path, where=self.path / manifest.FILE_NAME, error=RunError)
        return path.is_file() and artefacts.sha256_file(path) == output.sha256


def now() -> str:
    """Return the present UTC time, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
