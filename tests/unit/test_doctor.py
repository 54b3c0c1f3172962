from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from edgefm import targets
from edgefm.cli.main import cli, run
from edgefm.jobs.doctor import installed as packages
from edgefm.jobs.doctor import usable
from edgefm.jobs.doctor.findings import RuntimeFinding
from edgefm.runtimes.probe import Probed
from edgefm.targets import probing


def doctor(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert run(lambda: cli.main(["doctor", *arguments], standalone_mode=False)) == 0
    return capsys.readouterr().out


def test_doctor_json_says_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(doctor(["--json"], capsys))
    assert set(found) == {
        "environment",
        "extras",
        "runtimes",
        "targets",
        "backends",
        "gpus",
        "plugins",
        "data",
    }
    assert found["environment"]["versions"]["numpy"] == importlib.metadata.version("numpy")
    litert = next(item for item in found["runtimes"] if item["name"] == "litert")
    assert litert == {
        "name": "litert",
        "found": importlib.metadata.version("ai-edge-litert"),
        "reason": None,
        "remedy": None,
        "kernels": ["xnnpack", "builtin", "reference"],
        "python": None,
    }
    for item in found["backends"]:
        installed = importlib.util.find_spec(item["name"]) is not None
        assert (item["found"] is not None) == installed
        assert installed or "pip install 'edgefm[train" in item["remedy"]
    # Either a thing is here or there is a reason.
    items = [*found["extras"], *found["runtimes"], *found["backends"], *found["gpus"], found["data"]]
    assert all((item["found"] is None) == bool(item["reason"]) for item in items)


def test_doctor_imports_no_backend_and_no_plotting() -> None:
    code = (
        "import sys; from edgefm.jobs.doctor import doctor; doctor();"
        "print([n for n in ('tensorflow', 'keras', 'jax', 'torch', 'matplotlib') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_doctor_names_missing_data_and_the_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = doctor(["--data-dir", str(tmp_path)], capsys)
    assert "no   Fashion-MNIST" in text
    assert "train-images-idx3-ubyte.gz" in text
    assert "-> edgefm data fetch" in text


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A made-up environment: the versions of packages, to be filled by the test."""
    versions: dict[str, str] = {"packaging": "26.3"}
    monkeypatch.setattr(packages, "version", versions.get)
    monkeypatch.setattr(
        importlib.metadata,
        "requires",
        lambda _: [
            "numpy>=1.26",
            "psutil>=5; python_version < '3.0'",
            "jinja2>=3.1; extra == 'report'",
            "edgefm[report]; extra == 'train'",
            "keras>=3.10; extra == 'train'",
            "tensorflow<2.22,>=2.20; extra == 'train'",
            "never<1; (python_version < '3.0') and extra == 'old'",
        ],
    )
    return versions


def test_extra_is_complete_with_all_its_packages(installed: dict[str, str]) -> None:
    installed.update({"numpy": "2.2.6", "jinja2": "3.1.6", "keras": "3.15.1", "tensorflow": "2.21.0"})
    assert packages._lacks("") == ([], True)
    assert packages._lacks("train") == ([], True)


def test_extra_lists_what_is_missing_and_what_is_of_another_version(installed: dict[str, str]) -> None:
    installed.update({"numpy": "1.24.0", "tensorflow": "2.22.0"})
    assert packages._lacks("") == (["numpy 1.24.0 is installed, numpy>=1.26 is needed"], True)
    assert packages._lacks("train") == (
        [
            "jinja2 is not installed",
            "keras is not installed",
            "tensorflow 2.22.0 is installed, tensorflow<2.22,>=2.20 is needed",
        ],
        True,
    )


def test_extra_for_another_python_has_no_remedy(installed: dict[str, str]) -> None:
    lacks, curable = packages._lacks("old")
    assert lacks == ['never is not for this Python or system: python_version < "3.0"']
    assert not curable


def test_the_base_install_reads_no_requirements_and_knows_that_extras_are_missing(installed: dict[str, str]) -> None:
    del installed["packaging"]
    assert packages._lacks("") == ([], True)
    assert packages._lacks("report") == (["not all of its packages are installed"], True)


def test_every_extra_brings_what_reads_requirements() -> None:
    project = tomllib.loads((Path(packages.__file__).parents[3] / "pyproject.toml").read_text())["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]

    def all_of(extra: str) -> list[str]:
        inner = [name for text in extras[extra] if text.startswith("edgefm[") for name in text[7:-1].split(",")]
        return extras[extra] + [text for name in inner for text in all_of(name)]

    for extra in set(extras) - packages._FOR_DEVELOPERS - packages._APART:
        assert any(text.startswith("packaging") for text in all_of(extra)), extra
    assert not any(text.startswith("packaging") for text in project["dependencies"])


def nvidia_smi(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program called nvidia-smi first on the path: what it prints is what the real one prints."""
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_gpus_are_those_that_nvidia_smi_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, "echo 'NVIDIA H200, 143771 MiB, 570.133.20'; echo 'Tesla T4, 15360 MiB, 570.1'", monkeypatch)
    assert [(gpu.name, gpu.found) for gpu in packages.gpus()] == [
        ("NVIDIA GPU 0", "NVIDIA H200, 143771 MiB, driver 570.133.20"),
        ("NVIDIA GPU 1", "Tesla T4, 15360 MiB, driver 570.1"),
    ]


def test_a_failing_nvidia_smi_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, "echo 'NVIDIA-SMI has failed: no driver'; exit 9", monkeypatch)
    (gpu,) = packages.gpus()
    assert gpu.found is None
    assert gpu.reason == "nvidia-smi says: NVIDIA-SMI has failed: no driver"


