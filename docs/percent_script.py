"""Scripts in percent format: read as Markdown for the site, run cell by cell as a notebook runs them.

A cell begins with `# %%`; one that begins with `# %% [markdown]` holds Markdown behind `# `. Editors and Jupytext open
such a script as a notebook.

Run: python docs/percent_script.py docs/tutorials/reference_model.py --out page.html
"""

from __future__ import annotations

import argparse
import ast
import html
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STYLE = (
    "body { font: 15px system-ui, sans-serif; max-width: 960px; margin: 2em auto } pre { background: #f6f6f6; "
    "padding: .6em } th, td { padding: .2em .7em; text-align: left; border-bottom: 1px solid #ddd } "
    "table { border-collapse: collapse }"
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a script.

    Attributes:
      kind: 'markdown' or 'code'.
      text: Markdown, or Python.
      line: of the script, where the text begins; from 1.
    """

    kind: str
    text: str
    line: int


def cells(script: str) -> list[Cell]:
    r"""Return the cells of a script; what stands before the first mark is left out.

    >>> cells("# %% [markdown]\n# # Title\n# %%\nx = 1\n")[1]
    Cell(kind='code', text='x = 1', line=4)
    """
    found: list[Cell] = []
    lines = script.splitlines()
    marks = [index for index, line in enumerate(lines) if line.startswith("# %%")]
    for start, end in zip(marks, [*marks[1:], len(lines)], strict=True):
        body = lines[start + 1 : end]
        if "[markdown]" in lines[start]:
            text = "\n".join(re.sub(r"^# ?", "", line) for line in body).strip()
            found.append(Cell(kind="markdown", text=text, line=start + 2))
        else:
            blank = next((index for index, line in enumerate(body) if line.strip()), 0)
            found.append(Cell(kind="code", text="\n".join(body).strip(), line=start + 2 + blank))
    return found


def markdown(script: str) -> str:
    r"""Return a script as a Markdown page.

    >>> markdown("# %% [markdown]\n# # Title\n# %%\nx = 1\n")
    '# Title\n\n```python\nx = 1\n```\n'
    """
    parts = [cell.text if cell.kind == "markdown" else f"```python\n{cell.text}\n```" for cell in cells(script)]
    return "\n\n".join(parts) + "\n"


def run(path: Path) -> str:
    """Run a script cell by cell and return a page with what each cell shows in a notebook.

    Raises:
      Exception: what a cell raises.
    """
    names: dict[str, Any] = {"__name__": "__main__", "__file__": str(path)}
    parts = [f"<!doctype html><meta charset=utf-8><title>{path.stem}</title><style>{_STYLE}</style>"]
    for cell in cells(path.read_text(encoding="utf-8")):
        parts.append(f"<pre>{html.escape(cell.text)}</pre>")
        if cell.kind == "code":
            parts.append(_shown(_value(cell, path, names)))
    return "\n".join(parts)


def _value(cell: Cell, path: Path, names: dict[str, Any]) -> Any:
    """Run a cell and return the value of its last line, None where that is a statement."""
    tree = ast.parse("\n" * (cell.line - 1) + cell.text, filename=str(path))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, str(path), "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), str(path), "eval"), names)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    show = getattr(value, "_repr_html_", None)
    return f"<div>{show()}</div>" if show is not None else f"<pre>{html.escape(repr(value))}</pre>"


def main() -> None:
    """Run a script and write its page."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("script", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="HTML page with what each cell shows")
    given = parser.parse_args()
    given.out.write_text(run(given.script), encoding="utf-8")
    sys.stdout.write(f"{given.out}\n")


if __name__ == "__main__":
    main()
