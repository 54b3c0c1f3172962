"""Which TFLite files are written: variants, each a list of passes and a quantisation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from edgefm.core.documents import shown
from edgefm.core.errors import RecipeError, unknown_name
from edgefm.recipes import plugins
from edgefm.recipes.base import MOST_SEED, Recipe, at_least, one_of, params_of, typed
from edgefm.recipes.passes import Cluster, Pass, Prune, Qat, Slim

SCHEMES: dict[str, str] = {
    "float32": "float32 weights and activations: the reference",
    "float16": "float16 weights, float32 arithmetic",
    "drq_w8": "dynamic range: int8 weights, activations quantised at run time, float32 in and out",
    "int8_w8a8": "full integer: int8 weights and activations, uint8 in and out",
    "int8_w8a8_fc4": "as int8_w8a8 with int4 weights in the dense layers",
    "int16x8": "int8 weights, int16 activations, float32 in and out; no fast kernel exists",
}
# Of which weights of dense layers are int4.
FOUR_BITS = "int8_w8a8_fc4"
_MOST_VARIANTS = 1000
CALIBRATED = ("int8_w8a8", "int8_w8a8_fc4", "int16x8")
_FOR_XNNPACK = ("int8_w8a8", "int8_w8a8_fc4")


@dataclass(frozen=True, kw_only=True)
class PostTraining(Recipe):
    """Quantising after training; nothing is trained.

    Attributes:
      scheme: a name from `SCHEMES`.
      equalize: cross-layer equalisation first (Nagel et al. 2019, arXiv:1906.04721).
      correct_bias: correct biases for the mean error that rounded weights make (same source).
      keep_float: names of layers that stay float32; `*` and `?` match as in file names.
      keep_int8: names of dense layers whose weights are int8 where the scheme makes the others int4; as above.
    """

    kind: ClassVar[str] = "post_training"

    scheme: str = "int8_w8a8"
    equalize: bool = False
    correct_bias: bool = False
    keep_float: tuple[str, ...] = ()
    keep_int8: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        one_of("quantisation scheme", self.scheme, tuple(SCHEMES))
        if self.keep_int8 and (self.scheme != FOUR_BITS or self.correct_bias):
            raise RecipeError(
                f"keep_int8 names {', '.join(self.keep_int8)}; it goes with the scheme {FOUR_BITS} alone, without "
                "correct_bias",
                hint="Leave keep_int8 out.",
            )


def check_order(passes: Sequence[Pass], *, of: str) -> None:
    """Raise a RecipeError unless passes stand in the order in which they are of use, each at most once."""
    kinds, places = [recipe.kind for recipe in passes], [recipe.place for recipe in passes]
    if sorted(places) != places or len(set(kinds)) != len(kinds):
        raise RecipeError(
            f"{of} has the passes {', '.join(kinds)}: {', '.join(plugins.passes())} is the order, each at most once",
            hint="Another order would undo what the earlier pass did.",
        )


@dataclass(frozen=True, kw_only=True)
class Variant(Recipe):
    """One TFLite file: how it is made from the trained model.

    Attributes:
      name: of its folder.
      passes: in the order of their `place`, from_scratch, slim, prune, cluster, qat, each at most once.
      quantization: after the passes; None exactly where the last pass is qat, which is int8 by itself.
      accuracy_drop_at_most: percentage points that it may lose against float32 on the validation images; more is
        said, and the file is kept all the same. None states no limit; an error such as MSE has none.
      for_xnnpack: layers stored as XNNPACK's int8 kernels run them faster, with the same answers bit for bit
        (docs/adr/0030). Only of int8 variants, and not behind prune or cluster, whose zeros and levels are counted in
        the layers as they were.
    """

    kind: ClassVar[str] = "variant"

    name: str
    passes: tuple[Pass, ...] = ()
    quantization: PostTraining | None = None
    accuracy_drop_at_most: float | None = None
    for_xnnpack: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", self.name):
            raise RecipeError(
                f"{shown(self.name)} cannot name a variant: at most 100 letters, digits, '_', '-' and '.' are allowed",
                hint="It names the folder of the file, e.g. pruned80_qat_int8.",
            )
        check_order(self.passes, of=f"variant '{self.name}'")
        if self.trained_int8 and self.quantization is not None:
            raise RecipeError(f"variant '{self.name}' ends in qat, which is int8 by itself: leave out its quantization")
        if not self.trained_int8 and self.quantization is None:
            raise RecipeError(
                f"variant '{self.name}' has no quantization", hint=f"Give one of the schemes {', '.join(SCHEMES)}."
            )
        if self.for_xnnpack:
            self._check_for_xnnpack()

    def _check_for_xnnpack(self) -> None:
        scheme = "qat" if self.quantization is None else self.quantization.scheme
        if scheme != "qat" and scheme not in _FOR_XNNPACK:
            raise RecipeError(
                f"variant '{self.name}' is {scheme}: only int8 layers are rewritten for XNNPACK",
                hint=f"Schemes: {', '.join(_FOR_XNNPACK)}; or end the passes in qat.",
            )
        counted = next((recipe.kind for recipe in self.passes if recipe.kind in ("prune", "cluster")), None)
        if counted:
            raise RecipeError(
                f"variant '{self.name}' has the pass {counted}: its zeros and levels are counted in layers that are "
                "not rewritten",
                hint="Leave out for_xnnpack ('_xnnpack' in a name), or the pass.",
            )

    @property
    def trained_int8(self) -> bool:
        """Whether its int8 ranges come from quantisation-aware training."""
        return bool(self.passes) and isinstance(self.passes[-1], Qat)

    @property
    def calibrated(self) -> bool:
        """Whether calibration pictures set its ranges."""
        return self.quantization is not None and self.quantization.scheme in CALIBRATED

    @property
    def description(self) -> str:
        """What it is, in words."""
        parts = [recipe.description or recipe.kind for recipe in self.passes]
        if self.quantization is not None:
            parts.append(SCHEMES[self.quantization.scheme])
        if self.for_xnnpack:
            parts.append("rewritten for XNNPACK, equal answers")
        return "; ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return the variant as a JSON object; each pass keeps its kind."""
        value = super().to_json()
        if not self.for_xnnpack:
            del value["params"]["for_xnnpack"]  # as before there was one: the keys of finished steps stay
        quantization = value["params"]["quantization"]
        if quantization is not None and not quantization["keep_int8"]:
            del quantization["keep_int8"]  # likewise
        value["params"]["passes"] = [recipe.to_json() for recipe in self.passes]
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Variant:
        """Return the variant that `to_json` wrote; see `Recipe.from_json`."""
        params = dict(params_of(cls, value))
        passes = params.pop("passes", [])
        if not isinstance(passes, Sequence) or isinstance(passes, str):
            raise RecipeError(
                f"passes of variant '{params.get('name')}' is {shown(passes)}; a list of passes is expected"
            )
        known = ("name", "passes", "quantization", "accuracy_drop_at_most", "for_xnnpack")
        name, quantization, limit = (params.pop(key, None) for key in (known[0], *known[2:4]))
        for_xnnpack = params.pop("for_xnnpack", False)
        for unknown in params:
            raise unknown_name("parameter of a 'variant' recipe", unknown, known)
        if not isinstance(name, str):
            raise RecipeError(f"the name of a variant is {shown(name)}; a text is expected")
        if not isinstance(for_xnnpack, bool):
            raise RecipeError(
                f"for_xnnpack of variant {shown(name)} is {shown(for_xnnpack)}; true or false is expected"
            )
        number = isinstance(limit, int | float) and not isinstance(limit, bool) and limit >= 0
        if not (limit is None or number):
            raise RecipeError(
                f"accuracy_drop_at_most of variant {shown(name)} is {shown(limit)}; a number of percentage points, "
                "0 or more, is expected"
            )
        return cls(
            name=name,
            passes=tuple(_pass(recipe) for recipe in passes),
            quantization=_quantization(quantization, name),
            accuracy_drop_at_most=limit,
            for_xnnpack=for_xnnpack,
        )


