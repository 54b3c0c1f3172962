"""Hostile names through everything that is read later: HTML, Markdown, CSV, JUnit, a terminal, commands to copy.

Pages are read back by parsers: broken is an element or an attribute that edgefm did not write, a cell that a
spreadsheet takes for a formula, XML that is none, a line of a command block that is another command, and a control
character that reaches the terminal.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import xml.dom.minidom
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from tests.faults.bench import Bench, Outcome, Part

_PAYLOADS = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</text></svg><svg onload=alert(1)>",
    "' onmouseover='alert(1)", "[x](javascript:alert(1))", "![x](javascript:alert(1))",
    "<a href=javascript:alert(1)>x</a>", r"a$\frac{1}{$b", "$x_1$", "=cmd|'/c calc'!A1", "+1+1", "-2+3", "@SUM(1)",
    "\t=1+1", "a|b|c", "{{7*7}}{% raw %}", "\x1b]0;pwned\x07\x1b[2Jx", "\x9b2Jx", "abc\u202egpj.exe", "]]><x/>",
    "```\nrm -rf ~\n```", "a\n# heading", "a\r\nb", "\x00x", "$(touch PWNED)", "`touch PWNED`", "x; touch PWNED",
    "x\ntouch PWNED", "'; touch PWNED; '", "<!-- x", "</style><script>alert(1)</script>", "a" * 10_000, "\u2028x",
    "~~~\n<script>alert(1)</script>", "&lt;script&gt;", "<iframe srcdoc=x>",
)  # fmt: skip
_WRITTEN = {
    "testsuites",
    "testsuite",
    "testcase",
    "properties",
    "property",
    "failure",
    "error",
    "skipped",
    "system-out",
}
_CONTROL = re.compile(r"\x1b(?!\[[\d;]*m)|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SHELLS = ("sh", "bash", "console")
_STUBS = "edgefm() { :; }; pip() { :; }; python() { :; }; python3() { :; }; cd() { :; }; git() { :; }\n"


def warm() -> None:
    """Nothing: every try is a real command."""


class _Found(HTMLParser):
    """Collects what a page should not hold."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.bad: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element or an attribute that edgefm never writes."""
        if tag in ("script", "iframe", "object", "embed", "x"):
            self.bad.append(tag)
        for name, value in attrs:
            text = (value or "").strip().lower()
            if name.startswith("on") or text.startswith("javascript:") or (name, text) == ("src", "x"):
                self.bad.append(f"{tag} {name}")


def of_html(path: Path) -> str:
    """Return what is wrong with a page."""
    text = path.read_text(encoding="utf-8")
    found = _Found()
    found.feed(text)
    if found.bad:
        return f"{path.name} has {found.bad[0]}"
    return "" if "Content-Security-Policy" in text else f"{path.name} has no Content-Security-Policy"


def of_markdown(path: Path) -> str:
    """Return what is wrong with a page in Markdown, read as a site would show it, and with its commands."""
    from markdown_it import MarkdownIt

    markdown, text, found = MarkdownIt("commonmark", {"html": True}).enable("table"), path.read_text("utf-8"), _Found()
    found.feed(markdown.render(text))
    if found.bad:
        return f"{path.name} has {found.bad[0]}"
    for block in (token.content for token in markdown.parse(text) if token.type == "fence" and token.info in _SHELLS):
        folder = path.parent / "commands"
        folder.mkdir(exist_ok=True)
        done = subprocess.run(
            ["sh", "-c", _STUBS + block], cwd=folder, capture_output=True, text=True, timeout=20, check=False
        )
        if any(folder.iterdir()) or done.returncode:
            return f"{path.name}: a block of commands does something else: {done.stderr.strip()[:80]}"
    return ""


def of_csv(path: Path) -> str:
    """Return what is wrong with a table."""
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            for cell in row:
                if cell.startswith(("=", "@", "\t", "\r")) or re.match(r"[+-](?![\d.]+%?$|inf|nan)", cell):
                    return f"{path.name} has a formula: {cell[:20]!r}"
    return ""


def of_junit(path: Path) -> str:
    """Return what is wrong with a file for CI."""
    try:
        dom = xml.dom.minidom.parse(str(path))
    except Exception as error:  # whatever the parser raises
        return f"{path.name} is no XML: {str(error)[:40]}"
    foreign = [node.tagName for node in dom.getElementsByTagName("*") if node.tagName not in _WRITTEN]
    return f"{path.name} has {foreign[0]}" if foreign else ""


_READERS = {".html": of_html, ".md": of_markdown, ".csv": of_csv, ".xml": of_junit}


