"""A model that a function of the user's own builds, named as 'module:function'."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgefm.core.errors import EdgefmError, ModelError, RecipeError
from edgefm.core.named_function import function_named, imports_from
from edgefm.core.silence import silenced

_HINT = (
    "It may take input_shape, (height, width, channels), and classes, and must return a keras.Model: pixels 0 to 255 "
    "in, a probability for each class out."
)


class NamedModel:
    """A function that builds a keras.Model; it is imported when this is made, and called by `build`.

    Attributes:
      where: 'module:function'.
      takes_shape: it can be given the shape of the pictures.
      takes_classes: it can be given the number of classes.
    """

    def __init__(self, where: str, *, named_in: Path | None = None) -> None:
        """Import a function.

        Args:
          where: 'module:function'.
          named_in: file that names it, see `edgefm.core.named_function`; None where the user does.
        Raises:
          DataError: there is no such function, or it is not trusted.
          ModelError: its arguments cannot be known.
        """
        self.where = where
        self._function: Callable[..., Any]
        self._function, self._folder = function_named(where, named_in=named_in)
        if hasattr(self._function, "get_config") and not inspect.isclass(self._function):
            raise ModelError(f"{where} is a model, not a function that returns one", hint=_HINT)
        try:
            self._arguments = inspect.signature(self._function).parameters
        except (TypeError, ValueError) as error:
            raise ModelError(f"the arguments of {where} cannot be known: {error}", hint=_HINT) from error
        self.takes_shape = self._takes("input_shape")
        self.takes_classes = self._takes("classes")

    def build(self, *, input_shape: tuple[int, ...] | None, classes: int | None, options: Mapping[str, str]) -> Any:
        """Return what the function gives: a keras.Model, its graph made known where it is a subclassed one.

        Args:
          input_shape: given to it where it takes it.
          classes: given to it where it takes it.
          options: further arguments.
        Raises:
          ModelError: it raised, or returned no keras.Model.
          RecipeError: an option that it does not take, or an argument that it needs and nobody gave.
        """
        given: dict[str, Any] = dict(options)
        if self.takes_shape and input_shape is not None:
            given["input_shape"] = input_shape
        if self.takes_classes and classes is not None:
            given["classes"] = classes
        for name in options:
            if not self._takes(name):
                raise RecipeError(
                    f"{self.where} takes no argument '{name}'; it takes: {', '.join(self._arguments) or 'none'}"
                )
        try:
            inspect.signature(self._function).bind(**given)
        except TypeError as error:
            raise RecipeError(f"{self.where} cannot be called: {error}", hint=_HINT) from error
        with imports_from(self._folder):
            try:
                model = self._function(**given)
            except EdgefmError:  # it would have imported what is not trusted, say
                raise
            except Exception as error:  # whatever the user's code raises
                raise ModelError(f"{self.where} raised {type(error).__name__}: {error}", hint=_HINT) from error
        import keras

        if not isinstance(model, keras.Model):
            raise ModelError(f"{self.where} returned {type(model).__name__}, no keras.Model", hint=_HINT)
        return as_graph(model, input_shape=input_shape, source=self.where)

    def _takes(self, name: str) -> bool:
        kinds = {argument.kind for argument in self._arguments.values()}
        known = self._arguments.get(name)
        if known is not None:
            return known.kind in (known.KEYWORD_ONLY, known.POSITIONAL_OR_KEYWORD)
        return inspect.Parameter.VAR_KEYWORD in kinds


def as_graph(model: Any, *, input_shape: tuple[int, ...] | None, source: str) -> Any:
    """Return a model whose graph of layers is known: a subclassed one is traced, a Sequential one is built.

    The layers, and so the weights, are the model's own. What a subclassed model does in training alone, other than
    through its layers, is not in the graph.

    Raises:
      ModelError: the code of a subclassed model cannot be traced, or nothing says what it takes.
    """
    import keras

    from edgefm.keras_graph.graph import is_graph

    if is_graph(model):
        return model
    shape = input_shape
    if shape is None:
        raise ModelError(
            f"nothing says which pictures the model '{model.name}' of {source} takes",
            hint="Begin it with keras.Input((height, width, channels)), or let the function take input_shape.",
        )
    if isinstance(model, keras.Sequential):
        model.build((None, *shape))
        return model
    inputs = keras.Input(shape, name="image")
    takes_training = "training" in inspect.signature(model.call).parameters
    try:
        with silenced():
            outputs = model.call(inputs, training=None) if takes_training else model.call(inputs)
            return keras.Model(inputs, outputs, name=model.name)
    except Exception as error:  # whatever the user's code raises
        raise ModelError(
            f"{source} returned a subclassed model ({type(model).__name__}) whose call cannot be traced: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            hint="Use layers of Keras and keras.ops in it alone; or build it as keras.Sequential or as "
            "keras.Model(inputs, outputs).",
        ) from error