@dataclass(frozen=True, kw_only=True)
class Quantization(Recipe):
    """Which TFLite files are written, and how all of them are calibrated.

    Attributes:
      variants: in the order of writing; a name stands for `variant_named(name)`.
      calibration_images: number of training images that set the activation ranges.
      seed: of the choice of calibration images and of fine-tuning.
      fold_batch_norm: fold BatchNormalization exactly before conversion.
      description: what this set is for.
    """

    kind: ClassVar[str] = "quantize"
    version: ClassVar[int] = 2

    variants: tuple[Variant, ...] = ()
    calibration_images: int = 256
    seed: int = 0
    fold_batch_norm: bool = True
    description: str = ""

    def __post_init__(self) -> None:
        at_least("calibration images", self.calibration_images, 1)
        at_least("seed", self.seed, 0, most=MOST_SEED)
        if len(self.variants) > _MOST_VARIANTS:
            raise RecipeError(f"a recipe has {len(self.variants):,} variants: at most {_MOST_VARIANTS} are allowed")
        stated: tuple[Variant | str, ...] = self.variants or DEFAULT_VARIANTS
        variants = tuple(variant_named(item) if isinstance(item, str) else item for item in stated)
        names = [variant.name for variant in variants]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise RecipeError(f"two variants are called '{twice}': each needs a name of its own")
        object.__setattr__(self, "variants", variants)  # names become variants; the dataclass is frozen

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its variants."""
        return tuple(variant.name for variant in self.variants)

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as a JSON object."""
        value = super().to_json()
        value["params"]["variants"] = [variant.to_json()["params"] for variant in self.variants]
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Quantization:
        """Return the recipe that `to_json` wrote; a variant may be given by its name alone."""
        params = dict(params_of(cls, value))
        variants = params.pop("variants", [])
        if not isinstance(variants, Sequence) or isinstance(variants, str):
            raise RecipeError(f"variants is {shown(variants)}; a list of names or variants is expected")
        if "variants" in params_of(cls, value) and not variants:
            raise RecipeError("a recipe names no variant", hint=f"Known: {', '.join(DEFAULT_VARIANTS)}.")
        named = tuple(_variant(item) for item in variants)
        return replace(typed(cls, params), variants=named) if named else typed(cls, params)


