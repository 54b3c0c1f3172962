"""The ways in which an app may feed a model otherwise than it learnt, each as a change of one step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a picture becomes an answer, step by step; the defaults are what the contract says.

    Attributes:
      decoding: 'contract', or how transparency, 16 bits a level or grey are read: see `WAYS`.
      orientation: 'contract' (EXIF), 'ignored', or a further turn or mirroring.
      fit: 'contract', 'stretch', 'contain', 'cover'.
      filter: 'contract', 'nearest', 'bilinear', 'no antialias', 'bicubic', 'lanczos', 'box'.
      inversion: 'contract', 'never', 'always'.
      channels: 'contract', or 'reversed'.
      layout: 'contract', 'planar' (channels first), 'transposed' (rows for columns).
      range: 'contract', or what pixels 0 to 255 became: see `WAYS`.
      quantisation: 'contract', 'truncated', 'no zero point', 'sign flipped', 'cast'.
      output: 'contract', 'levels', 'other sign', 'no zero point', 'softmax', 'no softmax'.
      labels: 'contract', 'alphabetical', 'shifted', 'shifted back', 'reversed', 'another order'.
      kernels: runtime with its kernel set.
    """

    decoding: str = "contract"
    orientation: str = "contract"
    fit: str = "contract"
    filter: str = "contract"
    inversion: str = "contract"
    channels: str = "contract"
    layout: str = "contract"
    range: str = "contract"
    quantisation: str = "contract"
    output: str = "contract"
    labels: str = "contract"
    kernels: str = "litert:xnnpack"


