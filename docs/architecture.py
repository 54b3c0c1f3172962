"""Draws the floors of the code from its imports: `python docs/architecture.py --out build/architecture`.

The floors and rooms are those of the contract in pyproject.toml that import-linter holds; what a room says of itself
is the first sentence of its package's docstring; counts are of this moment. The site draws it when it is built.
"""

from __future__ import annotations

import argparse
import ast
import sys
import textwrap
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (ROOT, ROOT / "converters")
CONTRACT = "floors"
PLURAL = {False: "module", True: "modules"}


@dataclass(frozen=True, kw_only=True)
class Room:
    """A package on a floor.

    Attributes:
      name: of the package, e.g. 'edgefm.training'.
      sentence: the first one of its docstring.
      modules: files with code in them.
      lines: of these files.
      uses: imports of other rooms' modules, by room.
    """

    name: str
    sentence: str
    modules: int
    lines: int
    uses: Mapping[str, int]

    @property
    def short(self) -> str:
        """The name without 'edgefm.'."""
        return self.name.removeprefix("edgefm.")


@dataclass(frozen=True, kw_only=True)
class House:
    """All floors, the upper first."""

    floors: tuple[tuple[Room, ...], ...]

    def crossing(self, index: int) -> int:
        """Return how many imports go from floor `index` and those above it to the floors below."""
        below = {room.name for floor in self.floors[index + 1 :] for room in floor}
        above = [room for floor in self.floors[: index + 1] for room in floor]
        return sum(count for room in above for name, count in room.uses.items() if name in below)


def read() -> House:
    """Return the house as contract, imports and files have it now.

    Raises:
      ValueError: an import goes up, or to another room of its floor.
    """
    floors = layers(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    names = [name for floor in floors for name in floor]
    uses = _uses(names)
    level = {name: index for index, floor in enumerate(floors) for name in floor}
    for name in names:
        wrong = [other for other in uses[name] if level[other] <= level[name]]
        if wrong:
            raise ValueError(f"{name} imports {', '.join(wrong)}, which is no floor below it; see: make lint")
    return House(floors=tuple(tuple(_room(name, uses[name]) for name in floor) for floor in floors))


def layers(project: Mapping[str, object]) -> list[list[str]]:
    """Return the rooms floor by floor of a parsed pyproject.toml.

    >>> contract = {"id": "floors", "layers": ["a.top", "a.left | a.right"]}
    >>> layers({"tool": {"importlinter": {"contracts": [contract]}}})
    [['a.top'], ['a.left', 'a.right']]
    """
    contracts = project["tool"]["importlinter"]["contracts"]  # type: ignore[index]  # as TOML is
    (contract,) = (contract for contract in contracts if contract.get("id") == CONTRACT)
    return [[name.strip(" ()") for name in layer.replace(":", "|").split("|")] for layer in contract["layers"]]


def _uses(names: Sequence[str]) -> dict[str, Counter[str]]:
    sys.path[:0] = [str(path) for path in SOURCES]
    graph = grimp.build_graph(*sorted({name.partition(".")[0] for name in names}), cache_dir=None)
    of = {module: name for name in names for module in (name, *graph.find_descendants(name))}
    uses: dict[str, Counter[str]] = {name: Counter() for name in names}
    for module, name in of.items():
        for imported in graph.find_modules_directly_imported_by(module):
            if of.get(imported, name) != name:
                uses[name][of[imported]] += 1
    return uses


def _room(name: str, uses: Counter[str]) -> Room:
    (folder,) = (path for path in (source.joinpath(*name.split(".")) for source in SOURCES) if path.is_dir())
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))]
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    return Room(
        name=name,
        sentence=first_sentence(said),
        modules=len(texts),
        lines=sum(len(text.splitlines()) for text in texts),
        uses=dict(sorted(uses.items(), key=lambda entry: (-entry[1], entry[0]))),
    )


def first_sentence(docstring: str) -> str:
    """Return the first sentence, without marks of code.

    >>> first_sentence("Reading `.tflite` files. Needs numpy only.")
    'Reading .tflite files.'
    """
    head, dot, _ = " ".join(docstring.split()).replace("`", "").partition(". ")
    return head + dot.strip()


# --- the picture: lengths in px ---------------------------------------------------------------------------------

STYLE = """
svg.house {
  --ink: var(--color-foreground-primary, #1f2328); --soft: var(--color-foreground-secondary, #57606a);
  --paper: var(--color-background-primary, #ffffff); --edge: var(--color-background-border, #d0d7de);
  font-family: system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif;
}
@media (prefers-color-scheme: dark) {
  svg.house {
    --ink: var(--color-foreground-primary, #e6edf3); --soft: var(--color-foreground-secondary, #9da7b3);
    --paper: var(--color-background-primary, #0d1117); --edge: var(--color-background-border, #30363d);
  }
}
svg.house .paper { fill: var(--paper); }
svg.house .floor { fill-opacity: 0.13; }
svg.house .room { fill: var(--paper); stroke: var(--edge); }
svg.house .name { font: 600 15px ui-monospace, Menlo, Consolas, "Liberation Mono", monospace; fill: var(--ink); }
svg.house .says { font-size: 13px; fill: var(--ink); }
svg.house .facts, svg.house .uses, svg.house .note { font-size: 11.5px; fill: var(--soft); }
svg.house .facts { text-anchor: end; }
svg.house .level { font-size: 17px; font-weight: 600; fill: var(--soft); text-anchor: middle; }
svg.house .count { font-size: 12px; fill: var(--ink); }
svg.house .arrow { fill: none; stroke: var(--soft); stroke-width: 2; stroke-linecap: round; stroke-linejoin: round; }
"""
GUTTER, GAP, BETWEEN, PAD = 40, 10, 30, 12
SAYS, SMALL = 17, 15  # heights of a line
SAYS_CHARACTER, SMALL_CHARACTER, NAME_CHARACTER = 7.3, 6.4, 9.3  # mean widths, of the widest of the fonts above


