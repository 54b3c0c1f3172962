from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from edgefm import runtimes
from edgefm.core.errors import ModelError, RecipeError, RuntimeUnavailableError
from edgefm.profiling import limits, synthetic
from edgefm.profiling.limits import Limits, Peak
from edgefm.profiling.profile import profile
from edgefm.profiling.result import Disturbed, ProfiledOperator, ProfileResult, SumCheck
from edgefm.profiling.timing import Timed, Together, Turns
from edgefm.runtimes import in_turn
from edgefm.runtimes.base import TimedInvokes as BaseTimed
from edgefm.statistics.estimates import Estimate
from edgefm.tflite.inspection import inspect
from tests.fixtures import cut_models, fake_runtime, tiny_models
from tests.fixtures.fake_runtime import FakeSession

DEMO = Path(__file__).parents[1] / "fixtures" / "measured_model" / "model.tflite"
QUICK = Turns(rounds=3, turn_seconds=0.004)
HANGING = "tests.fixtures.hanging_operator"


@pytest.fixture
def no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the peaks out: two seconds a profile that tests of other things need not spend. Nobody else measures."""
    peaks = {"float32": Peak(gmac_per_s=50_000.0, layer="x")}
    known = Limits(peaks=peaks, bandwidth=(), call_ns=500.0, operator_ns=40.0)
    monkeypatch.setattr("edgefm.benchmarking.presence.others", list)
    monkeypatch.setattr("edgefm.profiling.profile.measure_limits", lambda **_: (known, "1"))


def write_model(folder: Path, content: bytes) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(content)
    return path


@pytest.mark.serial
def test_operators_of_the_int8_demo_add_up_to_the_whole() -> None:
    """On a machine with other load, in one of three tries; benchmarks/test_profile_sums.py holds it to 10 %."""
    for _ in range(3):
        result = profile(DEMO, method="operators", turns=replace(QUICK, rounds=5))
        (check,) = result.checks
        if abs(check.of_whole.value - 1) < 0.25:
            break
    assert abs(check.of_whole.value - 1) < 0.25
    assert not check.missing
    by_hand = sum(row.time.value for row in result.operators if row.time) + result.call.value
    assert check.sum.value == pytest.approx(by_hand)
    assert result.macs == inspect(DEMO).macs
    assert [row.index for row in result.operators] == list(range(15))
    conv2 = result.operators[4]
    assert conv2.layer == "conv2"
    assert conv2.dtype == "int8" and conv2.gmac_per_s is not None and conv2.time is not None
    assert conv2.gmac_per_s == pytest.approx(conv2.macs / conv2.time.value)
    assert conv2.peak_share == pytest.approx(conv2.gmac_per_s / result.limits.peaks["int8"].gmac_per_s)
    # Weights [64, 3, 3, 32] and a bias of 64 int32; 14 x 14 of 32 and of 64 channels.
    assert (conv2.weight_bytes, conv2.activation_bytes) == (64 * 9 * 32 + 4 * 64, 14 * 14 * (32 + 64))


CALL_NS, LEAST_NS, OPERATOR_NS = 460, 40, 1000.0


@dataclass
class Invented:
    """Stands in for the timing: every operator takes 1,000 ns by itself, and the whole what it is told to take.

    Attributes:
      whole_ns: an operator of the whole model.
      disturbed: what disturbed each turn of the whole.
      failing: models that share their turns fail with this.
      seen: what `during` returned, each time something was timed.
    """

    whole_ns: float = OPERATOR_NS
    disturbed: tuple[str, ...] = ()
    failing: str | None = None
    labels: list[str] = field(default_factory=list)
    during: Callable[[], Any] = lambda: None
    seen: list[Any] = field(default_factory=list)
    operators: int = 9

    def __call__(self, models: Sequence[Timed | Together], *, turns: Turns, label: str, folder: Path, **_: Any) -> str:
        self.labels.append(label)
        self.seen.append(self.during())
        for model in models:
            if isinstance(model, Together) and self.failing:
                model.fail(self.failing)
                continue
            for part in model.models if isinstance(model, Together) else [model]:
                if part.failure is not None:
                    continue
                time_ns = CALL_NS + self._operators_ns(part.name, label)
                # A thousandth more or less from round to round.
                part.rounds += [[round(time_ns * (1 + (index % 3 - 1) / 1000))] * 5 for index in range(turns.rounds)]
                part.disturbed += [self.disturbed if part.name == "whole" else ()] * turns.rounds
        return "2.3.0"

    def _operators_ns(self, name: str, label: str) -> float:
        first, _, rest = name.partition(" ")
        if rest == "minimal operators":
            return LEAST_NS * int(first)
        if name == "whole":
            return self.whole_ns * self.operators
        return self.whole_ns * (int(first) + 1) if label == "prefixes" else OPERATOR_NS


def profile_invented(
    folder: Path, monkeypatch: pytest.MonkeyPatch, times: Invented, *, method: str = "auto"
) -> ProfileResult:
    """ProfileResult three times PAD, CONV_2D, RELU."""
    monkeypatch.setattr("edgefm.profiling.operator_times.time_models", times)
    path = write_model(folder, cut_models.fused_convolutions())
    return profile(path, method=method, turns=QUICK)  # type: ignore[arg-type]  # one of the methods


@pytest.mark.usefixtures("no_peak")
def test_operators_that_add_up_are_told_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = profile_invented(tmp_path, monkeypatch, Invented())
    (check,) = result.checks
    assert result.method == "operators" and check.holds and not check.off
    assert check.of_whole.value == pytest.approx(1)
    assert check.sum.value == pytest.approx(CALL_NS + 9 * OPERATOR_NS, rel=0.01)
    assert result.call.value == pytest.approx(CALL_NS, rel=0.01)
    assert [row.time.value for row in result.operators if row.time] == pytest.approx([OPERATOR_NS] * 9, rel=0.01)
    assert not result.notes


@pytest.mark.usefixtures("no_peak")
@pytest.mark.parametrize("whole_ns", [700.0, 1400.0], ids=["joined in the whole", "slower in the whole"])
def test_operators_that_do_not_add_up_are_told_by_prefixes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_ns: float
) -> None:
    """As with XNNPACK, which runs PAD and RELU within the convolution."""
    result = profile_invented(tmp_path, monkeypatch, Invented(whole_ns=whole_ns))
    apart, prefixes = result.checks
    assert (apart.method, prefixes.method, result.method) == ("operators", "prefixes", "prefixes")
    assert apart.off and not apart.holds
    assert apart.of_whole.value == pytest.approx(9_460 / (CALL_NS + 9 * whole_ns), rel=0.01)
    assert prefixes.holds
    assert [row.time.value for row in result.operators if row.time] == pytest.approx([whole_ns] * 9, rel=0.02)


@pytest.mark.usefixtures("no_peak")
def test_whole_that_was_interrupted_is_no_reason_for_prefixes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = Invented(whole_ns=1400.0, disturbed=("other programs used 1.6 of 2 cores",))
    result = profile_invented(tmp_path, monkeypatch, times)
    assert result.method == "operators"
    assert result.check is not None and result.check.off
    assert any("measure again on a quieter machine" in note for note in result.notes)
    assert result.disturbed.kinds == {"other programs used …": 3}


@dataclass
class Noisy(Invented):
    """Every operator takes 1,000 ns, with noise of so many nanoseconds more or less on each round's time.

    Attributes:
      noise_ns: of operators; twice of the whole.
      seed: of the noise.
    """

    noise_ns: float = 0.0
    seed: int = 0

    def __call__(self, models: Sequence[Timed | Together], *, turns: Turns, label: str, folder: Path, **_: Any) -> str:
        version = super().__call__(models, turns=turns, label=label, folder=folder)
        noise = np.random.default_rng(self.seed)
        for model in models:
            for part in model.models if isinstance(model, Together) else [model]:
                if not part.name.endswith("minimal operators"):
                    part.rounds = [
                        [max(1, sample + round(noise.normal(0, self.noise_ns)))] * 5 for (sample, *_) in part.rounds
                    ]
        return version


@pytest.mark.parametrize(
    ("noise_ns", "resolved"), [pytest.param(30.0, True, id="clear"), pytest.param(3000.0, False, id="drowned")]
)
def test_rates_and_limits_stand_only_where_the_time_is_clear_of_the_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise_ns: float, resolved: bool
) -> None:
    """The truth of each operator: 1,000 ns, of which the machine's least is 800 ns."""
    known = Limits(peaks={}, bandwidth=(), call_ns=500.0, operator_ns=800.0)
    monkeypatch.setattr("edgefm.profiling.profile.measure_limits", lambda **_: (known, "1"))
    monkeypatch.setattr("edgefm.benchmarking.presence.others", list)
    rows = [
        row
        for seed in range(5)
        for row in profile_invented(
            tmp_path, monkeypatch, Noisy(noise_ns=noise_ns, seed=seed), method="operators"
        ).operators
    ]
    shown = [row for row in rows if row.gb_per_s is not None]
    assert (len(shown) == len(rows)) if resolved else (len(shown) < len(rows) / 2)
    for row in rows:
        assert row.time is not None
        # A rate is told to a factor of 2 of what its interval allows, and a limit only where both ends agree on it.
        assert row.gb_per_s is None or row.time.low >= row.time.value / 2
        ends = {limits.limited_by(end, {"call": 800.0}) for end in (row.time.low, row.time.high)}
        assert (row.limit is None) == (len(ends) == 2)
    assert {row.limit for row in rows} == ({"call"} if resolved else {"call", "kernel", None})


