"""What keeps a budget: figures that are not known, limits in Optuna's sampler, limits that nothing can keep."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgefm.searching import budget as budgets
from edgefm.searching.evaluation import Trials
from edgefm.searching.finalists import proposed
from edgefm.searching.forecast import Corner, impossible, nearest
from edgefm.searching.promotion import ranked
from edgefm.searching.sampling import LAG, Sampling
from edgefm.searching.space.networks import Network
from edgefm.searching.space.space import FC4, INT8, QAT, Space
from edgefm.searching.trials import Figures, Outcome, Stage, Trial

SPACE = Space(groups={"keep:a": ("a",), "keep:b": ("b",)}, schemes=(INT8, FC4, QAT))
BOARD = "ssh://pi@board"


def _trial(index: int, point: dict[str, Any], figures: Figures) -> Trial:
    first = {name: values[0] for name, values in SPACE.choices.items()}
    outcome = Outcome(stages=(Stage(epochs=1, figures=figures),), complete=True)
    return Trial(index=index, params=SPACE.params({**first, **point}), state="finished", outcome=outcome)


def _figures(arena: float | None, *, loss: float = 1.0, ratio: float = 0.5, size: float = 1000) -> dict[str, Any]:
    return {
        "accuracy_loss": loss,
        "p50_ratio": ratio,
        "download_bytes": size,
        "size_bytes": size,
        "arena_bytes": arena,
    }


def test_file_that_tflite_micro_does_not_run_is_worse_for_its_budget_than_any_that_it_runs() -> None:
    (mcu,) = budgets.parse({"mcu": {"max_arena_bytes": "10 KB", "max_size_bytes": 2000}}, where="b")
    refused = _trial(0, {"scheme": FC4}, _figures(None, loss=0.0, ratio=0.1))
    far = _trial(1, {}, _figures(10_000_000, loss=9.0))
    kept = _trial(2, {"keep:a": 0.5}, _figures(10_000, loss=9.0))
    for trials, best in (([refused, far, kept], kept), ([refused, far], far), ([refused], refused)):
        assert proposed(trials, mcu) is best
    larger = _trial(3, {"scheme": FC4, "keep:a": 0.5}, _figures(None, loss=0.0, ratio=0.1, size=4000))
    assert proposed([larger, refused], mcu) is refused, "the limits that are known tell them apart"
    doing = Trials(evaluator=None, sampling=Sampling(space=SPACE, budgets=(mcu,)), epochs=1)  # type: ignore[arg-type]  # it makes no file here
    rivals = [doing._rival(0, trial.outcome.stages[0]) for trial in (refused, far, kept, larger) if trial.outcome]
    assert ranked(rivals) == [2, 1, 0, 3]


def test_p50_on_a_board_that_was_not_measured_yet_exceeds_nothing() -> None:
    (board,) = budgets.parse({"b": {"max_p50_us": 5, "target": BOARD, "max_arena_bytes": 9}}, where="b")
    figures = {f"p50_us@{BOARD}": None, "arena_bytes": None}
    assert list(board.excess(figures)) == ["max_arena_bytes"] and board.unknown(figures) == ("max_p50_us",)
    assert board.unknown({f"p50_us@{BOARD}": 9.0}) == ()
    (here,) = budgets.parse({"b": {"max_p50_us": 5, "target": "host"}}, where="b")
    assert list(here.excess({"p50_us": None})) == ["max_p50_us"] and here.unknown({}) == ()


@pytest.mark.parametrize(
    ("limits", "arena", "few"),
    [
        ({"max_size_bytes": 1500}, 20_000.0, True),
        ({"max_size_bytes": 100_000}, 20_000.0, False),
        ({"max_arena_bytes": 100_000}, 20_000.0, False),
        ({"max_arena_bytes": 100_000}, None, True),
    ],
)
def test_sampler_looks_where_limits_are_kept(limits: dict[str, Any], arena: float | None, few: bool) -> None:
    """Trials with many channels are better in each objective, but are larger, and may not run."""
    (wanted,) = budgets.parse({"b": limits}, where="b")
    few_channels, many_channels = (0.125, 0.25), (0.875, 1.0)
    trials = []
    for index in range(40):
        shares = (few_channels, many_channels)[index % 2]
        figures = (_figures(1000.0, loss=9.0, ratio=0.9), _figures(arena, loss=0.5, ratio=0.1, size=20_000))[index % 2]
        figures["download_bytes"] = (900, 100)[index % 2]
        point = {"keep:a": shares[index // 2 % 2], "keep:b": (1 + index % 8) / 8}
        trials.append(_trial(index, point, figures))
    sampling = Sampling(space=SPACE, budgets=(wanted,), seed=3)
    places = [sampling._drawn(40 + LAG, attempt, trials)["keep:a"] for attempt in range(9)]
    drawn = [float(SPACE.choices["keep:a"][place]) for place in places]
    assert sum((share < 0.5) == few for share in drawn) >= 7, drawn


def test_budget_that_no_smallest_file_has_a_figure_for_cannot_be_met() -> None:
    wanted = budgets.parse({"mcu": {"max_arena_bytes": "10 KB"}, "b": {"max_p50_us": 5, "target": BOARD}}, where="b")
    refused, runs = (
        Corner(point=SPACE.corners()[0], figures=figures) for figures in ({"arena_bytes": None}, {"arena_bytes": 9000})
    )
    reasons = impossible(wanted, [refused, refused], SPACE)
    assert reasons == {"mcu": "max_arena_bytes is 10.0 KB, and TFLite Micro runs none of the smallest files"}
    assert not impossible(wanted, [refused, runs], SPACE) and not impossible(wanted, [], SPACE)


KINDS = Space(groups={"keep:a": ("a",)}, schemes=(INT8, FC4))


def _corner(keep: float, scheme: str, *, after: bool = False, **figures: float | None) -> Corner:
    later = {"sparsity": 0.9 if after else 0.0, "clusters": 8 if after else 0}
    return Corner(point={"keep:a": keep, **later, "scheme": scheme}, figures=figures)


@pytest.mark.parametrize(
    ("limits", "place"),
    [
        # Excess of the first, second and third: 1.0 and 0.5; 0.2 and 1.4; 0.9 and 0.9.
        ({"max_size_bytes": 1000, "max_macs": 100}, 2),
        # The second breaks one limit alone, and this one least.
        ({"max_size_bytes": 1000, "max_macs": 250}, 1),
        # All break the size by more than twice; the MACs break nothing: the smallest file.
        ({"max_size_bytes": 500, "max_macs": 1000}, 1),
        ({"max_macs": 100}, 0),
        # Nothing is known of p50 yet, and nothing of the loss before training: the size alone counts.
        ({"max_size_bytes": 1000, "max_p50_ratio": 0.1, "max_accuracy_loss": 1}, 1),
    ],
)
def test_nearest_file_is_that_whose_largest_excess_is_the_least(limits: dict[str, float], place: int) -> None:
    smallest = [
        _corner(0.125, INT8, size_bytes=2000, macs=150),
        _corner(0.25, INT8, size_bytes=1200, macs=240),
        _corner(0.5, INT8, size_bytes=1900, macs=190),
    ]
    (wanted,) = budgets.parse({"b": limits}, where="b")
    assert nearest(wanted, smallest, KINDS) is smallest[place]


def test_of_files_that_are_equally_near_the_one_is_named_that_changes_the_model_least() -> None:
    smallest = [_corner(0.125, INT8, after=after, macs=200, arena_bytes=None) for after in (True, False)]
    (wanted,) = budgets.parse({"b": {"max_macs": 100}}, where="b")
    assert nearest(wanted, smallest, KINDS) is smallest[1]
    (mcu,) = budgets.parse({"b": {"max_macs": 100, "max_arena_bytes": 1}}, where="b")
    runs = _corner(1.0, INT8, macs=9_000, arena_bytes=9_000)
    assert nearest(mcu, [*smallest, runs], KINDS) is runs, "a file that TFLite Micro does not run is no near one"


def test_impossible_budget_is_said_with_the_nearest_file_as_a_whole() -> None:
    smallest = [
        _corner(0.125, INT8, size_bytes=9_000, macs=300, p50_ratio=0.25),
        _corner(0.125, FC4, size_bytes=6_000, macs=300, p50_ratio=0.5),
    ]
    asked = {"watch": {"max_size_bytes": "4 KB", "max_macs": 1000, "max_p50_ratio": 0.24, "max_accuracy_loss": 1.0}}
    # By 1.25 and 0.04, or by 0.5 and 1.08.
    assert impossible(budgets.parse(asked, where="b"), smallest, KINDS) == {
        "watch": "max_size_bytes is 4.0 KB, and the least of all files is 6.0 KB; max_p50_ratio is 0.240, and the "
        "least of all files is at least 0.250; the nearest to all of them has size 6.0 KB, MACs 300, p50 ratio at "
        "least 0.500 (channels kept 0.125; int8_w8a8_fc4)"
    }


def test_budget_whose_limits_are_kept_by_different_files_alone_cannot_be_met() -> None:
    int8 = _corner(0.125, INT8, size_bytes=9_000, arena_bytes=5_000.0, p50_ratio=0.25)
    four_bits = _corner(0.125, FC4, size_bytes=6_000, arena_bytes=None, p50_ratio=0.5)
    asked: dict[str, dict[str, Any]] = {
        "mcu": {"max_size_bytes": 8_000, "max_arena_bytes": 8_000},
        "larger": {"max_size_bytes": 9_000, "max_arena_bytes": 8_000},
        "any": {"max_size_bytes": 8_000},
        # Some dense layers of 4 bits and some of 8 may keep both.
        "fast": {"max_size_bytes": 8_000, "max_p50_ratio": 0.3},
    }
    assert impossible(budgets.parse(asked, where="b"), [int8, four_bits], KINDS) == {
        "mcu": "of the smallest files each keeps some limits, and none keeps all; the nearest to all of them has size "
        "9.0 KB, arena 5.0 KB (channels kept 0.125; int8_w8a8)"
    }
    # The download of a file may still become a little less by training.
    asked = {"b": {"max_download_bytes": 5_800, "max_arena_bytes": 8_000}}
    near = _corner(0.125, INT8, download_bytes=6_000, arena_bytes=5_000.0)
    assert not impossible(budgets.parse(asked, where="b"), [near, _corner(0.125, FC4, arena_bytes=None)], KINDS)


def test_limits_that_networks_of_two_kinds_keep_are_not_kept_by_one() -> None:
    network = {"network": "plain", "width": 8, "depth": 1, "stride": 2}
    space = Space(groups={"keep:a": ("a",)}, networks=(Network(blocks="plain", width=8, depth=1, stride=2),))
    first = {name: values[0] for name, values in space.choices.items()}
    given = Corner(point={**first, "keep:a": 0.125}, figures={"size_bytes": 9_000, "macs": 100})
    other = Corner(point={**first, **network}, figures={"size_bytes": 5_000, "macs": 300})
    wanted = budgets.parse({"b": {"max_size_bytes": 6_000, "max_macs": 200}}, where="b")
    assert "none keeps all" in impossible(wanted, [given, other], space)["b"]
    assert not impossible(wanted, [given, replace(other, figures={"size_bytes": 5_000, "macs": 200})], space)
