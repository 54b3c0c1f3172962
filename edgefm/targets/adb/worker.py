"""The worker for an Android device: it runs here, but tells of the device where it is asked for its machine."""

from __future__ import annotations

from edgefm.core import environment
from edgefm.runtimes.android_benchmark.environment import environment_here
from edgefm.worker import worker


def main() -> None:
    """Serve as any worker does, in this process of its own."""
    environment.environment = environment_here
    worker.main()


if __name__ == "__main__":
    main()
