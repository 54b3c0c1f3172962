"""Budgets, spaces, sampling and stages of a search, its journal and its driver; nothing is trained."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fastjsonschema
import numpy as np
import pytest

from edgefm import targets
from edgefm.benchmarking import harness
from edgefm.comparison.budget import BudgetError
from edgefm.core.documents import check_schema
from edgefm.core.errors import ModelError, RecipeError, RuntimeUnavailableError
from edgefm.jobs.search import SearchResult, time_of
from edgefm.recipes import BenchmarkProtocol
from edgefm.searching import budget as budgets
from edgefm.searching import driver
from edgefm.searching import journal as journals
from edgefm.searching.driver import InProcess, Limits, Task, drive
from edgefm.searching.ending import finish as ending
from edgefm.searching.finalists import proposed, trained
from edgefm.searching.forecast import Corner, impossible
from edgefm.searching.journal import SearchError, opened, read_identity
from edgefm.searching.on_targets import measuring
from edgefm.searching.page import page
from edgefm.searching.picture import front_png
from edgefm.searching.promotion import Rival, hypervolume, on_front, promising, ranked
from edgefm.searching.result import budget_entry, conclusion, is_finished
from edgefm.searching.sampling import Sampling
from edgefm.searching.space import QAT, Epochs, Space
from edgefm.searching.space.networks import Network, networks_of, why_none
from edgefm.searching.trials import Outcome, Stage, Trial
from edgefm.searching.worker import _held
from edgefm.searching.workers import Workers
from edgefm.targets.base import TargetError
from edgefm.targets.worker_process import WorkerProcess
from tests.fixtures import search_driver
from tests.fixtures.killed_search import finished_in_journal, killed, wait_for_growth
from tests.fixtures.notes import Notes
from tests.fixtures.search_driver import (
    SPACE,
    Killing,
    evaluate,
    identity,
    in_folder,
    sampling,
    search_result,
    searched,
)

ROOT = Path(__file__).parents[2]


def _compared(trials: Any) -> list[tuple[int, Mapping[str, Any], Any]]:
    return [(trial.index, trial.params, trial.costs) for trial in trials]


# ---- budgets


def test_budget_takes_sizes_as_people_write_them(tmp_path: Path) -> None:
    path = tmp_path / "budget.toml"
    path.write_text('[phone]\nmax_p50_ratio = 0.15\n[watch]\nmax_download_bytes = "40 KB"\nmax_macs = "1.5 M"\n')
    phone, watch = budgets.read(path)
    assert (phone.name, phone.limits) == ("phone", {"max_p50_ratio": 0.15})
    assert watch.limits == {"max_download_bytes": 40_000.0, "max_macs": 1_500_000.0}


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("max_size_bytes", "40 KiB", 40_960),
        ("max_size_bytes", "2.01 KB", 2010),
        ("max_download_bytes", "8.05 KB", 8050),
        ("max_macs", "4.1 M", 4_100_000),
        ("max_macs", "8.2 M", 8_200_000),
        ("max_macs", "0.07G", 70_000_000),
        ("max_size_bytes", "1.1 MiB", 1_153_433),  # of 1,153,433.6
        ("max_size_bytes", "512.0", 512),
    ],
)
def test_decimals_with_a_unit_are_exact_and_rounded_down(key: str, given: str, value: int) -> None:
    assert budgets.parse({"a": {key: given}}, where="b")[0].limits == {key: value}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({}, "sets no limit"),
        ({"phone": {}}, "sets no limit"),
        ({"max_size_bytes": 1}, "'max_size_bytes' stands outside of a table\n  Put limits below a table"),
        ({"max_size_byte": 1}, "outside of a table; did you mean 'max_size_bytes'"),
        ({"phone": {"max_p50_rato": 0.1}}, "unknown key 'max_p50_rato'; did you mean 'max_p50_ratio'"),
        ({"phone": {"max_size_bytes": 0}}, "a finite number above 0 is expected"),
        ({"phone": {"max_size_bytes": -5}}, "a finite number above 0 is expected"),
        ({"phone": {"max_p50_ratio": float("nan")}}, "a finite number above 0 is expected"),
        ({"phone": {"max_size_bytes": "1" + 400 * "0"}}, "a finite number above 0 is expected"),
        ({"phone": {"max_p50_ratio": True}}, "a number is expected"),
        ({"phone": {"max_p50_ratio": "0.1"}}, "a number is expected"),
        ({"phone": {"max_size_bytes": "40 kilo"}}, "KB, MB, GB, KiB"),
        ({"phone": {"max_size_bytes": 1.5}}, "a whole number"),
        ({"phone": {"max_size_bytes": "1.5 B"}}, "a whole number"),
        ({"phone": {"max_size_bytes": "0.0001 KB"}}, "a finite number above 0 is expected"),
        ({"phone": {"max_size_bytes": 10**400}}, "a finite number above 0 is expected"),
        ({"phone": {"max_macs": "1" + 400 * "0" + " G"}}, "a finite number above 0 is expected"),
        ({"phone": {"max_p50_ratio": float("inf")}}, "a finite number above 0 is expected"),
        ({"phone": {5: 1}}, "unknown key '5'"),
        ({5: {"max_size_bytes": 5}}, "5 cannot name a budget: a text is expected"),
        ({5: 1}, "5 cannot name a budget: a text is expected"),
        ({"phone": {"max_accuracy_loss": 101}}, "at most 100 points"),
        ({"phone": {"max_p50_ratio": 0.1, "max_p50_us": 5, "target": "host"}}, "both limit the p50"),
        ({"phone": {"max_p50_us": 5}}, "max_p50_us is set without target"),
        ({"phone": {"max_p50_ratio": 0.5, "target": "host"}}, "target is set without max_p50_us"),
        ({"phone": {"max_p50_us": 5, "target": "adb"}}, "'adb': it times whole models by a program of its own"),
        ({"phone": {"max_p50_us": 5, "target": "qemu-aarch64"}}, "'qemu-aarch64': it does not measure time"),
        ({"phone": {"max_p50_us": 5, "target": "vela:ethos-u55-128"}}, "does not measure time\n  Allowed: host, and"),
        ({"phone": {"max_p50_us": 5, "target": "pi@board"}}, "did you mean 'ssh://pi@board'"),
        ({"phone": {"max_p50_us": 5, "target": "ssh://"}}, "ssh://"),
        ({"phone": {"max_p50_us": 5, "target": 3}}, "target is 3; the address of a target is expected"),
        ({"a/b": {"max_size_bytes": 5}}, "cannot name a budget"),
        ({"float32": {"max_size_bytes": 5}}, "a reference is"),
        ({f"b{n}": {"max_size_bytes": 5} for n in range(21)}, "at most 20"),
        ({"phone": {"max_size_bytes": 5}, "Phone": {"max_size_bytes": 6}}, "differ in capitals alone: phone, Phone"),
    ],
)
def test_budget_that_is_wrong_is_refused(value: dict[Any, Any], reason: str) -> None:
    with pytest.raises(BudgetError) as caught:
        budgets.parse(value, where="budget.toml")
    assert reason in str(caught.value) and "budget.toml" in caught.value.message


def test_figures_of_a_budget_are_those_of_its_target() -> None:
    board, here = budgets.parse(
        {
            "board": {"max_p50_us": 5, "target": "ssh://pi@board", "max_size_bytes": 9},
            "here": {"max_p50_us": 5, "target": "host"},
        },
        where="b",
    )
    figures = {"p50_us": 4.0, "size_bytes": 9, "p50_us@ssh://pi@board": 10.0}
    assert board.excess(figures) == board.excess(figures, static=True) == {"max_p50_us": 1.0}
    assert here.excess(figures) == {} and board.unknown({"p50_us": 1.0, "size_bytes": 1}) == ("max_p50_us",)
    assert here.unknown({}) == () and here.excess({}) == {"max_p50_us": budgets.UNKNOWN}
    assert budgets.targets_of([board, here, board]) == ("ssh://pi@board",)


def test_schema_of_a_budget_allows_every_key_that_the_reader_knows() -> None:
    schema = json.loads((ROOT / "edgefm" / "schemas" / "search-1.schema.json").read_text())
    validate = fastjsonschema.compile(schema["$defs"]["budgets"])
    for name, key in budgets.KEYS.items():
        target = {"target": "host"} if name == "max_p50_us" else {}
        (parsed,) = budgets.parse({"b": {name: 5, **target}}, where="b")
        validate({parsed.name: parsed.to_json()})
        assert parsed.excess({key.figure: 10.0}) == {name: 1.0} and parsed.excess({}) == {name: budgets.UNKNOWN}
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        validate({"b": {"max_size_bytes": 0}})


@pytest.mark.parametrize("given", ["", "1x", "0", -3, float("nan"), "h"])
def test_time_limit_that_is_none_is_refused(given: Any) -> None:
    with pytest.raises(RecipeError, match="not allowed"):
        time_of(given)


# ---- the space


def test_point_becomes_the_variant_that_a_person_would_name() -> None:
    point = {"keep:a": 0.5, "keep:b": 1.0, "sparsity": 0.8, "clusters": 16, "scheme": QAT}
    variant = SPACE.variant(point, Epochs.of(8), name="x")
    slim, prune, cluster, qat = variant.passes
    assert slim.layers == {"a": 0.5, "b": 1.0}  # type: ignore[attr-defined]
    assert [one.fine_tuning.epochs for one in variant.passes] == [8, 4, 2, 1]
    assert (prune.sparsity, cluster.clusters) == (0.8, 16)  # type: ignore[attr-defined]
    assert qat.preserve_sparsity and qat.preserve_clusters and not qat.per_channel  # type: ignore[attr-defined]
    assert SPACE.point(SPACE.params(point)) == point
    untouched = {name: values[0] for name, values in SPACE.choices.items()}
    assert SPACE.variant(untouched, Epochs.of(8), name="x").passes == ()


def test_model_that_no_pass_applies_to_has_one_point() -> None:
    import keras

    from edgefm.searching.space import space_of

    nothing = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.AveragePooling2D(2), keras.layers.Softmax()])
    with pytest.raises(ModelError, match="there is nothing to search: only int8_w8a8 can be made"):
        space_of(nothing)


def test_known_points_and_corners_are_of_the_space() -> None:
    for space in (SPACE, Space(groups={}, sparsity=True, clusters=False, schemes=("int8_w8a8",))):
        for point in (*space.known(), *space.corners()):
            assert all(point[name] in values for name, values in space.choices.items())
            assert len(point) == len(space.choices)


@pytest.mark.parametrize(
    ("name", "shape", "classes"), [("enhanced_cnn", (32, 32, 3), 4), ("separable_tiny", (96, 96, 1), 10)]
)
def test_networks_of_a_model_of_the_zoo_cost_no_more_than_it(
    name: str, shape: tuple[int, int, int], classes: int
) -> None:
    import keras

    from edgefm import zoo
    from edgefm.compression.channels.channel_cost import cost_of
    from edgefm.compression.channels.channel_groups import channels_of

    given = zoo.build(name, input_shape=shape, classes=classes)
    limit = cost_of(channels_of(given)).macs
    networks = networks_of(given)
    assert {one.blocks for one in networks} >= {"plain", "separable"} and limit is not None
    for network in (networks[0], networks[-1]):
        built = zoo.build("staged_cnn", network.options, input_shape=shape, classes=classes)
        assert (built.input_shape, built.output_shape) == ((None, *shape), (None, classes))
        assert (cost_of(channels_of(built)).macs or 0) <= limit
    own = keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(classes, "softmax")], name=name
    )
    assert networks_of(own) == () and "has the name of a model of the zoo and another interface" in why_none(own)
    other = zoo.build("basic_cnn", input_shape=shape, classes=classes)
    assert networks_of(other) == () and why_none(other).endswith("resnet14, staged_cnn, not of 'basic_cnn'")


def test_points_that_stand_for_one_variant_are_one_point() -> None:
    networks = (
        Network(blocks="plain", width=8, depth=1, stride=2),
        Network(blocks="plain", width=16, depth=1, stride=2),
    )
    schemes = ("int8_w8a8", "int8_w8a8_fc4", QAT)
    space = Space(
        groups={"keep:a": ("a",)},
        sparsity=False,
        clusters=False,
        schemes=schemes,
        bits={"bits:d": ("d",), "bits:e": ("e",)},
        networks=networks,
        teacher=True,
    )
    every = [dict(zip(space.choices, values, strict=True)) for values in itertools.product(*space.choices.values())]
    settled = [space.settled(point) for point in every]
    variants = {json.dumps(space.variant(point, Epochs.of(8), name="x").to_json(), sort_keys=True) for point in settled}
    assert len(variants) == len({json.dumps(point) for point in settled}) == space.points
    assert all(space.settled(point) == point for point in (*settled, *space.known(), *space.corners()))
    chosen = {**space.known()[0], "scheme": "int8_w8a8_fc4", "bits:e": 8}
    assert space.words(chosen) == "channels kept 0.5; int8_w8a8_fc4, 8 bits in e"
    quantization = space.variant(chosen, Epochs.of(8), name="x").quantization
    assert quantization is not None and quantization.keep_int8 == ("e",)
    drawn = Sampling(space=space, budgets=search_driver.BUDGETS, sampler="random").choose(0, [])
    assert drawn is not None and space.settled(space.point(drawn)) == space.point(drawn)


def test_network_that_is_not_allowed_becomes_the_nearest_one() -> None:
    plain = Network(blocks="plain", width=8, depth=1, stride=2)
    networks = (plain, replace(plain, width=64, depth=2), replace(plain, blocks="separable", width=64, stride=1))
    space = Space(networks=networks, sparsity=False, clusters=False, teacher=True)
    point = {"network": "plain", "width": 64, "depth": 1, "stride": 1, "teacher": "none", "scheme": QAT}
    settled = space.settled(point)
    assert space.network(settled) == plain and settled["teacher"] == "none"
    scratch, qat = space.variant(settled, Epochs.of(8), name="x").passes
    assert scratch.options == {"blocks": "plain", "width": "8", "depth": "1", "stride": "2"}  # type: ignore[attr-defined]
    assert [one.fine_tuning.epochs for one in (scratch, qat)] == [16, 1]
    assert scratch.fine_tuning.distillation is qat.fine_tuning.distillation is None
    assert space.words(settled).startswith("new network: 1 plain block a stage, 8 channels, first stride 2; without a")
    smallest = [space.network(corner) for corner in replace(space, sparsity=True).corners()]
    # With zeros, which makes the least download, and without, which may make the smallest file; and with zeros by
    # quantisation-aware training, whose kernels then have one scale each.
    assert smallest.count(plain) == smallest.count(networks[2]) == smallest.count(None) == 3


# ---- ranks and volumes


def test_hypervolume_is_that_of_a_grid_of_cells() -> None:
    random = np.random.default_rng(3)
    points = random.integers(0, 6, (7, 3))
    cells = sum(any((point <= cell).all() for point in points) for cell in itertools.product(range(6), repeat=3))
    assert hypervolume(points.tolist(), (6, 6, 6)) == pytest.approx(cells)


def test_front_counts_equal_points_once() -> None:
    assert on_front([(1.0, 2.0), (1.0, 2.0), (2.0, 1.0), (2.0, 2.0)]) == [True, False, True, False]


def test_better_third_is_spread_and_keeps_its_limits() -> None:
    corners = [(0.0, 9.0), (9.0, 0.0), (4.0, 4.0), (4.1, 3.9), (3.9, 4.1)]
    rivals = [Rival(costs=costs) for costs in corners] + [Rival(costs=(0.0, 0.0), excess=0.5)]
    order = ranked(rivals)
    assert set(order[:3]) >= {0, 1} and order[-1] == 5
    assert promising(Rival(costs=(5.0, 5.0)), rivals[:2])  # too few to compare with
    assert not promising(Rival(costs=(5.0, 5.0)), rivals)


# ---- what is tried


def test_same_seed_tries_the_same_and_another_one_something_else(tmp_path: Path) -> None:
    first = searched(tmp_path / "a", trials=12)
    again = searched(tmp_path / "b", trials=12)
    assert _compared(first) == _compared(again) == _compared(in_folder(tmp_path / "a"))
    other = sampling(seed=8)
    assert other.choose(11, first) != first[11].params
    assert len({json.dumps(trial.params) for trial in first}) == 12


def test_what_is_tried_does_not_depend_on_trials_that_end_late() -> None:
    known = [_ended(index) for index in range(11)]
    late = [*known[:8], *(Trial(index=index, params=known[index].params) for index in (8, 9, 10))]
    assert sampling().choose(11, known) == sampling().choose(11, late)
    assert sampling().is_due(11, late) and not sampling().is_due(12, late)


def test_search_ends_where_every_point_was_tried(tmp_path: Path) -> None:
    space = Space(groups={}, sparsity=False, clusters=False, schemes=("int8_w8a8", "int8_w8a8_fc4", QAT))
    chosen = search_driver.Sampling(space=space, budgets=search_driver.BUDGETS)

    def cheap(task: Task) -> Outcome:
        figures = {"accuracy_loss": float(task.index), "p50_ratio": 1.0, "download_bytes": 1.0}
        return Outcome(stages=(Stage(epochs=1, figures=figures),), complete=True)

    with opened(tmp_path, {**identity(), "space": space.to_json()}, space.distributions(), resume=False) as journal:
        trials = drive(journal, chosen, InProcess(cheap), Limits(trials=50))
    assert len(trials) == 3


def _ended(index: int) -> Trial:
    params = sampling().choose(index, []) if index < 6 else {**SPACE.params(SPACE.known()[0]), "keep:a": index % 8}
    assert params is not None
    known = Task(index=index, params=params, known=())
    return Trial(index=index, params=params, state="finished", outcome=evaluate(known))


# ---- the forecast


def test_budget_that_nothing_meets_is_named_with_the_least_there_is() -> None:
    point = SPACE.corners()[0]
    smallest = [Corner(point=point, figures={"size_bytes": 9_000, "p50_ratio": 0.1, "arena_bytes": None})]
    asked = {"tiny": {"max_size_bytes": 1000}, "phone": {"max_p50_ratio": 0.2}, "fast": {"max_p50_ratio": 0.05}}
    reasons = impossible(budgets.parse(asked, where="b"), smallest, SPACE)
    assert list(reasons) == ["tiny", "fast"]
    assert "max_p50_ratio is 0.050, and the least of all files is at least 0.100 (channels" in reasons["fast"]
    assert "max_size_bytes is 1.0 KB, and the least of all files is 9.0 KB (channels kept 0.125" in reasons["tiny"]


def test_download_a_little_too_large_before_training_may_be_met_after_it() -> None:
    smallest = [Corner(point=SPACE.corners()[0], figures={"download_bytes": 10_000, "size_bytes": 10_000})]
    for figure, never in (("download", [9_000]), ("size", [9_000, 9_600])):
        wanted = {f"b{limit}": {f"max_{figure}_bytes": limit} for limit in (9_000, 9_600, 10_000)}
        reasons = impossible(budgets.parse(wanted, where="b"), smallest, SPACE)
        assert list(reasons) == [f"b{limit}" for limit in never], figure


# ---- stops


def test_kills_lose_no_trial_and_count_none_twice(tmp_path: Path) -> None:
    undisturbed = searched(tmp_path / "calm", trials=14)
    assert killed(tmp_path / "killed", trials=14, kills=8, seed=0) >= 4
    trials = searched(tmp_path / "killed", trials=14, resume=True)
    assert _compared(trials) == _compared(undisturbed)
    assert finished_in_journal(tmp_path / "killed") == list(range(14))


def test_half_a_line_and_the_lock_of_a_killed_process_are_mended(tmp_path: Path) -> None:
    undisturbed = searched(tmp_path / "calm", trials=8)
    searched(tmp_path / "torn", trials=5)
    journal = tmp_path / "torn" / "journal.log"
    journal.write_bytes(journal.read_bytes()[:-20])
    (tmp_path / "torn" / "journal.log.lock").symlink_to(journal)
    assert _compared(searched(tmp_path / "torn", trials=8, resume=True)) == _compared(undisturbed)


def test_damaged_journal_is_said_and_left_alone(tmp_path: Path) -> None:
    searched(tmp_path, trials=3)
    journal = tmp_path / "journal.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    damaged = b"".join([lines[0], b"no json\n", *lines[2:]])
    journal.write_bytes(damaged)
    with pytest.raises(SearchError, match=r"journal\.log is damaged"):
        in_folder(tmp_path)
    assert journal.read_bytes() == damaged


def test_ctrl_c_keeps_what_was_done(tmp_path: Path) -> None:
    def stopped(task: Task) -> Outcome:
        if task.index == 4:
            raise KeyboardInterrupt
        return evaluate(task)

    with (
        pytest.raises(KeyboardInterrupt),
        opened(tmp_path / "a", identity(), SPACE.distributions(), resume=False) as journal,
    ):
        drive(journal, sampling(), InProcess(stopped), Limits(trials=8))
    assert _compared(searched(tmp_path / "a", trials=8, resume=True)) == _compared(searched(tmp_path / "b", trials=8))


def test_search_with_networks_tries_the_same_after_a_stop(tmp_path: Path) -> None:
    networks = tuple(Network(blocks="plain", width=width, depth=1, stride=2) for width in (8, 16, 32))
    space = replace(SPACE, networks=networks, teacher=True)
    chosen = Sampling(space=space, budgets=search_driver.BUDGETS, seed=7)
    about = {**identity(), "space": space.to_json()}

    def searched_by(folder: Path, *, stops_at: int = -1, resume: bool = False) -> Any:
        def cheap(task: Task) -> Outcome:
            if task.index == stops_at:
                raise KeyboardInterrupt
            network = space.network(space.point(task.params))
            given = evaluate(replace(task, params={name: task.params[name] for name in SPACE.choices}))
            if network is None:
                return given
            figures = {"accuracy_loss": 40 / network.width, "p50_ratio": network.width / 64, "download_bytes": 900.0}
            return Outcome(stages=(Stage(epochs=1, figures=figures),), complete=True)

        with opened(folder, about, space.distributions(), resume=resume) as journal:
            return drive(journal, chosen, InProcess(cheap), Limits(trials=16))

    undisturbed = searched_by(tmp_path / "calm")
    with pytest.raises(KeyboardInterrupt):
        searched_by(tmp_path / "stopped", stops_at=11)
    assert _compared(searched_by(tmp_path / "stopped", resume=True)) == _compared(undisturbed)
    points = [space.point(trial.params) for trial in undisturbed]
    assert all(space.settled(point) == point for point in points)
    assert 3 <= sum(space.network(point) is not None for point in points) < 16


def test_full_disk_ends_the_search_and_it_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from optuna.storages.journal import _file

    writes = iter(range(1000))
    sync = os.fsync

    def full(descriptor: int) -> None:
        if next(writes) > 25:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(_file.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            searched(tmp_path / "a", trials=10)
    assert _compared(searched(tmp_path / "a", trials=10, resume=True)) == _compared(searched(tmp_path / "b", trials=10))


def test_point_that_is_impossible_is_not_tried_again(tmp_path: Path) -> None:
    tried: list[int] = []

    def refused(task: Task) -> Outcome:
        tried.append(task.index)
        if task.index == 2:
            raise ModelError("a reason")
        return evaluate(task)

    for trials, resume in ((5, False), (7, True)):
        with opened(tmp_path, identity(), SPACE.distributions(), resume=resume) as journal:
            ended = drive(journal, sampling(), InProcess(refused), Limits(trials=trials))
    assert tried == list(range(7)) and ended[2].reason == "a reason" and ended[2].state == "failed"


def test_several_workers_try_what_one_tries_though_they_are_killed(tmp_path: Path) -> None:
    alone = searched(tmp_path / "alone", trials=12)
    setup = Killing(marks=tmp_path, once=(3, 8))
    with (
        opened(tmp_path / "several", identity(), SPACE.distributions(), resume=False) as journal,
        Workers(setup, 2) as workers,
    ):
        pids = workers.pids
        assert _compared(drive(journal, sampling(), workers, Limits(trials=12))) == _compared(alone)
        assert len({*pids, *workers.pids}) > 2  # those that were killed were replaced
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers.pids)


def test_trial_that_always_ends_its_worker_is_given_up(tmp_path: Path) -> None:
    setup = Killing(marks=tmp_path, ever=(1,))
    with (
        opened(tmp_path / "a", identity(), SPACE.distributions(), resume=False) as journal,
        Workers(setup, 1) as workers,
    ):
        trials = drive(journal, sampling(), workers, Limits(trials=3))
    assert [trial.state for trial in trials] == ["finished", "failed", "finished"]
    assert trials[1].reason == "its worker ended 2 times: SIGKILL"


def test_finalists_are_trained_by_workers_with_each_seed_and_one_that_ends_them_is_left_out(tmp_path: Path) -> None:
    setup = Killing(marks=tmp_path, once=(12,), ever=(16,))  # the first and the fifth finalist
    notes = Notes()
    with (
        opened(tmp_path / "a", identity(), SPACE.distributions(), resume=False) as journal,
        Workers(setup, 2) as workers,
    ):
        trials = drive(journal, sampling(), workers, Limits(trials=12))
        chosen, failed = trained(trials, search_driver.BUDGETS, SPACE, workers, seeds=(1, 2, 3), progress=notes)
    assert failed == {} and [one.budget for one in chosen] == ["phone", "watch"]
    assert len({one.trial for one in chosen}) == 2
    for one in chosen:
        assert trials[one.trial].outcome is not None
        before = trials[one.trial].figures["accuracy_loss"]
        assert before is not None
        losses = {each.seed: each.figures["accuracy_loss"] for each in one.seeds}
        seeds = (1, 2, 3) if one.trial != chosen[0].trial else (1, 2)  # the fifth task: its third seed
        assert losses == {seed: pytest.approx(before + seed / 100) for seed in seeds}
        assert one.seed == 1 and one.point == SPACE.point(trials[one.trial].params)
    assert notes.notes == [f"trial {chosen[0].trial} with seed 3: its worker ended 2 times: SIGKILL"]


def test_finalist_that_no_seed_can_be_trained_of_is_named_with_the_reason(tmp_path: Path) -> None:
    def refused(task: Task) -> Outcome:
        if task.seed is not None:
            raise ModelError(f"the loss became NaN with seed {task.seed}")
        return evaluate(task)

    notes = Notes()
    with opened(tmp_path, identity(), SPACE.distributions(), resume=False) as journal:
        trials = drive(journal, sampling(), InProcess(refused), Limits(trials=8))
    chosen, failed = trained(trials, search_driver.BUDGETS, SPACE, InProcess(refused), seeds=(1, 2), progress=notes)
    best = proposed(trials, search_driver.BUDGETS[0])
    assert chosen == () and best is not None
    assert failed == dict.fromkeys(("phone", "watch"), "the loss became NaN with seed 2")
    assert f"trial {best.index} with seed 1: the loss became NaN with seed 1" in notes.notes
    entry = budget_entry(search_driver.BUDGETS[0], None, None, failed["phone"])
    assert conclusion(entry).endswith("could be trained with no seed: the loss became NaN with seed 2")


class _Away(InProcess):
    """An executor whose nodes are all away when it is asked how many there are."""

    slots = 0


def test_executor_without_a_free_place_is_waited_for(tmp_path: Path) -> None:
    with opened(tmp_path / "a", identity(), SPACE.distributions(), resume=False) as journal:
        trials = drive(journal, sampling(), _Away(evaluate), Limits(trials=8))
    assert _compared(trials) == _compared(searched(tmp_path / "b", trials=8))
    chosen, _ = trained(trials, search_driver.BUDGETS, SPACE, _Away(evaluate), seeds=(1, 2))
    assert [len(one.seeds) for one in chosen] == [2, 2]


def test_workers_that_die_while_they_have_nothing_to_do_are_replaced_each_time(tmp_path: Path) -> None:
    with Workers(Killing(marks=tmp_path), 1) as workers:
        for index in range(3):
            task = Task(index=index, params=sampling().choose(0, []) or {})
            workers.submit(task)
            assert workers.next() == (index, evaluate(task))
            os.kill(workers.pids[0], signal.SIGKILL)


def test_pass_that_two_workers_want_is_done_by_one_of_them(tmp_path: Path) -> None:
    folder, done = tmp_path / "passes" / "slim-1", []

    def wanted() -> None:
        with _held(folder):
            if not folder.exists():
                done.append(1)
                time.sleep(0.2)
                folder.mkdir()

    threads = [threading.Thread(target=wanted) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [1]


# ---- the folder


@pytest.fixture
def searching(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.fixtures.search_driver", str(tmp_path), "50", "0.5"]
    process = subprocess.Popen(command, cwd=ROOT)
    wait_for_growth(tmp_path / "journal.log", process, 0.2)
    yield process
    process.kill()
    process.wait()


def test_second_driver_is_refused_and_the_lock_of_a_dead_one_does_not_count(
    searching: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    with pytest.raises(SearchError, match=f"is being searched by another process: {searching.pid} on "):
        in_folder(tmp_path)
    searching.send_signal(signal.SIGKILL)
    searching.wait()
    assert (tmp_path / ".lock").exists() and (tmp_path / ".driver.json").exists()
    in_folder(tmp_path)


@pytest.mark.parametrize(
    ("changes", "different"), [({"seed": 8}, r"seed \(7, now 8\)"), ({"model": "other"}, r'model \("m", now "other"\)')]
)
def test_folder_of_another_search_is_refused_with_what_differs(
    changes: dict[str, Any], different: str, tmp_path: Path
) -> None:
    searched(tmp_path, trials=1)
    before = (tmp_path / "journal.log").read_bytes()
    with (
        pytest.raises(SearchError, match=f"holds another search: it differs in {different}"),
        opened(tmp_path, identity(**changes), SPACE.distributions(), resume=True),
    ):
        pass
    assert (tmp_path / "journal.log").read_bytes() == before


def test_what_an_older_edgefm_did_not_say_of_its_search_is_not_compared(tmp_path: Path) -> None:
    searched(tmp_path / "old", trials=1)
    with opened(tmp_path / "old", identity() | {"quality": "auc"}, SPACE.distributions(), resume=True) as journal:
        assert len(journal.trials()) == 1
    new = identity() | {"quality": "accuracy", "value_range": [0.0, 255.0]}
    with opened(tmp_path / "new", new, SPACE.distributions(), resume=False) as journal:
        drive(journal, sampling(), InProcess(evaluate), Limits(trials=1))
    other = new | {"quality": "auc", "value_range": [0.0, 1.0]}
    differs = r'quality \("accuracy", now "auc"\), value_range \(\[0.0, 255.0\], now \[0.0, 1.0\]\)'
    with (
        pytest.raises(SearchError, match=differs),
        opened(tmp_path / "new", other, SPACE.distributions(), resume=True),
    ):
        pass
    assert read_identity(tmp_path / "new") == new


@pytest.mark.parametrize("resume", [False, True])
def test_folder_whose_search_has_no_trial_yet_takes_another_one(resume: bool, tmp_path: Path) -> None:
    with opened(tmp_path, identity(seed=1), SPACE.distributions(), resume=False):
        pass  # as where nothing can meet its budgets
    with opened(tmp_path, identity(seed=2), SPACE.distributions(), resume=resume) as journal:
        assert len(drive(journal, sampling(seed=2), InProcess(evaluate), Limits(trials=1))) == 1
    assert json.loads((tmp_path / "search.json").read_text())["seed"] == 2


_KILLED_WRITE = """
import os, signal, sys
from pathlib import Path
from edgefm.core import artefacts
from tests.fixtures.search_driver import searched
sync, write = os.fsync, artefacts.write_json
def killed(path, value):
    if path.name == sys.argv[2]:
        os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
    return write(path, value)
