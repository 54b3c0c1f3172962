from __future__ import annotations

import mmap
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.profiling.cutting import Cutter, prefix
from edgefm.tflite import flatbuffer
from edgefm.tflite.inspection import inspect
from tests.fixtures import cut_models, tiny_models

DEMO = Path(__file__).parents[1] / "fixtures" / "measured_model" / "model.tflite"
MODELS = {
    "int8 demo": DEMO.read_bytes,
    "float32 cnn": tiny_models.enhanced_cnn,
    "branches": cut_models.branches,
    "float16 weights": cut_models.float16_dense,
    "int4 weights": cut_models.int4_dense,
    "pad and convolve": lambda: cut_models.fused_convolutions(count=1),
    "weights behind": lambda: cut_models.weights_behind(tiny_models.enhanced_cnn()),
    "shared buffers": lambda: cut_models.share_buffers(tiny_models.enhanced_cnn()),
    "two inputs": tiny_models.add,
    "two outputs": tiny_models.two_heads,
}
EVERY = pytest.mark.parametrize("content", [pytest.param(make(), id=name) for name, make in MODELS.items()])


def interpreter(content: bytes, *, keep: bool = False) -> Any:
    """Return an interpreter with the built-in kernels: its intermediate tensors can be read."""
    loaded = Interpreter(
        model_content=content,
        experimental_preserve_all_tensors=keep,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    loaded.allocate_tensors()
    return loaded


def random_inputs(content: bytes) -> list[NDArray[Any]]:
    generator = np.random.default_rng(0)
    arrays = []
    for details in interpreter(content).get_input_details():
        dtype, shape = np.dtype(details["dtype"]), details["shape"]
        small = generator.integers(0, 127, shape) if dtype.kind in "iu" else generator.standard_normal(shape)
        arrays.append(small.astype(dtype))
    return arrays


def run(content: bytes, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    model = interpreter(content)
    for details, array in zip(model.get_input_details(), arrays, strict=True):
        model.set_tensor(details["index"], array)
    model.invoke()
    return [model.get_tensor(details["index"]) for details in model.get_output_details()]


def intermediates(content: bytes, arrays: Sequence[NDArray[Any]]) -> Any:
    """Return a function from a tensor's index to its values in the whole model: the oracle."""
    whole = interpreter(content, keep=True)
    for details, array in zip(whole.get_input_details(), arrays, strict=True):
        whole.set_tensor(details["index"], array)
    whole.invoke()
    return whole.get_tensor


def check_every_cut(content: bytes) -> None:
    arrays = random_inputs(content)
    values = intermediates(content, arrays)
    model, cutter = flatbuffer.read(content), Cutter(content)
    for place, operator in enumerate(model.subgraphs[0].operators):
        wanted = [values(index) for index in flatbuffer.indices(operator.outputs)]
        for output, value in zip(run(prefix(content, place), arrays), wanted, strict=True):
            np.testing.assert_array_equal(output, value, err_msg=f"prefix {place}")
        if cutter.unpacks(place):
            continue
        given = [values(index) for index in cutter.activations(place)]
        for output, value in zip(run(Cutter(content).one_operator(place), given), wanted, strict=True):
            np.testing.assert_array_equal(output, value, err_msg=f"operator {place}")


@EVERY
def test_cuts_give_the_tensors_of_the_whole_model(content: bytes) -> None:
    check_every_cut(content)


@settings(deadline=None, max_examples=25)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["RELU", "ABS", "ADD", "MUL", "SUB", "SWAP"]), st.integers(0, 20), st.integers(0, 20)
        ),
        min_size=1,
        max_size=8,
    )
)
def test_cuts_of_any_graph_give_the_tensors_of_the_whole_model(steps: list[tuple[str, int, int]]) -> None:
    check_every_cut(cut_models.chain_of(steps))


