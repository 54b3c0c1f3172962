"""The worker: a process that holds one model and measures it when asked. Run as a module.

It reads requests from standard input and writes answers to what was standard output, one JSON object a line;
arrays go through .npy files. It needs numpy and a runtime, nothing else, so that it can run where the model will.

The native code of a runtime prints what it likes: file descriptor 1 is taken away from it (its output joins
standard error) before the first import of a runtime, so that the channel stays clean.

Requests, each with a field `command`:
  load      path, runtime (its module), kernels or null, threads, memory_bytes -> tensors, times, memory, facts. One
            model a process.
  feed      contract (JSON) or null, pictures (.npy of uint8 or float [n, ...]) or null
  samples   warmup_calls, least_calls, least_ns, most_calls, most_ns -> warmup_ns, invoke_ns, end_to_end_ns,
            disturbed, refused, conditions, energy
  classify  start, stop, out -> writes predicted class and confidence of those pictures to `out`
  answer    start, stop, out -> writes all outputs for those pictures, float32 [n, ...] each, to `out` (.npz)
  outputs   inputs (.npy [n, ...] in the model's own dtype), start, stop, out -> writes the raw outputs, arrays '0',
            '1', … of [n, ...], to `out` (.npz)
  peak      -> peak_bytes
  macs      path -> macs
  environment -> the machine and its software, see `edgefm.core.environment`

The first line that it writes says that it is there: {"ok": true, "protocol": …}.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import IO, Any

from edgefm.core.errors import EdgefmError
from edgefm.core.with_parent import serve_parent
from edgefm.worker.model_commands import ModelCommands

PROTOCOL = 3
COMMANDS = ("load", "feed", "samples", "classify", "answer", "outputs", "peak", "macs", "environment")


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Answer requests until they end."""
    worker = ModelCommands()
    commands: dict[str, Callable[..., dict[str, Any]]] = {name: getattr(worker, name) for name in COMMANDS}
    _send(answers, {"ok": True, "protocol": PROTOCOL})
    for line in requests:
        request = json.loads(line)
        try:
            answer = {"ok": True, **commands[request.pop("command")](**request)}
        except MemoryError:
            answer = {"ok": False, "memory": True, "reason": "ran out of memory"}
        except EdgefmError as error:
            answer = {"ok": False, "reason": error.message}
        except Exception as error:  # whatever a runtime raises is an answer, not an end
            answer = {"ok": False, "reason": f"{type(error).__name__}: {error}"}
        _send(answers, answer)


def _send(answers: IO[str], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def main() -> None:
    """Take the channel away from everybody else and serve it."""
    requests, answers = serve_parent()
    serve(os.fdopen(requests, "r", encoding="utf-8"), os.fdopen(answers, "w", encoding="utf-8"))


if __name__ == "__main__":
    main()
