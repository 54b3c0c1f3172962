"""The examples of docs/extending.md do what the page says; the plug-in is found as an installed package is."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import edgefm
from edgefm import runtimes, targets, zoo
from edgefm.benchmarking import harness
from edgefm.benchmarking.measured import ModelFile
from edgefm.cli.main import cli
from edgefm.core.errors import RecipeError
from edgefm.recipes import BenchmarkProtocol
from edgefm.zoo import catalogue
from tests.fixtures import tiny_models
from tests.fixtures.small_data import small_fashion_mnist

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples"
LONGEST = 30  # lines that are not blank: an example is read at one look


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the example's modules importable, and its entry points known, as pip does."""
    project = tomllib.loads((EXAMPLES / "plugin" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    about = tmp_path / "site" / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    (about / "entry_points.txt").write_text(
        "".join(f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in rows.items()) for group, rows in groups)
    )
    monkeypatch.syspath_prepend(str(about.parent))
    monkeypatch.syspath_prepend(str(EXAMPLES / "plugin"))


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.py")), ids=lambda path: path.name)
def test_example_is_short(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(lines) <= LONGEST


@pytest.mark.usefixtures("plugin")
def test_runtime_of_a_plugin_is_measured_in_workers(tmp_path: Path) -> None:
    matrix = np.eye(4, 3, dtype=np.float32)
    np.save(tmp_path / "model.npy", matrix)
    protocol = BenchmarkProtocol(runtime="linear", rounds=1, rounds_at_most=1, round_seconds=0.01, round_invokes=5)
    models = [ModelFile(name="model", path=tmp_path / "model.npy")]
    found = harness.measure(models, dataset=None, protocol=protocol, reference="model")
    (row,) = found.record["models"]
    assert row["status"] == "ok", row["reason"]
    assert row["runtime"]["name"] == "linear"
    with runtimes.runtime("linear").load(tmp_path / "model.npy") as session:
        sample = np.arange(4, dtype=np.float32)[np.newaxis]
        np.testing.assert_array_equal(session.run(sample), sample @ matrix)


@pytest.mark.usefixtures("plugin")
def test_target_of_a_plugin_estimates_and_runs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_models.dense(np.ones((10, 16), np.float32)))
    command = ["benchmark", str(path), "--target", "datasheet:1e9", "--latency-only", "--json"]
    result = CliRunner().invoke(cli, command, standalone_mode=False)
    (row,) = json.loads(result.stdout)["models"]
    (figure,) = row["figures"]
    assert figure["name"] == "latency_ns" and figure["mode"] == "estimated" and figure["value"] == pytest.approx(160)
    with pytest.raises(RecipeError, match="no number of MACs"):
        targets.target("datasheet:fast")


@pytest.mark.usefixtures("plugin")
def test_pass_of_a_plugin_is_run_by_compress_through_its_entry_point() -> None:
    import keras
    from my_pass import Round

    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10, name="dense")])
    before = model.get_weights()[0].copy()
    data = small_fashion_mnist(train=20, validation=10, test=10)
    result = edgefm.compress(model, [Round(digits=2)], data=data, progress=False)
    (applied,) = result.passes
    (after,) = (layer.get_weights()[0] for layer in result.model.layers if layer.name == "dense")
    np.testing.assert_array_equal(model.get_weights()[0], before)
    # Half a unit of two binary digits: 1/8 of a mantissa, which is 1/2 or more.
    assert np.all(np.abs(after - before) <= np.abs(before) / 4)
    assert applied.recipe == Round(digits=2)
    assert applied.facts["levels"]["dense"] == len(np.unique(after)) < len(np.unique(before))


@pytest.mark.usefixtures("plugin")
def test_passes_of_a_plugin_and_of_edgefm_keep_their_order() -> None:
    from my_pass import Round

    with pytest.raises(RecipeError, match="slim, prune, round, cluster, qat is the order"):
        edgefm.compress("m.keras", [edgefm.Cluster(), Round()], data="x.npz")


def test_pass_without_its_entry_point_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    monkeypatch.syspath_prepend(str(EXAMPLES / "plugin"))
    from my_pass import Round

    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    with pytest.raises(RecipeError, match="unknown kind of pass 'round'"):
        edgefm.compress(model, [Round()], data=small_fashion_mnist(train=20, validation=10, test=10), progress=False)


@pytest.mark.usefixtures("plugin")
def test_pass_of_a_plugin_is_known_to_recipes_by_its_entry_point() -> None:
    from my_pass import Round

    variant = {
        "name": "rounded",
        "passes": [{"kind": "round", "params": {"digits": 2}}],
        "quantization": {"scheme": "float32"},
    }
    recipe = edgefm.Quantization.from_json({"kind": "quantize", "params": {"variants": [variant]}})
    assert recipe.variants[0].passes == (Round(digits=2),)
    assert edgefm.Quantization.from_json(recipe.to_json()) == recipe


def test_model_of_the_zoo_is_built_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setitem(catalogue._MODULES, "tiny_cnn", "tiny_cnn")
    model = zoo.build("tiny_cnn")
    assert model.count_params() == zoo.architecture("tiny_cnn").trainable
    assert model.output_shape == (None, 10)
    assert "tiny_cnn" in CliRunner().invoke(cli, ["zoo"], standalone_mode=False).output
