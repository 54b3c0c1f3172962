"""The file, the words, the pictures and the page of an explanation, on answers that are made up."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefm import schemas
from edgefm.core.errors import RunError
from edgefm.jobs.explain.answers import noise_part, pictures_part
from edgefm.jobs.explain.subject import Answers, as_pictures, chosen_places, probabilities_of
from edgefm.report.content import explanation as documents
from edgefm.report.drawing import style
from edgefm.report.explanation import words
from edgefm.report.explanation.figures import coloured_classes, explanation_figures
from edgefm.report.explanation.sheets import blended
from edgefm.report.write_explanation import build, shown_pictures
from tests.fixtures.explanations import explanation_document

LABELS = {
    "two": ("yes", "no"),
    "three": ("cat", "dog", "cow"),
    "hostile": ("<script>alert(1)</script>", "a$b_{c}$", "x" * 300, "line\nbreak \x1b[2J"),
    "twelve": tuple(f"class {index}" for index in range(12)),
    "hundred": tuple(str(index) for index in range(100)),
}


@pytest.mark.parametrize("kind", LABELS)
def test_document_keeps_its_schema_and_every_picture_and_the_page_are_drawn(kind: str, tmp_path: Path) -> None:
    document = explanation_document(LABELS[kind], count=max(60, 2 * len(LABELS[kind])))
    schemas.validate(document, "explanation-1")
    generator = np.random.default_rng(0)
    pictures = {place: generator.integers(0, 255, (9, 14, 3), np.uint8) for place in shown_pictures(document)}
    files = build(document, pictures=pictures, maps={})
    assert {"confusion.png", "calibration.png", "features.png", "most-wrong.png", "index.html"} <= set(files)
    assert all(content.startswith(b"\x89PNG") for name, content in files.items() if name.endswith(".png"))
    page = files["index.html"].decode()
    assert "<script" not in page and "Left out: Where the model looks: the model has no convolution" in page
    (tmp_path / documents.FILE_NAME).write_text(json.dumps(document))
    assert documents.read(tmp_path) == json.loads(json.dumps(document))


def test_texts_lie_inside_the_pictures() -> None:
    document = explanation_document(LABELS["hostile"])
    from edgefm.report.explanation.figures import calibration_figure, confusion_figure, features_figure

    for draw in (confusion_figure, calibration_figure, features_figure):
        for width in (style.WIDE, style.NARROW):
            with style.drawing():
                figure = draw(document, width)
                figure.canvas.draw()
                within = figure.bbox.expanded(1.01, 1.01)
                for axes in figure.axes:
                    box = axes.get_tightbbox()
                    assert box is not None
                    assert within.x0 <= box.x0 and box.x1 <= within.x1 and within.y0 <= box.y0 and box.y1 <= within.y1


@pytest.mark.filterwarnings("error")
def test_class_names_of_other_scripts_are_drawn_without_warnings() -> None:
    from edgefm.report.explanation.figures import confusion_figure

    with style.drawing():
        figure = confusion_figure(explanation_document(("鳥", "แมว")), style.WIDE)
        assert style.png(figure).startswith(b"\x89PNG")
        assert "鳥" in style.svg(figure, prefix="a", alt="classes")


def test_fonts_of_other_scripts_are_taken_where_they_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    monkeypatch.setattr(style, "OTHER_SCRIPTS", ("STIXGeneral", "No Such Font"))
    with style.drawing():
        assert matplotlib.rcParams["font.family"] == ["sans-serif", "STIXGeneral"]


def test_words_say_n_and_what_the_figures_are() -> None:
    document = explanation_document()
    lines = words.findings(document)
    right = document["confusion"]["right"]
    assert lines[0].startswith(f"made_up: {100 * right / 90:.1f} % of 90 validation samples are right")
    pair = document["confusion"]["pairs"][0]
    assert f"{pair['true']} taken for {pair['predicted']} ({pair['count']} of 30)" in lines[1]
    assert any("2 folds: accuracy 75.0 % on average" in line for line in lines)
    assert dict(words.left_out(document))["Calibration of float16"] == "it is damaged"
    for name in explanation_figures(document):
        assert "n = 90" in words.caption(name, document)


def _changed(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    document = copy.deepcopy(explanation_document())
    change(document)
    return document


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "matrix": (lambda d: d["confusion"]["matrix"].pop(), "confusion matrix is not 3 x 3"),
    "row": (lambda d: d["confusion"]["matrix"][1].append(0), "confusion matrix is not 3 x 3"),
    "points": (lambda d: d["features"]["points"]["pca"].pop(), "not as many as it says"),
    "class": (lambda d: d["features"]["points"]["true"].__setitem__(0, 3), "beyond the 3"),
    "bin": (lambda d: d["calibration"]["models"][0]["bins"][-1].update(count=3, accuracy=None), "no figures"),
    "t-SNE": (lambda d: d["features"]["points"].update(t_sne=None), "no t-SNE and no reason"),
    "part": (lambda d: d.pop("fit"), "has no 'fit'"),
    "reason": (lambda d: d["class_maps"].update(reason=None), "class_maps"),
    "share": (lambda d: d["calibration"]["models"][0].update(accuracy=1.5), "accuracy is 1.5"),
    "version": (lambda d: d.update(schema_version=2), "version"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_explanation_is_refused_with_the_place(kind: str, tmp_path: Path) -> None:
    change, told = DAMAGE[kind]
    (tmp_path / documents.FILE_NAME).write_text(json.dumps(_changed(change)))
    with pytest.raises(RunError, match=told):
        documents.read(tmp_path)


def test_missing_explanation_and_a_folder_in_place_of_a_picture(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no explanation"):
        documents.read(tmp_path)
    (tmp_path / "confusion.png").mkdir()
    with pytest.raises(RunError):
        documents.read_files(tmp_path)


def test_uncertain_samples_are_those_with_the_least_margin() -> None:
    sure = np.array([[0.5, 0.3, 0.2], [0.4, 0.39, 0.21], [0.9, 0.1, 0.0]], np.float32)
    part = pictures_part(Answers(name="model", probabilities=sure), np.array([0, 1, 2]), "abc", np.array([7, 8, 9]))
    assert [entry["index"] for entry in part["most_uncertain"]] == [8, 7, 9]
    assert [entry["index"] for entry in part["most_wrong"]] == [9, 8] and part["wrong"] == 2


@pytest.mark.parametrize(
    ("scores", "logits", "expected"),
    [
        ([[0.2], [0.9]], False, [[0.8, 0.2], [0.1, 0.9]]),
        ([[0.0], [1e9]], True, [[0.5, 0.5], [0.0, 1.0]]),
        ([[0.0, np.log(3)]], True, [[0.25, 0.75]]),
        ([[[0.25, 0.75]]], False, [[0.25, 0.75]]),
    ],
)
def test_outputs_become_probabilities(scores: Any, logits: bool, expected: Any) -> None:
    assert np.allclose(probabilities_of(np.array(scores), logits=logits), expected, atol=1e-6)


def test_samples_that_are_looked_at_are_drawn_once_and_are_all_where_there_are_few() -> None:
    assert chosen_places(5, 10, seed=0).tolist() == [0, 1, 2, 3, 4]
    drawn = chosen_places(1000, 100, seed=1)
    assert len(set(drawn.tolist())) == 100 and (np.diff(drawn) > 0).all() and drawn.max() < 1000
    assert np.array_equal(drawn, chosen_places(1000, 100, seed=1))
    assert not np.array_equal(drawn, chosen_places(1000, 100, seed=2))
    assert 350 < drawn.mean() < 650


def test_floats_become_pictures_by_the_models_range() -> None:
    samples = np.linspace(-1, 1, 12).reshape(1, 2, 2, 3).astype(np.float32)
    pixels = as_pictures(samples, (-1.0, 1.0))
    assert pixels is not None and pixels.min() == 0 and pixels.max() == 255
    assert as_pictures(np.zeros((1, 8), np.float32), (0, 1)) is None
    assert as_pictures(np.zeros((1, 8, 8, 5), np.uint8), (0, 255)) is None


def test_classes_that_are_confused_most_get_the_colours() -> None:
    truth = np.array([0, 1, 2, 3, 3, 2])
    assert coloured_classes(truth, np.array([0, 1, 3, 2, 3, 2]), most=2) == [2, 3]
    assert coloured_classes(truth, truth, most=4) == [0, 1, 2, 3]


def test_map_over_a_picture_leaves_it_as_it_is_where_the_map_is_zero() -> None:
    pixels = np.full((2, 2, 1), 100, np.uint8)
    shown = blended(pixels, np.array([[0, 1], [0, 0]], np.float32))
    assert (shown[0, 0] == 80).all() and shown[0, 1, 0] > 150 > shown[0, 1, 2]


def test_too_few_samples_for_label_noise_say_so() -> None:
    part = noise_part(
        np.full((6, 3), 1 / 3), np.arange(6) % 3, "abc", [("validation", i) for i in range(6)], basis="validation"
    )
    assert part == {"reason": "6 samples of 3 classes are too few; at least 20 are needed"}