def test_a_hanging_nvidia_smi_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, "exec sleep 20", monkeypatch)
    monkeypatch.setattr(packages, "_NVIDIA_SMI_SECONDS", 0.2)
    (gpu,) = packages.gpus()
    assert gpu.reason == "nvidia-smi gave no answer in 0.2 s"


def test_without_nvidia_smi_there_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (gpu,) = packages.gpus()
    assert gpu.found is None and "no NVIDIA driver" in str(gpu.reason)


def runtimes_of(monkeypatch: pytest.MonkeyPatch, known: dict[str, str]) -> list[RuntimeFinding]:
    from edgefm import runtimes

    monkeypatch.setattr(runtimes, "modules", lambda: known)
    return list(usable.runtimes())


LITERT = {"litert": "edgefm.runtimes.litert"}


def test_a_broken_runtime_of_another_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, litert = runtimes_of(monkeypatch, {"mine": "no_such_module_of_mine", **LITERT})
    assert mine.found is None and "no_such_module_of_mine" in str(mine.reason)
    assert litert.found is not None


def test_each_runtime_of_edgefm_works_or_says_why_not_and_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("litert", "tflite-runtime", "tflm", "openvino", "onnxruntime")
    from edgefm.runtimes import RUNTIMES

    for finding in runtimes_of(monkeypatch, {name: RUNTIMES[name] for name in names}):
        if finding.found is None:
            assert finding.reason and "pip install" in str(finding.remedy), finding
        else:
            assert finding.reason is None and finding.remedy is None, finding


def test_a_runtime_under_another_interpreter_is_asked_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Not this program's name: it shows that the one which is named was asked, with the worker's bundle alone.
    other = tmp_path / "their-python"
    other.write_text(f'#!/bin/sh\ncase "$PYTHONPATH" in *worker.zip*) exec {sys.executable} "$@";; esac\nexit 3\n')
    other.chmod(0o755)
    monkeypatch.setenv("EDGEFM_PYTHON_LITERT", str(other))
    (litert,) = runtimes_of(monkeypatch, LITERT)
    assert (litert.found, litert.python) == (importlib.metadata.version("ai-edge-litert"), str(other))
    assert litert.kernels == ("xnnpack", "builtin", "reference")
    text = doctor([], capsys)
    assert "kernel sets: xnnpack (default), builtin, reference" in text
    assert f"in {other}" in text


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param("exec sleep 20", "gave no answer in 0.3 s", id="hangs"),
        pytest.param("echo 'No module named numpy' >&2; exit 1", "exit code 1: No module named numpy", id="fails"),
        pytest.param("exit 0", "exit code 0: no answer", id="silent"),
        pytest.param("echo hello", "gave an unexpected answer: hello", id="babbles"),
        pytest.param("printf '%0100000d' 0 | tr 0 [", "gave an unexpected answer: [[[", id="brackets"),
    ],
)
def test_another_interpreter_that_does_not_answer_is_the_reason(
    script: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "their-python"
    other.write_text(f"#!/bin/sh\n{script}\n")
    other.chmod(0o755)
    monkeypatch.setenv("EDGEFM_PYTHON_LITERT", str(other))
    monkeypatch.setattr(probing, "_PROBE_SECONDS", 0.3)
    (litert,) = runtimes_of(monkeypatch, LITERT)
    assert litert.found is None and words in str(litert.reason)
    assert litert.python == str(other)


def test_a_runtime_that_another_interpreter_lacks_is_installed_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usable, "probed_by", lambda *_: Probed(reason="not installed", install="pip install it"))
    monkeypatch.setenv("EDGEFM_PYTHON_LITERT", sys.executable)
    (litert,) = runtimes_of(monkeypatch, LITERT)
    assert (litert.reason, litert.remedy) == ("not installed", f"{sys.executable} -m pip install it")