def _read_back(outcome: Outcome, folder: Path) -> Outcome:
    """Return the outcome, broken where the terminal or a file that was written holds what it should not."""
    faults = []
    control = _CONTROL.search(outcome.text)
    if control:
        faults.append(f"{control[0]!r} reaches the terminal")
    if outcome.kind == "accepted":
        paths = (path for path in sorted(folder.rglob("*")) if path.suffix in _READERS)
        faults += [fault for path in paths if (fault := _READERS[path.suffix](path))]
    if faults and outcome.kind in ("clean", "accepted"):
        return replace(outcome, kind="broken", detail=faults[0], file=folder if folder.exists() else None)
    return outcome


def _replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {(new if key == old else key): _replaced(inner, old, new) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, old, new) for inner in value]
    return value.replace(old, new) if isinstance(value, str) else value


def _payload(bench: Bench) -> str:
    r = bench.random
    text = r.choice(_PAYLOADS)
    return text if r.random() < 0.6 else text + r.choice(_PAYLOADS)


def names(bench: Bench) -> Iterator[Outcome]:
    """Names of models, classes and machines, and reasons of failures, through each command that shows them."""
    budget, out = bench.folder / "budget.toml", bench.folder / "out"
    budget.write_text('[models."*"]\nsize_bytes = 1\np50_us = 1\n')
    while True:
        text = _payload(bench)
        run = _renamed(bench, text)
        record = run / "02-benchmark/record.json"
        commands = (
            ("report", run, "--out", out),
            ("leaderboard", record, "--out", out),
            ("gate", record, "--budget", budget, "--junit", out / "junit.xml"),
            ("compare", record, record, "--no-latency"),
            ("export", "android", run, "--variant", "float32", "--out", out),
        )
        for argv in bench.random.sample(commands, 2):
            subprocess.run(["rm", "-rf", out], check=True)
            out.mkdir()
            outcome = bench.edgefm(*argv, how=f"names are {text[:60]!r}", verdicts=True, seconds=120)
            yield _read_back(outcome, out)


def _renamed(bench: Bench, text: str) -> Path:
    """Return a copy of the run in which models, a class, the processor and a reason bear another name."""
    run = bench.copy_of_run("run")
    path = run / "02-benchmark/record.json"
    value = _replaced(_replaced(json.loads(path.read_text()), "int8_w8a8", text), "Sneaker", text)
    value["environment"]["cpu"] = text
    for model in value["models"]:
        if model["name"] == "drq_w8":
            model.update(status="failed", reason=text, latency_ns=None, rounds=[])
    path.write_text(json.dumps(value))
    for name in ("01-quantize/quantize.json", "manifest.json"):
        (run / name).write_text(json.dumps(_replaced(json.loads((run / name).read_text()), "int8_w8a8", text)))
    for path in run.glob("01-quantize/*/contract.json"):
        path.write_text(json.dumps(_replaced(json.loads(path.read_text()), "Sneaker", text)))
    return run


def commands_to_copy(bench: Bench) -> Iterator[Outcome]:
    """Values of a stranger's recipe in the commands that a report offers."""
    out = bench.folder / "out"
    while True:
        text, run = _payload(bench), bench.copy_of_run("run")
        manifest = json.loads((run / "manifest.json").read_text())
        key = bench.random.choice(("optimizer", "schedule", "model", "weight_decay", "seed", "model_options"))
        manifest["steps"][0]["recipe"]["params"][key] = {text: text} if key == "model_options" else text
        (run / "manifest.json").write_text(json.dumps(manifest))
        subprocess.run(["rm", "-rf", out], check=True)
        outcome = bench.edgefm("report", run, "--out", out, how=f"{key} is {text[:60]!r}", seconds=120)
        yield _read_back(outcome, out)


def file_names(bench: Bench) -> Iterator[Outcome]:
    """Names of files and folders, through what reads a model, writes and shows them."""
    whole = (bench.models / "int8_w8a8/model.tflite").read_bytes()
    while True:
        text = re.sub(r"[/\x00]", "_", _payload(bench))[:100] + ".tflite"
        place = bench.folder / "names"
        subprocess.run(["rm", "-rf", place], check=True)
        place.mkdir()
        (place / text).write_bytes(whole)
        commands = (
            ("inspect", "--", text),
            ("benchmark", "--latency-only", "--rounds-at-most", "1", "--out", "out", "--", text),
            ("predict", "x.png", "--model", text),
        )
        outcome = bench.edgefm(
            *bench.random.choice(commands), how=f"a file is called {text[:60]!r}", cwd=place, seconds=60
        )
        pwned = (place / "PWNED").exists()
        yield (
            replace(outcome, kind="broken", detail="a file's name was run")
            if pwned
            else _read_back(outcome, place / "out")
        )


PARTS = (
    Part(name="text-names", count=300, weight=2.0, tries=names),
    Part(name="text-commands", count=150, tries=commands_to_copy),
    Part(name="text-file-names", count=150, tries=file_names),
)
