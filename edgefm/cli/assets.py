"""`edgefm assets`: write a model and its contract for an app to embed."""

from __future__ import annotations

from pathlib import Path

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes


@click.command(epilog=exit_codes("the folder was written"))
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option(
    "--variant",
    default=None,
    help="Which variant of the run.  [default: the verdict's for phones; int8_w8a8 without a benchmark]",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write into.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(run: Path | None, variant: str | None, out: Path, as_json: bool) -> None:
    """Write model.tflite, contract.json, labels.txt (of classes) and README.md for an app to embed.

    RUN is a run folder, by default the latest.
    """
    from edgefm.cli.given_run import named_run
    from edgefm.comparison.shipping.of_run import default_variant, run_verdict
    from edgefm.core.runs import RunDirectory

    source = named_run(run)
    verdict = run_verdict(RunDirectory.open(source.path))
    variant = variant or default_variant(verdict)
    paths = source.assets(out, variant=variant)
    if as_json:
        render.as_json(
            {"run": str(source.path), "variant": variant, "files": [str(path) for path in paths]}
            | ({} if verdict is None else {"verdict": verdict.to_json()})
        )
        return
    for path in paths:
        render.echo(path)
    if verdict is not None:
        render.echo(f"{variant}; verdict of the benchmark: {verdict.headline}")
