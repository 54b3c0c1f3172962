"""Runs, records, contracts and recipes from somebody else: wrong in one place, refused with that place named."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgefm.benchmarking import record as records
from edgefm.benchmarking.step import models_of
from edgefm.cli.main import cli, run
from edgefm.comparison.shipping.of_run import run_verdict
from edgefm.core import artefacts
from edgefm.core.errors import EdgefmError, ModelError, RunError
from edgefm.core.runs import RunDirectory
from edgefm.data.source import data_source_of
from edgefm.jobs.export.models import models_meant
from edgefm.jobs.predict import default_model
from edgefm.jobs.quantize import QuantizationResult
from edgefm.jobs.verdict import verdict
from edgefm.recipes import load
from edgefm.report.content import inputs
from edgefm.runtimes.base import TensorDetails
from edgefm.tflite import contract as contracts
from edgefm.tflite.contract_fit import check_fit
from tests.fixtures.benchmark_records import benchmark_record, row
from tests.fixtures.shipping_cases import CASES, write_run

FORMER = Path(__file__).parents[1] / "fixtures" / "former_run.zip"
STEP, IMPORT, BENCHMARK = "01-quantize", "00-import", "02-benchmark"
CONTRACT = f"{STEP}/int8_w8a8/contract.json"
DELETED = object()

# Which file, who reads it, the place in the file, what stands there, what the error says.
Case = tuple[str, str, tuple[Any, ...], Any, str]


@pytest.fixture
def former(tmp_path: Path) -> Path:
    with zipfile.ZipFile(FORMER) as archive:
        archive.extractall(tmp_path)
    return tmp_path / "run"


def changed(path: Path, place: tuple[Any, ...], value: Any) -> None:
    """Put another value at a place of a JSON file, or delete what is there."""
    whole = holder = json.loads(path.read_text(encoding="utf-8"))
    for key in place[:-1]:
        holder = holder[key]
    if value is DELETED:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    path.write_text(json.dumps(whole), encoding="utf-8")


READERS: dict[str, Callable[[Path], Any]] = {
    "manifest": lambda folder: RunDirectory.open(folder).steps(),
    "data": lambda folder: data_source_of(RunDirectory.open(folder)),
    "contract": lambda folder: contracts.read(folder / STEP / "int8_w8a8" / "model.tflite"),
    "files": lambda folder: QuantizationResult.open(folder / STEP).files,
    "report": lambda folder: inputs.read(RunDirectory.open(folder)),
    "record": lambda folder: records.read(folder / BENCHMARK / "record.json"),
}


@pytest.mark.parametrize(
    ("file", "reader", "place", "value", "says"),
    [
        ("manifest.json", "manifest", ("steps", 1, "name"), "../secret", "steps[1].name is '../secret'; the name"),
        ("manifest.json", "manifest", ("steps", 1, "name"), "/01-quantize", "is '/01-quantize'; the name of a step"),
        ("manifest.json", "manifest", ("steps", 1, "name"), "01-quantize/..", "the name of a step, such as 00-train,"),
        ("manifest.json", "manifest", ("steps", 1, "kind"), "steal", "kind is 'steal'; 'train' or 'import' or"),
        ("manifest.json", "manifest", ("steps", 1, "outputs", 0, "path"), "x/../../x", "a path inside the run"),
        ("manifest.json", "manifest", ("steps", 1, "outputs", 0, "path"), "/etc/passwd", "a path inside the run"),
        ("manifest.json", "manifest", ("steps", 1, "outputs", 0, "sha256"), "0", "a sha256 of 64 hexadecimal digits"),
        ("manifest.json", "manifest", ("steps", 1, "outputs", 0, "size_bytes"), -1, "size_bytes is -1; at least 0"),
        ("manifest.json", "manifest", ("steps",), {}, "steps is an object of 0; a list is expected"),
        ("manifest.json", "manifest", ("steps", 0), "x", "steps[0] is 'x'; an object is expected"),
        ("manifest.json", "manifest", ("steps", 0, "key"), DELETED, "steps[0] has no 'key'"),
        ("manifest.json", "manifest", ("steps", 0, "seconds"), "5", "steps[0].seconds is '5'; a number is expected"),
        ("manifest.json", "manifest", ("steps", 0, "summary"), None, "steps[0].summary is null; an object is expected"),
        ("manifest.json", "manifest", ("steps", 0, "summary", "head"), {"shape": "x"}, "head"),
        ("manifest.json", "manifest", ("steps", 0, "recipe", "params", "value_range"), [1], "value_range"),
        ("manifest.json", "manifest", ("steps", 2, "recipe", "params"), None, "recipe.params is null; an object is"),
        ("manifest.json", "manifest", ("steps", 0, "unknown"), 1, "has the unknown key 'unknown'; known: name, kind,"),
        ("manifest.json", "manifest", ("schema_version",), True, "schema_version is true; 1 is expected"),
        ("00-import/source.json", "data", ("model",), "../model.keras", "the name of a file in the same folder"),
        ("00-import/source.json", "data", ("data", "where"), 5, "data.where is 5; a text is expected"),
        ("00-import/source.json", "data", ("data", "labels"), "abc", "data.labels is 'abc'; a list or null"),
        ("00-import/source.json", "data", ("data", "task"), "steal", "data.task is 'steal'; 'classification' or"),
        (CONTRACT, "contract", ("input", "shape"), "x", "input.shape is 'x'; a list is expected"),
        (CONTRACT, "contract", ("input", "shape", 1), 0, "input.shape[1] is 0; at least 1 is expected"),
        (CONTRACT, "contract", ("input", "scale"), 0, "input.scale is 0; at least 1e-38 is expected"),
        (CONTRACT, "contract", ("input", "zero_point"), None, "input.zero_point is null; a whole number is expected"),
        (CONTRACT, "contract", ("input", "dtype"), "float32", "input.dtype is 'float32'; 'int8' or 'uint8' or"),
        (CONTRACT, "contract", ("input", "dtype"), "object", "input.dtype is 'object'; 'float32' or"),
        (CONTRACT, "contract", ("outputs",), [], "outputs is a list of 0; a list of at least 1 is expected"),
        (CONTRACT, "contract", ("preprocessing", "std"), 0, "preprocessing.std is 0; at least 1e-30 is expected"),
        (CONTRACT, "contract", ("labels",), None, "labels is null; a list is expected"),
        (CONTRACT, "contract", ("labels", 0), {"a": 1}, "labels[0] is an object of 1; a text is expected"),
        (CONTRACT, "contract", ("file",), "../model.tflite", "the name of a file in the same folder"),
        (CONTRACT, "contract", ("schema_version",), 4, "has schema version 4; this edgefm reads up to 3"),
        ("01-quantize/quantize.json", "files", ("variants", 0, "file"), "../../x.tflite", "a path inside the folder"),
        ("01-quantize/quantize.json", "files", ("variants", 0, "validation", "samples"), "9", "samples is '9'; a"),
        ("01-quantize/quantize.json", "report", ("variants",), "x", "variants is 'x'; a list is expected"),
        ("01-quantize/quantize.json", "report", ("variants", 0, "of_float32"), None, "of_float32 is null; a number"),
        ("01-quantize/quantize.json", "report", ("findings",), [{"where": "x"}], "findings[0] has no 'code'"),
        ("01-quantize/quantize.json", "report", ("variants", 0, "promises"), [{}], "promises[0] has no 'promise'"),
        ("01-quantize/quantize.json", "report", ("variants", 2, "passes", 0, "history"), [5], "history[0] is 5; an"),
        ("02-benchmark/record.json", "record", ("models", 0, "size_bytes"), -1, "models[0].size_bytes is -1; at least"),
        ("02-benchmark/record.json", "record", ("models", 0, "latency_ns", "p50", "value"), 0, "a time above 0 with"),
        ("02-benchmark/record.json", "record", ("models", 0, "facts"), {"arena_bytes": "x"}, "arena_bytes is 'x'"),
        ("02-benchmark/record.json", "record", ("models", 0, "runtime", "options", "threads"), "x", "threads is 'x'"),
        ("02-benchmark/record.json", "record", ("models", 0, "confusion"), [[1], [1, 2]], "is no square matrix"),
        ("02-benchmark/record.json", "record", ("models", 1, "against_reference", "flipped"), [10**9], "an image"),
        ("02-benchmark/record.json", "record", ("models", 0, "accuracy", "low"), 1, "outside of its interval 1 to"),
        ("02-benchmark/record.json", "record", ("models", 0, "rounds", 0, "invoke_ns"), [*range(40), 2**60], "invoke"),
        ("02-benchmark/record.json", "record", ("protocol",), {}, "protocol has no 'params'"),
    ],
)  # fmt: skip
def test_value_that_is_not_allowed_is_named_with_its_place(
    former: Path, file: str, reader: str, place: tuple[Any, ...], value: Any, says: str
) -> None:
    READERS[reader](former)  # as it was written it is read
    changed(former / file, place, value)
    with pytest.raises(EdgefmError) as caught:
        READERS[reader](former)
    assert str(former / file) in caught.value.message and says in caught.value.message
    assert caught.value.hint and len(caught.value.message) < 600


@pytest.mark.parametrize("file", ["manifest.json", CONTRACT, "01-quantize/quantize.json", "02-benchmark/record.json"])
def test_fifo_in_a_run_is_refused_without_waiting_for_it(former: Path, file: str) -> None:
    (former / file).unlink()
    os.mkfifo(former / file)
    with pytest.raises(EdgefmError, match="is a FIFO; a file is expected"):
        inputs.read(RunDirectory.open(former))


def test_step_that_is_a_link_out_of_the_run_is_refused(former: Path) -> None:
    secret = former.parent / "secret"
    (former / STEP).rename(secret)
    (former / STEP).symlink_to(secret)
    opened = RunDirectory(former)
    step = opened.require("quantize")
    for reads in (
        lambda: RunDirectory.open(former),
        lambda: opened.folder(step),
        lambda: opened.find(step.key),
        lambda: default_model(former),
        lambda: models_of(opened, step),
        lambda: inputs.read(opened),
    ):
        with pytest.raises(RunError, match="a link that leaves its folder"):
            reads()


def test_variant_that_is_a_link_out_of_the_run_is_refused(former: Path, tmp_path: Path) -> None:
    variant, secret = default_model(former).parent, tmp_path / "secret"
    variant.rename(secret)
    variant.symlink_to(secret)
    opened = RunDirectory(former)
    for reads in (
        lambda: RunDirectory.open(former),
        lambda: default_model(former),
        lambda: models_of(opened, opened.require("quantize")),
        lambda: models_meant(former, "android", variant.name),
        lambda: QuantizationResult.open(former / STEP)[variant.name],
    ):
        with pytest.raises(RunError, match="a link that leaves its folder"):
            reads()


def test_model_of_a_record_that_is_called_like_a_path_is_refused(tmp_path: Path) -> None:
    written = write_run(next(case for case in CASES if case.name == "one-failed"), tmp_path)
    assert default_model(written).parent.name == "int8_w8a8"
    path = written / BENCHMARK / "record.json"
    path.write_text(path.read_text().replace('"name": "int8_w8a8"', '"name": "../../secret"'))
    for reads in (lambda: run_verdict(RunDirectory.open(written)), lambda: default_model(written)):
        with pytest.raises(RunError, match=r"names '\.\./\.\./secret/model\.tflite': a path inside its folder"):
            reads()


@pytest.mark.parametrize("name", ["private.key", "x" * 5000 + ".tflite", "a\0.tflite", "folder.tflite"])
def test_file_that_a_record_names_is_read_where_it_is_a_model_alone(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "private.key").write_text("secret")
    (tmp_path / "folder.tflite").mkdir()
    path = tmp_path / "record.json"
    rows = [row(place, file=str(tmp_path / name)) for place in ("float32", "int8_w8a8")]
    records.write(path, benchmark_record(rows))

    def read(file: Path) -> str:
        raise AssertionError(f"{file} was read")

    monkeypatch.setattr(artefacts, "sha256_file", read)
    assert verdict(path).state


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shape": (1, 60_000, 60_000, 3)}, r"it says input uint8 \(1, 4\), the file has uint8 \(1, 60000, 60000, 3\)"),
        ({"dtype": "int8"}, "the file has int8"),
        ({"scale": 0.25}, r"scale and zero point \(0\.5, 3\), the file has \(0\.25, 3\)"),
        ({"zero_point": 4}, r"the file has \(0\.5, 4\)"),
        ({"scale": None, "zero_point": None}, "the file has"),
    ],
)
def test_contract_of_another_model_is_refused(changes: dict[str, Any], says: str) -> None:
    end: dict[str, Any] = {"dtype": "uint8", "shape": (1, 4), "scale": 0.5, "zero_point": 3}
    said = contracts.Tensor(name="x", value_range=(0.0, 1.0), **end)
    agreed = contracts.Contract(
        name="m", variant="v", file="m.tflite", sha256="0" * 64, size_bytes=1, input=said, outputs=(said,), mean=0.0,
        std=1.0, labels=(),
    )  # fmt: skip
    found = TensorDetails(name="y", **end)
    check_fit(agreed, found, (found,))
    other = TensorDetails(name="y", **{**end, **changes})
    for ends in ((other, (found,)), (found, (other,))):
        with pytest.raises(ModelError, match="is not that of this model"):
            check_fit(agreed, *ends)
    with pytest.raises(ModelError, match=says):
        check_fit(agreed, other, (found,))
    with pytest.raises(ModelError, match="it says 1 outputs, the file has 2"):
        check_fit(agreed, found, (found, found))


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 0.0, -1.0])
def test_scale_that_means_nothing_is_refused_where_a_model_is_loaded(scale: float) -> None:
    with pytest.raises(ModelError, match=f"'x' has the scale {scale}: its values mean nothing"):
        TensorDetails(name="x", dtype="int8", shape=(1,), scale=scale, zero_point=0)


PASS = {"kind": "prune", "params": {"fine_tuning": {"distillation": {"teachers": {"a": 1}}}}}


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ({"params": {"variants": [{"name": "v", "passes": [PASS]}]}}, "teachers of a 'distillation' recipe is an"),
        ({"version": True}, "recipe version true is not allowed: 1 to 2 is expected"),
        ({"version": 0}, "recipe version 0 is not allowed"),
        ({"version": 3}, "recipe version 3 is newer than 2"),
        ({"params": {"seed": 2**32}}, "seed 4294967296 is not allowed: it must be at most 4294967295"),
        ({"params": {"calibration_images": 2**62}}, "it must be at most 1000000000"),
        ({"params": {"variants": [{"name": "v" * 101, "quantization": "float32"}]}}, "at most 100 letters"),
        ({"params": {"variants": ["clustered" + "9" * 5000 + "_int8_w8a8"]}}, "unknown variant 'clustered999"),
        ({"params": {"variants": [[["a"]] * 100_000]}}, "a variant is a list of 100000; a name or an object"),
        ({"params": {"variants": ["float32"] * 1001}}, "a recipe has 1,001 variants: at most 1000 are allowed"),
        ({"params": {"x" * 100_000: 1}}, "unknown parameter of a 'quantize' recipe 'xxxx"),
        ({"params": {"fold_batch_norm": "A" * 100_000}}, "fold_batch_norm of a 'quantize' recipe is 'AAAA"),
        ({"params": 5}, "the params of a 'quantize' recipe are 5"),
    ],
)  # fmt: skip
def test_recipe_of_others_is_refused_in_a_short_sentence(
    tmp_path: Path, recipe: dict[str, Any], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({"kind": "quantize", **recipe}))
    with pytest.raises(EdgefmError) as caught:
        load(path)
    assert says in caught.value.message and len(caught.value.message) < 400 + len(str(path))
    assert run(lambda: cli.main(["recipes", "validate", str(path)], standalone_mode=False)) == 2
    assert capsys.readouterr().err.count("error: ") == 1
