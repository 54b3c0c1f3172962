"""Each tutorial runs from start to end, as a notebook would run it, and leaves what its text says."""

import doctest
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
TUTORIALS = sorted((DOCS / "tutorials").glob("*.py"))

pytestmark = pytest.mark.slow


def _run(name: str, folder: Path) -> str:
    """Run a tutorial in a folder and return the page with what its cells show."""
    command = [sys.executable, DOCS / "percent_script.py", DOCS / "tutorials" / f"{name}.py", "--out", "page.html"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "converters")])
    result = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-5000:]
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "<pre>ComparisonResult(" not in page and "object at 0x" not in page, "a result shows itself"
    return page


def test_reference_model_goes_from_training_to_a_folder_for_an_app(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow_model_optimization", reason="the extra compress is not installed")
    page = _run("reference_model", tmp_path)
    steps = [step.name for step in sorted((tmp_path / "first-run").iterdir()) if step.name[:2].isdigit()]
    assert steps == ["00-train", "01-quantize", "02-benchmark"]
    assert (tmp_path / "first-run" / "report" / "index.html").is_file()
    contract = json.loads((tmp_path / "app-model" / "contract.json").read_text())
    assert contract["variant"] == "int8_w8a8"
    assert page.count("<table>") >= 3 and "<iframe" in page and "<img" in page


def test_own_pictures_are_learnt_compressed_and_predicted(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow_model_optimization", reason="the extra compress is not installed")
    page = _run("own_pictures", tmp_path)
    assert (tmp_path / "small.tflite").stat().st_size < 60_000
    files = tmp_path / "my-model-files"
    assert {path.parent.name for path in files.glob("*/model.tflite")} == {"float32", "int8_w8a8", "slim50_qat_int8"}
    # Four classes of clothes that are easily told apart.
    assert "Bag 9" in page and "Sneaker 9" in page


def test_file_is_measured_compared_and_held(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "android_demo_assets", tmp_path / "android_demo_assets")
    page = _run("board_and_ci", tmp_path)
    cases = list(ElementTree.parse(tmp_path / "gate.xml").getroot().iter("testcase"))
    assert len(cases) == 3
    assert (tmp_path / "measured" / "profile.json").is_file()
    # The same file twice: sizes and answers are the same, whatever the machine does meanwhile.
    assert len(re.findall(r"<td>the same\s*</td>", page)) >= 2


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_script_also_runs_as_it_is(path: Path) -> None:
    compile(path.read_text(encoding="utf-8"), str(path), "exec")


def test_scripts_become_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    import percent_script

    found = doctest.testmod(percent_script)
    assert found.attempted > 0 and found.failed == 0
    for path in TUTORIALS:
        page = percent_script.markdown(path.read_text(encoding="utf-8"))
        assert page.startswith("# ") and page.count("```python\n") >= 5
        assert page.count("```bash\n") >= 3, f"{path.name} shows the command line beside its steps"
