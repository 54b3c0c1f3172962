"""The weights that a description declares, counted while Keras makes the layers and before it makes the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edgefm.core.errors import ModelError

# States that are not saved, such as those of random generators.
_NOT_SAVED = 1 << 20


class Declared:
    """Weights that were declared so far.

    Attributes:
      refused: what was raised where they were too many; Keras wraps it in errors of its own.
    """

    def __init__(self) -> None:
        self.elements = 0
        self.refused: ModelError | None = None


@contextmanager
def counted(layer_class: Any, *, held: int | None, source: str) -> Iterator[Declared]:
    """Raise a ModelError in the block where layers declare more weights than a file holds: it cannot fill them.

    Args:
      layer_class: keras.Layer or that of tf_keras; each of their layers makes its weights by its `add_weight`.
      held: numbers in the file; None where they were not counted: then nothing is done.
      source: of the model, for messages.
    """
    declared = Declared()
    original = layer_class.add_weight

    def add_weight(self: Any, *args: Any, **kwargs: Any) -> Any:
        shapes = [value for value in (*args, kwargs.get("shape")) if isinstance(value, list | tuple)]
        declared.elements += math.prod(length for length in (shapes or [()])[0] if isinstance(length, int))
        if held is not None and declared.elements > held + _NOT_SAVED:
            declared.refused = ModelError(
                f"{source} describes a model of {declared.elements:,} weights or more, and holds {held:,}"
            )
            raise declared.refused
        return original(self, *args, **kwargs)

    layer_class.add_weight = add_weight
    try:
        yield declared
    finally:
        layer_class.add_weight = original
