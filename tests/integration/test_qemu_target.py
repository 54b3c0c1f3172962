"""The target qemu-aarch64: addresses and the root everywhere; the emulated runs where qemu and the root are here."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

import edgefm
from edgefm import runtimes
from edgefm.core import environment
from edgefm.core.cache import cache_folder
from edgefm.core.errors import ModelError, RecipeError
from edgefm.core.progress import Progress
from edgefm.runtimes.base import Available, Unavailable
from edgefm.targets import qemu_aarch64, target
from edgefm.targets.base import TargetError
from edgefm.targets.qemu_aarch64 import QemuAarch64, cpus, instructions, program
from edgefm.targets.qemu_aarch64 import root as aarch64_root
from edgefm.targets.qemu_aarch64.instructions import CountingUnavailableError
from edgefm.targets.qemu_aarch64.program import Qemu
from edgefm.targets.qemu_aarch64.root import Root
from edgefm.targets.raw_outputs import loaded, raw_outputs
from edgefm.targets.worker_process import WorkerError, WorkerProcess
from tests.fixtures import tiny_models
from tests.fixtures.first_line import first_line
from tests.fixtures.processes import is_alive

REPOSITORY = Path(__file__).parents[2]
MODEL = REPOSITORY / "android_demo_assets" / "int8" / "model.tflite"
CPUS = tuple(cpus.CPUS)


@pytest.fixture(scope="module")
def emulated() -> Iterator[None]:
    """Leave the test out, with the target's own words, where the target is not usable."""
    usable = target("qemu-aarch64").availability()
    if isinstance(usable, Unavailable):
        pytest.skip(usable.reason)
    yield


def _parts() -> tuple[Root, Qemu]:
    return aarch64_root.find(), program.find()


# --- addresses and cores


def test_address_without_a_core_is_a_cortex_a72() -> None:
    found = target("qemu-aarch64")
    assert isinstance(found, QemuAarch64)
    assert (found.name, found.cpu, found.mode, found.latency) == ("qemu-aarch64", "cortex-a72", "simulated", False)
    assert target("qemu-aarch64:cortex-a53").name == "qemu-aarch64:cortex-a53"


def test_address_refuses_an_unknown_core() -> None:
    with pytest.raises(RecipeError, match=r"unknown cpu .* 'cortex-a7'; did you mean 'cortex-a7") as caught:
        target("qemu-aarch64:cortex-a7")
    assert "cortex-a53, cortex-a72, cortex-a76" in str(caught.value)


def test_address_refuses_max_with_the_reason() -> None:
    with pytest.raises(RecipeError, match="silently give wrong outputs"):
        target("qemu-aarch64:max")


@pytest.mark.parametrize("name", CPUS)
def test_cpuinfo_is_read_as_that_core(name: str) -> None:
    text = cpus.cpu(name).cpuinfo()
    assert environment.cpu_model(text) == f"{name}, emulated by qemu"
    assert ("asimddp" in environment.cpu_features(text)) == (name == "cortex-a76")  # Armv8.2's int8 dot products


# --- what is missing


def test_target_without_a_root_says_how_to_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(aarch64_root.FOLDER_VARIABLE, str(tmp_path / "nowhere"))
    monkeypatch.setattr(program, "find", lambda: _some_qemu())
    started = time.monotonic()
    usable = target("qemu-aarch64").availability()
    assert time.monotonic() - started < 2
    assert isinstance(usable, Unavailable)
    assert "no arm64 root" in usable.reason and aarch64_root.SETUP in usable.reason
    with pytest.raises(TargetError, match="no arm64 root"):
        target("qemu-aarch64").open("litert")


def test_target_without_qemu_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    usable = target("qemu-aarch64").availability()
    assert isinstance(usable, Unavailable) and "apt-get install qemu-user" in usable.reason


def test_target_says_that_qemu_is_too_old_for_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "find", lambda: _some_qemu(cpus=("cortex-a53", "cortex-a57")))
    usable = target("qemu-aarch64:cortex-a76").availability()
    assert isinstance(usable, Unavailable) and "does not support the cpu cortex-a76" in usable.reason


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param("{", "damaged", id="cut"),
        pytest.param("[]", "damaged", id="no-object"),
        pytest.param('{"version": 1}', "damaged", id="fields-missing"),
        pytest.param('{"version": 99}', "another version", id="newer"),
    ],
)
def test_find_tells_a_damaged_root(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "root.json").write_text(content, encoding="utf-8")
    with pytest.raises(TargetError, match=words) as caught:
        aarch64_root.find(tmp_path)
    assert "--again" in str(caught.value)


