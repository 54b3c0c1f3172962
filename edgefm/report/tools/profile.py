"""The picture of an operator profile: a bar an operator, as long as its time, solid as far as the peak would take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from edgefm.profiling.result import ProfiledOperator, ProfileResult
from edgefm.report.content.wording import TimeUnit, number, signed, time_unit
from edgefm.report.drawing import style

# More rows than these no one reads: the least are joined in one.
_MOST_ROWS = 40
_ROW, _NARROW_ROW = 0.27, 0.4
# Inches above the bars, for title, lines and colours, and below them.
_HEAD, _NARROW_HEAD, _FOOT = 0.95, 1.28, 0.55
_PALE, _GREY_ALPHA = 0.38, 0.75
_OTHERS = 2
_CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D", "CONV_3D_TRANSPOSE"})
_DENSE = frozenset({"FULLY_CONNECTED", "BATCH_MATMUL"})
_KINDS = (("convolutions", style.BLUE), ("dense layers", style.ORANGE), ("all others", style.GREY))
# Characters; on a phone the figures stand in the same line.
_LONGEST_LABEL, _NARROW_LABEL = 32, 27


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A bar.

    Attributes:
      label: what it is.
      text: its figures.
      time_ns: its length; 0 where it is not known.
      at_peak_ns: what its MACs take at the measured peak; 0 without MACs.
      kind: place in `_KINDS`.
    """

    label: str
    text: str
    time_ns: float
    at_peak_ns: float
    kind: int


def profile_pictures(profile: ProfileResult) -> dict[str, bytes]:
    """Return profile.png and .svg, and both for a phone with '-narrow' in their names, by name.

    The SVG files stand alone: their text is text, and they follow the reader's light or dark mode.
    """
    files = {}
    for name, width in (("profile", style.WIDE), ("profile-narrow", style.NARROW)):
        with style.drawing():
            figure = draw_profile(profile, width=width)
            files[f"{name}.png"] = style.png(figure)
            inline = style.svg(figure, prefix="profile", alt=alternative(profile))
            files[f"{name}.svg"] = _standalone(inline).encode()
    return files


def alternative(profile: ProfileResult) -> str:
    """Return the picture in words."""
    timed = [operator for operator in profile.operators if operator.time]
    longest = sorted(timed, key=lambda operator: -operator.time.value if operator.time else 0.0)[:3]
    unit = _unit(profile)
    times = ", ".join(f"{row.layer} {unit.text(row.time.value)} {unit.name}" for row in longest if row.time)
    return f"Time of each operator of {profile.model['name']}; the longest: {times}"


def draw_profile(profile: ProfileResult, *, width: float) -> Figure:
    """Return one bar an operator in the order of execution; call it inside `style.drawing`.

    Args:
      profile: what is drawn.
      width: in inches, `style.WIDE` or `style.NARROW`.
    """
    small = width < style.WIDE
    unit = _unit(profile)
    rows = _rows(profile, unit, small=small)
    head = _NARROW_HEAD if small else _HEAD
    height = head + _FOOT + (_NARROW_ROW if small else _ROW) * len(rows)
    figure = style.new_figure(width, height)
    layout = figure.get_layout_engine()
    assert layout is not None
    layout.set(rect=(0, 0, 1, 1 - head / height))  # type: ignore[call-arg]  # a ConstrainedLayoutEngine
    axes = figure.add_subplot()
    longest = max([row.time_ns for row in rows], default=1.0) or 1.0
    for place, row in enumerate(rows):
        _bar(axes, row, place, unit, small=small)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    # The longest bar's figures stand beside it, on a phone above it.
    axes.set_xlim(0, longest / unit.nanoseconds * (1.02 if small else 1.42))
    axes.set_yticks([] if small else range(len(rows)), [] if small else [row.label for row in rows])
    axes.tick_params(axis="y", length=0, labelcolor=style.INK)
    axes.spines["left"].set_visible(False)
    axes.grid(not small, axis="x")
    axes.set_xlabel(f"{unit.name} of one inference, one thread")
    _header(figure, profile, rows, unit, small=small)
    return figure


