"""Keras 3 -> TFLite: one sample in, every output of the model out, float32, with a signature."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from edgefm.core import scratch
from edgefm.core.errors import ModelError
from edgefm.core.silence import silenced
from edgefm.tflite import flatbuffer
from edgefm_converters.tflite.added_head import PREFIX

SIGNATURE = "serving_default"
INPUT = "image"
OUTPUT = "probabilities"
_UNSUPPORTED = re.compile(r"'(tf\.[^']+)' op is neither a custom op nor a flex op")
_PROBABILITIES = ("softmax", "sigmoid")


class Given(NamedTuple):
    """An input: its shape with the batch of 1, and its dtype, 'float32' or that of tokens."""

    shape: tuple[int, ...]
    dtype: str = "float32"


def float32_tflite(model: Any) -> bytes:
    """Return a model as a float32 TFLite file with batch 1 and built-in operators only.

    Args:
      model: keras.Model on the TensorFlow backend with inputs of fixed size, of any rank.
    Returns:
      content of a .tflite file; its signature `serving_default` takes `input_names(model)` and gives
      `output_names(model)`, in the model's order.
    Raises:
      ModelError: a size that is not fixed, or an operator that TFLite does not have.
    """
    import keras

    from edgefm.keras_graph.ends import check_model_ends, check_names, input_names
    from edgefm.keras_graph.graph import packed_inputs
    from edgefm.keras_graph.unrolling import unrolled

    check_model_ends(model, source=f"the model '{model.name}'")
    check_names(model)
    names, taken, model = output_names(model), input_names(model), unrolled(model)

    def serve(*tensors: Any) -> dict[str, Any]:
        outputs = model(packed_inputs(model, tensors), training=False)
        return dict(zip(names, keras.tree.flatten(outputs), strict=True))

    return tflite_of_function(
        serve,
        inputs={
            name: Given((1, *tensor.shape[1:]), str(tensor.dtype) if "int" in str(tensor.dtype) else "float32")
            for name, tensor in zip(taken or (INPUT,), model.inputs, strict=True)
        },
        holds=[weight.value for weight in model.variables],
        outputs=names,
        source=f"the model '{model.name}'",
    )


def output_names(model: Any) -> tuple[str, ...]:
    """Return a name for each output of a Keras model, none twice, in the model's order.

    'probabilities' where the only output is one softmax or sigmoid a sample; the keys of a model that gives a
    dictionary; else the names of the layers that give them.
    """
    from edgefm.keras_graph.ends import input_names

    layers = [tensor._keras_history.operation for tensor in model.outputs]
    keys = _keys(model)
    if keys is None and len(layers) == 1 and len(model.outputs[0].shape) == 2 and _gives_probabilities(layers[0]):
        return (OUTPUT,)
    names: list[str] = []
    for wanted in keys or [_named_by(layer).name for layer in layers]:
        name, number = wanted, 1
        while name in (*names, *(input_names(model) or (INPUT,))):
            name, number = f"{wanted}_{number}", number + 1
        names.append(name)
    return tuple(names)


def _keys(model: Any) -> list[str] | None:
    """Return the keys of a model that gives a dictionary of several tensors, in the order of its outputs."""
    from edgefm.keras_graph.graph import functional

    struct = getattr(functional(model), "_outputs_struct", None)
    if not isinstance(struct, dict) or len(struct) < 2:
        return None
    places = {id(tensor): str(key) for key, tensor in struct.items()}
    return [places[id(tensor)] for tensor in model.outputs] if len(places) == len(model.outputs) else None


def tflite_of_function(
    serve: Callable[..., Mapping[str, Any]],
    *,
    inputs: Mapping[str, Given],
    holds: Any,
    outputs: Sequence[str],
    source: str,
) -> bytes:
    """Return a function of TensorFlow as a float32 TFLite file.

    Args:
      serve: from tensors, in the order of `inputs`, to tensors by name.
      inputs: by name, in the order in which the file takes them.
      holds: what owns the variables that it reads.
      outputs: names of its outputs, in the order in which the file gives them.
      source: what is converted, in error messages.
    Raises:
      ModelError: TensorFlow cannot convert it.
    """
    try:
        content = converted(serve, inputs=inputs, holds=holds)
    except Exception as error:  # the converter raises its own class, TensorFlow several others
        message = str(error)
        names = sorted(set(_UNSUPPORTED.findall(message)))
        if names:
            raise ModelError(
                f"{source} uses {', '.join(names)}, which TFLite does not have",
                hint="Replace the layer that needs it, or write it with other operations.",
            ) from error
        lines = [line.strip() for line in message.splitlines() if line.strip()]
        reason = lines[0][:300] if lines else type(error).__name__
        raise ModelError(f"TensorFlow cannot convert {source}: {reason}") from error
    return in_order(content, outputs, inputs=tuple(inputs))


def converted(
    serve: Callable[..., Mapping[str, Any]],
    *,
    inputs: Mapping[str, Given],
    holds: Any,
    options: Mapping[str, Any] | None = None,
) -> bytes:
    """Return what TensorFlow's converter makes of a function; see `tflite_of_function`, whose `in_order` follows.

    `options` are attributes of the converter. It raises what TensorFlow raises.
    """
    import tensorflow as tf

    # The variables must hang on what is saved, and the batch is fixed by the signature.
    module = tf.Module()
    module.holds = holds
    names = _plain_names(inputs)
    specs = [
        tf.TensorSpec(given.shape, given.dtype, name=name) for name, given in zip(names, inputs.values(), strict=True)
    ]
    module.serve = tf.function(serve, input_signature=specs, autograph=False)
    with silenced(), scratch.folder("saved-model") as made:
        folder = str(made)
        tf.saved_model.save(module, folder, signatures={SIGNATURE: module.serve.get_concrete_function()})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        for name, value in (options or {}).items():
            setattr(converter, name, value)
        return bytes(converter.convert())


def _plain_names(inputs: Sequence[str] | Mapping[str, Any]) -> tuple[str, ...]:
    """Return names for TensorFlow, which changes characters that its own names do not have."""
    return tuple(inputs) if len(inputs) == 1 else tuple(f"input_{place}" for place in range(len(inputs)))


def in_order(content: bytes, names: Sequence[str], *, inputs: Sequence[str] = (INPUT,)) -> bytes:
    """Return a .tflite file with its ends in this order and of these names; TensorFlow's order is the alphabet's.

    Args:
      content: of a file with one graph and one signature, from `converted`.
      names: of all outputs in the signature.
      inputs: names of all inputs.
    """
    model = flatbuffer.editable(content)
    graph, (signature,) = model.subgraphs[0], model.signatureDefs
    if len(inputs) > 1:
        by_plain_name = {entry.name.decode(): entry for entry in signature.inputs}
        signature.inputs = [by_plain_name[name] for name in _plain_names(inputs)]
        graph.inputs = [entry.tensorIndex for entry in signature.inputs]
        for entry, name in zip(signature.inputs, inputs, strict=True):
            entry.name = name.encode()
            graph.tensors[entry.tensorIndex].name = entry.name
        content = flatbuffer.write(model)
    by_name = {output.name.decode(): output for output in signature.outputs}
    assert sorted(by_name) == sorted(names), f"the signature gives {sorted(by_name)}, not {sorted(names)}"
    wanted = [by_name[name].tensorIndex for name in names]
    if [int(index) for index in graph.outputs] == wanted:
        return content
    graph.outputs = wanted
    signature.outputs = [by_name[name] for name in names]
    return flatbuffer.write(model)


def _named_by(layer: Any) -> Any:
    """Return the layer that an output is named by: the one before an activation that edgefm added."""
    if layer.name.startswith(PREFIX) and layer._inbound_nodes:
        return layer._inbound_nodes[0].input_tensors[0]._keras_history.operation
    return layer


def _gives_probabilities(layer: Any) -> bool:
    activation = getattr(layer, "activation", None)
    return type(layer).__name__.lower() in _PROBABILITIES or getattr(activation, "__name__", None) in _PROBABILITIES
