"""How a picture file becomes the pixels that a model takes: the choices, and the ordered steps that a contract lists.

The steps are data: edgefm's own reader and the adapters of bundles carry them out, byte for byte alike. An adapter that
meets another step, key or value than those here refuses the contract. See docs/contract.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal, get_args

from edgefm.core.errors import ModelError

Fit = Literal["stretch", "contain", "cover"]
Filter = Literal["nearest", "box", "bilinear", "bicubic", "lanczos"]
ChannelOrder = Literal["rgb", "bgr"]
Inversion = Literal["asked", "light_border", "always"]
Paper = Literal["white", "black", "auto"]

FITS: tuple[str, ...] = get_args(Fit)
FILTERS: tuple[str, ...] = get_args(Filter)
CHANNEL_ORDERS: tuple[str, ...] = get_args(ChannelOrder)
INVERSIONS: tuple[str, ...] = get_args(Inversion)
_PAPERS: tuple[str, ...] = get_args(Paper)
_ORDER = {1: "grey", 4: "rgba"}  # of 3 channels it is a choice
_BLACK, _WHITE = 0, 255
_NEWER = "If a contract says so, a newer edgefm may have written it; upgrade with: pip install -U edgefm"


@dataclass(frozen=True, kw_only=True)
class PictureSteps:
    """What a model's author chooses of the way of a picture; the defaults are how data in folders are read.

    Attributes:
      fit: 'stretch' (the aspect changes), 'contain' (the aspect is kept, the rest is `background`) or 'cover' (the
        aspect is kept, what is too much is cut off at two sides alike, before the picture is resized).
      filter: of resizing, as Pillow names them; all but 'nearest' average over what one new pixel covers (antialias).
      channel_order: of a model with three channels.
      invert: when 255 - level is taken: 'light_border' where the median of the outermost pixels is above 127, for a
        model that learnt bright things on a dark background; 'always'; or 'asked', only where the caller says so.
      background: level around a picture that is contained, 0 to 255; it is not inverted.
      over: what transparent parts are put on where a model takes no fourth channel: 'white', 'black', or 'auto', white
        where the picture may be inverted, else black.

    >>> [step["step"] for step in PictureSteps().to_json((1, 28, 28, 1))]
    ['decode', 'orient', 'alpha', 'channels', 'resize', 'invert']
    >>> PictureSteps(fit="cover", channel_order="bgr").to_json((1, 96, 64, 3))[3:5]  # doctest: +NORMALIZE_WHITESPACE
    [{'step': 'channels', 'order': 'bgr'},
     {'step': 'resize', 'height': 96, 'width': 64, 'fit': 'cover', 'filter': 'bilinear', 'antialias': True}]
    """

    fit: Fit = "stretch"
    filter: Filter = "bilinear"
    channel_order: ChannelOrder = "rgb"
    invert: Inversion = "asked"
    background: int = _BLACK
    over: Paper = "white"

    def __post_init__(self) -> None:
        """Raise a ModelError unless each value is known."""
        known = {"fit": FITS, "filter": FILTERS, "channel_order": CHANNEL_ORDERS, "invert": INVERSIONS, "over": _PAPERS}
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise ModelError(
                    f"the {name} of pictures is {getattr(self, name)!r}; one of {', '.join(values)} is expected",
                    hint=_NEWER,
                )
        level = self.background
        if not isinstance(level, int) or isinstance(level, bool) or not _BLACK <= level <= _WHITE:
            raise ModelError(f"the background of pictures is {level!r}; a level from {_BLACK} to {_WHITE} is expected")

    def to_json(self, shape: Sequence[int]) -> list[dict[str, Any]]:
        """Return the steps from a file to the pixels of an input [1, height, width, 1, 3 or 4]."""
        _, height, width, channels = shape
        order: dict[str, Any] = {"order": _ORDER.get(channels, self.channel_order)}
        size = {"height": height, "width": width}
        return [
            {"step": "decode", "frame": "first", "bits": 8, "deeper": "high_byte", "colour_profile": "ignored"},
            {"step": "orient", "by": "exif"},
            *([{"step": "alpha", "over": self.over}] if channels < 4 else []),
            {"step": "channels", **order, **({"weights": "bt601"} if channels == 1 else {})},
            {"step": "resize", **size, "fit": self.fit, "filter": self.filter, "antialias": self.filter != "nearest"},
            {"step": "invert", "when": self.invert},
            *([{"step": "pad", **size, "place": "centre", "background": self.background}] * (self.fit == "contain")),
        ]

    def inverts(self, asked: str) -> Literal["auto", "yes", "no"]:
        """Return what becomes of a caller's 'auto', 'yes' or 'no'; 'auto' is left where the border decides."""
        if asked != "auto":
            return "yes" if asked == "yes" else "no"
        decided: dict[str, Literal["auto", "yes", "no"]] = {"light_border": "auto", "always": "yes", "asked": "no"}
        return decided[self.invert]


# Of contracts that did not say how pictures get in, and of models that learnt bright things on a dark background.
LETTERBOX = PictureSteps(fit="contain", filter="lanczos", over="auto")


def chosen(steps: Sequence[Mapping[str, Any]]) -> PictureSteps:
    """Return the choices that a contract's steps say; steps that are not there leave them as they are by default.

    What else the steps say is not looked at: see `check_steps`.

    Raises:
      ModelError: a value is not known.
    """
    said = {step.get("step"): step for step in steps}
    keys = {
        "fit": ("resize", "fit"),
        "filter": ("resize", "filter"),
        "invert": ("invert", "when"),
        "background": ("pad", "background"),
        "over": ("alpha", "over"),
    }
    choices: dict[str, Any] = {
        name: said[step][key] for name, (step, key) in keys.items() if step in said and key in said[step]
    }
    if said.get("channels", {}).get("order") in CHANNEL_ORDERS:
        choices["channel_order"] = said["channels"]["order"]
    return PictureSteps(**choices)


def check_steps(written: Sequence[Mapping[str, Any]], known: Sequence[Mapping[str, Any]], *, where: str) -> None:
    """Raise a ModelError where a contract says other steps than the ones that are carried out for it.

    Args:
      written: in the contract.
      known: what `chosen` of them comes to.
      where: they stand, for the error.
    """
    for place, (found, wanted) in enumerate(zip_longest(written, known), 1):
        if found != wanted:
            said, expected = ("nothing" if step is None else json.dumps(step) for step in (found, wanted))
            raise ModelError(f"step {place} of {where} is {said}; {expected} is expected there", hint=_NEWER)
