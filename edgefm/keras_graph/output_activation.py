"""What an output of a Keras model comes from: a softmax, a sigmoid, a layer without activation, or something else."""

from __future__ import annotations

from typing import Any

_PASSES_ON = (
    "Activation",
    "ActivityRegularization",
    "Dropout",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "Permute",
    "Reshape",
    "Squeeze",
)
_OPERATIONS = {
    "HardSigmoid": "sigmoid",
    "LogSigmoid": "log_sigmoid",
    "LogSoftmax": "log_softmax",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
}
_ACTIVATIONS = {
    "hard_sigmoid": "sigmoid",
    "log_sigmoid": "log_sigmoid",
    "log_softmax": "log_softmax",
    "sigmoid": "sigmoid",
    "softmax": "softmax",
}
_AFFINE = (
    "BatchNormalization",
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "Dense",
    "DepthwiseConv2D",
    "EinsumDense",
    "SeparableConv2D",
)


def output_activation(tensor: Any) -> str:
    """Return what a symbolic tensor of Keras 3 comes from, through layers that pass values on.

    Args:
      tensor: an output of a keras.Model.
    Returns:
      'softmax', 'sigmoid', 'log_softmax', 'log_sigmoid'; 'linear' for a dense or convolutional layer or a batch
      normalisation without activation; 'other' for everything else.
    """
    while True:
        history = tensor._keras_history
        operation = history.operation
        if hasattr(operation, "layers"):  # a model within the model
            tensor = operation.outputs[history.tensor_index]
            continue
        kind = type(operation).__name__
        if kind in _OPERATIONS:
            return _OPERATIONS[kind]
        activation = getattr(getattr(operation, "activation", None), "__name__", "linear")
        if activation in _ACTIVATIONS:
            return _ACTIVATIONS[activation]
        if activation != "linear":
            return "other"
        if kind in _AFFINE:
            return "linear"
        if kind not in _PASSES_ON:
            return "other"
        tensor = operation._inbound_nodes[history.node_index].input_tensors[0]
