"""The worker for an Android device: it runs here, but tells of the device where it is asked for its machine."""

from __future__ import annotations

from edgefm import environment
from edgefm.benchmarking import worker
from edgefm.runtimes.android_benchmark.environment import environment_here


def main() -> None:
    """Serve as any worker does, in this process of its own."""
    environment.environment = environment_here
    worker.main()


if __name__ == "__main__":
    main()
