"""Small charts as SVG. Colours are those of the style sheet, by class."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 320, 56
_CELL, _COLUMNS = 14, 32
#: Ages in seconds at which a cell of a map becomes a shade darker.
SHADES_S = (0.1, 1.0, 10.0, 60.0, 600.0)


def line(values: Sequence[tuple[float, float | None]], label: str) -> Markup:
    """Values by their times, in Unix seconds, over the last hour; it is broken where there is none. Nothing for less
    than two values.
    """
    known = [value for _, value in values if value is not None]
    if len(known) < 2:
        return Markup("")
    top, last, first = max(known), values[-1][0], values[0][0]
    step = _WIDTH / max(last - first, 1.0)
    runs, run = list[list[str]](), list[str]()
    for at, value in values:
        if value is None:
            run = []
            continue
        if not run:
            runs.append(run)
        run.append(f"{(at - first) * step:.1f},{_HEIGHT - 2 - value / (top or 1) * (_HEIGHT - 4):.1f}")
    lines = Markup("").join(Markup('<polyline points="{}"/>').format(" ".join(run)) for run in runs)
    told = f"{label}: {known[-1]:,.0f} at last, at most {top:,.0f}"
    return Markup(
        '<svg class="line" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
        '<span class="more">{:,.0f} now, at most {:,.0f}</span>'
    ).format(_WIDTH, _HEIGHT, told, lines, known[-1], top)


def shade(age_s: float) -> int:
    """How dark a cell is, from 0."""
    return sum(age_s >= limit for limit in SHADES_S)


def heat_map(cells: Sequence[tuple[str, str, float]]) -> Markup:
    """Cells row by row, each with its address, what it stands for, and its age in seconds."""
    rows = -(-len(cells) // _COLUMNS)
    parts = []
    for place, (address, told, age_s) in enumerate(cells):
        x, y = place % _COLUMNS * _CELL, place // _COLUMNS * _CELL
        parts.append(
            f'<a href="{escape(address)}" tabindex="-1"><rect x="{x}" y="{y}" width="{_CELL - 2}" height="{_CELL - 2}" '
            f'rx="2" class="heat{shade(age_s)}"><title>{escape(told)}</title></rect></a>'
        )
    label = "Threads by the age of their oldest request; the tables below say the same of the worst"
    size = f'viewBox="0 0 {_COLUMNS * _CELL} {max(rows, 1) * _CELL}"'
    return Markup(f'<svg class="heat" {size} role="group" aria-label="{label}">{"".join(parts)}</svg>')
