"""Facts and figures with the names and details that runtimes and targets really tell."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

from edgefm.comparison import figures
from edgefm.comparison.aspects import Aspect, Margins
from edgefm.comparison.compare import compare
from edgefm.comparison.comparison_result import ComparisonResult
from edgefm.comparison.subjects import Subject
from edgefm.comparison.verdicts import sentence
from tests.fixtures.benchmark_records import benchmark_record, row

LITERTJS = {
    "browser": "Chromium 131", "threads": 1, "hardware_concurrency": 2, "cross_origin_isolated": True,
    "clock_resolution_ns": 5000, "wasm_load_ns": 91_000_000, "wasm_heap_bare_bytes": 16_777_216,
    "wasm_build": "litert_wasm_internal", "compile_ns": 4_300_000, "first_invoke_ns": 800_000, "calls_a_sample": 20,
    "wasm_heap_bytes": 20_000_000,
}  # fmt: skip
ADB = {
    "android": "14", "device": "Pixel 8", "soc": "Tensor G3", "benchmark_model_sha256": "a" * 64,
    "resolution_ns": 1000, "gives_outputs": True, "load_ns": 5_000_000, "first_invoke_ns": 700_000,
    "memory_bytes": 9_000_000,
}  # fmt: skip
TFLM = {"arena_bytes": 59_440, "arena_activation_bytes": 50_000, "arena_persistent_bytes": 9_440}
QEMU = {
    "cpu": "cortex-a72", "qemu": "7.2.9", "threads": 1, "runtime": "litert", "version": "2.3.0", "kernels": "builtin",
    "invokes": 3, "spread": 41, "meaning": "instructions of one invoke; neither cycles nor latency",
}  # fmt: skip
CORTEX_M = {
    "cpu": "cortex-m4", "machine": "mps2-an386", "qemu": "7.2.9", "kernels": "edgefm's own", "flags": "-O2",
    "compiler": "arm-none-eabi-gcc 12.2",
}  # fmt: skip
CORTEX_M_COUNT = {
    **CORTEX_M, "meaning": "of one inference", "inputs": 5, "least": 900, "most": 1100, "resolution": 40.0,
    "by_operator": [{"operator": "CONV_2D", "instructions": 700}],
}  # fmt: skip
VELA = {
    "accelerator_config": "ethos-u55-128", "system_config": "internal-default", "memory_mode": "internal-default",
    "core_clock_hz": 500_000_000, "vela_version": "4.2.0",
}  # fmt: skip


def _layers(cycles: int) -> dict[str, Any]:
    return {**VELA, "layers": [{"operator": "CONV_2D", "step": "Conv2D", "output": "y", "cycles": cycles, "macs": 9}]}


def _figure(name: str, value: float, mode: str, details: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "value": value, "mode": mode, "reason": None, "details": details}


def _compared(first: dict[str, Any], second: dict[str, Any], *, size: float = 0.0) -> ComparisonResult:
    subjects = [Subject(name=name, record=benchmark_record([one])) for name, one in (("a", first), ("b", second))]
    return compare(*subjects, margins=Margins(size=size), latency=False)


def _aspects(found: ComparisonResult) -> dict[str, Aspect]:
    return {one.name: one for one in found.pairs[0].aspects}


@pytest.mark.parametrize("facts", [pytest.param(LITERTJS, id="litertjs"), pytest.param(ADB, id="adb")])
def test_compare_judges_no_single_reading_of_a_clock_and_no_description(facts: dict[str, Any]) -> None:
    more = {name: 1.01 * value if type(value) is int else value for name, value in facts.items()}
    found = _compared(row("m", facts=facts), row("m", facts=more))
    assert found.exit_code == 0
    assert not _aspects(found).keys() & facts.keys()


def test_compare_judges_the_arena_of_tflm_as_a_whole() -> None:
    found = _compared(row("m", facts=TFLM), row("m", facts={**TFLM, "arena_bytes": 60_000, "arena_tail": 1}))
    assert [(name, one.verdict) for name, one in _aspects(found).items() if name.startswith("arena")] == [
        ("arena_bytes", "worse")
    ]
    assert found.exit_code == 1


@pytest.mark.parametrize(
    ("second", "verdict"), [(1_000_020.0, "the same"), (1_100_000.0, "worse"), (900_000.0, "better")]
)
def test_compare_instructions_of_qemu_though_their_spread_differs(second: float, verdict: str) -> None:
    rows = [
        row("m", figures=[_figure("instructions", value, "simulated", {**QEMU, "spread": spread})])
        for value, spread in ((1e6, 41), (second, 12))
    ]
    found = _compared(*rows)
    assert _aspects(found)["instructions"].verdict == verdict
    assert found.exit_code == (verdict == "worse")


@pytest.mark.parametrize(
    "changed", [{"cpu": "cortex-a53"}, {"qemu": "9.0.0"}, {"version": "2.4.0"}, {"kernels": "reference"}]
)
def test_compare_instructions_of_another_configuration_are_not_compared(changed: dict[str, Any]) -> None:
    rows = [
        row("m", figures=[_figure("instructions", 1e6, "simulated", details)]) for details in (QEMU, QEMU | changed)
    ]
    found = _compared(*rows)
    assert _aspects(found)["instructions"].verdict == "not compared" and found.exit_code == 2
    told = sentence(_aspects(found)["instructions"])
    assert str(next(iter(changed.values()))) in told and "spread" not in told


def test_compare_figures_of_a_cortex_m_though_their_counts_differ() -> None:
    def of(instructions: float, flash: float, ram: float, difference: float) -> dict[str, Any]:
        counted = CORTEX_M_COUNT | {
            "least": instructions - 40,
            "most": instructions + 80,
            "by_operator": [instructions],
        }
        of_ram = CORTEX_M | {"stack": "not counted", "arena_bytes": int(ram)}
        against = CORTEX_M | {"reference": "litert", "inputs": 5, "differing_values": int(difference), "values": 50}
        told = [
            _figure("instructions", instructions, "simulated", counted),
            _figure("flash_bytes", flash, "simulated", CORTEX_M),
            _figure("ram_bytes", ram, "simulated", of_ram),
            _figure("output_difference", difference, "simulated", against),
        ]
        return row("m", figures=told)

    found = _compared(of(1e6, 50_000, 20_000, 0), of(9e5, 51_000, 20_000, 1))
    names = ("instructions", "flash_bytes", "ram_bytes")
    assert [_aspects(found)[name].verdict for name in names] == ["better", "worse", "the same"]
    assert "output_difference" not in _aspects(found)


def _vela(*, share: float, cycles: int = 1000, arena: int = 59_440, **changed: Any) -> dict[str, Any]:
    of_share = {"operators": 10, "on_cpu": [share], "on_cpu_macs": round(9 * (1 - share)), "macs": 9}
    details = VELA | changed
    return row(
        "m",
        figures=[
            _figure("latency_ns", 2.0 * cycles, "estimated", details),
            _figure("npu_latency_ns", 2.0 * cycles, "estimated", _layers(cycles) | changed),
            _figure("npu_cycles", cycles, "estimated", details),
            _figure("npu_operator_share", share, "estimated", details | of_share),
            _figure("arena_bytes", arena, "estimated", details),
            _figure("model_bytes", 400_000, "estimated", details),
            _figure("sram_bytes", arena, "estimated", details),
            _figure("dram_bytes", 0, "estimated", details),
        ],
    )


def test_compare_estimates_of_vela_though_their_layers_differ() -> None:
    found = _compared(_vela(share=1.0), _vela(share=1.0, cycles=1100, arena=50_000))
    assert {name: one.verdict for name, one in _aspects(found).items() if "estimated" in one.details.values()} == {
        "latency_ns": "worse", "npu_latency_ns": "worse", "npu_cycles": "worse", "npu_operator_share": "the same",
        "arena_bytes": "better", "model_bytes": "the same", "sram_bytes": "better", "dram_bytes": "the same",
    }  # fmt: skip
    assert not any(name in one.details for one in _aspects(found).values() for name in ("layers", "on_cpu", "macs"))


def test_compare_more_on_the_accelerator_is_better_and_its_greater_part_is_not_judged() -> None:
    more, less = _vela(share=1.0, cycles=1500), _vela(share=0.5, cycles=1000)
    found, back = _aspects(_compared(less, more)), _aspects(_compared(more, less))
    assert (found["npu_operator_share"].verdict, back["npu_operator_share"].verdict) == ("better", "worse")
    assert found["npu_cycles"].verdict == found["sram_bytes"].verdict == "not judged"
    assert "operators on the accelerator" in sentence(found["npu_cycles"])
    # latency_ns is of the whole model.
    assert found["latency_ns"].verdict == "worse"


@pytest.mark.parametrize(("margin", "code"), [(0.0, 1), (0.1, 1), (0.6, 0)])
def test_compare_margin_of_a_share_of_which_more_is_better(margin: float, code: int) -> None:
    assert _compared(_vela(share=1.0), _vela(share=0.5), size=margin).exit_code == code


def test_compare_estimates_of_other_memories_are_not_compared() -> None:
    found = _compared(_vela(share=1.0), _vela(share=1.0, memory_mode="Sram_Only"))
    assert _aspects(found)["latency_ns"].verdict == "not compared" and found.exit_code == 2
    assert "Sram_Only" in sentence(_aspects(found)["latency_ns"])


def test_worked_example_holds() -> None:
    result = doctest.testmod(figures)
    assert result.attempted == 1 and result.failed == 0
