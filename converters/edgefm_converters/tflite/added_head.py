"""A softmax or a sigmoid behind the first output of a model that gives logits."""

from __future__ import annotations

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edgefm.core.silence import silenced
from edgefm.tflite import flatbuffer

# What is added to a Keras model is a layer of this prefix; its output keeps the name of the layer before it.
PREFIX = "edgefm_"


def with_activation(model: Any, activation: str) -> Any:
    """Return a Keras model whose first output goes through 'softmax' or 'sigmoid'; the others stay."""
    import keras

    from edgefm.keras_graph.graph import packed_inputs, packed_outputs

    layer = (
        keras.layers.Softmax(name=f"{PREFIX}softmax")
        if activation == "softmax"
        else keras.layers.Activation(activation, name=f"{PREFIX}{activation}")
    )
    outputs = [layer(model.outputs[0]), *model.outputs[1:]]
    with silenced():
        return keras.Model(packed_inputs(model, model.inputs), packed_outputs(model, outputs), name=model.name)


def with_operator(content: bytes, activation: str) -> bytes:
    """Return a float32 .tflite file whose first output goes through 'softmax' or 'sigmoid'; the others stay.

    The output keeps its name in the signature, and gets one of its own in the graph.
    """
    model = flatbuffer.editable(content)
    graph = model.subgraphs[0]
    inner = int(graph.outputs[0])
    tensor = graph.tensors[inner]
    graph.tensors.append(
        schema.TensorT(
            shape=list(tensor.shape), type=tensor.type, buffer=0, name=tensor.name + f"/{activation}".encode()
        )
    )
    outer = len(graph.tensors) - 1
    softmax = activation == "softmax"
    code = schema.BuiltinOperator.SOFTMAX if softmax else schema.BuiltinOperator.LOGISTIC
    graph.operators.append(
        schema.OperatorT(
            opcodeIndex=flatbuffer.operator_code(model, code),
            inputs=[inner],
            outputs=[outer],
            builtinOptionsType=schema.BuiltinOptions.SoftmaxOptions if softmax else schema.BuiltinOptions.NONE,
            builtinOptions=schema.SoftmaxOptionsT(beta=1.0) if softmax else None,
        )
    )
    graph.outputs = [outer, *(int(index) for index in graph.outputs[1:])]
    for signature in model.signatureDefs or []:
        for output in signature.outputs:
            if output.tensorIndex == inner:
                output.tensorIndex = outer
    return flatbuffer.write(model)
