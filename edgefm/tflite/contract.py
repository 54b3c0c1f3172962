"""The contract of a model file: what goes in, what comes out, and how the file was made.

It is written as `contract.json` beside each .tflite file, so that an app (or this library) can feed the model
without guessing. Pixels are always uint8 in [0, 255]; the contract says what the model wants instead. Floats are
real inputs already.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import artefacts, documents, joined
from edgefm.core.errors import ModelError
from edgefm.core.picture_steps import PictureSteps, check_steps, chosen
from edgefm.tflite.contract_tensor import Tensor as Tensor
from edgefm.tflite.contract_tensor import dequantize as dequantize
from edgefm.tflite.contract_tensor import quantize as quantize
from edgefm.tflite.contract_tensor import tensor_json, tensor_of
from edgefm.tflite.contract_versions import former_pictures

SCHEMA_VERSION = 3
_SCHEMA = "model-contract-3"
FILE_NAME = "contract.json"
_PICTURE_CHANNELS, _COLOURS = (1, 3, 4), 3
NO_PIXELS_HINT = (
    "Give floats as the model takes them; or quantize again with the value range that it takes for pixels 0 and "
    "255, or with uint8 pixels as data and the normalisation inside the model."
)


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
      outputs: output tensors in the model's order; of a classifier the first has one probability a label, or one
        alone: that of the second of two labels.
      mean: real input = (pixel - mean) / std, before quantising.
      std: see `mean`.
      labels: class names in the order of the first output; () where it holds no classes.
      no_pixels: why no pictures go in, only real inputs; None where pixels do, by the formula.
      pictures: how a picture file becomes pixels; it says nothing where no pictures go in.
      made_by: versions, recipe, source, calibration, folding, parity and the proof by pictures, as JSON.
      task: 'classification', 'multilabel' (each label is there or not), or another one; '' where it is not known.
      head: what the first output holds: 'softmax' or 'sigmoid' (probabilities), 'logits' (scores before either),
        'values' (no scores of labels); '' where it is not known: then scores of labels are probabilities.
    """

    name: str
    variant: str
    file: str
    sha256: str
    size_bytes: int
    input: Tensor
    outputs: tuple[Tensor, ...]
    mean: float
    std: float
    labels: tuple[str, ...]
    no_pixels: str | None = None
    pictures: PictureSteps = field(default_factory=PictureSteps)
    made_by: Mapping[str, Any] = field(default_factory=dict)
    task: str = ""
    head: str = ""

    @property
    def takes_pictures(self) -> bool:
        """Whether pictures go in: pixels, grey, RGB or RGBA."""
        return self.no_pixels is None and len(self.input.shape) == 4 and self.input.shape[-1] in _PICTURE_CHANNELS

    @property
    def blue_first(self) -> bool:
        """Whether the model takes blue, green and red, in this order."""
        return self.takes_pictures and self.input.shape[-1] == _COLOURS and self.pictures.channel_order == "bgr"

    @property
    def output(self) -> Tensor:
        """The first output."""
        return self.outputs[0]

    def ordered(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return uint8 pixels [..., channels], red first, in the order of the model's channels; or back again."""
        return np.ascontiguousarray(pixels[..., ::-1]) if self.blue_first else pixels

    def real(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Return samples as real inputs, float32 of the same shape: pixels by the formula, floats and tokens as given.

        Raises:
          ModelError: they are neither uint8 pixels nor floats, or pixels where the model takes none; of several inputs,
            one is missing or of another shape.
        """
        if self.input.parts:
            self._check_parts(samples)
            return samples
        if samples.dtype == np.uint8:
            if self.no_pixels is not None:
                raise ModelError(f"{self.file} takes no pixels: {self.no_pixels}", hint=NO_PIXELS_HINT)
            real = (self.ordered(samples).astype(np.float32) - np.float32(self.mean)) / np.float32(self.std)
            return real.astype(np.float32)
        if samples.dtype.kind in "iu" and self.takes_tokens:
            return samples
        if samples.dtype.kind != "f":
            raise ModelError(
                f"samples have dtype {samples.dtype}; uint8 pixels in 0 to 255 or floats (real inputs) are expected"
            )
        return samples.astype(np.float32, copy=False)

    @property
    def takes_tokens(self) -> bool:
        """Whether the input is whole numbers, such as tokens, which go in as they are."""
        return self.input.scale is None and self.input.dtype in ("int32", "int64")

    def encode(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Return samples as the model wants them.

        Args:
          samples: uint8 pixels [n, height, width, channels], 0 to 255, red first; or floats [n, ...], which are real
            inputs.
        Returns:
          array of `input.dtype`, same shape; real = (pixel - mean) / std, quantised where the input is.
        Raises:
          ModelError: the samples have another dtype or shape than the input, or are pixels where it takes none.
        """
        if not self.input.parts and samples.shape[1:] != self.input.shape[1:]:
            raise ModelError(
                f"samples of shape {samples.shape[1:]} do not fit the input {self.input.shape[1:]} of {self.file}"
            )
        if samples.dtype == np.uint8 and self.takes_raw_pixels():
            return self.ordered(samples)
        return quantize(self.real(samples), self.input)

    def _check_parts(self, samples: NDArray[Any]) -> None:
        """Raise a ModelError unless samples have a field of the name and shape of each input."""
        fields: Mapping[str, Any] = samples.dtype.fields or {}
        wanted = {part.name: part.shape[1:] for part in self.input.parts}
        if {name: field[0].shape for name, field in fields.items()} != wanted:
            takes = ", ".join(f"'{name}' {list(shape)}" for name, shape in wanted.items())
            raise ModelError(
                f"{self.file} takes the inputs {takes}; given was: {joined.described(samples) or 'one array'}",
                hint="Give an array [n, ...] for each input, by its name.",
            )

    def decode(self, output: NDArray[Any]) -> NDArray[np.float32]:
        """Return values of the first output as real numbers, float32 of the same shape."""
        return dequantize(output, self.output)

    def probabilities(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return decoded scores of labels, float32 [n, units], as probabilities of the same shape.

        Logits go through a softmax, or, where each score stands for itself, through a sigmoid; other scores are
        probabilities already.
        """
        if self.head != "logits":
            return scores
        exact = scores.astype(np.float64)
        if self.task == "multilabel" or scores.shape[-1] == 1:
            return (1 / (1 + np.exp(-np.clip(exact, -700, 700)))).astype(np.float32)
        powers = np.exp(exact - exact.max(axis=-1, keepdims=True))
        whole: NDArray[np.float32] = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
        return whole

    def input_formula(self) -> str:
        """Return how a pixel becomes an input value, in words a programmer can type."""
        symbol = "pixel" if len(self.input.shape) == 4 and self.no_pixels is None else "value"
        if self.input.parts:
            return "each input by its own scale: q = clamp(round(value / scale) + zero_point)"
        if self.takes_raw_pixels():
            return f"q = {symbol}"
        if self.takes_tokens:
            return "x = token"
        centred = f"({symbol} - {self.mean:g})" if self.mean else symbol
        real = centred if self.std == 1 else f"{centred} / {self.std:g}"
        if self.input.scale is None:
            return f"x = {real}"
        return f"q = clamp(round({real} / {self.input.scale!r}) + {self.input.zero_point})"

    def output_formula(self, place: int = 0) -> str:
        """Return how a value of an output becomes a probability, or what else it means."""
        word = "value"
        if self.labels and place == 0:
            word = "logit" if self.head == "logits" else "probability"
        tensor = self.outputs[place]
        if tensor.scale is None:
            return f"{word} = y"
        level = f"(q - {tensor.zero_point})" if tensor.zero_point else "q"
        return f"{word} = {level} * {tensor.scale!r}"

    def steps(self) -> list[dict[str, Any]]:
        """Return what is done from a picture file, or from samples, to the input tensor; see docs/contract.md.

        >>> source = Tensor(name="x", dtype="int8", shape=(1, 4), scale=0.5, zero_point=-3, value_range=(-62.5, 65.0))
        >>> facts = {"name": "m", "variant": "int8", "file": "m.tflite", "sha256": "", "size_bytes": 0, "labels": ()}
        >>> Contract(input=source, outputs=(source,), mean=0.0, std=1.0, no_pixels="spectra", **facts).steps()
        [{'step': 'quantise', 'dtype': 'int8', 'scale': 0.5, 'zero_point': -3}]
        """
        source = self.input
        levels = self.no_pixels is None and not self.takes_tokens and not source.parts
        ends = {"dtype": source.dtype, "scale": source.scale, "zero_point": source.zero_point}
        return [
            *(self.pictures.to_json(source.shape) if self.takes_pictures else []),
            *([{"step": "range", "mean": self.mean, "std": self.std}] if levels else []),
            *([{"step": "quantise", **ends}] if source.scale is not None else []),
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the contract as a JSON object; formulas and labels are spelt out for a reader.

        `output` repeats the first of `outputs`, for readers of version 1.
        """
        value = {**asdict(self), "input": tensor_json(self.input), "outputs": [tensor_json(t) for t in self.outputs]}
        for name in ("mean", "std", "pictures", "no_pixels"):
            del value[name]
        value["preprocessing"] = {
            "formula": self.input_formula(),
            "steps": self.steps(),
            **({} if self.no_pixels is None else {"no_pixels": self.no_pixels}),
        }
        value["postprocessing"] = {
            "formula": self.output_formula(),
            "formulas": [self.output_formula(place) for place in range(len(self.outputs))],
        }
        head = {name: value.pop(name) for name in ("name", "variant", "file", "sha256", "size_bytes", "input")}
        return {
            "kind": "model-contract",
            "schema_version": SCHEMA_VERSION,
            **head,
            "output": value["outputs"][0],
            **value,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Contract:
        """Return the contract that `to_json` wrote, or one of an older version.

        Raises:
          ModelError: it is no contract, a newer one, or its steps are others than this edgefm carries out.
        """
        if value.get("kind") != "model-contract":
            raise ModelError("the JSON is not a model contract")
        if value["schema_version"] > SCHEMA_VERSION:
            raise ModelError(
                f"contract of schema version {value['schema_version']}; this edgefm reads up to {SCHEMA_VERSION}",
                hint="Upgrade with: pip install -U edgefm",
            )
        how = value["preprocessing"]
        labels = tuple(str(label) for label in value["labels"])
        said = how if "mean" in how else next((step for step in how["steps"] if step.get("step") == "range"), {})
        contract = cls(
            name=value["name"],
            variant=value["variant"],
            file=value["file"],
            sha256=value["sha256"],
            size_bytes=value["size_bytes"],
            input=tensor_of(value["input"]),
            outputs=tuple(tensor_of(tensor) for tensor in value.get("outputs") or [value["output"]]),
            mean=said.get("mean", 0.0),
            std=said.get("std", 1.0),
            labels=labels,
            no_pixels=how.get("no_pixels"),
            pictures=chosen(how["steps"]) if "steps" in how else former_pictures(how, labels),
            made_by=value["made_by"],
            task=value.get("task", ""),
            head=value.get("head", ""),
        )
        if "steps" in how:
            check_steps(how["steps"], contract.steps(), where=f"the contract of {contract.file}")
        return contract

    def write(self, folder: Path) -> Path:
        """Write `contract.json` into a folder and return its path."""
        return artefacts.write_json(folder / FILE_NAME, self.to_json())

    def takes_raw_pixels(self) -> bool:
        """Return whether pixels go in as they are: a uint8 input whose levels are the pixels'."""
        quantised = (self.input.dtype, self.input.zero_point) == ("uint8", 0)
        return (
            quantised
            and self.no_pixels is None
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
    if not path.exists():
        return None
    contract = read_file(path)
    if contract.file != model.name:
        return None
    digest = artefacts.sha256_file(model)
    if digest != contract.sha256:
        raise ModelError(
            f"{model} is not the file its contract was written for: sha256 {digest}, expected {contract.sha256}",
            hint="Write the model again with edgefm quantize, or remove the contract.",
        )
    return contract


def read_file(path: Path) -> Contract:
    """Return the contract in a file, whatever model lies beside it.

    Raises:
      ModelError: it is missing, damaged, or a newer edgefm wrote it.
    """
    value = documents.read_versioned(
        path,
        what="contract",
        newest=SCHEMA_VERSION,
        schema=_SCHEMA,
        error=ModelError,
        hint="Write it again with: edgefm quantize; where a newer edgefm wrote it: pip install -U edgefm",
    )
    return Contract.from_json(value)
