"""Answers what a camera sees, a line a picture, until it is stopped: `python camera.py --seconds 1`.

Takes pictures by `rpicam-still` (Raspberry Pi OS) where it is installed, else from a video device by `ffmpeg`. A
picture that is missing or damaged is skipped; after `--failures` of them one after the other the loop ends.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edge_model import EdgeModel

QUIET_SECONDS = 30.0  # between two lines on pictures that were skipped
LONGEST_SECONDS = 60.0  # that the camera's program may take for a picture


def command(picture: Path, device: str) -> list[str] | None:
    """Return the command that takes one picture; None where no program for it is installed."""
    if shutil.which("rpicam-still"):
        return ["rpicam-still", "--nopreview", "--immediate", "--output", str(picture)]
    if shutil.which("ffmpeg"):
        return ["ffmpeg", "-loglevel", "error", "-y", "-f", "v4l2", "-i", device, "-frames:v", "1", str(picture)]
    return None


def answer(model: EdgeModel, take: list[str], picture: Path) -> str:
    """Take a picture and return the line that answers it; an OSError where there is none, or a damaged one."""
    picture.unlink(missing_ok=True)  # the last one must not be answered again
    try:
        ended = subprocess.run(take, check=False, timeout=LONGEST_SECONDS).returncode
    except subprocess.TimeoutExpired:
        raise OSError(f"{take[0]} gave no picture in {LONGEST_SECONDS:.0f} s") from None
    if ended != 0 or not picture.is_file():
        raise OSError(f"{take[0]} gave no picture (it ended with {ended})")
    try:
        seen = model.picture(picture)
    except (OSError, ValueError) as error:
        raise OSError(f"the picture of {take[0]} cannot be read: {error}") from error
    began = time.perf_counter()
    top = model.top(seen)
    took = 1000 * (time.perf_counter() - began)
    return ", ".join(f"{label} {100 * share:.1f} %" for label, share in top) + f"  ({took:.1f} ms)"


def main(arguments: list[str] | None = None) -> int:
    """Run until stopped; 2 where no camera can be read."""
    parser = argparse.ArgumentParser(description="Answers what a camera sees.")
    parser.add_argument("--seconds", type=float, default=1.0, help="from one picture to the next")
    parser.add_argument("--device", default="/dev/video0")
    parser.add_argument("--count", type=int, default=0, help="pictures; 0: until stopped")
    parser.add_argument("--failures", type=int, default=10, help="pictures without an answer in a row that end it")
    given = parser.parse_args(arguments)
    model, tried, failed, skipped, said = EdgeModel(), 0, 0, 0, -QUIET_SECONDS
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "now.jpg"
        take = command(picture, given.device)
        if take is None:
            print("error: neither rpicam-still nor ffmpeg is installed", file=sys.stderr)
            return 2
        if "resize" not in model.steps:
            print("error: this model takes no pictures: see contract.json", file=sys.stderr)
            return 2
        while not given.count or tried < given.count:
            started = time.monotonic()
            tried += 1
            try:
                print(answer(model, take, picture), flush=True)
                failed = 0
            except ValueError as error:  # what the model answers is no class
                print(f"error: {error}", file=sys.stderr)
                return 2
            except OSError as error:
                failed, skipped = failed + 1, skipped + 1
                if failed >= max(1, given.failures):
                    print(f"error: {failed} pictures in a row gave no answer; the last: {error}", file=sys.stderr)
                    return 2
                if started - said >= QUIET_SECONDS:
                    print(f"skipped {skipped} picture(s), the last: {error}", file=sys.stderr, flush=True)
                    skipped, said = 0, started
            time.sleep(max(0.0, given.seconds - (time.monotonic() - started)))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(0)
