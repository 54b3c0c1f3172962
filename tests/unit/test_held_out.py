"""What a model is trained from may have learnt its validation and test samples: that is said, and how it is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgefm import schemas
from edgefm.core.runs import RunDirectory, Step
from edgefm.jobs.explain.held_out import UNKNOWN, Seen, remarks_on_held_out, seen_before
from edgefm.recipes import Distillation, Training
from edgefm.report.explanation import words
from tests.fixtures.explanations import explanation_document

OURS, OTHERS = "a" * 64, "b" * 64


def _run(
    path: Path, recipe: Training, *, dataset: str = OURS, where: str = "/ours", train: int = 240, side: int = 28
) -> Step:
    """Return the step of a new run, entered as after a training of `recipe`; its model is no real one."""
    run = RunDirectory.create_at(path)
    with run.lock():
        folder = run.begin("train")
        (folder / "model.keras").write_bytes(b"model")
        return run.finish(
            folder,
            key=path.name,
            seconds=1.0,
            recipe=recipe.to_json(),
            inputs={"dataset": dataset},
            summary={
                "data": {"where": where},
                "dataset": {"name": "ours", "classes": 3, "train": train, "validation": 30, "test": 30},
                "input_shape": [side, side, 1],
            },
        )


def _from(path: Path, how: str) -> Training:
    file = str(path / "00-train" / "model.keras")
    if how == "teacher":
        return Training(distillation=Distillation(teachers=(file,)))
    return Training(pretrained=file) if how == "pretrained weights" else Training(model=file)


@pytest.mark.parametrize("how", ["start model", "pretrained weights", "teacher"])
def test_validation_samples_that_were_learnt_before_are_told(how: str, tmp_path: Path) -> None:
    _run(tmp_path / "rv", Training(with_validation=True))
    step = _run(tmp_path / "rv2", _from(tmp_path / "rv", how))
    assert seen_before(step) == Seen(learnt=(f"the {how} rv/00-train/model.keras",))
    (remark,) = remarks_on_held_out(step)
    assert f"had been learnt by the {how} rv/00-train/model.keras" in remark
    # And by what goes on from that.
    third = _run(tmp_path / "rv3", _from(tmp_path / "rv2", how))
    assert seen_before(third).learnt == (f"the {how} rv2/00-train/model.keras",)


def test_a_model_of_the_same_cut_has_not_seen_what_is_held_out(tmp_path: Path) -> None:
    _run(tmp_path / "first", Training())
    assert seen_before(_run(tmp_path / "second", _from(tmp_path / "first", "start model"))) == Seen()
    _run(tmp_path / "small", Training(with_validation=True), dataset=OTHERS, side=14)
    resized = _run(tmp_path / "third", _from(tmp_path / "small", "teacher"))
    assert seen_before(resized).learnt, "the same pictures in another size"


def test_a_folder_into_which_pictures_came_was_cut_anew(tmp_path: Path) -> None:
    _run(tmp_path / "may", Training(), dataset=OTHERS, train=235)
    seen = seen_before(_run(tmp_path / "june", _from(tmp_path / "may", "start model")))
    assert not seen.learnt
    ((name, reason),) = seen.may_have_learnt
    assert name == "the start model may/00-train/model.keras" and "before they changed" in reason


def test_other_data_are_no_matter_and_foreign_files_are_not_known(tmp_path: Path) -> None:
    _run(tmp_path / "other", Training(with_validation=True), dataset=OTHERS, where="/others")
    assert seen_before(_run(tmp_path / "one", _from(tmp_path / "other", "start model"))) == Seen()
    foreign = _run(tmp_path / "two", Training(model=str(tmp_path / "mine.keras")))
    assert seen_before(foreign) == Seen(may_have_learnt=(("the start model mine.keras", UNKNOWN),))


def test_words_and_page_say_it() -> None:
    from edgefm.report.write_explanation import build

    document = explanation_document()
    seen = Seen(learnt=("the teacher <b>big</b>",), may_have_learnt=(("the start model m.keras", UNKNOWN),))
    document["data"] |= seen.to_json()
    schemas.validate(document, "explanation-1")
    lines = words.findings(document)
    assert "had been learnt by the teacher <b>big</b>" in lines[0]
    assert "may have been learnt by the start model m.keras (training data unknown)" in lines[2]
    page = build(document, pictures={}, maps={})["index.html"].decode()
    assert "may have been learnt by the start model m.keras" in page and "<b>big" not in page
