"""A bundle of several models, and android_demo_assets/: whole, small, and proving themselves on a Java machine."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import edgefm
from edgefm.cli.main import cli
from edgefm.core.errors import ArgumentError, DataError, ModelError, RecipeError
from edgefm.core.runs import RunDirectory
from edgefm.data.reference.fashion_mnist import LABELS, load_fashion_mnist
from edgefm.jobs.export import pictures
from edgefm.jobs.predict import SHIPPED_MODEL
from edgefm_converters.bundles import for_android
from tests.fixtures import java, kotlin
from tests.fixtures.android_app import SIGNATURES, recorded
from tests.fixtures.app_cases import CASES, INPUTS, Case, case, litert, write_case
from tests.fixtures.app_models import Out
from tests.fixtures.small_data import small_fashion_mnist

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "android_demo_assets"
FIXTURES = ROOT / "tests" / "fixtures"
CODE = "src/main/java/dev/edgefm/bundle"
LARGEST_MODEL = 2_000_000
# What android_demo_assets/ is made of: int8, another int8 and float.
ROLES: dict[str, tuple[str, tuple[str, float, int] | None]] = {
    "int8": ("int8", ("uint8", 1 / 256, 0)),
    "small": ("uint8_raw", ("uint8", 1 / 240, 7)),
    "float": ("float", None),
}


def classifier(source: str, ends: tuple[str, float, int] | None, seed: int) -> Case:
    """Return a small classifier of Fashion-MNIST's pictures."""
    outputs = [Out(shape=(1, 10), ends=ends, last="SOFTMAX")]
    given = INPUTS[source]
    return case([("scores", "classes")], shape=(1, 28, 28, 1), outputs=outputs, labels=LABELS, seed=seed, **given)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run whose variants are the models of `ROLES`."""
    run = RunDirectory.create_at(tmp_path_factory.mktemp("runs") / "best")
    with run.lock():
        folder = run.begin("quantize")
        for seed, (name, (source, ends)) in enumerate(ROLES.items()):
            app = classifier(source, ends, seed)
            (folder / name).mkdir()
            (folder / name / "model.tflite").write_bytes(app.content)
            app.contract.write(folder / name)
        run.finish(folder, key="k", seconds=0.0, recipe={}, inputs={}, summary={})
    return run.path


def exported(run: Path, out: Path) -> dict[str, Any]:
    """Return what the command of `make assets` says of the bundle that it writes."""
    words = ["export", "android", *(f"{name}={run}:{name}" for name in ROLES), "--out", str(out), "--json"]
    words += ["--data", "fashion-mnist", "--samples", "4", "--pictures", "2", "--force"]
    done = CliRunner().invoke(cli, words, standalone_mode=False)
    assert done.return_value == 0, done.output
    return dict(json.loads(done.stdout)["bundles"][0])


@pytest.fixture(scope="module")
def bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("android") / "edge-model"
    said = exported(run, folder)
    assert [(model["name"], model["variant"]) for model in said["models"]] == [(name, name) for name in ROLES]
    assert [model["golden"] for model in said["models"]] == [{"vectors": 4, "source": "data"}] * 3
    assert set(said["files"]) == {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return folder


def test_bundle_of_several_models_holds_the_code_once_and_each_model_whole(run: Path, bundle: Path) -> None:
    for name in ROLES:
        assert (bundle / name / "model.tflite").read_bytes() == (
            run / "00-quantize" / name / "model.tflite"
        ).read_bytes()
        assert (bundle / name / "labels.txt").read_text().splitlines() == list(LABELS)
        assert {path.name for path in (bundle / name).iterdir()} == {
            "model.tflite", "contract.json", "labels.txt", "golden", "README.md",
        }  # fmt: skip
        assert len(list((bundle / name / "golden").glob("*.in.bin"))) == 4
    assert len(list(bundle.rglob("EdgeModel.java"))) == len(list(bundle.rglob("PhoneModel.kt"))) == 1
    bom = json.loads((bundle / "sbom.cdx.json").read_text())
    sums = {one["hashes"][0]["content"] for one in bom["components"] if "hashes" in one}
    assert sums == {edgefm.core.artefacts.sha256_file(bundle / name / "model.tflite") for name in ROLES}
    assert {one["name"] for one in bom["components"] if "hashes" not in one} == {"litert", "exifinterface"}
    assert "Zalando" in (bundle / "NOTICE").read_text()


def test_page_says_the_sizes_of_the_files_and_how_an_app_opens_the_first(bundle: Path) -> None:
    text = (bundle / "README.md").read_text()
    for name in ROLES:
        assert f"| `{name}/` |" in text
        assert f"{(bundle / name / 'model.tflite').stat().st_size:,} bytes" in text
    pngs = list((bundle / "pictures").iterdir())
    assert f"{len(pngs)} test pictures of fashion-mnist, {sum(path.stat().st_size for path in pngs):,} bytes" in text
    assert 'PhoneModel.open(context, "edge-model/int8")' in text
    assert 'const val FOLDER = "edge-model/int8"' in next((bundle / "demo").rglob("Words.kt")).read_text()
    assert "it lets the user choose the model" in text and "report record-int8-CompiledModel-CPU.json" in text
    for script in ("build.gradle.kts", "build-agp8.gradle.kts"):
        assert 'listOf("int8/", "small/", "float/")' in (bundle / script).read_text()


def test_pictures_are_test_pictures_of_their_class(bundle: Path) -> None:
    test, names = load_fashion_mnist().test, sorted(path.name for path in (bundle / "pictures").iterdir())
    assert len(names) == 20
    for name in names:
        found = re.fullmatch(r"(\d)-[a-z-]+-(\d+)\.png", name)
        assert found is not None, name
        pixels = np.asarray(Image.open(bundle / "pictures" / name))
        np.testing.assert_array_equal(pixels, test.images[int(found[2]), ..., 0])
        assert int(test.labels[int(found[2])]) == int(found[1])
    assert [name[0] for name in names] == [str(number) for number in range(10) for _ in range(2)]


def test_equal_models_give_equal_bytes_and_replace_what_was_there(run: Path, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    for _ in range(2):  # into an empty folder, then over a bundle
        exported(run, tmp_path / "again")
        files = {path.relative_to(bundle): path for path in bundle.rglob("*") if path.is_file()}
        assert {path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*") if path.is_file()} == (
            files.keys()
        )
        for name, path in files.items():
            assert (tmp_path / "again" / name).read_bytes() == path.read_bytes(), name


def test_one_byte_changed_anywhere_is_found(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(bundle, folder)
    whole = edgefm.verify(folder, progress=False)
    assert whole.held and [(one.model, one.name) for one in whole.families] == [
        ("float", "float"), ("int8", "xnnpack"), ("int8", "builtin"), ("small", "xnnpack"), ("small", "builtin"),
    ]  # fmt: skip
    random = np.random.default_rng(0)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for place in {0, len(content) - 1, int(random.integers(len(content)))}:
            changed = bytearray(content)
            changed[place] ^= 1 << int(random.integers(8))
            path.write_bytes(changed)
            try:
                held = edgefm.verify(folder, run=False, progress=False).held
            except ModelError:  # of a manifest
                held = False
            assert not held, (path, place)
        path.write_bytes(content)
    assert edgefm.verify(folder, run=False, progress=False).held


def test_model_in_the_folder_of_another_is_named(bundle: Path, tmp_path: Path) -> None:
    from edgefm_converters.bundles.manifest import FILE_NAME, with_manifest

    files = {str(path.relative_to(bundle)): path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    del files[FILE_NAME]
    files["int8/model.tflite"], files["small/model.tflite"] = files["small/model.tflite"], files["int8/model.tflite"]
    for name, content in with_manifest(files, kind="android", written_by="another program").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    result = edgefm.verify(tmp_path, progress=False)
    assert not result.held and len(result.problems) == 2
    assert result.problems[0].startswith("int8: ") and result.problems[1].startswith("small: ")
    assert [family.model for family in result.families] == ["float"]


# On a Java machine.


def java_verdicts(bundle: Path, folder: Path, *, wrong: bool = False) -> dict[str, list[str]]:
    """Return the verdict of the bundle's own code on each of its models; LiteRT stands for the phone's interpreter."""
    core = java.compile_java(sorted((bundle / CODE).glob("*.java")), folder / "core")
    harness = java.compile_java([FIXTURES / "android_harness" / "Harness.java"], folder / "harness", path=[core])
    models = sorted(path.parent.relative_to(bundle) for path in bundle.glob("**/model.tflite"))
    for name in models:
        shutil.copytree(bundle / name, folder / "app" / name)
        contract = json.loads((bundle / name / "contract.json").read_text())
        model, end, answers = (bundle / name / "model.tflite").read_bytes(), contract["input"], b""
        for path in sorted((bundle / name / "golden").glob("*.in.bin")):
            values = np.frombuffer(path.read_bytes(), end["dtype"]).reshape(end["shape"])
            answers += b"".join(output.tobytes() for output in litert(model, values))
        if wrong:
            answers = bytes(byte ^ 0x40 for byte in answers)
        (folder / "app" / name / "answers.bin").write_bytes(answers)
    java.run_java([core, harness], "Harness", ["self-test", *(str(folder / "app" / name) for name in models)])
    return {str(name): (folder / "app" / name / "verdict.txt").read_text().splitlines() for name in models}


@pytest.mark.java
def test_each_model_proves_itself_by_the_code_of_its_bundle(bundle: Path, tmp_path: Path) -> None:
    right = java_verdicts(bundle, tmp_path / "right")
    assert right.keys() == ROLES.keys()
    assert all(verdict[0] == "true" and "4 golden vectors" in verdict[1] for verdict in right.values()), right
    assert all(verdict[0] == "false" for verdict in java_verdicts(bundle, tmp_path / "wrong", wrong=True).values())


OTHERS = ("mask__uint8", "masks__float", "int64", "several", "second__int8", "label_logits__float", "rank3__float")


@pytest.mark.java
def test_models_of_every_kind_stand_beside_each_other(tmp_path: Path) -> None:
    given: dict[str, Any] = {}
    for name in OTHERS:
        write_case(tmp_path / name, CASES[name])
        CASES[name].contract.write(tmp_path / name)
        given[name.replace("__", "-")] = tmp_path / name
    result = edgefm.export(given, "android", out=tmp_path / "bundle", samples=3, progress=False)
    assert [model.golden for model in result.models] == [(3, "random")] * len(OTHERS)
    assert edgefm.verify(tmp_path / "bundle", progress=False).held
    verdicts = java_verdicts(tmp_path / "bundle", tmp_path / "java")
    assert verdicts.keys() == given.keys() and all(verdict[0] == "true" for verdict in verdicts.values()), verdicts
    for name, case_name in zip(given, OTHERS, strict=True):
        assert (tmp_path / "bundle" / name / "labels.txt").exists() == bool(CASES[case_name].contract.labels)


@pytest.mark.kotlin
@pytest.mark.java
def test_app_opens_a_model_by_its_folder(bundle: Path, tmp_path: Path) -> None:
    """Each is opened by the layer for Android, from an app's assets; what LiteRT answers was recorded."""
    core = java.compile_java(sorted((bundle / CODE).glob("*.java")), tmp_path / "core")
    layer = sorted((bundle / "src/main/kotlin").rglob("*.kt"))
    main = tmp_path / "Main.kt"
    main.write_text(
        "import android.content.FolderContext\nimport dev.edgefm.bundle.android.PhoneModel\nimport java.io.File\n"
        "import recorded.Recorded\n\nfun main(arguments: Array<String>) {\n    val app = File(arguments[0])\n"
        "    for (name in arguments.drop(1)) {\n"
        '        val recorded = File(app, "$name/recorded")\n'
        '        Recorded.from(recorded, File(recorded, "model.tflite").readBytes())\n'
        '        val text = PhoneModel.open(FolderContext(app), "edge-model/$name").use {\n'
        '            "${it.model.contract().variant()} ${it.runsBy} ${it.selfTest().held()}"\n        }\n'
        '        File(recorded, "found.txt").writeText(text)\n    }\n}\n'
    )
    stubs = sorted(SIGNATURES.rglob("*.kt"))
    code = kotlin.compile_kotlin([*layer, *stubs, main], tmp_path / "layer", path=[core], strict=True, code=layer)
    app = tmp_path / "app"
    shutil.copytree(bundle, app / "edge-model")
    for name in ROLES:
        record(app / "edge-model" / name, app / name)
    kotlin.run_kotlin([code, core], "MainKt", [str(app), *ROLES])
    for name in ROLES:
        assert (app / name / "recorded" / "found.txt").read_text() == f"{name} CompiledModel, CPU true".replace(
            name, "v"
        )