@EVERY
def test_models_of_one_operator_cover_all_macs(content: bytes, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.tflite", tmp_path / "part.tflite"
    whole.write_bytes(content)
    cutter, macs = Cutter(content), 0
    for place in range(cutter.operators):
        if not cutter.unpacks(place):
            part.write_bytes(cutter.one_operator(place, one_input=True))
            macs += inspect(part).macs
    assert macs == inspect(whole).macs


@EVERY
def test_cuts_with_one_input_have_one_input(content: bytes) -> None:
    cutter = Cutter(content)
    for place in range(cutter.operators):
        if cutter.unpacks(place):
            continue
        for cut in (cutter.one_operator(place, one_input=True), cutter.prefix_in_order(place), cutter.whole()):
            model = interpreter(cut)
            assert len(model.get_input_details()) == 1
            model.invoke()


def test_prefix_keeps_names_and_quantisation() -> None:
    content = DEMO.read_bytes()
    whole = interpreter(content, keep=True).get_tensor_details()
    cut = interpreter(prefix(content, 7))
    (output,) = cut.get_output_details()
    (wanted,) = [tensor for tensor in whole if tensor["index"] == 22]
    assert output["name"] == wanted["name"]
    assert output["quantization"] == wanted["quantization"]
    assert cut.get_input_details()[0]["name"] == "image"


def test_prefix_of_a_branch_leaves_the_other_out() -> None:
    content = tiny_models.two_heads()
    model = flatbuffer.read(prefix(content, 1))
    assert [flatbuffer.operator_name(model, operator) for operator in model.subgraphs[0].operators] == ["ABS"]


def test_prefix_in_order_runs_all_operators_before_it() -> None:
    """Also those of another branch, whose results are kept as outputs: else the runtime could leave them out."""
    content = cut_models.branches()
    cutter = Cutter(content)
    for place in range(cutter.operators):
        model = flatbuffer.read(cutter.prefix_in_order(place))
        assert len(model.subgraphs[0].operators) == place + 1
    # ABS of the input is used by MUL only, two operators later.
    abs_place = [cutter.name(place) for place in range(cutter.operators)].index("ABS")
    assert len(flatbuffer.read(cutter.prefix_in_order(abs_place)).subgraphs[0].outputs) == 2


def test_prefix_with_control_flow_keeps_the_graphs_that_it_runs() -> None:
    content = cut_models.control_flow_behind_relu()
    arrays = random_inputs(content)
    np.testing.assert_array_equal(run(prefix(content, 1), arrays), run(content, arrays))
    assert len(flatbuffer.read(prefix(content, 0)).subgraphs) == 1


def test_unpacked_weights_belong_to_the_operators_that_use_them() -> None:
    cutter = Cutter(cut_models.float16_dense())
    assert [cutter.unpacks(place) for place in range(cutter.operators)] == [True, False, False]
    model = flatbuffer.read(cutter.one_operator(2))
    assert [flatbuffer.operator_name(model, operator) for operator in model.subgraphs[0].operators] == [
        "DEQUANTIZE",
        "FULLY_CONNECTED",
    ]


def test_shared_buffers_stay_shared() -> None:
    weights = np.ones((64, 64), np.float32)
    shared = cut_models.share_buffers(cut_models.dense_layers(3, width=64, weights=weights))
    assert len(prefix(shared, 2)) < 2 * weights.nbytes


def test_weights_are_aligned_in_cuts() -> None:
    content = prefix(DEMO.read_bytes(), 13)
    whole = np.frombuffer(content, np.uint8)
    for buffer in flatbuffer.read(content).buffers:
        if buffer.data is not None and len(buffer.data):
            assert (buffer.data.ctypes.data - whole.ctypes.data) % 16 == 0


def test_cuts_of_a_model_of_200_mb_hold_their_own_constants_alone(tmp_path: Path) -> None:
    width, layers = 2304, 10  # 21 MB each
    path = tmp_path / "large.tflite"
    path.write_bytes(cut_models.dense_layers(layers, width=width))
    assert path.stat().st_size > 200e6
    each = 4 * width * width
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        tracemalloc.start()
        try:
            cutter = Cutter(content)
            reading = tracemalloc.get_traced_memory()[1]
            for place in range(layers):
                assert each < len(cutter.one_operator(place)) < 1.01 * each
            cutting = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert reading < 2e6
    # The FlatBuffer while it is built, and the bytes that are returned (those of the cut before are let go late).
    assert cutting < 3.2 * each


@pytest.mark.parametrize(
    ("content", "operator", "reason"),
    [
        pytest.param(tiny_models.endless_loop(), 0, "WHILE is control flow", id="loop"),
        pytest.param(cut_models.control_flow_behind_relu(), 1, "IF is control flow", id="branch"),
        pytest.param(tiny_models.dynamic(), 0, r"'x' has the dynamic shape \(1, -1\)", id="dynamic"),
        pytest.param(tiny_models.variable(), 0, "'kernel' of dtype resource", id="variable"),
        pytest.param(tiny_models.relu(), 1, "no operator 1: the model has operators 0 to 0", id="behind the last"),
        pytest.param(tiny_models.relu(), -1, "no operator -1", id="negative"),
    ],
)
def test_one_operator_refuses_what_has_no_time_of_its_own(content: bytes, operator: int, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        Cutter(content).one_operator(operator)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "not a TFLite file", id="empty"),
        pytest.param(b"PK\x03\x04" * 9, "not a TFLite file", id="another kind"),
        pytest.param(DEMO.read_bytes()[:2000], "damaged", id="cut off"),
        pytest.param(cut_models.without_operators(), "no operator", id="no operator"),
    ],
)
def test_cutting_refuses_files_that_are_no_models(content: bytes, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        prefix(content, 0)


def test_cutting_damaged_files_raises_model_errors_alone() -> None:
    """Random bytes are changed in the tables, not in the weights; a cut that is made may still be unusable."""
    content, generator = tiny_models.two_heads(), np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for place in generator.integers(8, len(content), 3):
            damaged[place] = generator.integers(0, 256)
        try:
            prefix(bytes(damaged), 1)
        except ModelError:
            refused += 1
    assert refused > 50