@pytest.mark.usefixtures("no_peak")
def test_call_is_not_bent_by_noise_of_the_least_operators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """33 least operators seem to take 320 ns less than one: the call is then 10 ns more than one, not as long."""
    monkeypatch.setattr("tests.unit.test_profiling_profile.LEAST_NS", -10)
    result = profile_invented(tmp_path, monkeypatch, Invented())
    assert result.call.value == pytest.approx(CALL_NS, abs=2)


@pytest.mark.usefixtures("no_peak")
@pytest.mark.parametrize(("rounds", "noted"), [(1, True), (2, True), (3, False)])
def test_too_few_rounds_for_intervals_are_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: int, noted: bool
) -> None:
    monkeypatch.setattr("edgefm.profiling.operator_times.time_models", Invented())
    path = write_model(tmp_path, cut_models.fused_convolutions())
    result = profile(path, method="operators", turns=replace(QUICK, rounds=rounds))
    assert any("intervals" in note for note in result.notes) == noted


def test_figures_that_are_not_resolved_are_notes_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Limits(
        peaks={}, bandwidth=(), call_ns=500.0, operator_ns=40.0, unresolved={"int8": "noise", 32 << 10: "more noise"}
    )
    monkeypatch.setattr("edgefm.profiling.profile.measure_limits", lambda **_: (known, "1"))
    monkeypatch.setattr("edgefm.benchmarking.presence.others", list)
    result = profile_invented(tmp_path, monkeypatch, Invented())
    assert result.notes == (
        "the int8 peak is not resolved: noise",
        "the bandwidth of arrays of 32 KiB is not resolved: more noise",
    )
    path = result.save(tmp_path)
    assert [row["what"] for row in json.loads(path.read_text(encoding="utf-8"))["limits"]["unresolved"]] == [
        "the int8 peak",
        "the bandwidth of arrays of 32 KiB",
    ]


