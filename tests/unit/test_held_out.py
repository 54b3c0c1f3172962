"""What a model is trained from may have learnt its validation and test samples: that is said, and how it is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgefm import schemas
from edgefm.core.runs import RunDirectory, Step
from edgefm.data.dataset import Dataset, Split
from edgefm.data.own.load import load_data
from edgefm.jobs.to_learn.held_out import UNKNOWN, Learner, Seen, remarks, seen_before, seen_by_file
from edgefm.recipes import Distillation, Training
from edgefm.report.explanation import words
from edgefm.training import split_record
from tests.fixtures.explanations import explanation_document

OURS, OTHERS = "a" * 64, "b" * 64


def _run(
    path: Path,
    recipe: Training,
    *,
    dataset: str = OURS,
    where: str = "/ours",
    train: int = 240,
    side: int = 28,
    samples: Dataset | None = None,
) -> tuple[RunDirectory, Step]:
    """Return a new run and its step, entered as after a training of `recipe`; its model is no real one."""
    run = RunDirectory.create_at(path)
    with run.lock():
        folder = run.begin("train")
        (folder / "model.keras").write_bytes(b"model")
        if samples is not None:
            split_record.write(folder, samples)
        return run, run.finish(
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
    second = _run(tmp_path / "rv2", _from(tmp_path / "rv", how))
    assert seen_before(*second) == Seen(learnt=(f"the {how} rv/00-train/model.keras",))
    (remark,) = remarks(seen_before(*second))
    assert f"had been learnt by the {how} rv/00-train/model.keras" in remark
    # And by what goes on from that.
    third = _run(tmp_path / "rv3", _from(tmp_path / "rv2", how))
    assert seen_before(*third).learnt == (f"the {how} rv2/00-train/model.keras",)


def test_a_model_of_the_same_cut_has_not_seen_what_is_held_out(tmp_path: Path) -> None:
    _run(tmp_path / "first", Training())
    assert seen_before(*_run(tmp_path / "second", _from(tmp_path / "first", "start model"))) == Seen()
    _run(tmp_path / "small", Training(with_validation=True), dataset=OTHERS, side=14)
    resized = _run(tmp_path / "third", _from(tmp_path / "small", "teacher"))
    assert seen_before(*resized).learnt, "the same pictures in another size"


def test_a_folder_into_which_pictures_came_was_cut_anew(tmp_path: Path) -> None:
    _run(tmp_path / "may", Training(), dataset=OTHERS, train=235)
    seen = seen_before(*_run(tmp_path / "june", _from(tmp_path / "may", "start model")))
    assert not seen.learnt
    ((name, reason),) = seen.may_have_learnt
    assert name == "the start model may/00-train/model.keras" and "before they changed" in reason


def _pictures(folder: Path, numbers: range) -> Dataset:
    """Write a picture of each number into two class folders, and return the folder's data set."""
    for number in numbers:
        path = folder / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (6, 7, 3), np.uint8)).save(path)
    return load_data(str(folder), input_shape=(6, 7, 3))


def _equal(held: Split, *learnt: Split) -> int:
    known = {image.tobytes() for split in learnt for image in split.images}
    return sum(image.tobytes() in known for image in held.images)


@pytest.mark.parametrize("with_validation", [False, True])
def test_samples_that_were_learnt_are_counted_when_a_folder_has_grown(with_validation: bool, tmp_path: Path) -> None:
    """The oracle compares all bytes of all pictures."""
    before = _pictures(tmp_path / "pictures", range(200))
    after = _pictures(tmp_path / "pictures", range(200, 211))
    learnt = (before.train, before.validation) if with_validation else (before.train,)
    wanted = Learner(
        name="the start model may/00-train/model.keras",
        validation=_equal(after.validation, *learnt),
        validation_of=len(after.validation),
        test=_equal(after.test, *learnt),
        test_of=len(after.test),
    )
    assert wanted.validation and wanted.test, "the folder was cut anew"
    # Where the pictures lie is no matter, and what is between them neither.
    _run(
        tmp_path / "may", Training(with_validation=with_validation), where="/elsewhere", dataset=OTHERS, samples=before
    )
    june = _run(tmp_path / "june", _from(tmp_path / "may", "start model"), samples=after)
    assert seen_before(*june) == Seen(learnt_some=(wanted,))
    july = _run(tmp_path / "july", _from(tmp_path / "june", "start model"), samples=after)
    ((found,), told) = seen_before(*july).learnt_some, remarks(seen_before(*july))
    assert (found.validation, found.test) == (wanted.validation, wanted.test)
    assert told[0].startswith(
        f"{wanted.validation} of the {wanted.validation_of} validation samples and {wanted.test} of the "
        f"{wanted.test_of} test samples had been learnt by the start model june/00-train/model.keras"
    )
    (of_file,) = seen_by_file(tmp_path / "may" / "00-train" / "model.keras", after).learnt_some
    assert of_file == replace(wanted, name="the model may/00-train/model.keras")


def test_a_recorded_cut_that_is_the_same_says_nothing_but_of_validation_samples_that_were_learnt(
    tmp_path: Path,
) -> None:
    samples = _pictures(tmp_path / "pictures", range(60))
    _run(tmp_path / "first", Training(), samples=samples)
    assert seen_before(*_run(tmp_path / "second", _from(tmp_path / "first", "teacher"), samples=samples)) == Seen()
    _run(tmp_path / "rv", Training(with_validation=True), samples=samples)
    third = _run(tmp_path / "third", _from(tmp_path / "rv", "teacher"), samples=samples)
    assert seen_before(*third) == Seen(learnt=("the teacher rv/00-train/model.keras",))
    foreign = tmp_path / "mine.keras"
    assert seen_by_file(foreign, samples) == Seen(may_have_learnt=(("the model mine.keras", UNKNOWN),))


def test_other_data_are_no_matter_and_foreign_files_are_not_known(tmp_path: Path) -> None:
    _run(tmp_path / "other", Training(with_validation=True), dataset=OTHERS, where="/others")
    assert seen_before(*_run(tmp_path / "one", _from(tmp_path / "other", "start model"))) == Seen()
    foreign = _run(tmp_path / "two", Training(model=str(tmp_path / "mine.keras")))
    assert seen_before(*foreign) == Seen(may_have_learnt=(("the start model mine.keras", UNKNOWN),))


def test_words_and_page_say_it() -> None:
    from edgefm.report.write_explanation import build

    document = explanation_document()
    some = Learner(name="the start model <i>s</i>", validation=3, validation_of=30, test=1234, test_of=4000)
    seen = Seen(
        learnt=("the teacher <b>big</b>",), learnt_some=(some,), may_have_learnt=(("the start model m.keras", UNKNOWN),)
    )
    document["data"] |= seen.to_json()
    schemas.validate(document, "explanation-1")
    lines = words.findings(document)
    assert "had been learnt by the teacher <b>big</b>" in lines[0]
    assert "may have been learnt by the start model m.keras (training data unknown)" in lines[3]
    told = "3 of the 30 validation samples and 1,234 of the 4,000 test samples had been learnt by the start model <i>s"
    assert lines[1].startswith(told)
    page = build(document, pictures={}, maps={})["index.html"].decode()
    assert (
        "may have been learnt by the start model m.keras" in page
        and "<b>big" not in page
        and "1,234 of the 4,000" in page
    )
