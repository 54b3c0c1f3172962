import ast
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from edgefm.core import artefacts, runs
from edgefm.core.errors import RunError
from edgefm.core.runs import RunDirectory
from edgefm.quantization.bring import bring_model
from tests.fixtures import tiny_models


def finish(run: RunDirectory, kind: str, *, key: str = "k", content: str = "x") -> runs.Step:
    with run.lock():
        folder = run.begin(kind)
        (folder / "file.txt").write_text(content)
        return run.finish(folder, key=key, seconds=1.0, recipe={}, inputs={}, summary={})


def test_step_is_numbered_listed_and_found_again(tmp_path: Path) -> None:
    run = RunDirectory.create_at(tmp_path / "run")
    first = finish(run, "train", key="a")
    second = finish(run, "quantize", key="b")
    assert [first.name, second.name] == ["00-train", "01-quantize"]
    again = RunDirectory.open(run.path)
    assert again.steps() == (first, second)
    assert again.last("train") == first
    assert again.find("b") == second
    assert again.find("other") is None
    assert first.outputs[0].sha256 == artefacts.sha256_bytes(b"x")


def test_find_ignores_step_whose_file_was_cut(tmp_path: Path) -> None:
    run = RunDirectory.create_at(tmp_path / "run")
    step = finish(run, "train", key="a", content="whole")
    (run.folder(step) / "file.txt").write_text("wh")
    assert run.find("a") is None
    (run.folder(step) / "file.txt").write_text("whale"[:5])
    assert run.find("a") is None


def test_begin_clears_a_killed_attempt_unless_kept(tmp_path: Path) -> None:
    run = RunDirectory.create_at(tmp_path / "run")
    (run.begin("train") / "checkpoint").write_text("1")
    assert (run.begin("train", keep=True) / "checkpoint").exists()
    assert not (run.begin("train") / "checkpoint").exists()
    assert run.steps() == ()


def test_killed_attempt_is_found_and_goes_on_behind_steps_that_were_finished_since(tmp_path: Path) -> None:
    run = RunDirectory.create_at(tmp_path / "run")
    finish(run, "train", key="a")
    (run.begin("train", keep=True) / "checkpoint").write_text("1")
    finish(run, "quantize", key="b")
    assert (run.partial("train") / "checkpoint").exists()
    with run.lock():
        folder = run.begin("train", keep=True)
        run.finish(folder, key="c", seconds=1.0, recipe={}, inputs={}, summary={})
    assert [step.name for step in run.steps()] == ["00-train", "01-quantize", "02-train"]
    assert sorted(path.name for path in run.path.glob("*-train*")) == ["00-train", "02-train"]


def test_newest_of_several_killed_attempts_goes_on(tmp_path: Path) -> None:
    run = RunDirectory.create_at(tmp_path / "run")
    for name in ("09-train.partial", "101-train.partial", "11-train.partial"):  # a former edgefm began beside it
        (run.path / name).mkdir()
    assert run.partial("train").name == "101-train.partial"


