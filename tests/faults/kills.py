"""Commands that are stopped at a random moment: SIGKILL, SIGTERM, Ctrl-C. The same command must then go on to the end.

Asked of each: does it end as the signal asks, without a traceback and with nobody left; is there a file that is half
written under its final name; are temporary folders gone (after SIGKILL: by the next start); does the next call succeed,
and is its result that of an unbroken one?
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.faults.bench import Bench, Outcome, Part
from tests.faults.small_run import TRAIN, VARIANTS, edgefm, start, write_data

_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_END_SECONDS = 30.0
_STARTING_SECONDS = 1.0  # before Python has come to edgefm a signal ends it as it ends any program
_FINE_TUNED = ("qat_int8", "slim50_qat_int8")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A command that is killed.

    Attributes:
      prepare: makes its run folder.
      command: its command line for a run; that of a rerun, too.
      result: what must be the same as after an unbroken one.
    """

    prepare: Callable[[Path], object]
    command: Callable[[Path], list[Any]]
    result: Callable[[Path], Any]


def warm() -> None:
    """Nothing: every try is a real command."""


def _kills(bench: Bench, job: Job) -> Iterator[Outcome]:
    temporary, whole = bench.folder / "tmp", bench.folder / "whole"
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    job.prepare(whole)
    started = time.monotonic()
    done = edgefm(bench.folder, *job.command(whole), until=bench.until)
    took = time.monotonic() - started
    how = " ".join(map(str, job.command(whole)))
    bench.control(Outcome(kind="accepted" if done.returncode in (0, 1) else "broken", text=done.stdout, how=how))
    expected = job.result(whole)
    while True:
        run = bench.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        job.prepare(run)
        number, after = bench.random.choice(_SIGNALS), bench.random.uniform(0.3, took)
        outcome = _stopped(bench, job.command(run), number, after)
        faults = [outcome.detail] if outcome.kind == "broken" else []
        if outcome.code == -number != -signal.SIGKILL and after > _STARTING_SECONDS and not _done(job, run, expected):
            faults.append(f"{number.name} is not heard")
        faults += [f"half written: {path.relative_to(run)}" for path in half_written(run)]
        if number != signal.SIGKILL:
            faults += [f"left after {number.name}: {name}" for name in left_in(temporary)]
        again = edgefm(bench.folder, *job.command(run), until=bench.until)
        if again.returncode not in (0, 1):
            faults.append(f"the next call ends with {again.returncode}: {again.stdout.strip()[-200:]}")
        elif job.result(run) != expected:
            faults.append("the next call's result is another than without the stop")
        faults += [f"left after the next call: {name}" for name in left_in(temporary)]
        faults += [f"partial: {path.name}" for path in run.rglob("*.partial")]
        text = f"{outcome.text}\n--- the next call\n{again.stdout}"
        how = f"{' '.join(map(str, job.command(run)))}  # {number.name} after {after:.2f} s"
        if faults and outcome.kind not in ("traceback", "hang"):
            outcome = replace(outcome, kind="broken", detail=faults[0][:120])
        yield replace(outcome, text="\n".join([*faults, text]), how=how, file=run if run.exists() else None)
        shutil.rmtree(temporary)
        temporary.mkdir()


def _done(job: Job, run: Path, expected: Any) -> bool:
    """Return whether a command had done all its work before its signal came."""
    try:
        return bool(job.result(run) == expected)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return False


