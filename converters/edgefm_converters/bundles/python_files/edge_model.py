"""Runs the model of this folder on pictures, and checks that it answers here what it answered where it was made.

Needs numpy, ai-edge-litert and, for pictures, Pillow; all that depends on the model is read from contract.json.

    python edge_model.py --self-test
    python edge_model.py photo.jpg --top 3 --json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
LARGEST_PICTURE = 50_000_000  # pixels; a larger one is refused before it is decoded
CONTRACT_VERSION = 3
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class EdgeModel:
    """The model, its contract and its labels. Make one and keep it: loading costs far more than one run."""

    def __init__(self, folder: Path = HERE, *, kernels: str = "xnnpack", threads: int = 1) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self.folder = Path(folder)
        self.contract = json.loads((self.folder / "contract.json").read_text(encoding="utf-8"))
        self.steps = known_steps(self.contract)
        self.labels = self.contract["labels"]
        resolver = {"xnnpack": OpResolverType.AUTO, "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}[
            kernels
        ]
        self._interpreter = Interpreter(
            str(self.folder / self.contract["file"]), num_threads=threads, experimental_op_resolver_type=resolver
        )
        self._interpreter.allocate_tensors()

    def picture(self, path: Path, invert: str = "auto") -> Any:
        """Return a picture file as the model's pixels, uint8 [height, width, channels]."""
        from PIL import Image, ImageOps

        if "resize" not in self.steps:
            reason = self.contract["preprocessing"].get("no_pixels") or "its input is no picture"
            raise ValueError(f"this model takes no pictures: {reason}")
        with Image.open(path) as opened:
            if opened.width * opened.height > LARGEST_PICTURE:
                raise ValueError(f"{path}: {opened.width} x {opened.height} pixels are more than {LARGEST_PICTURE:,}")
            opened.load()
            image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I"):  # 16 bits a level
            image = Image.fromarray((np.clip(np.asarray(image, np.int64), 0, 65535) >> 8).astype(np.uint8))
        if invert == "auto":
            invert = {"light_border": "auto", "always": "yes", "asked": "no"}[self.steps["invert"]["when"]]
        channels = self.contract["input"]["shape"][3]
        if "alpha" in self.steps:
            over = self.steps["alpha"]["over"]
            image = _opaque(image, background=0 if over == "black" or (over == "auto" and invert == "no") else 255)
        inner = _resized(image.convert(MODES[channels]), self.steps["resize"], channels)
        if invert == "yes" or (invert == "auto" and _border(inner[..., :3]) > 127):
            inner[..., :3] = 255 - inner[..., :3]
        if self.steps["channels"]["order"] == "bgr":
            inner = inner[..., ::-1]
        return _padded(inner, self.steps["pad"]) if "pad" in self.steps else inner

    def encode(self, samples: Any) -> Any:
        """Return pixels (uint8) or real inputs (float32) of one sample as the input tensor."""
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
        if hashlib.sha256((self.folder / self.contract["file"]).read_bytes()).hexdigest() != self.contract["sha256"]:
            return False, f"{self.contract['file']} is not the file of the contract: it was changed"
        golden = json.loads((self.folder / "golden" / "golden.json").read_text(encoding="utf-8"))
        if golden["model_sha256"] != self.contract["sha256"]:
            return False, "the golden vectors are of another model"
        answers = [
            b"".join(out.tobytes() for out in self.invoke(self._input(golden, one))) for one in golden["vectors"]
        ]
        best: Any = None
        for family in golden["families"]:
            wanted = [(self.folder / one["answers"][family["name"]]).read_bytes() for one in golden["vectors"]]
            apart, share = _apart(answers, wanted, golden["outputs"])
            held = apart <= family["tolerance"]["largest"] and share <= family["tolerance"]["share"]
            if best is None or (held, -share) > best[:2]:
                best = (held, -share, family["title"], apart)
        held, share, title, apart = best
        how = "bit for bit" if not share else f"off by at most {apart:.3g} in {-100 * share:.1f} % of the values"
        told = f"{len(answers)} golden vectors, {title}: {how}"
        return held, told if held else f"{told}, which is more than these kernels may differ"

    def _real(self, samples: Any) -> list[Any]:
        real = []
        for levels, end in zip(self.invoke(self.encode(samples)), self.contract["outputs"], strict=True):
            values = levels.astype(np.float32)
            if end["scale"] is not None:
                values = ((values - end["zero_point"]) * np.float32(end["scale"])).astype(np.float32)
            real.append(values[0])
        return real

    def _input(self, golden: Any, vector: Any) -> Any:
        end = golden["input"]
        return np.frombuffer((self.folder / vector["input"]).read_bytes(), end["dtype"]).reshape(1, *end["shape"])


