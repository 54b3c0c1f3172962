"""`edgefm explain` on runs that edgefm trained, on models and data of one's own, and on what it cannot explain."""

from __future__ import annotations

import dataclasses
import html
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from keras import layers
from PIL import Image

import edgefm
from edgefm.cli.main import cli
from edgefm.cli.main import run as run_command
from edgefm.core.errors import DataError, ModelError, NonFiniteError, RecipeError, RunError
from edgefm.core.runs import RunDirectory
from edgefm.data.dataset import Dataset
from edgefm.report.content.explanation import ALL_FILES, PARTS
from edgefm.statistics.estimates import confusion
from tests.fixtures.notes import Notes

RECIPE = edgefm.Training(model="basic_cnn", epochs=1, batch_size=50, learning_rate=2e-3, shift_pixels=0, flip=False)
LABELS = tuple("abcdefghij")


def squares(count: int, *, side: int = 28, channels: int = 1, classes: int = 10, seed: int = 0) -> tuple[Any, Any]:
    """Return noise with a bright square whose place is the class, uint8 [n, side, side, channels], and the classes."""
    generator = np.random.default_rng(seed)
    truth = np.arange(count) % classes
    pictures = generator.integers(0, 90, (count, side, side, channels), np.uint8)
    across, cell = int(np.ceil(np.sqrt(classes))), side // int(np.ceil(np.sqrt(classes)))
    for place, label in enumerate(truth):
        row, column = divmod(int(label), across)
        pictures[place, cell * row : cell * (row + 1), cell * column : cell * (column + 1)] += 120
    return pictures, truth


def _data(count: int = 300, **how: Any) -> Dataset:
    pictures, truth = squares(count, **how)
    return edgefm.data.from_arrays(pictures, truth)


def _classifier(data: Dataset, *, epochs: int = 3, end: tuple[Any, ...] = ()) -> Any:
    keras.utils.set_random_seed(0)
    classes = len(data.labels)
    stack = [layers.Rescaling(1 / 255), layers.Conv2D(8, 3, strides=2, activation="relu"), layers.Flatten()]
    model = keras.Sequential(
        [keras.Input(data.train.images.shape[1:]), *stack, *(end or (layers.Dense(classes, "softmax"),))]
    )
    if epochs:
        model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
        model.fit(data.train.images, data.train.labels, epochs=epochs, verbose=0)
    return model


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explain") / "run"
    run = edgefm.Run(path)
    run.train(RECIPE, data=_data(500), backend="tensorflow")
    run.quantize(["float32", "int8_w8a8"])
    return path


@pytest.fixture(scope="module")
def explanation(trained: Path) -> edgefm.Explanation:
    return edgefm.Run(trained).explain(["int8_w8a8", "float32"], progress=False)


def test_figures_are_those_of_the_models_own_answers(trained: Path, explanation: edgefm.Explanation) -> None:
    run = edgefm.Run(trained)
    model = run.training.model
    from edgefm.data.source import dataset_of

    split = dataset_of(RunDirectory.open(trained)).validation
    sure = model.predict(split.images, verbose=0)
    guess = sure.argmax(axis=1)
    part = explanation.document
    assert part["data"]["n"] == len(split) == part["data"]["of"]
    assert part["confusion"]["matrix"] == confusion(split.labels, guess, classes=10).tolist()
    assert explanation.accuracy == pytest.approx((guess == split.labels).mean())
    wrong = np.flatnonzero(guess != split.labels)
    assert part["images"]["wrong"] == len(wrong)
    surest = wrong[np.argsort(-sure.max(axis=1)[wrong], kind="stable")]
    assert {entry["index"] for entry in part["images"]["most_wrong"]} == set(surest[:18].tolist())
    for entry in part["images"]["most_uncertain"]:
        ranked = np.sort(sure[entry["index"]])[::-1]
        assert entry["confidence"] - entry["second_confidence"] == pytest.approx(ranked[0] - ranked[1], abs=1e-4)
    assert [model["name"] for model in part["calibration"]["models"]] == ["model", "int8_w8a8", "float32"]
    own, _, float32 = part["calibration"]["models"]
    assert own["ece"]["value"] == pytest.approx(float32["ece"]["value"], abs=1e-3)
    assert part["fit"]["name"] == run.training.verdict["name"]
    assert part["features"]["n"] == len(split) and part["class_maps"]["layers"] == ["conv1"]