artefacts.write_json = killed
searched(Path(sys.argv[1]), trials=1)
"""


@pytest.mark.parametrize("name", [".driver.json", "search.json"])
def test_folder_whose_first_file_was_being_written_when_its_process_was_killed_is_begun(
    name: str, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    ended = subprocess.run([sys.executable, "-c", _KILLED_WRITE, str(folder), name], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL and list(folder.glob(f".{name}.*.partial"))
    with pytest.raises(SearchError, match="Leave resume out to begin one"):
        searched(folder, trials=1, resume=True)
    assert len(searched(folder, trials=1)) == 1 and not list(folder.glob("*.partial"))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / ".notes.abcd1234.partial").touch()
    with pytest.raises(SearchError, match="holds something else"):
        searched(tmp_path / "b", trials=1)


def test_search_is_neither_begun_over_another_nor_resumed_from_nothing(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="holds no search to go on with"):
        searched(tmp_path / "new", trials=1, resume=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    with pytest.raises(SearchError, match=r"holds something else: 'notes\.txt'"):
        searched(tmp_path / "full", trials=1)
    (tmp_path / "file").touch()
    with pytest.raises(SearchError, match="is a file"):
        searched(tmp_path / "file", trials=1)
    searched(tmp_path / "begun", trials=1)
    with pytest.raises(SearchError, match="holds this search already"):
        searched(tmp_path / "begun", trials=1)


# ---- time


def test_time_limit_counts_the_processes_before_and_no_clock_that_jumps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Jumping(datetime):
        """A clock of the machine that is set by days at every look."""

        days = itertools.cycle((-400, 400))

        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.fromtimestamp(0, tz) + timedelta(days=next(cls.days) + 500)

    import optuna.storages.journal._storage as storage

    monkeypatch.setattr(storage, "datetime", Jumping)
    monkeypatch.setattr(time, "time", lambda: Jumping.now(UTC).timestamp())
    ticks = itertools.count()

    def run(*, seconds: float, resume: bool) -> int:
        with opened(tmp_path, identity(), SPACE.distributions(), resume=resume) as journal:
            limits = Limits(trials=100, seconds=seconds)
            return len(drive(journal, sampling(), InProcess(evaluate), limits, clock=lambda: float(next(ticks))))

    first = run(seconds=20, resume=False)
    assert 3 <= first <= 10
    assert run(seconds=20, resume=True) == first  # the time was used up before
    assert run(seconds=40, resume=True) > first


_KILLED_IN_A_TRIAL = """
import sys, time
from pathlib import Path
from edgefm.searching import driver
from tests.fixtures.search_driver import searched
driver._COUNT_SECONDS = 0.1
searched(Path(sys.argv[1]), trials=9, resume=sys.argv[2] == "resume", seconds=60.0)
"""


def test_time_limit_counts_processes_that_were_killed_within_their_trial(tmp_path: Path) -> None:
    """The test's own clock says how long they searched, from their first line on."""

    def lines() -> int:
        """Trials that were begun."""
        journal = tmp_path / "journal.log"
        return journal.read_text().count('"user_attrs":{"index"') if journal.exists() else 0

    took = 0.0
    for resume in ("begin", "resume"):
        began = lines()
        process = subprocess.Popen([sys.executable, "-c", _KILLED_IN_A_TRIAL, str(tmp_path), resume], cwd=ROOT)
        while lines() == began:
            assert process.poll() is None
            time.sleep(0.01)
        started = time.monotonic()
        time.sleep(1.5)
        process.kill()
        took += time.monotonic() - started
        process.wait()
    with opened(tmp_path, identity(), SPACE.distributions(), resume=True) as journal:
        assert drive(journal, sampling(), InProcess(evaluate), Limits(trials=9, seconds=took - 1.0)) == ()
        assert took - 1.0 < journal.elapsed < took + 1.0


