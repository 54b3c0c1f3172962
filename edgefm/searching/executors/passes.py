"""Finished passes that machines share by a store, and the passes that one of them does now, for which others wait.

`passes/NAME.json` lists the files of a finished pass by their sha256. Who does one writes `passes/NAME.doing`, and
again every few seconds. Who wants the same one meanwhile waits for it, as long as that file changes: where it stands
still for `SECONDS` by the own clock, its writer is gone. Two that begin in the same moment see each other after
`SETTLE_SECONDS`; where a store shows a write later than that both do the pass, which costs time and nothing else.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgefm.core import whole_folders
from edgefm.core.documents import inside
from edgefm.searching.executors.store import Store, StoreError

SECONDS, SETTLE_SECONDS = 30.0, 0.5
_BEATS_WITHIN = 6
_LOOKS = 0.5
_FOLDER = "passes"


class Passes:
    """The passes in a store."""

    def __init__(
        self,
        store: Store,
        *,
        seconds: float = SECONDS,
        settle: float = SETTLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take the store.

        Args:
          store: that all machines reach.
          seconds: without a sign of life after which who does a pass counts as gone.
          settle: seconds within which a write is seen by all.
          clock: seconds that only grow.
          sleep: waits for some seconds.
        """
        self._store, self._files = store, store.files
        self._seconds, self._settle, self._clock, self._sleep = seconds, settle, clock, sleep

    @contextmanager
    def shelf(self, folder: Path) -> Iterator[None]:
        """Bring a finished pass into its folder before the block, if anybody did it or does; share it after the block.

        Args:
          folder: of the pass; its name ends in its key.
        Raises:
          StoreError: the store cannot be reached.
        """
        listing, doing = f"{_FOLDER}/{folder.name}.json", f"{_FOLDER}/{folder.name}.doing"
        mine = uuid.uuid4().hex
        while True:
            listed = self._wait(listing, doing)
            if listed is not None:
                if folder.exists() or self._bring(folder, listed):
                    yield
                    return
                self._files.remove(listing)  # it is done again, by one of those that find it so
                continue
            self._files.write(doing, mine.encode())
            self._sleep(self._settle)
            if self._files.read(doing) in (mine.encode(), None):
                break
        with self._beating(doing, mine):
            yield
            if folder.is_dir():
                files = {path.name: self._store.put(path.read_bytes()) for path in sorted(folder.iterdir())}
                self._files.write(listing, json.dumps(files).encode())

    def _wait(self, listing: str, doing: str) -> bytes | None:
        """Return the files of a pass as soon as it is finished; None where nobody does it now."""
        before, since = None, self._clock()
        while (listed := self._files.read(listing)) is None:
            sign = self._files.read(doing)
            if sign is None:
                return self._files.read(listing)  # it was finished in between
            if sign != before:
                before, since = sign, self._clock()
            elif self._clock() - since >= self._seconds:
                return None
            self._sleep(_LOOKS)
        return listed

    @contextmanager
    def _beating(self, doing: str, mine: str) -> Iterator[None]:
        """Give signs of life within the block; a store that cannot be reached for a while is tried again."""
        ended = threading.Event()

        def beat() -> None:
            number = 0
            while not ended.wait(self._seconds / _BEATS_WITHIN):
                number += 1
                with suppress(StoreError, OSError):
                    self._files.write(doing, f"{mine} {number}".encode())

        beats = threading.Thread(target=beat, daemon=True)
        beats.start()
        try:
            yield
        finally:
            ended.set()
            beats.join()
            with suppress(StoreError, OSError):
                self._files.remove(doing)

    def _bring(self, folder: Path, listed: bytes) -> bool:
        """Write a pass's files and return True; where one is gone or damaged write none: the pass is done again."""
        try:
            named: dict[str, Any] = dict(json.loads(listed))
            files = {name: self._store.get(str(sha256)) for name, sha256 in named.items()}
            for name in files:
                inside(folder, name, where=folder, error=StoreError)
        except (StoreError, ValueError, TypeError):
            return False
        whole_folders.write(folder, files)
        return True
