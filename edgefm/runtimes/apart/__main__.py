"""The process apart: answers one call after the other until its parent ends, see `edgefm.runtimes.apart`."""

from __future__ import annotations

import importlib
import os
import pickle
from typing import IO, Any

from edgefm.core.errors import EdgefmError
from edgefm.core.given import memory
from edgefm.core.given.damage import reason
from edgefm.core.with_parent import serve_parent
from edgefm.runtimes import apart


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    apart._SINK.append(answers)
    apart.send(answers, ("ready", None))
    while True:
        try:
            module, name, arguments, more_bytes = pickle.load(requests)
        except EOFError:
            return
        apart.send(answers, _answer(getattr(importlib.import_module(module), name), arguments, more_bytes))


def _answer(function: Any, arguments: tuple[Any, ...], more_bytes: int) -> tuple[str, Any]:
    try:
        with memory.limited(more_bytes):
            return "gave", function(*arguments)
    except EdgefmError as error:
        return "failed", error
    except MemoryError:
        return "memory", None
    except Exception as error:  # whatever a library raises on damaged bytes is an answer, not an end
        return "raised", reason(error)


def main() -> None:
    """Take the channel away from everybody else and serve it."""
    requests, answers = serve_parent()
    _serve(os.fdopen(requests, "rb"), os.fdopen(answers, "wb"))


if __name__ == "__main__":
    main()
