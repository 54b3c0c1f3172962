"""The target cortex-m with real firmware in QEMU: edgefm's own, built from models, and a user's."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm import runtimes, targets
from edgefm.core.errors import EdgefmError, ModelError, RecipeError, RuntimeUnavailableError
from edgefm.runtimes.base import Available, Unavailable
from edgefm.targets import cortex_m
from edgefm.targets.base import Figure, TargetError
from edgefm.targets.cortex_m import boards, graph, runtime, source
from edgefm.targets.cortex_m.run import FirmwareError
from edgefm.targets.host import Host
from edgefm.targets.raw_outputs import raw_outputs
from edgefm.targets.worker_process import WorkerError
from edgefm.tflite.inspection import inspect
from tests.fixtures import tiny_models
from tests.fixtures.int8_operators import every_operator
from tests.fixtures.tiny_models import Graph, Operator, Tensor

REPOSITORY = Path(__file__).parents[2]
ASSET = REPOSITORY / "android_demo_assets" / "int8" / "model.tflite"
_MISSING = [name for name in (boards.EMULATOR, boards.COMPILER) if shutil.which(name) is None]
needs_tools = pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {', '.join(_MISSING)}")
# A user's firmware: 4 bytes in, 2 out. INVOKE and SETUP are put in.
_FIRMWARE = """
#include "edgefm_firmware.h"
static unsigned char input[4], output[2];
int edgefm_setup(void) { SETUP; return 0; }
void *edgefm_input(uint32_t *bytes) { *bytes = sizeof input; return input; }
uint32_t edgefm_outputs(void) { return 1; }
const void *edgefm_output(uint32_t index, uint32_t *bytes) { (void)index; *bytes = sizeof output; return output; }
int edgefm_invoke(void) { INVOKE; return 0; }
"""
_HALF = "for (int i = 0; i < 2; i++) output[i] = (unsigned char)((signed char)input[i] + (signed char)input[i + 2])"


def _named(found: tuple[Figure, ...]) -> dict[str, Figure]:
    return {figure.name: figure for figure in found}


def _file(folder: Path, content: bytes) -> Path:
    path = folder / "some model.tflite"
    path.write_bytes(content)
    return path


def _sums() -> bytes:
    """Return an int8 model whose two outputs are sums of two of its four inputs each."""
    weights = np.array([[1, 0, 1, 0], [0, 1, 0, 1]], np.int8)
    return tiny_models.quantized_dense(weights, picture=(2, 2, 1), input_zero_point=0, output_scale=1.0)


def _firmware(folder: Path, *, setup: str = "", invoke: str = _HALF) -> Path:
    """Return a user's firmware for the M4, linked as the page says."""
    page = (REPOSITORY / "docs" / "targets-npu-mcu.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    command = next(block for block in blocks if block.startswith("arm-none-eabi-gcc"))
    (folder / "app.c").write_text(_FIRMWARE.replace("SETUP", setup).replace("INVOKE", invoke))
    environment = {**os.environ, "FIRMWARE": str(boards.FIRMWARE)}
    subprocess.run(["bash", "-ec", command], cwd=folder, env=environment, check=True)
    return folder / "app.elf"


def _inputs(shape: tuple[int, ...], dtype: str, *, count: int) -> NDArray[Any]:
    generator = np.random.default_rng(3)
    if dtype == "float32":
        return generator.normal(0, 4, (count, *shape)).astype(np.float32)
    return generator.integers(0, 256, (count, *shape)).astype(np.uint8).view(dtype)


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's firmware of `_sums`, compiled once."""
    return _firmware(tmp_path_factory.mktemp("sums"))


@pytest.mark.qemu
@needs_tools
def test_figures_of_the_shipped_model_repeat_and_agree_with_each_other() -> None:
    found = _named(targets.target("cortex-m").figures(ASSET))
    assert {figure.mode for figure in found.values()} == {"simulated"}
    count, details = found["instructions"].value, found["instructions"].details
    assert count is not None
    seen = inspect(ASSET)
    # A multiply-accumulate takes an instruction at the least, two loads and its share of the loop.
    assert 3 * seen.macs < count < 20 * seen.macs
    assert details["cpu"] == "cortex-m4" and "-O2" in details["flags"] and "without CMSIS-NN" in details["kernels"]
    assert "neither cycles nor latency" in details["meaning"]
    steps = details["by_operator"]
    named = [operator.name for operator in seen.operators if operator.name != "RESHAPE"]
    assert [step["operator"] for step in steps] == named
    assert sum(step["instructions"] for step in steps) == pytest.approx(count, rel=1e-4)
    flash, ram = found["flash_bytes"].value, found["ram_bytes"].value
    assert flash is not None and seen.weight_bytes <= flash < seen.weight_bytes + 50_000
    arena = found["ram_bytes"].details["arena_bytes"]
    assert ram is not None and seen.largest_activation_bytes <= arena <= ram <= 1.5 * seen.largest_activation_bytes
    assert found["output_difference"].value == 0.0
    assert found["output_difference"].details["values"] == 4 * 10
    assert found == _named(targets.target("cortex-m").figures(ASSET))


@pytest.mark.qemu
@needs_tools
@pytest.mark.parametrize(("core", "dtype"), [("m4", "int8"), ("m7", "uint8"), ("m55", "float32")])
def test_outputs_of_every_operator_equal_the_reference_kernels(tmp_path: Path, core: str, dtype: str) -> None:
    model = _file(tmp_path, every_operator(seed=1, dtype=dtype))
    inputs = _inputs((9, 8, 6), dtype, count=5)
    target = targets.target(f"cortex-m:{core}")
    assert isinstance(target, cortex_m.CortexM)
    outputs = target.outputs(model, inputs)
    wanted = raw_outputs(model, inputs, runtime="litert:reference", target=Host())
    assert len(outputs) == len(wanted) == len(inspect(model).outputs)
    for place, (one, other) in enumerate(zip(outputs, wanted, strict=True)):
        np.testing.assert_array_equal(one, other, err_msg=inspect(model).tensors[inspect(model).outputs[place]].name)
        assert len(np.unique(one)) > 3  # not all at one end of the range


@pytest.mark.qemu
@needs_tools
@pytest.mark.skipif(importlib.util.find_spec("tflite_micro") is None, reason="tflite-micro is not installed")
def test_outputs_of_every_operator_equal_tflite_micro(tmp_path: Path) -> None:
    model = _file(tmp_path, every_operator(seed=0, dtype="float32"))
    inputs = _inputs((9, 8, 6), "float32", count=5)
    target = targets.target("cortex-m")
    assert isinstance(target, cortex_m.CortexM)
    seen = inspect(model)
    wanted = raw_outputs(model, inputs, runtime="tflm", target=Host())
    for index, one, other in zip(seen.outputs, target.outputs(model, inputs), wanted, strict=True):
        name = seen.tensors[index].name
        if name.startswith("RELU6 "):
            continue  # TensorFlow Lite for Microcontrollers clamps without going over to the output's scale
        np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.mark.qemu
@needs_tools
def test_worker_of_the_target_answers_as_the_firmware_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runtimes.RUNTIMES, cortex_m.RUNTIME, runtime.__name__)
    inputs = _inputs((28, 28, 1), "uint8", count=3)
    found = raw_outputs(ASSET, inputs, runtime=cortex_m.RUNTIME, target=targets.target("cortex-m:m7"))
    wanted = raw_outputs(ASSET, inputs, runtime="litert:reference", target=Host())
    np.testing.assert_array_equal(found[0], wanted[0])
    with pytest.raises(WorkerError, match="runs on the target 'cortex-m' only"):
        raw_outputs(ASSET, inputs, runtime=cortex_m.RUNTIME, target=Host())


