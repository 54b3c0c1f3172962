"""The space of a search: the point of a space is a few numbers, and stands for one variant.

A point is the given model with some of its channels (a parameter a group says which share of them stays, in eighths),
or another network in its place. Then come the share of weights that become zero, the number of different weights a
kernel keeps, whether the given model teaches, and how the rest becomes int8: where dense layers have 4 bits, which of
them keep 8.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from edgefm.recipes import Cluster, FromScratch, PostTraining, Prune, Qat, Slim, Variant
from edgefm.recipes.passes import Pass
from edgefm.searching.space.epochs import Epochs
from edgefm.searching.space.networks import BLOCKS, FAMILY, Network, nearest

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Point = Mapping[str, float | int | str]
KEEP, SPARSITY, CLUSTERS, SCHEME = "keep:", "sparsity", "clusters", "scheme"
NETWORK, DEPTH, STRIDE, WIDTH = "network", "depth", "stride", "width"
TEACHER, BITS = "teacher", "bits:"
# Of the network: the model that was given. Of the teacher: that it teaches.
GIVEN, NO_TEACHER = "given", "none"
QAT = "qat_int8"
INT8, FC4 = "int8_w8a8", "int8_w8a8_fc4"
# Parameters whose values have no order.
_UNORDERED = (NETWORK, TEACHER, SCHEME)
_EIGHTH = 0.125
# Zeros below a half neither shrink the download much nor speed anything up.
_SPARSITIES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9)
# 0: as many as there are.
_CLUSTERS = (0, 64, 32, 16, 8)
_CLUSTERED_RATE = 3e-5
# What is tried first: from little to much, a network of the family beside each second one.
_SHARES: tuple[tuple[float, float, int, str], ...] = (
    (0.5, 0.0, 0, QAT),
    (0.25, 0.0, 0, QAT),
    (1.0, 0.8, 0, QAT),
    (0.375, 0.5, 0, QAT),
    (0.5, 0.8, 32, QAT),
    (0.25, 0.0, 0, INT8),
)
_NETWORKS = (
    Network(blocks="plain", width=16, depth=1, stride=2),
    Network(blocks="separable", width=32, depth=1, stride=2),
    Network(blocks="residual_separable", width=32, depth=1, stride=1),
)


@dataclass(frozen=True, kw_only=True)
class Space:
    """What may be chosen for one model.

    Attributes:
      groups: layers whose channels are kept in the same share, by the name of the parameter.
      sparsity: weights may be pruned.
      clusters: weights may be clustered.
      schemes: ways to int8: 'int8_w8a8', 'int8_w8a8_fc4', 'qat_int8'.
      bits: dense layers whose weights have 4 or 8 bits in 'int8_w8a8_fc4', by the name of the parameter; without any
        all have 4.
      networks: that may be built in the model's place.
      teacher: whether the given model teaches may be chosen; else it does.
      reasons: why a pass is not in it, by the name of the pass.
    """

    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    sparsity: bool = True
    clusters: bool = True
    schemes: tuple[str, ...] = (INT8, QAT)
    bits: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    networks: tuple[Network, ...] = ()
    teacher: bool = False
    reasons: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def choices(self) -> dict[str, tuple[float | int | str, ...]]:
        """The values of each parameter, the unchanged model's first; of a network's the largest one's."""
        eighths = tuple(part * _EIGHTH for part in range(8, 0, -1))
        values: dict[str, tuple[float | int | str, ...]] = dict.fromkeys(self.groups, eighths)
        if self.networks:
            kinds = {one.blocks for one in self.networks}
            values[NETWORK] = (GIVEN, *(blocks for blocks in BLOCKS if blocks in kinds))
            for name in (WIDTH, DEPTH):
                values[name] = tuple(sorted({getattr(one, name) for one in self.networks}, reverse=True))
            values[STRIDE] = tuple(sorted({one.stride for one in self.networks}))
        if self.sparsity:
            values[SPARSITY] = _SPARSITIES
        if self.clusters:
            values[CLUSTERS] = _CLUSTERS
        if self.teacher:
            values[TEACHER] = (GIVEN, NO_TEACHER)
        values |= dict.fromkeys(self.bits, (4, 8))
        values[SCHEME] = self.schemes
        return values

    @property
    def points(self) -> int:
        """How many different points there are; those that are equal once they are settled count once."""
        length = {name: len(values) for name, values in self.choices.items()}
        after = math.prod(length.get(name, 1) for name in (SPARSITY, CLUSTERS, TEACHER))
        # Of the given model each choice of bits is a scheme, but for 8 everywhere, which is int8_w8a8.
        schemes = len(self.schemes) + (2 ** len(self.bits) - 2 if self.bits and FC4 in self.schemes else 0)
        untrained = schemes - (QAT in self.schemes)  # the teacher decides nothing there
        given = math.prod(length[name] for name in self.groups) * after * schemes
        return given - untrained * (length.get(TEACHER, 1) - 1) + len(self.networks) * after * len(self.schemes)

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return Optuna's distributions: ordered choices by their place, so that neighbours are alike."""
        from optuna.distributions import CategoricalDistribution, IntDistribution

        return {
            name: CategoricalDistribution(values) if name in _UNORDERED else IntDistribution(0, len(values) - 1)
            for name, values in self.choices.items()
        }

    def point(self, params: Mapping[str, Any]) -> Point:
        """Return the point of Optuna's parameters."""
        choices = self.choices
        return {name: value if name in _UNORDERED else choices[name][value] for name, value in params.items()}

    def params(self, point: Point) -> dict[str, Any]:
        """Return Optuna's parameters of a point."""
        choices = self.choices
        return {name: value if name in _UNORDERED else choices[name].index(value) for name, value in point.items()}

    def network(self, point: Point) -> Network | None:
        """Return the network that a point has in the model's place; None where it has the given model."""
        if point.get(NETWORK, GIVEN) == GIVEN:
            return None
        width, depth, stride = (int(point[name]) for name in (WIDTH, DEPTH, STRIDE))
        return Network(blocks=str(point[NETWORK]), width=width, depth=depth, stride=stride)

    def settled(self, point: Point) -> Point:
        """Return a point with its first value for each parameter that decides nothing in it.

        A network has none of the given model's channels, and takes the values of the nearest one that is allowed; the
        given model has no network's width; where nothing is trained, nobody teaches; without 4-bit layers none of them
        is left out. So equal variants are equal points.
        """
        first = {name: values[0] for name, values in self.choices.items()}
        network = self.network(point)
        if network is None:
            settled = {**point, **{name: first[name] for name in (WIDTH, DEPTH, STRIDE) if name in first}}
            if self.bits and all(settled[name] != first[name] for name in self.bits) and settled[SCHEME] == FC4:
                settled[SCHEME] = INT8
            if settled[SCHEME] != FC4:
                settled |= {name: first[name] for name in self.bits}
            trained = any(settled[name] != first[name] for name in (*self.groups, SPARSITY, CLUSTERS) if name in first)
            if not trained and settled[SCHEME] != QAT and TEACHER in first:
                settled[TEACHER] = first[TEACHER]
            return settled
        chosen = nearest(self.networks, network)
        return {**point, **{name: first[name] for name in (*self.groups, *self.bits)}, **_of_network(chosen)}

    def known(self) -> list[Point]:
        """Return points to begin with: what people try by hand, from little to much."""
        first = {name: values[0] for name, values in self.choices.items()}
        points: list[Point] = []
        for place, (keep, sparsity, clusters, scheme) in enumerate(_SHARES):
            after: dict[str, float | int | str] = {SPARSITY: sparsity} if self.sparsity else {}
            after |= {CLUSTERS: clusters} if self.clusters else {}
            after[SCHEME] = scheme if scheme in self.schemes else self.schemes[0]
            candidates: list[Point] = [{**first, **dict.fromkeys(self.groups, keep), **after}]
            if self.networks and place % 2 == 0:
                network = _of_network(nearest(self.networks, _NETWORKS[place // 2]))
                candidates.append({**first, **network, SCHEME: QAT if QAT in self.schemes else self.schemes[0]})
            points += [point for point in map(self.settled, candidates) if point not in points]
        return points

    def corners(self) -> list[Point]:
        """Return the smallest points: of these, each is the least in some figure."""
        choices = self.choices
        first = {name: values[0] for name, values in choices.items()}
        after = {name: choices[name][-1] for name in (SPARSITY, CLUSTERS) if name in choices}
        least = {**first, **{name: choices[name][-1] for name in self.groups}}
        smallest = [least, *({**first, **_of_network(one)} for one in self._smallest_networks())]
        corners: list[Point] = []
        for scheme in self.schemes:
            # Zeros and levels make the least download, a file without them may be the smaller one.
            ways = [after, {}]
            if scheme == QAT and len(self.schemes) > 1:
                # Without training it gives what int8_w8a8 gives, but for kernels with one scale each: those of zeros or
                # levels. Levels make the download less, and may make the file larger by a few bytes.
                ways = [after, dict(list(after.items())[:1])] if after else []
            for point in smallest:
                for way in ways:
                    corner = {**point, **way, SCHEME: scheme}
                    if corner not in corners:
                        corners.append(corner)
        return corners

    def _smallest_networks(self) -> list[Network]:
        """Return of each block kind the network with the fewest channels; more blocks only add to it."""
        kinds = {one.blocks: one for one in sorted(self.networks, key=_cost, reverse=True)}
        return [kinds[blocks] for blocks in ("plain", "separable") if blocks in kinds]

    def variant(self, point: Point, epochs: Epochs, *, name: str) -> Variant:
        """Return the variant that a point stands for, fine-tuned for some epochs."""
        passes: list[Pass] = []
        taught = point.get(TEACHER, GIVEN) == GIVEN
        network = self.network(point)
        if network is not None:
            recipe = FromScratch(model=FAMILY, options=network.options)
            passes.append(_tuned(recipe, epochs.scratch, taught=taught))
        shares = {layer: float(point[group]) for group, layers in self.groups.items() for layer in layers}
        if any(share < 1 for share in shares.values()):
            passes.append(_tuned(Slim(keep=1.0, layers=shares), epochs.slim, taught=taught))
        sparsity, clusters = float(point.get(SPARSITY, 0.0)), int(point.get(CLUSTERS, 0))
        if sparsity:
            passes.append(_tuned(Prune(sparsity=sparsity), epochs.prune, taught=taught))
        if clusters:
            passes.append(
                _tuned(Cluster(clusters=clusters, preserve_sparsity=bool(sparsity)), epochs.cluster, taught=taught)
            )
        scheme = str(point[SCHEME])
        if scheme != QAT:
            kept = tuple(layer for name, layers in self._eight_bits(point).items() for layer in layers)
            return Variant(name=name, passes=tuple(passes), quantization=PostTraining(scheme=scheme, keep_int8=kept))
        qat = Qat(
            preserve_sparsity=bool(sparsity),
            preserve_clusters=bool(clusters),
            per_channel=not (sparsity or clusters),
        )
        if clusters:
            qat = replace(qat, fine_tuning=replace(qat.fine_tuning, learning_rate=_CLUSTERED_RATE))
        return Variant(name=name, passes=(*passes, _tuned(qat, epochs.qat, taught=taught)))

    def to_json(self) -> dict[str, Any]:
        """Return the space as a JSON object."""
        return {
            "groups": {name: list(layers) for name, layers in self.groups.items()},
            "choices": {name: list(values) for name, values in self.choices.items()},
            "bits": {name: list(layers) for name, layers in self.bits.items()},
            "networks": [[one.blocks, one.width, one.depth, one.stride] for one in self.networks],
            "points": self.points,
            "reasons": dict(self.reasons),
        }

    def words(self, point: Point) -> str:
        """Return a point in words."""
        kept = [f"{float(point[name]):g}" for name in self.groups]
        network = self.network(point)
        parts = [] if network is None else [network.words]
        if any(share != "1" for share in kept):
            parts.append(f"channels kept {', '.join(kept)}")
        if point.get(SPARSITY):
            parts.append(f"{100 * float(point[SPARSITY]):g} % zeros")
        if point.get(CLUSTERS):
            parts.append(f"{point[CLUSTERS]} values a kernel")
        if point.get(TEACHER, GIVEN) != GIVEN:
            parts.append("without a teacher")
        kept_bits = "".join(f", 8 bits in {', '.join(layers)}" for layers in self._eight_bits(point).values())
        return "; ".join([*parts, f"{point[SCHEME]}{kept_bits}"])

    def _eight_bits(self, point: Point) -> dict[str, tuple[str, ...]]:
        """Return the dense layers that keep 8 bits where others have 4."""
        return {name: layers for name, layers in self.bits.items() if point[name] == 8 and point[SCHEME] == FC4}


def _of_network(network: Network) -> dict[str, float | int | str]:
    return {NETWORK: network.blocks, WIDTH: network.width, DEPTH: network.depth, STRIDE: network.stride}


def _cost(network: Network) -> tuple[int, int, int]:
    return network.width, network.depth, -network.stride


def _tuned(recipe: Any, epochs: int, *, taught: bool) -> Any:
    fine_tuning = replace(recipe.fine_tuning, epochs=epochs)
    return replace(recipe, fine_tuning=fine_tuning if taught else replace(fine_tuning, distillation=None))
