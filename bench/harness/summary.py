"""From the figures of all rounds to a median, a spread and a ratio."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from bench.harness.contestant import Figures
from bench.harness.rounds import Runs
from bench.harness.scenario import Contestant, Figure, Kind, Scenario


class Summary(NamedTuple):
    scenario: Scenario
    figure: Figure
    contestant: Contestant
    median: float
    low: float
    high: float
    ratio: float | None
    """Median over the rounds of shardq's figure divided by this contestant's of the same round. None where that is 0,
    where in no round both gave one, and where the contestant is the one of shardq that others are compared with.
    """
    subject: str
    """The contestant of shardq in that ratio."""

    @property
    def slower(self) -> bool:
        """Whether shardq is worse than this rival."""
        if self.contestant.kind is not Kind.RIVAL or self.ratio is None:
            return False
        return self.ratio > 1 if self.figure.less_is_better else self.ratio < 1

    @property
    def advantage(self) -> float:
        """How many times better than this contestant shardq is; below 1 it is worse."""
        ratio = self.ratio or 1.0
        return 1 / ratio if self.figure.less_is_better else ratio


def summaries(scenario: Scenario, runs: Runs) -> list[Summary]:
    """One for each figure and contestant that gave some, by figure: over the rounds in which it did not fail."""
    return [summary for figure in scenario.figures for summary in _of_figure(scenario, figure, runs)]


def failures(runs: Runs) -> list[str]:
    """A sentence for each contestant that failed in some round, or in all of them."""
    return [_failure(name, own.count(None), len(own)) for name, own in runs.items() if None in own]


def shown(value: float, figure: Figure) -> str:
    """Whole things as such, all else with about three digits that count."""
    if figure.whole or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2f}"


def shown_ratio(ratio: float | None) -> str:
    if ratio is None:
        return "-"
    return f"{ratio:.2f}" if ratio >= 0.1 or not ratio else f"{ratio:.4f}"


def rounds(count: int) -> str:
    return "1 round" if count == 1 else f"{count} rounds"


def _failure(name: str, failed: int, of: int) -> str:
    if failed == of:
        return f"{name} failed in {rounds(of)}, which is all there were: it has no figures."
    return f"{name} failed in {failed} of {rounds(of)}: its figures are those of the other {of - failed}."


def _of_figure(scenario: Scenario, figure: Figure, runs: Runs) -> Iterator[Summary]:
    first = next(iter(runs))
    for name, own in runs.items():
        contestant = scenario.named(name)
        subject = contestant.against if contestant.against in runs else first
        assert subject is not None
        # Older results may lack a figure.
        values = [run[figure.name] for run in own if run is not None and figure.name in run]
        if not values:
            continue
        ratio = None if name == subject else _ratio(figure.name, runs[subject], own)
        yield Summary(scenario, figure, contestant, median(values), min(values), max(values), ratio, subject)


def _ratio(figure: str, subject: list[Figures | None], other: list[Figures | None]) -> float | None:
    both = [(mine, its) for mine, its in zip(subject, other, strict=True) if mine is not None and its is not None]
    ratios = [mine[figure] / its[figure] for mine, its in both if figure in mine and its.get(figure)]
    return median(ratios) if ratios else None