@pytest.mark.qemu
@needs_tools
def test_session_takes_inputs_larger_than_a_pipe_and_tells_of_a_dead_emulator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cortex_m.VARIABLE, "m4")
    side = 400  # 160,000 bytes; a pipe holds 65,536
    tensors = [
        Tensor(name="x", shape=(1, side, side, 1), dtype="int8", scale=[1.0]),
        Tensor(name="y", shape=(1, side, side, 1), dtype="int8", scale=[2.0], zero_point=-128),
    ]
    relu = Operator(name="RELU", inputs=(0,), outputs=(1,))
    model = _file(tmp_path, tiny_models.build(Graph(tensors=tensors, operators=[relu], inputs=[0], outputs=[1])))
    picture = _inputs((side, side, 1), "int8", count=1)
    with runtime.load(model) as session:
        halves = np.maximum(picture.astype(int), 0) / 2
        for _ in range(2):
            np.testing.assert_array_equal(session.run(picture), np.floor(halves + 0.5) - 128)
        session._process.kill()
        with pytest.raises(TargetError, match="the firmware ended"):
            session.run(picture)


@pytest.mark.qemu
@needs_tools
def test_figures_of_a_user_s_firmware_count_what_it_does(tmp_path: Path) -> None:
    rounds = 1_000_000  # of a loop of two instructions
    loop = f'uint32_t n = {rounds}; __asm volatile("1: subs %0, %0, #1\\n bne 1b" : "+r"(n) : : "cc"); {_HALF}'
    firmware = _firmware(tmp_path, invoke=loop)
    model = _file(tmp_path, _sums())
    target = targets.target(f"cortex-m:m4,firmware={firmware}")
    found = _named(target.figures(model))
    count = found["instructions"].value
    assert count is not None and 2 * rounds <= count <= 2 * rounds + 200
    assert found["instructions"].details["by_operator"] == []
    details = found["instructions"].details
    assert details["kernels"] == "those of the given firmware app.elf"
    assert details["firmware_sha256"] == hashlib.sha256(firmware.read_bytes()).hexdigest()
    assert str(tmp_path) not in str(found)  # records are passed on
    # Sums beyond int8 wrap in the firmware and saturate in the model: 129 to 256 levels apart.
    difference = found["output_difference"].value
    assert difference is not None and 129 <= difference <= 256
    assert 0 < found["output_difference"].details["differing_values"] < found["output_difference"].details["values"]
    assert _named(target.figures(model)) == found


