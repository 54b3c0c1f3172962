"""What an Android device tells of its state, and what of it disturbs a measurement."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgefm.runtimes.android_benchmark import state as android_state
from edgefm.runtimes.android_benchmark.state import CoreCluster, State
from tests.fixtures.fake_adb import phone

_POLICIES = (
    "@policy policy0 sched_pixel 1704000 1704000 1704000\n@policy policy4 sched_pixel 400000 2367000 2367000\n"
    "@policy policy8 performance - 2914000 2914000\n"
)


def _script(*, thermal: str | None = None, saver: str = "0", policies: str = _POLICIES) -> str:
    if thermal is None:
        thermal = phone.text("thermalservice", status=0, degrees=51.2)
    return (
        f"@battery\n{phone.text('battery', level=83)}@thermal\n{thermal}@saver\n{saver}\n"
        f"@load\n3.11 3.02 2.94 2/3021 12345\n@frequencies\n{policies}"
    )


def _cluster(name: str, *, now: int = 2_000_000, limit: int = 2_000_000) -> CoreCluster:
    return CoreCluster(name=name, governor="schedutil", frequency_khz=now, limit_khz=limit, greatest_khz=2_000_000)


_CALM = State(
    thermal_status=0,
    temperature_c=40.0,
    battery_percent=80,
    battery_saver=False,
    load_average=1.0,
    clusters=(_cluster("policy0"), _cluster("policy4")),
)


def test_state_is_read_from_dumpsys_and_sysfs() -> None:
    state = android_state.read(_script())
    # The hottest core of those that are measured now; not the 84 C that were remembered.
    assert (state.thermal_status, state.temperature_c, state.battery_percent) == (0, 51.2, 83)
    assert (state.battery_saver, state.load_average) == (False, 3.11)
    assert state.clusters[1] == CoreCluster(
        name="policy4", governor="sched_pixel", frequency_khz=400_000, limit_khz=2_367_000, greatest_khz=2_367_000
    )
    assert state.clusters[2].frequency_khz is None
    # The fastest cluster stands for the device; its present frequency is not told.
    assert state.to_json() == {
        "load_average": 3.11,
        "temperature_c": 51.2,
        "frequency_limit_khz": 2_914_000,
        "governor": "performance",
        "battery_percent": 83,
        "thermal_status": 0,
    }


@pytest.mark.parametrize(
    ("thermal", "status", "degrees"),
    [
        ("Can't find service: thermalservice\n", None, 27.4),  # before Android 10: the battery's
        (
            "Thermal Status: 3\nCached temperatures:\n\tTemperature{mValue=44.5, mType=3, mName=skin, mStatus=3}\n",
            3,
            44.5,
        ),
        ("Thermal Status: 0\n\tTemperature{mValue=NaN, mType=0, mName=CPU, mStatus=0}\n", 0, 27.4),
    ],
)
def test_temperature_is_what_comes_nearest_to_the_cores(thermal: str, status: int | None, degrees: float) -> None:
    state = android_state.read(_script(thermal=thermal))
    assert (state.thermal_status, state.temperature_c) == (status, degrees)


@pytest.mark.parametrize(("said", "saver"), [("1", True), ("0", False), ("null", False), ("error", None)])
def test_battery_saver_is_on_off_or_not_known(said: str, saver: bool | None) -> None:
    assert android_state.read(_script(saver=said)).battery_saver is saver


def test_device_that_tells_nothing_gives_nothing() -> None:
    state = android_state.read("")
    assert state.to_json() == {} and state.battery_saver is None
    assert android_state.refusals(state, state) == () == android_state.disturbances([state.clusters] * 2)


def test_calm_turn_has_no_disturbance() -> None:
    loaded = [(_cluster("policy0", now=1_900_000),), (_cluster("policy0", now=1_850_000),)]
    assert android_state.refusals(_CALM, _CALM) == () == android_state.disturbances(loaded)


def test_throttling_before_or_after_is_refused() -> None:
    hot = replace(_CALM, thermal_status=2, temperature_c=61.3)
    words = ("the device throttled: thermal status 2 (moderate), 61 C",)
    assert android_state.refusals(_CALM, hot) == words
    assert android_state.refusals(hot, _CALM) == words


def test_battery_saver_is_refused() -> None:
    assert android_state.refusals(replace(_CALM, battery_saver=True), _CALM) == ("battery saver is on",)


def test_lower_limit_is_refused_and_small_step_does_not() -> None:
    lower = replace(_CALM, clusters=(_cluster("policy0"), _cluster("policy4", limit=1_700_000)))
    assert android_state.refusals(_CALM, lower) == ("the limit of policy4 fell from 2,000 MHz to 1,700 MHz",)
    step = replace(_CALM, clusters=(_cluster("policy0"), _cluster("policy4", limit=1_900_000)))
    assert android_state.refusals(_CALM, step) == ()
    assert android_state.refusals(lower, _CALM) == ()  # it rose


def test_frequency_that_falls_under_load_disturbs() -> None:
    loaded = [
        (_cluster("policy0", now=800_000), _cluster("policy4", now=now)) for now in (2_900_000, 2_850_000, 2_100_000)
    ]
    assert android_state.disturbances(loaded) == ("the frequency under load fell from 2,900 MHz to 2,100 MHz",)
    # Lower when the device is idle, before and after, means nothing.
    idle = replace(_CALM, clusters=(_cluster("policy0", now=300_000),))
    assert android_state.refusals(_CALM, idle) == () == android_state.disturbances(loaded[:2])