# Steps before the model: they decide what goes in.
BEFORE = ("decoding", "orientation", "fit", "filter", "inversion", "channels", "layout", "range", "quantisation")


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One change of one step, or two.

    Attributes:
      steps: names of the steps that differ.
      title: what was done, in words.
      mend: what to do instead.
      way: all steps.
    """

    steps: tuple[str, ...]
    title: str
    mend: str
    way: Way

    def with_other(self, other: Hypothesis) -> Hypothesis:
        """Return both changes together."""
        changed = {step: getattr(other.way, step) for step in other.steps}
        return Hypothesis(
            steps=(*self.steps, *other.steps),
            title=f"{self.title}, and {other.title}",
            mend=f"{self.mend} {other.mend}",
            way=replace(self.way, **changed),
        )


def _one(step: str, value: str, title: str, mend: str) -> Hypothesis:
    changes: dict[str, Any] = {step: value}
    return Hypothesis(steps=(step,), title=title, mend=mend, way=Way(**changes))


AS_CONTRACT = Hypothesis(steps=(), title="every step as the contract says", mend="", way=Way())
_EXIF = "Turn the picture by its EXIF orientation before anything else."
_SIZE = "Resize as the contract's step `resize` says: its fit and its filter, with antialiasing."
_ALPHA = "Put transparent pictures on the level that the contract's step `alpha` says."
_INVERT = (
    "Invert, 255 - level, where the contract's step `invert` says so: light_border is a picture on a light background."
)
_RANGE = "Take the range of the contract: real = (pixel - mean) / std."
_LEVELS = "q = clamp(round(real / scale) + zero_point), in the input's own type."
_OUTPUT = "real = scale * (q - zero_point), by the output's own type."
_LABELS = "Read labels.txt line by line, in the order of the output."

ANY_ORDER = _one("labels", "another order", "the values are right, and in another order than the labels", _LABELS)
# The commonest first: of equally good ones, the first is named.
WAYS: tuple[Hypothesis, ...] = (
    _one("range", "0 to 1", "pixels were scaled to 0 to 1", _RANGE),
    _one("range", "-1 to 1", "pixels were scaled to -1 to 1", _RANGE),
    _one("range", "0 to 255", "pixels went in as 0 to 255", _RANGE),
    _one("range", "twice", "the range was applied twice", _RANGE),
    _one("range", "ImageNet", "pixels were normalised by ImageNet's means and deviations", _RANGE),
    _one("range", "-128 to 127", "128 was taken off the pixels", _RANGE),
    _one(
        "channels",
        "reversed",
        "red and blue were exchanged (BGR for RGB, or RGB for BGR)",
        "Give the channels in the order of the contract's step `channels`.",
    ),
    _one("orientation", "ignored", "the EXIF orientation was ignored", _EXIF),
    _one("orientation", "90", "the picture was turned by 90 degrees", _EXIF),
    _one("orientation", "270", "the picture was turned by 270 degrees", _EXIF),
    _one("orientation", "180", "the picture was turned by 180 degrees", _EXIF),
    _one("orientation", "mirrored", "the picture was mirrored left to right", "Don't mirror (a front camera does)."),
    _one("orientation", "upside down", "the picture was mirrored top to bottom", "Take rows from the top."),
    _one("filter", "no antialias", "the picture was resized bilinearly without antialiasing", _SIZE),
    _one("filter", "nearest", "the picture was resized to the nearest pixels", _SIZE),
    _one("filter", "bilinear", "the picture was resized bilinearly", _SIZE),
    _one("filter", "bicubic", "the picture was resized by a bicubic filter", _SIZE),
    _one("filter", "lanczos", "the picture was resized by a Lanczos filter", _SIZE),
    _one("filter", "box", "the picture was resized by means over boxes", _SIZE),
    _one("fit", "contain", "the picture was fitted in with its aspect kept", _SIZE),
    _one("fit", "stretch", "the picture was stretched to the input's size", _SIZE),
    _one("fit", "cover", "the middle of the picture was cut out", _SIZE),
    _one("inversion", "never", "the picture was not inverted", _INVERT),
    _one("inversion", "always", "the picture was inverted", _INVERT),
    _one("decoding", "alpha on black", "transparent parts were taken as black", _ALPHA),
    _one("decoding", "alpha on white", "transparent parts were taken as white", _ALPHA),
    _one("decoding", "alpha dropped", "transparency was dropped", _ALPHA),
    _one("decoding", "16 bits cut", "levels of 16 bits were cut off at 255", "Take the high byte of 16-bit levels."),
    _one("decoding", "mean grey", "grey is the mean of the channels", "Grey is 0.299 R + 0.587 G + 0.114 B."),
    _one("decoding", "BT.709 grey", "grey is by the weights of BT.709", "Grey is 0.299 R + 0.587 G + 0.114 B."),
    _one("decoding", "red alone", "the red channel was taken for grey", "Grey is 0.299 R + 0.587 G + 0.114 B."),
    _one("decoding", "green alone", "the green channel was taken for grey", "Grey is 0.299 R + 0.587 G + 0.114 B."),
    _one("layout", "planar", "the channels went in one after the other (channels first)", "Give pixel by pixel."),
    _one("layout", "transposed", "rows and columns were exchanged", "Give rows from the top, each left to right."),
    _one("quantisation", "sign flipped", "bytes had the other sign (uint8 for int8)", _LEVELS),
    _one("quantisation", "no zero point", "the input's zero point was left out", _LEVELS),
    _one("quantisation", "cast", "real values were cast to bytes without their scale", _LEVELS),
    _one("quantisation", "truncated", "levels were cut off, not rounded", _LEVELS),
    _one("output", "levels", "the output's levels were read as they are", _OUTPUT),
    _one("output", "other sign", "the output's bytes were read with the other sign", _OUTPUT),
    _one("output", "no zero point", "the output's zero point was left out", _OUTPUT),
    _one("output", "softmax", "a softmax was applied to probabilities", "The output holds probabilities already."),
    _one("output", "no softmax", "logits were read as probabilities", "Apply a softmax (a sigmoid) to the logits."),
    _one("labels", "alphabetical", "the labels were sorted by name", _LABELS),
    _one("labels", "shifted", "the labels are one place too far", _LABELS),
    _one("labels", "shifted back", "the labels are one place too early", _LABELS),
    _one("labels", "reversed", "the labels are in reverse order", _LABELS),
    ANY_ORDER,
    _one(
        "kernels",
        "litert:builtin",
        "the built-in kernels ran, not XNNPACK's",
        "Both are right; compare with the golden vectors of that family.",
    ),
    _one(
        "kernels",
        "litert:reference",
        "LiteRT's reference kernels ran, not XNNPACK's",
        "Both are right; compare with answers of the same kernels.",
    ),
)
