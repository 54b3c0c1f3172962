"""The target vela with the real compiler, and with programs that misbehave in its place."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgefm import targets
from edgefm.core.errors import ModelError, RecipeError
from edgefm.runtimes.base import Available, Unavailable
from edgefm.targets import vela
from edgefm.targets.base import Figure, TargetError
from edgefm.targets.vela import program
from edgefm.tflite.inspection import inspect
from tests.fixtures import tiny_models
from tests.fixtures.tiny_models import Graph, Operator, Tensor

ASSET = Path(__file__).parents[2] / "android_demo_assets" / "int8" / "model.tflite"
needs_vela = pytest.mark.skipif(program.program() is None, reason="vela is not installed (ethos-u-vela)")


def _figures(address: str, model: Path) -> dict[str, Figure]:
    return {figure.name: figure for figure in targets.target(address).figures(model)}


def _file(folder: Path, content: bytes) -> Path:
    path = folder / "some model.tflite"
    path.write_bytes(content)
    return path


def _program(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a Python program in vela's place; it answers --version as vela does."""
    path = folder / "fake_vela"
    head = f"#!{sys.executable}\nimport os, signal, sys, time\nif '--version' in sys.argv: print('9.9'); sys.exit()\n"
    path.write_text(head + text)
    path.chmod(0o755)
    monkeypatch.setenv(program.VARIABLE, str(path))


def _partly_accelerated() -> bytes:
    """Return an int8 dense layer whose scores a made-up operator takes."""
    weights = np.arange(160, dtype=np.int8).reshape(10, 16)
    tensors = [
        Tensor(name="image", shape=(1, 16), dtype="int8", scale=[1.0], zero_point=-128),
        Tensor(name="weights", shape=weights.shape, dtype="int8", data=weights, scale=[1.0]),
        Tensor(name="scores", shape=(1, 10), dtype="int8", scale=[100.0]),
        Tensor(name="secret", shape=(1, 10), dtype="int8", scale=[100.0]),
    ]
    dense = Operator(
        name="FULLY_CONNECTED",
        inputs=(0, 1, -1),
        outputs=(2,),
        options=schema.FullyConnectedOptionsT(),
        options_type=schema.BuiltinOptions.FullyConnectedOptions,
    )
    odd = Operator(name="MyMadeUpOp", inputs=(2,), outputs=(3,), custom=True)
    return tiny_models.build(Graph(tensors=tensors, operators=[dense, odd], inputs=[0], outputs=[3]))


@pytest.fixture(scope="module")
def shipped() -> dict[str, Figure]:
    """The figures of the shipped model on an Ethos-U55 with 128 MACs a cycle."""
    return _figures("vela:ethos-u55-128", ASSET)


@pytest.mark.npu
@needs_vela
def test_figures_of_the_shipped_model_agree_with_each_other(shipped: dict[str, Figure]) -> None:
    found = shipped
    details = found["latency_ns"].details
    assert {figure.mode for figure in found.values()} == {"estimated"}
    assert details["accelerator_config"] == "ethos-u55-128"
    assert (details["system_config"], details["memory_mode"]) == ("Ethos_U55_High_End_Embedded", "Shared_Sram")
    assert details["vela_version"] == program.version()
    latency, cycles = found["latency_ns"].value, found["npu_cycles"].value
    assert latency is not None and cycles is not None
    assert 1e5 < latency < 1e7
    assert latency == pytest.approx(cycles / details["core_clock_hz"] * 1e9)
    # 128 MACs a cycle are the accelerator's most; memory makes it more.
    assert cycles >= inspect(ASSET).macs / 128
    layers = found["npu_latency_ns"].details["layers"]
    assert sum(layer["macs"] for layer in layers) >= inspect(ASSET).macs
    assert found["npu_operator_share"].value == 1.0 and found["npu_operator_share"].details["on_cpu"] == []
    # The weights are packed: at most a little more than they take in the file, at least the half of it.
    flash = found["off_chip_flash_bytes"].value
    assert flash is not None and 0.5 * inspect(ASSET).weight_bytes < flash < 1.1 * inspect(ASSET).weight_bytes
    arena = found["arena_bytes"].value
    assert arena is not None and arena >= inspect(ASSET).largest_activation_bytes
    assert found["sram_bytes"].value == pytest.approx(arena, rel=0.1)
    assert found == _figures("vela:ethos-u55-128", ASSET)


