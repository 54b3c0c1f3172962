"""`edgefm benchmark`: measure quality, latency, size and memory of TFLite files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgefm.cli import render
from edgefm.cli.benchmark_tables import show, show_verdict
from edgefm.cli.exit_codes import exit_codes
from edgefm.cli.measured_now import measuring_arguments
from edgefm.core import text
from edgefm.core.errors import EdgefmError, RuntimeUnavailableError
from edgefm.core.progress import Progress, shown
from edgefm.core.task_names import TASKS

if TYPE_CHECKING:
    from edgefm.jobs.benchmark import BenchmarkRecord
    from edgefm.recipes import BenchmarkProtocol


@click.command(
    epilog=exit_codes(
        "every model was measured", "a model failed; the others were measured", "nothing could be measured"
    )
)
@click.argument("what", nargs=-1, type=click.Path(path_type=Path), metavar="[RUN | FILES.tflite …]")
@click.option("--target", default="host", show_default=True, help="Where to measure, see: edgefm doctor.")
@click.option(
    "--runtime", default="", help="Runtime, e.g. litert:reference; see: edgefm doctor.  [default: the target's]"
)
@click.option("--threads", type=int, default=1, show_default=True, help="Threads of the runtime.")
@click.option(
    "--rounds",
    type=int,
    default=None,
    help="Minimum number of rounds; more follow until p50 is known to 1 %.  [default: 15]",
)
@click.option("--rounds-at-most", type=int, default=None, help="Maximum number of rounds.  [default: 45]")
@click.option(
    "--budget-seconds", type=float, default=None, help="Time limit: no round starts after it.  [default: 600]"
)
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Folder of the Fashion-MNIST files.")
@click.option(
    "--data",
    "where",
    metavar="DATA",
    help="Model files: test data: .npz, class folders, TFRecords, or module:function.",
)
@click.option("--spec", type=click.Path(path_type=Path), default=None, help="JSON that describes the TFRecord files.")
@click.option(
    "--task",
    type=click.Choice(TASKS),
    default=None,
    help="With --data: task of the models.  [default: from the labels]",
)
@click.option(
    "--quality", metavar="NAME", default=None, help="Quality measure: accuracy, map, f1, mse, ... or module:function."
)
@click.option("--labels", type=click.Path(path_type=Path), default=None, help="With --data: class names, one per line.")
@click.option("--mean", type=float, default=None, help="Files without a contract: input = (pixel - mean) / std.")
@click.option("--std", type=float, default=None, help="See --mean.")
@click.option("--latency-only", is_flag=True, help="Model files: measure no accuracy; needs no data.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Model files: folder for the record.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole record as JSON.")
def command(
    what: tuple[Path, ...],
    target: str,
    runtime: str,
    threads: int,
    rounds: int | None,
    rounds_at_most: int | None,
    budget_seconds: float | None,
    data_dir: Path | None,
    where: str | None,
    spec: Path | None,
    task: str | None,
    quality: str | None,
    labels: Path | None,
    mean: float | None,
    std: float | None,
    latency_only: bool,
    out: Path | None,
    as_json: bool,
) -> int:
    """Measure latency, quality, size and memory of TFLite files: those of RUN (by default the latest run), or FILES.

    In each round every model runs once, in a new process; if one crashes or hangs, the others are still measured.
    Measurements that other programs disturbed are flagged and repeated. TARGET is this machine (host), a board
    (ssh://pi@board), a phone (adb), an emulator (qemu-aarch64:cortex-a72, cortex-m), a browser, or an estimator
    (vela:ethos-u55-128). Accuracy is measured on the 10,000 test images of Fashion-MNIST, or quality on the test
    samples of DATA (a tenth of each class, where DATA has no test samples). For a run, the record is a new step of it
    and the report is written anew.
    """
    from edgefm.benchmarking import record
    from edgefm.comparison.subjects import is_model
    from edgefm.jobs.benchmark import benchmark, benchmark_protocol

    files = [path for path in what if not path.is_dir() or is_model(str(path))]
    if files and len(files) < len(what):
        raise click.UsageError("both a run folder and model files were given; give one run folder, or model files")
    if len(what) > 1 and not files:
        raise click.UsageError(f"{len(what)} run folders were given; give one")
    given = {
        "data": where,
        "spec": spec,
        "task": task,
        "quality": quality,
        "labels": labels,
        "mean": mean,
        "std": std,
        "out": out,
        "latency-only": latency_only or None,
    }
    with shown(True) as progress:
        if files:
            options = {**given, "where": where, "latency_only": latency_only, "data_dir": data_dir}
            options |= {"target": target, "runtime": runtime, "threads": threads}
            options |= {"rounds": rounds, "rounds_at_most": rounds_at_most, "budget_seconds": budget_seconds}
            measured = benchmark(files, **measuring_arguments(options, progress))
            ends = [] if out is None else [f"record: {out / record.FILE_NAME}"]
        else:
            refused = [f"--{name}" for name, value in given.items() if value is not None]
            if refused:
                raise click.UsageError(
                    f"{', '.join(refused)} {'applies' if len(refused) == 1 else 'apply'} to model files only; "
                    "a run has its own data and preprocessing: leave out the option, or give model files"
                )
            protocol = benchmark_protocol(
                target=target,
                runtime=runtime,
                threads=threads,
                rounds=rounds,
                rounds_at_most=rounds_at_most,
                budget_seconds=budget_seconds,
            )
            measured, ends = _run(what[0] if what else None, protocol, data_dir, progress)
    verdict = measured.verdict
    if as_json:
        render.json_text(record.dumps({**measured.record, "verdict": verdict.to_json()}))
    else:
        show(measured.record)
        show_verdict(verdict)
        for line in ends:
            render.echo(line)
    succeeded = [model["status"] == "ok" for model in measured.record["models"]]
    return 0 if all(succeeded) else 1 if any(succeeded) else 2


def _run(
    path: Path | None, protocol: BenchmarkProtocol, data_dir: Path | None, progress: Progress
) -> tuple[BenchmarkRecord, list[str]]:
    """Measure a run; return its record and what to say at the end."""
    from edgefm.cli.given_run import named_run

    run = named_run(path)
    benchmarked = run.benchmark(protocol=protocol, data_dir=data_dir, progress=progress)
    ends = [f"record: {benchmarked.path}"]
    try:
        ends.append(f"report: {run.report(data_dir=data_dir, progress=progress)}")
    except RuntimeUnavailableError as error:
        ends.append(f"no report: {error}")
    except OSError as error:  # a full disk, say
        raise EdgefmError(
            f"the report could not be written: {error}",
            hint=f"What was measured is kept: {benchmarked.path}. Free some space, then write the report with: "
            + text.command("edgefm", "report", run.path),
        ) from error
    return benchmarked, ends
