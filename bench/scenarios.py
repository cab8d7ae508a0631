"""Which scenarios there are, and who takes part in each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Contestant(NamedTuple):
    name: str
    function: str
    """`module:function`, called in a process of its own; returns figures by name."""


class Scenario(NamedTuple):
    title: str
    contestants: tuple[Contestant, ...]
    """The subject first: ratios are its figures divided by those of each other one, in the same run."""
    show: Callable[[float], str]


def _thousands(figure: float) -> str:
    return f"{figure:,.0f}"


def _tenths(figure: float) -> str:
    return f"{figure:,.1f}"


SCENARIOS = {
    "throughput": Scenario(
        "requests per second, more is better",
        (
            Contestant("shardq, two processes", "bench.shared:throughput"),
            Contestant("sharded-queue, one process", "bench.ancestor:measure"),
            Contestant("floor, no storage", "bench.floor:measure"),
        ),
        _thousands,
    ),
    "latency": Scenario(
        "microseconds from `register` to the handler of an idle worker, less is better",
        (
            Contestant("shardq, bound thread", "bench.shared:wake_up_bound"),
            Contestant("shardq, new thread", "bench.shared:wake_up_rebind"),
            Contestant("named FIFO", "bench.fifo:measure"),
        ),
        _tenths,
    ),
}
