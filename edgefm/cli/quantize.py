"""`edgefm quantize`: write the TFLite files of a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgefm.cli import render
from edgefm.errors import DataError, RecipeError
from edgefm.recipes import VARIANTS, Quantization
from edgefm.runs import RunDirectory

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("source", required=False, type=_FILE, metavar="[RUN | MODEL.keras]")
@click.option("--variant", "variants", multiple=True, metavar="NAME", help="Repeatable.  [default: all of the below]")
@click.option("--calibration-images", type=int, default=256, show_default=True, help="Pictures that set int8 ranges.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the choice of calibration pictures.")
@click.option("--no-fold", is_flag=True, help="Leave batch normalisation as it is.")
@click.option("--value-range", metavar="LO,HI", default=None, help="MODEL.keras: what it takes.  [default: 0,255]")
@click.option("--labels", type=_FILE, default=None, help="MODEL.keras: class names, one a line.")
@click.option("--calibration-data", type=_FILE, default=None, help="MODEL.keras: .npz with an array 'images'.")
@click.option("--data-dir", type=_FILE, default=None, help="Folder of the Fashion-MNIST files.")
@click.option("--out", type=_FILE, default=None, help="MODEL.keras: folder.  [default: <model>-tflite beside it]")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    source: Path | None,
    variants: tuple[str, ...],
    calibration_images: int,
    seed: int,
    no_fold: bool,
    value_range: str | None,
    labels: Path | None,
    calibration_data: Path | None,
    data_dir: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    r"""Write the TFLite files of a run's model (by default the latest run's), or of a .keras file.

    \b
    Variants:
      float32        the reference
      float16        float16 weights, float32 arithmetic
      drq_w8         int8 weights, activations quantised at run time
      int8_w8a8      full integer, uint8 in and out
      int8_w8a8_fc4  as int8_w8a8 with int4 weights in the dense layers
    """
    recipe = Quantization(
        variants=tuple(dict.fromkeys(variants)) or tuple(VARIANTS),
        calibration_images=calibration_images,
        seed=seed,
        fold_batch_norm=not no_fold,
    )
    options = {
        "value_range": _value_range(value_range),
        "labels": _labels(labels),
        "calibration_data": calibration_data,
        "out": out,
    }
    if source is not None and (source.suffix in (".keras", ".h5", ".hdf5") or source.is_file()):
        report = _of_file(source, recipe, data_dir, options)
    else:
        report = _of_run(source, recipe, data_dir, options)
    folder = Path(report["folder"])
    if as_json:
        render.as_json(report)
        return
    _show(report, folder)
    run = report.get("run")
    click.echo(f"next: edgefm benchmark {run}" if run else f"next: edgefm benchmark {folder}/*/model.tflite")


def _of_run(
    source: Path | None, recipe: Quantization, data_dir: Path | None, options: dict[str, Any]
) -> dict[str, Any]:
    import json

    from edgefm.pipeline import quantize

    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if given:
        raise click.UsageError(f"{', '.join(given)} goes with a MODEL.keras; a run knows its own")
    run = RunDirectory.latest() if source is None else RunDirectory.open(source)
    bars = render.Bars()
    try:
        step = quantize(run, recipe=recipe, data_dir=data_dir, progress=bars)
    finally:
        bars.close()
    folder = run.folder(step)
    report = json.loads((folder / "quantize.json").read_text(encoding="utf-8"))
    return {"run": str(run.path), "step": step.name, "folder": str(folder), **report}


def _of_file(source: Path, recipe: Quantization, data_dir: Path | None, options: dict[str, Any]) -> dict[str, Any]:
    from edgefm_converters.step import quantize_file

    bars = render.Bars()
    try:
        folder, report = quantize_file(source, recipe=recipe, data_dir=data_dir, progress=bars, **options)
    finally:
        bars.close()
    return {"folder": str(folder), **report}


def _show(report: dict[str, Any], folder: Path) -> None:
    folding = report["folding"]
    if folding["used"]:
        click.echo(
            f"folded {len(folding['folded'])} layers exactly (difference from the Keras model "
            f"{folding['max_abs_difference']:.1e}), left {len(folding['left_out'])} as they were"
        )
    else:
        click.echo(f"not folded: {folding['reason']}")
    rows = [
        (
            variant["variant"],
            render.size(variant["size_bytes"]),
            render.size(variant["gzip_bytes"]),
            f"{100 * variant['of_float32']:.1f} %",
            f"{variant['max_abs_difference']:.1e}",
            f"{100 * variant['same_top1']:.1f} %",
            f"{variant['seconds']:.2f}",
            str(folder / variant["file"]),
        )
        for variant in report["variants"]
    ]
    headers = ("variant", "size", "gzip -9", "of float32", "max diff", "same top 1", "s", "file")
    render.table(rows, headers=headers)
    parity = report["parity"]
    click.echo(f"max diff and same top 1: probabilities against the Keras model on {parity['images']} pictures")


def _value_range(given: str | None) -> tuple[float, float] | None:
    if given is None:
        return None
    try:
        low, high = (float(part) for part in given.split(","))
    except ValueError:
        raise RecipeError(
            f"--value-range {given} is not allowed: two numbers LO,HI are expected",
            hint="For example: --value-range 0,1",
        ) from None
    return low, high


def _labels(path: Path | None) -> tuple[str, ...] | None:
    if path is None:
        return None
    if not path.is_file():
        raise DataError(f"no labels at {path}", hint="Give a text file with one class name a line.")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text: {error}") from error
    labels = tuple(line.strip() for line in lines if line.strip())
    if not labels:
        raise DataError(f"{path} holds no label", hint="Give a text file with one class name a line.")
    return labels
