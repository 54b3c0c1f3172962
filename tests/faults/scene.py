"""The scene of attacks: the mark that code leaves where it runs, and the things that strangers send."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.bench import Bench, Outcome


class Scene:
    """A place for attacks: the mark that code leaves, and things that strangers send."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.folder = bench, bench.folder
        self.mark = bench.folder / f"MARK{bench.random.randrange(10**6)}"
        self.name = f"gift{bench.random.randrange(10**6)}"
        self.python = f"open({str(self.mark)!r}, 'a').write('x')\n"

    def attacked(self, what: str, *argv: Any, held: Callable[[], str] = str, **more: Any) -> Outcome:
        """Run a command; broken where the mark is there afterwards, or where `held` gives a reason."""
        self.mark.unlink(missing_ok=True)
        outcome = self.bench.edgefm(*argv, how=what, **{"seconds": 90, "verdicts": True, **more})
        reason = f"code ran: {what}" if self.mark.exists() else held()
        return replace(outcome, kind="broken", detail=reason) if reason else outcome

    def made(self, name: str, script: str) -> Path:
        """Return a file that a script makes, once; it has keras, and `mark_it`, a function that leaves the mark."""
        path = self.folder / name
        if not path.exists():

            def make() -> int:
                import keras

                def mark_it(tensor: Any) -> Any:
                    return (open(str(self.mark), "w").write("x"), tensor)[1]  # noqa: PTH123

                exec(script, {"keras": keras, "layers": keras.layers, "mark_it": mark_it, "path": str(path)})
                return 0

            self.bench.control(self.bench.forked(make, seconds=120, how=f"{name} is made"))
            self.mark.unlink(missing_ok=True)
        return path

    def plain(self) -> Path:
        return self.made("plain.keras", _MODEL.format(extra=""))

    def pickled(self) -> Path:
        """Return a .npz that runs code when it is unpickled."""
        path = self.folder / "pickled.npz"
        np.savez(path, x=np.array([_Evil(self.python)], dtype=object), y=np.zeros(1))
        return path

    def imported(self, name: str, **about: Any) -> Path:
        """Return a run by a stranger's hand: a brought model, and what source.json says of it."""
        run = self.folder / name
        shutil.rmtree(run, ignore_errors=True)
        (run / "00-import").mkdir(parents=True)
        shutil.copyfile(self.plain(), run / "00-import/plain.keras")
        (run / "payload.py").write_text(
            f"{self.python}def load(*a, **k):\n    import numpy as np\n    "
            "return {'x': np.zeros((60, 28, 28, 1), np.uint8), 'y': np.arange(60) % 10}\n"
        )
        value = {
            "model": "plain.keras",
            "sha256": "x",
            "data": None,
            "labels": None,
            "value_range": [0, 255],
            "calibration_data": None,
            "trust": False,
            **about,
        }
        (run / "00-import/source.json").write_text(json.dumps(value))
        step = {
            "name": "00-import",
            "kind": "import",
            "key": "k",
            "created": "2026-01-01T00:00:00+00:00",
            "seconds": 1.0,
            "recipe": {"kind": "import", "version": 1, "params": value},
            "inputs": {"model": "x"},
            "summary": {"model": "plain.keras", "input_shape": [28, 28, 1]},
            "outputs": [],
        }
        manifest = {"schema_version": 1, "created": "2026-01-01T00:00:00+00:00", "steps": [step]}
        (run / "manifest.json").write_text(json.dumps(manifest))
        return run


class _Evil:
    """Unpickled, it runs a program."""

    def __init__(self, program: str) -> None:
        self.program = program

    def __reduce__(self) -> Any:
        return exec, (self.program,)


_MODEL = """
start = keras.Input((28, 28, 1)); x = layers.Flatten()(start); {extra}
keras.Model(start, layers.Dense(10, activation='softmax')(x)).save(path)
"""
LAMBDA = _MODEL.format(extra="x = layers.Lambda(mark_it, output_shape=(784,))(x)")


def source(**changes: Any) -> dict[str, Any]:
    return {
        "where": "fashion-mnist",
        "spec": None,
        "task": None,
        "labels": None,
        "quality": None,
        "trust": False,
        **changes,
    }