def record(model: Path, app: Path) -> None:
    """Write what LiteRT answers to a model's golden inputs, for the classes that stand for it."""
    contract, content = json.loads((model / "contract.json").read_text()), (model / "model.tflite").read_bytes()
    end, paths = contract["input"], sorted((model / "golden").glob("*.in.bin"))
    app.mkdir()
    inputs = [np.frombuffer(path.read_bytes(), end["dtype"]).reshape(end["shape"]) for path in paths]
    recorded(app, contract, content, inputs)


# What is refused.


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"model": {}}, ArgumentError, "model is empty"),
        ({"model": {"Int8": "m"}}, ArgumentError, "'Int8' cannot be the folder of a model"),
        ({"model": {"src": "m"}}, ArgumentError, "'src' cannot be the folder of a model"),
        ({"model": {"../up": "m"}}, ArgumentError, "cannot be the folder"),
        ({"model": {3: "m"}}, ArgumentError, "3 cannot be the folder"),
        ({"model": {"a": 3}}, ArgumentError, "model is 3, an int"),
        ({"model": {"a": ("RUN", "int8", "x")}}, ArgumentError, "a tuple of 3"),
        ({"model": {"a": ("RUN", 3)}}, ArgumentError, "variant is 3"),
        ({"model": {"a": ("RUN", "int9")}}, RecipeError, "unknown variant of this run 'int9'; did you mean 'int8'"),
        ({"model": {"a": ("RUN", "int8")}, "variant": "int8"}, ArgumentError, "variant goes with a single model"),
        ({"model": {"a": ("RUN", "int8")}, "kind": "python"}, ModelError, "for python holds one model; 1 were given"),
        ({"model": SHIPPED / "int8", "pictures": 2}, DataError, "no data were given"),
        ({"model": ("RUN", "int8"), "pictures": -1}, ArgumentError, "pictures is -1; 0 to 100"),
        ({"model": ("RUN", "int8"), "pictures": 1.5}, ArgumentError, r"pictures is 1\.5"),
    ],
)
def test_bad_models_and_numbers_are_named(
    run: Path, change: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"kind": "android", "out": tmp_path / "b", "progress": False, **change}

    def placed(value: Any) -> Any:
        return (run, *value[1:]) if isinstance(value, tuple) and value[0] == "RUN" else value

    model = given.pop("model")
    model = {name: placed(each) for name, each in model.items()} if isinstance(model, dict) else placed(model)
    with pytest.raises(error, match=words):
        edgefm.export(model, given.pop("kind"), **given)
    assert not (tmp_path / "b").exists()