def _bar(axes: Axes, row: _Row, place: int, unit: TimeUnit, *, small: bool) -> None:
    colour = _KINDS[row.kind][1]
    length = max(0.0, row.time_ns) / unit.nanoseconds
    solid = min(length, row.at_peak_ns / unit.nanoseconds) if row.at_peak_ns else 0.0
    height, y = (0.36, place + 0.16) if small else (0.62, float(place))
    # Paper below: a grid line must not shine through the pale part.
    axes.barh(y, length, height=height, color=style.PAPER, linewidth=0)
    axes.barh(y, length, height=height, color=colour, alpha=_PALE if row.at_peak_ns else _GREY_ALPHA, linewidth=0)
    if solid:
        axes.barh(y, solid, height=height, color=colour, linewidth=0)
    if small:
        right = axes.get_yaxis_transform()
        axes.text(0, place - 0.1, row.label, va="bottom", ha="left", fontsize=8)
        axes.text(1, place - 0.1, row.text, va="bottom", ha="right", fontsize=8, transform=right)
        return
    paper = {"facecolor": style.PAPER, "edgecolor": "none", "pad": 1.0}
    axes.annotate(
        row.text, (length, place), xytext=(5, 0), textcoords="offset points", va="center", ha="left", fontsize=8.5,
        bbox=paper,
    )  # fmt: skip


def _header(figure: Figure, profile: ProfileResult, rows: Sequence[_Row], unit: TimeUnit, *, small: bool) -> None:
    """Write the title, the lines below it and the meaning of the colours, from the top of the figure down."""
    width, height = figure.get_size_inches()
    title, line = _title(profile, unit, small=small)
    left = 0.06 / width
    figure.text(left, 1 - 0.08 / height, title, fontsize=10, fontweight="bold", va="top")
    figure.text(left, 1 - 0.33 / height, line, fontsize=8.5, color=style.MUTED, va="top", linespacing=1.3)
    present = sorted({row.kind for row in rows})
    handles = [
        Patch(
            facecolor=_KINDS[kind][1], linewidth=0, alpha=_GREY_ALPHA if kind == _OTHERS else 1, label=_KINDS[kind][0]
        )
        for kind in present
    ]
    if any(row.at_peak_ns for row in rows):
        handles.append(Patch(facecolor=style.BLUE, alpha=_PALE, linewidth=0, label="pale: above the time at the peak"))
    below = 0.42 + 0.165 * (1 + line.count("\n"))
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(left, 1 - below / height),
        ncols=2 if small else 4,
        frameon=False,
        fontsize=8,
        borderpad=0.0,
        borderaxespad=0.0,
        handlelength=1.0,
        handletextpad=0.5,
        columnspacing=1.2,
        labelspacing=0.35,
    )


def _title(profile: ProfileResult, unit: TimeUnit, *, small: bool) -> tuple[str, str]:
    name = profile.model["name"]
    peaks = ", ".join(
        f"{dtype} {number(peak.gmac_per_s, 0 if peak.gmac_per_s >= 10 else 1)}"
        for dtype, peak in profile.limits.peaks.items()
    )
    peak = f"Peak of one core, GMAC/s: {peaks}." if peaks else "Peak not known."
    if profile.whole is None:
        return f"Where the time of {name} goes", f"The whole model could not be timed.\n{peak}"
    check = profile.check
    assert check is not None
    off = 100 * (check.of_whole.value - 1)
    whole = f"{unit.text(profile.whole.value)} {unit.name}"
    if check.method == "prefixes":
        sum_line = "Differences of prefixes; they add up to the whole."
        first = profile.checks[0]
        if first.method == "operators":
            alone = 100 * (first.of_whole.value - 1)
            sum_line = f"Differences of prefixes: operators alone are {signed(alone, 0)} % off."
    else:
        sum_line = f"Operators alone, summed: {signed(off, 1)} % off the whole."
    if check.missing:
        sum_line += f" {len(check.missing)} are missing."
    runtime = f"{profile.runtime} {profile.version}"
    line = (
        f"{sum_line}\n{peak}\n{runtime}" if small else f"{sum_line} {peak}\n{runtime} on {profile.environment['cpu']}"
    )
    return f"Where the {whole} of {name} go", line


