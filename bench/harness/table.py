"""What the command prints of a scenario."""

from __future__ import annotations

from collections.abc import Iterator

from bench.harness.rounds import Runs
from bench.harness.scenario import Figure, Scenario
from bench.harness.summary import failures, shown, shown_ratio, summaries

_COLUMNS = "{:46}{:>12}{:>12}{:>12}{:>9}"


def lines(scenario: Scenario, runs: Runs) -> Iterator[str]:
    yield f"{scenario.name}: {scenario.title}"
    last: Figure | None = None
    for summary in summaries(scenario, runs):
        if summary.figure is not last:
            last = summary.figure
            better = "less" if last.less_is_better else "more"
            yield f"\n{last.name}: {last.meaning}, {last.unit}, {better} is better"
            yield _COLUMNS.format("", "median", "min", "max", "ratio")
        numbers = (shown(value, last) for value in (summary.median, summary.low, summary.high))
        yield _COLUMNS.format(f"  {summary.contestant.name}", *numbers, shown_ratio(summary.ratio))
    if failed := failures(runs):
        yield "\n".join(["", *failed])
