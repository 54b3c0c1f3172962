"""A worker process: it reads the search's work and then tasks from its parent, and answers each; see `work`."""

from __future__ import annotations

import pickle
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from filelock import FileLock

from edgefm.core.with_parent import serve_parent
from edgefm.searching.executors.work import Answer, Workplace, answer, portable


def locked(folder: Path) -> FileLock:
    """Return the lock of a pass's folder: of those that want the same pass one does it, the others wait for it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(folder.with_name(f".{folder.name}.lock"))


def main() -> None:
    """Serve the parent until it closes the channel."""
    requests, answers = serve_parent()
    reading, writing = Connection(requests, writable=False), Connection(answers, readable=False)
    with suppress(EOFError):
        kept, work = reading.recv()
        failed: Answer | None = None
        try:
            evaluate = pickle.loads(work)(Workplace(kept=kept, shelf=locked))
        except Exception as error:  # it goes to the parent with the first task
            failed = Answer(error=portable(error))
        while True:
            task = reading.recv()
            writing.send(failed or answer(evaluate, task))


if __name__ == "__main__":
    main()