def _rows(profile: ProfileResult, unit: TimeUnit, *, small: bool) -> list[_Row]:
    operators = list(profile.operators)
    others: list[ProfiledOperator] = []
    if len(operators) > _MOST_ROWS:
        by_time = sorted(operators, key=lambda operator: operator.time.value if operator.time else float("inf"))
        others = by_time[: len(operators) - _MOST_ROWS + 1]
        kept = set(map(id, by_time[len(others) :]))
        operators = [operator for operator in operators if id(operator) in kept]
    rows = [_row(operator, profile, unit, small=small) for operator in operators]
    if others:
        time_ns = sum(operator.time.value for operator in others if operator.time)
        share = sum(operator.share or 0.0 for operator in others)
        text = _figures(time_ns, share if profile.whole else None, None, unit, small=small)
        rows.append(_Row(label=f"{len(others)} others", text=text, time_ns=time_ns, at_peak_ns=0.0, kind=_OTHERS))
    return rows


def _row(operator: ProfiledOperator, profile: ProfileResult, unit: TimeUnit, *, small: bool) -> _Row:
    name = operator.name.removeprefix("CUSTOM:")
    room = max(8, (_NARROW_LABEL if small else _LONGEST_LABEL) - len(name) - 2)
    label = operator.layer if len(operator.layer) <= room else f"…{operator.layer[1 - room :]}"
    peak = profile.limits.peaks.get(operator.dtype or "")
    text = "no time"
    if operator.time and operator.time.low <= 0:
        # It cannot be told from 0.
        text = f"under {number(max(operator.time.high / unit.nanoseconds, 0.01), 2)} {unit.name}"
    elif operator.time:
        text = _figures(operator.time.value, operator.share, operator.peak_share, unit, small=small)
    return _Row(
        label=f"{label}  {name}",
        text=text,
        time_ns=operator.time.value if operator.time else 0.0,
        at_peak_ns=operator.macs / peak.gmac_per_s if operator.time and peak else 0.0,
        kind=0 if operator.name in _CONVOLUTIONS else 1 if operator.name in _DENSE else _OTHERS,
    )


def _figures(time_ns: float, share: float | None, peak_share: float | None, unit: TimeUnit, *, small: bool) -> str:
    """Return the figures of a bar, e.g. '17.3 µs · 32 % · 92 % of peak'."""
    least = abs(time_ns) < unit.nanoseconds
    parts = [f"{number(time_ns / unit.nanoseconds, 2) if least else unit.text(time_ns)} {unit.name}"]
    if share is not None:
        parts.append(f"{number(100 * share, 0 if share >= 0.1 else 1)} %")
    if peak_share is not None:
        parts.append(f"{100 * peak_share:.0f} % {'peak' if small else 'of peak'}")
    return " · ".join(parts)


def _unit(profile: ProfileResult) -> TimeUnit:
    """Return the unit for the longest operator: an inference's smallest operators may take next to nothing."""
    return time_unit([max([operator.time.value for operator in profile.operators if operator.time], default=1e3)])


def _standalone(inline: str) -> str:
    """Return an inline SVG as a file: with a namespace, a background, and the palette of either mode."""
    light, dark = style.css_variables(style.LIGHT), style.css_variables(style.DARK)
    look = (
        f"<style>svg{{{light}--sans:'DejaVu Sans',Verdana,sans-serif;background:var(--paper)}}"
        f"@media (prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    )
    head, rest = inline.split(">", 1)
    return f'{head} xmlns="http://www.w3.org/2000/svg">{look}{rest}\n'