def draw(house: House, *, narrow: bool = False) -> str:
    """Return the picture as SVG, legible on light and dark pages.

    Args:
      house: what is drawn.
      narrow: one room a row, for a phone.
    """
    width = 380 if narrow else 800
    most = max(room.lines for floor in house.floors for room in floor)
    parts, y = [], 8
    for line in textwrap.wrap(_note(house), 56 if narrow else 118):
        y += 16
        parts.append(_text("note", 2, y, line))
    y += 14
    for index, floor in enumerate(house.floors):
        rows = [[room] for room in floor] if narrow else [list(floor)]
        # Blue above, green below, and so the floors stay apart for readers who see no hue: each has its number.
        colour = f"hsl({225 - 95 * index / max(1, len(house.floors) - 1):.0f} 60% 50%)"
        body, height = _floor(rows, y=y, width=width, colour=colour, most=most)
        parts.append(_rectangle("floor", 0, y, width, height, radius=8, more=f' fill="{colour}"'))
        parts.append(_text("level", GUTTER / 2, y + height / 2 + 6, str(len(house.floors) - 1 - index)))
        parts += body
        y += height
        if index + 1 < len(house.floors):
            x = GUTTER / 2
            parts.append(f'<path class="arrow" d="M{x} {y + 4}v{BETWEEN - 9}m-5 -5l5 5l5 -5"/>')
            parts.append(_text("count", x + 14, y + 19, f"{house.crossing(index):,}"))
            y += BETWEEN
    label = f"The {len(house.floors)} floors of the code and their rooms, drawn from the imports"
    return (
        f'<svg class="house" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y + 2:.0f}" role="img" '
        f'aria-label="{label}"><style>{STYLE}</style>'
        f"{_rectangle('paper', 0, 0, width, y + 2, radius=0)}{''.join(parts)}</svg>"
    )


def _note(house: House) -> str:
    rooms = [room for floor in house.floors for room in floor]
    return (
        f"{len(house.floors)} floors, {len(rooms)} rooms, {sum(room.modules for room in rooms)} modules, "
        f"{sum(room.lines for room in rooms):,} lines. An arrow: that many imports pass here, all of them downwards. "
        "A bar: how many lines the room has. 'imports core 15': 15 imports of modules in core."
    )


def _floor(
    rows: Iterable[Sequence[Room]], *, y: float, width: float, colour: str, most: int
) -> tuple[list[str], float]:
    """Return the boxes of a floor and its height."""
    parts, top = [], y + GAP
    for row in rows:
        each = (width - GUTTER - GAP * len(row)) / len(row)
        beside = all(_facts_fit(room, each) for room in row)
        texts = [_texts(room, each, beside=beside) for room in row]
        height = max(34 + SAYS * len(says) + SMALL * len(uses) + 16 for says, uses in texts)
        for place, (room, (says, uses)) in enumerate(zip(row, texts, strict=True)):
            x = GUTTER + place * (each + GAP)
            parts += _box(room, says, uses, x=x, y=top, width=each, height=height)
            parts += [_text("facts", x + each - PAD, top + 22, _facts(room))] if beside else []
            share = max(4, (each - 2 * PAD) * room.lines / most)
            parts.append(_rectangle("bar", x + PAD, top + height - 9, share, 3, radius=1, more=f' fill="{colour}"'))
        top += height + GAP
    return parts, top - y


def _texts(room: Room, width: float, *, beside: bool) -> tuple[list[str], list[str]]:
    inside = width - 2 * PAD
    says = textwrap.wrap(room.sentence, int(inside / SAYS_CHARACTER))
    used = ", ".join(f"{name.removeprefix('edgefm.')}\N{NO-BREAK SPACE}{count}" for name, count in room.uses.items())
    uses = textwrap.wrap(f"imports {used}" if used else "imports no other room", int(inside / SMALL_CHARACTER))
    return says, uses if beside else [_facts(room), *uses]


def _facts(room: Room) -> str:
    return f"{room.modules} {PLURAL[room.modules != 1]} · {room.lines:,} lines"


def _facts_fit(room: Room, width: float) -> bool:
    """Return whether the facts have room behind the name."""
    return len(room.short) * NAME_CHARACTER + len(_facts(room)) * SMALL_CHARACTER < width - 2 * PAD


def _box(
    room: Room, says: Sequence[str], uses: Sequence[str], *, x: float, y: float, width: float, height: float
) -> list[str]:
    parts = [_rectangle("room", x, y, width, height, radius=5)]
    parts += [_text("name", x + PAD, y + 23, room.short)]
    base = y + 28
    parts += [_text("says", x + PAD, base + SAYS * number, line) for number, line in enumerate(says, start=1)]
    base += SAYS * len(says) + 3
    parts += [_text("uses", x + PAD, base + SMALL * number, line) for number, line in enumerate(uses, start=1)]
    return parts


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _rectangle(kind: str, x: float, y: float, width: float, height: float, *, radius: int, more: str = "") -> str:
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius}"{more}/>'
    )


def main() -> None:
    """Write the picture for a page and the one for a phone."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "architecture", help="Folder to write into.")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    house = read()
    for name, narrow in (("architecture.svg", False), ("architecture-narrow.svg", True)):
        (out / name).write_text(draw(house, narrow=narrow), encoding="utf-8")
        print(out / name)


if __name__ == "__main__":
    main()
