"""Whether a profile adds up to the whole: the shipped int8 model and its network in float32, on two kernel sets.

The weights of the float one are random. The sum of the operators' times and of the call must be within 10 % of
the whole, timed beside them. Run: pytest benchmarks/test_profile_sums.py -s.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.recorded import write_result
from edgefm.core import artefacts
from edgefm.profiling.profile import profile
from edgefm.profiling.result import TOLERANCE
from tests.fixtures import tiny_models

SHIPPED = Path(__file__).parent.parent / "android_demo_assets" / "int8" / "model.tflite"
RUNTIMES = ("litert:xnnpack", "litert:builtin")


def test_sums_are_within_10_percent_of_the_whole(tmp_path: Path) -> None:
    floating = tmp_path / "float32.tflite"
    floating.write_bytes(tiny_models.enhanced_cnn())
    found, disturbed = [], []
    for model, what in ((SHIPPED, "int8"), (floating, "float32")):
        for runtime in RUNTIMES:
            one = profile(model, runtime=runtime)
            assert one.check is not None, one.whole_reason
            told = one.disturbed
            print(
                f"\n{what}, {runtime}: {one.check.method} {one.check.of_whole}, {told.turns} of {told.of_turns} turns"
            )
            if told.turns:
                disturbed.append(f"{what}, {runtime}: {told.turns} of {told.of_turns} turns")
            found.append(
                {
                    "model": what,
                    "sha256": artefacts.sha256_file(model),
                    "runtime": runtime,
                    "method": one.check.method,
                    "of_whole": one.check.of_whole.to_json(),
                    "holds": one.check.holds,
                    "checks": [check.to_json() for check in one.checks],
                    "whole_ns": one.whole.to_json() if one.whole else None,
                    "operators": [{"name": op.name, "ns": op.time.value if op.time else None} for op in one.operators],
                }
            )
    write_result(
        "profile_sums",
        what="the operators' times of a profile and the time of the call, summed, as a share of the whole model's",
        command="pytest benchmarks/test_profile_sums.py",
        figures={"tolerance": TOLERANCE, "session": {"disturbed": disturbed}, "profiles": found},
    )
    assert all(one["holds"] for one in found), [(one["model"], one["runtime"], one["of_whole"]) for one in found]