def test_run_in_use_by_another_process_is_refused(tmp_path: Path) -> None:
    run = RunDirectory.create_at(tmp_path / "run")
    holder = (
        "import sys\nfrom pathlib import Path\nfrom edgefm.core.runs import RunDirectory\n"
        "with RunDirectory.open(Path(sys.argv[1])).lock():\n print('held', flush=True)\n sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="in use by another edgefm process"), run.lock():
            pass
        process.communicate("")
    with run.lock():
        pass


def test_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    run = RunDirectory.create_at(tmp_path / "run")
    manifest = run.path / "manifest.json"
    manifest.write_text(json.dumps({"schema_version": 99, "created": "", "steps": []}))
    before = manifest.read_bytes()
    with pytest.raises(RunError, match="schema version 99; this edgefm reads up to 1"):
        RunDirectory.open(run.path)
    assert manifest.read_bytes() == before


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"], ids=["empty", "cut", "list", "no version"])
def test_damaged_manifest_is_refused(tmp_path: Path, content: str) -> None:
    run = RunDirectory.create_at(tmp_path / "run")
    (run.path / "manifest.json").write_text(content)
    with pytest.raises(RunError, match="damaged"):
        RunDirectory.open(run.path)


def test_open_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run at"):
        RunDirectory.open(tmp_path / "nothing")
    with pytest.raises(RunError, match="is not a run"):
        RunDirectory.open(tmp_path)
    with pytest.raises(RunError, match="no run in"):
        RunDirectory.latest(tmp_path)
    with pytest.raises(RunError, match="has no finished 'quantize' step"):
        RunDirectory.create_at(tmp_path / "run").require("quantize")


def test_create_at_refuses_a_folder_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(RunError, match="is not empty"):
        RunDirectory.create_at(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "important"


def test_step_key_depends_on_everything_that_decides_the_result() -> None:
    base = {"recipe": {"seed": 0}, "inputs": {"data": "a"}, "versions": {"keras": "3"}}
    keys = {
        runs.step_key("train", **base),
        runs.step_key("quantize", **base),
        runs.step_key("train", **{**base, "recipe": {"seed": 1}}),
        runs.step_key("train", **{**base, "inputs": {"data": "b"}}),
        runs.step_key("train", **{**base, "versions": {"keras": "4"}}),
    }
    assert len(keys) == 5
    assert runs.step_key("train", **base) in keys


def begun(run: RunDirectory) -> Path:
    folder = run.begin("train")
    (folder / "model").write_text("weights")
    (folder / "checkpoint").write_text("state")
    return folder


def test_finish_that_fails_at_the_manifest_leaves_the_partial_step_with_its_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory.create_at(tmp_path / "run")
    arguments = {"key": "k", "seconds": 1.0, "recipe": {}, "inputs": {}, "summary": {}, "scratch": ("checkpoint",)}

    def full(path: Path, value: object) -> None:
        raise OSError(28, "No space left on device")

    with run.lock():
        folder = begun(run)
        with monkeypatch.context() as patch:
            patch.setattr(artefacts, "write_json", full)
            with pytest.raises(OSError, match="No space left"):
                run.finish(folder, **arguments)
        assert sorted(path.name for path in folder.iterdir()) == ["checkpoint", "model"]
        step = run.finish(folder, **arguments)
    assert [output.path for output in step.outputs] == ["00-train/model"]
    assert [path.name for path in run.folder(step).iterdir()] == ["model"]


def test_step_renamed_by_a_process_that_died_before_the_manifest_is_partial_again(tmp_path: Path) -> None:
    run = RunDirectory.create_at(tmp_path / "run")
    with run.lock():
        folder = begun(run)
        folder.rename(run.path / "00-train")  # killed here
    with run.lock():
        assert sorted(path.name for path in run.partial("train").iterdir()) == ["checkpoint", "model"]
        finished = run.finish(run.begin("train", keep=True), key="k", seconds=1.0, recipe={}, inputs={}, summary={})
    with run.lock():
        assert run.steps() == (finished,)
        assert run.folder(finished).is_dir()


def test_run_is_made_where_a_process_that_was_killed_had_begun_to_make_it(tmp_path: Path) -> None:
    (tmp_path / ".manifest.json.x_3kq9ab.partial").write_text('{"schema')
    (tmp_path / ".lock").touch()
    assert RunDirectory.create_at(tmp_path).steps() == ()


def test_run_that_another_process_makes_meanwhile_is_kept(tmp_path: Path) -> None:
    step = finish(RunDirectory.create_at(tmp_path / "run"), "train")
    assert RunDirectory.create_at(tmp_path / "run").steps() == (step,)


def test_latest_run_is_not_guessed_where_the_clock_was_set_back(tmp_path: Path) -> None:
    first, second = (RunDirectory.create_at(tmp_path / name) for name in ("first", "second"))
    an_hour_ahead = time.time() + 3600
    os.utime(first.path / "manifest.json", (an_hour_ahead, an_hour_ahead))
    with pytest.raises(RunError, match=r"first was changed in the future") as caught:
        RunDirectory.latest(tmp_path)
    assert caught.value.hint == "Name the folder of the run."
    os.utime(first.path / "manifest.json", (0, 0))
    assert RunDirectory.latest(tmp_path).path == second.path
    os.utime(second.path / "manifest.json", (an_hour_ahead, an_hour_ahead))
    (first.path / "manifest.json").unlink()
    assert RunDirectory.latest(tmp_path).path == second.path, "a single one is the latest, whenever it was changed"


def test_no_duration_or_deadline_is_told_by_the_wall_clock() -> None:
    root = Path(__file__).parent.parent.parent
    used = [
        f"{path.relative_to(root)}:{node.lineno}"
        for folder in ("edgefm", "converters")
        for path in sorted((root / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in {("time", "time"), ("time", "time_ns"), ("datetime", "utcnow")}
    ]
    assert used == [], "time.monotonic and time.perf_counter do not jump"


def test_run_that_another_process_has_just_begun_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(tiny_models.relu())
    make, held = RunDirectory.create_at, []

    def other_is_faster(path: Path) -> RunDirectory:
        run = make(path)
        held.append(FileLock(path / ".lock"))
        held[0].acquire()
        return run

    monkeypatch.setattr(RunDirectory, "create_at", other_is_faster)
    with pytest.raises(RunError, match="in use by another edgefm process"):
        bring_model(tmp_path / "run", model)
    held[0].release()
    assert RunDirectory.open(tmp_path / "run").steps() == ()


@pytest.mark.parametrize(
    "name", ["report", ".lock", "01-quantize.partial", "passes", "00-train/model.keras", "00-train/deeper/labels.txt"]
)
@pytest.mark.parametrize("target", ["elsewhere", "missing", "{name}"])
def test_run_with_a_link_that_leaves_it_is_refused_and_nothing_behind_it_touched(
    name: str, target: str, tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "precious").write_text("mine")
    run = RunDirectory.create_at(tmp_path / "run").path
    link = run / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(link.name if target == "{name}" else tmp_path / target)
    with pytest.raises(RunError, match=f"holds {re.escape(name)}, a link that leaves its folder"):
        RunDirectory.open(run)
    assert (other / "precious").read_text() == "mine" and len(list(other.iterdir())) == 1


def test_lock_that_is_a_link_is_not_followed_when_a_run_is_made(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/.lock").symlink_to(victim)
    with pytest.raises(RunError, match="a link that leaves its folder"):
        RunDirectory.create_at(tmp_path / "run")
    assert victim.read_text() == "mine"


def test_run_behind_a_link_and_links_within_a_run_are_allowed(tmp_path: Path) -> None:
    run = RunDirectory.create_at(tmp_path / "run").path
    (run / "report-old").symlink_to(run / "report")
    (tmp_path / "mine").symlink_to(run)
    assert RunDirectory.open(tmp_path / "mine").steps() == ()
