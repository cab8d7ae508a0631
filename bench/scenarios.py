"""Which scenarios there are, and which contestants take part in each."""

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
    "calls": Scenario(
        "requests per second end to end, by the requests of one call, more is better",
        (
            Contestant("shardq, 1 worker", "bench.calls:one_worker"),
            Contestant("shardq, 2 workers", "bench.calls:two_workers"),
            Contestant("multiprocessing.Queue, 1 process", "bench.calls:one_process"),
            Contestant("multiprocessing.Queue, 2 processes", "bench.calls:two_processes"),
        ),
        _thousands,
    ),
    "routes": Scenario(
        "microseconds of a `register` of 128 requests over 16 threads before anything is stored, less is better",
        (
            Contestant("route_by", "bench.routes:declared"),
            Contestant("route with Route.by", "bench.routes:written_by_key"),
            Contestant("route with a remainder", "bench.routes:written_remainder"),
        ),
        _tenths,
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
    "unserved": Scenario(
        "requests per second, more is better, and microseconds from `register` to the handler, less is better, beside "
        "ready threads whose handler the worker does not have",
        (
            Contestant("beside 30,000 threads", "bench.beside:threads_30000"),
            Contestant("beside 1,000 threads", "bench.beside:threads_1000"),
            Contestant("beside none", "bench.beside:threads_0"),
        ),
        _thousands,
    ),
    "messages": Scenario(
        "bytes of memory for each queued message, less is better",
        (
            Contestant("shardq, calls of 128", "bench.memory:messages_by_128"),
            Contestant("shardq, calls of 1,024", "bench.memory:messages_by_1024"),
            Contestant("shardq, one by one", "bench.memory:messages_one_by_one"),
            Contestant("floor, payload alone", "bench.memory:payload"),
        ),
        _tenths,
    ),
    "tubes": Scenario(
        "bytes of memory for each of 50,000 tubes: with one message, and drained, less is better",
        (
            Contestant("shardq", "bench.memory:tubes"),
            Contestant("floor, table entries, a page", "bench.memory:page"),
        ),
        _tenths,
    ),
    "workers": Scenario(
        "MiB of memory for each of 8 idle workers, less is better",
        (
            Contestant("shardq", "bench.memory:workers"),
            Contestant("floor, forked uvloop", "bench.memory:processes"),
        ),
        _tenths,
    ),
    "idle": Scenario(
        "what a supervisor and 8 workers cost that have nothing to do, less is better",
        (
            Contestant("shardq", "bench.idle:family"),
            Contestant("polling every 100 ms", "bench.idle:pollers"),
        ),
        _tenths,
    ),
    "startup": Scenario(
        "milliseconds, less is better",
        (
            Contestant("shardq, 1 worker", "bench.startup:one_worker"),
            Contestant("shardq, 8 workers", "bench.startup:eight_workers"),
            Contestant("floor, bare Python and fork", "bench.startup:bare"),
        ),
        _tenths,
    ),
    "recovery": Scenario(
        "microseconds from the report of a worker's death to the next handler on its thread, less is better",
        (
            Contestant("shardq, one idle worker", "bench.recovery:two_workers"),
            Contestant("floor, a waiting process", "bench.recovery:bare"),
        ),
        _tenths,
    ),
    "binding": Scenario(
        "microseconds for each binding with one request, less is better",
        (
            Contestant("50,000 threads", "bench.binding:threads_50000"),
            Contestant("1,000 threads", "bench.binding:threads_1000"),
            Contestant("10 threads", "bench.binding:threads_10"),
        ),
        _tenths,
    ),
    "fairness": Scenario(
        "microseconds that requests of 99 threads wait beside a flood, less is better; and what is done of the flood, "
        "more is better",
        (
            Contestant("shardq, one flooded", "bench.fairness:one_flooded"),
            Contestant("shardq, two flooded", "bench.fairness:all_flooded"),
            Contestant("floor, no flood", "bench.fairness:quiet"),
        ),
        _tenths,
    ),
    "threads": Scenario(
        "a million requests: how many per second, more is better; memory of the segment, less is better",
        (
            Contestant("shardq, a million threads", "bench.threads:distinct"),
            Contestant("shardq, 16 threads", "bench.threads:few"),
        ),
        _tenths,
    ),
    "deferred": Scenario(
        "microseconds from a deferred request's time to its place in the tube, less is better",
        (
            Contestant("shardq, busy workers", "bench.deferred:family"),
            Contestant("floor, a timer beside them", "bench.deferred:timer"),
        ),
        _tenths,
    ),
    "pending": Scenario(
        "a million deferred requests: rates, more is better; memory and processor time, less is better",
        (
            Contestant("deferred, calls of 128", "bench.pending:deferred_by_128"),
            Contestant("floor, at once, by 128", "bench.pending:plain_by_128"),
            Contestant("deferred, one by one", "bench.pending:deferred_one_by_one"),
            Contestant("floor, at once, one by one", "bench.pending:plain_one_by_one"),
        ),
        _tenths,
    ),
    "absent": Scenario(
        "requests per second with `if_not_exists` beside 100,000 that are there, more is better",
        (
            Contestant("shardq", "bench.absent:backlog_100000"),
            Contestant("sharded-queue", "bench.ancestor:absent"),
            Contestant("floor, without if_not_exists", "bench.absent:plain"),
        ),
        _thousands,
    ),
    "absent-flat": Scenario(
        "the same by how many are there; a ratio of 1 is flat, more is better",
        (
            Contestant("1,000,000 there", "bench.absent:backlog_1000000"),
            Contestant("100,000 there", "bench.absent:backlog_100000"),
            Contestant("1,000 there", "bench.absent:backlog_1000"),
        ),
        _thousands,
    ),
}
