"""What the pages take from the code at build time: help of commands, public names, the floors, tutorials."""

from __future__ import annotations

import importlib
import inspect
import re
from types import ModuleType
from typing import Any, ClassVar

import architecture
import percent_script
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx_click.ext import ClickDirective

from edgefm.cli.main import COMMANDS
from edgefm.recipes import Recipe

KINDS = ("functions", "recipes", "classes", "errors", "constants")


class Command(ClickDirective):
    """`.. command:: train`: usage and options of a command and of its subcommands, without a title of its own."""

    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """Return what sphinx-click writes of the command, without the heading: the page has one."""
        name = self.arguments[0]
        command = importlib.import_module(COMMANDS[name][0]).command
        for entry in (command, *getattr(command, "commands", {}).values()):
            entry.epilog = None  # its exit codes: the page has a table of them
        self.arguments = [f"{COMMANDS[name][0]}:command"]
        self.options = {"prog": f"edgefm {name}", "nested": "full"}
        (section,) = super().run()
        return list(section.children[1:])


class PublicNames(SphinxDirective):
    """`.. public-names:: edgefm` with `:kind:`: the docstrings of a module's public names of one kind."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"kind": lambda given: directives.choice(given, KINDS)}

    def run(self) -> list[nodes.Node]:
        """Return the parsed directives of autodoc, one a name."""
        module = importlib.import_module(self.arguments[0])
        lines = [line for name in public_names(module, self.options["kind"]) for line in _lines(module, name)]
        return self.parse_text_to_nodes(StringList(lines or ["None yet."], source=module.__name__))


def public_names(module: ModuleType, kind: str) -> list[str]:
    """Return the names in a module's `__all__` that are of a kind; every name but modules and dunders has one."""
    return [name for name in getattr(module, "__all__", ()) if kind_of(module, name) == kind]


def kind_of(module: ModuleType, name: str) -> str | None:
    """Return the kind of a public name; None of a module and of a name such as `__version__`."""
    value = getattr(module, name)
    if inspect.ismodule(value) or name.startswith("__"):
        return None
    if not inspect.isclass(value):
        return "functions" if callable(value) else "constants"
    if issubclass(value, Exception):
        return "errors"
    return "recipes" if issubclass(value, Recipe) else "classes"


def _lines(module: ModuleType, name: str) -> list[str]:
    value, full = getattr(module, name), f"{module.__name__}.{name}"
    package = importlib.import_module("edgefm")
    if module is not package and name in package.__all__ and getattr(package, name) is value:
        return [f"- :py:obj:`edgefm.{name}`", ""]
    if kind_of(module, name) == "constants":
        return [f".. py:data:: {full}", f"   :value: {value!r}" if len(repr(value)) < 500 else "", ""]
    return [f".. auto{'class' if inspect.isclass(value) else 'function'}:: {full}", ""]


class Floors(SphinxDirective):
    """`.. floors::`: the picture of the architecture, drawn from the imports."""

    def run(self) -> list[nodes.Node]:
        """Return the picture for a page and the one for a phone."""
        house = architecture.read()
        drawn = {"wide": architecture.draw(house), "narrow": architecture.draw(house, narrow=True)}
        html = "".join(f'<div class="house-{width}">{svg}</div>' for width, svg in drawn.items())
        return [nodes.raw("", html, format="html")]


class PercentScript(MystParser):
    """A script in percent format as a page: its Markdown cells as text, the others as Python."""

    supported = ("percent-script",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Parse the script as the Markdown that it stands for."""
        super().parse(percent_script.markdown(inputstring), document)


def escaped(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Let docstrings be plain text: a bar or a star in them starts no markup."""
    for index, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = line.split("`")  # what stands between backticks is code
            parts[::2] = [part.replace("|", r"\|").replace("*", r"\*") for part in parts[::2]]
            lines[index] = "`".join(parts)


def literal(app: Sphinx, context: Any, lines: list[str]) -> None:
    """Let help texts be plain text: a word that ends in _ is no link."""
    lines[:] = [re.sub(r"(?<=\w)_(?!\w)", r"\_", line) for line in lines]


def dashes(app: Sphinx, doctree: nodes.document) -> None:
    """Write the dash between a parameter and its description as one; those of options stay two."""
    for text in list(doctree.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" \N{EN DASH} "))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("command", Command)
    app.add_directive("public-names", PublicNames)
    app.add_directive("floors", Floors)
    app.add_source_parser(PercentScript)
    app.connect("doctree-read", dashes)
    app.connect("autodoc-process-docstring", escaped, priority=400)  # before napoleon
    for part in ("description", "options", "arguments"):
        app.connect(f"sphinx-click-process-{part}", literal)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
