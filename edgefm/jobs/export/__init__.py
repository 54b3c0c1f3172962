"""`edgefm.export`: a model with its contract, golden vectors and code for a target, as a folder that proves itself."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core import artefacts, html
from edgefm.core.arguments import PathLike, as_path, check_items, check_number, check_type
from edgefm.core.errors import ArgumentError, EdgefmError, RunError, unknown_name
from edgefm.core.progress import Progress, shown
from edgefm.core.results import JsonResult
from edgefm.jobs.arguments import optional_path
from edgefm.jobs.export.formats import check_formats, in_formats
from edgefm.jobs.export.npu import accelerator_of, npu_files
from edgefm.jobs.export.parts import MICROCONTROLLER, model_meant, parts_of, writer
from edgefm.jobs.export.signature import check_key, with_signature
from edgefm.jobs.quantize import TfliteFile

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource

KINDS = ("android", "c", "python", "web")
_SAMPLES = 20
_MOST_SAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class ExportResult(JsonResult):
    """A bundle that was written.

    Attributes:
      kind: 'android', 'c', 'python' or 'web'.
      folder: that holds it.
      files: paths in it, sorted.
      size_bytes: of all files.
      variant: of the model.
      sha256: of the model file.
      golden: number of golden vectors, and where their inputs come from, 'data' or 'random'.
      beside: variants that answer beside the bundle's own in the page of a web bundle; () for other kinds.
      left_out: models that were left out of that page, each with the reason.
    """

    kind: str
    folder: Path
    files: tuple[str, ...]
    size_bytes: int
    variant: str
    sha256: str
    golden: tuple[int, str]
    beside: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return {
            **{name: getattr(self, name) for name in ("kind", "size_bytes", "variant", "sha256")},
            "folder": str(self.folder),
            "files": list(self.files),
            "golden": {"vectors": self.golden[0], "source": self.golden[1]},
            "beside": list(self.beside),
            "left_out": dict(self.left_out),
        }

    def _repr_html_(self) -> str:
        rows = [[self.kind, self.folder, self.variant, len(self.files), f"{self.size_bytes / 1000:,.1f} KB"]]
        return html.table(rows, ["bundle", "folder", "variant", "files", "size"])


def export(
    model: PathLike | TfliteFile,
    kind: str,
    *,
    out: PathLike,
    variant: str | None = None,
    data: Dataset | DataSource | PathLike | None = None,
    labels: Sequence[str] | None = None,
    mean: float | None = None,
    std: float | None = None,
    samples: int = _SAMPLES,
    seed: int = 0,
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
      model: .tflite file, a folder that holds one with its contract, or a run.
      kind: 'android' (phones), 'c' (microcontrollers), 'python' (a Raspberry Pi, a server) or 'web' (one page that runs
        in a browser).
      out: folder of the bundle; it must not exist, or be empty, unless `force`.
      variant: of a run; by default the one that the verdict on its newest benchmark recommends for the target, its
        reference where none is recommended, and int8_w8a8 without a benchmark.
      data: test samples for golden inputs; by default those of the run; of a file alone, random inputs are taken.
      labels: class names for a file without a contract.
      mean: for a file without a contract: input = (pixel - mean) / std.
      std: see `mean`.
      samples: number of golden vectors, 1 to 1000.
      seed: draws them.
      standalone: of the kind 'c': add the network as C that needs no interpreter; other kinds take no notice.
      npu: of the kind 'c': an Ethos-U accelerator, e.g. 'ethos-u55-128': add the file that vela compiles for it, with
        its estimate; other kinds take no notice.
      formats: other formats that the bundle holds the model in, too: 'onnx'.
      beside: of the kind 'web': other models that answer the same pictures in the page: names of variants of the run,
        .tflite files with their contract, or folders that hold one. None takes float32 (float16 where that is too
        large), int8_w8a8 and the smallest file of the run; () takes none. The page in one file has at most 5 MB: what
        does not fit is left out of it, and said.
      served: of the kind 'web': add a folder for a web server, with LiteRT.js for several threads and all models.
      sign: private elliptic-curve key in PEM: the bundle gets `model.sig`, a signature in OpenSSF's model signing
        format over all of its files. The password of a key is taken from EDGEFM_KEY_PASSWORD.
      force: replace a bundle that is there; nothing else is ever replaced.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type, or out of range.
      RecipeError: an unknown kind or variant, or a key that cannot be used.
      ModelError: the file cannot be read, or code for this target or another format cannot be written for it.
      DataError: the data cannot be read, or do not fit.
      RunError: the run has no TFLite files, or the folder holds something else.
      RuntimeUnavailableError: jinja2, cyclonedx-python-lib or, for a page, LiteRT.js is not installed; to sign,
        model-signing.
      TargetError: vela is not installed, or does not know the accelerator.
    """
    from edgefm.jobs.export.network import network
    from edgefm.jobs.export.web import names_beside
    from edgefm_converters.bundles.manifest import FILE_NAME, with_manifest
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
    if labels is not None:
        check_items(labels, "labels", str, "the name of a class")
    key = optional_path(sign, "sign")
    if key is not None:
        check_key(key)
    target = as_path(out, "out")
    check_target(target, force=force, manifest_name=FILE_NAME)
    with shown(progress) as receiver:
        run, path, chosen = model_meant(model, kind, variant)
        parts, left_out = parts_of(
            run, path, kind, data=data, beside=beside, served=served, labels=labels, mean=mean, std=std,
            samples=samples, seed=seed, progress=receiver,
        )  # fmt: skip
        if standalone and kind in MICROCONTROLLER:
            parts = dataclasses.replace(parts, network=network(path))
        module = writer(kind)
        own = module.files(parts)
        others = in_formats(path, formats)
        others |= {} if accelerator is None else npu_files(path, accelerator)
        files = with_manifest(
            {**common_files(parts, module.NEEDS), **own, **others}, kind=kind, written_by=f"edgefm {parts.version}"
        )
        if key is not None:
            files = with_signature(files, key)
        _write(target, files)
    return ExportResult(
        kind=kind,
        folder=target,
        files=tuple(sorted(files)),
        size_bytes=sum(len(content) for content in files.values()),
        variant=chosen or parts.contract.variant,
        sha256=parts.contract.sha256,
        golden=(len(parts.golden), str(parts.golden.source["kind"])),
        beside=names_beside(parts),
        left_out=left_out,
    )


def check_target(target: Path, *, force: bool, manifest_name: str) -> None:
    """Raise a RunError unless a bundle may be written to a folder: a new or empty one, or with `force` a bundle."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not target.is_dir():
        raise RunError(f"{target} is a file; a folder is expected", hint="Give a new folder.")
    if not (target / manifest_name).is_file():
        raise RunError(f"{target} exists and holds something else than a bundle", hint="Give a new folder.")
    if not force:
        raise RunError(
            f"{target} holds a bundle already", hint="Give a new folder, or say that this one is to be replaced: force."
        )


def _write(target: Path, files: Mapping[str, bytes]) -> None:
    try:
        artefacts.exchange_folder(target, files)
    except OSError as error:
        raise EdgefmError(
            f"{target} cannot be written: {error.strerror or error}",
            hint="Choose another folder, or check that this one is writable and that the disk is not full.",
        ) from error
