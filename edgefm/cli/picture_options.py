"""Options that say how pictures get into a model, where its contract is to say otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from edgefm.core.picture_steps import CHANNEL_ORDERS, FILTERS, FITS

_OPTIONS = (
    click.option(
        "--fit",
        type=click.Choice(FITS),
        help="How a picture of another size gets in; contain: on a background; cover: its middle.  "
        "[default: as the contract says]",
    ),
    click.option("--filter", type=click.Choice(FILTERS), help="Of resizing.  [default: as the contract says]"),
    click.option(
        "--channel-order",
        type=click.Choice(CHANNEL_ORDERS),
        help="Of a model of three channels.  [default: as the contract says]",
    ),
    click.option(
        "--background",
        type=click.IntRange(0, 255),
        help="Level around a picture that is contained.  [default: as the contract says]",
    ),
)


def picture_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command's function with the options of how pictures get in."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
