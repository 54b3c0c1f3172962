"""`edgefm sensitivity`: what int8 costs layer by layer, and which layers to keep float32."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.cli.own_data import data_options
from edgefm.core.progress import Bars

if TYPE_CHECKING:
    from edgefm.quantization.analysis.mixed_precision import MixedPrecision
    from edgefm.quantization.analysis.sensitivity import FileQuality, Sensitivity

_PATH = click.Path(path_type=Path)


@click.command(
    epilog=exit_codes(
        "the losses were measured; the limit, if one was given, holds",
        "the limit does not hold, whichever layers stay float32",
    )
)
@click.argument("source", required=False, type=_PATH, metavar="[RUN | MODEL]")
@click.option(
    "--accuracy-drop-at-most",
    type=float,
    default=None,
    metavar="P",
    help="Keep layers float32 until the loss is at most P: percentage points, or the unit of --quality.",
)
@click.option("--images", type=click.IntRange(min=1), default=1000, show_default=True, help="Validation samples.")
@click.option("--calibration-images", type=int, default=256, show_default=True, help="Calibration samples.")
@data_options
@click.option("--run", "run_folder", type=_PATH, default=None, help="MODEL: run folder.  [default: runs/<model>]")
@click.option("--out", type=_PATH, default=None, metavar="FOLDER", help="Write here.  [default: RUN/sensitivity]")
@click.option("--data-dir", type=_PATH, default=None, help="Folder of the Fashion-MNIST files.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    source: Path | None,
    accuracy_drop_at_most: float | None,
    images: int,
    calibration_images: int,
    run_folder: Path | None,
    out: Path | None,
    data_dir: Path | None,
    as_json: bool,
    **data: Any,
) -> int:
    """Measure what int8 costs in each layer of a run's model, or of a MODEL of your own.

    Each layer is quantised by itself: only its weights, then only its activations. With --accuracy-drop-at-most, the
    most sensitive layers are kept float32, one after the other, until the limit holds on the validation samples; the
    choice is written as recipe.json (for edgefm quantize --recipe) and quantizer_recipe.json.
    """
    from edgefm.cli.examined_run import examined
    from edgefm.core import artefacts, whole_folders
    from edgefm.core.text import command as command_line
    from edgefm.recipes import Quantization
    from edgefm.report.tools.sensitivity import sensitivity_png

    recipe = Quantization(variants=("int8_w8a8",), calibration_images=calibration_images)  # type: ignore[arg-type]  # names become variants
    bars = Bars()
    try:
        run, model = examined(source, run_folder=run_folder, data_dir=data_dir, recipe=recipe, data=data, bars=bars)
        folder = out or run.path / "sensitivity"
        result, chosen, portable = _examine(model, recipe, images, accuracy_drop_at_most, bars)
    finally:
        bars.close()
    value = {"model": model.name, **result.to_json(), "mixed_precision": chosen.to_json() if chosen else None}
    value["float32_sha256"] = portable.get("float32_sha256")
    files = {"sensitivity.json": artefacts.json_bytes(value), "sensitivity.png": sensitivity_png(result.to_json())}
    recipes = ("recipe", "quantizer_recipe")
    files |= {f"{name}.json": artefacts.json_bytes(portable[name]) for name in recipes if name in portable}
    whole_folders.write(folder, files, gone=(f"{name}.json" for name in recipes))
    if as_json:
        render.as_json({"folder": str(folder), **value})
    else:
        _show(result)
        if chosen is not None:
            _show_choice(chosen, result.unit)
        render.echo(f"the table and its picture are in {folder}")
        if chosen is not None and chosen.keep_float:
            render.echo(f"next: {command_line('edgefm', 'quantize', run.path, '--recipe', folder / 'recipe.json')}")
    return 0 if chosen is None or chosen.held else 1


def _examine(
    model: Any, recipe: Any, images: int, drop_at_most: float | None, bars: Bars
) -> tuple[Sensitivity, MixedPrecision | None, dict[str, Any]]:
    from edgefm.quantization.analysis.mixed_precision import choose_mixed_precision, portable_recipe
    from edgefm.quantization.analysis.sensitivity import sensitivity

    inputs, targets = model.validation(images)
    calibration = model.calibration(recipe)
    options = {"quality": model.task.quality, "calibration": calibration, "layer_names": model.layer_names}
    result = sensitivity(model.float32, inputs, targets, **options, progress=bars)
    if drop_at_most is None:
        return result, None, {}
    chosen = choose_mixed_precision(
        model.float32, inputs, targets, layers=result, **options, drop_at_most=drop_at_most, progress=bars
    )
    return (
        result,
        chosen,
        portable_recipe(
            model.float32,
            chosen.keep_float,
            layer_names=model.layer_names,
            like=recipe,
            drop_at_most=drop_at_most,
        ),
    )


def _show(result: Sensitivity) -> None:
    rows = []
    for layer in result.layers:
        weights, activations = layer.weights_only, layer.activations_only
        rows.append(
            [
                layer.layer,
                ", ".join(layer.operators),
                f"{layer.weights:,}" if layer.weights else "",
                *_cells(weights, result.unit),
                *_cells(activations, result.unit),
            ]
        )
    headers = ["layer", "operators", "weights", "loss W8", "error W8", "loss A8", "error A8"]
    render.table(rows, headers=headers, right=headers[2:])
    value = f"{100 * result.float32:.2f} %" if result.unit == "%" else f"{result.float32:.4g}"
    loss, error = _cells(result.int8, result.unit)
    number = sum(layer.weights for layer in result.layers)
    render.echo(f"whole model in int8: loss {loss}, error {error} ({number:,} weights)")
    render.echo(f"float32: {result.quality} {value} (n = {result.images:,} validation samples)")
    render.echo(
        "W8: only the weights of the layer are int8; A8: only its activations\n"
        f"loss: {'percentage points of ' if result.unit == '%' else ''}{result.quality} against float32; "
        "error: RMS difference of the outputs, in % of their standard deviation"
    )


def _show_choice(chosen: MixedPrecision, unit: str) -> None:
    render.echo()
    rows = [
        [
            ", ".join(step.keep_float[-1:]) or "none",
            str(len(step.keep_float)),
            _loss(step.measured.loss, unit),
            f"{100 * step.measured.output_error:.2f} %",
            render.size(step.size_bytes),
        ]
        for step in chosen.steps
    ]
    headers = ["next layer kept float32", "float32 layers", "loss", "error", "size"]
    render.table(rows, headers=headers, right=headers[1:])
    limit = f"the limit, a loss of at most {chosen.drop_at_most:g}{' points' if unit == '%' else ''},"
    names = ", ".join(chosen.keep_float)
    if not chosen.held:
        render.echo(f"{limit} is broken even with all of these layers in float32: {names}")
    elif names:
        render.echo(f"{limit} holds with {names} in float32")
    else:
        render.echo(f"{limit} holds with int8 throughout: nothing needs to stay float32")


def _cells(measured: FileQuality | None, unit: str) -> tuple[str, str]:
    if measured is None:
        return "", ""
    return _loss(measured.loss, unit), f"{100 * measured.output_error:.2f} %"


def _loss(loss: float, unit: str) -> str:
    return f"{loss:+.2f}" if unit == "%" else f"{loss:+.3g}"
