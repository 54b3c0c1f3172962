"""Weights of another training as the beginning of a new one: the backbone is taken over, the head stays new."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.core.text import few


@dataclass(frozen=True, kw_only=True)
class StoredLayer:
    """The weights of a layer in a file.

    Attributes:
      names: by which the file calls the layer, the likeliest first.
      arrays: its weights in Keras's order, those that are trained first.
    """

    names: tuple[str, ...]
    arrays: tuple[NDArray[Any], ...]


def take_over(model: Any, stored: Sequence[StoredLayer], *, source: str) -> tuple[str, ...]:
    """Set the weights of a model's backbone to those in a file and return the names of its layers.

    The last layer with weights, which gives the classes, stays as it is, and so do layers behind the last one that the
    file holds: files without a head end earlier than the model. All layers before it must be in the file.

    Args:
      model: keras.Model; nested models are looked into.
      stored: what the file holds, in any order.
      source: the file, for messages.
    Raises:
      ModelError: the file holds none of the layers, lacks one within the backbone, or holds one of other shapes.
    """
    layers = [layer for layer in dict.fromkeys(_in_order(model)) if own_weights(layer)]
    backbone = layers[:-1]
    held: dict[str, StoredLayer] = {}
    for entry in stored:
        for name in entry.names:
            held.setdefault(_plain(name), entry)
    places = [place for place, layer in enumerate(backbone) if _plain(layer.name) in held]
    if not places:
        known = [entry.names[0] for entry in stored]
        raise ModelError(
            f"the weights in {source} fit no layer of '{model.name}': it holds {few(known) or 'none'}; the model "
            f"begins with {few([layer.name for layer in layers])}",
            hint="Give weights of the same network, saved by Keras: model.save_weights('mine.weights.h5').",
        )
    taken = backbone[: places[-1] + 1]
    for layer in taken:
        if _plain(layer.name) not in held:
            raise ModelError(
                f"the weights in {source} lack the layer '{layer.name}' of '{model.name}', though they hold layers "
                "behind it",
                hint="Give weights of the same network with the same options.",
            )
        _check(layer, held[_plain(layer.name)], source=source, name=str(model.name))
    for layer in taken:
        for weight, array in zip(own_weights(layer), held[_plain(layer.name)].arrays, strict=True):
            weight.assign(array)
    return tuple(str(layer.name) for layer in taken)


def _in_order(layer: Any) -> Iterator[Any]:
    """Yield the layers within a layer or a model; Keras's own list has those of nested models in reverse."""
    for part in layer._layers:
        yield part
        yield from _in_order(part)


def own_weights(layer: Any) -> list[Any]:
    """Return the weights that a layer holds itself, without those of layers in it and the states of random numbers."""
    if hasattr(layer, "_nodes_by_depth"):  # a model within the model
        return []
    weights = [*layer._trainable_variables, *layer._non_trainable_variables]
    return [weight for weight in weights if "seed_generator" not in str(weight.path)]


def _check(layer: Any, entry: StoredLayer, *, source: str, name: str) -> None:
    wanted = [tuple(weight.shape) for weight in own_weights(layer)]
    given = [tuple(array.shape) for array in entry.arrays]
    if wanted == given:
        return
    hint = "Give weights of the same network with the same options and the same size of pictures."
    (first, *_), (other, *_) = wanted or [()], given or [()]
    if len(first) == len(other) == 4 and first[2] != other[2] and first[:2] == other[:2]:
        hint = f"They were learnt on pictures of {other[2]} channels: train with {other[2]} channels."
    elif len(first) == len(other) == 2 and first[1] == other[1]:
        hint = "They were learnt on pictures of another size: train with that size."
    raise ModelError(
        f"the weights in {source} do not fit the layer '{layer.name}' of '{name}': they are {_shapes(given)}, the "
        f"layer takes {_shapes(wanted)}",
        hint=hint,
    )


def _shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(" x ".join(map(str, shape)) or "a number" for shape in shapes) or "none"


def _plain(name: str) -> str:
    """Return a layer's name as Keras 2 and Keras 3 both have it.

    >>> _plain("expanded_conv/depthwise/BatchNorm")
    'expanded_conv_depthwise_bn'
    """
    return name.lower().replace("/", "_").replace("batchnorm", "bn")
