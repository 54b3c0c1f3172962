"""Golden vectors: inputs of a model as bytes with the answers of each kernel family, for a self-test on the target.

A bundle holds `golden/golden.json` and, for each sample, `golden/NN.in.bin` (the input tensor as it is given to the
runtime, C order, little endian), `golden/NN.FAMILY.bin` (the output tensors, one after the other) and, where pictures
go in, `golden/NN.png` (the same sample as a picture of the input's size, red first).

Kernels of one family answer alike, to within its tolerance; those of two families round differently, and both are
right (docs/agreement.md). So an answer is held against the nearest family, not against a single truth.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import documents
from edgefm.core.artefacts import json_bytes
from edgefm.core.errors import ModelError, missing_extra
from edgefm.tflite.contract import Contract, Tensor

FOLDER = "golden"
FILE_NAME = f"{FOLDER}/golden.json"
SCHEMA_VERSION = 2  # 1 has one tolerance for all outputs of a family
_SCHEMA = "golden-vectors-2"
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_LEAST_MAGNITUDE = 1e-30
_AGAIN = "Write the bundle again with: edgefm export"


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far answers of other kernels of a family may lie from those of the reference.

    Attributes:
      largest: largest difference of a value: quantisation levels of an integer output, else a share of the largest
        magnitude of that output; the widest of all outputs.
      share: largest share of the values that may differ at all, over all outputs.
      outputs: largest difference of each output, in its own unit; () where `largest` is that of all.
    """

    largest: float
    share: float
    outputs: tuple[float, ...] = ()

    def each(self, count: int) -> tuple[float, ...]:
        """Return the largest difference of each of `count` outputs.

        >>> Tolerance(largest=1, share=0.1).each(2), Tolerance(largest=1, share=0.1, outputs=(1, 0.01)).each(2)
        ((1, 1), (1, 0.01))
        """
        assert len(self.outputs) in (0, count), "one for each output"
        return self.outputs or (self.largest,) * count

    def holds(self, largest: Sequence[float], share: float) -> bool:
        """Return whether differences of `differences` are within it."""
        allowed = self.each(len(largest))
        return share <= self.share and all(one <= most for one, most in zip(largest, allowed, strict=True))


