import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_wheel_holds_exactly_the_two_packages_and_their_data(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = archive.read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"edgefm", "edgefm_converters"}
    assert "edgefm = edgefm.cli.start:main" in entry_points
    sources = [*(ROOT / "edgefm").rglob("*"), *(ROOT / "converters" / "edgefm_converters").rglob("*")]
    wanted = {
        path.relative_to(ROOT).as_posix().removeprefix("converters/")
        for path in sources
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted <= set(names), wanted - set(names)
