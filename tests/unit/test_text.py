"""Texts of others on their way out: they are shown and do nothing else."""

from __future__ import annotations

import ast
import doctest
import os
import re
import shlex
import subprocess
from pathlib import Path, PurePath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgefm.core import text
from edgefm.core.text import Markdown, code, command, fenced, markdown, one_a_line, quoted, visible, visible_lines

ROOT = Path(__file__).parents[2]
# What makes something of a text in a terminal, in Markdown or in a shell.
PIECES = st.lists(
    st.sampled_from(
        [
            *"ab1_*`~[](){}<>|!#$&;:.,@+-=/\\'\" \t\n\r\x0b\x85\u2028",
            *("\x1b]8;;x\x07", "\x9b2J", "\u202e", "\u2066", "\x7f", "\udcff", "\u00a0", "é", "中", "\U0001f600"),
            *(
                "```",
                "~~~",
                "http://a.b",
                "HTTPS://a.b",
                "ftp://c",
                "www.a.b",
                "me@a.b",
                "<b>",
                "<!--",
                "&lt;",
                "](",
                "![",
                "]:",
            ),
            *("- ", "1. ", "2) ", "# ", "> ", "---", "===", "| - |", "[^1]", "\\\n", "$(x)"),
        ]
    ),
    max_size=12,
).map("".join)
HARMFUL = [
    *("\x00", "\x07", "\x08", "\t", "\n", "\r", "\x1b", "\x7f", "\x80", "\x85", "\x90", "\x9b", "\x9d"),
    *("\u061c", "\u200b", "\u200e", "\u200f", "\u2028", "\u2029", "\u202a", "\u202b", "\u202c", "\u202d", "\u202e"),
    *("\u2066", "\u2067", "\u2068", "\u2069", "\ufeff", "\U000e0041", "\udc80", "\udcff"),
]


@pytest.mark.parametrize("letter", HARMFUL, ids=ascii)
def test_characters_that_act_are_shown_as_python_writes_them(letter: str) -> None:
    assert visible(f"a{letter}b") == f"a{ascii(letter)[1:-1]}b"
    assert visible_lines(f"a{letter}b") == ("a\n  b" if letter == "\n" else f"a{ascii(letter)[1:-1]}b")


def test_writing_of_all_kinds_stays_as_it_is() -> None:
    for told in ("a\u00a0b – µs × −3 ✓", "中文", "e\u0301", "\U0001f600", "C:\\x", ""):
        assert visible(told) == told


@given(PIECES)
def test_no_line_of_a_text_but_the_first_starts_at_the_margin(told: str) -> None:
    first, *others = visible_lines(told).split("\n")
    assert all(line.startswith("  ") for line in others)
    assert all(visible(line) == line for line in (first, *others))


def _rendered(source: str) -> list[tuple[str, str]]:
    """Return the kinds of a page's elements, and the texts of each."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    found = []
    for token in parser.parse(source):
        found.append((token.type, ""))
        for child in token.children or ():
            found.append((child.type, child.content))
    return found


def _shown(told: str) -> str:
    return visible(" ".join(told.split()))


@given(PIECES)
@example("\\`a@b.c``@d")
@example("[a]: http://b.c\n[a]")
@example("2. a")
@example("-")
@example("=")
@example("a|b")
@example("[1, 4](x)")
@example("[2]: x")
def test_markdown_shows_a_text_as_it_is(told: str) -> None:
    pytest.importorskip("markdown_it", reason="the extra docs is not installed")
    escaped = markdown(told)
    wanted = _shown(told)
    if not wanted:
        assert escaped == ""
        return
    places = {
        "paragraph": (f"{escaped}\n", ["paragraph"]),
        "after a line": (f"x\n{escaped}\n", ["paragraph"]),
        "item": (f"- {escaped}\n", ["bullet_list", "list_item", "paragraph"]),
        "heading": (f"# x {escaped}\n", ["heading"]),
        "cell": (
            f"| a |\n| --- |\n| {escaped} |\n",
            ["table", "thead", "tr", "th", "tbody", "td"],
        ),
    }
    for place, (page, kinds) in places.items():
        tokens = _rendered(page)
        blocks = {kind.rsplit("_", 1)[0] for kind, _ in tokens if kind.endswith("_open")}
        assert blocks == set(kinds), (place, page)
        inline = [
            (kind, content) for kind, content in tokens if not kind.endswith(("_open", "_close")) and kind != "inline"
        ]
        assert {kind for kind, _ in inline} <= {"text", "text_special", "code_inline", "softbreak"}, (place, page)
        assert "".join(content for _, content in inline).endswith(wanted), (place, page)


@given(PIECES)
def test_markdown_makes_no_link_of_an_address_nor_calls_anyone(told: str) -> None:
    """GitHub's dialect links bare addresses, which no parser here does: none may stand outside code."""
    escaped = re.sub(r"\\.", r"\\", markdown(told))  # each escaped character is one backslash now
    outside = " ".join(escaped.split("`")[::2])
    assert not re.search(r"[a-z]://|www\.|[\w.+-]@|@[\w-]", outside, re.IGNORECASE)


