"""What folds are trained from: what has seen their pictures is left out or refused, what may have is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgefm.core.errors import RecipeError
from edgefm.core.runs import RunDirectory, Step
from edgefm.jobs.explain.leakage import FoldRecipe, fold_recipe_of
from edgefm.recipes import Distillation, Training
from edgefm.report.explanation import words
from tests.fixtures.explanations import explanation_document
from tests.fixtures.notes import Notes

OURS, OTHERS = "a" * 64, "b" * 64
UNKNOWN = "training data unknown"


def _run(
    path: Path, recipe: Training | None = None, *, dataset: str = OURS, where: str | None = "/ours", kind: str = "train"
) -> Step:
    """Return the newest step of a run, entered as after a training of `recipe`; its model is no real one."""
    run = RunDirectory.open(path) if path.exists() else RunDirectory.create_at(path)
    with run.lock():
        folder = run.begin(kind)
        (folder / "model.keras").write_bytes(b"model")
        return run.finish(
            folder,
            key=f"{path.name}-{folder.name}",
            seconds=1.0,
            recipe=(recipe or Training()).to_json(),
            inputs={"dataset": dataset},
            summary={} if where is None else {"data": {"where": where}},
        )


def _taught(*teachers: Any, **others: Any) -> Training:
    return Training(distillation=Distillation(teachers=tuple(map(str, teachers))), **others)


def _folds(recipe: Training, tmp_path: Path) -> FoldRecipe:
    return fold_recipe_of(_run(tmp_path / "explained", recipe), Notes())


def test_a_training_of_new_weights_is_folded_as_it_is(tmp_path: Path) -> None:
    recipe = Training(model="basic_cnn", epochs=3)
    notes = Notes()
    assert fold_recipe_of(_run(tmp_path / "explained", recipe), notes) == FoldRecipe(training=recipe)
    assert not notes.notes


def test_folds_are_said_to_be_trained_without_the_callbacks_of_the_training(tmp_path: Path) -> None:
    step = _run(tmp_path / "explained")
    notes = Notes()
    fold_recipe_of(replace(step, inputs={**step.inputs, "callbacks": "EarlyStopping"}), notes)
    assert notes.notes == ["the models of the folds are trained without the callbacks of the training: EarlyStopping"]


@pytest.mark.parametrize("file", ["", "00-train/model.keras"])
def test_teacher_that_learnt_the_same_data_is_left_out_and_said(file: str, tmp_path: Path) -> None:
    _run(tmp_path / "big")
    notes = Notes()
    step = _run(tmp_path / "explained", _taught(tmp_path / "big" / file, epochs=3))
    found = fold_recipe_of(step, notes)
    assert found.training == Training(epochs=3) and not found.may_have_seen
    shown = f"the teacher {'big' if not file else 'big/00-train/model.keras'}"
    assert found.not_used == (shown,)
    assert notes.notes == [f"The folds are trained without {shown}, which has seen their pictures."]


def test_of_several_teachers_the_others_stay(tmp_path: Path) -> None:
    _run(tmp_path / "big")
    _run(tmp_path / "other", dataset=OTHERS, where="/others")
    (tmp_path / "foreign.keras").write_bytes(b"")
    names = (tmp_path / "other", tmp_path / "big", tmp_path / "foreign.keras")
    found = _folds(_taught(*names), tmp_path)
    assert found.training == _taught(names[0], names[2]) and found.not_used == ("the teacher big",)
    assert found.may_have_seen == (
        ("the teacher other", "trained on other data, by the record of run other"),
        ("the teacher foreign.keras", UNKNOWN),
    )


def test_pretrained_weights_of_the_same_data_are_drawn_anew(tmp_path: Path) -> None:
    _run(tmp_path / "big")
    weights = str(tmp_path / "big" / "00-train" / "model.keras")
    found = _folds(Training(pretrained=weights, frozen_epochs=2), tmp_path)
    assert found.training == Training()
    assert found.not_used == ("the pretrained weights big/00-train/model.keras",)


def test_foreign_weights_and_models_are_used_and_named(tmp_path: Path) -> None:
    recipe = Training(pretrained=str(tmp_path / "w.weights.h5"), frozen_epochs=1)
    found = _folds(recipe, tmp_path)
    assert found == FoldRecipe(training=recipe, may_have_seen=(("the pretrained weights w.weights.h5", UNKNOWN),))
    model = Training(model=str(tmp_path / "mine.keras"))
    found = _folds(model, tmp_path / "again")
    assert found == FoldRecipe(training=model, may_have_seen=(("the start model mine.keras", UNKNOWN),))


@pytest.mark.parametrize("place", ["00-train/model.keras", "passes/prune-1a2b/model.keras"])
def test_folds_of_a_model_that_goes_on_with_the_same_data_are_refused(place: str, tmp_path: Path) -> None:
    _run(tmp_path / "big")
    with pytest.raises(RecipeError, match="seen the pictures of every fold") as error:
        _folds(Training(model=str(tmp_path / "big" / place)), tmp_path)
    assert "new weights" in str(error.value.hint) and "--" not in str(error.value)


def test_the_same_pictures_in_another_size_are_the_same_data(tmp_path: Path) -> None:
    _run(tmp_path / "large", dataset=OTHERS)
    _run(tmp_path / "reference", dataset=OTHERS, where=None)
    weights = [str(tmp_path / name / "00-train" / "model.keras") for name in ("large", "reference")]
    assert _folds(Training(pretrained=weights[0]), tmp_path).not_used
    assert _folds(Training(pretrained=weights[1]), tmp_path / "again").may_have_seen
    fashion = _run(tmp_path / "fashion", Training(pretrained=weights[1]), where=None)
    assert fold_recipe_of(fashion, Notes()).not_used, "both are Fashion-MNIST"


def test_what_a_teacher_was_trained_from_counts(tmp_path: Path) -> None:
    _run(tmp_path / "first")
    (tmp_path / "foreign.keras").write_bytes(b"")
    other = {"dataset": OTHERS, "where": "/others"}
    _run(tmp_path / "second", Training(pretrained=str(tmp_path / "first" / "00-train" / "model.keras")), **other)
    _run(tmp_path / "third", Training(model=str(tmp_path / "foreign.keras")), **other)
    found = _folds(_taught(tmp_path / "second", tmp_path / "third"), tmp_path)
    assert found.not_used == ("the teacher second",) and found.may_have_seen == (("the teacher third", UNKNOWN),)


def test_each_training_of_a_run_has_a_record_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "run"
    _run(path, dataset=OTHERS, where="/others")
    step = _run(path, Training(model=str(path / "00-train" / "model.keras")))
    found = fold_recipe_of(step, Notes())
    assert found.may_have_seen == (
        ("the start model run/00-train/model.keras", "trained on other data, by the record of run run"),
    )
    third = _run(path, Training(model=str(path / "01-train" / "model.keras")), dataset=OTHERS, where="/others")
    with pytest.raises(RecipeError, match="01-train"):
        fold_recipe_of(third, Notes())
    assert _folds(_taught(path), tmp_path).not_used, "its newest began with one of ours"


def test_runs_that_name_each_other_end(tmp_path: Path) -> None:
    _run(tmp_path / "one", _taught(tmp_path / "two"), dataset=OTHERS, where="/others")
    _run(tmp_path / "two", _taught(tmp_path / "one"), dataset=OTHERS, where="/others")
    assert _folds(_taught(tmp_path / "one"), tmp_path).may_have_seen[0][1] == (
        "trained on other data, by the record of run one"
    )


@pytest.mark.parametrize("manifest", [None, "{", '{"name": "a web page"}', "imported"])
def test_without_a_record_that_can_be_read_nothing_is_known(manifest: str | None, tmp_path: Path) -> None:
    path = tmp_path / "it"
    if manifest == "imported":
        _run(path, kind="import")
    else:
        path.mkdir()
        if manifest is not None:
            (path / "manifest.json").write_text(manifest)
    (reason,) = {reason for _, reason in _folds(_taught(path / "00-train" / "model.keras"), tmp_path).may_have_seen}
    assert reason == UNKNOWN


def test_words_and_page_say_what_may_have_seen_the_pictures() -> None:
    from edgefm import schemas
    from edgefm.report.write_explanation import build

    document = explanation_document()
    document["folds"] |= {
        "not_used": ["the teacher <b>big</b>"],
        "may_have_seen": [{"name": "the pretrained weights w.h5", "reason": UNKNOWN}],
    }
    document["label_noise"]["basis"] = "out of fold, possibly seen"
    schemas.validate(document, "explanation-1")
    lines = words.findings(document)
    assert "The folds are trained without the teacher <b>big</b>, which has seen their pictures." in lines
    told = (
        "The pictures of the folds may have been seen by the pretrained weights w.h5 (training data unknown): accuracy "
        "may be too good, and wrong labels missed."
    )
    assert told in lines
    (labels,) = [line for line in lines if line.startswith("Labels to look at")]
    assert "may have seen them" in labels
    page = build(document, pictures={}, maps={})["index.html"].decode()
    assert page.count(told) == 2 and "<b>big" not in page and "out of fold, possibly seen" in page
