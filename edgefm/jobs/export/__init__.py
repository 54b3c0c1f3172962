"""`edgefm.export`: a model with its contract, golden vectors and code for a target, as a folder that proves itself."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edgefm
from edgefm.core import html
from edgefm.core.arguments import PathLike, as_path, check_items, check_number, check_type
from edgefm.core.errors import ArgumentError, unknown_name
from edgefm.core.picture_steps import ChannelOrder, Filter, Fit, Inversion
from edgefm.core.progress import Progress, shown
from edgefm.core.results import JsonResult
from edgefm.core.task_names import TASKS
from edgefm.jobs.arguments import optional_path
from edgefm.jobs.export.folder import check_target, write
from edgefm.jobs.export.formats import check_formats, check_model, in_formats
from edgefm.jobs.export.microcontroller import accelerator_of, npu_files
from edgefm.jobs.export.models import MICROCONTROLLER, Given, models_meant
from edgefm.jobs.export.parts import data_of, parts_of, writer
from edgefm.jobs.export.pictures import picture_words, sample_pictures
from edgefm.jobs.export.signature import check_key, with_signature

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource

KINDS = ("android", "apk", "c", "python", "web")
_SAMPLES = 20
_MOST_SAMPLES = 1000
_MOST_PICTURES = 100


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """A model of a bundle.

    Attributes:
      name: of its folder in the bundle; '' where the only one lies at the top.
      variant: how it was compressed.
      sha256: of its file.
      size_bytes: of its file.
      golden: number of golden vectors, and where their inputs come from, 'data' or 'random'.
      advice: what the verdict on its run's newest benchmark says of it; '' without one.
    """

    name: str
    variant: str
    sha256: str
    size_bytes: int
    golden: tuple[int, str]
    advice: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {**dataclasses.asdict(self), "golden": {"vectors": self.golden[0], "source": self.golden[1]}}


@dataclass(frozen=True, kw_only=True)
class ExportResult(JsonResult):
    """A bundle that was written.

    Attributes:
      kind: 'android', 'apk', 'c', 'python' or 'web'.
      folder: that holds it.
      files: paths in it, sorted.
      size_bytes: of all files.
      models: that it holds, in the order given.
      beside: variants that answer beside the bundle's own in the page of a web bundle; () for other kinds.
      left_out: models that were left out of that page, each with the reason.
    """

    kind: str
    folder: Path
    files: tuple[str, ...]
    size_bytes: int
    models: tuple[ExportedModel, ...]
    beside: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return {
            "kind": self.kind,
            "folder": str(self.folder),
            "files": list(self.files),
            "size_bytes": self.size_bytes,
            "models": [model.to_json() for model in self.models],
            "beside": list(self.beside),
            "left_out": dict(self.left_out),
        }

    def _repr_html_(self) -> str:
        rows = [
            [self.kind, self.folder / model.name, model.variant, f"{model.size_bytes / 1000:,.1f} KB"]
            for model in self.models
        ]
        return html.table(rows, ["bundle", "folder", "variant", "model file"])


def export(
    model: Given | Mapping[str, Given],
    kind: str,
    *,
    out: PathLike,
    variant: str | None = None,
    data: Dataset | DataSource | PathLike | None = None,
    task: str | None = None,
    labels: Sequence[str] | None = None,
    mean: float | None = None,
    std: float | None = None,
    fit: Fit | None = None,
    filter: Filter | None = None,
    channel_order: ChannelOrder | None = None,
    background: int | None = None,
    invert: Inversion | None = None,
    samples: int = _SAMPLES,
    seed: int = 0,
    pictures: int = 0,
    standalone: bool = False,
    npu: str | None = None,
    formats: Sequence[str] = (),
    beside: Sequence[PathLike] | None = None,
    served: bool = False,
    sign: PathLike | None = None,
    force: bool = False,
    progress: Progress | bool | None = None,
) -> ExportResult:
    """Write a bundle: the model, its contract, golden vectors, a model card and code for a target.

    The same model, data and edgefm give the same bytes. `edgefm.verify` checks a bundle.

    Args:
      model: .tflite file, a folder that holds one with its contract, a run, or (run, variant). For 'android' also
        several of them, by the name of the folder that each gets in the bundle: `{"int8": ("runs/a", "int8_w8a8"),
        "small": "runs/b"}`. The code is there once; an app opens a model by its folder.
      kind: 'android' (an app's module), 'apk' (an app that shows the page for browsers), 'c' (microcontrollers),
        'python' (a Raspberry Pi, a server) or 'web' (one page that runs in a browser).
      out: folder of the bundle; it must not exist, or be empty, unless `force`.
      variant: of a single run; by default the one that the verdict on its newest benchmark recommends for the target,
        its reference where none is recommended, and int8_w8a8 without a benchmark.
      data: test samples for golden inputs; by default those of the run; of a file alone, random inputs are taken.
      task: what a file without a contract is for: 'classification', 'multilabel', 'regression', 'reconstruction' or
        'segmentation' (a class for each pixel); by default that of the data, 'classification' without. One with a
        contract takes none but its own, as what follows.
      labels: class names for a file without a contract.
      mean: for a file without a contract: input = (pixel - mean) / std.
      std: see `mean`.
      fit: how a picture of another size gets in: 'stretch', 'contain' or 'cover'; None keeps what the contract says,
        and of a file without one means 'stretch'. See `edgefm.core.picture_steps.PictureSteps` for all of these.
      filter: of resizing: 'nearest', 'box', 'bilinear', 'bicubic' or 'lanczos'; without a contract 'bilinear'.
      channel_order: 'rgb' or 'bgr', of a model of three channels.
      background: level around a picture that is contained, 0 to 255.
      invert: when brightness is inverted: 'asked', 'light_border' (a picture on a light background) or 'always'.
      samples: number of golden vectors, 1 to 1000.
      seed: draws them, and the pictures.
      pictures: test pictures of each class that the bundle holds as PNG, to try it with; those of the first model's
        data.
      standalone: of the kind 'c': add the network as C that needs no interpreter; other kinds take no notice.
      npu: of the kind 'c': an Ethos-U accelerator, e.g. 'ethos-u55-128': add the file that vela compiles for it, with
        its estimate; other kinds take no notice.
      formats: other formats that the bundle holds the model in, too: 'onnx'; of a float32 variant of a run also
        'coreml' and 'executorch', from the Keras model behind it.
      beside: of the kind 'web': other models that answer the same pictures in the page: names of variants of the run,
        .tflite files with their contract, or folders that hold one. None takes float32 (float16 where that is too
        large), int8_w8a8 and the smallest file of the run; () takes none. The page in one file has at most 5 MB: what
        does not fit is left out of it, and said.
      served: of the kind 'web': add a folder for a web server, with LiteRT.js for several threads and all models.
      sign: private elliptic-curve key in PEM: the bundle gets `model.sig`, a signature in OpenSSF's model signing
        format over all of its files. The password of a key is taken from EDGEFM_KEY_PASSWORD.
      force: replace a bundle that is there; nothing else is ever replaced, no file that others put into it either.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type, or out of range.
      RecipeError: an unknown kind, variant, or name of a way in which pictures get in, or a key that cannot be used.
      ModelError: the file cannot be read, or code for this target or another format cannot be written for it; it takes
        no pictures, and was told how they get in.
      DataError: the data cannot be read, or do not fit.
      RunError: the run has no TFLite files, or the folder holds something else.
      RuntimeUnavailableError: jinja2, cyclonedx-python-lib, LiteRT.js for a page, or a tool for an APK is missing; to
        sign, model-signing; for another format, the library that writes it.
      TargetError: vela is not installed, or does not know the accelerator.
    """
    from edgefm.jobs.export.microcontroller import network
    from edgefm.jobs.export.several import USE, several_files
    from edgefm_converters.bundles.manifest import with_manifest
    from edgefm_converters.bundles.parts import common_files

    if kind not in KINDS:
        raise unknown_name("kind of bundle", kind, KINDS)
    check_type(force, "force", bool, "True or False")
    check_type(served, "served", bool, "True or False")
    if beside is not None:
        check_items(beside, "beside", (str, os.PathLike), "the name of a variant, or a path")
    check_type(standalone, "standalone", bool, "True or False")
    check_type(npu, "npu", (str, type(None)), "the name of an accelerator")
    accelerator = None if npu is None or kind not in MICROCONTROLLER else accelerator_of(npu)
    check_items(formats, "formats", str, "the name of a format")
    check_formats(formats)
    check_number(samples, "samples", int)
    if not 1 <= samples <= _MOST_SAMPLES:
        raise ArgumentError(f"samples is {samples}; 1 to {_MOST_SAMPLES:,} is expected")
    check_number(seed, "seed", int)
    check_number(pictures, "pictures", int)
    if not 0 <= pictures <= _MOST_PICTURES:
        raise ArgumentError(f"pictures is {pictures}; 0 to {_MOST_PICTURES} are expected")
    check_type(task, "task", (str, type(None)), "the name of a task")
    if task is not None and task not in TASKS:
        raise unknown_name("task", task, TASKS)
    if labels is not None:
        check_items(labels, "labels", str, "the name of a class")
    key = optional_path(sign, "sign")
    if key is not None:
        check_key(key)
    ways: dict[str, Any] = {
        "fit": fit, "filter": filter, "channel_order": channel_order, "background": background, "invert": invert
    }  # fmt: skip
    target = as_path(out, "out")
    check_target(target, force=force)
    module = writer(kind)
    with shown(progress) as receiver:
        meant = models_meant(model, kind, variant)
        for each in meant.values():
            check_model(each, formats)
        datasets = {name: data_of(each, data, receiver, task=task) for name, each in meant.items()}
        first = next(iter(datasets.values()))
        shots = sample_pictures(first, pictures, seed=seed)
        words = picture_words(shots, first)
        parts = {
            name: parts_of(
                each,
                kind,
                dataset=datasets[name],
                task=task,
                labels=labels,
                mean=mean,
                std=std,
                pictures=ways,
                beside=beside,
                served=served,
                samples=samples,
                seed=seed,
                use=USE if name else module.USE + words,
                progress=receiver,
            )
            for name, each in meant.items()
        }
        if "" in parts:
            only = parts[""]
            if standalone and kind in MICROCONTROLLER:
                only = dataclasses.replace(only, network=network(meant[""].path))
            others = in_formats(meant[""], only, formats)
            only = dataclasses.replace(only, card=only.card + others.words)
            files = {**common_files(only, module.NEEDS), **module.files(only), **others.files}
            files |= {} if accelerator is None else npu_files(meant[""].path, accelerator)
        else:
            written = {name: in_formats(meant[name], part, formats) for name, part in parts.items()}
            parts = {
                name: dataclasses.replace(part, card=part.card + written[name].words) for name, part in parts.items()
            }
            files = several_files(meant, parts, pictures=words)
            for name, others in written.items():
                files |= {f"{name}/{path}": content for path, content in others.files.items()}
        files = with_manifest({**files, **shots}, kind=kind, written_by=f"edgefm {edgefm.__version__}")
        if key is not None:
            files = with_signature(files, key)
        check_target(target, force=force)  # another may have put something into it meanwhile
        write(target, files, force=force)
    pages = parts[""].web if "" in parts else None
    return ExportResult(
        kind=kind,
        folder=target,
        files=tuple(sorted(files)),
        size_bytes=sum(len(content) for content in files.values()),
        models=tuple(
            ExportedModel(
                name=name,
                variant=meant[name].variant or part.contract.variant,
                sha256=part.contract.sha256,
                size_bytes=len(part.model),
                golden=(len(part.golden), str(part.golden.source["kind"])),
                advice=meant[name].advice,
            )
            for name, part in parts.items()
        ),
        beside=() if pages is None else pages.beside,
        left_out=() if pages is None else pages.left_out,
    )
