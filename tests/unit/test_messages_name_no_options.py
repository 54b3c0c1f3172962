"""Errors of the library name its arguments; whoever calls it from Python has no command-line options."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("edgefm", "converters/edgefm_converters")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
# Commands to paste whole may have options; so may those of other programs.
COMMAND = re.compile(r"\b(edgefm [a-z]+|pip install|vela|sudo|apt-get|npm|cpupower)\b.*--", re.DOTALL)


def _messages(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the constant parts of what errors are made of, each error's as one text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Error"):
            for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                parts = [part.value for part in ast.walk(argument) if isinstance(part, ast.Constant)]
                yield node.lineno, " ".join(part for part in parts if isinstance(part, str))


def test_errors_of_the_library_name_no_options_of_commands() -> None:
    named, seen = [], 0
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "cli" in path.relative_to(ROOT).parts:
                continue
            for line, text in _messages(ast.parse(path.read_text(encoding="utf-8"))):
                seen += 1
                if OPTION.search(text) and not COMMAND.search(text):
                    named.append(f"{path.relative_to(ROOT)}:{line}: {text}")
    assert seen > 500
    assert named == []
