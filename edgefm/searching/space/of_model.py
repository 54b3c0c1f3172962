"""The space of a model: what the passes can do to it, and which networks may take its place."""

from __future__ import annotations

import math
from typing import Any

from edgefm.core.errors import ModelError
from edgefm.searching.space.networks import networks_of, why_none
from edgefm.searching.space.space import BITS, FC4, INT8, KEEP, QAT, Space

# More groups than this share parameters: a sampler that learns from some fifty trials cannot tell more apart.
MOST_GROUPS = 12


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
    dense = list(dict.fromkeys(call.name for call in Graph(model).calls if isinstance(call.layer, layers.Dense)))
    schemes = (INT8, *((FC4,) if dense else ()), *((QAT,) if applies["qat"] else ()))
    networks = networks_of(model)
    if not networks:
        reasons["networks"] = why_none(model)
    space = Space(
        groups=_shared(names, KEEP),
        sparsity=applies["prune"],
        clusters=applies["cluster"],
        schemes=schemes,
        bits=_shared(dense, BITS) if len(dense) > 1 else {},
        networks=networks,
        teacher=True,
        reasons={name: reason for name, reason in reasons.items() if name != "tflite"},
    )
    if space.points == 1:
        raise ModelError(
            f"there is nothing to search: only int8_w8a8 can be made of '{model.name}'; "
            + "; ".join(f"{name}: {reason}" for name, reason in space.reasons.items()),
            hint="Quantise it: edgefm quantize; edgefm inspect says which pass applies to which layer.",
        )
    return space


def _shared(names: list[str], prefix: str) -> dict[str, tuple[str, ...]]:
    """Return the layers that share a parameter, by its name: neighbours in the graph, `MOST_GROUPS` at most.

    >>> _shared(["a", "b"], "keep:")
    {'keep:a': ('a',), 'keep:b': ('b',)}
    """
    size = max(1, math.ceil(len(names) / MOST_GROUPS))
    parts = [tuple(names[start : start + size]) for start in range(0, len(names), size)]
    return {f"{prefix}{part[0]}": part for part in parts}
