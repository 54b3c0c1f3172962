"""Writes .tflite files from nothing: tensors and operators added one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgefm.tflite import flatbuffer


class GraphWriter:
    """A model in the making."""

    def __init__(self) -> None:
        self._buffers = [schema.BufferT()]
        self._codes: list[Any] = []
        self._tensors: list[Any] = []
        self._operators: list[Any] = []

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        kind: int,
        *,
        data: Any = None,
        scales: Any = None,
        zero_point: int = 0,
        axis: int = 0,
    ) -> int:
        """Add a tensor, a constant where there is data, and return its index.

        Args:
          name: of the tensor.
          shape: its lengths.
          kind: its dtype in the schema's enumeration.
          data: array of its values.
          scales: one, or one a channel, where it is quantised.
          zero_point: of all channels.
          axis: along which channels lie.
        """
        buffer = 0
        if data is not None:
            buffer = len(self._buffers)
            self._buffers.append(schema.BufferT(data=data.reshape(-1).view(np.uint8)))
        parameters = None
        if scales is not None:
            parameters = schema.QuantizationParametersT(
                scale=np.asarray(scales, np.float32),
                zeroPoint=np.full(len(scales), zero_point, np.int64),
                quantizedDimension=axis,
            )
        self._tensors.append(
            schema.TensorT(
                name=name.encode(),
                shape=np.array(shape, np.int32),
                type=kind,
                buffer=buffer,
                quantization=parameters,
            )
        )
        return len(self._tensors) - 1

    def quantization(self, tensor: int) -> tuple[float, int]:
        """Return the scale and the zero point of a tensor that is quantised as a whole."""
        parameters = self._tensors[tensor].quantization
        return float(parameters.scale[0]), int(parameters.zeroPoint[0])

    def operator(
        self,
        code: int,
        inputs: Sequence[int],
        output: int,
        *,
        options: Any = None,
        options_type: int = 0,
        version: int = 1,
    ) -> None:
        """Add an operator of a built-in code."""
        self._codes.append(
            schema.OperatorCodeT(deprecatedBuiltinCode=min(code, 127), builtinCode=code, version=version)
        )
        self._operators.append(
            schema.OperatorT(
                opcodeIndex=len(self._codes) - 1,
                inputs=np.array(inputs, np.int32),
                outputs=np.array([output], np.int32),
                builtinOptions=options,
                builtinOptionsType=options_type,
            )
        )

    def write(self, source: int, sink: int) -> bytes:
        """Return the file."""
        graph = schema.SubGraphT(
            tensors=self._tensors,
            operators=self._operators,
            inputs=np.array([source], np.int32),
            outputs=np.array([sink], np.int32),
        )
        return flatbuffer.write(
            schema.ModelT(version=3, operatorCodes=self._codes, subgraphs=[graph], buffers=self._buffers)
        )