@pytest.mark.npu
@needs_vela
def test_figures_depend_on_accelerator_and_configuration(shipped: dict[str, Figure]) -> None:
    wide = _figures("vela:ethos-u65-512", ASSET)
    address = "vela:ethos-u55-128,system_config=Ethos_U55_Deep_Embedded,memory_mode=Sram_Only"
    chosen = _figures(address, ASSET)
    assert wide["latency_ns"].value < shipped["latency_ns"].value  # type: ignore[operator]  # both have values
    assert chosen["latency_ns"].details["system_config"] == "Ethos_U55_Deep_Embedded"
    assert chosen["latency_ns"].details["memory_mode"] == "Sram_Only"
    assert chosen["off_chip_flash_bytes"].value == 0.0 and chosen["on_chip_flash_bytes"].value > 0  # type: ignore[operator]
    assert chosen["npu_cycles"].value != shipped["npu_cycles"].value
    assert targets.target(address).name == address


@pytest.mark.npu
@needs_vela
def test_figures_float_model_has_reasons_and_no_estimate(tmp_path: Path) -> None:
    found = _figures("vela", _file(tmp_path, tiny_models.enhanced_cnn()))
    for name in ("latency_ns", "npu_latency_ns", "npu_cycles", "sram_bytes"):
        assert found[name].value is None
        assert "leaves the whole model on the CPU" in (found[name].reason or "")
        assert "unsupported DataType Float32" in (found[name].reason or "")
    assert found["npu_operator_share"].value == 0.0
    assert found["npu_operator_share"].details["accelerator_config"] == "ethos-u55-256"  # vela's own default
    assert found["npu_operator_share"].details["on_cpu_macs"] == found["npu_operator_share"].details["macs"]


@pytest.mark.npu
@needs_vela
def test_figures_operator_that_stays_on_the_cpu_is_named(tmp_path: Path) -> None:
    found = _figures("vela", _file(tmp_path, _partly_accelerated()))
    share = found["npu_operator_share"]
    assert share.value == 0.5
    assert share.details["on_cpu"] == [
        {"operator": "CUSTOM:MyMadeUpOp", "output": "secret", "reason": "Unsupported opType"}
    ]
    assert found["latency_ns"].value is None
    assert "1 of its 2 operators stay on the CPU (CUSTOM:MyMadeUpOp" in (found["latency_ns"].reason or "")
    part = found["npu_latency_ns"].value
    assert part is not None and math.isfinite(part) and part > 0


@pytest.mark.npu
@needs_vela
@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(tiny_models.dynamic(), r"'x' of .* has the dynamic shape \(1, -1\)", id="dynamic"),
        pytest.param(tiny_models.endless_loop(), "vela cannot compile .*could not run on NPU", id="control flow"),
        pytest.param(ASSET.read_bytes()[:200_000], "cut off or damaged", id="cut off"),
        pytest.param(b"PK\x03\x04" + bytes(200), "not a TFLite file", id="no model"),
    ],
)
def test_figures_bad_model_is_told_of(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        targets.target("vela").figures(_file(tmp_path, content))


def test_figures_vela_that_crashes_costs_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, "print('oh dear', flush=True); os.kill(os.getpid(), signal.SIGSEGV)", monkeypatch)
    with pytest.raises(ModelError, match=r"vela crashed with SIGSEGV on .*oh dear"):
        targets.target("vela").figures(ASSET)


def test_figures_vela_that_writes_nothing_costs_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, "print('all is well')", monkeypatch)
    with pytest.raises(ModelError, match=r"vela wrote no estimate for .*all is well"):
        targets.target("vela").figures(ASSET)


# Writes what vela writes: a summary, a table of layers, and the model itself in the place of a compiled one.
_WRITES = """
import pathlib, shutil
out = pathlib.Path(sys.argv[sys.argv.index('--output-dir') + 1])
out.mkdir()
(out / 'model_summary_x.csv').write_bytes({summary!r})
(out / 'model_per-layer.csv').write_bytes({layers!r})
shutil.copy(sys.argv[-1], out / 'model_vela.tflite')
"""
_SUMMARY = b"system_config,memory_mode,core_clock,inference_time,cycles_total\na,b,5e8,1e-3,5e5\n"


