"""From the figures of all runs to a table."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any, NamedTuple

import shardq

#: Figures by contestant, one entry per run.
Runs = dict[str, list[dict[str, float]]]

_COLUMNS = "{:28}{:>14}{:>14}{:>14}{:>10}"


class Summary(NamedTuple):
    contestant: str
    figure: str
    median: float
    low: float
    high: float
    ratio: float | None
    """Median over the runs of the subject's figure divided by this contestant's figure of the same run. None where that
    is 0.
    """


def summaries(runs: Runs) -> list[Summary]:
    """One for each figure and contestant, by figure."""
    subject = next(iter(runs.values()))
    return [_summary(figure, name, own, subject) for figure in subject[0] for name, own in runs.items()]


def table(title: str, found: Sequence[Summary], show: Callable[[float], str]) -> Iterator[str]:
    """The summaries as lines of text."""
    yield title
    for figure in dict.fromkeys(summary.figure for summary in found):
        yield ""
        yield _COLUMNS.format(figure, "median", "min", "max", "ratio")
        for summary in found:
            if summary.figure == figure:
                numbers = map(show, (summary.median, summary.low, summary.high))
                yield _COLUMNS.format(f"  {summary.contestant}", *numbers, _ratio(summary.ratio))


def surroundings() -> dict[str, Any]:
    """What the figures depend on."""
    names = ("sharded-queue", "msgspec", "uvloop", "posix_ipc")
    return {
        "shardq": shardq.__version__,
        **{name: _version(name) for name in names},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def _summary(figure: str, name: str, own: list[dict[str, float]], subject: list[dict[str, float]]) -> Summary:
    values = [run[figure] for run in own]
    ratios = [first[figure] / value for first, value in zip(subject, values, strict=True) if value]
    return Summary(name, figure, median(values), min(values), max(values), median(ratios) if ratios else None)


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.4f}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
