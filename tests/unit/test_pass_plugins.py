"""Passes of other packages: a real package on sys.path, with the entry points that an installer writes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefm.compression.fine_tuning.task import Task
from edgefm.core.errors import RecipeError
from edgefm.data.preprocessing import preprocessing
from edgefm.data.quality import quality
from edgefm.quantization.chain import Chain
from edgefm.recipes import Cluster, Prune, Qat, Quantization, Variant, plugins
from tests.fixtures.small_data import small_fashion_mnist

HALVE = """
from dataclasses import dataclass
from typing import ClassVar

from edgefm.recipes import Pass


@dataclass(frozen=True, kw_only=True)
class Halve(Pass):
    kind: ClassVar[str] = "halve"
    place: ClassVar[int] = 25
    description: ClassVar[str] = "halved"

    factor: float = 0.5


RECIPE = Halve


def run(model, recipe, task, *, seed, teacher, progress):
    import keras

    from edgefm.compression.fine_tuning.task import PassResult

    halved = keras.models.clone_model(model)
    halved.set_weights([weight * recipe.factor for weight in model.get_weights()])
    return PassResult(model=halved, facts={"factor": recipe.factor, "seed": seed})
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Write a package of one module with its entry points; take it away again."""
    modules: list[str] = []
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(module: str, code: str, *, kind: str, version: str = "1.0", attribute: str = "") -> None:
        (tmp_path / f"{module}.py").write_text(code)
        about = tmp_path / f"{module}-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: {version}\n")
        (about / "entry_points.txt").write_text(f"[{plugins.ENTRY_POINT_GROUP}]\n{kind} = {module}{attribute}\n")
        modules.append(module)

    plugins._warn_once.cache_clear()
    yield write
    for module in modules:
        sys.modules.pop(module, None)


def test_pass_of_another_package_is_read_from_json_and_back(install: Install) -> None:
    install("halving_pass", HALVE, kind="halve")
    passes = [{"kind": "prune"}, {"kind": "halve", "params": {"factor": 0.25, "exclude": ["a*"]}}, {"kind": "qat"}]
    value = {"kind": "quantize", "params": {"variants": [{"name": "mine", "passes": passes}]}}
    recipe = Quantization.from_json(value)
    (variant,) = recipe.variants
    assert [done.kind for done in variant.passes] == ["prune", "halve", "qat"]
    assert variant.passes[1].to_json()["params"]["factor"] == 0.25
    assert variant.description == "pruned; halved; int8, trained with quantisation in mind"
    assert Quantization.from_json(recipe.to_json()) == recipe
    assert list(plugins.passes()) == ["from_scratch", "slim", "prune", "halve", "cluster", "qat"]


@pytest.mark.parametrize("attribute", [":Halve", ":run", " : RECIPE"])
def test_entry_point_that_names_an_attribute_stands_for_its_module(install: Install, attribute: str) -> None:
    install("halving_pass", HALVE, kind="halve", attribute=attribute)
    plugin = plugins.pass_plugin("halve")
    assert (plugin.plugin.module, plugin.recipe.kind) == ("halving_pass", "halve")
    assert callable(plugin.run)


def test_place_among_the_passes_is_held(install: Install) -> None:
    install("halving_pass", HALVE, kind="halve")
    halve = plugins.pass_plugin("halve").recipe()
    Variant(name="right", passes=(Prune(), halve, Cluster(), Qat()))
    for wrong in ((halve, Prune(), Qat()), (Cluster(), halve, Qat()), (halve, halve, Qat())):
        with pytest.raises(RecipeError, match="slim, prune, halve, cluster, qat is the order"):
            Variant(name="wrong", passes=wrong)


def test_wrong_parameter_of_another_packages_pass_is_named(install: Install) -> None:
    install("halving_pass", HALVE, kind="halve")
    with pytest.raises(RecipeError, match="did you mean 'factor'"):
        plugins.recipe_of({"kind": "halve", "params": {"facter": 1.0}})


def test_chain_runs_the_pass_and_keeps_it_by_the_version_of_its_package(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    install("halving_pass", HALVE, kind="halve")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])
    dataset = small_fashion_mnist(train=20, validation=10, test=10)
    task = Task(dataset=dataset, encoding=preprocessing((0, 255)), quality=quality("accuracy", task="classification"))
    chain = Chain(model=model, key="0", task=task, folder=tmp_path / "passes", seed=3)
    passes = (plugins.pass_plugin("halve").recipe(),)
    (link,) = chain.run(passes)
    assert link.facts == {"factor": 0.5, "seed": 3}
    np.testing.assert_allclose(link.load().get_weights()[0], np.asarray(model.get_weights()[0]) / 2)
    assert chain.run(passes)[0].cached
    (tmp_path / "halving_pass-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: halving_pass\nVersion: 1.1\n"
    )
    assert not chain.run(passes)[0].cached


@pytest.mark.parametrize(
    ("kind", "code", "reason"),
    [
        ("broken", "import no_such_module", "broken_pass fails: ModuleNotFoundError: No module named 'no_such_module'"),
        ("broken", "RECIPE = None", "broken_pass fails: AttributeError: .*has no attribute 'run'"),
        (
            "broken",
            "RECIPE, run = 3, None",
            "RECIPE of broken_pass is 3; a subclass of .*Pass is expected",
        ),
        ("other", HALVE, "its recipe has the kind 'halve'; that of the entry point is expected"),
        ("halve", HALVE.replace("25", "41"), "states no place among the passes below 40"),
        ("halve", HALVE.replace("    place: ClassVar[int] = 25\n", ""), "states no place among the passes below 40"),
    ],
)
def test_broken_plug_in_is_named_and_the_rest_works(install: Install, kind: str, code: str, reason: str) -> None:
    install("broken_pass", code, kind=kind)
    with pytest.warns(RuntimeWarning, match=f"the plug-in '{kind}' of broken_pass is left out: .*{reason}"):
        assert list(plugins.passes()) == ["from_scratch", "slim", "prune", "cluster", "qat"]
    (unusable,) = plugins.unusable_passes()
    assert unusable.plugin.name == kind
    with pytest.raises(RecipeError, match=f"the pass '{kind}' cannot be used: .*{reason}"):
        plugins.recipe_of({"kind": kind})
    assert plugins.recipe_of({"kind": "prune"}) == Prune()


def test_taken_names_are_named_and_stay_with_their_holders(install: Install) -> None:
    install("a_pruning_pass", HALVE, kind="prune")
    install("b_first", HALVE, kind="halve")
    install("c_second", HALVE, kind="halve")
    with pytest.warns(RuntimeWarning, match="its name is taken by"):
        known: dict[str, Any] = plugins.passes()
    assert known["prune"] is Prune and len(known) == 6
    reasons = {unusable.plugin.package: unusable.reason for unusable in plugins.unusable_passes()}
    first = plugins.pass_plugin("halve").plugin.package
    (second,) = {"b_first", "c_second"} - {first}
    assert reasons == {
        "a_pruning_pass": "its name is taken by edgefm's own",
        second: f"its name is taken by that of {first}",
    }


def test_unknown_kind_names_the_nearest_pass_of_any_package(install: Install) -> None:
    install("halving_pass", HALVE, kind="halve")
    with pytest.raises(RecipeError, match="unknown kind of pass 'halv'; did you mean 'halve'"):
        plugins.recipe_of({"kind": "halv"})
