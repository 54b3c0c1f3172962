"""A full disk and a read-only one under each command that writes: one message, nothing half written, nothing lost.

The mounts are private to this process (unshare) and end with it. Where a system allows neither root nor a user's own
mounts, the kind says so and tries nothing.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.faults.bench import Bench, Outcome, Part
from tests.faults.kills import cut_run, half_written
from tests.faults.small_run import TRAIN, write_data, write_picture

_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x00020000  # CLONE_NEWUSER, CLONE_NEWNS
_MEGABYTES = 40
_SECONDS = 120


class NoMountsError(Exception):
    """This system lets nobody mount here."""


def warm() -> None:
    """Take mounts of one's own, as root or as a user who becomes root in a world of their own."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    for flags in (_NEW_MOUNTS, _NEW_MOUNTS | _NEW_USER):
        if libc.unshare(flags) == 0:
            break
    else:
        raise NoMountsError(f"mounts of one's own: {os.strerror(ctypes.get_errno())}")
    if flags & _NEW_USER:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            Path(f"/proc/self/{name}").write_text(text)
    done = subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoMountsError(f"mounts of one's own: {done.stderr.strip()}")


def _mounted(bench: Bench, name: str) -> Path:
    place = bench.folder / name
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_MEGABYTES}m", "none", place], check=True)
    return place


def _snapshot(place: Path) -> dict[str, str]:
    files = (path for path in sorted(place.rglob("*")) if path.is_file() and path.name not in (".lock", "filler"))
    return {str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _steps(place: Path) -> list[dict[str, Any]]:
    manifest = place / "run/manifest.json"
    return list(json.loads(manifest.read_text())["steps"]) if manifest.is_file() else []


def _grew(place: Path, steps: list[dict[str, Any]], after: dict[str, str]) -> bool:
    """Return whether the manifest lists only whole steps more: what was measured is kept though its report is not."""
    now = _steps(place)
    return now[: len(steps)] == steps and all(
        after.get(f"run/{output['path']}") == output["sha256"]
        for step in now[len(steps) :]
        for output in step["outputs"]
    )


def _tried(bench: Bench, place: Path, argv: list[Any], how: str, *, must_work: bool = False) -> Outcome:
    before, steps = _snapshot(place), _steps(place)
    outcome = bench.edgefm(*argv, how=how, seconds=_SECONDS, file=None)
    after = _snapshot(place)
    faults = [f"lost: {name}" for name in before if name not in after]
    faults += [
        f"changed: {name}"
        for name in before
        if outcome.kind == "clean"
        and after.get(name, before[name]) != before[name]
        and not (name == "run/manifest.json" and _grew(place, steps, after))
    ]
    faults += [f"half written: {path.relative_to(place)}" for path in half_written(place)]
    faults += [f"empty: {name}" for name in after if name not in before and not (place / name).stat().st_size]
    faults += [f"partial: {path.name}" for path in place.rglob("*.partial") if path.is_file()]
    if must_work and outcome.kind == "clean":
        faults.append("a command that only reads the disk does not work on a read-only one")
    if faults and outcome.kind in ("clean", "accepted"):
        outcome = replace(outcome, kind="broken", detail=f"{argv[0]}: {faults[0]}")
    return replace(outcome, text="\n".join([*faults, outcome.text]))


def full(bench: Bench) -> Iterator[Outcome]:
    """A disk with no space at all, or with some that is not enough."""
    r, data = bench.random, write_data(bench.folder / "data.npz")
    int8 = bench.models / "int8_w8a8/model.tflite"
    budget = bench.folder / "budget.toml"
    budget.write_text('[models."*"]\nsize_bytes = 9000000\n')
    commands = (
        (0, lambda place: [*TRAIN, "--data", data, "--run", place / "new"]),
        (1, lambda place: ["quantize", place / "run", "--variant", "int8_w8a8"]),
        (1, lambda place: ["sensitivity", place / "run", "--images", "50"]),
        (
            2,
            lambda place: [
                "benchmark",
                place / "run",
                "--rounds-at-most",
                "1",
                "--budget-seconds",
                "5",
            ],
        ),
        (3, lambda place: ["report", place / "run"]),
        (3, lambda place: ["export", "android", place / "run", "--out", place / "bundle"]),
        (0, lambda place: ["quantize", bench.run / "00-train/model.keras", "--quick", "--run", place / "new"]),
        (0, lambda place: ["benchmark", int8, "--latency-only", "--rounds-at-most", "1", "--out", place / "out"]),
        (0, lambda place: ["leaderboard", bench.run / "02-benchmark/record.json", "--out", place / "out"]),
        (0, lambda place: ["gate", bench.run, "--budget", budget, "--junit", place / "junit.xml"]),
        (0, lambda place: ["profile", int8, "--rounds", "1", "--out", place / "out"]),
        (0, lambda place: ["data", "info", "--out", place / "out"]),
    )
    while True:
        for steps, argv in r.sample(commands, len(commands)):
            place = _mounted(bench, "full")
            try:
                if steps:
                    cut_run(bench.run, place / "run", steps=steps)
                free = os.statvfs(place)
                leave = r.choice((0, 4096, r.randrange(500_000)))
                (place / "filler").write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - leave)))
                yield _tried(bench, place, argv(place), f"{leave} bytes are free")
            finally:
                subprocess.run(["umount", "-l", place], check=True)


