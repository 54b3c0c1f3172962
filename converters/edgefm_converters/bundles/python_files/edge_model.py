"""Runs the model of this folder; what depends on the model is read from contract.json.

    python edge_model.py --self-test               # does it answer here what it answered where it was made?
    python edge_model.py photo.jpg --top 3 --json

Needs numpy, ai-edge-litert and, for pictures, Pillow. From Python:

    model = EdgeModel()
    model.top(model.picture("photo.jpg"))          # [(label, probability), ...]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from picture_steps import checked_steps, read_picture
from self_test import hold_against_golden

HERE = Path(__file__).resolve().parent


class EdgeModel:
    """The model, its contract and its labels. Make one and keep it: loading costs far more than one run."""

    def __init__(self, folder: Path = HERE, *, kernels: str = "xnnpack", threads: int = 1) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self.folder = Path(folder)
        self.contract = json.loads((self.folder / "contract.json").read_text(encoding="utf-8"))
        self.steps = checked_steps(self.contract)
        self.labels = self.contract["labels"]
        known = {"xnnpack": OpResolverType.AUTO, "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}
        file = str(self.folder / self.contract["file"])
        self._interpreter = Interpreter(file, num_threads=threads, experimental_op_resolver_type=known[kernels])
        self._interpreter.allocate_tensors()

    def picture(self, path: Path | str, invert: str = "auto") -> Any:
        """Return a picture file as the model's pixels, uint8 [height, width, channels]; invert: 'auto', 'yes', 'no'."""
        return read_picture(Path(path), self.contract, self.steps, invert)

    def encode(self, samples: Any) -> Any:
        """Return one sample as the input tensor: pixels are uint8, real numbers float32, tokens whole numbers."""
        end = self.contract["input"]
        samples = np.asarray(samples).reshape(end["shape"])
        if end["scale"] is None and end["dtype"].startswith("int"):
            return samples.astype(end["dtype"])
        real = samples.astype(np.float32)
        if samples.dtype == np.uint8:
            if "range" not in self.steps:
                raise ValueError(f"this model takes no pixels: {self.contract['preprocessing'].get('no_pixels')}")
            real = (real - np.float32(self.steps["range"]["mean"])) / np.float32(self.steps["range"]["std"])
        if end["scale"] is None:
            return real.astype(end["dtype"])
        limits = np.iinfo(end["dtype"])
        levels = np.round(real / np.float32(end["scale"])) + end["zero_point"]
        return np.clip(levels, limits.min, limits.max).astype(end["dtype"])

    def invoke(self, tensor: Any) -> list[Any]:
        """Return the output tensors, in the contract's order, for an input tensor."""
        self._interpreter.set_tensor(self._interpreter.get_input_details()[0]["index"], tensor)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(end["index"]) for end in self._interpreter.get_output_details()]

    def run(self, samples: Any) -> list[Any]:
        """Return the outputs of one sample as real numbers, float32; the first one as probabilities of labels."""
        real = self._real(samples)
        if self.contract.get("head") == "logits":
            exact = real[0].astype(np.float64)
            if self.contract.get("task") == "multilabel" or exact.shape[-1] == 1:
                real[0] = (1 / (1 + np.exp(-np.clip(exact, -700, 700)))).astype(np.float32)
            else:
                powers = np.exp(exact - exact.max(axis=-1, keepdims=True))
                real[0] = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
        return real

    def top(self, samples: Any, count: int = 3) -> list[tuple[str, float]]:
        """Return (label, probability) of the most probable classes."""
        scores = self.run(samples)[0].reshape(-1)
        if scores.size == 1 and len(self.labels) == 2:  # that of the second of two classes
            scores = np.array([1 - scores[0], scores[0]], np.float32)
        if scores.size != len(self.labels):
            raise ValueError("this model's first output holds no classes: use run() or places()")
        return [(self.labels[place], float(scores[place])) for place in np.argsort(-scores, kind="stable")[:count]]

    def places(self, samples: Any) -> Any:
        """Return the most probable class at each place of a picture or a sequence: its number from 0, int64."""
        real = self._real(samples)[0]
        if self.contract.get("task") != "segmentation" and (real.ndim < 2 or real.shape[-1] != len(self.labels)):
            raise ValueError("this model's first output holds no class a place: use run() or top()")
        if real.shape[-1] == 1:
            return (real[..., 0] > (0 if self.contract.get("head") == "logits" else 0.5)).astype(np.int64)
        return real.argmax(axis=-1)

    def self_test(self) -> tuple[bool, str]:
        """Return (held, sentence): whether the answers here are those of the golden vectors."""
        return hold_against_golden(self.folder, self.contract, self.invoke)

    def _real(self, samples: Any) -> list[Any]:
        real = []
        for levels, end in zip(self.invoke(self.encode(samples)), self.contract["outputs"], strict=True):
            values = levels.astype(np.float32)
            if end["scale"] is not None:
                values = ((values - end["zero_point"]) * np.float32(end["scale"])).astype(np.float32)
            real.append(values[0])
        return real


def main(arguments: list[str] | None = None) -> int:
    """Answer pictures, or run the self-test; 0 it held, 1 it did not, 2 bad input."""
    parser = argparse.ArgumentParser(description="Runs the model of this folder.")
    parser.add_argument("pictures", nargs="*", type=Path)
    parser.add_argument("--top", type=int, default=3)
    parser.add_argument("--kernels", choices=("xnnpack", "builtin"), default="xnnpack")
    parser.add_argument("--self-test", action="store_true", help="hold the answers against the golden vectors")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    if not given.pictures and not given.self_test:
        parser.error("give pictures, or --self-test")
    model = EdgeModel(kernels=given.kernels)
    if given.self_test:
        held, told = model.self_test()
        print(json.dumps({"held": held, "verdict": told}) if given.json else f"{'held' if held else 'FAILED'}: {told}")
        return 0 if held else 1
    for path in given.pictures:
        try:
            found = model.top(model.picture(path), given.top)
        except (OSError, ValueError) as error:
            print(f"error: {path}: {error}", file=sys.stderr)
            return 2
        if given.json:
            print(json.dumps({"picture": str(path), "top": [{"label": one, "probability": p} for one, p in found]}))
        else:
            print(f"{path}: " + ", ".join(f"{label} {100 * probability:.1f} %" for label, probability in found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
