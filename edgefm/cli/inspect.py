"""`edgefm inspect`: what is inside a .tflite file; which passes apply to a Keras model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.cli.given_run import is_model
from edgefm.core.progress import shown, stated

if TYPE_CHECKING:
    from edgefm.tflite.graph import TensorInfo
    from edgefm.tflite.inspection import Inspection


@click.command(epilog=exit_codes("the model was read"))
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--trust", is_flag=True, help="Run code that a Keras file holds (Lambda layers).")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(model: Path, trust: bool, as_json: bool) -> None:
    """Show what is in MODEL.

    Of a .tflite file: operators, tensors, quantisation, MACs (multiply-accumulates of one inference), bytes of weights
    in the file and of outputs in memory. Of a Keras file (.keras, .h5, SavedModel): which compression passes apply to
    which layer, or why not.
    """
    if model.suffix != ".tflite" and is_model(model):
        _keras(model, trust, as_json)
        return
    from edgefm.jobs.inspect import tflite_in
    from edgefm.tflite.inspection import inspect

    inspection = inspect(tflite_in(model))
    if as_json:
        render.as_json(inspection.to_json())
        return
    render.echo(
        f"{inspection.path}: {render.size(inspection.size_bytes)}, {inspection.description or 'no description'}"
    )
    render.echo(
        f"{inspection.macs:,} MACs, {render.size(inspection.weight_bytes)} of weights, "
        f"activations of one operator: at most {render.size(inspection.largest_activation_bytes)}"
    )
    _metadata(inspection)
    if any(-1 in inspection.tensors[index].shape[:1] for index in inspection.inputs):
        render.echo("the batch is left open (-1): every command takes it as 1, one sample at a time")
    _signatures(inspection)
    render.echo()
    _operators(inspection)
    render.echo()
    _tensors(inspection)


def _signatures(inspection: Inspection) -> None:
    """Show how a model is called where there is more than one way, or more than one input."""
    if len(inspection.signatures) < 2 and len(inspection.inputs) < 2:
        return
    for signature in inspection.signatures:
        ends = f"{', '.join(signature.inputs)} -> {', '.join(signature.outputs)}"
        rest = "" if signature.subgraph == 0 else " (another graph: neither described here nor measured)"
        render.echo(f"signature {signature.key}: {ends}{rest}")


def _keras(model: Path, trust: bool, as_json: bool) -> None:
    from edgefm_converters.readers.keras_file import check_file, load_model

    check_file(model, trust=trust)
    with shown(True) as bars:
        with stated(bars, f"loading {model.name}"):
            loaded = load_model(model, trust=trust)
            from edgefm.quantization.applicability import PASSES, applicability
        with stated(bars, "trying the passes"):
            passes = applicability(loaded)
    if as_json:
        render.as_json(passes.to_json())
        return
    render.echo(f"{model}: {passes.model}, {passes.parameters:,} parameters in {len(passes.layers)} layers")
    render.echo()
    rows = []
    for layer in passes.layers:
        marks = ["" if name not in layer.passes else "yes" if layer.passes[name].applies else "no" for name in PASSES]
        shape = ",".join("n" if length is None else str(length) for length in layer.output_shape)
        rows.append([layer.layer, layer.kind, shape, f"{layer.parameters:,}" if layer.parameters else "", *marks])
    render.table(rows, headers=["layer", "class", "output", "parameters", *PASSES], right=("parameters",))
    render.echo()
    reasons = [
        [layer.layer, name, "yes" if verdict.applies else "no", verdict.why]
        for layer in passes.layers
        for name, verdict in layer.passes.items()
        if name == "fold" or not verdict.applies
    ]
    if reasons:
        render.table(reasons, headers=["layer", "pass", "applies", "effect or reason"])
    for name, reason in passes.refused.items():
        what = "no .tflite file can be made of this model" if name == "tflite" else f"{name} cannot be applied to it"
        message, _, hint = reason.rpartition("\n  ")
        render.echo(f"{what}: {message or hint}")
        if message:
            render.echo(f"  {hint}")


def _metadata(inspection: Inspection) -> None:
    entries = ", ".join(inspection.metadata) or "none"
    files = ", ".join(inspection.associated_files) or "none"
    render.echo(f"metadata: {entries}; associated files: {files}")
    if inspection.subgraphs > 1:
        render.echo(f"the file has {inspection.subgraphs} subgraphs; only the first is shown")


def _operators(inspection: Inspection) -> None:
    total = max(inspection.macs, 1)
    rows = [
        [
            operator.index,
            operator.name,
            _ends(inspection, _first_activation(inspection, operator.inputs)),
            _ends(inspection, operator.outputs),
            f"{operator.macs:,}",
            f"{100 * operator.macs / total:.0f} %" if operator.macs else "",
            f"{operator.weight_bytes:,}",
            f"{operator.activation_bytes:,}",
        ]
        for operator in inspection.operators
    ]
    headers = ["op", "name", "input", "output", "MACs", "share of MACs", "weight bytes", "output bytes"]
    render.table(rows, headers=headers, right=headers[4:])


def _tensors(inspection: Inspection) -> None:
    rows = [
        [
            tensor.index,
            _role(inspection, tensor),
            _short(tensor.name),
            _type(tensor),
            f"{tensor.size_bytes:,}",
            _scale(tensor),
        ]
        for tensor in inspection.tensors
    ]
    render.table(rows, headers=["tensor", "role", "name", "type", "bytes", "quantisation"], right=("bytes",))


def _first_activation(inspection: Inspection, inputs: tuple[int, ...]) -> tuple[int, ...]:
    return next(((i,) for i in inputs if not inspection.tensors[i].constant), inputs[:1])


def _ends(inspection: Inspection, indices: tuple[int, ...]) -> str:
    return ", ".join(_type(inspection.tensors[i]) for i in indices)


def _type(tensor: TensorInfo) -> str:
    return f"{tensor.dtype}[{','.join(str(length) for length in tensor.shape)}]"


def _role(inspection: Inspection, tensor: TensorInfo) -> str:
    if tensor.index in inspection.inputs:
        return "input"
    if tensor.index in inspection.outputs:
        return "output"
    return "constant" if tensor.constant else ""


def _short(name: str) -> str:
    return name if len(name) <= 30 else f"…{name[-29:]}"


def _scale(tensor: TensorInfo) -> str:
    parameters = tensor.quantization
    if parameters is None:
        return ""
    low, high = parameters.scale_range
    if parameters.axis is None:
        return f"scale {low:.6g}, zero point {parameters.zero_point_range[0]}"
    return f"{parameters.scales} scales along axis {parameters.axis}: {low:.3g} to {high:.3g}"
