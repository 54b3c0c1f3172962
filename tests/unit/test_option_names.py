"""Errors and notes of the library name no option of the command line, unless within a command to run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgefm
from edgefm.core.errors import EdgefmError

ROOT = Path(__file__).parents[2]
ROOMS = ("agreement", "benchmarking", "comparison", "core", "data", "jobs", "profiling", "quantization", "training")
FOLDERS = [
    *(ROOT / "edgefm" / room for room in ROOMS),
    *(ROOT / "converters" / "edgefm_converters" / room for room in ("bridge", "readers", "tflite")),
]
MODULES = [path for folder in FOLDERS for path in sorted(folder.rglob("*.py"))]
# Words of the command line outside "edgefm <command> --option".
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
_COMMAND = re.compile(r"\b(edgefm|pip|python|nvidia-smi) [^;,]*")


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield what a module holds as text, each with its line; what is put into a text counts as X."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    whole = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for node in whole for part in ast.walk(node)} - {id(node) for node in whole}
    alone = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]  # docstrings
    left_out = parts | {id(node) for node in alone}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
            yield node.lineno, node.value


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_message_of_the_library_names_no_option(path: Path) -> None:
    for line, text in _texts(path):
        if not text.startswith("--"):  # an argument that is passed on to a program
            assert not _OPTION.search(_COMMAND.sub("", text)), f"{path.name}:{line}: {text}"


def test_scan_notices_an_option_in_a_message(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        '"""Of --data."""\nfail(f"no data in {x}", hint="")\nfail("Give --data.")\nfail("Run: edgefm train --quick")\n'
    )
    texts = [text for _, text in sorted(_texts(path))]
    assert texts == ["", "no data in X", "Give --data.", "Run: edgefm train --quick"]
    assert [bool(_OPTION.search(_COMMAND.sub("", text))) for text in texts] == [False, False, True, False]


@pytest.mark.parametrize(
    ("variant", "hint"),
    [("qat_int8", "Give data, or .* the recipe 'quick'"), ("int8_w8a8", "Give data, or calibration data .*")],
)
def test_variant_that_needs_data_is_refused_in_words_of_the_api(variant: str, hint: str) -> None:
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="softmax")])
    with pytest.raises(EdgefmError, match="no data were given") as caught:
        edgefm.quantize(model, variant, progress=False)
    assert re.match(hint, caught.value.hint or "") and "--" not in str(caught.value)