def read_only(bench: Bench) -> Iterator[Outcome]:
    """A run on a disk that cannot be written: what only reads it works, what writes there is refused."""
    picture, int8 = write_picture(bench.folder / "p.png"), bench.models / "int8_w8a8/model.tflite"
    budget = bench.folder / "budget.toml"
    budget.write_text('[models."*"]\nsize_bytes = 9000000\n')
    place, out = _mounted(bench, "read-only"), bench.folder / "elsewhere"
    shutil.copytree(bench.run, place / "run")
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    run, data = place / "run", write_data(bench.folder / "data.npz")
    reading = (
        ["report", run, "--out", out / "report"],
        ["export", "android", run, "--out", out / "bundle"],
        ["predict", picture, "--run", run],
        ["predict", picture, "--model", run / "01-quantize/int8_w8a8"],
        ["compare", run, run, "--no-latency"],
        ["gate", run, "--budget", budget],
        ["inspect", run / "00-train/model.keras"],
        ["inspect", run / "01-quantize/int8_w8a8/model.tflite"],
        ["leaderboard", run / "02-benchmark/record.json", "--out", out / "board"],
        ["benchmark", run / "01-quantize/int8_w8a8/model.tflite", "--latency-only", "--rounds-at-most", "1"],
        ["calibration", run, "--out", out / "calibration"],
        ["sensitivity", run, "--images", "50", "--out", out / "sensitivity"],
    )
    writing = (
        [*TRAIN, "--data", data, "--run", place / "new"],
        ["quantize", run, "--variant", "int16x8"],
        ["benchmark", run, "--rounds-at-most", "1", "--budget-seconds", "5"],
        ["report", run],
        ["export", "android", run, "--out", place / "bundle"],
        ["leaderboard", run / "02-benchmark/record.json", "--out", place / "out"],
        ["compare", int8, int8, "--latency-only", "--rounds-at-most", "5", "--out", place / "out"],
        ["agree", int8, "--random", "-n", "3", "--runtime", "litert", "--out", place / "out"],
    )
    for argv in bench.random.sample([*reading, *writing], len(reading) + len(writing)):
        yield _tried(bench, place, argv, "on a read-only disk", must_work=argv in reading)


def into_a_full_device(bench: Bench) -> Iterator[Outcome]:
    """Standard output on a full disk."""
    model = bench.models / "int8_w8a8/model.tflite"
    for argv in (["inspect", model], ["inspect", model, "--json"], ["zoo"], ["recipes", "list"]):

        def action(argv: list[Any] = argv) -> int:
            os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
            from tests.faults.bench import start_edgefm

            start_edgefm([str(word) for word in argv], cwd=bench.folder)
            return 0

        outcome = bench.forked(action, how=f"edgefm {' '.join(map(str, argv))} > /dev/full", seconds=60)
        if outcome.kind == "accepted":
            outcome = replace(outcome, kind="broken", detail=f"{argv[0]}: what it could not write is no error")
        yield outcome


PARTS = (
    Part(name="disk-full", slow=True, count=26, weight=2.0, tries=full),
    Part(name="disk-read-only", slow=True, count=20, weight=2.0, tries=read_only),
    Part(name="full-output", count=4, weight=0.3, tries=into_a_full_device),
)
