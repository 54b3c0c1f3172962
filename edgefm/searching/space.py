"""What a search may choose: the point of a space is a few numbers, and stands for one variant.

A parameter a group of channels says which share of them stays, in eighths; then the share of weights that become zero,
the number of different weights a kernel keeps, and how the rest becomes int8.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from edgefm.core.errors import ModelError
from edgefm.recipes import Cluster, PostTraining, Prune, Qat, Slim, Variant
from edgefm.recipes.passes import Pass

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Point = Mapping[str, float | int | str]
KEEP, SPARSITY, CLUSTERS, SCHEME = "keep:", "sparsity", "clusters", "scheme"
QAT = "qat_int8"
_INT8, _FC4 = "int8_w8a8", "int8_w8a8_fc4"
# More groups than this share parameters: a sampler that learns from some fifty trials cannot tell more apart.
MOST_GROUPS = 12
_EIGHTH = 0.125
# Zeros below a half neither shrink the download much nor speed anything up.
_SPARSITIES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9)
# 0: as many as there are.
_CLUSTERS = (0, 64, 32, 16, 8)
_CLUSTERED_RATE = 3e-5


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """How long each pass fine-tunes.

    >>> Epochs.of(8), Epochs.of(1)
    (Epochs(slim=8, prune=4, cluster=2, qat=1), Epochs(slim=1, prune=1, cluster=1, qat=1))
    """

    slim: int
    prune: int
    cluster: int
    qat: int

    @classmethod
    def of(cls, slim: int) -> Epochs:
        """Return the epochs of all passes where removing channels gets so many; 0 trains nothing."""
        return cls(slim=slim, **{name: max(min(1, slim), slim // part) for name, part in _PARTS.items()})


_PARTS = {"prune": 2, "cluster": 4, "qat": 8}


@dataclass(frozen=True, kw_only=True)
class Space:
    """What may be chosen for one model.

    Attributes:
      groups: layers whose channels are kept in the same share, by the name of the parameter.
      sparsity: weights may be pruned.
      clusters: weights may be clustered.
      schemes: ways to int8: 'int8_w8a8', 'int8_w8a8_fc4', 'qat_int8'.
      reasons: why a pass is not in it, by the name of the pass.
    """

    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    sparsity: bool = True
    clusters: bool = True
    schemes: tuple[str, ...] = (_INT8, QAT)
    reasons: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def choices(self) -> dict[str, tuple[float | int | str, ...]]:
        """The values of each parameter, the unchanged model's first."""
        eighths = tuple(part * _EIGHTH for part in range(8, 0, -1))
        values: dict[str, tuple[float | int | str, ...]] = dict.fromkeys(self.groups, eighths)
        if self.sparsity:
            values[SPARSITY] = _SPARSITIES
        if self.clusters:
            values[CLUSTERS] = _CLUSTERS
        values[SCHEME] = self.schemes
        return values

    @property
    def points(self) -> int:
        """How many different points there are."""
        return math.prod(len(values) for values in self.choices.values())

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return Optuna's distributions: ordered choices by their place, so that neighbours are alike."""
        from optuna.distributions import CategoricalDistribution, IntDistribution

        return {
            name: CategoricalDistribution(values) if name == SCHEME else IntDistribution(0, len(values) - 1)
            for name, values in self.choices.items()
        }

    def point(self, params: Mapping[str, Any]) -> Point:
        """Return the point of Optuna's parameters."""
        choices = self.choices
        return {name: value if name == SCHEME else choices[name][value] for name, value in params.items()}

    def params(self, point: Point) -> dict[str, Any]:
        """Return Optuna's parameters of a point."""
        choices = self.choices
        return {name: value if name == SCHEME else choices[name].index(value) for name, value in point.items()}

    def known(self) -> list[Point]:
        """Return points to begin with: what people try by hand, from little to much."""
        seeds: list[tuple[float, float, int, str]] = [
            (0.5, 0.0, 0, QAT),
            (0.25, 0.0, 0, QAT),
            (1.0, 0.8, 0, QAT),
            (0.375, 0.5, 0, QAT),
            (0.5, 0.8, 32, QAT),
            (0.25, 0.0, 0, _INT8),
        ]
        points: list[Point] = []
        for keep, sparsity, clusters, scheme in seeds:
            point: dict[str, float | int | str] = {name: values[0] for name, values in self.choices.items()}
            point |= dict.fromkeys(self.groups, keep)
            point |= {SPARSITY: sparsity} if self.sparsity else {}
            point |= {CLUSTERS: clusters} if self.clusters else {}
            point[SCHEME] = scheme if scheme in self.schemes else self.schemes[0]
            if point not in points:
                points.append(point)
        return points

    def corners(self) -> list[Point]:
        """Return the smallest points: of these, each is the least in some figure."""
        least = {name: values[-1] for name, values in self.choices.items()}
        plain = least | {name: self.choices[name][0] for name in (SPARSITY, CLUSTERS) if name in least}
        corners: list[Point] = []
        for scheme in self.schemes:
            if scheme == QAT and len(self.schemes) > 1:
                continue  # without training it gives what int8_w8a8 gives
            for point in (least, plain):
                if point | {SCHEME: scheme} not in corners:
                    corners.append(point | {SCHEME: scheme})
        return corners

    def variant(self, point: Point, epochs: Epochs, *, name: str) -> Variant:
        """Return the variant that a point stands for, fine-tuned for some epochs."""
        passes: list[Pass] = []
        shares = {layer: float(point[group]) for group, layers in self.groups.items() for layer in layers}
        if any(share < 1 for share in shares.values()):
            passes.append(_tuned(Slim(keep=1.0, layers=shares), epochs.slim))
        sparsity, clusters = float(point.get(SPARSITY, 0.0)), int(point.get(CLUSTERS, 0))
        if sparsity:
            passes.append(_tuned(Prune(sparsity=sparsity), epochs.prune))
        if clusters:
            passes.append(_tuned(Cluster(clusters=clusters, preserve_sparsity=bool(sparsity)), epochs.cluster))
        scheme = str(point[SCHEME])
        if scheme != QAT:
            return Variant(name=name, passes=tuple(passes), quantization=PostTraining(scheme=scheme))
        qat = Qat(
            preserve_sparsity=bool(sparsity),
            preserve_clusters=bool(clusters),
            per_channel=not (sparsity or clusters),
        )
        if clusters:
            qat = replace(qat, fine_tuning=replace(qat.fine_tuning, learning_rate=_CLUSTERED_RATE))
        return Variant(name=name, passes=(*passes, _tuned(qat, epochs.qat)))

    def to_json(self) -> dict[str, Any]:
        """Return the space as a JSON object."""
        return {
            "groups": {name: list(layers) for name, layers in self.groups.items()},
            "choices": {name: list(values) for name, values in self.choices.items()},
            "points": self.points,
            "reasons": dict(self.reasons),
        }

    def words(self, point: Point) -> str:
        """Return a point in words."""
        kept = ", ".join(f"{point[name]:g}" for name in self.groups if float(point[name]) < 1)
        parts = [f"channels kept {', '.join(f'{float(point[name]):g}' for name in self.groups)}"] if kept else []
        if point.get(SPARSITY):
            parts.append(f"{100 * float(point[SPARSITY]):g} % zeros")
        if point.get(CLUSTERS):
            parts.append(f"{point[CLUSTERS]} values a kernel")
        return "; ".join([*parts, str(point[SCHEME])])


