"""`edgefm quantize`: compress a trained model and write its TFLite files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.cli.given_run import given_run
from edgefm.cli.own_data import data_options
from edgefm.core.progress import Bars
from edgefm.core.text import command as command_line
from edgefm.jobs.quantize import gates, quantization_recipe

_PATH = click.Path(path_type=Path)


@click.command(
    epilog=exit_codes(
        "all that the set can give was written, and nothing is wrong with it",
        "a file is wrong, or a named variant (--strict: any) failed or broke its limit",
    )
)
@click.argument("source", required=False, type=_PATH, metavar="[RUN | MODEL]")
@click.option(
    "--recipe",
    "recipe_name",
    metavar="NAME|FILE",
    help="See edgefm recipes list.  [default: default, with few samples quick]",
)
@click.option("--variant", "variants", multiple=True, metavar="NAME", help="Variant, instead of a recipe; repeatable.")
@click.option("--quick", is_flag=True, help="Post-training variants only: nothing is trained.")
@click.option("--calibration-images", type=int, default=None, help="Samples that set int8 ranges.  [default: 256]")
@click.option("--seed", type=int, default=None, help="Seed of sampling and fine-tuning.  [default: 0]")
@click.option("--no-fold", is_flag=True, help="Do not fold batch normalisation.")
@data_options
@click.option("--calibration-data", type=_PATH, default=None, help="MODEL without --data: .npz with an array 'images'.")
@click.option("--run", "run_folder", type=_PATH, default=None, help="MODEL: run folder.  [default: runs/<model>]")
@click.option("--data-dir", type=_PATH, default=None, help="Folder of the Fashion-MNIST files.")
@click.option("--strict", is_flag=True, help="Exit with 1 if any variant is left out or exceeds its limit.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    source: Path | None,
    recipe_name: str | None,
    variants: tuple[str, ...],
    quick: bool,
    calibration_images: int | None,
    seed: int | None,
    no_fold: bool,
    calibration_data: Path | None,
    run_folder: Path | None,
    data_dir: Path | None,
    strict: bool,
    as_json: bool,
    **data: Any,
) -> int:
    """Compress a run's model (by default the latest run's), or a MODEL of your own, and write TFLite files.

    MODEL is a Keras .keras or .h5 file, a SavedModel folder, or a float .tflite (which cannot be trained: --quick).
    It gets a run of its own, for edgefm benchmark and edgefm report.

    \b
    What the names of variants mean:
      float32, float16    stored as floats
      drq_w8              int8 weights, float activations
      int8_w8a8, int16x8  quantised after training
      int8_w8a8_fc4       the same, 4 bits for dense layers
      qat_int8            quantisation-aware training
      pruned80_...        80 % of the weights are zero
      clustered16_...     16 values for each layer's weights
      slim50_...          half of the channels are removed
      ..._xnnpack         int8 with equal answers, stored as XNNPACK runs it faster
    """
    sets = (("--recipe", recipe_name), ("--variant", variants), ("--quick", quick))
    together = [option for option, used in sets if used]
    if len(together) > 1:
        raise click.UsageError(f"{' and '.join(together)} were given together: each names a set of variants, give one")
    asked: dict[str, Any] = {
        "recipe": recipe_name,
        "quick": quick,
        "calibration_images": calibration_images,
        "seed": seed,
    }
    quantization_recipe(variants or None, **asked)  # what is wrong with it is said before a model is loaded
    bars = Bars()
    try:
        run = given_run(source, run_folder=run_folder, data=data, calibration_data=calibration_data, bars=bars)
        files = run.quantize(
            variants or None,
            **asked,
            fold=not no_fold,
            data_dir=data_dir,
            progress=bars,
        )
    finally:
        bars.close()
    report = {"run": str(run.path), "step": files.folder.name, "folder": str(files.folder), **files.to_json()}
    if as_json:
        render.as_json(report)
    else:
        _show(report, files.folder)
        render.echo(f"next: {command_line('edgefm', 'benchmark', run.path)}")
    return 0 if (files.held if variants or strict else files.sound) else 1


def _show(report: dict[str, Any], folder: Path) -> None:
    folding = report["folding"]
    if folding["used"]:
        render.echo(
            f"folded {len(folding['folded'])} layers exactly (difference from the given model "
            f"{folding['max_abs_difference']:.1e}), left {len(folding['left_out'])} as they were"
        )
    else:
        render.echo(f"not folded: {folding['reason']}")
    measured = any(variant["validation"] for variant in report["variants"])
    rows = [_row(variant, measured) for variant in report["variants"]]
    if measured:
        given = report["given"]
        rows.insert(0, ["given model", *["-"] * 5, _value(given["quality"], given), *["-"] * 3])
    several = report["source"].get("task") == "multilabel"
    same = "same labels" if several else "same top 1"
    headers = ["variant", "size", "gzip", "of float32", "max diff", same]
    headers += [_quality_header(report), "against given model"] if measured else []
    render.table(rows, headers=[*headers, "checks", "s"], right=[name for name in headers if name != "variant"] + ["s"])
    parity = report["parity"]
    render.echo(f"max diff and {same}: outputs against {_compared_with(report)} on {parity['images']} samples")
    for entry in report["skipped"]:
        render.echo(f"left out: {entry['variant']}: {entry['reason']}")
    for finding in report["findings"]:
        render.echo(f"wrong: {finding['where']}: {finding['message']}", fg="red")
    render.echo(f"the files are in {folder}/<variant>/")


def _compared_with(report: dict[str, Any]) -> str:
    precision = report["source"].get("precision")
    if not precision:
        return "the given model"
    return (
        f"the given model computed in float32 (itself, in {', '.join(precision['given'])}, it differs from that by "
        f"up to {precision['max_abs_difference']:.1e})"
    )


def _row(variant: dict[str, Any], measured: bool) -> list[str]:
    same = variant["same_top1"] if variant.get("same_labels") is None else variant["same_labels"]
    row = [
        variant["variant"],
        render.size(variant["size_bytes"]),
        render.size(variant["gzip_bytes"]),
        f"{100 * variant['of_float32']:.1f} %",
        f"{variant['max_abs_difference']:.1e}",
        "-" if same is None else f"{100 * same:.1f} %",
    ]
    validation = variant["validation"]
    if measured:
        row += ["-", "-"] if validation is None else [_value(validation["value"], validation), _loss(validation)]
    held = gates(variant)
    return [*row, f"{sum(held)} of {len(held)} passed" if held else "-", f"{variant['seconds']:.1f}"]


def _quality_header(report: dict[str, Any]) -> str:
    given = report["given"]
    return f"{given['name']} (validation, n = {given['samples']:,})"


def _value(value: float, measure: dict[str, Any]) -> str:
    return f"{100 * value:.2f} %" if measure["unit"] == "%" else f"{value:.4g}"


def _loss(validation: dict[str, Any]) -> str:
    """Return how far a file's quality lies from the given model's, in words: a sign alone reads either way."""
    unit, loss = validation["unit"], validation["loss"]
    size = f"{abs(loss):.2f} points" if unit == "%" else f"{abs(loss):.3g}"
    if not float(size.split()[0]):
        return "equal"
    lower = (loss > 0) == validation["higher_is_better"]
    text = f"{size} {'lower' if lower else 'higher'}"
    return text if validation["held"] in (None, True) else f"{text}, allowed {validation['limit']:g}"