def known_steps(contract: Any) -> dict[str, Any]:
    """Return the contract's steps by name; a ValueError names the first that this file does not carry out."""
    version, end, how = contract["schema_version"], contract["input"], contract["preprocessing"]
    if version != CONTRACT_VERSION:
        raise ValueError(
            f"contract.json is of version {version}; this edge_model.py reads version {CONTRACT_VERSION}: take the one "
            "of the same bundle"
        )
    written, levels = how["steps"], not how.get("no_pixels")
    said = {step.get("step"): step for step in written}

    def choice(step: str, key: str, *allowed: str) -> Any:
        value = said.get(step, {}).get(key)
        return value if value in allowed else allowed[0]

    known: list[dict[str, Any]] = []
    if levels and len(end["shape"]) == 4 and end["shape"][3] in MODES:
        _, height, width, channels = end["shape"]
        colours = {1: ("grey",), 3: ("rgb", "bgr"), 4: ("rgba",)}[channels]
        channel = {"order": choice("channels", "order", *colours), **({"weights": "bt601"} if channels == 1 else {})}
        kind = choice("resize", "filter", "bilinear", "nearest", "box", "bicubic", "lanczos")
        fit = choice("resize", "fit", "stretch", "contain", "cover")
        size, level = {"height": height, "width": width}, said.get("pad", {}).get("background")
        level = level if level in range(256) else 0
        known = [
            {"step": "decode", "frame": "first", "bits": 8, "deeper": "high_byte", "colour_profile": "ignored"},
            {"step": "orient", "by": "exif"},
            *([{"step": "alpha", "over": choice("alpha", "over", "white", "black", "auto")}] if channels < 4 else []),
            {"step": "channels", **channel},
            {"step": "resize", **size, "fit": fit, "filter": kind, "antialias": kind != "nearest"},
            {"step": "invert", "when": choice("invert", "when", "asked", "light_border", "always")},
            *([{"step": "pad", **size, "place": "centre", "background": level}] if fit == "contain" else []),
        ]
    if levels and (end["scale"] is not None or end["dtype"].startswith("float")):
        known.append({"step": "range", **{key: said.get("range", {}).get(key) for key in ("mean", "std")}})
    if end["scale"] is not None:
        known.append({"step": "quantise", **{key: end[key] for key in ("dtype", "scale", "zero_point")}})
    for place, (found, wanted) in enumerate(zip_longest(written, known), 1):
        if found != wanted:
            shown, expected = ("nothing" if step is None else json.dumps(step) for step in (found, wanted))
            raise ValueError(
                f"step {place} of contract.json is {shown}, which this edge_model.py does not carry out; it knows "
                f"{expected} there: take the one of the same bundle"
            )
    return said


def _resized(image: Any, step: Any, channels: int) -> Any:
    """Return a picture of the model's channels as pixels uint8 [h, w, channels]; a contained one fills one side."""
    from PIL import Image

    height, width = step["height"], step["width"]
    size = (width, height)
    if step["fit"] == "contain":
        factor = min(height / image.height, width / image.width)
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    elif step["fit"] == "cover":
        across = max(1, min(image.width, image.height * width // height))
        down = max(1, min(image.height, image.width * height // width))
        left, top = (image.width - across) // 2, (image.height - down) // 2
        image = image.crop((left, top, left + across, top + down))
    if image.size != size:
        image = image.resize(size, Image.Resampling[step["filter"].upper()])
    return np.array(image, np.uint8).reshape(image.height, image.width, channels)


def _padded(inner: Any, step: Any) -> Any:
    pixels = np.full((step["height"], step["width"], inner.shape[2]), step["background"], np.uint8)
    top, left = (pixels.shape[0] - inner.shape[0]) // 2, (pixels.shape[1] - inner.shape[1]) // 2
    pixels[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return pixels


def _apart(answers: list[bytes], wanted: list[bytes], outputs: Any) -> tuple[float, float]:
    """Return the largest difference (levels, or a share of the greatest magnitude) and the share of other values."""
    largest, other, total, start = 0.0, 0, 0, 0
    for end in outputs:
        size = np.dtype(end["dtype"]).itemsize * int(np.prod(end["shape"]))
        one, two = (
            np.frombuffer(b"".join(each[start : start + size] for each in side), end["dtype"]).astype(np.float64)
            for side in (answers, wanted)
        )
        step = 1.0 if end["scale"] is not None else max(float(np.abs(two).max(initial=0.0)), 1e-30)
        difference = np.abs(one - two)
        difference[np.isnan(difference) & ~(np.isnan(one) & np.isnan(two))] = np.inf
        largest = max(largest, float(np.nan_to_num(difference, nan=0.0, posinf=np.inf).max(initial=0.0)) / step)
        other, total, start = other + int((one != two).sum()), total + one.size, start + size
    return largest, other / max(total, 1)


def _opaque(image: Any, background: int) -> Any:
    """Return a picture whose transparent parts are of one level."""
    from PIL import Image

    if image.mode not in ("LA", "PA", "RGBA") and "transparency" not in image.info:
        return image
    image = image.convert("RGBA")
    below = Image.new("RGBA", image.size, (background, background, background, 255))
    return Image.alpha_composite(below, image).convert("RGB")


def _border(pixels: Any) -> float:
    inside = np.zeros(pixels.shape[:2], bool)
    inside[1:-1, 1:-1] = True
    return float(np.median(pixels[~inside]))


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
        except (OSError, ValueError, SyntaxError) as error:
            print(f"error: {path}: {error}", file=sys.stderr)
            return 2
        if given.json:
            print(json.dumps({"picture": str(path), "top": [{"label": one, "probability": p} for one, p in found]}))
        else:
            print(f"{path}: " + ", ".join(f"{label} {100 * probability:.1f} %" for label, probability in found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