def test_setup_leaves_nothing_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(made: Path, *, downloads: Path, qemu: str, progress: Progress) -> None:
        (made / "root").mkdir()
        (downloads / "half").write_bytes(bytes(1000))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(aarch64_root, "_fill", full)
    monkeypatch.setattr(aarch64_root, "_check_tools", lambda: None)
    left_by_another = tmp_path / ".aarch64-killed" / "made"
    left_by_another.mkdir(parents=True)
    with pytest.raises(TargetError, match="No space left on device"):
        aarch64_root.setup(tmp_path / "aarch64", qemu="qemu-aarch64")
    assert [path.name for path in tmp_path.iterdir()] in ([], [".aarch64.lock"])


def test_setup_asks_for_room_before_it_fetches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aarch64_root, "NEEDED_BYTES", 1 << 62)
    monkeypatch.setattr(aarch64_root, "_check_tools", lambda: None)
    with pytest.raises(TargetError, match="MB free; the arm64 root needs"):
        aarch64_root.setup(tmp_path / "aarch64", qemu="qemu-aarch64")


def test_setup_names_a_missing_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetError, match="apt-get is not installed"):
        aarch64_root.setup(tmp_path / "aarch64", qemu="qemu-aarch64")


def test_plugin_needs_a_qemu_that_takes_plugins(tmp_path: Path) -> None:
    with pytest.raises(CountingUnavailableError, match="built without plugin support") as caught:
        instructions.plugin(_some_qemu(has_plugins=False), cache=tmp_path, root=_some_root(tmp_path))
    assert "apt-get install qemu-user" in str(caught.value)


@pytest.mark.parametrize(
    ("compiler", "words"),
    [pytest.param("no-such-cc", "no C compiler", id="absent"), pytest.param("false", "failed: exit code", id="broken")],
)
def test_plugin_tells_of_its_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: str, words: str
) -> None:
    monkeypatch.setenv("CC", compiler)
    with pytest.raises(CountingUnavailableError, match=words):
        instructions.plugin(_some_qemu(), cache=tmp_path, root=_some_root(tmp_path))
    assert list(tmp_path.iterdir()) == []


def _emulator(folder: Path, script: str) -> Qemu:
    """Return a Python program in the emulator's place."""
    path = folder / "emulator"
    path.write_text(f"#!{sys.executable}\nimport json, os, sys, time\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return Qemu(path=path, version="7.2.22", has_plugins=True, cpus=CPUS)


_ANSWER = "print(json.dumps({'runtime': 'litert', 'version': '1'}))"
_MARKS = [f"{number} {100 * number}" for number in range(4 * instructions.CALLS)]


@pytest.mark.parametrize(
    ("answer", "marks", "words"),
    [
        pytest.param(
            "print('Welcome')", _MARKS, "gave 'Welcome.n' on an emulated .* instead of a result", id="no JSON"
        ),
        pytest.param("print('[1]')", _MARKS, "instead of a result", id="another JSON"),
        pytest.param("print('[' * 100_000)", _MARKS, "instead of a result", id="brackets"),
        pytest.param("print('{}')", _MARKS, "instead of a result", id="fields missing"),
        pytest.param("os.write(1, b'\\xff')", _MARKS, "instead of a result", id="no text"),
        pytest.param(_ANSWER, None, "counts of .* are incomplete .*FileNotFoundError", id="no counts"),
        pytest.param(_ANSWER, _MARKS[:-1], "counts of .* are incomplete .*KeyError", id="counts cut off"),
        pytest.param(_ANSWER, ["one", *_MARKS], "counts of .* are incomplete .*ValueError", id="counts are no numbers"),
        pytest.param(_ANSWER, _MARKS, "counted 0 instructions for an invoke", id="nothing counted"),
    ],
)
def test_count_tells_an_emulator_that_says_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, marks: list[str] | None, words: str
) -> None:
    monkeypatch.setattr(instructions, "plugin", lambda qemu, *, cache, root: tmp_path / "plugin.so")
    kept = "" if marks is None else f"open(os.environ['EDGEFM_COUNTS'], 'w').write({chr(10).join(marks)!r})\n"
    qemu = _emulator(tmp_path, kept + answer)
    with pytest.raises(ModelError, match=words):
        instructions.count(MODEL, cpu="cortex-a53", root=_some_root(tmp_path), qemu=qemu)