@dataclass(frozen=True, kw_only=True)
class FamilyAnswers:
    """What one kernel family answers.

    Attributes:
      name: 'xnnpack', 'builtin', 'float'.
      title: for a person.
      made_by: runtime, kernel set, version and instruction set that gave the answers.
      tolerance: of other builds of these kernels; the very same build answers bit for bit.
      outputs: one array an output, [n, ...] in its own dtype.
    """

    name: str
    title: str
    made_by: str
    tolerance: Tolerance
    outputs: tuple[NDArray[Any], ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class GoldenVectors:
    """Inputs with the answers of each family.

    Attributes:
      inputs: [n, ...] in the model's dtype, without the batch of 1.
      families: at least one.
      labels: true classes, [n]; None where there are none.
      source: where the inputs come from, as JSON: 'data' with the data set's name, or 'random' with the reason.
    """

    inputs: NDArray[Any] = field(repr=False)
    families: tuple[FamilyAnswers, ...]
    labels: tuple[int, ...] | None
    source: Mapping[str, Any] = field(hash=False)

    def __len__(self) -> int:
        return len(self.inputs)


def golden_files(vectors: GoldenVectors, contract: Contract) -> dict[str, bytes]:
    """Return the files of golden vectors by their path in the bundle; equal vectors give equal bytes.

    Raises:
      RuntimeUnavailableError: Pillow, which writes the pictures, is not installed.
    """
    files: dict[str, bytes] = {}
    entries = []
    for place in range(len(vectors)):
        stem = f"{FOLDER}/{place:02d}"
        entry: dict[str, Any] = {"input": f"{stem}.in.bin", "picture": None, "label": None, "answers": {}}
        files[entry["input"]] = little_endian(vectors.inputs[place])
        pixels = _pixels(vectors.inputs[place], contract)
        if pixels is not None:
            entry["picture"] = f"{stem}.png"
            files[f"{stem}.png"] = _png(pixels)
        if vectors.labels is not None:
            entry["label"] = int(vectors.labels[place])
        for family in vectors.families:
            name = f"{stem}.{family.name}.bin"
            entry["answers"][family.name] = name
            files[name] = b"".join(little_endian(output[place]) for output in family.outputs)
        entries.append(entry)
    head = {
        "kind": "golden-vectors",
        "schema_version": SCHEMA_VERSION,
        "model_sha256": contract.sha256,
        "samples": len(vectors),
        "byte_order": "little endian",
        "source": dict(vectors.source),
        "input": _end(contract.input),
        "outputs": [_end(tensor) for tensor in contract.outputs],
        "families": [_family(family) for family in vectors.families],
        "vectors": entries,
    }
    return {FILE_NAME: json_bytes(head), **files}


def read_golden(bundle: Path, *, of: Contract | None = None) -> GoldenVectors:
    """Return the golden vectors of a bundle's folder.

    Args:
      bundle: its folder.
      of: the contract of the model that they must be of; None takes those of any.
    Raises:
      ModelError: they are missing or damaged, of another model, or a newer edgefm wrote them.
    """
    value = documents.read_versioned(
        bundle / FILE_NAME, what="golden vectors", newest=SCHEMA_VERSION, schema=_SCHEMA, error=ModelError, hint=_AGAIN
    )
    if of is not None and value["model_sha256"] != of.sha256:
        raise ModelError(f"{bundle / FILE_NAME} holds the golden vectors of another model", hint=_AGAIN)
    if of is not None and (value["input"], value["outputs"]) != (_end(of.input), [_end(end) for end in of.outputs]):
        raise ModelError(f"{bundle / FILE_NAME} says of other inputs and outputs than the contract", hint=_AGAIN)
    count, inside = value["samples"], _Inside(bundle)
    if len(value["vectors"]) != count:
        raise ModelError(f"{bundle / FILE_NAME} says {count} samples and lists {len(value['vectors'])}", hint=_AGAIN)
    inputs = np.stack([inside.arrays(vector["input"], [value["input"]])[0] for vector in value["vectors"]])
    families = []
    for family in value["families"]:
        answers = [inside.arrays(vector["answers"][family["name"]], value["outputs"]) for vector in value["vectors"]]
        outputs = tuple(np.stack(arrays) for arrays in zip(*answers, strict=True))
        each = tuple(family["tolerance"].get("outputs", ()))
        if len(each) not in (0, len(value["outputs"])):
            raise ModelError(f"{bundle / FILE_NAME} says {len(each)} tolerances of {len(outputs)} outputs", hint=_AGAIN)
        tolerance = Tolerance(**{**family["tolerance"], "outputs": each})
        families.append(FamilyAnswers(**{**family, "tolerance": tolerance}, outputs=outputs))
    labels = [vector["label"] for vector in value["vectors"]]
    return GoldenVectors(
        inputs=inputs,
        families=tuple(families),
        labels=None if None in labels else tuple(labels),
        source=value["source"],
    )


class _Inside:
    """Reads the arrays of a bundle's files, and nothing outside of it."""

    def __init__(self, bundle: Path) -> None:
        self._bundle = bundle

    def arrays(self, name: str, ends: list[Mapping[str, Any]]) -> list[NDArray[Any]]:
        """Return the arrays that a file holds one after the other."""
        path = documents.inside(self._bundle, name, where=self._bundle / FILE_NAME, error=ModelError)
        dtypes = [np.dtype(end["dtype"]).newbyteorder("<") for end in ends]
        sizes = [dtype.itemsize * int(np.prod(end["shape"])) for dtype, end in zip(dtypes, ends, strict=True)]
        if not path.is_file() or path.stat().st_size != sum(sizes):
            found = f"{path.stat().st_size:,} bytes" if path.is_file() else "no file"
            raise ModelError(f"{path}: {sum(sizes):,} bytes are expected, found is {found}", hint=_AGAIN)
        content, arrays, start = path.read_bytes(), [], 0
        for dtype, size, end in zip(dtypes, sizes, ends, strict=True):
            array = np.frombuffer(content[start : start + size], dtype).reshape(end["shape"])
            arrays.append(array.astype(dtype.newbyteorder("=")))
            start += size
        return arrays


def differences(outputs: Sequence[NDArray[Any]], wanted: Sequence[NDArray[Any]]) -> tuple[tuple[float, ...], float]:
    """Return the largest difference of each output and the share of values that differ, as a `Tolerance` counts them.

    The self-tests of bundles count in the same way. Two NaN in one place are equal in size, and differ.

    >>> differences([np.array([1, 5], np.int8)], [np.array([1, 3], np.int8)])
    ((2.0,), 0.5)
    """
    largest: list[float] = []
    other, total = 0, 0
    for one, two in zip(outputs, wanted, strict=True):
        here, there = one.reshape(two.shape).astype(np.float64), two.astype(np.float64)
        apart = np.abs(here - there)
        apart[np.isnan(here) & np.isnan(there) | (here == there)] = 0.0
        unit = 1.0 if two.dtype.kind in "iu" else max(float(np.nanmax(np.abs(there), initial=0.0)), _LEAST_MAGNITUDE)
        largest.append(float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max(initial=0.0)) / unit)
        other, total = other + int((here != there).sum()), total + here.size
    return tuple(largest), other / max(total, 1)


def little_endian(values: NDArray[Any]) -> bytes:
    """Return the bytes of an array in C order, little endian."""
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()


def _family(family: FamilyAnswers) -> dict[str, Any]:
    value = {name: value for name, value in asdict(family).items() if name != "outputs"}
    return {**value, "tolerance": {**value["tolerance"], "outputs": list(family.tolerance.each(len(family.outputs)))}}


def _end(tensor: Tensor) -> dict[str, Any]:
    """Return one end as JSON; the shape is that of one sample, without the batch."""
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape[1:]),
        "scale": tensor.scale,
        "zero_point": tensor.zero_point,
    }


def _pixels(values: NDArray[Any], contract: Contract) -> NDArray[np.uint8] | None:
    """Return an input as the pixels it was made of, red first; None where no pictures go in, or they give another."""
    if not contract.takes_pictures:
        return None
    real = values.astype(np.float32)
    if contract.input.scale is not None and contract.input.zero_point is not None:
        real = (real - contract.input.zero_point) * np.float32(contract.input.scale)
    pixels = contract.ordered(np.clip(np.round(real * contract.std + contract.mean), 0, 255).astype(np.uint8))
    return pixels if np.array_equal(contract.encode(pixels[np.newaxis])[0], values) else None


def _png(pixels: NDArray[np.uint8]) -> bytes:
    try:
        from PIL import Image
    except ImportError:
        raise missing_extra("Pillow", "pictures") from None
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, mode=_MODES[pixels.shape[-1]])
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=False)
    return stream.getvalue()
