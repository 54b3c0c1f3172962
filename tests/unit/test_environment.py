from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

from edgefm.core import environment

X86 = """processor\t: 0
model name\t: AMD EPYC 9R14
flags\t\t: fpu sse2 fma avx2 avx512f avx512_bf16 avx512_vnni

processor\t: 1
model name\t: another
"""
ARM = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0b

Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""


def test_environment_validates_against_the_record_schema() -> None:
    schema = json.loads((resources.files("edgefm.schemas") / "benchmark-record-2.schema.json").read_text())
    part = {"$defs": schema["$defs"], **schema["properties"]["environment"]}
    found = environment.environment()
    jsonschema.validate(found, part)
    assert json.loads(json.dumps(found)) == found
    assert found["python"] == platform.python_version()
    assert 1 <= found["cores"] <= (os.cpu_count() or 1)


def test_memory_equals_what_the_c_library_tells() -> None:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert environment.environment()["memory_bytes"] == pages


def test_versions_equal_the_imported_modules() -> None:
    import numpy

    assert environment.versions()["numpy"] == numpy.__version__
    assert environment.version("no-such-package-as-this") is None


@pytest.mark.parametrize(
    ("cpuinfo", "model", "features"),
    [
        pytest.param(X86, "AMD EPYC 9R14", ["fma", "avx2", "avx512f", "avx512_vnni", "avx512_bf16"], id="x86"),
        pytest.param(ARM, "Raspberry Pi 5 Model B Rev 1.0", ["asimd", "asimdhp", "asimddp"], id="arm"),
    ],
)
def test_cpu_is_read_from_cpuinfo(cpuinfo: str, model: str, features: list[str]) -> None:
    assert environment.cpu_model(cpuinfo) == model
    assert environment.cpu_features(cpuinfo) == features


def test_governor_has_a_reason_where_it_is_unknown() -> None:
    found = environment.governor()
    assert isinstance(found, str) or (found["value"] is None and found["reason"])


def test_environment_imports_nothing_heavy() -> None:
    code = (
        "import sys; from edgefm.core.environment import environment; environment();"
        "print([name for name in ('tensorflow', 'keras', 'torch', 'jax', 'numpy') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_conditions_tell_of_the_battery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_POWER_SUPPLY", tmp_path)
    for name, kind in (("AC", "Mains"), ("BAT0", "Battery")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "type").write_text(f"{kind}\n")
    (tmp_path / "BAT0" / "energy_now").write_text("50000000\n")  # 50 Wh
    (tmp_path / "BAT0" / "status").write_text("Discharging\n")
    found = environment.conditions()
    assert found["battery_energy_j"] == pytest.approx(180_000) and found["battery_status"] == "Discharging"
