"""The cost model: operators read from files, files of operators, prediction between what was measured, its file."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from time import sleep
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from scipy.optimize import nnls

import edgefm
from edgefm.cli.main import cli, run
from edgefm.core.errors import ModelError, RecipeError
from edgefm.profiling import cost_model
from edgefm.profiling.cost_model import CostModel, HeldOut, kept
from edgefm.profiling.cost_model.files import model_of
from edgefm.profiling.cost_model.grid import shapes
from edgefm.profiling.cost_model.model import CostModelError, MeasuredOperator
from edgefm.profiling.cost_model.networks import draw
from edgefm.profiling.cost_model.regression import fit, nonnegative
from edgefm.profiling.cost_model.shapes import OperatorShape, operators_of
from edgefm.runtimes.probe import Probed
from tests.fixtures import tiny_models
from tests.fixtures.notes import Notes

SHIPPED = Path(__file__).parents[2] / "android_demo_assets" / "int8" / "model.tflite"
RELU = OperatorShape("RELU", "float32", (1, 1, 64), (1, 1, 64))
LARGE = OperatorShape("RELU", "float32", (1, 1, 4096), (1, 1, 4096))


def _model(operators: Sequence[tuple[OperatorShape, float]], **changes: object) -> CostModel:
    model = CostModel(
        runtime="litert",
        version="1.0",
        created="2026-11-30T00:00:00+00:00",
        environment={"cpu": "a processor", "cores": 2, "cpu_features": ["avx2"]},
        call_ns=500.0,
        operators=tuple(MeasuredOperator(shape, time_ns) for shape, time_ns in operators),
        factors={},
        held_out=HeldOut(names=("a", "b"), predicted_ns=(100.0, 100.0), measured_ns=(90.0, 120.0)),
    )
    return replace(model, **changes)  # type: ignore[arg-type]  # of the fields' own types


def test_operators_of_a_file_are_its_layers() -> None:
    operators = operators_of(SHIPPED.read_bytes())
    assert [str(one) for one in operators if one.macs] == [
        "CONV_2D int8 28x28x1 -> 28x28x32, 3x3",
        "CONV_2D int8 14x14x32 -> 14x14x64, 3x3",
        "CONV_2D int8 7x7x64 -> 7x7x128, 3x3",
        "FULLY_CONNECTED int8 1x1x1152 -> 1x1x256",
        "FULLY_CONNECTED int8 1x1x256 -> 1x1x128",
        "FULLY_CONNECTED int8 1x1x128 -> 1x1x10",
    ]
    by_hand = 784 * 9 * 32 + 196 * 9 * 32 * 64 + 49 * 9 * 64 * 128 + 1152 * 256 + 256 * 128 + 128 * 10
    assert sum(one.macs for one in operators) == by_hand


def test_operators_of_what_is_no_model_says_so() -> None:
    with pytest.raises(ModelError, match="not a TFLite file"):
        operators_of(b"nothing of the kind")


def _written(name: str, tensors: Sequence[tuple[tuple[int, ...], str, bool]], options: Any = None) -> bytes:
    """Return a file of one operator; of each tensor, its result last, there are shape, dtype and whether it is kept."""
    made = [
        tiny_models.Tensor(name=str(place), shape=shape, dtype=dtype, data=np.zeros(shape, dtype) if kept else None)
        for place, (shape, dtype, kept) in enumerate(tensors)
    ]
    operator = tiny_models.Operator(
        name=name,
        inputs=tuple(range(len(made) - 1)),
        outputs=(len(made) - 1,),
        options=options,
        options_type=0 if options is None else getattr(schema.BuiltinOptions, type(options).__name__[:-1]),
    )
    given = [place for place, (_, _, kept) in enumerate(tensors[:-1]) if not kept]
    return tiny_models.build(
        tiny_models.Graph(tensors=made, operators=[operator], inputs=given, outputs=[len(made) - 1])
    )


def _transposed() -> bytes:
    options = schema.TransposeConvOptionsT(strideH=2, strideW=2)
    parts = [((4,), "int32", True), ((16, 3, 3, 8), "float32", True), ((1, 5, 5, 8), "float32", False)]
    return _written("TRANSPOSE_CONV", [*parts, ((1, 10, 10, 16), "float32", False)], options)


@pytest.mark.parametrize(
    ("content", "macs"),
    [
        # Each of 25 x 8 input values meets 3 x 3 weights of each of 16 channels.
        (_transposed(), 25 * 8 * 9 * 16),
        (
            _written(
                "BATCH_MATMUL",
                [((2, 7, 5), "float32", False), ((2, 5, 3), "float32", False), ((2, 7, 3), "float32", False)],
            ),
            2 * 7 * 3 * 5,
        ),
        (
            _written(
                "BATCH_MATMUL",
                [((2, 5, 7), "float32", False), ((2, 5, 3), "float32", False), ((2, 7, 3), "float32", False)],
                schema.BatchMatMulOptionsT(adjX=True),
            ),
            2 * 7 * 3 * 5,
        ),
        # Six steps: four gates of twelve units, each of five values and of the twelve of the step before.
        (
            _written(
                "UNIDIRECTIONAL_SEQUENCE_LSTM",
                [((1, 6, 5), "float32", False), ((12, 5), "float32", True), ((1, 6, 12), "float32", False)],
            ),
            6 * 4 * 12 * (5 + 12),
        ),
        # 2 x 3 x 3 places of four channels, each of 27 weights of two channels.
        (
            _written(
                "CONV_3D",
                [
                    ((1, 4, 5, 5, 2), "float32", False),
                    ((3, 3, 3, 2, 4), "float32", True),
                    ((1, 2, 3, 3, 4), "float32", False),
                ],
                schema.Conv3DOptionsT(strideD=1, strideH=1, strideW=1),
            ),
            2 * 3 * 3 * 4 * 27 * 2,
        ),
    ],
    ids=["transposed", "product", "product of a transposed", "lstm", "volume"],
)
def test_work_of_what_was_never_measured_is_counted(content: bytes, macs: int) -> None:
    (operator,) = operators_of(content)
    assert operator.macs == macs
    # A microsecond a thousand multiply-accumulates, nothing a byte: the time of one that was never measured.
    dense = [OperatorShape("FULLY_CONNECTED", "float32", (1, 1, n), (1, 1, n)) for n in (16, 64, 256)]
    model = _model([(one, float(one.macs)) for one in dense])
    assert model.latency(content).p50_ns >= 0.9 * macs


def test_all_rows_of_a_matrix_count() -> None:
    (operator,) = operators_of(tiny_models.relu((196, 64)))
    assert (operator.source, operator.sink) == ((1, 196, 64), (1, 196, 64))


def test_int16_takes_far_longer_than_float32_and_is_far_less_certain() -> None:
    """LiteRT 2.3.0 on an AMD EPYC: 27.5 ms of 9.5 million multiply-accumulates in int16x8, 0.34 ms in float32."""
    dense = OperatorShape("FULLY_CONNECTED", "float32", (1, 1, 1000), (1, 1, 1000))
    model = _model([(dense, 40_000.0)])
    wide = [((1, 1000), "int16", False), ((1000, 1000), "int8", True), ((1, 1000), "int16", False)]
    told = model.latency(_written("FULLY_CONNECTED", wide, schema.FullyConnectedOptionsT()))
    assert told.low_ns < 27.5e6 / 9.5e6 * 1e6 < told.high_ns and told.high_ns > 12 * told.low_ns
    assert "no fast kernel of it exists" in told.extrapolated[0]


def test_int8_product_of_matrices_has_a_slow_kernel_and_is_far_less_certain() -> None:
    """LiteRT 2.3.0 on an AMD EPYC: 4.6 us of 24,576 multiply-accumulates in int8, in attention of 16 tokens."""
    dense = [OperatorShape("FULLY_CONNECTED", "int8", (1, 1, n), (1, 1, n)) for n in (16, 64, 256)]
    model = _model([(one, 0.02 * one.macs) for one in dense])
    lengths = [((3, 16, 32), "int8", False), ((3, 32, 16), "int8", False), ((3, 16, 16), "int8", False)]
    told = model.latency(_written("BATCH_MATMUL", lengths, schema.BatchMatMulOptionsT()))
    assert told.low_ns < 4_600 < told.high_ns and told.p50_ns > 4_600 / 2
    assert "no fast kernel of it exists: it goes by MACs" in told.extrapolated[0]


def test_layers_whose_time_in_networks_is_not_known_have_wider_intervals() -> None:
    def widths(kind: str, dtypes: str, lengths: tuple[int, int, int]) -> tuple[float, float]:
        shape = OperatorShape(kind, dtypes, lengths, lengths, (3, 3) if kind != "FULLY_CONNECTED" else (1, 1))
        told = _model([(shape, 44_000.0)], call_ns=0.0).latency(model_of([shape]))
        assert told.p50_ns == 44_000 and not told.extrapolated
        return told.low_ns / told.p50_ns, told.high_ns / told.p50_ns

    one, rows = (widths("FULLY_CONNECTED", "float32", (count, 1, 64)) for count in (1, 49))
    assert one == pytest.approx((0.9, 1.2)) and rows[0] < 0.75 and rows[1] > 1.5
    # The same shape took 44 and 127 us.
    assert widths("DEPTHWISE_CONV_2D", "float32*int8", (16, 16, 128))[1] > 127 / 44


@pytest.mark.parametrize("content", [tiny_models.endless_loop(), tiny_models.custom()], ids=["loop", "custom"])
def test_what_an_operator_hides_is_said_to_be_missing(content: bytes) -> None:
    told = _model([(RELU, 1000.0)]).latency(content)
    (word,) = told.extrapolated
    assert word.endswith("what it runs is not known and not counted, the time may be far longer")
    assert told.low_ns <= told.p50_ns and told.high_ns == math.inf, "no time is too long for it"
    assert json.loads(json.dumps(told.to_json(), allow_nan=False))["high_ns"] is None
    assert edgefm.LatencyForecast.from_json(told.to_json()) == told


def test_time_in_doubt_may_be_twice_as_long_or_half_however_small_its_share_is() -> None:
    long, doubtful = (RELU, 100_000.0), OperatorShape("LOGISTIC", "float32", (1, 1, 64), (1, 1, 64))
    model = _model([long])
    told, alone = (model.latency(model_of(shapes)) for shapes in ([RELU, doubtful], [RELU]))
    share = told.p50_ns - alone.p50_ns
    low, high = model.held_out.range
    assert told.high_ns == pytest.approx(high * (alone.p50_ns + 2 * share))
    assert told.low_ns == pytest.approx(low * (alone.p50_ns + share / 2))


def test_more_work_than_was_measured_is_beyond_it_though_each_length_is_within() -> None:
    wide = OperatorShape("CONV_2D", "float32", (4, 4, 256), (4, 4, 256), (3, 3))
    large = OperatorShape("CONV_2D", "float32", (32, 32, 8), (32, 32, 8), (3, 3))
    both = replace(large, source=(32, 32, 256), sink=(32, 32, 256))
    model = _model([(wide, 300_000.0), (large, 30_000.0)])
    told = model.latency(model_of([both]))
    assert told.extrapolated == ("CONV_2D float32 32x32x256 -> 32x32x256, 3x3: beyond what was measured",)
    assert told.high_ns / told.p50_ns > 1.9 and not model.latency(model_of([wide])).extrapolated
    many = OperatorShape("FULLY_CONNECTED", "float32", (1, 1, 10_000), (1, 1, 500))
    known = [replace(many, sink=(1, 1, 10)), replace(many, source=(1, 1, 10))]
    assert _model([(one, 1000.0) for one in known]).latency(model_of([many])).extrapolated


def test_layers_of_tokens_and_depthwise_ones_with_int8_weights_are_measured() -> None:
    drawn = shapes()
    for dtype in ("float32", "int8", "float32*int8"):
        rows = {one.sink[0] for one in drawn if one.group == f"FULLY_CONNECTED {dtype}"}
        assert {1, 4, 49, 196} <= rows
    assert sum(one.group == "DEPTHWISE_CONV_2D float32*int8" for one in drawn) >= 30


def test_convolution_in_groups_is_said_to_be_unlike_what_was_measured() -> None:
    shape = OperatorShape("CONV_2D", "float32", (8, 8, 16), (8, 8, 16), (3, 3))
    model = _model([(shape, 1000.0), (replace(shape, source=(8, 8, 4)), 400.0)])
    told = model.latency(model_of([replace(shape, groups=4)]))
    assert told.extrapolated == (
        "CONV_2D float32 8x8x16 -> 8x8x16, 3x3, 4 groups: no convolution in groups was measured",
    )
    assert told.high_ns / told.p50_ns > model.held_out.range[1]


def test_file_with_a_kernel_of_no_shape_is_damaged() -> None:
    wrong = [((1, 4, 4, 1), "float32", False), ((3,), "float32", True), ((1, 4, 4, 1), "float32", False)]
    with pytest.raises(ModelError, match="its operators cannot be read"):
        operators_of(_written("CONV_2D", wrong, schema.Conv2DOptionsT()))


ONE_OF_EACH = list({one.group: one for one in shapes(share=0.05)}.values())


@pytest.mark.parametrize("shape", ONE_OF_EACH, ids=lambda shape: shape.group)
def test_file_of_an_operator_holds_it_and_runs(shape: OperatorShape) -> None:
    from ai_edge_litert.interpreter import Interpreter

    content = model_of([shape])
    assert operators_of(content) == [shape]
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.invoke()
    (output,) = interpreter.get_output_details()
    assert math.prod(output["shape"]) == math.prod(shape.sink)


@pytest.mark.parametrize("dtype", ["float32", "int8", "float32*int8"])
def test_drawn_network_runs(dtype: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    for seed in range(4):
        network = draw(np.random.default_rng(seed), dtype=dtype)
        content = model_of(network)
        assert operators_of(content) == network
        interpreter = Interpreter(model_content=content)
        interpreter.allocate_tensors()
        interpreter.invoke()
        (output,) = interpreter.get_output_details()
        assert tuple(output["shape"]) == (1, 10)


def test_nonnegative_costs_are_those_of_lawson_and_hanson() -> None:
    random = np.random.default_rng(0)
    work = random.uniform(0, 3, (40, 5))
    times = work @ np.array([2.0, 0.0, 1.0, 0.5, 0.0]) * random.uniform(0.9, 1.1, 40)
    expected, _ = nnls(work / times[:, None], np.ones(40))
    np.testing.assert_allclose(nonnegative(work, times), expected, atol=1e-3)


def _made_up_ns(shape: OperatorShape) -> float:
    """Return the time of a processor with tiles of 8 channels that slows down where a window is large."""
    tiled = -(-shape.sink[2] // 8) * 8
    rows = shape.sink[0] * shape.sink[1]
    return 300 + rows * tiled * shape.source[2] * math.prod(shape.window) ** 1.1 / 30


def test_time_between_measured_shapes_is_predicted() -> None:
    every = [one for one in shapes(seed=1) if one.group == "CONV_2D float32"]
    known, others = every[:200], every[200:]
    predict = fit(known, [_made_up_ns(one) for one in known])
    errors = [abs(predict.nanoseconds(one) / _made_up_ns(one) - 1) for one in others if not predict.beyond(one)]
    assert np.median(errors) < 0.03 and np.quantile(errors, 0.9) < 0.1


def test_forecast_is_the_sum_of_the_call_and_of_measured_operators() -> None:
    model = _model([(RELU, 1000.0), (LARGE, 9000.0)], factors={"RELU float32": 1.5})
    told = model.latency(model_of([RELU, RELU]))
    assert told.p50_ns == 500 + 2 * 1.5 * 1000
    # Two networks, measured at 0.9 and 1.2 of what was predicted: the least and the greatest are the ends.
    assert (told.low_ns, told.high_ns) == (pytest.approx(0.9 * 3500), pytest.approx(1.2 * 3500))
    assert told.extrapolated == ()


def test_forecast_beyond_what_was_measured_says_so_and_is_less_certain() -> None:
    model = _model([(RELU, 1000.0), (LARGE, 9000.0)])
    huge = OperatorShape("RELU", "float32", (1, 1, 100_000), (1, 1, 100_000))
    told = model.latency(model_of([huge]))
    assert told.extrapolated == ("RELU float32 1x1x100000 -> 1x1x100000: beyond what was measured",)
    assert told.high_ns / told.p50_ns > 1.9
    unknown = model.latency(tiny_models.dense(np.ones((10, 16), np.float32)))
    assert "no such operator was measured, it goes by MACs and bytes" in unknown.extrapolated[0]
    assert unknown.low_ns < unknown.p50_ns < unknown.high_ns


def test_time_is_above_zero_whatever_the_factors_are() -> None:
    told = _model([(RELU, 1000.0)], factors={"RELU float32": 0.0}, call_ns=0.0).latency(model_of([RELU]))
    assert 0 < told.low_ns <= told.p50_ns <= told.high_ns


def test_interval_of_many_networks_leaves_one_in_twenty_out_at_each_end() -> None:
    ratios = tuple(0.8 + 0.01 * place for place in range(41))
    held_out = HeldOut(names=tuple(map(str, range(41))), predicted_ns=(1.0,) * 41, measured_ns=ratios)
    assert held_out.range == (pytest.approx(ratios[1]), pytest.approx(ratios[-2]))


def test_saved_cost_model_is_the_same_when_loaded(tmp_path: Path) -> None:
    model = _model([(RELU, 1000.0), (LARGE, 9000.0)])
    loaded = CostModel.load(model.save(tmp_path / "here.json"))
    assert loaded == model
    content = model_of([RELU])
    assert loaded.latency(content) == model.latency(content)


def _broken(content: dict[str, object], name: str) -> dict[str, object]:
    if name == "newer":
        return {**content, "schema_version": 2}
    if name == "other kind":
        return {**content, "kind": "benchmark-record"}
    if name in ("cpu", "cpu_features", "versions"):
        return {**content, "environment": {name: 5}}
    held_out = {"names": ["a"], "predicted_ns": [1.0, 2.0], "measured_ns": [1.0]}
    return {**content, "held_out": held_out}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("newer", "reads up to 1"),
        ("other kind", "kind is"),
        ("columns", "columns of different lengths"),
        ("cpu", r"environment\.cpu is 5"),
        ("cpu_features", r"environment\.cpu_features is 5"),
        ("versions", r"environment\.versions is 5"),
    ],
)
def test_damaged_cost_model_is_refused(name: str, words: str, tmp_path: Path) -> None:
    path = _model([(RELU, 1000.0)]).save(tmp_path / "here.json")
    path.write_text(json.dumps(_broken(json.loads(path.read_text()), name)))
    with pytest.raises(CostModelError, match=words) as caught:
        CostModel.load(path)
    assert caught.value.hint


def test_missing_cost_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(CostModelError, match="no cost model at"):
        CostModel.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"runtime": "litrt"}, "unknown runtime"),
        ({"runtime": "litertjs"}, "runs on another target"),
        ({"target": "adb"}, "on the target 'adb': it times whole models by a program of its own"),
        ({"target": "cortex-m:m4"}, "on the target 'cortex-m:m4': it does not measure time"),
        ({"target": "pi@board"}, "did you mean 'ssh://pi@board'"),
        ({"seed": -1}, "seed -1 is not allowed"),
        ({"out": "model.txt"}, "ends in .json"),
    ],
)
def test_what_cannot_be_built_is_refused_at_once(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        edgefm.cost_model(**arguments, progress=False)  # type: ignore[arg-type]  # one wrong value each


def test_kept_cost_model_is_taken_and_a_damaged_one_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path))
    built = []

    def build(**_: object) -> CostModel:
        built.append(1)
        return _model([(RELU, 1000.0)])

    monkeypatch.setattr(kept, "build", build)
    assert kept.of_this_machine() == kept.of_this_machine() and len(built) == 1
    kept.kept_at("litert").write_text("{")
    assert kept.of_this_machine() == _model([(RELU, 1000.0)]) and len(built) == 2
    assert kept.kept_at("litert") != kept.kept_at("litert:builtin")


def test_cost_model_that_cannot_be_kept_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path / "file"))  # no folder can be made there
    monkeypatch.setattr(kept, "build", lambda **_: _model([(RELU, 1000.0)]))
    notes = Notes()
    assert kept.of_this_machine(progress=notes) == _model([(RELU, 1000.0)])
    assert "not kept" in notes.notes[-1] and "EDGEFM_CACHE_DIR" in notes.notes[-1]


def test_of_two_first_forecasts_one_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path))
    begun, go_on, built, notes = Event(), Event(), [], Notes()

    def build(**_: object) -> CostModel:
        built.append(1)
        begun.set()
        assert go_on.wait(60)
        return _model([(RELU, 1000.0)])

    monkeypatch.setattr(kept, "build", build)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(kept.of_this_machine)
        assert begun.wait(60)
        second = pool.submit(kept.of_this_machine, progress=notes)
        while not notes.notes and not second.done():
            sleep(0.01)
        go_on.set()
        assert first.result() == second.result() and len(built) == 1
    assert "waiting" in notes.notes[0]


def test_cost_model_of_this_machine_is_built_anew_for_later_forecasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path))
    disturbed = replace(_model([(RELU, 1000.0)]), disturbed=("other programs: 40 of 50 turns",))
    kept.keep(disturbed)
    assert kept.of_this_machine() == disturbed
    quiet = replace(disturbed, environment={"cpu": "this one"}, disturbed=())
    monkeypatch.setattr(cost_model, "build", lambda **_: quiet)
    assert run(lambda: cli.main(["cost-model"], standalone_mode=False)) == 0
    assert kept.of_this_machine() == quiet
    assert run(lambda: cli.main(["cost-model", "--target", "ssh://pi@board"], standalone_mode=False)) == 2
    assert "no file was given for the cost model of ssh://pi@board" in capsys.readouterr().err


def test_another_version_of_a_runtime_has_a_cost_model_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in another Python, whose packages this one does not know, and of a runtime of another package."""
    here = kept.kept_at("litert")
    monkeypatch.setattr("edgefm.runtimes.litert.version", lambda: "99.0")
    assert kept.kept_at("litert") != here
    monkeypatch.setenv("EDGEFM_PYTHON_TFLITE_RUNTIME", sys.executable)
    paths = []
    for version in ("2.14.0", "2.15.0"):
        monkeypatch.setattr(kept, "probed_by", lambda *_, told=version: Probed(version=told))
        paths.append(kept.kept_at("tflite-runtime"))
    assert paths[0] != paths[1]
