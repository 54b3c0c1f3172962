"""The reader in pure Python against the code that is generated of the schema."""

from __future__ import annotations

import inspect
import re
import struct
import sys
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema

from edgefm.tflite import schema_fields as fields
from edgefm.tflite.tables import DAMAGES, Table
from tests.fixtures import tiny_models

SHIPPED = Path(__file__).parent.parent.parent / "android_demo_assets" / "int8" / "model.tflite"


@pytest.mark.parametrize(
    ("number", "table", "accessor"),
    [
        (fields.MODEL_CODES, schema.Model, "OperatorCodes"),
        (fields.MODEL_SUBGRAPHS, schema.Model, "Subgraphs"),
        (fields.MODEL_BUFFERS, schema.Model, "Buffers"),
        (fields.MODEL_METADATA, schema.Model, "Metadata"),
        (fields.MODEL_SIGNATURES, schema.Model, "SignatureDefs"),
        (fields.GRAPH_TENSORS, schema.SubGraph, "Tensors"),
        (fields.GRAPH_INPUTS, schema.SubGraph, "Inputs"),
        (fields.GRAPH_OUTPUTS, schema.SubGraph, "Outputs"),
        (fields.GRAPH_OPERATORS, schema.SubGraph, "Operators"),
        *zip(fields.TENSOR_VECTORS, [schema.Tensor] * 3, ("Shape", "Name", "ShapeSignature"), strict=True),
        *zip(
            fields.OPERATOR_VECTORS,
            [schema.Operator] * 5,
            ("Inputs", "Outputs", "CustomOptions", "MutatingVariableInputs", "Intermediates"),
            strict=True,
        ),
        *zip(
            fields.QUANTIZATION_VECTORS,
            [schema.QuantizationParameters] * 4,
            ("Min", "Max", "Scale", "ZeroPoint"),
            strict=True,
        ),
        (fields.TENSOR_SHAPE, schema.Tensor, "Shape"),
        (fields.TENSOR_TYPE, schema.Tensor, "Type"),
        (fields.TENSOR_BUFFER, schema.Tensor, "Buffer"),
        (fields.TENSOR_NAME, schema.Tensor, "Name"),
        (fields.TENSOR_QUANTIZATION, schema.Tensor, "Quantization"),
        (fields.TENSOR_SIGNATURE, schema.Tensor, "ShapeSignature"),
        (fields.BUFFER_DATA, schema.Buffer, "Data"),
        (fields.BUFFER_OFFSET, schema.Buffer, "Offset"),
        (fields.BUFFER_SIZE, schema.Buffer, "Size"),
        (fields.QUANTIZATION_SCALE, schema.QuantizationParameters, "Scale"),
        (fields.QUANTIZATION_ZERO_POINT, schema.QuantizationParameters, "ZeroPoint"),
        (fields.METADATA_NAME, schema.Metadata, "Name"),
        (fields.METADATA_BUFFER, schema.Metadata, "Buffer"),
        (fields.SIGNATURE_INPUTS, schema.SignatureDef, "Inputs"),
        (fields.SIGNATURE_OUTPUTS, schema.SignatureDef, "Outputs"),
        (fields.SIGNATURE_KEY, schema.SignatureDef, "SignatureKey"),
        (fields.SIGNATURE_GRAPH, schema.SignatureDef, "SubgraphIndex"),
        (fields.SIGNATURE_TENSOR_NAME, schema.TensorMap, "Name"),
        (fields.SIGNATURE_TENSOR_INDEX, schema.TensorMap, "TensorIndex"),
    ],
)
def test_field_numbers_are_those_of_the_generated_code(number: int, table: type, accessor: str) -> None:
    offset = re.search(r"Offset\((\d+)\)", inspect.getsource(getattr(table, accessor)))
    assert offset is not None and int(offset[1]) == 4 + 2 * number


def test_tensor_types_are_those_of_the_schema() -> None:
    names = {number: name.lower() for name, number in vars(schema.TensorType).items() if isinstance(number, int)}
    assert fields.DTYPES.items() <= names.items()


def test_table_reads_what_the_generated_code_reads() -> None:
    content = SHIPPED.read_bytes()
    tensors = Table.root(content).tables(fields.MODEL_SUBGRAPHS)[0].tables(fields.GRAPH_TENSORS)
    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    assert len(tensors) == graph.TensorsLength()
    for index, tensor in enumerate(tensors):
        other = graph.Tensors(index)
        assert tensor.text(fields.TENSOR_NAME) == other.Name().decode()
        assert tensor.numbers(fields.TENSOR_SHAPE, "<i") == tuple(other.ShapeAsNumpy())
        parameters = tensor.table(fields.TENSOR_QUANTIZATION)
        if parameters is not None and other.Quantization().ScaleLength():
            assert parameters.floats(fields.QUANTIZATION_SCALE) == tuple(other.Quantization().ScaleAsNumpy())


def test_table_absent_fields_are_empty() -> None:
    model = Table.root(tiny_models.add())
    assert model.numbers(99, "<i") is None
    assert (model.text(99), model.floats(99), list(model.tables(99)), model.table(99)) == ("", (), [], None)


@pytest.mark.parametrize("content", [b"", struct.pack("<I", 1 << 30), struct.pack("<Ii", 4, 1 << 30)])
def test_table_outside_the_file_is_damage(content: bytes) -> None:
    with pytest.raises(DAMAGES):
        Table.root(content).field(0)


def test_vector_beyond_the_end_is_damage() -> None:
    content = bytearray(tiny_models.add())
    graph = Table.root(bytes(content)).tables(fields.MODEL_SUBGRAPHS)[0]
    inputs = graph.reference(fields.GRAPH_INPUTS)
    assert inputs is not None
    content[inputs : inputs + 4] = struct.pack("<I", 1 << 30)
    with pytest.raises(DAMAGES):
        Table.root(bytes(content)).tables(fields.MODEL_SUBGRAPHS)[0].numbers(fields.GRAPH_INPUTS, "<i")


def test_pure_readers_import_no_library_of_the_format() -> None:
    import subprocess

    code = (
        "import sys, edgefm.tflite.tflite_file, edgefm.tflite.metadata_reader, edgefm.tflite.contract, "
        "edgefm.runtimes.tflite_ends, edgefm.worker.worker; "
        "sys.exit(bool({'flatbuffers', 'ai_edge_litert'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
