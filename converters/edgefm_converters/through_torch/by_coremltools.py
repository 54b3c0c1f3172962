"""A program of PyTorch as a Core ML package (ML Program, float32); Core ML runs it on macOS alone."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import scratch
from edgefm.core.artefacts import sha256_bytes
from edgefm.core.errors import ModelError

FOLDER = "model.mlpackage"
_MODEL = "Data/com.apple.CoreML/model.mlmodel"
_DATE = "com.github.apple.coremltools.conversion_date"


def write(
    program: Any, inputs: NDArray[Any], folder: Path, *, source: str, outputs: Sequence[str]
) -> tuple[tuple[NDArray[Any], ...] | None, str]:
    """Write a program as a package; equal programs give equal bytes.

    Args:
      program: torch.export.ExportedProgram.
      inputs: samples [n, ...].
      folder: that the package is written into.
      source: name of the input.
      outputs: names of the outputs.
    Returns:
      What it answers the inputs, an array an output, None elsewhere than on macOS; and what converted it.
    Raises:
      ModelError: the package's ends are not those of the program.
    """
    import coremltools

    shape = (1, *inputs.shape[1:])
    model = coremltools.convert(
        program.run_decompositions(),  # coremltools knows few operations beyond the core ones
        convert_to="mlprogram",
        minimum_deployment_target=coremltools.target.iOS16,
        compute_precision=coremltools.precision.FLOAT32,
        inputs=[coremltools.TensorType(name=source, shape=shape, dtype=inputs.dtype.type)],
        outputs=[coremltools.TensorType(name=name) for name in outputs],
        skip_model_load=True,
    )
    with scratch.folder("core-ml") as made:
        model.save(str(made / FOLDER))
        for name, content in reproducible(made / FOLDER).items():
            (folder / FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / FOLDER / name).write_bytes(content)
    wanted = {source: (shape, inputs.dtype.name)}
    given = [tuple(node.meta["val"].shape) for node in program.graph.find_nodes(op="output")[0].args[0]]
    check_ends(folder / FOLDER, wanted, dict(zip(outputs, given, strict=True)))
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("coremltools", "torch", "keras")]
    if platform.system() != "Darwin":
        return None, ", ".join(versions)
    ready = coremltools.models.MLModel(str(folder / FOLDER), compute_units=coremltools.ComputeUnit.CPU_ONLY)
    answers = [ready.predict({source: inputs[place : place + 1]}) for place in range(len(inputs))]
    return tuple(np.concatenate([answer[name] for answer in answers]) for name in outputs), ", ".join(versions)


def reproducible(package: Path) -> dict[str, bytes]:
    """Return the files of a package by path in it, without the day and the random names that coremltools writes."""
    from coremltools.proto import Model_pb2

    spec = Model_pb2.Model()
    spec.ParseFromString((package / _MODEL).read_bytes())
    spec.description.metadata.userDefined.pop(_DATE, None)
    # Beside Data lies what ExecuTorch's debugger would read, which is no part of the package.
    files = [path for path in sorted((package / "Data").rglob("*")) if path.is_file()]
    contents = {path.relative_to(package).as_posix(): path.read_bytes() for path in files}
    contents[_MODEL] = spec.SerializeToString(deterministic=True)
    manifest = json.loads((package / "Manifest.json").read_text(encoding="utf-8"))
    sums = " ".join(sha256_bytes(content) for _, content in sorted(contents.items()))
    entries = manifest["itemInfoEntries"]
    names = {
        old: str(uuid.uuid5(uuid.NAMESPACE_OID, f"{entry['path']} {sums}")).upper() for old, entry in entries.items()
    }
    manifest["itemInfoEntries"] = {names[old]: entry for old, entry in entries.items()}
    manifest["rootModelIdentifier"] = names[manifest["rootModelIdentifier"]]
    text = json.dumps(manifest, indent=4, sort_keys=True) + "\n"
    return {**contents, "Manifest.json": text.encode()}


def check_ends(
    package: Path, inputs: dict[str, tuple[tuple[int, ...], str]], outputs: dict[str, tuple[int, ...]]
) -> None:
    """Raise a ModelError where a package takes or gives other names, shapes or types: read from it, nothing is run.

    Args:
      package: its folder.
      inputs: shape and dtype by name.
      outputs: shape by name; their dtype is float32.
    """
    from coremltools.proto import FeatureTypes_pb2, Model_pb2

    kinds = FeatureTypes_pb2.ArrayFeatureType
    dtypes = {kinds.FLOAT32: "float32", kinds.INT32: "int32", kinds.FLOAT16: "float16", kinds.DOUBLE: "float64"}
    spec = Model_pb2.Model()
    spec.ParseFromString((package / _MODEL).read_bytes())

    def ends(features: Any) -> dict[str, tuple[tuple[int, ...], str]]:
        return {
            each.name: (tuple(each.type.multiArrayType.shape), dtypes.get(each.type.multiArrayType.dataType, "other"))
            for each in features
        }

    found = ends(spec.description.input), ends(spec.description.output)
    wanted = inputs, {name: (shape, "float32") for name, shape in outputs.items()}
    # An output's shape is left open where Core ML works it out.
    same = found[0] == wanted[0] and found[1].keys() == wanted[1].keys()
    same = same and all(
        dtype == "float32" and shape in ((), wanted[1][name][0]) for name, (shape, dtype) in found[1].items()
    )
    if not same:
        raise ModelError(f"the package takes and gives {found}; {wanted} is expected")