OUT_OF_MEMORY = "out of memory while loading (limit: 2,000 MB)"


@pytest.mark.usefixtures("no_peak")
def test_operators_that_cannot_be_held_together_are_told_by_prefixes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = profile_invented(tmp_path, monkeypatch, Invented(failing=OUT_OF_MEMORY))
    assert result.method == "prefixes" and [check.method for check in result.checks] == ["prefixes"]
    assert result.check is not None and result.check.holds
    (note,) = result.notes
    assert note == f"the operators cannot be timed in turn: {OUT_OF_MEMORY}; differences of prefixes are used instead"


@pytest.mark.usefixtures("no_peak")
def test_operators_that_cannot_be_held_together_end_where_prefixes_are_not_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="out of memory while loading"):
        profile_invented(tmp_path, monkeypatch, Invented(failing=OUT_OF_MEMORY), method="operators")
    monkeypatch.setattr("edgefm.profiling.profile._MOST_PREFIX_BYTES", 0)
    with pytest.raises(ModelError, match="out of memory while loading"):
        profile_invented(tmp_path, monkeypatch, Invented(failing=OUT_OF_MEMORY))


@pytest.mark.usefixtures("no_peak")
def test_other_benchmarks_are_noted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgefm.benchmarking.presence.others", lambda: [1234, 5678])
    result = profile_invented(tmp_path, monkeypatch, Invented())
    (note,) = result.notes
    assert note.startswith("2 other edgefm benchmarks run on this machine")


