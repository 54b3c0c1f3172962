"""`edgefm cost-model`: measure operators on a target, by which the time of files is forecast without running them."""

from __future__ import annotations

from pathlib import Path

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes


@click.command(
    epilog=exit_codes("the cost model was built", failed="nothing could be timed, or the target cannot be used")
)
@click.option(
    "--runtime", default="litert", show_default=True, help="Runtime, e.g. litert:builtin; see: edgefm doctor."
)
@click.option("--target", default="host", show_default=True, help="This machine, or a board, e.g. ssh://pi@board.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the operators and networks drawn.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="File, ending in .json.  [default: that of this machine is kept for forecasts]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the cost model as JSON.")
def command(runtime: str, target: str, seed: int, out: Path | None, as_json: bool) -> int:
    """Time two thousand operators and sixty small networks on one thread of a target: two minutes on this machine.

    edgefm forecast builds the cost model of this machine when it needs one, and keeps it; without --out it is built
    anew. Build one of a board for forecasts of it: edgefm forecast --target ssh://pi@board --cost-model FILE. Nothing
    else should run there.
    """
    from edgefm.core.errors import RecipeError
    from edgefm.jobs.forecast.cost_model import cost_model

    if out is None and target != "host":
        raise RecipeError(
            f"no file was given for the cost model of {target}", hint="Give one that ends in .json: --out board.json"
        )
    model = cost_model(runtime, target=target, seed=seed, out=out, progress=True)
    if as_json:
        render.as_json(model.to_json())
        return 0
    held_out = model.held_out
    render.echo(f"{model.runtime} {model.version} on one thread of {model.environment['cpu']}")
    render.echo(f"{len(model.operators):,} operators measured; a call takes {model.call_ns / 1000:.2f} us")
    render.echo(
        f"error on {len(held_out.names)} networks, each left out when it was predicted: median "
        f"{100 * held_out.median:.1f} %, nine in ten within {100 * held_out.p90:.1f} %"
    )
    for reason in model.disturbed:
        render.echo(f"disturbed: {reason}; build it again on a quieter machine")
    if out is not None:
        render.echo(f"written: {out}")
    return 0