def test_pictures_need_classes() -> None:
    import dataclasses

    data = small_fashion_mnist(test=30)
    with pytest.raises(DataError, match="is for regression: its pictures have no class each"):
        pictures.sample_pictures(dataclasses.replace(data, task="regression"), 1, seed=0)
    few = pictures.sample_pictures(data, 100, seed=0)
    assert len(few) == 30, "a class gives what it has"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a", "b"), "'a' has no name; of several models"),
        (("a=m.tflite", "a=n.tflite"), "'a' is the name of two models"),
        (("a=",), "'a=' has no name"),
        (("a=m.tflite", "n.tflite"), "'n.tflite' has no name"),
    ],
)
def test_command_says_how_several_models_are_given(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["export", "android", *words, "--out", str(tmp_path / "b")], standalone_mode=False)
    assert isinstance(done.exception, ArgumentError) and said in str(done.exception)


def test_path_that_holds_an_equals_sign_is_a_path(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "00-quantize" / "int8", tmp_path / "x=y:z")
    words = ["export", "android", str(tmp_path / "x=y:z"), "--out", str(tmp_path / "b"), "-n", "1"]
    assert CliRunner().invoke(cli, words, standalone_mode=False).return_value == 0
    assert (tmp_path / "b" / "model.tflite").is_file() and not (tmp_path / "b" / "pictures").exists()
    words[2] = f"int8={tmp_path / 'x=y:z'}"
    words[4] = str(tmp_path / "c")
    assert CliRunner().invoke(cli, words, standalone_mode=False).return_value == 0
    assert (tmp_path / "c" / "int8" / "model.tflite").is_file()


