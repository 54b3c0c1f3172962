"""What benchmark_model prints is read as it is meant; formats and sources: tests/fixtures/fake_adb/README.md."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefm.core.errors import ModelError
from edgefm.runtimes.android_benchmark import output
from edgefm.runtimes.android_benchmark.adb import AdbError, Done
from tests.fixtures.fake_adb import phone
from tests.fixtures.fake_adb.phone import average, summary

_FIELDS = {
    "graph": "/data/local/tmp/m.tflite",
    "num_runs": "2",
    "min_secs": "0",
    "max_secs": "10",
    "num_threads": "1",
    "use_xnnpack": "1",
    "warmup_runs": "3",
    "warmup_min_secs": "0.1",
    "init_ms": 20.283,
    "init_us": 20283,
    "first_us": 339304,
    "unconsumed": "",
}


def _told(transcript: str, warmup: list[int], timed: list[int], **fields: object) -> Done:
    newer = transcript != "benchmark_2021"
    filled = phone.text(
        transcript,
        **{
            **_FIELDS,
            "warmup": summary(warmup, percentiles=newer),
            "timed": summary(timed, percentiles=newer),
            "warmup_avg": average(warmup),
            "timed_avg": average(timed),
            **fields,
        },
    )
    return Done(output=filled, status=0)


@pytest.mark.parametrize("transcript", ["benchmark_2021", "benchmark_2025"])
def test_report_holds_both_runs_and_the_cold_start(transcript: str) -> None:
    told = _told(transcript, [339304, 266500, 266325], [266601, 266931])
    report = output.read(told, abi="arm64-v8a", doing="being timed")
    assert (report.warmup_us, report.timed_us) == ((339304, 266325), (266601, 266931))
    assert (report.init_us, report.first_us) == (20283, 339304)
    assert (report.memory_bytes, report.unknown) == (int(2.5 * 2**20), ())


@pytest.mark.parametrize("transcript", ["benchmark_2021", "benchmark_2025"])
@given(times=st.lists(st.integers(0, 10**7), max_size=2))
def test_loop_of_two_runs_loses_nothing(transcript: str, times: list[int]) -> None:
    report = output.read(_told(transcript, [9, 8], times), abi="", doing="")
    assert list(report.timed_us) == times


def test_line_of_a_real_log_is_read() -> None:
    # From a log of tensorflow's benchmark_model on a phone that was published in January 2021.
    told = (
        "Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.\n"
        "count=2 first=339304 curr=266325 min=266325 max=339304 avg=302814 std=36489\n\n"
        "Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.\n"
        "count=50 first=266601 curr=266931 min=265837 max=268116 avg=266473 std=419\n\n"
        "Inference timings in us: Init: 20283, First inference: 339304, Warmup (avg): 302814, "
        "Inference (avg): 266473\n"
    )
    report = output.read(Done(output=told, status=0), abi="arm64-v8a", doing="being timed")
    assert report.timed_us == (266601, 266931)
    assert (report.init_us, report.memory_bytes) == (20283, None)


def test_options_that_it_does_not_know_are_named() -> None:
    unconsumed = "WARN: Unconsumed cmdline flags: --output_filepath=/data/local/tmp/o --use_xnnpack=true\n"
    report = output.read(_told("benchmark_2025", [5], [5], unconsumed=unconsumed), abi="", doing="")
    assert report.unknown == ("--output_filepath", "--use_xnnpack")


def test_other_output_is_refused() -> None:
    with pytest.raises(AdbError, match="reported 0 loops while being timed"):
        output.read(Done(output="hello\n", status=0), abi="", doing="being timed")


@pytest.mark.parametrize(
    ("transcript", "status", "kind", "words"),
    [
        ("custom_operator", 1, ModelError, "custom operator 'MyMadeUpOp'"),
        ("newer_operator", 1, ModelError, "Didn't find op for builtin opcode 'FULLY_CONNECTED' version '12'"),
        ("damaged", 1, ModelError, "failed while being timed: Failed to load model"),
        ("not_executable", 126, AdbError, "built for another processor; the device's is armeabi-v7a"),
        ("not_executable", 1, AdbError, "built for another processor"),
        ("cannot_link", 1, AdbError, "built for another processor"),
        ("not_found", 127, AdbError, "no longer on the device"),
    ],
)
def test_failure_tells_the_reason(transcript: str, status: int, kind: type[Exception], words: str) -> None:
    said = phone.text(transcript, graph="/m", program="/data/local/tmp/benchmark_model")
    with pytest.raises(kind, match=words):
        output.read(Done(output=said, status=status), abi="armeabi-v7a", doing="being timed")


def test_program_that_may_not_be_run_is_an_error() -> None:
    said = "/system/bin/sh: /data/local/tmp/benchmark_model: can't execute: Permission denied"
    with pytest.raises(AdbError, match=r"cannot be run: .*Permission denied"):
        output.read(Done(output=said, status=126), abi="arm64-v8a", doing="being timed")


@pytest.mark.parametrize(
    ("status", "words"),
    [(139, "crashed with SIGSEGV"), (134, "SIGABRT while being timed: The size of"), (137, "out-of-memory killer")],
)
def test_crash_tells_the_signal(status: int, words: str) -> None:
    said = "INFO: STARTING!\nFATAL: The size of /data/local/tmp/in is 3 bytes. It should be 16 bytes.\n"
    with pytest.raises(ModelError, match=words):
        output.read(Done(output=said, status=status), abi="arm64-v8a", doing="being timed")