def test_plugin_tells_of_an_emulator_that_hangs_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(compiler: str, out: Path, *, api: int) -> None:
        out.touch()

    monkeypatch.setattr(instructions, "_compiler", lambda: "cc")
    monkeypatch.setattr(instructions, "_compile", compiled)
    monkeypatch.setattr(instructions, "_COMPILE_SECONDS", 0.3)
    qemu = _emulator(tmp_path, "time.sleep(60)")
    with pytest.raises(CountingUnavailableError, match=r"gave no answer for 0\.3 s with the plugin"):
        instructions.plugin(qemu, cache=tmp_path / "cache", root=_some_root(tmp_path))
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param("time.sleep(60)", r"gave no answer for 0\.5 s on an emulated cortex-a53", id="hang"),
        pytest.param("os.kill(os.getpid(), 11)", "crashed with SIGSEGV on an emulated cortex-a53", id="segfault"),
        pytest.param("sys.exit('oh dear')", "could not be run on an emulated cortex-a53: oh dear", id="error"),
    ],
)
def test_count_tells_a_model_that_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    monkeypatch.setattr(instructions, "plugin", lambda qemu, *, cache, root: tmp_path / "plugin.so")
    qemu = _emulator(tmp_path, script)
    seconds = 0.5 if "sleep" in script else 60
    with pytest.raises(ModelError, match=words):
        instructions.count(MODEL, cpu="cortex-a53", root=_some_root(tmp_path), qemu=qemu, seconds=seconds)
    assert not [child for child in psutil.Process().children() if str(qemu.path) in child.cmdline()]


@pytest.mark.parametrize("line", [b"\xff", b"[" * 100_000, b'{"ok": ' + b"9" * 5000 + b"}"], ids=len)
def test_worker_that_writes_something_else_is_told_at_once(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "line").write_bytes(line + b"\n")
    qemu = _emulator(tmp_path, f"os.write(1, open({str(tmp_path / 'line')!r}, 'rb').read()); time.sleep(60)")
    with (
        qemu_aarch64.QemuPlace(root=_some_root(tmp_path), qemu=qemu, cpu="cortex-a53") as place,
        WorkerProcess(place=place, folder=tmp_path, name="w") as worker,
        pytest.raises(WorkerError, match="unexpected output while starting"),
    ):
        worker.ready()


# --- emulated


@pytest.mark.qemu
@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("cpu", CPUS)
def test_outputs_on_a_core_are_those_of_the_host_within_one_level(
    cpu: str, here: NDArray[np.int64], sample: NDArray[np.uint8]
) -> None:
    there = _outputs(f"qemu-aarch64:{cpu}", "litert:xnnpack", sample)
    # XNNPACK's requantisation rounds otherwise on Arm: with qemu 7.2 and LiteRT 2.3, 5 of 2,000 outputs are one off.
    assert np.abs(here - there).max() <= 1
    assert np.mean(here != there) <= 0.05
    assert np.array_equal(here.argmax(axis=1), there.argmax(axis=1))


@pytest.mark.qemu
@pytest.mark.usefixtures("emulated")
def test_reference_kernels_on_a_core_answer_as_the_host_does(sample: NDArray[np.uint8]) -> None:
    here = _outputs("host", "litert:reference", sample)
    assert np.array_equal(here, _outputs("qemu-aarch64:cortex-a76", "litert:reference", sample))


@pytest.mark.qemu
@pytest.mark.usefixtures("emulated")
def test_built_in_kernels_on_a_core_are_near_xnnpack_and_near_those_of_the_host(
    here: NDArray[np.int64], sample: NDArray[np.uint8]
) -> None:
    there = _outputs("qemu-aarch64:cortex-a72", "litert:builtin", sample)
    # Seen on 200 pictures of noise: 2 levels from XNNPACK (2 % of the outputs differ), 4 from the built-in kernels of
    # x86 (20 %). LiteRT's NEON kernels round as XNNPACK does.
    assert np.abs(there - here).max() <= 2
    assert np.abs(there - _outputs("host", "litert:builtin", sample)).max() <= 4


