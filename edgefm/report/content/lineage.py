"""Which file each variant grew from: the one of the same run that lacks its last ingredient.

`pruned80_clustered16_qat_int8` grew from `pruned80_qat_int8`, that one from `qat_int8`, that one from `int8_w8a8`.
So each step between two measured files adds one thing, and what the step cost and bought is that thing's doing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgefm.core.errors import RecipeError
from edgefm.recipes import PostTraining, Prune, Qat, Quantization, Slim, Variant
from edgefm.recipes.passes import Cluster, Pass

ROOT = "float32"
TRAINED = "qat"
# What each quantisation refines; every chain ends in float32.
_FINER: Mapping[str, str] = {
    TRAINED: "int8_w8a8",
    "int8_w8a8_fc4": "int8_w8a8",
    "int8_w8a8": ROOT,
    "float16": ROOT,
    "drq_w8": ROOT,
    "int16x8": ROOT,
}
_WORDS: Mapping[str, tuple[str, str]] = {
    ROOT: ("as trained", "as trained"),
    TRAINED: ("int8, trained", "quantisation-aware training instead of calibration"),
    "int8_w8a8": ("int8, calibrated", "int8 weights and activations, ranges from calibration"),
    "int8_w8a8_fc4": ("int4 dense weights", "int4 weights in the dense layers"),
    "float16": ("float16 weights", "float16 weights"),
    "drq_w8": ("int8 weights", "int8 weights, activations quantised at run time"),
    "int16x8": ("int16 activations", "int8 weights, int16 activations"),
}

# How a pass is done, not what is asked of it; `preserve_...` follows from the passes before.
_NOT_ASKED = ("exclude", "fine_tuning", "preserve_sparsity", "preserve_clusters")


@dataclass(frozen=True, kw_only=True)
class Ingredient:
    """One thing that a variant has and the file that it grew from has not.

    Attributes:
      kind: of a pass ('slim', 'prune', 'cluster'), 'qat', a quantisation scheme, or an option of one.
      key: equal for two ingredients that ask for the same.
      short: for a picture, e.g. '80 % zeros'.
      words: for a sentence, e.g. '80 % of the weights made zero'.
    """

    kind: str
    key: str
    short: str
    words: str


_REWRITTEN = Ingredient(
    kind="for_xnnpack", key="for_xnnpack", short="for XNNPACK", words="layers rewritten for XNNPACK, equal answers"
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a variant was asked for.

    Attributes:
      passes: those before its quantisation.
      scheme: 'qat', or a post-training scheme.
      options: of the quantisation.
    """

    name: str
    passes: tuple[Ingredient, ...]
    scheme: str
    options: tuple[Ingredient, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Growth:
    """A variant, the one that it grew from, and what was added on the way.

    Attributes:
      parent: None for a root: float32, or a variant of which the run holds no predecessor.
      depth: steps from the root.
      added: nothing for a root.
    """

    name: str
    parent: str | None
    depth: int
    added: tuple[Ingredient, ...]


def plans(recipe: Mapping[str, Any]) -> dict[str, Plan]:
    """Return the plans of the variants of a quantisation recipe in JSON; none where it cannot be understood."""
    try:
        variants = Quantization.from_json(recipe).variants
    except RecipeError:
        return {}
    return {variant.name: plan(variant) for variant in variants}


def plan(variant: Variant) -> Plan:
    """Return the plan of a variant."""
    quantization = variant.quantization
    return Plan(
        name=variant.name,
        passes=tuple(_of_pass(recipe) for recipe in variant.passes if recipe.kind != TRAINED),
        scheme=TRAINED if quantization is None else quantization.scheme,
        options=(
            *(_of_training(variant.passes) if quantization is None else _of_options(quantization)),
            *((_REWRITTEN,) if variant.for_xnnpack else ()),
        ),
    )


def tree(known: Mapping[str, Plan], names: Sequence[str]) -> list[Growth]:
    """Return the variants as a tree, each right behind the one that it grew from and those that grew before it.

    Args:
      known: plans by name.
      names: of the files that there are; those without a plan are roots.
    """
    parents = {name: _parent(known, name, names) for name in names}
    order: list[Growth] = []

    def visit(name: str, depth: int) -> None:
        parent = parents[name]
        added = () if parent is None else tuple(_added(known[parent], known[name]))
        order.append(Growth(name=name, parent=parent, depth=depth, added=added))
        for child in names:
            if parents[child] == name:
                visit(child, depth + 1)

    for name in names:
        if parents[name] is None:
            visit(name, 0)
    return order


def _parent(known: Mapping[str, Plan], name: str, names: Iterable[str]) -> str | None:
    own = known.get(name)
    if own is None:
        return None
    candidates: list[tuple[int, int, bool, str]] = []
    for other in names:
        candidate = known.get(other)
        if candidate is None or other == name:
            continue
        missing = _missing(candidate, own)
        if missing:
            # Of two that lack one pass, the one that lacks the later pass: passes go in this order. Options go last.
            kept = len(_common_start(candidate, own))
            candidates.append((len(missing), -kept, candidate.scheme != own.scheme, other))
    return min(candidates)[3] if candidates else None


def _missing(earlier: Plan, later: Plan) -> list[str]:
    """Return what `earlier` lacks of `later`; nothing where it is no predecessor, or the same."""
    chain = _chain(later.scheme)
    if earlier.scheme not in chain:
        return []
    for before, after in ((earlier.passes, later.passes), (earlier.options, later.options)):
        if not {ingredient.key for ingredient in before} <= {ingredient.key for ingredient in after}:
            return []
    schemes = chain[: chain.index(earlier.scheme)]
    passes = {ingredient.key for ingredient in later.passes} - {ingredient.key for ingredient in earlier.passes}
    options = {ingredient.key for ingredient in later.options} - {ingredient.key for ingredient in earlier.options}
    return [*schemes, *passes, *options]


def _common_start(first_plan: Plan, second_plan: Plan) -> list[str]:
    common = []
    for first, second in zip(first_plan.passes, second_plan.passes, strict=False):
        if first.key != second.key:
            break
        common.append(first.key)
    return common


def _added(earlier: Plan, later: Plan) -> Iterable[Ingredient]:
    before = {ingredient.key for ingredient in (*earlier.passes, *earlier.options)}
    yield from (ingredient for ingredient in later.passes if ingredient.key not in before)
    if earlier.scheme != later.scheme:
        short, words = _WORDS[later.scheme]
        if later.scheme == TRAINED and earlier.scheme == ROOT:
            words = "int8 weights and activations, quantisation-aware training"
        yield Ingredient(kind=later.scheme, key=later.scheme, short=short, words=words)
    yield from (ingredient for ingredient in later.options if ingredient.key not in before)


def _chain(scheme: str) -> list[str]:
    chain = [scheme]
    while chain[-1] in _FINER:
        chain.append(_FINER[chain[-1]])
    return chain


def _of_pass(recipe: Pass) -> Ingredient:
    if isinstance(recipe, Prune):
        share = f"{100 * recipe.sparsity:g} %"
        where = {"2:4": ", two in every four", "block_1x16": ", dense kernels in blocks of 16"}.get(recipe.pattern, "")
        short, words = f"{share} zeros", f"{share} of the weights made zero{where}"
    elif isinstance(recipe, Cluster):
        short, words = f"{recipe.clusters} levels", f"{recipe.clusters} levels for the weights of each kernel"
    elif isinstance(recipe, Slim) and recipe.keep is not None:
        short, words = f"{100 * recipe.keep:g} % of channels", f"{100 * recipe.keep:g} % of each layer's channels kept"
    elif isinstance(recipe, Slim):
        assert recipe.budget is not None
        shares = {"MACs": recipe.budget.macs, "bytes": recipe.budget.size, "time": recipe.budget.latency}
        limits = ", ".join(f"{100 * share:g} % of the {name}" for name, share in shares.items() if share is not None)
        short, words = f"at most {limits}", f"channels removed down to {limits}"
    else:
        short = words = recipe.kind
    wishes = {name: value for name, value in recipe.to_json()["params"].items() if name not in _NOT_ASKED}
    key = json.dumps([recipe.kind, wishes], sort_keys=True)
    return Ingredient(kind=recipe.kind, key=key, short=short, words=words)


def _of_training(passes: Iterable[Pass]) -> Iterable[Ingredient]:
    last = list(passes)[-1]
    if isinstance(last, Qat) and not last.per_channel:
        words = "one scale for each kernel"
        yield Ingredient(kind="per_tensor", key="per_tensor", short="one scale", words=words)


def _of_options(quantization: PostTraining) -> Iterable[Ingredient]:
    if quantization.equalize:
        yield Ingredient(kind="equalize", key="equalize", short="equalised", words="layers equalised")
    if quantization.correct_bias:
        yield Ingredient(kind="correct_bias", key="correct_bias", short="biases corrected", words="biases corrected")
    if quantization.keep_int8:
        kept = ", ".join(quantization.keep_int8)
        yield Ingredient(
            kind="keep_int8", key=f"keep_int8 {kept}", short="some dense layers int8", words=f"{kept} kept in int8"
        )
    if quantization.keep_float:
        kept = ", ".join(quantization.keep_float)
        yield Ingredient(
            kind="keep_float", key=f"keep_float {kept}", short="some layers float32", words=f"{kept} kept in float32"
        )
