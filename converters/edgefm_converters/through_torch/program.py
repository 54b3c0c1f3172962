"""A Keras model as a program of PyTorch (`torch.export`), without what ExecuTorch and coremltools stumble over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.core.silence import silenced
from edgefm_converters.readers.keras_file import check_file, in_float32
from edgefm_converters.readers.stored_config import HOW_TO_SAVE, read_stored
from edgefm_converters.tflite.added_head import with_activation


def loaded(path: Path, *, added: str = "") -> Any:
    """Return the model of a .keras file, on PyTorch, in float32, its batch normalisation folded.

    Args:
      path: of the file.
      added: 'softmax' or 'sigmoid', which comes behind the first output.
    Raises:
      ModelError: it holds code, is of Keras 2, or Keras cannot load it.
    """
    import keras

    from edgefm.keras_graph.folding import fold  # ChannelShift is registered there, too

    check_file(path)
    stored = read_stored(path)
    if stored.kind != "keras" or stored.of_keras_2:
        raise ModelError("PyTorch reads .keras files of Keras 3, and this is another", hint=HOW_TO_SAVE)
    try:
        with silenced():
            model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever its layers' code raises
        said = " ".join(str(error).split())
        raise ModelError(f"Keras cannot load it on PyTorch: {said[:300]}", hint=HOW_TO_SAVE) from error
    model = in_float32(model)
    model = fold(model)[0]
    return with_activation(model, added) if added else model


def exported(model: Any, sample: NDArray[Any]) -> Any:
    """Return a model as `torch.export.ExportedProgram`: a sample in, a tuple of outputs out.

    Args:
      model: keras.Model on PyTorch, with one input.
      sample: [1, ...], of the input's dtype.
    """
    import keras
    import torch

    class Serving(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, inputs: Any) -> Any:
            return tuple(keras.tree.flatten(self.model(inputs, training=False)))

    with torch.no_grad():
        program = torch.export.export(Serving().eval(), (torch.from_numpy(np.array(sample)),)).run_decompositions({})
    graph = program.graph_module.graph
    aten = torch.ops.aten
    for node in list(graph.nodes):
        if node.target is aten._assert_tensor_metadata.default:  # a constant that has such a user is not folded
            graph.erase_node(node)
        elif node.target is aten.clone.default and node.kwargs.get("memory_format") in (
            torch.channels_last,
            torch.channels_last_3d,
        ):
            # Where values lie in memory, which Keras asks for before convolutions; ExecuTorch does not run it.
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    program.graph_module.recompile()
    return program
