"""What keeps a budget: figures that are not known, limits in Optuna's sampler, limits that nothing can keep."""

from __future__ import annotations

from typing import Any

import pytest

from edgefm.searching import budget as budgets
from edgefm.searching.evaluation import Trials
from edgefm.searching.finalists import proposed
from edgefm.searching.forecast import Corner, impossible
from edgefm.searching.promotion import ranked
from edgefm.searching.sampling import LAG, Sampling
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
