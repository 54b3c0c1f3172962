"""Runs the passes of a variant one after another; what was done before with equal content is not done again.

Each finished pass is a folder `<kind>-<key>/` with `pass.json`, `model.keras` and, after quantisation-aware
training, `int8.tflite`. The key is the sha256 of the pass's recipe, the model and data it was given, the seed and
the versions; so changing one recipe redoes that pass and those after it, variants share the passes they have in
common, and a killed run goes on behind the last pass that was finished.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
from numpy.typing import NDArray

from edgefm.compression.fine_tuning.task import Task
from edgefm.core import artefacts, scratch
from edgefm.core.documents import inside, read_json
from edgefm.core.environment import versions
from edgefm.core.errors import EdgefmError
from edgefm.core.progress import SILENT, Progress
from edgefm.data.preprocessing import Preprocessing
from edgefm.keras_graph.folding import fold
from edgefm.quantization.remembered_teacher import remembered
from edgefm.recipes.fine_tuning import SELF, Distillation
from edgefm.recipes.passes import Pass
from edgefm.recipes.plugins import pass_plugin
from edgefm.training.distillation import Teacher
from edgefm_converters.readers.keras_file import check_file

# Kind of edgefm's own passes -> "module:function"; the modules are heavy and imported when a pass is run.
FUNCTIONS = {
    "from_scratch": "edgefm.compression.networks.from_scratch:train_from_scratch",
    "slim": "edgefm.compression.channels.slimming:slim",
    "prune": "edgefm.compression.weights.pruning:prune",
    "cluster": "edgefm.compression.weights.clustering:cluster",
    "qat": "edgefm.compression.qat.qat:quantization_aware_train",
}
# What decides the result of a pass beside its recipe and its inputs.
LIBRARIES = ("edgefm", "tensorflow", "keras", "tf-keras", "tensorflow-model-optimization", "litert-quantizer", "numpy")
_TEACHER_SAMPLES = 500
MODEL_FILE = "model.keras"
INT8_FILE = "int8.tflite"
PASS_FILE = "pass.json"
_PASS_SCHEMA = "pass-1"


@dataclass(frozen=True, kw_only=True)
class Link:
    """A finished pass.

    Attributes:
      recipe: the pass as JSON.
      key: sha256 of what decides the result.
      folder: holds `model.keras` and `pass.json`.
      facts: measured on the result, as JSON.
      history: one entry an epoch of fine-tuning.
      seconds: wall-clock time that the pass took when it was done.
      cached: it was done before.
      encoding: how pixels become the inputs of `int8.tflite`; None for other passes than qat.
    """

    recipe: Mapping[str, Any]
    key: str
    folder: Path
    facts: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]
    seconds: float
    cached: bool
    encoding: Preprocessing | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the link as a JSON object, without its place on disk."""
        return {
            "recipe": self.recipe,
            "key": self.key,
            "facts": self.facts,
            "history": list(self.history),
            "seconds": self.seconds,
            "cached": self.cached,
        }

    def load(self) -> Any:
        """Return the Keras model that the pass gave."""
        import edgefm.keras_graph.folding  # noqa: F401  # ChannelShift is registered there

        check_file(self.folder / MODEL_FILE)  # the run may be somebody else's
        return keras.saving.load_model(self.folder / MODEL_FILE, compile=False)

    def int8(self) -> bytes:
        """Return the .tflite file that quantisation-aware training gave."""
        return (self.folder / INT8_FILE).read_bytes()


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Where passes start and where they are kept.

    Attributes:
      model: Keras model before its first pass.
      key: sha256 that stands for it.
      task: what it is compressed for.
      folder: of the finished passes; made if it is not there.
      seed: of fine-tuning.
      teachers: loaded ones by their names, filled as passes ask for them; chains of one model and one encoding may
        share them, and with them what these have answered.
      shelf: entered for each pass with its folder, which it may fill before and share after; by default nobody else
        works in `folder`.
    """

    model: Any
    key: str
    task: Task
    folder: Path
    seed: int = 0
    teachers: dict[tuple[str, ...], Teacher] = field(default_factory=dict, repr=False, compare=False)
    shelf: Callable[[Path], AbstractContextManager[object]] = field(default=nullcontext, repr=False, compare=False)
    progress: Progress = field(default=SILENT, compare=False)

    def run(self, passes: Sequence[Pass], *, label: str = "") -> tuple[Link, ...]:
        """Return the finished passes, done now unless they are kept already.

        Raises:
          EdgefmError: of a pass; those before it are kept.
        """
        links: list[Link] = []
        key = self.key
        for recipe in passes:
            key = self._key(recipe, before=key)
            folder = self.folder / f"{recipe.kind}-{key[:16]}"
            with self.shelf(folder):
                link = kept_pass(folder, key)
                if link is None:
                    self.progress.note(f"{label + ': ' if label else ''}{recipe.kind}")
                    model = links[-1].load() if links else self.model
                    link = self._do(recipe, model, key=key, folder=folder)
            links.append(link)
        return tuple(links)

    def _do(self, recipe: Pass, model: Any, *, key: str, folder: Path) -> Link:
        function = _function(recipe.kind)
        prepared = fold(model, rescaling=False)[0] if recipe.folds else model
        teacher = self._teacher(recipe.fine_tuning.distillation)
        started = time.perf_counter()
        result = function(
            prepared, recipe, self.task, seed=self.seed, teacher=teacher, progress=_Named(self.progress, recipe.kind)
        )
        encoding = getattr(result, "encoding", None)
        about = {
            "schema_version": 1,
            "recipe": recipe.to_json(),
            "key": key,
            "facts": dict(result.facts),
            "history": [dict(epoch) for epoch in result.history],
            "seconds": round(time.perf_counter() - started, 3),
            "encoding": asdict(encoding) if encoding is not None else None,
        }
        _write(folder, about, model=result.model, int8=getattr(result, "int8", None))
        return _link(about, folder, cached=False)

    def _key(self, recipe: Pass, *, before: str) -> str:
        used = {name: version for name, version in versions().items() if name in LIBRARIES}
        if recipe.kind not in FUNCTIONS:
            plugin = pass_plugin(recipe.kind).plugin
            used[plugin.package or plugin.module] = plugin.version
        return artefacts.sha256_json(
            {
                "recipe": recipe.to_json(),
                "model": before,
                "data": self.task.dataset.sha256,
                "encoding": asdict(self.task.encoding),
                "quality": self.task.quality.name,
                "head": self.task.head,
                "seed": self.seed,
                "source": self.key,
                "teachers": _teachers_sha256(recipe.fine_tuning.distillation),
                "versions": used,
            }
        )

    def _teacher(self, distillation: Distillation | None) -> Teacher | None:
        if distillation is None:
            return None
        names = distillation.teachers
        if names not in self.teachers:
            from edgefm.training.distillation import load_teacher

            teacher = load_teacher(
                names,
                source=self.model,
                classes=int(self.model.outputs[0].shape[-1]),
                input_shape=tuple(self.model.inputs[0].shape[1:]),
                task=self.task.dataset.task,
                binary=self.task.head == "sigmoid",
                sample=self._sample(),
            )
            self.teachers[names] = remembered(teacher)
        return self.teachers[names]

    def _sample(self) -> tuple[NDArray[np.float32], NDArray[Any]] | None:
        """Return some validation inputs with their classes, by which a teacher of other inputs is found out."""
        if self.task.dataset.task != "classification":
            return None
        split = self.task.dataset.validation
        return self.task.inputs(split.images[:_TEACHER_SAMPLES]), split.labels[:_TEACHER_SAMPLES]


class _Named:
    """Progress whose labels begin with the name of the pass."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._name = name

    def step(self, label: str, done: int, total: int, figures: Mapping[str, str] | None = None) -> None:
        """Report `done` of `total`."""
        named = label if label.startswith(self._name) else f"{self._name}: {label}"
        self._progress.step(named, done, total, figures)

    def note(self, message: str) -> None:
        """Report a line."""
        self._progress.note(message)


