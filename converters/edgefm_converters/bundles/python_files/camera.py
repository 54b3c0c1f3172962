"""Answers what a camera sees, a line a picture, until it is stopped: `python camera.py --seconds 1`.

Takes pictures by `rpicam-still` (Raspberry Pi OS) where it is installed, else from a video device by `ffmpeg`.
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


def command(picture: Path, device: str) -> list[str] | None:
    """Return the command that takes one picture; None where no program for it is installed."""
    if shutil.which("rpicam-still"):
        return ["rpicam-still", "--nopreview", "--immediate", "--output", str(picture)]
    if shutil.which("ffmpeg"):
        return ["ffmpeg", "-loglevel", "error", "-y", "-f", "v4l2", "-i", device, "-frames:v", "1", str(picture)]
    return None


def main(arguments: list[str] | None = None) -> int:
    """Run until stopped; 2 where no camera can be read."""
    parser = argparse.ArgumentParser(description="Answers what a camera sees.")
    parser.add_argument("--seconds", type=float, default=1.0, help="from one picture to the next")
    parser.add_argument("--device", default="/dev/video0")
    parser.add_argument("--count", type=int, default=0, help="pictures; 0: until stopped")
    given = parser.parse_args(arguments)
    model, done = EdgeModel(), 0
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "now.jpg"
        take = command(picture, given.device)
        if take is None:
            print("error: neither rpicam-still nor ffmpeg is installed", file=sys.stderr)
            return 2
        while not given.count or done < given.count:
            started = time.monotonic()
            if subprocess.run(take, check=False).returncode != 0 or not picture.is_file():
                print(f"error: {take[0]} gave no picture", file=sys.stderr)
                return 2
            seen = model.picture(picture)
            began = time.perf_counter()
            top = model.top(seen)
            took = 1000 * (time.perf_counter() - began)
            print(", ".join(f"{label} {100 * share:.1f} %" for label, share in top) + f"  ({took:.1f} ms)", flush=True)
            done += 1
            time.sleep(max(0.0, given.seconds - (time.monotonic() - started)))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(0)