@pytest.mark.usefixtures("no_peak")
def test_others_see_that_a_profile_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = "from edgefm.benchmarking import presence; print(presence.others())"

    def seen_by_others() -> list[int]:
        process = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
        pids: list[int] = json.loads(process.stdout)
        return pids

    times = Invented(during=seen_by_others)
    profile_invented(tmp_path, monkeypatch, times)
    assert times.labels == ["trial", "operators"]
    assert all(os.getpid() in pids for pids in times.seen)
    assert os.getpid() not in seen_by_others()


@pytest.mark.serial
@pytest.mark.usefixtures("no_peak")
def test_operator_that_hangs_costs_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runtimes.RUNTIMES, "hanging-operator", HANGING)
    path = write_model(tmp_path, cut_models.branches())
    result = profile(path, runtime="hanging-operator", turns=replace(QUICK, rounds=2, model_seconds=2.0))
    by_name = {row.name: row for row in result.operators}
    assert by_name["ABS"].time is None
    assert by_name["ABS"].reason == "no answer for 2 s while loading; the process was killed"
    assert all(row.time for name, row in by_name.items() if name != "ABS")
    # The whole holds the operator, and hangs too.
    assert result.whole is None and result.whole_reason is not None and result.check is None
    assert all(row.share is None for row in result.operators)


@pytest.mark.usefixtures("no_peak")
def test_operator_that_crashes_costs_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runtimes.RUNTIMES, "hanging-operator", HANGING)
    path = write_model(tmp_path, cut_models.chain_of([("RELU", 0, 0), ("NEG", 1, 0), ("RELU", 2, 0)]))
    result = profile(path, runtime="hanging-operator", turns=replace(QUICK, rounds=2))
    assert [row.time is not None for row in result.operators] == [True, False, True]
    assert "SIGABRT" in str(result.operators[1].reason)


@pytest.mark.usefixtures("no_peak")
@pytest.mark.parametrize(
    ("content", "row", "reason"),
    [
        pytest.param(cut_models.control_flow_behind_relu(), 1, "IF is control flow", id="control flow"),
        pytest.param(cut_models.with_custom_end(), 1, "MyMadeUpOp", id="custom operator"),
    ],
)
def test_operator_that_cannot_be_cut_or_run_is_a_row_with_the_reason(
    tmp_path: Path, content: bytes, row: int, reason: str
) -> None:
    result = profile(write_model(tmp_path, content), turns=replace(QUICK, rounds=2))
    assert result.operators[0].time is not None
    assert result.operators[row].time is None and reason in str(result.operators[row].reason)
    assert result.check is None or result.check.missing == (row,)
    assert result.check is None or not result.check.holds


@pytest.mark.usefixtures("no_peak")
def test_two_inputs_are_profiled_and_noted(tmp_path: Path) -> None:
    result = profile(write_model(tmp_path, tiny_models.add()), turns=replace(QUICK, rounds=2))
    assert result.operators[0].time is not None and result.whole is not None
    assert any("2 inputs" in note for note in result.notes)


