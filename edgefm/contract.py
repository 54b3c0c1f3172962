"""The contract of a model file: what goes in, what comes out, and how the file was made.

It is written as `contract.json` beside each .tflite file, so that an app (or this library) can feed the model
without guessing. Pixels are always uint8 in [0, 255]; the contract says what the model wants instead.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm import artefacts
from edgefm.errors import ModelError

SCHEMA_VERSION = 1
FILE_NAME = "contract.json"


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One end of a model.

    Attributes:
      name: tensor name in the signature.
      dtype: 'float32', 'uint8' or 'int8'.
      shape: with the fixed batch of 1, e.g. (1, 28, 28, 1).
      scale: real = scale * (q - zero_point); None for a float tensor.
      zero_point: see `scale`.
      value_range: least and greatest real value.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float | None
    zero_point: int | None
    value_range: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What goes into a model file, what comes out, and how it was made.

    Attributes:
      name: name of the architecture or of the source file.
      variant: how it was compressed, e.g. 'int8_w8a8'.
      file: name of the model file beside the contract.
      sha256: of the model file.
      size_bytes: of the model file.
      input: input tensor.
      output: output tensor: one probability a label.
      mean: real input = (pixel - mean) / std, before quantising.
      std: see `mean`.
      labels: class names in the order of the output.
      made_by: versions, recipe, source, calibration, folding and parity, as JSON.
    """

    name: str
    variant: str
    file: str
    sha256: str
    size_bytes: int
    input: Tensor
    output: Tensor
    mean: float
    std: float
    labels: tuple[str, ...]
    made_by: Mapping[str, Any] = field(default_factory=dict)

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Return pixels as the model wants them.

        Args:
          pixels: uint8 [n, height, width, channels], 0 to 255.
        Returns:
          array of `input.dtype`, same shape; real = (pixel - mean) / std, quantised where the input is.
        Raises:
          ModelError: the pixels have another dtype or size than the input.
        """
        if pixels.dtype != np.uint8:
            raise ModelError(f"pixels have dtype {pixels.dtype}; uint8 in 0 to 255 is expected")
        if pixels.shape[1:] != self.input.shape[1:]:
            raise ModelError(
                f"pictures of shape {pixels.shape[1:]} do not fit the input {self.input.shape[1:]} of {self.file}"
            )
        if self._takes_raw_pixels():
            return pixels
        real = (pixels.astype(np.float32) - np.float32(self.mean)) / np.float32(self.std)
        return quantize(real, self.input)

    def decode(self, output: NDArray[Any]) -> NDArray[np.float32]:
        """Return model outputs as real numbers, float32 of the same shape."""
        if self.output.scale is None or self.output.zero_point is None:
            return output.astype(np.float32)
        real = (output.astype(np.float32) - self.output.zero_point) * np.float32(self.output.scale)
        return real.astype(np.float32)

    def input_formula(self) -> str:
        """Return how a pixel becomes an input value, in words a programmer can type."""
        if self._takes_raw_pixels():
            return "q = pixel"
        centred = f"(pixel - {self.mean:g})" if self.mean else "pixel"
        real = centred if self.std == 1 else f"{centred} / {self.std:g}"
        if self.input.scale is None:
            return f"x = {real}"
        return f"q = clamp(round({real} / {self.input.scale!r}) + {self.input.zero_point})"

    def output_formula(self) -> str:
        """Return how an output value becomes a probability."""
        if self.output.scale is None:
            return "probability = y"
        level = f"(q - {self.output.zero_point})" if self.output.zero_point else "q"
        return f"probability = {level} * {self.output.scale!r}"

    def to_json(self) -> dict[str, Any]:
        """Return the contract as a JSON object; formulas and labels are spelt out for a reader."""
        value = asdict(self)
        value["preprocessing"] = {
            "formula": self.input_formula(),
            "pixel": "uint8 grey or colour level, 0 to 255",
            "mean": value.pop("mean"),
            "std": value.pop("std"),
        }
        value["postprocessing"] = {"formula": self.output_formula()}
        return {"kind": "model-contract", "schema_version": SCHEMA_VERSION, **value}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Contract:
        """Return the contract that `to_json` wrote."""
        if value.get("kind") != "model-contract":
            raise ModelError("this JSON is no model contract")
        if value["schema_version"] > SCHEMA_VERSION:
            raise ModelError(
                f"contract of schema version {value['schema_version']}; this edgefm reads up to {SCHEMA_VERSION}",
                hint="Upgrade with: pip install -U edgefm",
            )
        return cls(
            name=value["name"],
            variant=value["variant"],
            file=value["file"],
            sha256=value["sha256"],
            size_bytes=value["size_bytes"],
            input=_tensor(value["input"]),
            output=_tensor(value["output"]),
            mean=value["preprocessing"]["mean"],
            std=value["preprocessing"]["std"],
            labels=tuple(value["labels"]),
            made_by=value["made_by"],
        )

    def write(self, folder: Path) -> Path:
        """Write `contract.json` into a folder and return its path."""
        return artefacts.write_json(folder / FILE_NAME, self.to_json())

    def _takes_raw_pixels(self) -> bool:
        quantised = (self.input.dtype, self.input.zero_point) == ("uint8", 0)
        return (
            quantised
            and self.mean == 0
            and self.input.scale is not None
            and math.isclose(self.input.scale * self.std, 1, rel_tol=1e-6)
        )


def read(model: Path) -> Contract | None:
    """Return the contract beside a model file, or None where there is none for it.

    Raises:
      ModelError: the contract is damaged, or the file's content is not the one it was written for.
    """
    path = model.with_name(FILE_NAME)
    if not path.is_file():
        return None
    try:
        contract = Contract.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the contract {path} is damaged: {error}") from error
    if contract.file != model.name:
        return None
    found = artefacts.sha256_file(model)
    if found != contract.sha256:
        raise ModelError(
            f"{model} is not the file its contract was written for: sha256 {found}, expected {contract.sha256}",
            hint="Write the model again with edgefm quantize, or remove the contract.",
        )
    return contract


def quantize(real: NDArray[np.float32], tensor: Tensor) -> NDArray[Any]:
    """Return real values in a tensor's own dtype: q = clamp(round(real / scale) + zero_point).

    Source: Jacob et al. 2018, arXiv:1712.05877.
    """
    if tensor.scale is None or tensor.zero_point is None:
        return real.astype(tensor.dtype)
    limits = np.iinfo(tensor.dtype)
    levels = np.round(real / np.float32(tensor.scale)) + tensor.zero_point
    return np.clip(levels, limits.min, limits.max).astype(tensor.dtype)


def _tensor(value: Mapping[str, Any]) -> Tensor:
    low, high = value["value_range"]
    return Tensor(**{**value, "shape": tuple(value["shape"]), "value_range": (low, high)})
