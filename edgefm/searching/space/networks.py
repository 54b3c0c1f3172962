"""The networks that a search may build in place of the given one: those of the zoo's family that cost no more."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgefm import zoo
from edgefm.zoo.best import staged_cnn

FAMILY = staged_cnn.ARCHITECTURE.name
BLOCKS = staged_cnn.ARCHITECTURE.options["blocks"]


@dataclass(frozen=True, kw_only=True, order=True)
class Network:
    """A network of the family `edgefm.zoo.best.staged_cnn`; its attributes are the family's options."""

    blocks: str
    width: int
    depth: int
    stride: int

    @property
    def options(self) -> dict[str, str]:
        """The options to build it with."""
        return {
            "blocks": self.blocks,
            "width": str(self.width),
            "depth": str(self.depth),
            "stride": str(self.stride),
        }

    @property
    def words(self) -> str:
        """The network in words."""
        blocks = f"{self.depth} {self.blocks.replace('_', ' ')} block{'s' if self.depth > 1 else ''} a stage"
        return f"new network: {blocks}, {self.width} channels, first stride {self.stride}"

    def distance(self, other: Network) -> tuple[bool, int, int, int]:
        """Return how far another network is; the block kind counts most, then depth, stride and width."""
        return (
            self.blocks != other.blocks,
            abs(self.depth - other.depth),
            abs(self.stride - other.stride),
            abs(self.width - other.width),
        )


def networks_of(model: Any) -> tuple[Network, ...]:
    """Return the networks that may be built in place of a model; none unless it is a searchable one of the zoo.

    They take the same pictures and classes, and have at most as many multiply-accumulates: a larger one would make no
    smaller file, and its training would be long.
    """
    from edgefm.compression.channels.channel_cost import cost_of
    from edgefm.compression.channels.channel_groups import channels_of

    interface = _interface(model)
    if interface is None:
        return ()
    shape, classes = interface
    limit = cost_of(channels_of(model)).macs or 0
    options = staged_cnn.ARCHITECTURE.options
    members = (
        Network(blocks=blocks, width=int(width), depth=int(depth), stride=int(stride))
        for blocks, width, depth, stride in itertools.product(
            BLOCKS, options["width"], options["depth"], options["stride"]
        )
    )
    return tuple(
        sorted(one for one in members if staged_cnn.macs(one.options, input_shape=shape, classes=classes) <= limit)
    )


def nearest(networks: Sequence[Network], wanted: Network) -> Network:
    """Return the network that is nearest to one that is wanted, of equally near ones the first."""
    return min(networks, key=lambda one: (wanted.distance(one), one))


def why_none(model: Any) -> str:
    """Return why no network may be built in place of a model for which `networks_of` gives none."""
    if model.name not in zoo.names():
        return f"'{model.name}' is no model of the zoo that others of a family may take the place of"
    if not zoo.architecture(model.name).searchable:
        searched = ", ".join(name for name in zoo.names() if zoo.architecture(name).searchable)
        return f"networks are built in the place of {searched}, not of '{model.name}'"
    if _interface(model) is None:
        return (
            f"'{model.name}' has the name of a model of the zoo and another interface: a network of the family takes "
            "one picture with pixels of 0 to 255, scales it first, and gives a probability for each class"
        )
    return f"no network of the family has as few multiply-accumulates as '{model.name}'"


def _interface(model: Any) -> tuple[tuple[int, int, int], int] | None:
    """Return (height, width, channels) and the number of classes of a searchable model of the zoo, else None."""
    if model.name not in zoo.names() or not zoo.architecture(model.name).searchable:
        return None
    shape, outputs = tuple(model.inputs[0].shape[1:]), tuple(model.outputs[0].shape[1:])
    # A model of that name may be somebody's own: the family takes pixels 0 to 255 and gives a probability a class.
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(shape) != 3 or None in shape or len(outputs) != 1:
        return None
    if not _scales_pixels(model) or min(shape[:2]) < staged_cnn.ARCHITECTURE.smallest or outputs[0] < 2:
        return None
    height, width, channels = shape
    return (height, width, channels), int(outputs[0])


def _scales_pixels(model: Any) -> bool:
    """Return whether a model begins with what every searchable one of the zoo begins with."""
    from keras import layers

    first = next((layer for layer in model.layers if not isinstance(layer, layers.InputLayer)), None)
    return isinstance(first, layers.Rescaling) and first.name == "scale_pixels"
