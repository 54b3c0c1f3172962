"""Options of `edgefm train` about the loop: optimiser, loss, augmentation, class weights and when to end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from edgefm.recipes.class_weights import parsed

# Of each option: the field of the recipe, its type, and the help.
_OPTIONS: tuple[tuple[str, str, Any, str], ...] = (
    ("--optimizer", "optimizer", str, "adam, adamw, sgd or rmsprop.  [default: adamw]"),
    ("--momentum", "momentum", float, "Momentum of sgd, in Nesterov's form."),
    ("--weight-decay", "weight_decay", float, "Decay of adamw; L2 of sgd."),
    ("--schedule", "schedule", str, "constant or one_cycle.  [default: one_cycle]"),
    ("--shift-pixels", "shift_pixels", int, "Move images by up to so many pixels."),
    ("--rotation", "rotation_degrees", float, "Turn images by up to so many degrees, either way."),
    ("--zoom", "zoom", float, "Enlarge or shrink images by up to this share."),
    ("--erasing", "erasing", float, "Probability that a box of an image is erased."),
    ("--mixup", "mixup", float, "Greatest share of a second image that is mixed into each."),
    ("--cutmix", "cutmix", float, "Probability that a box of an image is that of a second one."),
    ("--loss", "loss", str, "cross_entropy or multi_margin.  [default: cross_entropy]"),
    ("--label-smoothing", "label_smoothing", float, "Share of the label spread over all classes."),
    (
        "--class-weights",
        "class_weights",
        str,
        "none; balanced: each class counts alike; or weights, cat=2,dog=0.5: others weigh 1.  [default: none]",
    ),
    ("--patience", "patience", int, "End after so many epochs without a lower validation loss."),
)

# Fields of the recipe that these options set.
LOOP_FIELDS = ("flip", *(name for _, name, _, _ in _OPTIONS))


def loop_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options about the loop."""
    for flag, name, kind, words in reversed(_OPTIONS):
        command = click.option(flag, name, type=kind, default=None, help=words)(command)
    return click.option("--flip/--no-flip", default=None, help="Mirror every second image.  [default: flip]")(command)


def loop_changes(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the recipe that these options change."""
    changes = {name: given[name] for name in LOOP_FIELDS if given[name] is not None}
    if "class_weights" in changes:
        changes["class_weights"] = parsed(changes["class_weights"])
    return changes
