"""`edgefm calibration`: what is wrong with calibration data, and how many samples are enough."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.cli.own_data import data_options
from edgefm.core.progress import Bars

if TYPE_CHECKING:
    from edgefm.quantization.analysis.calibration_check import CalibrationReport

_PATH = click.Path(path_type=Path)
_COUNT = click.IntRange(min=1)


@click.command(epilog=exit_codes("every check holds", "a check fails"))
@click.argument("source", required=False, type=_PATH, metavar="[RUN | MODEL]")
@click.option("--calibration-data", type=_PATH, default=None, metavar="NPZ", help="'images', optionally 'labels'.")
@click.option("--calibration-images", type=_COUNT, default=256, show_default=True, help="Calibration samples.")
@click.option("--images", type=_COUNT, default=1000, show_default=True, help="Validation samples.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the drawn calibration samples.")
@data_options
@click.option("--run", "run_folder", type=_PATH, default=None, help="MODEL: run folder.  [default: runs/<model>]")
@click.option("--out", type=_PATH, default=None, metavar="FOLDER", help="Write here.  [default: RUN/calibration]")
@click.option("--data-dir", type=_PATH, default=None, help="Folder of the Fashion-MNIST files.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    source: Path | None,
    calibration_data: Path | None,
    calibration_images: int,
    images: int,
    seed: int,
    run_folder: Path | None,
    out: Path | None,
    data_dir: Path | None,
    as_json: bool,
    **data: Any,
) -> int:
    """Check the calibration data of a run's model, or of a MODEL of your own, before it is quantised.

    Checks range, dtype and variety of the samples, and how many validation values their ranges clip; measures int8
    files that are calibrated with 16, 32, … 1,024 samples.
    """
    from edgefm.cli.examined_run import examined
    from edgefm.core import artefacts, whole_folders
    from edgefm.recipes import Quantization
    from edgefm.report.tools.calibration import calibration_png

    recipe = Quantization(calibration_images=calibration_images, seed=seed)
    bars = Bars()
    try:
        run, model = examined(source, run_folder=run_folder, data_dir=data_dir, recipe=recipe, data=data, bars=bars)
        report = _check(model, calibration_data, calibration_images, images, seed, bars)
    finally:
        bars.close()
    folder = out or run.path / "calibration"
    value = {"model": model.name, **report.to_json()}
    files = {"calibration.json": artefacts.json_bytes(value), "calibration.png": calibration_png(report.to_json())}
    whole_folders.write(folder, files)
    if as_json:
        render.as_json({"folder": str(folder), **value})
    else:
        _show(report)
        render.echo(f"the tables and their picture are in {folder}")
    return 0 if report.held else 1


def _check(
    model: Any, calibration_data: Path | None, count: int, images: int, seed: int, bars: Bars
) -> CalibrationReport:
    from edgefm.quantization.analysis.calibration_check import COUNTS, check_calibration
    from edgefm.quantization.calibration_set import read_samples
    from edgefm.recipes import Quantization

    if calibration_data is not None:
        samples, labels = read_samples(calibration_data)
    else:
        pool = Quantization(calibration_images=max(count, *COUNTS), seed=seed)
        samples, labels = model.calibration_samples(pool)
    return check_calibration(model, samples, labels=labels, count=count, images=images, progress=bars)


def _show(report: CalibrationReport) -> None:
    for check in report.checks:
        mark, colour = {True: ("ok", "green"), False: ("FAILED", "red"), None: ("-", None)}[check.held]
        render.echo(f"{mark:>6}", fg=colour, nl=False)
        render.echo(f"  {check.name}: {check.verdict}")
    render.echo()
    rows = [
        [
            tensor.layer,
            tensor.operator,
            f"{tensor.low:.3g}",
            f"{tensor.high:.3g}",
            f"{100 * tensor.clipped_calibration:.3f} %",
            f"{100 * tensor.clipped_held_out:.3f} %",
            f"{100 * tensor.used:.0f} %",
        ]
        for tensor in report.saturation
    ]
    headers = ["layer", "operator", "min", "max", "clipped (calibration)", "clipped (validation)", "range used"]
    render.table(rows, headers=headers, right=headers[2:])
    render.echo()
    share = report.unit == "%"
    rows = [
        [
            f"{point.images:,}",
            f"{100 * point.measured.quality:.2f} %" if share else f"{point.measured.quality:.4g}",
            f"{point.measured.loss:+.2f}" if share else f"{point.measured.loss:+.3g}",
            f"{100 * point.measured.output_error:.2f} %",
        ]
        for point in report.curve
    ]
    headers = ["calibration samples", f"int8 {report.quality}", "loss", "output error"]
    render.table(rows, headers=headers, right=headers)
    value = f"{100 * report.float32:.2f} %" if share else f"{report.float32:.4g}"
    render.echo(f"float32: {report.quality} {value} (n = {report.images:,} validation samples)")