def test_former_command_names_the_one_that_does_it_now() -> None:
    done = CliRunner().invoke(cli, ["assets", "runs/demo", "--out", "app"], standalone_mode=False)
    assert isinstance(done.exception, RecipeError)
    assert (done.exception.message, done.exception.hint) == (
        "unknown command 'assets'", "Use instead: edgefm export android",
    )  # fmt: skip


def test_commands_on_a_bundle_of_several_models_name_them(bundle: Path, tmp_path: Path) -> None:
    for words in (["inspect", str(bundle)], ["export", "web", str(bundle), "--out", str(tmp_path / "x")]):
        done = CliRunner().invoke(cli, words, standalone_mode=False)
        assert isinstance(done.exception, ModelError), done.output
        assert all(str(bundle / name) in str(done.exception.hint) for name in ROLES)


# The shipped one.


def test_shipped_bundle_is_whole_small_and_answers_as_it_should() -> None:
    result = edgefm.verify(SHIPPED, progress=False)
    assert result.held, (result.problems, [family.text for family in result.families])
    models = {path.parent.name: path.stat().st_size for path in SHIPPED.glob("*/model.tflite")}
    assert "int8" in models and max(models.values()) <= LARGEST_MODEL
    text = (SHIPPED / "README.md").read_text()
    for name, size in models.items():
        assert f"| `{name}/` |" in text and f"{size:,} bytes" in text
    assert len(list((SHIPPED / "pictures").iterdir())) == 30


def test_shipped_code_is_that_which_export_writes() -> None:
    names = [
        line.split("`")[1].strip("/") for line in (SHIPPED / "README.md").read_text().splitlines() if "bytes |" in line
    ]
    for name, content in for_android.code_files(names).items():
        assert (SHIPPED / name).read_bytes() == content, f"{name}: run make assets"


@pytest.mark.java
def test_shipped_models_prove_themselves(tmp_path: Path) -> None:
    verdicts = java_verdicts(SHIPPED, tmp_path)
    assert verdicts and all(verdict[0] == "true" for verdict in verdicts.values()), verdicts


def test_model_in_the_package_is_the_small_one() -> None:
    for name in ("model.tflite", "contract.json", "labels.txt"):
        assert (SHIPPED_MODEL.parent / name).read_bytes() == (SHIPPED / "small" / name).read_bytes(), name