def space_of(model: Any) -> Space:
    """Return what may be chosen for a built Keras 3 model.

    Raises:
      ModelError: there is nothing to choose; the reasons are said.
    """
    from keras import layers

    from edgefm.compression.channels.channel_groups import channels_of
    from edgefm.keras_graph.graph import Graph
    from edgefm.quantization.applicability import applicability

    found = applicability(model)
    reasons = dict(found.refused)
    names = [group.layers[0] for group in channels_of(model).removable] if "slim" not in reasons else []
    if not names:
        reasons.setdefault("slim", "no layer's channels can be removed")
    applies = {
        name: name not in reasons
        and any(layer.passes[name].applies for layer in found.layers if name in layer.passes and layer.parameters)
        for name in ("prune", "cluster", "qat")
    }
    for name, whether in applies.items():
        if not whether:
            reasons.setdefault(name, "no layer with weights takes it")
    dense = any(isinstance(call.layer, layers.Dense) for call in Graph(model).calls)
    schemes = (_INT8, *((_FC4,) if dense else ()), *((QAT,) if applies["qat"] else ()))
    space = Space(
        groups=_shared(names),
        sparsity=applies["prune"],
        clusters=applies["cluster"],
        schemes=schemes,
        reasons={name: reason for name, reason in reasons.items() if name != "tflite"},
    )
    if space.points == 1:
        raise ModelError(
            f"there is nothing to search: only int8_w8a8 can be made of '{model.name}'; "
            + "; ".join(f"{name}: {reason}" for name, reason in space.reasons.items()),
            hint="Quantise it: edgefm quantize; edgefm inspect says which pass applies to which layer.",
        )
    return space


def _shared(names: list[str]) -> dict[str, tuple[str, ...]]:
    """Return the layers that share a parameter, by its name: neighbours in the graph, `MOST_GROUPS` at most.

    >>> _shared(["a", "b"])
    {'keep:a': ('a',), 'keep:b': ('b',)}
    """
    size = max(1, math.ceil(len(names) / MOST_GROUPS))
    parts = [tuple(names[start : start + size]) for start in range(0, len(names), size)]
    return {f"{KEEP}{part[0]}": part for part in parts}


def _tuned(recipe: Any, epochs: int) -> Any:
    return replace(recipe, fine_tuning=replace(recipe.fine_tuning, epochs=epochs))