def test_disk_that_is_full_when_time_is_counted_ends_the_search_and_damages_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optuna.storages.journal import JournalFileBackend

    append = JournalFileBackend.append_logs

    def half(self: Any, logs: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            with Path(self._file_path).open("ab") as file:
                file.write(b'{"op_code": ')  # all that there is room for
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(self, logs)

    with monkeypatch.context() as patched:
        patched.setattr(JournalFileBackend, "append_logs", half)
        patched.setattr(driver, "_COUNT_SECONDS", 0.05)
        with pytest.raises(OSError, match="No space left"):
            searched(tmp_path / "a", trials=3, seconds=0.3)
    assert _compared(searched(tmp_path / "a", trials=3, resume=True)) == _compared(searched(tmp_path / "b", trials=3))


def test_journal_of_a_newer_description_is_refused(tmp_path: Path) -> None:
    searched(tmp_path, trials=1)
    path = tmp_path / journals.IDENTITY_FILE
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 9'))
    with pytest.raises(SearchError, match="schema_version is 9; 1 is expected"):
        in_folder(tmp_path)


# ---- the result


def test_result_says_of_each_budget_whether_and_by_which_file_it_is_met(tmp_path: Path) -> None:
    result = search_result()
    check_schema(result, "search-result-1", where="it")
    (tmp_path / "front.json").write_text(json.dumps(result))
    opened_again = SearchResult.open(tmp_path)
    assert opened_again.met == {"phone": True, "watch": False} and not opened_again.held
    assert opened_again.lines == (
        "phone: met by phone/model.tflite",
        "watch: not met; the nearest is watch/model.tflite: max_download_bytes is 2.0 KB, it has 5.0 KB",
    )
    assert opened_again.files["watch"] == tmp_path / "models" / "watch" / "model.tflite"


def test_budget_that_lacks_only_the_time_on_its_board_waits_and_one_that_lacks_more_is_not_met() -> None:
    asked = {"b": {"max_p50_us": 5, "target": "ssh://pi@board", "max_size_bytes": 9}}
    (wanted,) = budgets.parse(asked, where="b")
    away = {"p50_us@ssh://pi@board": None}
    waiting = budget_entry(wanted, {"size_bytes": 9, **away}, None)
    assert not waiting["met"] and "was not measured on ssh://pi@board" in conclusion(waiting)
    large = budget_entry(wanted, {"size_bytes": 10, **away}, None)
    assert not large["met"] and "not met; the nearest" in conclusion(large) and "that is not known" in conclusion(large)
    assert budget_entry(wanted, {"size_bytes": 9, "p50_us@ssh://pi@board": 5.0}, None)["met"]


def test_time_on_a_board_stays_until_it_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = "ssh://pi@board"
    limit = {"max_p50_us": 9, "target": board}
    wanted = budgets.parse({"phone": limit, "watch": limit}, where="b")
    (tmp_path / "front.json").write_text(json.dumps(search_result() | {"waiting": {board: "it was off"}}))

    def again(fails: Mapping[str, str], us: float = 0.0) -> SearchResult:
        def rows(models: Any, **_: Any) -> dict[str, Any]:
            if not us:
                raise TargetError("it was off")
            took = {"status": "ok", "latency_ns": {"p50": {"value": 1000 * us}}}
            failed = {one.name: {"status": "failed", "reason": fails.get(one.name)} for one in models}
            return {"models": [{"name": name, **(row if name in fails else took)} for name, row in failed.items()]}

        monkeypatch.setattr(measuring, "benchmark_files", rows)
        assert ending.measure_waiting(tmp_path, wanted, BenchmarkProtocol())
        return SearchResult.open(tmp_path)

    some = again({"float32": "too large", "phone": "unknown operator"}, us=8)
    assert some.met == {"phone": False, "watch": True}
    assert some.waiting == {board: "float32: too large; phone: unknown operator"}
    assert "phone/model.tflite is proposed, and was not measured on ssh://pi@board; that is tried" in some.lines[0]
    off = again({})
    assert off.met == some.met and off.waiting == {board: "it was off"}
    assert off.document["budgets"][1]["figures"][f"p50_us@{board}"] == 8
    assert again({}, us=10).met == {"phone": False, "watch": False} and not SearchResult.open(tmp_path).waiting


def test_board_whose_worker_ends_before_it_has_a_file_is_measured_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real worker, killed by what its machine would kill it by: it still answers whether it is there."""

    class Board:
        """This machine by another name, which is asked for its environment first."""

        name = "ssh://pi@board"

        def __getattr__(self, name: str) -> Any:
            return getattr(targets.target("host"), name)

    request = WorkerProcess.request

    def killed_first(worker: WorkerProcess, command: str, **options: Any) -> Any:
        if command == "environment":
            worker.ready()
            os.kill(worker.pid, signal.SIGKILL)
        return request(worker, command, **options)

    monkeypatch.setattr(harness, "target_at", lambda address: Board())
    monkeypatch.setattr(WorkerProcess, "request", killed_first)
    (tmp_path / "a.tflite").write_bytes(b"it is never looked at")
    notes = Notes()
    there = measuring.measured_on(
        [Board.name], {"a": tmp_path / "a.tflite"}, BenchmarkProtocol(), out=tmp_path, progress=notes
    )
    assert there.p50_us == {"a": {}} and "SIGKILL" in there.waiting[Board.name]
    assert any(note.startswith(f"not measured on {Board.name}: ") for note in notes.notes)


def test_former_result_stays_until_the_new_one_is_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_picture(result: Any) -> bytes:
        raise RuntimeUnavailableError("matplotlib is not installed")

    monkeypatch.setattr(ending.finals, "written", lambda *_, **__: {})
    monkeypatch.setattr(ending.finals, "measured", lambda *_, **__: {})
    monkeypatch.setattr(ending, "front_png", no_picture)
    quality = SimpleNamespace(name="accuracy", unit="%")
    task = SimpleNamespace(quality=quality, dataset=SimpleNamespace(test=[0]))
    evaluator: Any = SimpleNamespace(
        source=SimpleNamespace(name="m", task=task), space=SPACE, given=SimpleNamespace(inputs=[0])
    )

    def again() -> None:
        about: Any = {"budgets": search_driver.BUDGETS, "impossible": {}, "identity": identity(), "arena": False}
        ending.finish(tmp_path / "r", evaluator, [], [], {}, seeds=0, epochs=8, protocol=BenchmarkProtocol(), **about)

    again()
    rmtree, seen = shutil.rmtree, []

    def looking(path: Path, **options: bool) -> None:
        rmtree(path, **options)
        seen.append((tmp_path / "r" / "front.json").exists())

    monkeypatch.setattr(shutil, "rmtree", looking)
    again()
    assert seen and all(seen) and [path.name for path in tmp_path.iterdir()] == ["r"]


def test_result_is_finished_where_it_is_whole_and_has_the_seeds_that_are_wanted(tmp_path: Path) -> None:
    result, path = search_result(), tmp_path / "front.json"
    params = sampling().choose(0, [])
    assert params is not None
    outcome = replace(evaluate(Task(index=0, params=params, known=())), complete=True)
    trial = Trial(index=0, params=params, state="finished", outcome=outcome)
    trials = [replace(trial, index=index) for index in range(6)]
    assert not is_finished(path, seeds=0, trials=trials)
    path.write_text(json.dumps(result))
    assert [is_finished(path, seeds=seeds, trials=trials) for seeds in (0, 2, 3)] == [True, True, False]
    assert not is_finished(path, seeds=0, trials=[*trials, replace(trial, index=6)]), "it is of fewer trials"
    path.write_text(json.dumps(result | {"finalists": []}))  # both seeds failed
    assert [is_finished(path, seeds=seeds, trials=trials) for seeds in (0, 2, 3)] == [True, True, False]
    path.write_text(json.dumps(result | {"finalists": [], "seeds": 0}))
    assert [is_finished(path, seeds=seeds, trials=trials) for seeds in (0, 1)] == [True, False]
    before = {name: value for name, value in result.items() if name != "seeds"}  # the finalists say it
    path.write_text(json.dumps(before))
    assert [is_finished(path, seeds=seeds, trials=trials) for seeds in (2, 3)] == [True, False]
    nothing = {"ended": 0, "complete": 0, "failed": 0, "seconds": 0.0}
    path.write_text(json.dumps(result | {"finalists": [], "trials": nothing}))
    assert is_finished(path, seeds=1, trials=[])  # nothing that could be trained
    path.write_text(json.dumps(result)[:1000])
    assert not is_finished(path, seeds=0, trials=trials)


def test_page_holds_each_figure_and_no_markup_of_a_name() -> None:
    result = search_result() | {"model": "<script>"}
    text = page(result, picture=True)
    assert "<script>" not in text and "- **watch: not met; the nearest is" in text
    assert "| phone" in text and "5.0 KB" in text and "![Loss" in text
    assert front_png(result).startswith(b"\x89PNG")


def test_front_of_a_result_is_what_no_trial_beats() -> None:
    result = search_result()
    points = {entry["trial"]: entry["figures"] for entry in (*result["front"], *result["others"])}
    names = ("accuracy_loss", "p50_ratio", "download_bytes")
    beaten = {
        trial
        for trial, own in points.items()
        if any(all(other[n] <= own[n] for n in names) and other != own for other in points.values())
    }
    assert {entry["trial"] for entry in result["others"]} == beaten
    assert 0 < result["volume"] < 1


def test_nearest_of_a_budget_that_nothing_keeps_exceeds_it_least() -> None:
    trials = [_ended(index) for index in range(6)]
    small, loose = budgets.parse(
        {"small": {"max_download_bytes": 1}, "loose": {"max_download_bytes": 20_000}}, where="b"
    )
    nearest, best = proposed(trials, small), proposed(trials, loose)
    assert nearest is not None and best is not None
    assert nearest.figures["download_bytes"] == min(trial.figures["download_bytes"] or 0 for trial in trials)
    assert best.figures["accuracy_loss"] == min(trial.figures["accuracy_loss"] or 0 for trial in trials)
    assert proposed([], loose) is None


@pytest.mark.parametrize(("loss", "index"), [(1.34, 1), (2.2, 1), (3.0, 0)])
def test_nearest_is_what_training_may_still_bring_within_the_limits(loss: float, index: int) -> None:
    """A finalist loses less than its trial, and is no faster."""
    (phone,) = budgets.parse({"phone": {"max_p50_ratio": 0.15, "max_accuracy_loss": 1.0}}, where="b")
    slow, fast, kept = (
        replace(_ended(place), outcome=Outcome(stages=(Stage(epochs=8, figures=figures),), complete=True))
        for place, figures in enumerate(
            {"accuracy_loss": lost, "p50_ratio": ratio, "download_bytes": 9}
            for lost, ratio in ((0.87, 0.17), (loss, 0.141), (0.99, 0.15))
        )
    )
    nearest = proposed([slow, fast], phone)
    assert nearest is not None and nearest.index == index
    assert proposed([slow, fast, kept], phone) == kept