@pytest.mark.parametrize(
    ("summary", "layers", "words"),
    [
        pytest.param(
            b"memory_mode,core_clock\nb,5e8\n", b"", r"unexpected form .*KeyError: 'system_config'", id="column"
        ),
        pytest.param(_SUMMARY.replace(b"5e8", b"fast"), b"", "unexpected form .*ValueError", id="no number"),
        pytest.param(_SUMMARY.replace(b"5e8", b"inf"), b"", "unexpected form .*OverflowError", id="infinite"),
        pytest.param(_SUMMARY, b"Name,Cycles\nx,1\n", r"unexpected form .*KeyError: 'Target'", id="layers"),
        pytest.param(_SUMMARY, b"\xff\xfe\x00", r"table model_per-layer\.csv cannot be read", id="no text"),
        pytest.param(_SUMMARY, b"", "holds 0 arena plans", id="no plan"),
    ],
)
def test_figures_vela_that_writes_something_else_costs_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, summary: bytes, layers: bytes, words: str
) -> None:
    _program(tmp_path, _WRITES.format(summary=summary, layers=layers), monkeypatch)
    with pytest.raises(ModelError, match=words):
        targets.target("vela").figures(_file(tmp_path, tiny_models.relu((1, 4))))


def test_version_is_asked_once_while_the_program_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, "", monkeypatch)
    asked = []
    ask = program._output
    monkeypatch.setattr(program, "_output", lambda arguments: asked.append(arguments) or ask(arguments))
    assert [program.version(), program.version()] == ["9.9", "9.9"] and len(asked) == 1
    path = tmp_path / "fake_vela"
    path.write_text(path.read_text().replace("9.9", "10.0"))
    assert program.version() == "10.0"


def test_figures_vela_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, "time.sleep(600)", monkeypatch)
    with (
        pytest.raises(ModelError, match=r"no estimate for .* within 0\.5 s and was killed"),
        program.compiled(ASSET, accelerator="ethos-u55-128", seconds=0.5),
    ):
        pass


def test_availability_without_vela_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(program.VARIABLE, raising=False)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    found = targets.target("vela").availability()
    assert isinstance(found, Unavailable) and "pip install 'edgefm[npu]'" in found.reason
    with pytest.raises(TargetError, match="vela is not installed"):
        targets.target("vela").figures(ASSET)


def test_availability_variable_that_names_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(program.VARIABLE, str(tmp_path / "nothing"))
    found = targets.target("vela").availability()
    assert isinstance(found, Unavailable) and "EDGEFM_VELA is" in found.reason


@pytest.mark.npu
@needs_vela
def test_availability_with_vela() -> None:
    assert targets.target("vela").availability() == Available()
    help_text = program._output(["--help"])
    assert all(accelerator in help_text for accelerator in vela.ACCELERATORS)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("vela:ethos-u55-12", "unknown accelerator 'ethos-u55-12'; did you mean 'ethos-u55-128'"),
        ("vela:ethos-u55-128,memory=Sram_Only", "did you mean 'memory_mode'"),
        ("vela:ethos-u55-128,memory_mode=Sram_Only", "gives only memory_mode"),
        ("vela:ethos-u55-128,memory_mode=", "the option 'memory_mode' .* has no value"),
        ("vela:config=my.ini", "gives only config"),
    ],
)
def test_target_address_that_is_not_understood(address: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        targets.target(address)


@pytest.mark.npu
@needs_vela
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("system_config=Ethos_U55_Deep,memory_mode=Sram_Only", "did you mean 'Ethos_U55_Deep_Embedded'"),
        ("system_config=Ethos_U55_Deep_Embedded,memory_mode=Sram", "unknown memory mode 'Sram'"),
        ("system_config=A,memory_mode=B,config=nothing.ini", "nothing.ini"),
    ],
)
def test_figures_configuration_that_is_not_there(options: str, words: str) -> None:
    board = targets.target(f"vela:ethos-u55-128,{options}")
    with pytest.raises(TargetError, match=words):
        board.figures(ASSET)
    usable = board.availability()
    assert isinstance(usable, Unavailable) and words.split(" '")[0] in usable.reason


def test_open_runs_nothing() -> None:
    target = targets.target("vela")
    assert target.runtimes == () and target.mode == "estimated" and not target.latency
    with pytest.raises(TargetError, match="runs no models"):
        target.open("litert")