def _stopped(bench: Bench, argv: list[Any], number: signal.Signals, after: float) -> Outcome:
    """Start a command, send it a signal after so many seconds and tell how it ended."""
    started = time.monotonic()
    with (bench.folder / "log").open("w+b") as log:
        # Ctrl-C is ignored by what a shell starts in the background, and by its children.
        heard = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
        process = start(bench.folder, *argv, stdout=log, preexec_fn=heard)
        kind, detail = "clean", ""
        try:
            process.wait(after)
            kind = "accepted"  # it was faster
        except subprocess.TimeoutExpired:
            # In a terminal Ctrl-C reaches all processes, a scheduler's SIGTERM often the first alone.
            (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            kind, detail = "hang", f"{number.name} is not heard for {_END_SECONDS:g} s"
        left = _others(process.pid)
        for pid in [process.pid, *left]:
            _kill(pid)
        process.wait()
        log.seek(0)
        text = log.read().decode("utf-8", "replace")
    code = process.returncode
    if kind == "clean":
        # 0 and 1: it had done its work; -n: Python itself was just starting or ending, which the caller knows.
        right = {0, 1, -number, 128 + number}
        if code not in right:
            kind, detail = "broken", f"{number.name}: exit {code}"
        elif left:
            kind, detail = "broken", f"{number.name}: {len(left)} processes are left"
    if "Traceback (most recent call last)" in text:
        kind, detail = "traceback", f"{number.name}: {text.strip().splitlines()[-1][:110]}"
    return Outcome(kind=kind, detail=detail, code=code, seconds=time.monotonic() - started, text=text)


def _others(session: int) -> list[int]:
    """Return the processes of a session beside its leader that live on for more than two seconds."""
    for _ in range(20):
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rsplit(")", 1)[1].split()
            except OSError:  # it has just ended
                continue
            if int(fields[3]) == session and int(path.parent.name) != session and fields[0] not in "ZX":
                found.append(int(path.parent.name))
        if not found:
            return []
        time.sleep(0.1)
    return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def half_written(run: Path) -> list[Path]:
    """Return the files below a folder that bear their final name and cannot be read."""
    bad = []
    for path in run.rglob("*"):
        if not path.is_file() or ".partial" in str(path.relative_to(run)) or path.name.startswith("."):
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix in (".npz", ".keras") and zipfile.ZipFile(path).testzip() is not None:
                bad.append(path)
        except (OSError, ValueError, zipfile.BadZipFile):
            bad.append(path)
    return bad


def left_in(temporary: Path) -> list[str]:
    """Return what commands left in the folder for temporary files; a folder that each user keeps is no leftover."""
    return [path.name for path in temporary.iterdir() if path.name.startswith("edgefm") and any(path.rglob("*"))]


def _weights(run: Path) -> str:
    """Return the sha256 of the trained weights; the archive around them has times of writing."""
    import h5py

    digest = hashlib.sha256()

    def add(name: str, item: Any) -> None:
        if hasattr(item, "shape"):
            digest.update(name.encode() + item[()].tobytes())

    with (
        zipfile.ZipFile(run / "00-train/model.keras") as archive,
        h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file,
    ):
        file.visititems(add)
    return digest.hexdigest()


def _files(run: Path) -> dict[str, str]:
    found = sorted((run / "01-quantize").glob("*/model.tflite"))
    return {path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def _answers(run: Path) -> list[tuple[Any, ...]]:
    value = json.loads((run / "02-benchmark/record.json").read_text())
    return [(model["name"], model["status"], model["accuracy"]["value"]) for model in value["models"]]


def _losses(run: Path) -> Any:
    value = json.loads((run / "sensitivity/sensitivity.json").read_text())
    return {name: value[name] for name in ("model", "layers", "int8", "mixed_precision")}


def cut_run(source: Path, there: Path, *, steps: int) -> Path:
    """Copy a run with its first steps alone."""
    shutil.copytree(source, there, ignore=shutil.ignore_patterns("report", "passes"))
    manifest = json.loads((there / "manifest.json").read_text())
    for step in manifest["steps"][steps:]:
        shutil.rmtree(there / step["name"])
    manifest["steps"] = manifest["steps"][:steps]
    (there / "manifest.json").write_text(json.dumps(manifest))
    return there


def trained(bench: Bench) -> Iterator[Outcome]:
    """`train`, then with --resume where an epoch was finished."""
    data = write_data(bench.folder / "data.npz", count=4000)

    def command(run: Path) -> list[Any]:
        if (run / "00-train.partial/checkpoint.npz").exists():
            return ["train", "--resume", "--run", run]
        return [*TRAIN, "--data", data, "--run", run]

    return _kills(bench, Job(prepare=lambda run: None, command=command, result=_weights))


def _quantising(*words: Any) -> Callable[[Bench], Iterator[Outcome]]:
    def tries(bench: Bench) -> Iterator[Outcome]:
        return _kills(
            bench,
            Job(
                prepare=lambda run: cut_run(bench.run, run, steps=1),
                command=lambda run: ["quantize", run, *words],
                result=_files,
            ),
        )

    return tries


def _fine_tuning(name: str) -> Callable[[Bench], Iterator[Outcome]]:
    def tries(bench: Bench) -> Iterator[Outcome]:
        path = bench.folder / "recipe.json"
        path.write_text(json.dumps(_of_few_epochs(name)))
        return _quantising("--recipe", path)(bench)

    return tries


def _of_few_epochs(name: str) -> dict[str, Any]:
    """Return the recipe of one variant, as JSON, whose passes train for two epochs each."""
    from edgefm.recipes import Quantization

    value = Quantization(variants=(name,)).to_json()  # type: ignore[arg-type]  # names become variants

    def shortened(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: 2 if key == "epochs" else shortened(inner) for key, inner in part.items()}
        return [shortened(inner) for inner in part] if isinstance(part, list) else part

    short: dict[str, Any] = shortened(value)
    return short


def benchmarked(bench: Bench) -> Iterator[Outcome]:
    """`benchmark` of a run."""
    words = ("--rounds", "2", "--rounds-at-most", "2", "--budget-seconds", "60")
    return _kills(
        bench,
        Job(
            prepare=lambda run: cut_run(bench.run, run, steps=2),
            command=lambda run: ["benchmark", run, *words],
            result=_answers,
        ),
    )


def searched(bench: Bench) -> Iterator[Outcome]:
    """`sensitivity` with a limit: a search over layers, each quantised by itself."""
    words = ("--accuracy-drop-at-most", "0.01", "--images", "100", "--calibration-images", "50")
    return _kills(
        bench,
        Job(
            prepare=lambda run: cut_run(bench.run, run, steps=1),
            command=lambda run: ["sensitivity", run, *words],
            result=_losses,
        ),
    )


PARTS = (
    Part(name="kill-train", count=50, tries=trained),
    Part(
        name="kill-quantize", count=40, tries=_quantising(*(word for name in VARIANTS for word in ("--variant", name)))
    ),
    Part(name="kill-qat", count=30, tries=_fine_tuning(_FINE_TUNED[0])),
    Part(name="kill-slim", count=30, tries=_fine_tuning(_FINE_TUNED[1])),
    Part(name="kill-benchmark", count=30, tries=benchmarked),
    Part(name="kill-search", count=20, tries=searched),
)
