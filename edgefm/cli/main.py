"""Entry point of `edgefm`: finds a command's module by name and imports it only when it is used."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any, TextIO

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import FAULT, exit_codes
from edgefm.core import signals
from edgefm.core.errors import EdgefmError, RecipeError, by_final_names, unknown_name
from edgefm.core.text import visible

# Name of the command -> (module that defines a click command called `command`, one line for `edgefm --help`).
COMMANDS: dict[str, tuple[str, str]] = {
    "data": ("edgefm.cli.data", "Fetch and check the data set; draw what is in it."),
    "train": ("edgefm.cli.train", "Train a model of the zoo, or your own."),
    "quantize": ("edgefm.cli.quantize", "Write TFLite files of a trained model."),
    "search": ("edgefm.cli.search", "Search for files that keep budgets of size, latency and accuracy."),
    "recipes": ("edgefm.cli.recipes", "List, show and check recipes of TFLite files."),
    "calibration": ("edgefm.cli.calibration", "Check calibration data: range, clipping, sample count."),
    "sensitivity": ("edgefm.cli.sensitivity", "Measure what int8 costs layer by layer; choose layers to keep float32."),
    "forecast": ("edgefm.cli.forecast", "Tell what each variant will cost and buy, before any training."),
    "benchmark": ("edgefm.cli.benchmark", "Measure accuracy, latency, size and memory of TFLite files."),
    "compare": ("edgefm.cli.compare", "Compare two runs, records or files: which is faster, smaller, better."),
    "gate": ("edgefm.cli.gate", "Check a budget: accuracy, size, latency ratio, arena; for CI."),
    "profile": ("edgefm.cli.profile", "Show the time of each operator, and how close it is to the machine's peak."),
    "cost-model": ("edgefm.cli.cost_model", "Measure operators here, by which forecasts tell the time of files."),
    "agree": ("edgefm.cli.agree", "Run the same inputs through runtimes and targets; show where outputs differ."),
    "leaderboard": ("edgefm.cli.leaderboard", "Write a page of models, runtimes and targets from records."),
    "report": ("edgefm.cli.report", "Write the report of a run: HTML, Markdown, CSV, JSON, PNG."),
    "explain": ("edgefm.cli.explain", "Explain a classifier: confusion, calibration, Grad-CAM, doubtful labels."),
    "predict": ("edgefm.cli.predict", "Classify pictures with a TFLite file."),
    "inspect": (
        "edgefm.cli.inspect",
        "Show what is in a TFLite file, or which passes apply to a Keras model.",
    ),
    "trust": ("edgefm.cli.trust", "Let the code that a run of somebody else's holds run."),
    "zoo": ("edgefm.cli.zoo", "List the architectures; train the documented systems anew."),
    "export": ("edgefm.cli.export", "Write a bundle for a target: model, contract, golden vectors, code."),
    "demo": ("edgefm.cli.demo", "Show a model in the browser: pictures, drawing, camera, self-test."),
    "verify": ("edgefm.cli.verify", "Check a bundle: whole, and answering as it should."),
    "trace": ("edgefm.cli.trace", "Find out why a device answers otherwise: which step it does in another way."),
    "doctor": ("edgefm.cli.doctor", "Show what is installed and which runtimes work here."),
}

# Commands of former versions, and what does it now.
_FORMER = {"assets": "edgefm export android"}

_DISK_HINTS = {
    errno.ENOSPC: "The disk is full: free some space; nothing half-written was left behind.",
    errno.EDQUOT: "The disk quota is used up: free some space; nothing half-written was left behind.",
    errno.EFBIG: "A file may not be so large here: raise the limit (ulimit -f), or choose another disk.",
    errno.EROFS: "The disk is read-only: choose another folder.",
    errno.EACCES: "You may not write or read there: choose another folder or change its permissions.",
    errno.EPERM: "You may not write or read there: choose another folder or change its permissions.",
}
_MOST_LETTERS = 2000
_MEMORY_HINT = "Close other programs or raise the limit (ulimit -v, or that of the container); or give less data."


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are used, so that `--help` stays fast."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args[:1] != ["inspect"]:  # which keeps no name
            _check_text(args)
        return super().make_context(info_name, args, parent, **{"color": render.colour(), **extra})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        wrong = args and args[0] not in COMMANDS and not args[0].startswith("-")
        if wrong and not ctx.resilient_parsing:  # which completes a line in a shell
            if args[0] in _FORMER:
                raise RecipeError(f"unknown command '{args[0]}'", hint=f"Use instead: {_FORMER[args[0]]}")
            raise unknown_name("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=exit_codes(
        "it ran and everything holds", "it ran, and a stated limit or check does not hold", "it could not run"
    ),
)
@click.version_option(package_name="edgefm")
def cli() -> None:
    """Train, compress, convert and benchmark image classifiers for phones, boards and browsers.

    The main job: edgefm train && edgefm quantize && edgefm benchmark
    """


def main() -> None:
    """Run the command line; exit 0 when it held, 1 when a limit was broken, 2 when it could not run, 70 at a fault."""
    # Quiet TensorFlow's C++ log before anything imports it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.showwarning = _show_warning
    signals.listen()
    code = run(lambda: cli.main(prog_name="edgefm", standalone_mode=False))
    signals.listen_no_more()
    sys.exit(code if signals.all_is_read() else signals.NOBODY_READS)


def run(action: Callable[[], Any]) -> int:
    """Call `action`, print what went wrong for a person, and return the exit code."""
    try:
        result = action()
    except EdgefmError as error:
        return _stopped() if signals.was_asked_to_stop() else _fail(error.message, error.hint)
    except click.exceptions.Exit as error:
        return error.exit_code
    except SystemExit:
        # Where a pipe is closed click wraps the streams and ends with 1, which would say that a limit was broken.
        if type(sys.stdout).__name__.endswith("PacifyFlushWrapper"):
            signals.let_go_of_the_terminal()
            return signals.NOBODY_READS
        raise
    except (click.Abort, KeyboardInterrupt):
        return _stopped()
    except click.ClickException as error:
        return _wrong_usage(error)
    except MemoryError as error:
        traceback.clear_frames(error.__traceback__)  # they hold what took the memory
        return _fail("edgefm has used up the memory that it may take here", _MEMORY_HINT)
    except OSError as error:
        if error.errno is None:
            return _fault(error)
        place = by_final_names(f": {error.filename}") if error.filename else ""
        return _fail(f"{os.strerror(error.errno)}{place}", _DISK_HINTS.get(error.errno))
    except Exception as error:
        return _stopped() if signals.was_asked_to_stop() else _fault(error)
    return result if isinstance(result, int) else 0


def _cut(text: str) -> str:
    """Return a text that fits a screen: names of strangers may be of any length, and thousands of them in a message."""
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}… ({len(text):,} characters)"


def _check_text(arguments: list[str]) -> None:
    """Raise an EdgefmError where a word of the command line is no text: it would stand in records, which are UTF-8."""
    for word in arguments:
        try:
            word.encode("utf-8")
        except UnicodeEncodeError:
            raise EdgefmError(
                f"{visible(word)} is no UTF-8 text",
                hint="Rename the file; or use a locale of UTF-8, such as LANG=C.UTF-8, where the name is right.",
            ) from None


def _stopped() -> int:
    message, code = signals.how_stopped()
    return _fail(message, None, code=code)


def _fault(error: Exception) -> int:
    """Say that something went wrong which nobody foresaw, and where its details are."""
    try:
        from edgefm.cli import last_resort

        message, hint = last_resort.told(error)
    except Exception as another:  # no memory is left even for that, say
        message, hint = f"this is a fault of edgefm itself: {type(error).__name__}, then {type(another).__name__}", None
    return _fail(message, hint, code=FAULT)


def _fail(message: str, hint: str | None, *, code: int = 2) -> int:
    render.complain(_cut(message), label="error: ")
    if hint:
        render.complain(f"  {hint if code == FAULT else _cut(hint)}")  # a fault's details may stand there
    return code


def _wrong_usage(error: click.ClickException) -> int:
    """Print what click found wrong on the command line; a word of it may be a strange file's name."""
    message = _cut("\n".join(map(visible, error.format_message().split("\n"))))
    error.format_message = lambda: message  # type: ignore[method-assign]
    error.show()
    return 2


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    render.complain(warnings.formatwarning(message, category, filename, lineno))
