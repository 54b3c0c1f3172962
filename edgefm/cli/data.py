"""`edgefm data fetch` and `edgefm data info`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.core.progress import Bars

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.reference.fashion_mnist import DatasetFolder

_data_dir = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Folder of the four files; without it they are searched for, then downloaded.  [env: EDGEFM_DATA_DIR]",
)
_json = click.option("--json", "json_", is_flag=True, help="Print JSON.")


_exit_codes = exit_codes(
    "the data are there and pass their checks", failed="the data cannot be found or fetched, or a file is damaged"
)


@click.group(epilog=_exit_codes)
def command() -> None:
    """Fetch and check Fashion-MNIST, the reference data set."""


@command.command(epilog=_exit_codes)
@_data_dir
@_json
def fetch(data_dir: Path | None, json_: bool) -> None:
    """Find Fashion-MNIST, or fetch it, and verify it."""
    source, dataset = _load(data_dir)
    if json_:
        render.as_json(_described(source, dataset))
        return
    render.echo(f"Fashion-MNIST is verified: {source.folder} ({source.origin})")


@command.command(epilog=_exit_codes)
@_data_dir
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data-info"),
    show_default=True,
    help="Folder for the two pictures.",
)
@_json
def info(data_dir: Path | None, out: Path, json_: bool) -> None:
    """Show class counts and checks; draw the class balance and a sheet of samples."""
    from edgefm.core import whole_folders
    from edgefm.data.dataset import class_counts
    from edgefm.data.pictures import class_balance, samples

    source, dataset = _load(data_dir)
    checks = _checks(dataset)
    files = {"class-balance.png": class_balance(dataset), "samples.png": samples(dataset)}
    whole_folders.write(out, files)
    pictures = [out / name for name in files]
    if json_:
        render.as_json({**_described(source, dataset), "checks": checks, "pictures": [str(path) for path in pictures]})
        return
    render.echo(f"{dataset.name}, found in {source.folder} ({source.origin})")
    render.echo(f"sha256 of content and split: {dataset.sha256}")
    render.echo()
    counts = [class_counts(split, classes=len(dataset.labels)) for split in dataset.splits]
    rows: list[list[str]] = [
        [label, *(f"{count:,}" for count in row)]
        for label, row in zip(dataset.labels, zip(*counts, strict=True), strict=True)
    ]
    rows.append(["all", *(f"{len(split):,}" for split in dataset.splits)])
    render.table(rows, headers=["class", *(split.name for split in dataset.splits)])
    render.echo()
    for check in checks:
        render.echo(f"{'ok' if check['held'] else 'FAILED':>6}  {check['check']}")
    render.echo()
    render.echo(f"Pictures: {' '.join(str(path) for path in pictures)}")


def _load(data_dir: Path | None) -> tuple[DatasetFolder, Dataset]:
    from edgefm.data.reference.fashion_mnist import find, load_fashion_mnist

    bars = Bars()
    try:
        source = find(data_dir, progress=bars)
    finally:
        bars.close()
    return source, load_fashion_mnist(source.folder)


def _described(source: DatasetFolder, dataset: Dataset) -> dict[str, Any]:
    from edgefm.data.dataset import class_counts
    from edgefm.data.reference.fashion_mnist import FILES

    return {
        "name": dataset.name,
        "folder": str(source.folder),
        "origin": source.origin,
        "sha256": dataset.sha256,
        "files": {file.name: file.sha256 for file in FILES},
        "labels": list(dataset.labels),
        "splits": {
            split.name: {
                "images": len(split),
                "classes": class_counts(split, classes=len(dataset.labels)),
            }
            for split in dataset.splits
        },
    }


def _checks(dataset: Dataset) -> list[dict[str, Any]]:
    """Return what a reader of figures wants to know of the splits, looked up in the pictures themselves."""
    from edgefm.data.dataset import class_counts, shared_images
    from edgefm.data.reference.fashion_mnist import FILES

    balanced = all(len(set(class_counts(split, classes=len(dataset.labels)))) == 1 for split in dataset.splits)
    train, validation, test = dataset.splits
    checks: list[dict[str, Any]] = [
        # Reading them would have failed otherwise.
        {"check": f"the {len(FILES)} files have the expected sha256", "held": True},
        {"check": "all classes are equally frequent in each split", "held": balanced},
    ]
    for first, second in ((train, validation), (train, test), (validation, test)):
        shared = shared_images(first, second)
        checks.append({"check": f"{first.name} and {second.name} share {shared} pictures", "held": shared == 0})
    return checks