def test_a_variable_that_names_no_interpreter_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFM_PYTHON_LITERT", "/nowhere/python")
    (litert,) = runtimes_of(monkeypatch, LITERT)
    assert litert.reason == "EDGEFM_PYTHON_LITERT is '/nowhere/python', which is not an executable"
    assert litert.remedy == "Give the path of a Python interpreter."


def test_targets_are_told_with_what_their_figures_are_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "TARGETS", {**targets.TARGETS, "broken": "tests.fixtures.no_such_module"})
    found = {finding.name: finding for finding in usable.targets()}
    assert set(found) == {*targets.TARGETS, "broken"}
    assert found["host"].found == "measured"
    assert found["ssh"].found is not None and "ssh://user@board" in found["ssh"].found
    assert found["broken"].found is None and "no_such_module fails" in str(found["broken"].reason)
    for name, finding in found.items():
        assert finding.found or finding.reason, name


def test_package_of_another_system_is_not_missing_in_the_base_install(
    installed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: ["numpy>=1.26", "psutil>=5.9; sys_platform == 'no'"])
    installed["numpy"] = "2.2.6"
    assert packages._lacks("") == ([], True)


def test_extra_with_an_environment_of_its_own_is_complete_where_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFM_PYTHON_TFLITE_RUNTIME", sys.executable)
    monkeypatch.setattr(packages, "probed_by", lambda *_: Probed(version="2.14.0"))
    assert packages._apart("tflite-runtime").found == f"complete, in {sys.executable}"
    monkeypatch.setattr(packages, "probed_by", lambda *_: Probed(reason="not installed"))
    assert packages._apart("tflite-runtime").found is None


def test_runtime_of_a_target_is_there_where_the_target_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgefm.runtimes import RUNTIMES
    from edgefm.runtimes.base import Available, Unavailable
    from edgefm.targets.cortex_m import CortexM

    known = {"cortex-m-firmware": RUNTIMES["cortex-m-firmware"]}
    monkeypatch.setattr(CortexM, "availability", lambda _: Available())
    (finding,) = runtimes_of(monkeypatch, known)
    assert finding.found == "on the target cortex-m" and finding.remedy is None
    monkeypatch.setattr(CortexM, "availability", lambda _: Unavailable("no emulator", remedy="install it"))
    (finding,) = runtimes_of(monkeypatch, known)
    assert (finding.found, finding.reason, finding.remedy) == (None, "no emulator", "install it")


def test_what_is_installed_is_not_in_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from edgefm.runtimes.litertjs import package

    for variable in (package.BROWSER_VARIABLE, package.DRIVER_VARIABLE):
        monkeypatch.setenv(variable, sys.executable)
    monkeypatch.setenv(package.PACKAGE_VARIABLE, str(tmp_path))
    (finding,) = [one for one in usable.targets() if one.name == "browser"]
    assert finding.remedy is not None and "litertjs setup" in finding.remedy
    assert "apt-get" not in finding.remedy


def test_plugins_are_listed_with_the_reason_where_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good_target.py").write_text("def target(rest): raise ValueError('never opened')\n")
    (tmp_path / "bad_plugin.py").write_text("import no_such_library\n")
    about = tmp_path / "theirs-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text(
        "[edgefm.targets]\nmine = good_target\nhost = good_target\n"
        "[edgefm.runtimes]\nbroken = bad_plugin\nbare = good_target\n"
        "[edgefm.passes]\nround = bad_plugin\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = {finding.name: finding for finding in usable.plugin_findings()}
    assert found["target mine"].found == "theirs 1.2"
    assert found["target host"].reason == "theirs 1.2: its name is taken by edgefm's own"
    for name in ("runtime broken", "pass round"):
        assert "No module named 'no_such_library'" in str(found[name].reason), name
    assert "good_target has no version, availability, load" in str(found["runtime bare"].reason)
    text = doctor([], capsys)
    assert "Plug-ins" in text and "no_such_library" in text


def test_the_python_in_a_remedy_is_quoted() -> None:
    assert usable._remedy("pip install x", Path("/my python/bin/python")) == "'/my python/bin/python' -m pip install x"
