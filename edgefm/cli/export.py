"""`edgefm export`: a bundle for a target: model, contract, golden vectors, model card and code."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.cli.picture_options import picture_options
from edgefm.core.errors import ArgumentError, EdgefmError, ModelError, RuntimeUnavailableError
from edgefm.core.picture_steps import INVERSIONS, ChannelOrder, Filter, Fit, Inversion
from edgefm.core.progress import Bars
from edgefm.core.task_names import TASKS
from edgefm.core.text import command as as_typed
from edgefm.targets.base import TargetError

_PATH = click.Path(path_type=Path)
_ALL, _NONE = "all", "none"


@click.command(epilog=exit_codes("the bundle was written"))
@click.argument("kind", metavar="KIND")
@click.argument("model", nargs=-1, metavar="[RUN|MODEL.tflite|NAME=MODEL]...")
@click.option("--out", type=_PATH, required=True, help="Folder to write into; with 'all', one folder a kind in it.")
@click.option("--variant", default=None, help="Which variant of the run.  [default: the verdict's for the target]")
@click.option("--data", "where", metavar="DATA", help="Test samples for golden inputs.  [default: those of the run]")
@click.option(
    "--task", type=click.Choice(TASKS), default=None, help="Of a file without a contract.  [default: the data's]"
)
@click.option("--labels", type=_PATH, default=None, help="Class names, one per line, for a file without a contract.")
@click.option("--mean", type=float, default=None, help="Without contract: input = (pixel - mean) / std.")
@click.option("--std", type=float, default=None, help="See --mean.")
@picture_options
@click.option(
    "--invert",
    type=click.Choice(INVERSIONS),
    default=None,
    help="When brightness is inverted; light_border: on a light background.  [default: as the contract says]",
)
@click.option("-n", "--samples", type=click.IntRange(min=1), default=20, show_default=True, help="Golden vectors.")
@click.option("--seed", type=int, default=0, show_default=True, help="Draws them.")
@click.option(
    "--pictures", type=click.IntRange(min=0), default=0, show_default=True, help="Test pictures of each class, as PNG."
)
@click.option("--standalone", is_flag=True, help="Of c: add the network as C that needs no interpreter.")
@click.option("--npu", default=None, help="Of c: add the file that vela compiles, e.g. for ethos-u55-128.")
@click.option(
    "--format", "formats", multiple=True, help="The model in another format, too: onnx, coreml, executorch; repeatable."
)
@click.option("--beside", multiple=True, metavar="VARIANT|MODEL", help="Of web: a model beside it; none; repeatable.")
@click.option("--served", is_flag=True, help="Of web: add a folder for a web server, with threads.")
@click.option(
    "--sign", type=_PATH, metavar="KEY", help="Sign it with a private key (PEM), as OpenSSF model signing says."
)
@click.option("--force", is_flag=True, help="Replace a bundle that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    kind: str,
    model: tuple[str, ...],
    out: Path,
    variant: str | None,
    where: str | None,
    task: str | None,
    labels: Path | None,
    mean: float | None,
    std: float | None,
    fit: Fit | None,
    filter: Filter | None,
    channel_order: ChannelOrder | None,
    background: int | None,
    invert: Inversion | None,
    samples: int,
    seed: int,
    pictures: int,
    standalone: bool,
    npu: str | None,
    formats: tuple[str, ...],
    beside: tuple[str, ...],
    served: bool,
    sign: Path | None,
    force: bool,
    as_json: bool,
) -> int:
    """Write a bundle: the model, its contract, golden vectors, a model card, and code that feeds it on a target.

    KIND is android (a module for an app), apk (an app that shows the page), web (one page for browsers), python (a
    Raspberry Pi, a server), c (a microcontroller), or all that the model can be written for; an apk is among them where
    the tools that build one are installed. The model is a .tflite file or a run, by default the latest run. Equal input
    gives equal bytes; edgefm verify checks a bundle.

    A bundle for android holds several models where each is given with the name of its folder: NAME=MODEL.tflite,
    NAME=RUN or NAME=RUN:VARIANT. The page for browsers holds others of the run beside the model, as far as 5 MB allow;
    --beside names them.
    """
    from edgefm.cli.given_run import named_run
    from edgefm.cli.own_data import labels_of
    from edgefm.jobs.export import ExportResult, export
    from edgefm.jobs.export.folder import check_target, together

    source = _given(model) if model else named_run(None).path
    names = labels_of(labels)

    def written(kind: str, folder: Path) -> ExportResult:
        return export(
            source,
            kind,
            out=folder,
            variant=variant,
            data=where,
            task=task,
            labels=names,
            mean=mean,
            std=std,
            fit=fit,
            filter=filter,
            channel_order=channel_order,
            background=background,
            invert=invert,
            samples=samples,
            seed=seed,
            pictures=pictures,
            standalone=standalone,
            npu=npu,
            formats=formats,
            beside=_beside(beside),
            served=served,
            sign=sign,
            force=force,
            progress=Bars(),
        )

    results: list[ExportResult] = []
    left_out: dict[str, EdgefmError] = {}
    if kind == _ALL:
        kinds = _kinds_here()
        for each in kinds:  # before the first is written
            check_target(out / each, force=force)
        with together(out) as staged:
            for each in kinds:
                try:
                    results.append(dataclasses.replace(written(each, staged / each), folder=out / each))
                except (ModelError, RuntimeUnavailableError, TargetError) as error:
                    left_out[each] = error
            if not results:
                raise next(iter(left_out.values()))
            for each in kinds:  # another may have put something into one meanwhile
                check_target(out / each, force=force)
    else:
        results.append(written(kind, out))
    if as_json:
        reasons = {each: reason.message for each, reason in left_out.items()}
        render.as_json({"bundles": [result.to_json() for result in results], "left_out": reasons})
    for result in () if as_json else results:
        for one in result.models:
            render.echo(
                f"{result.folder / one.name}: {one.variant} for {result.kind}, {one.size_bytes / 1000:,.1f} KB, "
                f"{one.golden[0]} golden vectors from {one.golden[1]}"
            )
            if one.advice:
                render.echo(f"verdict of the benchmark: {one.advice}")
        render.echo(f"{len(result.files)} files, {result.size_bytes / 1000:,.1f} KB")
        if result.beside:
            render.echo(f"beside it in the page: {', '.join(result.beside)}")
        for name, why in result.left_out:
            render.complain(f"{name} is not in the page: {why}")
        render.echo(f"next: {as_typed('edgefm', 'verify', str(result.folder))}")
    for each, reason in left_out.items():
        render.complain(f"the bundle for {each} was not written: {reason.message}")
        if reason.hint:
            render.complain(f"  {reason.hint}")
    # What this model cannot be written for is no failure; a library that is missing is.
    return 2 if any(isinstance(reason, RuntimeUnavailableError | TargetError) for reason in left_out.values()) else 0


def _given(words: tuple[str, ...]) -> Path | dict[str, Path | tuple[Path, str]]:
    """Return the model that is meant by a path, or several by the names of their folders.

    What is there is a path, whatever its name holds.

    Raises:
      ArgumentError: several without names, or one name twice.
    """
    if len(words) == 1 and ("=" not in words[0] or Path(words[0]).exists()):
        return Path(words[0])
    models: dict[str, Path | tuple[Path, str]] = {}
    for word in words:
        name, equals, where = word.partition("=")
        if not equals or not where:
            raise ArgumentError(
                f"'{word}' has no name; of several models, each is expected as NAME=MODEL.tflite, NAME=RUN or "
                "NAME=RUN:VARIANT"
            )
        if name in models:
            raise ArgumentError(f"'{name}' is the name of two models; each is expected to have its own")
        path, colon, variant = where.rpartition(":")
        models[name] = Path(where) if not colon or Path(where).exists() else (Path(path), variant)
    return models


def _kinds_here() -> list[str]:
    """Return the kinds that `all` stands for: an APK takes tools of Debian, which few have."""
    from edgefm.jobs.export import KINDS
    from edgefm_converters.bundles.apk import missing_tools

    return [kind for kind in KINDS if kind != "apk" or not missing_tools()]


def _beside(names: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return what is to stand beside a model: None leaves it to the library, 'none' is nothing."""
    if not names:
        return None
    return tuple(name for name in names if name != _NONE)