@pytest.mark.qemu
@needs_tools
@pytest.mark.parametrize(
    ("setup", "invoke", "words"),
    [
        ("", "for (;;) {}", "did not end within 1 s and was stopped"),
        ("", "*(volatile int *)0xF0000000 = 1", "the processor met a fault"),
        ("", "return 1", "an inference failed"),
        ("return 1", "", "the model could not be set up"),
        (
            '__asm volatile("movs r0, #0x18\\n ldr r1, =0x20026\\n bkpt 0xab" ::: "r0", "r1")',
            "",
            "without a message to edgefm",
        ),
        (
            '__asm volatile("movs r0, #4\\n mov r1, %0\\n bkpt 0xab" :: '
            '"r"("edgefm:model\\nedgefm:done 1\\n") : "r0", "r1");'
            '__asm volatile("movs r0, #0x18\\n ldr r1, =0x20026\\n bkpt 0xab" ::: "r0", "r1")',
            "",
            "incomplete or cannot be parsed",
        ),
        ('edgefm_stop("no room for the tensors")', "", "the firmware stopped: no room for the tensors"),
    ],
    ids=["hangs", "faults", "fails", "no set-up", "silent", "gibberish", "stops"],
)
def test_figures_of_a_user_s_firmware_that_misbehaves(tmp_path: Path, setup: str, invoke: str, words: str) -> None:
    firmware = _firmware(tmp_path, setup=setup, invoke=invoke or _HALF)
    target = targets.target(f"cortex-m:m4,firmware={firmware}")
    assert isinstance(target, cortex_m.CortexM)
    with pytest.raises(FirmwareError, match=words):
        seconds = 1 if words.startswith("did not end") else 60
        target.outputs(_file(tmp_path, _sums()), np.zeros((1, 2, 2, 1), np.int8), seconds=seconds)


@pytest.mark.qemu
@needs_tools
def test_figures_of_a_user_s_firmware_for_another_model(tmp_path: Path, sums: Path) -> None:
    target = targets.target(f"cortex-m:m4,firmware={sums}")
    with pytest.raises(TargetError, match="takes inputs of 4 bytes, the model's have 784"):
        target.figures(ASSET)
    three = tiny_models.quantized_dense(np.ones((3, 4), np.int8), picture=(2, 2, 1), output_scale=1.0)
    with pytest.raises(TargetError, match=r"outputs have \(2,\) bytes, those of the model \(3,\)"):
        target.figures(_file(tmp_path, three))


def _no_elf(whole: Path) -> bytes:
    return b":10000000C40120000D0100004D0100004F010000C6\n"


def _of_this_machine(whole: Path) -> bytes:
    return Path(sys.executable).read_bytes()[:4096]


def _of_another_processor(whole: Path) -> bytes:
    return b"\x7fELF\x01\x01\x01".ljust(16, b"\0") + b"\x02\0\xf3\0" + bytes(100)  # RISC-V


def _cut_off(whole: Path) -> bytes:
    return whole.read_bytes()[:300]


@pytest.mark.qemu
@needs_tools
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (_no_elf, "is not an ELF file"),
        (_of_this_machine, "not a 32-bit little-endian ELF file"),
        (_of_another_processor, "another processor .ELF machine 243"),
        (_cut_off, "cut off or damaged"),
    ],
)
def test_availability_firmware_that_is_none(tmp_path: Path, sums: Path, content: Any, words: str) -> None:
    path = tmp_path / "app.elf"
    path.write_bytes(content(sums))
    target = targets.target(f"cortex-m:firmware={path}")
    with pytest.raises(TargetError, match=words):
        target.figures(_file(tmp_path, _sums()))
    found = target.availability()
    assert isinstance(found, Unavailable)