@pytest.mark.qemu
@pytest.mark.usefixtures("emulated")
def test_counts_repeat_and_tell_the_cores_apart() -> None:
    with ThreadPoolExecutor(2) as threads:
        figures = list(threads.map(lambda cpu: target(f"qemu-aarch64:{cpu}").figures(MODEL)[0], [*CPUS, CPUS[-1]]))
    again, counts = figures.pop().value, {}
    for cpu, first in zip(CPUS, figures, strict=True):
        assert first.value is not None, first.reason
        assert (first.name, first.mode) == ("instructions", "simulated")
        assert first.details["spread"] <= 1e-3
        assert (first.details["cpu"], first.details["kernels"], first.details["threads"]) == (cpu, "xnnpack", 1)
        counts[cpu] = first.value
    assert again is not None and abs(first.value - again) <= 1e-4 * again  # equal to the instruction, as seen
    # 7.78 M multiply-accumulates: SDOT (Armv8.2) does 16 an instruction, SMLAL 4 to 8; loads and the rest come to it.
    assert counts["cortex-a76"] > 7_780_096 / 16
    assert 2 * counts["cortex-a76"] < counts["cortex-a72"] < counts["cortex-a53"] < 7_780_096


_LOOP = """
import ctypes, mmap, os
code = mmap.mmap(-1, 4096, prot=7)
code.write(bytes.fromhex("000400f1 e1ffff54 c0035fd6"))  # subs x0, x0, #1; b.ne -4; ret
loop = ctypes.CFUNCTYPE(None, ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
null, mark = os.open(os.devnull, os.O_RDONLY), 0x45444745 << 32
for number, times in enumerate([1000, 1000, 1000, 101000]):
    os.lseek(null, mark + 2 * number, 0)
    loop(times)
    os.lseek(null, mark + 2 * number + 1, 0)
"""


@pytest.mark.qemu
@pytest.mark.usefixtures("emulated")
def test_plugin_counts_a_loop_of_two_instructions_exactly(tmp_path: Path) -> None:
    root, qemu = _parts()
    library = instructions.plugin(qemu, cache=cache_folder() / "qemu-plugins", root=root)
    counts = tmp_path / "counts"
    subprocess.run(
        [*qemu.command(root, cpu="cortex-a53", plugin=library), "-c", _LOOP],
        env=program.guest_environment(root) | {"EDGEFM_COUNTS": str(counts), "PYTHONHASHSEED": "0"},
        check=True,
        timeout=60,
    )
    marks = [int(line.split()[1]) for line in counts.read_text(encoding="ascii").splitlines()]
    calls = [after - before for before, after in zip(marks[::2], marks[1::2], strict=True)]
    assert calls[3] - calls[2] == 2 * 100_000


@pytest.mark.qemu
@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(np.random.default_rng(0).bytes(1000), "not a TFLite file", id="random"),
        pytest.param(
            tiny_models.custom("TheirOp"), "custom operator 'TheirOp'", id="custom"
        ),  # said by the emulated one
    ],
)
def test_figures_tell_a_model_that_cannot_be_run(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=words):
        target("qemu-aarch64").figures(path)


@pytest.mark.qemu
@pytest.mark.usefixtures("emulated")
def test_figures_give_the_reason_where_instructions_cannot_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-cc")
    monkeypatch.setenv("EDGEFM_AARCH64_ROOT", str(aarch64_root.default_folder()))
    monkeypatch.setenv("EDGEFM_CACHE_DIR", "/nonexistent")  # no plugin is there that was compiled before
    (figure,) = target("qemu-aarch64").figures(MODEL)
    assert figure.value is None and figure.reason is not None and "no C compiler" in figure.reason


@pytest.mark.qemu
@pytest.mark.usefixtures("emulated", "fake")
@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        pytest.param('{"invoke": "hang"}', "no answer for 3 s", id="hang"),
        pytest.param('{"invoke": "segfault"}', "crashed with SIGSEGV", id="segfault"),
        pytest.param('{"load": "allocate"}', "out of memory", id="allocate"),
    ],
)
def test_model_that_breaks_in_the_emulator_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str, words: str
) -> None:
    monkeypatch.setattr(qemu_aarch64, "_ADDRESS_SPACE_BYTES", 1 << 30)
    model = tmp_path / "model.json"
    model.write_text(behaviour, encoding="utf-8")
    seconds = 3 if "hang" in behaviour else 60
    with target("qemu-aarch64").open("fake") as place, WorkerProcess(place=place, folder=tmp_path, name="w") as worker:
        with pytest.raises(WorkerError, match=words):
            worker.load(model, runtime="fake", threads=1, memory_bytes=1 << 30, seconds=seconds)
        pid = worker.pid
    assert not psutil.pid_exists(pid)


