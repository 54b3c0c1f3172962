"""What native code wrote to standard error, as text: TFLite Micro says there, and nowhere else, what is wrong."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


class NativeOutput:
    """Holds the text once the block of `captured` is left."""

    text = ""

    @property
    def lines(self) -> list[str]:
        """The lines that are not blank."""
        return [line.strip() for line in self.text.splitlines() if line.strip()]


@contextlib.contextmanager
def captured() -> Iterator[NativeOutput]:
    """Catch what this process writes to file descriptor 2, native code included.

    A file descriptor belongs to the whole process: what other threads write meanwhile is caught too.
    """
    output = NativeOutput()
    _flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield output
        finally:
            _flush()
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            output.text = file.read().decode("utf-8", errors="replace")


def _flush() -> None:
    if sys.stderr is not None:
        with contextlib.suppress(ValueError, OSError):
            sys.stderr.flush()
