"""The picture of a report for the README: its first screen, as headless Chromium shows it at 1,200 pixels.

Run: make demo && python -m benchmarks.report_screenshot runs/demo
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from edgefm.core import artefacts
from edgefm.report import FOLDER, PAGE

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "report.png"
BYTES_AT_MOST = 300_000
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars")


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run that has a report")
    parser.add_argument("--out", type=Path, default=PICTURE)
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--height", type=int, default=1010)
    given = parser.parse_args()
    picture = screenshot(given.run / FOLDER / PAGE, width=given.width, height=given.height)
    artefacts.write_bytes(given.out, picture)
    sys.stdout.write(f"{given.out}: {len(picture):,} bytes\n")


def screenshot(page: Path, *, width: int, height: int) -> bytes:
    """Return the first screen of a page as a PNG of 256 colours.

    Raises:
      SystemExit: there is no page, no browser, or the picture is larger than `BYTES_AT_MOST`.
    """
    if not page.is_file():
        raise SystemExit(f"no report at {page}; write it with: edgefm report {page.parent.parent}")
    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise SystemExit(f"none of {', '.join(_BROWSERS)} is installed")
    with tempfile.TemporaryDirectory(prefix="edgefm-screenshot-") as folder:
        shot = Path(folder) / "shot.png"
        size = f"--window-size={width},{height}"
        command = [browser, *_OPTIONS, f"--user-data-dir={folder}", f"--screenshot={shot}", size]
        subprocess.run([*command, page.resolve().as_uri()], check=True, capture_output=True, timeout=120)
        buffer = io.BytesIO()
        with Image.open(shot) as image:
            image.convert("RGB").quantize(256).save(buffer, "PNG", optimize=True)
    content = buffer.getvalue()
    if len(content) > BYTES_AT_MOST:
        raise SystemExit(f"the picture has {len(content):,} bytes, at most {BYTES_AT_MOST:,} are allowed")
    return content


if __name__ == "__main__":
    main()
