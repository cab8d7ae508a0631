"""Bar charts as SVG: one bar for each contestant, with the spread of its rounds as a line across its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from bench.harness.scenario import Kind
from bench.harness.summary import Summary, shown

_WIDTH, _LABELS, _VALUES, _ROW, _TOP = 860, 310, 90, 26, 44
_BARS = _WIDTH - _LABELS - _VALUES
_BAR_HEIGHT = 16
_COLOURS = {Kind.SHARDQ: "#1f6feb", Kind.RIVAL: "#d29922", Kind.FLOOR: "#8c959f"}
_LEGEND = {Kind.SHARDQ: "shardq", Kind.RIVAL: "rival", Kind.FLOOR: "floor"}


def svg(found: Sequence[Summary]) -> str:
    """A chart of one figure. What it shows stands in it as text as well."""
    figure, height = found[0].figure, _TOP + _ROW * len(found) + 10
    most = max(summary.high for summary in found) or 1.0
    better = "shorter" if figure.less_is_better else "longer"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        'role="img" font-family="sans-serif" font-size="13">',
        f"<title>{escape(found[0].scenario.title)}</title>",
        f"<desc>{escape(in_words(found))}</desc>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(10, 20, f"{figure.meaning}, {_unit(figure.unit)}; {better} is better"),
        *_legend({summary.contestant.kind for summary in found}),
    ]
    for number, summary in enumerate(found):
        parts.extend(_bar(_TOP + number * _ROW, summary, _BARS / most))
    return "\n".join([*parts, "</svg>"]) + "\n"


def in_words(found: Sequence[Summary]) -> str:
    """The text alternative of a chart."""
    figure = found[0].figure
    bars = "; ".join(f"{summary.contestant.name} {shown(summary.median, figure)}" for summary in found)
    return f"Bar chart, {figure.meaning}, {_unit(figure.unit)}: {bars}"


def _bar(top: int, summary: Summary, pixels_per_unit: float) -> Iterator[str]:
    middle = top + _BAR_HEIGHT / 2
    low, high = (_LABELS + value * pixels_per_unit for value in (summary.low, summary.high))
    yield _text(_LABELS - 8, top + 13, summary.contestant.name, anchor="end")
    yield (
        f'<rect x="{_LABELS}" y="{top}" width="{max(1.0, summary.median * pixels_per_unit):.1f}" '
        f'height="{_BAR_HEIGHT}" fill="{_COLOURS[summary.contestant.kind]}"/>'
    )
    yield f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#24292f" stroke-width="1.5"/>'
    yield _text(max(high, _LABELS) + 6, top + 13, shown(summary.median, summary.figure))


def _legend(kinds: set[Kind]) -> Iterator[str]:
    left = _WIDTH - 75 * len(kinds)
    for kind in (kind for kind in _COLOURS if kind in kinds):
        yield f'<rect x="{left}" y="10" width="12" height="12" fill="{_COLOURS[kind]}"/>'
        yield _text(left + 17, 20, _LEGEND[kind])
        left += 75


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#24292f">{escape(text)}</text>'


def _unit(unit: str) -> str:
    return "as a share" if unit == "1" else unit
