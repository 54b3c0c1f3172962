"""Instructions of one invoke, counted by a plugin of qemu: the real aarch64 kernels, every instruction once.

A count is no time: a core runs 0.5 to 3 instructions a cycle, and what memory costs is not in it. It is what stays
the same from machine to machine and from run to run, and it moves when kernels or a graph change.

The plugin (`plugin/instructions.c`) is compiled once with this machine's C compiler. The script
`plugin/marked.py` encloses each invoke by two marks; between two marks lie exactly the instructions of that
invoke and of the call from Python. What the same marks count around an empty Python function is subtracted.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefm import runtimes
from edgefm.core import scratch, subprocesses
from edgefm.core.cache import cache_folder
from edgefm.core.documents import object_told
from edgefm.core.errors import EdgefmError, ModelError
from edgefm.targets.base import TargetError
from edgefm.targets.bundle import bundle
from edgefm.targets.qemu_aarch64.program import Qemu, guest_environment
from edgefm.targets.qemu_aarch64.root import Root

# All invokes have the same count but for the seventh and those after it, where Python 3.11 has rewritten the code of
# LiteRT's own `invoke` function (600 instructions more, then 150 fewer).
WARMUP_CALLS = 2
CALLS = 3
SECONDS = 600.0
_SOURCE = Path(__file__).parent / "plugin" / "instructions.c"
_SCRIPT = Path(__file__).parent / "plugin" / "marked.py"
_APIS = range(1, 10)  # numbers of the plugin interface; qemu 7.2 takes 1
_COMPILE_SECONDS = 60.0


class CountingUnavailableError(EdgefmError):
    """Instructions cannot be counted here; `message` says why."""


@dataclass(frozen=True, kw_only=True)
class InvokeCount:
    """Instructions of one invoke.

    Attributes:
      instructions: median over the invokes, without the marks and an empty call from Python.
      invokes: each of them, in order.
      runtime: name of the runtime.
      version: of the runtime.
    """

    instructions: int
    invokes: tuple[int, ...]
    runtime: str
    version: str

    @property
    def spread(self) -> float:
        """Greatest less least count, relative to the median."""
        return (max(self.invokes) - min(self.invokes)) / self.instructions


def count(
    model: Path, *, cpu: str, root: Root, qemu: Qemu, runtime: str = "litert", seconds: float = SECONDS
) -> InvokeCount:
    """Return the instructions that one invoke takes on a core, at one thread.

    Args:
      model: file.
      cpu: name of the core.
      root: the arm64 root.
      qemu: the emulator.
      runtime: name, with its kernel set where one is wanted.
      seconds: limit of the whole run.
    Raises:
      CountingUnavailableError: this qemu has no plugins, or there is no C compiler.
      ModelError: the model crashed, hung or cannot be run, or its count is not whole.
      TargetError: the emulator cannot be started.
      RecipeError: no runtime has this name.
    """
    module = runtimes.module_of(runtime)
    _, kernels = runtimes.split(runtime)
    library = plugin(qemu, cache=cache_folder() / "qemu-plugins", root=root)
    with scratch.folder("count") as folder:
        command = [
            *qemu.command(root, cpu=cpu, plugin=library),
            str(_SCRIPT),
            json.dumps(
                {
                    "path": str(model.resolve()),
                    "runtime": module,
                    "kernels": kernels,
                    "warmup_calls": WARMUP_CALLS,
                    "calls": CALLS,
                }
            ),
        ]
        # The order in a set of strings changes counts by some 30 instructions; with a fixed seed they are equal.
        mine = {"EDGEFM_COUNTS": str(folder / "counts"), "PYTHONHASHSEED": "0"}
        environment = guest_environment(root, bundle(folder)) | mine
        answer = _answer(model, command, environment=environment, cpu=cpu, seconds=seconds)
        return _evaluate(model, folder / "counts", answer)


def _answer(
    model: Path, command: list[str], *, environment: dict[str, str], cpu: str, seconds: float
) -> dict[str, Any]:
    try:
        result = subprocesses.run(command, seconds=seconds, environment=environment)
    except subprocesses.TimeLimitError:
        raise ModelError(f"{model} gave no answer for {seconds:g} s on an emulated {cpu} and was killed") from None
    except subprocesses.OutputLimitError as error:
        raise ModelError(f"{model} could not be run on an emulated {cpu}: {error.message}") from None
    except subprocesses.CommandError as error:
        raise TargetError(error.message, hint=error.hint) from error
    if result.code < 0:
        raise ModelError(f"{model} crashed with {subprocesses.signal_name(-result.code)} on an emulated {cpu}")
    if result.code:
        raise ModelError(f"{model} could not be run on an emulated {cpu}: {result.last_error[:200]}")
    answer = object_told(result.output)
    if answer is not None and "reason" in answer:
        raise ModelError(str(answer["reason"]))
    if answer is None or not {"runtime", "version"} <= answer.keys():
        raise ModelError(f"{model} gave {result.output[:80]!r} on an emulated {cpu} instead of a result")
    return answer


def _evaluate(model: Path, path: Path, answer: dict[str, Any]) -> InvokeCount:
    try:
        marks = {int(number): int(total) for number, total in map(str.split, path.read_text("ascii").splitlines())}
        calls = [marks[number + 1] - marks[number] for number in range(0, 4 * CALLS, 2)]
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"the instruction counts of {model} are incomplete ({type(error).__name__}: {error})"
        ) from error
    empty = round(statistics.median(calls[:CALLS]))
    invokes = tuple(call - empty for call in calls[CALLS:])
    if min(invokes) <= 0:
        raise ModelError(f"the emulator counted {min(invokes)} instructions for an invoke of {model}")
    return InvokeCount(
        instructions=round(statistics.median(invokes)),
        invokes=invokes,
        runtime=str(answer["runtime"]),
        version=str(answer["version"]),
    )


def plugin(qemu: Qemu, *, cache: Path, root: Root) -> Path:
    """Return the compiled plugin for a qemu; it is compiled where it is not in the cache yet.

    Raises:
      CountingUnavailableError: this qemu has no plugins or takes none of the interfaces known here, or there is no
        C compiler, or it failed.
    """
    if not qemu.has_plugins:
        raise CountingUnavailableError(
            f"{qemu.path.name} {qemu.version} is built without plugin support, which counting instructions needs",
            hint="Debian's qemu-user (not qemu-user-static) has it: apt-get install qemu-user",
        )
    content = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]
    path = cache / f"instructions-{qemu.version}-{content}.so"
    if path.exists():
        return path
    compiler = _compiler()
    refusal = ""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".plugin-", dir=cache) as name:
            for api in _APIS:  # qemu has no option that tells which it takes
                library = Path(name) / f"{api}.so"
                _compile(compiler, library, api=api)
                refusal = _refusal(qemu, library, root=root)
                if not refusal:
                    return library.replace(path)
    except OSError as error:
        raise CountingUnavailableError(f"the plugin could not be written to {cache}: {error}") from error
    raise CountingUnavailableError(f"{qemu.path.name} {qemu.version} accepts no version of the plugin: {refusal}")


def _compiler() -> str:
    names = [os.environ["CC"]] if os.environ.get("CC") else ["cc", "gcc", "clang"]
    for name in names:
        if shutil.which(name):
            return name
    raise CountingUnavailableError(
        f"no C compiler ({', '.join(names)}) was found to build the plugin that counts instructions",
        hint="On Debian: apt-get install gcc libc6-dev",
    )


def _compile(compiler: str, out: Path, *, api: int) -> None:
    command = [compiler, "-O2", "-shared", "-fPIC", "-fvisibility=hidden", f"-DPLUGIN_API={api}", "-o", str(out)]
    try:
        result = subprocesses.run([*command, str(_SOURCE)], seconds=_COMPILE_SECONDS)
    except subprocesses.CommandError as error:
        raise CountingUnavailableError(f"the C compiler {compiler} failed: {error.message}") from None
    if result.code:
        errors = [line for line in result.errors.splitlines() if "error" in line] or [f"exit code {result.code}"]
        raise CountingUnavailableError(
            f"the C compiler {compiler} failed: {errors[0]}", hint="On Debian: apt-get install gcc libc6-dev"
        )


def _refusal(qemu: Qemu, library: Path, *, root: Root) -> str:
    """Return why qemu does not load a plugin; '' where it does."""
    cpu = "cortex-a53"
    command = [*qemu.command(root, cpu=cpu, plugin=library), "-S", "-c", ""]
    environment = guest_environment(root) | {"EDGEFM_COUNTS": os.devnull}
    try:
        result = subprocesses.run(command, seconds=_COMPILE_SECONDS, environment=environment)
    except subprocesses.TimeLimitError:
        raise CountingUnavailableError(
            f"{qemu.path.name} {qemu.version} gave no answer for {_COMPILE_SECONDS:g} s with the plugin"
        ) from None
    except subprocesses.CommandError as error:
        raise CountingUnavailableError(error.message, hint=error.hint) from None
    return "" if result.code == 0 else result.last_error