def test_markdown_leaves_figures_and_names_readable() -> None:
    for told in ("int8_w8a8", "-3.2 %", "+0.5", "[1, 28, 28]", "99.1 (98 to 99.9)", "1.5 ms", "x: y", "12 @ 3"):
        assert markdown(told) == told
    assert markdown(Markdown("**bold**")) == "**bold**"


@given(PIECES)
@example("`")
@example(" a ")
@example("a|b\\|c")
def test_code_shows_a_text_as_it_is(told: str) -> None:
    pytest.importorskip("markdown_it", reason="the extra docs is not installed")
    if not told:
        assert code(told) == ""
        return
    wanted = visible(told)
    for page in (f"x {code(told)} y\n", f"| a |\n| --- |\n| x {code(told, in_table=True)} y |\n"):
        found = [content for kind, content in _rendered(page) if kind == "code_inline"]
        assert found == [wanted], page


@given(st.lists(PIECES).map("\n".join))
@example("```\n<b>\n````")
def test_lines_of_code_do_not_end_their_fence(told: str) -> None:
    pytest.importorskip("markdown_it", reason="the extra docs is not installed")
    blocks = [kind for kind, _ in _rendered(fenced(told, "sh") + "\n")]
    assert blocks == ["fence"]


@given(st.lists(PIECES.filter(lambda word: "\udcff" not in word), min_size=1))
@example(["a\nb", "$(touch x)", "`x`", "'", "\\", "-n", ""])
def test_shell_takes_each_word_as_it_is_given(words: list[str]) -> None:
    line = command("printf", r"%s\0", *words)
    assert line.isprintable()
    if any(not word.isprintable() for word in words):
        return  # those are asked for in one go below
    assert shlex.split(line)[2:] == words


def test_bash_reads_back_what_cannot_be_seen(tmp_path: Path) -> None:
    words = [f"a{letter}b'\\c" for letter in HARMFUL if letter != "\x00"]
    line = command("printf", r"%s\0", *words, "$(touch x)", "\ntouch x\n")
    assert "\n" not in line
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    done = subprocess.run(["bash", "-c", line], capture_output=True, cwd=tmp_path, env=environment, check=True)
    told = [part.decode("utf-8", "surrogateescape") for part in done.stdout.split(b"\0")[:-1]]
    assert told == [*words, "$(touch x)", "\ntouch x\n"]
    assert list(tmp_path.iterdir()) == []


def test_lines_are_as_many_as_texts() -> None:
    told = one_a_line(["T-shirt\nTrouser", "a\r\nb", "c\u2028d", "", "\udcff", "e"])
    assert told == "T-shirt Trouser\na b\nc d\n\n\\udcff\ne\n"


def test_path_is_no_option() -> None:
    assert command("edgefm", "quantize", PurePath("--trust"), "--run", "-x") == "edgefm quantize ./--trust --run -x"
    assert quoted(PurePath("a b")) == "'a b'"


def test_examples_hold() -> None:
    assert doctest.testmod(text).failed == 0


def _writes(path: Path) -> list[str]:
    """Return what a module calls to write to a terminal past `edgefm.cli.render`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("print", "click.echo", "click.secho", "click.style", "click.echo_via_pager") or called in (
                "sys.stdout.write",
                "sys.stderr.write",
            ):
                found.append(f"{path.name}:{node.lineno}: {called}")
    return found


def test_one_place_writes_to_the_terminal() -> None:
    modules = [path for path in (ROOT / "edgefm" / "cli").glob("*.py") if path.name != "render.py"]
    assert len(modules) > 20
    assert [line for path in modules for line in _writes(path)] == []
    assert _writes(ROOT / "edgefm" / "cli" / "render.py"), "the test sees what writes"
