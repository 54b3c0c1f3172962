"""The real adb program against a fake device that speaks adb's wire protocol (`tests.fixtures.fake_adb.adbd`)."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgefm.runtimes import android_benchmark
from edgefm.runtimes.android_benchmark.adb import AdbError, AndroidDevice
from tests.fixtures import tiny_models
from tests.fixtures.fake_adb import phone
from tests.fixtures.fake_adb.adbd import Adbd

pytestmark = pytest.mark.skipif(shutil.which("adb") is None, reason="adb is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run an adb server of our own, with keys of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        for variable in ("ANDROID_SERIAL", "EDGEFM_ANDROID_BENCHMARK", "ADB_VENDOR_KEYS", "ADB_SERVER_SOCKET"):
            patch.delenv(variable, raising=False)
        # It stays, and would hold the pipes of a call that started it by itself.
        nothing = subprocess.DEVNULL
        subprocess.run(["adb", "start-server"], stdin=nothing, stdout=nothing, stderr=nothing, check=True, timeout=60)
        yield
        subprocess.run(["adb", "kill-server"], capture_output=True, check=False)


@pytest.fixture(params=[True, False], ids=["shell_v2", "before-android-7"])
def adbd(request: pytest.FixtureRequest, server: None, tmp_path: Path) -> Iterator[Adbd]:
    phone.make(tmp_path / "device", benchmark={"answers": True})
    device = tmp_path / "device" / "phone"
    phone.program(device / phone.TMP.lstrip("/") / "benchmark_model", phone.HERE / "benchmark_model.py")
    serving = Adbd(device, shell_v2=request.param)
    told = subprocess.run(["adb", "connect", serving.serial], capture_output=True, text=True, check=True).stdout
    assert "connected to" in told, told
    try:
        yield serving
    finally:
        serving.unplug()
        subprocess.run(["adb", "disconnect", serving.serial], capture_output=True, check=False)


def test_shell_passes_words_output_and_status(adbd: Adbd) -> None:
    device = AndroidDevice(adbd.serial)
    done = device.shell("""echo "it's"; echo 'a  "b" $c' >&2; (exit 7)""", doing="asking")
    assert (done.output, done.status) == ('it\'s\na  "b" $c', 7)
    assert device.shell("true", doing="asking").output == ""
    assert device.properties()["ro.soc.model"] == "Tensor G3"


def test_files_of_any_content_go_there_and_back(adbd: Adbd, tmp_path: Path) -> None:
    device = AndroidDevice(adbd.serial)
    for name, content in (("it's a $file", bytes(range(256)) * 4_000), ("-empty", b"")):
        (tmp_path / name).write_bytes(content)
        device.push(tmp_path / name, f"{phone.TMP}/there")
        device.pull(f"{phone.TMP}/there", tmp_path / "back", size=len(content))
        assert (tmp_path / "back").read_bytes() == content


def test_model_is_timed_and_answers(adbd: Adbd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_SERIAL", adbd.serial)
    android_benchmark._device.cache_clear()
    android_benchmark._program.cache_clear()
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_models.two_heads((1, 4)))
    inputs = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    with android_benchmark.load(path) as session:
        relu, absolute = session.outputs_of(inputs)
        session.set_input(inputs[:1])
        timed = session.timed_invokes(warmup_calls=2, least_calls=2, least_ns=0, most_calls=9, most_ns=10**10)
    np.testing.assert_array_equal(relu, np.maximum(inputs, 0))
    np.testing.assert_array_equal(absolute, np.abs(inputs))
    assert (timed.invoke_ns, timed.disturbed) == ([1_042_000, 1_038_000], ())


def test_copy_that_the_device_refuses_is_told(adbd: Adbd, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with pytest.raises(AdbError, match=r"copying file to it failed: adb: error: failed to copy .*couldn't create file"):
        AndroidDevice(adbd.serial).push(tmp_path / "file", f"{phone.TMP}/nowhere/file")
    with pytest.raises(AdbError, match=r"failed: adb: error: remote object .*nowhere. does not exist"):
        AndroidDevice(adbd.serial).pull(f"{phone.TMP}/nowhere", tmp_path / "back", size=7)


def test_device_that_goes_away_in_a_command_is_told(adbd: Adbd) -> None:
    device = AndroidDevice(adbd.serial)
    adbd.before_shell = lambda line: adbd.unplug()
    with pytest.raises(AdbError, match="asking failed: error: closed before the command ended; device disconnected"):
        device.shell("echo half; sleep 1; echo done", doing="asking")
    with pytest.raises(AdbError, match=r"asking failed: .*(not found|offline)"):
        device.shell("true", doing="asking")


def test_no_device_is_told(server: None) -> None:
    with pytest.raises(AdbError, match=r"adb finds no device|is offline"):
        AndroidDevice()
    with pytest.raises(AdbError, match=r"nobody|no device"):
        AndroidDevice("nobody")


def test_fake_adb_says_what_the_real_one_says(server: None, tmp_path: Path) -> None:
    there = phone.make(tmp_path, devices=[])
    environment = {**os.environ, phone.FOLDER: str(tmp_path / "phone")}
    for arguments in (["devices", "-l"], ["-s", "nobody", "shell", "true"]):
        real = subprocess.run(["adb", *arguments], capture_output=True, text=True, check=False)
        fake = subprocess.run(
            [str(there / "adb"), *arguments], capture_output=True, text=True, check=False, env=environment
        )
        said = [done.stdout + done.stderr.replace("error: ", "adb: ") for done in (real, fake)]
        assert said[0].strip() == said[1].strip()
        assert (real.returncode == 0) == (fake.returncode == 0)
