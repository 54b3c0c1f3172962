"""Carries out the steps of contract.json that lead from a picture file to the model's pixels, byte for byte as edgefm.

A contract that says another step, key or value than those here is refused, not guessed at.
"""

from __future__ import annotations

import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

LARGEST_PICTURE = 50_000_000  # pixels; a larger one is refused before it is decoded
CONTRACT_VERSION = 3
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
SIXTEEN_BITS = ("PNG", "PPM")  # formats whose levels are of 16 bits where Pillow says mode I; of others they are of 32


def read_picture(path: Path, contract: Any, steps: Any, invert: str = "auto") -> Any:
    """Return a picture file as pixels, uint8 [height, width, channels], by the `checked_steps` of a contract."""
    if "resize" not in steps:
        reason = contract["preprocessing"].get("no_pixels") or "its input is no picture"
        raise ValueError(f"this model takes no pictures: {reason}")
    image = _decoded(path)
    if invert == "auto":
        invert = {"light_border": "auto", "always": "yes", "asked": "no"}[steps["invert"]["when"]]
    channels = contract["input"]["shape"][3]
    if "alpha" in steps:
        over = steps["alpha"]["over"]
        image = _opaque(image, background=0 if over == "black" or (over == "auto" and invert == "no") else 255)
    inner = _resized(image.convert(MODES[channels]), steps["resize"], channels)
    if invert == "yes" or (invert == "auto" and _border(inner[..., :3]) > 127):
        inner[..., :3] = 255 - inner[..., :3]
    if steps["channels"]["order"] == "bgr":
        inner = inner[..., ::-1]
    return _padded(inner, steps["pad"]) if "pad" in steps else inner


def checked_steps(contract: Any) -> dict[str, Any]:
    """Return the contract's steps by name; a ValueError names the first that this file does not carry out."""
    version = contract["schema_version"]
    if version != CONTRACT_VERSION:
        raise ValueError(
            f"contract.json is of version {version}; this edge_model.py reads version {CONTRACT_VERSION}: take the one "
            "of the same bundle"
        )
    written = contract["preprocessing"]["steps"]
    said = {step.get("step"): step for step in written}
    for place, (found, wanted) in enumerate(zip_longest(written, _known_steps(contract, said)), 1):
        if found != wanted:
            shown, expected = ("nothing" if step is None else json.dumps(step) for step in (found, wanted))
            raise ValueError(
                f"step {place} of contract.json is {shown}, which this edge_model.py does not carry out; it knows "
                f"{expected} there: take the one of the same bundle"
            )
    return said


def _known_steps(contract: Any, said: Any) -> list[dict[str, Any]]:
    """Return all steps in their order, as they are carried out here: with the contract's choices where known."""

    def choice(step: str, key: str, *allowed: str) -> Any:
        value = said.get(step, {}).get(key)
        return value if value in allowed else allowed[0]

    known: list[dict[str, Any]] = []
    end, pixels = contract["input"], not contract["preprocessing"].get("no_pixels")
    if pixels and len(end["shape"]) == 4 and end["shape"][3] in MODES:
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
    if pixels and (end["scale"] is not None or end["dtype"].startswith("float")):
        known.append({"step": "range", **{key: said.get("range", {}).get(key) for key in ("mean", "std")}})
    if end["scale"] is not None:
        known.append({"step": "quantise", **{key: end[key] for key in ("dtype", "scale", "zero_point")}})
    return known


def _decoded(path: Path) -> Any:
    """Return the first frame of a picture file, upright, with 8 bits a level."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > LARGEST_PICTURE:
                raise ValueError(f"{opened.width} x {opened.height} pixels are more than {LARGEST_PICTURE:,}")
            if opened.mode == "F" or (opened.mode == "I" and opened.format not in SIXTEEN_BITS):
                raise ValueError(
                    f"its levels are of 32 bits, or have a sign (Pillow's mode {opened.mode}), and nothing says which "
                    "is black and which is white: save it with 8 or 16 bits a level"
                )
            opened.load()
            image = ImageOps.exif_transpose(opened)
    except (OSError, ValueError):
        raise
    except Exception as error:  # struct.error, SyntaxError, DecompressionBombError, ... by the format
        raise OSError(f"damaged, or too large: {error}") from error
    if image.mode.startswith("I"):  # 16 bits a level
        return Image.fromarray((np.clip(np.asarray(image, np.int64), 0, 65535) >> 8).astype(np.uint8))
    return image


def _opaque(image: Any, background: int) -> Any:
    """Return a picture whose transparent parts are of one level."""
    from PIL import Image

    if image.mode not in ("LA", "PA", "RGBA") and "transparency" not in image.info:
        return image
    image = image.convert("RGBA")
    below = Image.new("RGBA", image.size, (background, background, background, 255))
    return Image.alpha_composite(below, image).convert("RGB")


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


def _border(pixels: Any) -> float:
    """Return the median of the outermost pixels."""
    inside = np.zeros(pixels.shape[:2], bool)
    inside[1:-1, 1:-1] = True
    return float(np.median(pixels[~inside]))


def _padded(inner: Any, step: Any) -> Any:
    """Return pixels of the model's size with a contained picture in the middle."""
    pixels = np.full((step["height"], step["width"], inner.shape[2]), step["background"], np.uint8)
    top, left = (pixels.shape[0] - inner.shape[0]) // 2, (pixels.shape[1] - inner.shape[1]) // 2
    pixels[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return pixels
