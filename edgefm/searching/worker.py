"""A worker of a search, as a process: takes one task after the other until the driver ends."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from filelock import FileLock

from edgefm.core.errors import EdgefmError
from edgefm.core.with_parent import serve_parent
from edgefm.searching.driver import Evaluate, outcome_of
from edgefm.searching.workers import FAILED, IMPOSSIBLE, MODEL_FILE, OUTCOME, READY, SETUP_FILE, UNFIT, send

_REASON = 200  # characters of an error's text


def _evaluate(folder: Path) -> Evaluate:
    setup = pickle.loads((folder / SETUP_FILE).read_bytes())  # of the driver's own scratch folder
    evaluate: Evaluate = setup.trials(_model(folder / MODEL_FILE), shelf=_held)
    return evaluate


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a pass's folder: another worker that wants the same pass waits, and finds it finished."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        yield


def _model(path: Path) -> Any:
    if not path.exists():
        return None
    import keras

    import edgefm.keras_graph.folding  # noqa: F401  # ChannelShift is registered there

    # The driver wrote it from a model that it had in memory: code in it was trusted before.
    return keras.saving.load_model(path, compile=False, safe_mode=False)


def _answer(evaluate: Evaluate, task: Any) -> tuple[str, Any]:
    try:
        outcome = outcome_of(evaluate, task)
        return IMPOSSIBLE if isinstance(outcome, str) else OUTCOME, outcome
    except OSError as error:
        return FAILED, OSError(error.errno, error.strerror, error.filename)
    except EdgefmError as error:
        return FAILED, EdgefmError(error.message, hint=error.hint)


def _serve(folder: Path, requests: IO[bytes], answers: IO[bytes]) -> None:
    try:
        evaluate = _evaluate(folder)
    except Exception as error:  # whatever a layer or a data set of the user's own raises
        why = str(error).rpartition("Exception encountered: ")[2]  # before it Keras repeats the whole configuration
        send(answers, (UNFIT, " ".join(f"{type(error).__name__}: {why}".split())[:_REASON]))
        return
    send(answers, (READY, None))
    while True:
        try:
            task = pickle.load(requests)
        except EOFError:
            return
        send(answers, _answer(evaluate, task))


def main() -> None:
    """Take the channel away from everybody else and serve it."""
    requests, answers = serve_parent()
    _serve(Path(sys.argv[1]), os.fdopen(requests, "rb"), os.fdopen(answers, "wb"))


if __name__ == "__main__":
    main()