@pytest.mark.qemu
@pytest.mark.usefixtures("emulated")
def test_worker_ends_with_its_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # a parent that is killed leaves its folder
    )
    try:
        worker = psutil.Process(int(first_line(parent)))
        assert "qemu" in worker.name()
    finally:
        parent.kill()
        parent.communicate()
    try:
        latest = time.monotonic() + 30
        while is_alive(worker):
            assert time.monotonic() < latest, "the emulator goes on without its parent"
            time.sleep(0.05)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.kill()


_PARENT = """
import sys, time
from pathlib import Path
from edgefm.targets.worker_process import WorkerProcess
from edgefm.targets import target
worker = WorkerProcess(place=target("qemu-aarch64").open("litert"), folder=Path(sys.argv[1]), name="w")
worker.request("peak", doing="asking", seconds=30)
print(worker.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.qemu
@pytest.mark.usefixtures("emulated")
def test_worker_tells_the_emulated_core_and_the_root_s_versions(tmp_path: Path) -> None:
    with (
        target("qemu-aarch64:cortex-a76").open("litert") as place,
        loaded(MODEL, place=place, folder=tmp_path, runtime="litert") as (worker, told),
    ):
        machine = worker.request("environment", doing="asking", seconds=30)["environment"]
    packages = aarch64_root.find().manifest.packages
    assert told["version"] == packages["ai-edge-litert"]
    assert machine["cpu"] == "cortex-a76, emulated by qemu"
    assert machine["versions"]["numpy"] == packages["numpy"]
    assert machine["python"].startswith(aarch64_root.find().manifest.python)


@pytest.mark.qemu
@pytest.mark.usefixtures("emulated")
def test_target_is_available_in_a_short_time() -> None:
    program._look.cache_clear()
    started = time.monotonic()
    assert target("qemu-aarch64").availability() == Available()
    assert time.monotonic() - started < 5


# --- what the tests share


@pytest.fixture(scope="module")
def sample() -> NDArray[np.uint8]:
    """Ten inputs: noise, a ramp, black and white."""
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (7, 28, 28, 1), dtype=np.uint8)
    ramp = np.arange(784).reshape(1, 28, 28, 1) * 255 // 783
    return np.concatenate([noise, ramp, np.zeros_like(ramp), np.full_like(ramp, 255)]).astype(np.uint8)


@pytest.fixture(scope="module")
def here(sample: NDArray[np.uint8]) -> NDArray[np.int64]:
    """What XNNPACK on this machine answers."""
    return _outputs("host", "litert:xnnpack", sample)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers find the tests' own runtime: on PYTHONPATH, which goes into the emulator too."""
    monkeypatch.setitem(runtimes.RUNTIMES, "fake", "tests.fixtures.fake_runtime")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


def _outputs(address: str, runtime: str, inputs: NDArray[np.uint8]) -> NDArray[np.int64]:
    (outputs,) = raw_outputs(MODEL, inputs, runtime=runtime, target=target(address))
    return outputs.astype(np.int64)


def _some_qemu(*, has_plugins: bool = True, cpus: tuple[str, ...] = CPUS) -> Qemu:
    return Qemu(path=Path("qemu-aarch64"), version="7.2.22", has_plugins=has_plugins, cpus=cpus)


def _some_root(folder: Path) -> Root:
    manifest = aarch64_root.Manifest(version=1, python="3.11", packages={}, debian={})
    return Root(folder=folder, manifest=manifest)


@pytest.mark.slow
@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("kernels", ["xnnpack", "builtin"])
def test_bundle_for_python_proves_itself_on_arm(kernels: str, tmp_path: Path) -> None:
    edgefm.export(MODEL, "python", out=tmp_path / "pi", samples=3, progress=False)
    root, qemu = _parts()
    done = subprocess.run(
        [*qemu.command(root, cpu="cortex-a72"), "edge_model.py", "--self-test", "--json", "--kernels", kernels],
        cwd=tmp_path / "pi", env=program.guest_environment(root), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-1000:]
    assert json.loads(done.stdout)["held"] is True
