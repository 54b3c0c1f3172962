"""Attacks by models and links: what files of Keras 2 and SavedModels would call, and links that lead out of a run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.faults.bench import Bench, Outcome
from tests.faults.scene import Scene

_LINKED = ("report", ".lock", "02-quantize.partial", "01-quantize/int8_w8a8/labels.txt", "00-train/model.keras")


def of_models(bench: Bench) -> Iterator[Outcome]:
    """Models that call, reach files or hold links, through the commands that load models."""
    from tests.fixtures import hostile_models

    scene, r = Scene(bench), bench.random
    cases: list[Callable[[], Outcome]] = []
    for kind in hostile_models.CALLING:
        for suffix in ("h5", "keras"):
            path = bench.folder / f"{kind}.{suffix}"
            hostile_models.keras_2_file(path, kind, scene.mark)
            words = r.choice((("inspect",), ("quantize", "--variant", "drq_w8", "--run", bench.folder / "q")))
            cases.append(_case(scene, f"{kind} in a .{suffix}", words[0], path, *words[1:]))
    for kind in hostile_models.REACHING:
        for when in ("loaded", "called"):
            folder = bench.folder / f"{kind}-{when}"
            bench.control(
                bench.forked(_making(folder, kind, scene.mark, when), seconds=120, how=f"{folder.name} is made")
            )
            run = bench.folder / f"run-{folder.name}"
            cases.append(_case(scene, f"{kind} when {when}", "quantize", folder, "--variant", "float32", "--run", run))
    folder = bench.folder / "tensorflow-1"
    bench.control(bench.forked(_making_1(folder, scene.mark), seconds=120, how=f"{folder.name} is made"))
    scene.mark.unlink(missing_ok=True)
    words = ("--variant", "float32", "--run", bench.folder / "run-tensorflow-1")
    cases.append(_case(scene, "a saver that initialises", "quantize", folder, *words))
    for name in _LINKED:
        commands = (("report",), ("quantize", "--variant", "float16"))
        cases += [_linked(scene, name, words) for words in commands]
    for case in r.sample(cases, len(cases)):
        yield case()


def _case(scene: Scene, what: str, *words: Any) -> Callable[[], Outcome]:
    marks = f"{scene.mark.name}*"
    return lambda: scene.attacked(
        what, *words, held=lambda: f"it wrote: {what}" if list(scene.mark.parent.glob(marks)) else ""
    )


def _making(folder: Path, kind: str, mark: Path, when: str) -> Callable[[], int]:
    def make() -> int:
        from tests.fixtures import hostile_models

        hostile_models.saved_model(folder, kind, mark, when=when)
        return 0

    return make


def _making_1(folder: Path, mark: Path) -> Callable[[], int]:
    def make() -> int:
        from tests.fixtures import hostile_models

        hostile_models.saved_model_of_tensorflow_1(folder, mark)
        return 0

    return make


def _linked(scene: Scene, name: str, words: tuple[str, ...]) -> Callable[[], Outcome]:
    """Return the attack of a run in which a name is a link to somebody's folder or file."""

    def attack() -> Outcome:
        victim = scene.folder / "victim"
        shutil.rmtree(victim, ignore_errors=True)
        victim.mkdir()
        (victim / "precious").write_text("mine")
        run = scene.bench.copy_of_run("linked")
        link = run / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_dir():
            shutil.rmtree(link)
        link.unlink(missing_ok=True)
        link.symlink_to(victim / "precious" if "." in link.name and "partial" not in link.name else victim)
        held = lambda: "" if _untouched(victim) else f"{name} was followed"  # noqa: E731
        return scene.attacked(f"{name} is a link", words[0], run, *words[1:], held=held)

    return attack


def _untouched(victim: Path) -> bool:
    return [path.name for path in victim.iterdir()] == ["precious"] and (victim / "precious").read_text() == "mine"