def _function(kind: str) -> Callable[..., Any]:
    """Return the function of a pass, edgefm's own or another package's; see `edgefm.recipes.plugins`."""
    if kind not in FUNCTIONS:
        return cast(Callable[..., Any], pass_plugin(kind).run)
    module, name = FUNCTIONS[kind].split(":")
    return cast(Callable[..., Any], getattr(importlib.import_module(module), name))


def _teachers_sha256(distillation: Distillation | None) -> dict[str, str]:
    if distillation is None:
        return {}
    from edgefm.training.distillation import teacher_file

    return {name: artefacts.sha256_file(teacher_file(name)) for name in distillation.teachers if name != SELF}


def _write(folder: Path, about: dict[str, Any], *, model: Any, int8: bytes | None) -> None:
    """Write a finished pass; where another process has written the same meanwhile, its folder stays."""
    unfinished = _new_unfinished(folder)
    try:
        with scratch.held(unfinished):
            model.save(unfinished / MODEL_FILE)
            if int8 is not None:
                artefacts.write_bytes(unfinished / INT8_FILE, int8)
            about["files"] = {path.name: artefacts.sha256_file(path) for path in sorted(unfinished.iterdir())}
            artefacts.write_json(unfinished / PASS_FILE, about)
            if kept_pass(folder, about["key"]) is None:
                shutil.rmtree(folder, ignore_errors=True)
            try:
                unfinished.rename(folder)
            except OSError:
                if kept_pass(folder, about["key"]) is None:
                    raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _new_unfinished(folder: Path) -> Path:
    """Return an empty folder beside a pass's; what killed processes left there is removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f"{folder.name}.*partial"):
        if not scratch.is_held(left):
            shutil.rmtree(left, ignore_errors=True)
    unfinished = folder.with_name(f"{folder.name}.partial")
    try:
        unfinished.mkdir()
    except FileExistsError:  # another process does the same pass
        return Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".partial", dir=folder.parent))
    return unfinished


def kept_pass(folder: Path, key: str) -> Link | None:
    """Return the pass in a folder if it is whole and of this key, or None."""
    path = folder / PASS_FILE
    try:
        about = read_json(path, what="pass", schema=_PASS_SCHEMA)
        if about["key"] != key:
            return None
        for name, sha256 in about["files"].items():
            if artefacts.sha256_file(inside(folder, name, where=path)) != sha256:
                return None
        return _link(about, folder, cached=True)
    except (OSError, EdgefmError):
        return None


def _link(about: Mapping[str, Any], folder: Path, *, cached: bool) -> Link:
    encoding = about["encoding"]
    if encoding is not None:
        low, high = encoding["value_range"]
        encoding = Preprocessing(**{**encoding, "value_range": (low, high)})
    return Link(
        recipe=about["recipe"],
        key=about["key"],
        folder=folder,
        facts=about["facts"],
        history=tuple(about["history"]),
        seconds=about["seconds"],
        cached=cached,
        encoding=encoding,
    )
