"""Compression passes of other packages, found through the entry point group `edgefm.passes`.

A pass is a module with two names::

    @dataclass(frozen=True, kw_only=True)
    class Halve(edgefm.recipes.Pass):
        kind: ClassVar[str] = "halve"            # in JSON, and the name of the entry point
        place: ClassVar[int] = 25                # between pruning (20) and clustering (30); see edgefm.recipes.Pass
        description: ClassVar[str] = "halved"    # in tables

    RECIPE = Halve

    def run(model, recipe, task, *, seed, teacher, progress) -> edgefm.compression.fine_tuning.task.PassResult

    [project.entry-points."edgefm.passes"]
    halve = "my_package.my_module"

The module is imported when a recipe names its kind, and when passes are listed: heavy imports belong into `run`.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from edgefm.core import plugins
from edgefm.core.errors import RecipeError, unknown_name
from edgefm.core.plugins import Plugin, UnusablePlugin
from edgefm.recipes.passes import PASSES, Pass, Qat

ENTRY_POINT_GROUP = "edgefm.passes"


@dataclass(frozen=True, kw_only=True)
class PassPlugin:
    """A pass of another package.

    Attributes:
      plugin: where it comes from.
      recipe: class of its recipe.
      run: the pass itself; see above.
    """

    plugin: Plugin
    recipe: type[Pass]
    run: Any


def passes() -> dict[str, type[Pass]]:
    """Return the recipes of all passes by kind, in their order; of a plug-in that cannot be used it warns once."""
    usable, unusable = _loaded()
    for plugin in unusable:
        _warn_once(str(plugin))
    known = [*PASSES.values(), *(plugin.recipe for plugin in usable)]
    return {recipe.kind: recipe for recipe in sorted(known, key=lambda recipe: recipe.place)}


def unusable_passes() -> tuple[UnusablePlugin, ...]:
    """Return the plug-ins that cannot be used: one that fails, or whose name is taken."""
    return _loaded()[1]


def pass_plugin(kind: str) -> PassPlugin:
    """Return the pass of another package by its kind.

    Raises:
      RecipeError: it cannot be used, or no package offers it.
    """
    plugin = next((plugin for plugin in plugins.plugins(ENTRY_POINT_GROUP, PASSES) if plugin.name == kind), None)
    if plugin is None:
        raise unknown_name("kind of pass", kind, passes())
    loaded = _load(plugin)
    if isinstance(loaded, UnusablePlugin):
        raise RecipeError(f"the pass '{kind}' cannot be used: {loaded.reason}")
    return loaded


def recipe_of(value: Mapping[str, Any]) -> Pass:
    """Return the recipe of a pass from JSON with a kind; see `Recipe.from_json`."""
    kind = str(value["kind"])
    return (PASSES[kind] if kind in PASSES else pass_plugin(kind).recipe).from_json(value)


def _loaded() -> tuple[list[PassPlugin], tuple[UnusablePlugin, ...]]:
    loaded = [_load(plugin) for plugin in plugins.plugins(ENTRY_POINT_GROUP, PASSES)]
    broken = [plugin for plugin in loaded if isinstance(plugin, UnusablePlugin)]
    usable = [plugin for plugin in loaded if isinstance(plugin, PassPlugin)]
    return usable, (*broken, *plugins.of_taken_names(ENTRY_POINT_GROUP, PASSES))


def _load(plugin: Plugin) -> PassPlugin | UnusablePlugin:
    try:
        module = importlib.import_module(plugin.module)
        recipe, run = module.RECIPE, module.run
    except Exception as error:  # another package's code: whatever is wrong with it is the reason
        return UnusablePlugin(plugin=plugin, reason=f"{plugin.module} fails: {type(error).__name__}: {error}")
    reason = _why_not(plugin, recipe)
    return UnusablePlugin(plugin=plugin, reason=reason) if reason else PassPlugin(plugin=plugin, recipe=recipe, run=run)


def _why_not(plugin: Plugin, recipe: Any) -> str | None:
    if not (isinstance(recipe, type) and issubclass(recipe, Pass)):
        return f"RECIPE of {plugin.module} is {recipe!r}; a subclass of edgefm.recipes.Pass is expected"
    if getattr(recipe, "kind", None) != plugin.name:
        return f"its recipe has the kind '{getattr(recipe, 'kind', None)}'; that of the entry point is expected"
    if not isinstance(getattr(recipe, "place", None), int) or recipe.place >= Qat.place:
        return f"its recipe states no place among the passes below {Qat.place}, that of qat, which makes the int8 file"
    return None


@cache
def _warn_once(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=3)