@pytest.mark.usefixtures("no_peak")
def test_unpacked_weights_are_no_row_and_count_as_they_are_read(tmp_path: Path) -> None:
    result = profile(write_model(tmp_path, cut_models.float16_dense()), turns=replace(QUICK, rounds=2))
    assert [row.name for row in result.operators] == ["FULLY_CONNECTED"] * 2
    assert result.unpacking == (0,)
    assert result.operators[0].weight_bytes == 4 * 4 * 4 and result.operators[0].dtype == "float32"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"<html>" + bytes(99), "not a TFLite file", id="another kind"),
        pytest.param(DEMO.read_bytes()[:3000], "cut off or damaged", id="cut off"),
        pytest.param(cut_models.without_operators(), "no operator", id="no operator"),
        pytest.param(tiny_models.dynamic(), "dynamic shape", id="dynamic shape"),
        pytest.param(tiny_models.custom(), "MyMadeUpOp", id="custom operator"),
    ],
)
def test_profile_refuses_what_cannot_be_timed(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        profile(write_model(tmp_path, content), turns=replace(QUICK, rounds=1))


def test_profile_refuses_a_loop_without_end(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no answer for 2 s") as caught:
        profile(write_model(tmp_path, tiny_models.endless_loop()), turns=replace(QUICK, rounds=1, model_seconds=2.0))
    assert "WHILE is control flow" in str(caught.value)


@pytest.mark.parametrize("runtime", sorted(runtimes.OF_TARGETS))
def test_profile_refuses_runtimes_of_other_targets(runtime: str) -> None:
    with pytest.raises(RecipeError, match=f"'{runtime}' runs on another target"):
        profile(DEMO, runtime=runtime)


class _TimesItself(FakeSession):
    def timed_invokes(self, **_: int) -> BaseTimed:
        return BaseTimed(warmup_ns=[], invoke_ns=[1])


def test_sessions_that_time_themselves_are_not_timed_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_runtime, "load", lambda path, *, threads=1: _TimesItself({}))
    listed = tmp_path / "in-turn.json"
    listed.write_text(json.dumps({"runtime": fake_runtime.__name__, "kernels": None, "models": ["x"]}))
    with pytest.raises(RecipeError, match="fake times models outside"):
        in_turn.load(listed)


def test_profile_refuses_unknown_names() -> None:
    with pytest.raises(RecipeError, match="did you mean 'litert'"):
        profile(DEMO, runtime="litrt")
    with pytest.raises(RuntimeUnavailableError, match="nonsense"):
        profile(DEMO, runtime="litert:nonsense", turns=replace(QUICK, rounds=1))
    with pytest.raises(RecipeError, match="rounds 0"):
        Turns(rounds=0)


def made_up(count: int = 15, *, times_ns: list[float] | None = None) -> ProfileResult:
    """Return a profile of invented times."""
    times_ns = times_ns or [float(1000 * (index + 1)) for index in range(count)]
    total = sum(times_ns) + 500.0
    operators = [
        ProfiledOperator(
            index=index,
            name=("CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D")[index % 3],
            layer=f"a_rather_long_layer_name_{index}",
            time=Estimate(time, 0.98 * time, 1.02 * time),
            reason=None,
            share=time / total,
            macs=0 if index % 3 == 2 else 50_000,
            dtype=None if index % 3 == 2 else "int8",
            weight_bytes=100,
            activation_bytes=200,
            gmac_per_s=None if index % 3 == 2 else 50_000 / time,
            peak_share=None if index % 3 == 2 else 50_000 / time / 200,
            gb_per_s=0.3,
            limit="kernel",
            rounds=[[int(time)] * 3] * 2,
        )
        for index, time in enumerate(times_ns)
    ]
    whole = Estimate(total, 0.99 * total, 1.01 * total)
    return ProfileResult(
        model={"name": "made_up.tflite", "sha256": "0" * 64, "size_bytes": 10},
        created="2026-11-25T00:00:00+00:00",
        runtime="litert",
        version="2.3.0",
        environment={"cpu": "a processor"},
        turns=Turns(rounds=2),
        method="operators",
        whole=whole,
        whole_reason=None,
        whole_rounds=[[int(total)]] * 2,
        call=Estimate(500.0, 490.0, 510.0),
        checks=(SumCheck(method="operators", sum=whole, of_whole=Estimate(1.0, 0.99, 1.01), missing=()),),
        limits=Limits(
            peaks={"int8": Peak(gmac_per_s=200.0, layer="x")},
            bandwidth=((1000, 50.0),),
            call_ns=500.0,
            operator_ns=40.0,
        ),
        operators=tuple(operators),
        unpacking=(),
        disturbed=Disturbed(turns=0, of_turns=30, kinds={}),
        notes=(),
    )


@pytest.mark.parametrize(
    ("of_whole", "missing", "holds", "off"),
    [
        pytest.param(Estimate(1.05, 1.0, 1.2), (), True, False, id="within"),
        pytest.param(Estimate(1.2, 1.15, 1.3), (), False, True, id="off"),
        pytest.param(Estimate(0.5, 0.4, 0.6), (), False, True, id="far too small"),
        pytest.param(Estimate(0.5, 0.4, 1.1), (), False, False, id="too disturbed to tell"),
        pytest.param(Estimate(1.0, 1.0, 1.0), (3,), False, False, id="operator missing"),
    ],
)
def test_check_holds_within_ten_percent_and_is_off_beyond_doubt(
    of_whole: Estimate, missing: tuple[int, ...], holds: bool, off: bool
) -> None:
    check = SumCheck(method="operators", sum=Estimate(1.0, 1.0, 1.0), of_whole=of_whole, missing=missing)
    assert (check.holds, check.off) == (holds, off)


def test_written_profile_holds_the_raw_samples_and_its_schema(tmp_path: Path) -> None:
    path = made_up().save(tmp_path / "new" / "folder")
    value = json.loads(path.read_text(encoding="utf-8"))
    assert [row["rounds"] for row in value["operators"]][1] == [{"invoke_ns": [2000] * 3}] * 2
    broken = replace(made_up(), model={"name": "x"})
    with pytest.raises(ValueError, match="sha256"):
        broken.save(tmp_path)


@pytest.mark.parametrize("count", [1, 15, 41])
def test_picture_shows_each_operator_and_fits_its_frame(count: int) -> None:
    pytest.importorskip("matplotlib")
    from edgefm.report.drawing import style
    from edgefm.report.tools.profile import draw_profile, profile_pictures

    result = made_up(count)
    for width in (style.WIDE, style.NARROW):
        with style.drawing():
            figure = draw_profile(result, width=width)
            figure.canvas.draw()
            frame = figure.bbox
            (axes,), (legend,) = figure.axes, figure.legends
            texts = [*figure.texts, *axes.texts, *axes.get_yticklabels(), *legend.get_texts(), axes.xaxis.label]
            for text in texts:
                box = text.get_window_extent()
                assert box.x0 >= frame.x0 - 1 and box.x1 <= frame.x1 + 1, text.get_text()
                assert box.y0 >= frame.y0 - 1 and box.y1 <= frame.y1 + 1, text.get_text()
    files = profile_pictures(result)
    assert list(files) == [
        "profile.png",
        "profile.svg",
        "profile-narrow.png",
        "profile-narrow.svg",
    ]
    picture = files["profile.svg"].decode()
    ElementTree.fromstring(picture)
    assert "% of peak" in picture and ("2 others" in picture) == (count == 41)
    assert not re.search(r"#0d6ab0(?!;)", picture), "colours come from the palette, so that dark mode can change them"


def test_picture_says_of_a_time_that_cannot_be_told_from_0_what_it_is_under() -> None:
    pytest.importorskip("matplotlib")
    from edgefm.report.tools.profile import profile_pictures

    result = made_up(2)
    first = replace(result.operators[0], time=Estimate(-30.0, -200.0, 140.0), share=-0.01)
    files = profile_pictures(replace(result, operators=(first, result.operators[1])))
    picture = files["profile.svg"].decode()
    assert "under 0.14 µs" in picture and "−1" not in picture


def test_texts_of_the_narrow_picture_do_not_meet() -> None:
    pytest.importorskip("matplotlib")
    from edgefm.report.drawing import style
    from edgefm.report.tools.profile import draw_profile

    with style.drawing():
        figure = draw_profile(made_up(times_ns=[17_340.0] * 15), width=style.NARROW)
        figure.canvas.draw()
        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 30
    for label, figures in zip(boxes[::2], boxes[1::2], strict=True):
        assert label.x1 < figures.x0


@pytest.mark.parametrize(("rounds", "wanted"), [(2, 2), (9, 4)])
def test_peaks_are_measured_in_at_most_four_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: int, wanted: int
) -> None:
    """The peak must cost seconds, not minutes."""
    taken: list[tuple[int, Turns]] = []

    def time_models(models: Sequence[Timed], *, turns: Turns, **_: Any) -> str:
        taken.append((len(models), turns))
        for place, model in enumerate(models):
            model.rounds += [[1000 * (place + 1)]] * turns.rounds
        return "2.3.0"

    monkeypatch.setattr(limits, "time_models", time_models)
    result, version = limits.measure_limits(runtime="litert", turns=Turns(rounds=rounds), folder=tmp_path)
    ((models, turns),) = taken
    assert (turns.rounds, turns.least_invokes, turns.warmup_invokes) == (wanted, 1, 1)
    assert models == 2 + len(limits.DTYPES) * len(synthetic.LAYERS) + len(limits.STREAM_BYTES) <= 14
    assert version == "2.3.0" and result.peaks