def variant_named(name: str) -> Variant:
    """Return the variant that a name stands for.

    A name is [slim<percent kept>_][pruned<percent>_][clustered<number>_], then 'qat_int8' or a scheme, and
    '_xnnpack' where its int8 layers are rewritten for XNNPACK, e.g. 'pruned80_clustered16_qat_int8',
    'slim50_int8_w8a8', 'float16', 'int8_w8a8_xnnpack'.

    >>> [done.kind for done in variant_named("pruned80_qat_int8").passes]
    ['prune', 'qat']

    Raises:
      RecipeError: no such name; the nearest one is named.
    """
    parts = _NAME.fullmatch(name)
    if parts is None:
        raise unknown_name("variant", name, [*SCHEMES, *FINE_TUNED_VARIANTS])
    slim, pruned, clustered, scheme, ending = parts.groups()
    for_xnnpack = ending is not None
    passes: list[Pass] = []
    if slim:
        passes.append(Slim(keep=int(slim) / 100))
    if pruned:
        passes.append(Prune(sparsity=int(pruned) / 100))
    if clustered:
        passes.append(Cluster(clusters=int(clustered), preserve_sparsity=bool(pruned)))
    if scheme == "qat_int8":
        qat = Qat(
            preserve_sparsity=bool(pruned), preserve_clusters=bool(clustered), per_channel=not (pruned or clustered)
        )
        if clustered:  # few values are learnt, each from the gradients of many weights
            qat = replace(qat, fine_tuning=replace(qat.fine_tuning, learning_rate=_CLUSTERED_RATE))
        passes.append(qat)
        return Variant(name=name, passes=tuple(passes), for_xnnpack=for_xnnpack)
    quantization = PostTraining(scheme=scheme)
    return Variant(name=name, passes=tuple(passes), quantization=quantization, for_xnnpack=for_xnnpack)


_NAME = re.compile(
    rf"(?:slim(\d{{1,4}})_)?(?:pruned(\d{{1,4}})_)?(?:clustered(\d{{1,4}})_)?(qat_int8|{'|'.join(SCHEMES)})"
    r"(_xnnpack)?"
)

# Enhanced CNN, 80 % zeros, 16 levels, one epoch, validation accuracy before and after: 93.33 % to 93.15 % at 5e-5, to
# 92.67 % at 3e-4 (n = 12,000, one seed).
_CLUSTERED_RATE = 3e-5

QUICK_VARIANTS = ("float32", "float16", "drq_w8", "int8_w8a8", "int8_w8a8_fc4")
FINE_TUNED_VARIANTS = (
    "qat_int8",
    "pruned80_qat_int8",
    "clustered16_qat_int8",
    "pruned80_clustered16_qat_int8",
    "slim50_qat_int8",
)
DEFAULT_VARIANTS = (*QUICK_VARIANTS, *FINE_TUNED_VARIANTS)


def _pass(value: Any) -> Pass:
    if not isinstance(value, Mapping) or "kind" not in value:
        kinds = ", ".join(plugins.passes())
        raise RecipeError(f"a pass is {shown(value)}; an object with a kind is expected", hint=f"Kinds: {kinds}.")
    return plugins.recipe_of(value)


def _quantization(value: Any, name: str) -> PostTraining | None:
    if value is None:
        return None
    if isinstance(value, str):
        return PostTraining(scheme=value)
    if not isinstance(value, Mapping):
        raise RecipeError(f"quantization of variant '{name}' is {shown(value)}; a scheme or an object is expected")
    return typed(PostTraining, value)


def _variant(value: Any) -> Variant:
    if isinstance(value, str):
        return variant_named(value)
    if not isinstance(value, Mapping):
        raise RecipeError(f"a variant is {shown(value)}; a name or an object is expected")
    return Variant.from_json(value if "kind" in value else {"kind": Variant.kind, "params": value})