def test_files_are_written_and_read_back(trained: Path, explanation: edgefm.Explanation, tmp_path: Path) -> None:
    folder = trained / "explain"
    assert {path.name for path in folder.iterdir()} == {"explanation.json", *explanation.files}
    assert set(explanation.files) <= set(ALL_FILES)
    for name in explanation.files:
        if name.endswith(".png"):
            with Image.open(folder / name) as picture:
                assert picture.width > 600
    again = edgefm.Explanation.open(folder)
    assert again.to_json() == json.loads(json.dumps(explanation.to_json())) and dict(again.files) == dict(
        explanation.files
    )
    assert {path.name for path in again.save(tmp_path / "copy")} == {path.name for path in folder.iterdir()}
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in html.unescape(page) and "<script" not in page and "http:" not in page


def test_report_shows_the_explanation_of_the_newest_model_only(
    trained: Path, explanation: edgefm.Explanation, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    page = edgefm.Run(copy).report().read_text(encoding="utf-8")
    assert "Understanding the model" in page and explanation.lines[0] in page
    assert "Understanding the model" in (copy / "report" / "report.md").read_text(encoding="utf-8")
    document = json.loads((copy / "explain" / "explanation.json").read_text())
    document["model"]["step"] = "07-train"
    (copy / "explain" / "explanation.json").write_text(json.dumps(document))
    assert "Understanding the model" not in edgefm.Run(copy).report().read_text(encoding="utf-8")
    (copy / "explain" / "explanation.json").write_text("{")
    with pytest.raises(RunError, match=r"explanation\.json"):
        edgefm.Run(copy).report()


def test_folds_train_and_judge_each_picture_once_and_are_kept(trained: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    notes: list[str] = []

    class Told:
        def step(self, *_: Any) -> None: ...
        def note(self, message: str) -> None:
            notes.append(message)

    first = edgefm.Run(copy).explain(folds=2, progress=Told())
    part, noise = first.document["folds"], first.document["label_noise"]
    assert part["folds"] == 2 and part["n"] == noise["n"] == 450 and noise["basis"] == "out of fold"
    assert part["mean"] == pytest.approx(np.mean(part["accuracies"]))
    assert part["spread"] == pytest.approx(np.std(part["accuracies"], ddof=1))
    trainings = [note for note in notes if "images train" in note]
    assert len(trainings) == 2
    # As after a stop in the second fold: the first is there, the second is not.
    (kept,) = (copy / "folds").iterdir()
    (kept / "fold-2.npz").unlink()
    again = edgefm.Run(copy).explain(folds=2, progress=Told())
    assert len([note for note in notes if "images train" in note]) == 3
    assert again.document["folds"] == part  # the same seed gives the same fold


def test_killed_folds_go_on_where_they_were(trained: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    script = (
        f"import sys; sys.argv = ['edgefm', 'explain', {str(copy)!r}, '--folds', '3']\n"
        "from edgefm.cli.start import main; main()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "KERAS_BACKEND": "tensorflow"}
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "fold 2 of 3: 300 images train" in line:
                break
        process.send_signal(signal.SIGKILL)
    (folder,) = (copy / "folds").iterdir()
    assert [path.name for path in sorted(folder.glob("*.npz"))] == ["fold-1.npz"]
    first = (folder / "fold-1.npz").read_bytes()
    notes = Notes()
    resumed = edgefm.Run(copy).explain(folds=3, progress=notes).document["folds"]
    assert (folder / "fold-1.npz").read_bytes() == first
    assert [note[:11] for note in notes.notes if "images train" in note] == ["fold 2 of 3", "fold 3 of 3"]
    unbroken = Path(shutil.copytree(trained, tmp_path / "unbroken"))
    assert edgefm.Run(unbroken).explain(folds=3, progress=False).document["folds"] == resumed


def test_folds_of_a_taught_run_are_those_of_its_labels_alone(trained: Path, tmp_path: Path) -> None:
    from edgefm.data.source import dataset_of
    from edgefm.jobs.explain.cross_validation import cross_validate
    from edgefm.jobs.explain.leakage import FoldRecipe
    from edgefm.keras_graph.backend import use_backend

    taught = edgefm.Run(tmp_path / "taught")
    distillation = edgefm.Distillation(teachers=(str(trained),), weight=0.9)
    taught.train(dataclasses.replace(RECIPE, distillation=distillation), data=_data(500), backend="tensorflow")
    done = CliRunner().invoke(cli, ["explain", str(taught.path), "--folds", "2", "--samples", "9", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["folds"]["not_used"] == ["the teacher run"] and found["folds"]["may_have_seen"] == []
    assert found["label_noise"]["basis"] == "out of fold"
    told = "The folds are trained without the teacher run, which has seen their pictures."
    assert told in done.stderr and told in (taught.path / "explain" / "index.html").read_text(encoding="utf-8")
    alone = cross_validate(
        tmp_path / "alone",
        FoldRecipe(training=RECIPE),
        dataset_of(RunDirectory.open(taught.path)),
        folds=2,
        seed=0,
        device=use_backend("tensorflow"),
        named_in=None,
        inputs={},
        progress=Notes(),
    )
    assert found["folds"]["accuracies"] == list(alone.accuracies)
    for index in range(2):
        (file,) = (taught.path / "folds").glob(f"*/fold-{index + 1}.npz")
        with np.load(file) as kept:
            assert np.array_equal(kept["probabilities"], alone.probabilities[alone.fold == index])


def test_folds_that_foreign_weights_may_have_seen_are_marked(trained: Path, tmp_path: Path) -> None:
    foreign = shutil.copy(trained / "00-train" / "model.keras", tmp_path / "foreign.keras")
    run = edgefm.Run(tmp_path / "run")
    run.train(dataclasses.replace(RECIPE, pretrained=str(foreign)), data=_data(500), backend="tensorflow")
    done = CliRunner().invoke(cli, ["explain", str(run.path), "--folds", "2", "--samples", "9"])
    assert done.exit_code == 0, done.output
    told = "may have been seen by the pretrained weights foreign.keras (training data unknown)"
    assert told in done.stdout and "that may have seen them" in done.stdout
    document = edgefm.Explanation.open(run.path / "explain").document
    assert document["folds"]["may_have_seen"] == [
        {"name": "the pretrained weights foreign.keras", "reason": "training data unknown"}
    ]
    assert document["label_noise"]["basis"] == "out of fold, possibly seen"
    assert told in run.report().read_text(encoding="utf-8")


def test_folds_of_a_training_that_goes_on_with_the_same_data_are_refused(trained: Path, tmp_path: Path) -> None:
    run = edgefm.Run(tmp_path / "run")
    file = str(trained / "00-train" / "model.keras")
    run.train(dataclasses.replace(RECIPE, model=file), data=_data(500), backend="tensorflow")
    notes = Notes()
    with pytest.raises(RecipeError, match="seen the pictures of every fold"):
        run.explain(folds=2, progress=notes)
    assert not notes.notes and not (run.path / "folds").exists()


def test_command_prints_json_and_says_where_the_page_is(trained: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["explain", str(trained), "--samples", "30", "--out", str(tmp_path / "o"), "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["data"]["n"] == 30 and document["data"]["of"] == 50
    assert json.loads((tmp_path / "o" / "explanation.json").read_text()) == document
    text = CliRunner().invoke(cli, ["explain", str(trained), "--out", str(tmp_path / "o")])
    assert text.exit_code == 0 and "written: " in text.stdout and "n = 50" in text.stdout


def test_colour_model_of_ones_own_is_explained_without_a_run() -> None:
    data = _data(240, side=64, channels=3, classes=4)
    found = edgefm.explain(_classifier(data), data=data, progress=False)
    assert found.document["model"]["step"] is None and found.document["class_maps"]["layers"]
    assert set(found.left_out) == {"fit", "folds"} and "did not train" in found.left_out["fit"]
    assert "index.html" in found.files and found.accuracy > 0.5
    assert "no files of it" in found.document["calibration"]["left_out"][0]["reason"]


def test_going_on_from_a_model_that_learnt_the_validation_samples_is_told(tmp_path: Path) -> None:
    data = _data(120)
    final = dataclasses.replace(RECIPE, with_validation=True)
    edgefm.Run(tmp_path / "final").train(final, data=data, backend="tensorflow")
    notes = Notes()
    again = dataclasses.replace(RECIPE, model=str(tmp_path / "final" / "00-train" / "model.keras"))
    edgefm.Run(tmp_path / "again").train(again, data=data, backend="tensorflow", progress=notes)
    told = "The validation samples had been learnt by the start model final/00-train/model.keras"
    assert any(note.startswith(told) for note in notes.notes)
    assert edgefm.explain(tmp_path / "again", samples=50).lines[0].startswith(told)


def test_wrong_and_doubtful_pictures_of_a_folder_are_named_by_their_files(tmp_path: Path) -> None:
    given, truth = squares(240, classes=4)
    for place, label in enumerate(truth):
        # Every fifth picture lies in the folder of the next class.
        folder = tmp_path / "pics" / f"class-{(label + (place % 5 == 0)) % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(given[place, ..., 0]).save(folder / f"picture-{place}.png")
    model = _classifier(edgefm.data.from_arrays(given, truth), epochs=8)
    found = edgefm.explain(model, data=tmp_path / "pics", value_range=(0, 255))
    wrong, noise = found.document["images"]["most_wrong"], found.document["label_noise"]
    assert wrong and noise["candidates"]
    page = html.unescape(found.files["index.html"].decode())
    for entry, label in [(one, "true") for one in wrong] + [(one, "label") for one in noise["candidates"]]:
        # Keras's own answer to that very file.
        pixels = np.asarray(Image.open(tmp_path / "pics" / entry["file"]))[None, ..., None]
        answer = f"class-{int(np.argmax(model.predict(pixels, verbose=0)))}"
        assert answer == entry.get("predicted", entry.get("suggested"))
        assert entry["file"].split("/")[0] == entry[label] != answer
        assert entry["file"] in page
    assert any(wrong[0]["file"] in line for line in found.lines)
    assert any("may have been learnt by the model, which edgefm did not train" in line for line in found.lines)
    assert any(noise["candidates"][0]["file"] in line for line in found.lines)


def test_brought_run_of_a_keras_file_and_of_a_tflite_file(tmp_path: Path) -> None:
    pictures, truth = squares(200, classes=2)
    np.savez(tmp_path / "data.npz", x=pictures, y=truth, label_names=np.array(["<b>one</b>", "two"]))
    data = _data(200, classes=2)
    _classifier(data, end=(layers.Dense(1, activation="sigmoid"),), epochs=0).save(tmp_path / "own.keras")
    run = edgefm.Run.bring(tmp_path / "own.keras", tmp_path / "run", data=tmp_path / "data.npz", progress=False)
    found = run.explain(progress=False)
    assert found.document["data"]["labels"] == ["<b>one</b>", "two"] and len(found.document["confusion"]["matrix"]) == 2
    assert "make them with" in found.document["calibration"]["left_out"][0]["reason"]
    assert "<b>one</b>" not in (run.path / "explain" / "index.html").read_text(encoding="utf-8")
    with pytest.raises(RecipeError, match="did not train"):
        run.explain(folds=2, progress=False)
    file = run.quantize(["float32"], progress=False)["float32"].path
    flat = edgefm.Run.bring(file, tmp_path / "flat", data=tmp_path / "data.npz", progress=False)
    of_file = flat.explain(progress=False)
    assert of_file.accuracy == pytest.approx(found.accuracy)
    assert "Keras model" in of_file.left_out["class_maps"] and "Keras model" in of_file.left_out["features"]
    assert "class-maps.png" not in of_file.files and "calibration.png" in of_file.files


def test_hundred_classes_without_convolution() -> None:
    data = _data(1200, classes=100)
    model = keras.Sequential([keras.Input((28, 28, 1)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(100)])
    found = edgefm.explain(model, data=data, labels=data.labels, head="softmax", progress=False)
    assert "no convolution" in found.left_out["class_maps"] and "class-maps.png" not in found.files
    assert len(found.document["confusion"]["matrix"]) == 100 and found.document["features"]["dimensions"] == 784


def _several_labels() -> tuple[Any, Any]:
    pictures, truth = squares(60, classes=3)
    data = edgefm.data.from_arrays(pictures, np.eye(3, dtype=np.int64)[truth] | [1, 0, 0])
    return _classifier(data, end=(layers.Dense(3, activation="sigmoid"),), epochs=0), data


def _numbers() -> tuple[Any, Any]:
    pictures, truth = squares(60, classes=3)
    data = edgefm.data.from_arrays(pictures, truth.astype(np.float32) + 0.5)
    return _classifier(data, end=(layers.Dense(1),), epochs=0), data


def _one_class() -> tuple[Any, Any]:
    pictures, _ = squares(60)
    data = edgefm.data.from_arrays(pictures, np.zeros(60, np.int64))
    return _classifier(data, end=(layers.Dense(1, activation="sigmoid"),), epochs=0), data


def _not_finite() -> tuple[Any, Any]:
    data = _data(60, classes=3)
    model = _classifier(data, epochs=0)
    model.layers[-1].set_weights(
        [np.full(weight.shape, np.nan, np.float32) for weight in model.layers[-1].get_weights()]
    )
    return model, data


BAD = {
    "several labels": (_several_labels, DataError, "multilabel; explain needs one class a sample"),
    "numbers": (_numbers, DataError, "regression; explain needs one class a sample"),
    "one class": (_one_class, DataError, "class"),
    "not finite": (_not_finite, ModelError, "not finite|NaN"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_classifier_is_refused(case: str) -> None:
    make, error, told = BAD[case]
    with pytest.raises(error, match=told):
        model, data = make()
        edgefm.explain(model, data=data, progress=False)


def test_three_pictures_say_what_is_too_few(tmp_path: Path) -> None:
    pictures, truth = squares(9, classes=3)
    arrays = {f"x_{name}": pictures[at : at + 3] for at, name in ((0, "train"), (3, "validation"), (6, "test"))}
    np.savez(tmp_path / "three.npz", **arrays, **{f"y_{name[2:]}": truth[:3] for name in arrays})
    found = edgefm.explain(_classifier(_data(60, classes=3), epochs=0), data=tmp_path / "three.npz", progress=False)
    assert found.document["data"]["n"] == 3 and "too few" in found.left_out["label_noise"]
    assert "too few for t-SNE" in found.document["features"]["t_sne_reason"]


def test_folds_that_a_class_is_too_small_for_are_refused(trained: Path) -> None:
    with pytest.raises(DataError, match="60 folds need at least 60 different images of each class"):
        edgefm.Run(trained).explain(folds=60, progress=False)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"folds": 1}, "folds 1 is not allowed"),
        ({"samples": 2}, "samples 2 is not allowed"),
        ({"seed": -1}, "seed -1 is not allowed"),
        ({"variants": "int8_w8a9"}, "did you mean 'int8_w8a8'"),
    ],
)
def test_numbers_and_names_out_of_range_are_refused(trained: Path, arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        edgefm.Run(trained).explain(**arguments, progress=False)


def test_no_run_and_a_run_without_training_or_data(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run at"):
        edgefm.Run(tmp_path / "none").explain(progress=False)
    with pytest.raises(RunError, match="no finished 'train' step"):
        edgefm.Run(RunDirectory.create_at(tmp_path / "empty").path).explain(progress=False)
    _classifier(_data(30), epochs=0).save(tmp_path / "m.keras")
    run = edgefm.Run.bring(tmp_path / "m.keras", tmp_path / "bare", progress=False)
    with pytest.raises(DataError, match="imported without data"):
        run.explain(progress=False)
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunError, match="file is a file; out needs a folder"):
            edgefm.explain("no model is read before", data=_data(60, classes=3), out=out)


def test_bad_input_ends_the_command_with_two(tmp_path: Path) -> None:
    assert run_command(lambda: cli.main(["explain", str(tmp_path / "none")], standalone_mode=False)) == 2


def test_parts_of_the_document_are_those_that_are_named(explanation: edgefm.Explanation) -> None:
    assert set(PARTS) <= set(explanation.document) and "folds" in explanation.left_out
    assert isinstance(NonFiniteError("x"), ModelError)


_ELSEWHERE = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import edgefm
generator = np.random.default_rng(0)
truth = np.arange(120) % 10
data = edgefm.data.from_arrays(generator.integers(0, 255, (120, 28, 28, 1), np.uint8), truth)
run = edgefm.Run(sys.argv[2])
run.train(edgefm.Training(model="basic_cnn", epochs=1, batch_size=30), data=data, backend=sys.argv[3], progress=False)
document = run.explain(folds=2, progress=False).document
assert document["folds"]["folds"] == 2 and document["class_maps"]["layers"] == ["conv1"]
assert document["features"]["reason"] is None and "tensorflow" not in sys.modules
"""


@pytest.mark.parametrize(
    "backend", [pytest.param("jax", marks=pytest.mark.jax), pytest.param("torch", marks=pytest.mark.torch)]
)
def test_run_of_another_backend_is_explained_on_it_folds_included(backend: str, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    argv = [sys.executable, "-c", _ELSEWHERE, str(Path.cwd()), str(tmp_path / "run"), backend]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_going_on_from_a_model_when_its_folder_has_grown_says_what_it_had_learnt(tmp_path: Path) -> None:
    """The oracle compares the bytes of all pictures of both cuts."""
    pictures, truth = squares(150, classes=3)
    more, their = squares(12, classes=3, seed=1)
    folder = tmp_path / "pictures"

    def save(images: Any, labels: Any, name: str) -> None:
        for place, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = folder / f"class {label}" / f"{name}-{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0]).save(path)

    save(pictures, truth, "may")
    before = edgefm.data.load(folder, progress=False)
    first = edgefm.Run(tmp_path / "may")
    first.train(RECIPE, data=folder, backend="tensorflow", progress=False)
    save(more, their, "june")
    after = edgefm.data.load(folder, progress=False)
    known = {image.tobytes() for image in before.train.images}
    learnt = {split.name: sum(image.tobytes() in known for image in split.images) for split in after.splits}
    assert learnt["test"] and learnt["validation"]
    told = (
        f"{learnt['validation']} of the {len(after.validation)} validation samples and {learnt['test']} of the "
        f"{len(after.test)} test samples had been learnt by the "
    )
    file = tmp_path / "may" / "00-train" / "model.keras"
    notes = Notes()
    second = edgefm.Run(tmp_path / "june")
    second.train(dataclasses.replace(RECIPE, model=str(file)), data=folder, backend="tensorflow", progress=notes)
    assert any(note.startswith(f"{told}start model may/00-train/model.keras") for note in notes.notes)
    assert any(line.startswith(f"{told}start model") for line in second.explain(progress=False).lines)
    assert any(line.startswith(f"{told}model may/") for line in edgefm.explain(file, data=folder, progress=False).lines)
    notes = Notes()
    edgefm.train(recipe=dataclasses.replace(RECIPE, model=str(file)), data=folder, backend="tensorflow", progress=notes)
    assert any(note.startswith(f"{told}start model may/") for note in notes.notes)
