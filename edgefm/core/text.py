r"""Texts of others on their way out: to a terminal, into Markdown, into a command to copy.

Names in files, recipes and messages of other programs are data. Here they become text that is shown and does nothing
else: a terminal gets no control character, Markdown no markup, a shell no second command.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import PurePath

# GitHub's dialect makes links of addresses, and of names behind an @.
_ADDRESS = re.compile(r"(?<=[A-Za-z])(?=://)|(?<=www)(?=\.)", re.IGNORECASE)
_MARKUP = re.compile(r"(\[\d[\d, -]*\](?![(\[:]))|[\\`*\[\]|~#$]")  # the former, a shape, is no link
_WITH_AT = re.compile(r"([\w.+/@-]*@[\w.+/@-]*)")
# At the start of a line these make a list, a heading, a rule or a table of it.
_STARTS_A_BLOCK = re.compile(r"^(\d{1,9}(?=[.)](?:\s|$))|(?=[-+=:](?:[-+=:\s]|$)))")
_FEW = 5
# All up to the last @, for a password that was not written as URLs want it may hold anything.
_LOGIN = re.compile(r"(?<=://).*@")
_QUERY = re.compile(r"""(://[^\s?'"]*\?)[^\s'"]+""")


def visible(text: object) -> str:
    r"""Return a text on one line, each character that cannot be seen written as Python writes it.

    Those are control characters (C1, too), line breaks, characters that turn the direction of writing, and the bytes
    of a file's name that are not UTF-8.

    >>> print(visible("a\x1b[2J\u202eb\n\x9b"))
    a\x1b[2J\u202eb\n\x9b
    """
    line = str(text)
    if line.isprintable():
        return line
    return "".join(letter if _is_seen(letter) else ascii(letter)[1:-1] for letter in line)


def visible_lines(text: object) -> str:
    r"""Return a text, `visible` but for its line breaks; no line but the first starts at the margin.

    >>> print(visible_lines("2 pictures cannot be read:\nx\ry.png"))
    2 pictures cannot be read:
      x\ry.png
    """
    first, *others = (visible(line) for line in str(text).rstrip("\n").split("\n"))
    return "\n".join([first, *(line if line.startswith("  ") else f"  {line}" for line in others)])


def visible_page(text: str) -> str:
    r"""Return a page (HTML) whose lines stay, each other character that cannot be seen written as Python writes it.

    >>> print(visible_page("<p>\n\x1b[2J</p>"))
    <p>
    \x1b[2J</p>
    """
    return "\n".join(map(visible, text.split("\n")))


class Markdown(str):
    """A text that is Markdown already: `markdown` leaves it as it is."""

    __slots__ = ()


def markdown(text: object) -> Markdown:
    r"""Return what Markdown (GitHub's dialect) shows as a text: on one line, in a table or at the start of a line, too.

    >>> print(markdown("a|b <script> *x* int8_w8a8 [x](https://x.org) @me"))
    a\|b &lt;script&gt; \*x\* int8_w8a8 \[x\](https\://x.org) `@me`
    """
    if isinstance(text, Markdown):
        return text
    line = visible(" ".join(str(text).split()))
    parts = _WITH_AT.split(line)  # every other one has an @
    parts = [f"`{part}`" if place % 2 and part != "@" else _escaped(part) for place, part in enumerate(parts)]
    return Markdown(_STARTS_A_BLOCK.sub(r"\1\\", "".join(parts), count=1))


def code(text: object, *, in_table: bool = False) -> Markdown:
    r"""Return a text as Markdown's code, on one line; a bar in a table is escaped, since it would end the cell.

    >>> print(code("a`b"), code("a|b", in_table=True))
    ``a`b`` `a\|b`
    """
    line = visible(text)
    if not line:
        return Markdown()
    fence = "`" * (_longest_run(line) + 1)
    space = " " if "`" in (line[0], line[-1]) or (line[0] == line[-1] == " " and line.strip()) else ""
    shown = line.replace("|", r"\|") if in_table else line
    return Markdown(f"{fence}{space}{shown}{space}{fence}")


def fenced(lines: str, language: str = "") -> Markdown:
    """Return lines of code as Markdown's block, whose fence none of the lines can close."""
    fence = "`" * max(3, _longest_run(lines) + 1)
    shown = "\n".join(line if line.isprintable() else visible(line) for line in lines.rstrip("\n").split("\n"))
    return Markdown(f"{fence}{language}\n{shown}\n{fence}")


def command(*words: object) -> str:
    r"""Return a command line for a POSIX shell, on one line; a path is never taken for an option.

    >>> print(command("edgefm", "benchmark", PurePath("-my run")), command("echo", "a\nb"))
    edgefm benchmark './-my run' echo $'a\nb'
    """
    return " ".join(map(quoted, words))


def quoted(word: object) -> str:
    """Return a word as a POSIX shell takes it literally, on one line; see `command`."""
    text = str(word)
    if isinstance(word, PurePath) and text.startswith("-"):
        text = f"./{text}"
    return shlex.quote(text) if text.isprintable() else f"$'{''.join(map(_in_shell, text))}'"


def one_a_line(texts: Iterable[str]) -> str:
    r"""Return texts one a line; a line break within one, which would move all that follow, becomes a space.

    >>> one_a_line(["a\nb", "c"])
    'a b\nc\n'
    """
    lines = "".join(" ".join(text.splitlines()) + "\n" for text in texts)
    return lines.encode(errors="backslashreplace").decode()  # a file's name may hold bytes that are no UTF-8


def without_passwords(text: str) -> str:
    """Return a text whose URLs say neither user nor password, nor their parameters; a line that has some may lose more.

    >>> print(without_passwords("--storage=postgresql://me:p/w@x@db/searches?password=x s3://bucket/folder"))
    --storage=postgresql://***@db/searches?*** s3://bucket/folder
    """
    return _QUERY.sub(r"\1***", _LOGIN.sub("***@", text))


def few(names: Sequence[str]) -> str:
    """Return the first five names, and how many more there are.

    >>> few(("a", "b")), few("abcdefg")
    ('a, b', 'a, b, c, d, e and 2 more')
    """
    shown = ", ".join(names[:_FEW])
    return f"{shown} and {len(names) - _FEW} more" if len(names) > _FEW else shown


def _is_seen(letter: str) -> bool:
    return letter.isprintable() or unicodedata.category(letter) == "Zs"  # other spaces than ' ' are seen, too


def _escaped(text: str) -> str:
    text = _MARKUP.sub(lambda found: found[1] or f"\\{found[0]}", text)
    text = re.sub(r"(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])", r"\\_", text)
    return _ADDRESS.sub(r"\\", text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def _in_shell(letter: str) -> str:
    r"""Return a character as it is written within $'…'."""
    number = ord(letter)
    if letter in "\\'":
        return f"\\{letter}"
    if letter.isprintable():
        return letter
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no UTF-8, see PEP 383
        return f"\\x{number - 0xDC00:02x}"
    return ascii(letter)[1:-1] if number < 0x80 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