def test_availability_firmware_that_is_missing(tmp_path: Path) -> None:
    target = targets.target(f"cortex-m:m4,firmware={tmp_path / 'nothing.elf'}")
    with pytest.raises(TargetError, match=r"nothing\.elf cannot be read"):
        target.figures(_file(tmp_path, _sums()))


def _int4() -> bytes:
    tensors = [
        Tensor(name="x", shape=(1, 4), dtype="int8", scale=[1.0]),
        Tensor(name="w", shape=(2, 4), dtype="int4", data=np.zeros(4, np.int8), scale=[1.0]),
        Tensor(name="y", shape=(1, 2), dtype="int8", scale=[1.0]),
    ]
    return tiny_models.build(
        Graph(
            tensors=tensors,
            operators=[Operator(name="FULLY_CONNECTED", inputs=(0, 1, -1), outputs=(2,))],
            inputs=[0],
            outputs=[2],
        )
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(tiny_models.enhanced_cnn(), r"operator 0 \(CONV_2D\): 'image' is float32, not int8", id="float"),
        pytest.param(tiny_models.custom(), "have no CUSTOM:MyMadeUpOp", id="custom"),
        pytest.param(_int4(), "'w' is int4, not int8", id="int4"),
        pytest.param(tiny_models.dynamic(), r"has the shape \(1, -1\)", id="dynamic"),
        pytest.param(tiny_models.add(), "has 2 inputs", id="two inputs"),
        pytest.param(ASSET.read_bytes()[:200_000], "cut off or damaged", id="cut off"),
    ],
)
def test_figures_model_that_the_kernels_cannot_run(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        targets.target("cortex-m").figures(_file(tmp_path, content))


def test_source_of_damaged_models_is_made_or_refused(tmp_path: Path) -> None:
    content = every_operator()
    generator = np.random.default_rng(1)
    refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        for place in generator.integers(0, len(damaged), generator.integers(1, 6)):
            damaged[int(place)] = int(generator.integers(256))
        try:
            source.source_of(graph.read(_file(tmp_path, bytes(damaged))))
        except ModelError:
            refused += 1
    assert 20 < refused < 60  # most are refused; one in four hits weights alone


@pytest.mark.qemu
@needs_tools
def test_figures_model_larger_than_the_board_s_memory(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).integers(-127, 128, (1100, 4096)).astype(np.int8)
    model = _file(tmp_path, tiny_models.quantized_dense(weights, picture=(64, 64, 1), output_scale=1e5))
    with pytest.raises(ModelError, match=r"does not fit the memory of mps2-an386: .*overflowed"):
        targets.target("cortex-m").figures(model)


@pytest.mark.qemu
@needs_tools
def test_outputs_inputs_of_another_shape() -> None:
    target = targets.target("cortex-m")
    assert isinstance(target, cortex_m.CortexM)
    with pytest.raises(ModelError, match="takes uint8 "):
        target.outputs(ASSET, np.zeros((2, 28, 28), np.uint8))


def test_availability_without_the_programs_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = targets.target("cortex-m").availability()
    assert isinstance(found, Unavailable) and "apt-get install qemu-system-arm" in found.reason
    with pytest.raises(EdgefmError, match="arm-none-eabi-gcc is not installed"):
        targets.target("cortex-m").figures(ASSET)
    monkeypatch.setenv("EDGEFM_QEMU_SYSTEM_ARM", str(tmp_path / "nothing"))
    found = targets.target("cortex-m").availability()
    assert isinstance(found, Unavailable) and "which is not an executable" in found.reason


@pytest.mark.qemu
@needs_tools
def test_availability_with_the_programs() -> None:
    assert targets.target("cortex-m:m55").availability() == Available()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("cortex-m:m5", "unknown Cortex-M core 'm5'; did you mean 'm55'"),
        ("cortex-m:m4,firmwar=a.elf", "did you mean 'firmware'"),
        ("cortex-m:m4,firmware=", "names no firmware"),
    ],
)
def test_target_address_that_is_not_understood(address: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        targets.target(address)


def test_open_other_runtime_and_other_place(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TargetError, match="does not run on a Cortex-M"):
        targets.target("cortex-m").open("litert")
    monkeypatch.delenv(cortex_m.VARIABLE, raising=False)
    with pytest.raises(RuntimeUnavailableError, match="target 'cortex-m' only"):
        runtime.load(ASSET)
