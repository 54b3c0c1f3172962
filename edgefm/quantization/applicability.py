"""Which passes apply to which layer of a Keras model, and why not; nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from keras import layers

from edgefm.compression.channels.channel_groups import describe_groups
from edgefm.compression.weights.layer_kernels import chosen_kernels
from edgefm.core import html
from edgefm.core.errors import ModelError
from edgefm.core.results import JsonResult
from edgefm.keras_graph.folding import fold
from edgefm.keras_graph.graph import Graph
from edgefm.keras_graph.unrolling import check, recurrent_layers

PASSES = ("fold", "slim", "prune", "cluster", "qat")


@dataclass(frozen=True, kw_only=True)
class PassVerdict:
    """What one pass does to one layer.

    Attributes:
      applies: whether it does anything.
      why: what it does, or why it does nothing.
    """

    applies: bool
    why: str


@dataclass(frozen=True, kw_only=True)
class LayerVerdicts:
    """What the passes do to one layer.

    Attributes:
      layer: its name.
      kind: its class.
      parameters: number of its weights.
      output_shape: with the batch.
      passes: by the name of the pass; a pass that has nothing to do with the layer is left out.
    """

    layer: str
    kind: str
    parameters: int
    output_shape: tuple[int | None, ...]
    passes: Mapping[str, PassVerdict] = field(hash=False)


@dataclass(frozen=True, kw_only=True)
class Applicability(JsonResult):
    """What the passes do to a model.

    Attributes:
      model: its name.
      parameters: number of its weights.
      layers: in the order of the graph.
      refused: passes that the model as a whole can't take, with the reason; under 'tflite' why no file can be made.
    """

    model: str
    parameters: int
    layers: tuple[LayerVerdicts, ...]
    refused: Mapping[str, str] = field(hash=False)

    def to_json(self) -> dict[str, Any]:
        """Return the verdicts as a JSON object."""
        return asdict(self)

    def _repr_html_(self) -> str:
        rows = [
            [layer.layer, layer.kind, *("yes" if _applies(layer, name) else "" for name in PASSES)]
            for layer in self.layers
        ]
        caption = f"{self.model}: {self.parameters:,} parameters; which pass applies to which layer"
        return html.table(rows, ["layer", "class", *PASSES], caption=caption)


def applicability(model: Any) -> Applicability:
    """Return which passes apply to which layer of a built Functional or Sequential Keras model, and why not.

    Raises:
      ModelError: a subclassed model or one without input shape.
    """
    folded, report = fold(model, rescaling=False)
    exact = {entry.layer: PassVerdict(applies=True, why=entry.what) for entry in report.folded}
    left = {entry.layer: PassVerdict(applies=False, why=entry.reason) for entry in report.left_out}
    slim = _slim(model)
    pruned = _pruned(folded)
    qat, refused = _qat(folded)
    refused = {**_conversion(model), **refused}
    rows = []
    for call in {call.name: call for call in Graph(model).calls}.values():
        by_pass = {
            "fold": exact.get(call.name) or left.get(call.name),
            "slim": slim.get(call.name),
            "prune": pruned.get(call.name),
            "cluster": pruned.get(call.name),
            "qat": qat.get(call.name),
        }
        layer = call.layer
        is_layer = isinstance(layer, layers.Layer)
        rows.append(
            LayerVerdicts(
                layer=call.name,
                kind=type(layer).__name__,
                parameters=int(layer.count_params()) if is_layer else 0,
                output_shape=tuple(layer.output.shape) if is_layer and not call.shared else (),
                passes={name: verdict for name, verdict in by_pass.items() if verdict is not None},
            )
        )
    return Applicability(model=model.name, parameters=model.count_params(), layers=tuple(rows), refused=refused)


def _conversion(model: Any) -> dict[str, str]:
    """Return why no .tflite file can be made of a model, and the way out, under 'tflite'; nothing where one can."""
    from edgefm.keras_graph.ends import check_model_ends, check_names

    try:
        check_model_ends(model, source=f"the model '{model.name}'")
        check_names(model)
        check(recurrent_layers(model))
    except ModelError as error:
        return {"tflite": str(error)}
    if len(model.inputs) > 1:
        return dict.fromkeys(
            PASSES[1:], "it has several inputs, and passes that train take one; quantise it after training"
        )
    if "int" in str(model.inputs[0].dtype):
        return dict.fromkeys(
            PASSES[1:], "it takes tokens, and passes that train take floats; quantise it after training"
        )
    return {}


def _slim(model: Any) -> dict[str, PassVerdict]:
    verdicts = {}
    for group in describe_groups(model):
        together = f"{group.channels} channels" + (
            f", together with {', '.join(group.layers)}" if len(group.layers) > 1 else ""
        )
        for layer in group.layers:
            verdicts[layer] = PassVerdict(applies=group.frozen is None, why=group.frozen or together)
    return verdicts


def _pruned(folded: Any) -> dict[str, PassVerdict]:
    chosen, excluded = chosen_kernels(folded, ())
    verdicts = {entry.layer: PassVerdict(applies=False, why=entry.reason) for entry in excluded}
    return verdicts | {
        kernel.name: PassVerdict(applies=True, why=f"{kernel.array.size:,} weights of its {kernel.attribute}")
        for kernel in chosen
    }


def _qat(folded: Any) -> tuple[dict[str, PassVerdict], dict[str, str]]:
    from edgefm.compression.qat.fake_quant import places
    from edgefm.compression.qat.qat_graph import prepare
    from edgefm_converters.bridge.bridge import to_tf_keras

    try:
        prepared = prepare(folded)
        quantizations = places(to_tf_keras(prepared.model), exclude=(), float32=prepared.float32)
    except ModelError as error:
        return {}, {"qat": error.message}
    # A layer that was taken apart is quantised where one of its parts is.
    whole = {part: layer for layer, parts in prepared.parts.items() for part in parts}
    verdicts: dict[str, PassVerdict] = {}
    for place in quantizations.values():
        name = whole.get(place.layer, place.layer)
        if place.float32:
            verdicts.setdefault(name, PassVerdict(applies=False, why=place.float32))
        elif place.kernel is not None:
            verdicts[name] = PassVerdict(applies=True, why="int8 kernel and output")
        else:
            why = "int8 output" if place.output != "none" else "int8 values pass through"
            verdicts.setdefault(name, PassVerdict(applies=True, why=why))
    return verdicts, {}


def _applies(layer: LayerVerdicts, name: str) -> bool:
    return name in layer.passes and layer.passes[name].applies
