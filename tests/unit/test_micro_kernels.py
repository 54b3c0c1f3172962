"""What TensorFlow Lite Micro loads follows from the operators and types of a file: by loading it, else by a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import edgefm
from edgefm.benchmarking.file_facts import file_facts
from edgefm.comparison.shipping.loading import not_on_microcontrollers
from edgefm.core.errors import ModelError
from edgefm.runtimes import tflm
from edgefm.tflite import micro_kernels
from edgefm.tflite.inspection import inspect
from tests.fixtures.benchmark_records import row
from tests.fixtures.tiny_models import Graph, Operator, Tensor, build


def tensor(name: str, dtype: str, shape: tuple[int, ...] = (1, 4), data: Any = None) -> Tensor:
    values = None if data is None else np.asarray(data, dtype)
    return Tensor(name=name, shape=shape, dtype=dtype, data=values, scale=(0.05,) if "int8" in dtype else ())


def options(name: str, **values: Any) -> dict[str, Any]:
    made = getattr(schema, f"{name}T")()
    for key, value in values.items():
        setattr(made, key, value)
    return {"options": made, "options_type": getattr(schema.BuiltinOptions, name)}


def unary(name: str, dtype: str, result: str = "", kind: str = "", **values: Any) -> bytes:
    tensors = [tensor("in", dtype), tensor("out", result or dtype)]
    given = options(kind, **values) if kind else {}
    graph = Graph(
        tensors=tensors, operators=[Operator(name=name, inputs=(0,), outputs=(1,), **given)], inputs=[0], outputs=[1]
    )
    return build(graph)


def binary(name: str, dtype: str, kind: str) -> bytes:
    tensors = [tensor("a", dtype), tensor("b", dtype), tensor("out", dtype)]
    operator = Operator(name=name, inputs=(0, 1), outputs=(2,), **options(kind))
    return build(Graph(tensors=tensors, operators=[operator], inputs=[0, 1], outputs=[2]))


def gather(places: str) -> bytes:
    tensors = [tensor("in", "int8"), tensor("places", places, (2,), [0, 1]), tensor("out", "int8", (1, 2))]
    operator = Operator(name="GATHER", inputs=(0, 1), outputs=(2,), **options("GatherOptions", axis=1))
    return build(Graph(tensors=tensors, operators=[operator], inputs=[0], outputs=[2]))


def select(name: str, dtype: str) -> bytes:
    tensors = [tensor("which", "bool"), tensor("a", dtype), tensor("b", dtype), tensor("out", dtype)]
    operator = Operator(name=name, inputs=(0, 1, 2), outputs=(3,))
    return build(Graph(tensors=tensors, operators=[operator], inputs=[0, 1, 2], outputs=[3]))


def transposed_convolution() -> bytes:
    tensors = [
        tensor("shape", "int32", (4,), [1, 4, 4, 1]),
        tensor("weights", "int8", (1, 2, 2, 1), np.ones((1, 2, 2, 1))),
        tensor("in", "int8", (1, 2, 2, 1)),
        tensor("out", "int8", (1, 4, 4, 1)),
    ]
    given = options("TransposeConvOptions", strideW=2, strideH=2, padding=schema.Padding.VALID)
    operator = Operator(name="TRANSPOSE_CONV", inputs=(0, 1, 2), outputs=(3,), **given)
    return build(Graph(tensors=tensors, operators=[operator], inputs=[2], outputs=[3]))


def shape_of_floats() -> bytes:
    """Return an int8 graph that turns its input into floats to ask for their shape alone, as stock converters do."""
    tensors = [
        tensor("in", "int8"),
        tensor("floats", "float32"),
        tensor("shape", "int32", (2,)),
        tensor("out", "int8"),
    ]
    operators = [
        Operator(name="DEQUANTIZE", inputs=(0,), outputs=(1,), **options("DequantizeOptions")),
        Operator(name="SHAPE", inputs=(1,), outputs=(2,), **options("ShapeOptions", outType=schema.TensorType.INT32)),
        Operator(name="RELU", inputs=(0,), outputs=(3,)),
    ]
    return build(Graph(tensors=tensors, operators=operators, inputs=[0], outputs=[3]))


CASES = [
    pytest.param(unary("GELU", "int8", kind="GeluOptions"), "no kernel for GELU (operator 0)", id="gelu"),
    pytest.param(unary("ABS", "int8"), None, id="abs"),
    pytest.param(unary("NEG", "int8"), "NEG of int8", id="neg"),
    pytest.param(unary("RELU", "int8"), None, id="relu"),
    pytest.param(unary("EXP", "int8", kind="ExpOptions"), "EXP of int8", id="exp"),
    pytest.param(unary("SQRT", "int8"), "SQRT of int8", id="sqrt"),
    pytest.param(binary("ADD", "int8", "AddOptions"), None, id="add"),
    pytest.param(binary("ADD", "int32", "AddOptions"), None, id="add-int32"),
    pytest.param(binary("ADD", "int64", "AddOptions"), "ADD of int64", id="add-int64"),
    pytest.param(binary("MAXIMUM", "int64", "MaximumMinimumOptions"), None, id="maximum-int64"),
    pytest.param(binary("FLOOR_MOD", "int32", "FloorModOptions"), "FLOOR_MOD of int32", id="floor-mod"),
    pytest.param(select("SELECT", "int8"), "no kernel for SELECT (operator 0)", id="select"),
    pytest.param(select("SELECT_V2", "int8"), None, id="select-v2"),
    pytest.param(select("SELECT_V2", "int64"), "SELECT_V2 of int64", id="select-v2-int64"),
    pytest.param(gather("int32"), None, id="gather"),
    pytest.param(gather("int64"), "GATHER with places of int64", id="gather-int64"),
    pytest.param(unary("CAST", "int32", "int64", "CastOptions"), "CAST to int64", id="cast"),
    pytest.param(transposed_convolution(), None, id="transposed-convolution"),
    pytest.param(shape_of_floats(), None, id="shape-of-floats"),
]


@pytest.mark.parametrize(("content", "says"), CASES)
def test_table_says_what_tflite_micro_does(content: bytes, says: str | None, tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro")
    from edgefm.runtimes.random_inputs import random_input

    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    found = micro_kernels.refused(inspect(path))
    assert found is None if says is None else found is not None and says in found

    def run() -> None:
        session = tflm.load(path)
        session.set_input(random_input(session.input))
        session.invoke()

    if says is None:
        run()
    else:
        with pytest.raises((ModelError, RuntimeError), match=r"tflm cannot load|[Ii]nvo"):
            run()


def test_float_of_which_the_shape_alone_is_read_does_not_keep_a_file_from_a_microcontroller(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(shape_of_floats())
    facts = file_facts(path, name="m", sha256="")
    assert facts["contents"]["dtypes"] == ["int32"]
    assert not_on_microcontrollers(row("m"), facts["contents"], micro=facts["tflite_micro"]) is None


def test_operator_without_a_kernel_keeps_a_file_from_a_microcontroller(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(unary("GELU", "int8", kind="GeluOptions"))
    facts = file_facts(path, name="m", sha256="")
    assert facts["tflite_micro"]["by"] == micro_kernels.SOURCE
    found = not_on_microcontrollers(row("m"), facts["contents"], micro=facts["tflite_micro"])
    assert found is not None and "GELU" in found
    # What ran there, runs there.
    there = {**row("m"), "runtime": {"name": "tflm"}}
    assert not_on_microcontrollers(there, facts["contents"], micro=facts["tflite_micro"]) is None


def test_benchmark_loads_each_integer_file_in_tflite_micro(tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro")
    files = {"gelu": unary("GELU", "int8", kind="GeluOptions"), "relu": unary("RELU", "int8")}
    for name, content in files.items():
        (tmp_path / f"{name}.tflite").write_bytes(content)
    paths = [tmp_path / f"{name}.tflite" for name in files]
    record = edgefm.benchmark(paths, rounds=1, rounds_at_most=1, budget_seconds=5)
    said = {row["name"]: row["file_facts"]["tflite_micro"] for row in record.record["models"]}
    assert "GELU" in said["gelu"]["refused"] and said["relu"]["refused"] is None
    assert all(fact["by"].startswith("tflite-micro") for fact in said.values())
    judged = {file.name: file.not_on_microcontrollers for file in record.verdict.files}
    assert judged["gelu"] is not None and "GELU" in judged["gelu"] and judged["relu"] is None
