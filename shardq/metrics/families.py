"""All metrics there are: names, kinds, labels, meanings, and where their values come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from shardq.metrics.labels import OTHER
from shardq.metrics.looks import Look
from shardq.model import BOUNDS_S, HandlerView, Times
from shardq.version import __version__

Kind = Literal["counter", "gauge", "histogram"]


class Point(NamedTuple):
    """A value."""

    labels: tuple[str, ...]
    """Of the family's labels, in their order."""
    value: float


class Distribution(NamedTuple):
    """The values of a histogram."""

    labels: tuple[str, ...]
    buckets: tuple[tuple[float, int], ...]
    """Bounds, and how many were at most so large; the last bound is infinite."""
    total: float
    """The sum of all."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    text: str
    read: Callable[[Look], Iterable[Point | Distribution]]
    """What a look at a storage says of it. Nothing where the storage cannot tell."""


def _handlers(value: Callable[[HandlerView], float]) -> Callable[[Look], Iterator[Point]]:
    """A value of each handler."""

    def read(look: Look) -> Iterator[Point]:
        for view in look.handlers:
            yield Point((view.handler,), value(view))

    return read


def _done(look: Look) -> Iterator[Point]:
    for view in look.handlers:
        for outcome, count in (("done", view.done), ("dead", view.dead), ("cancelled", view.cancelled)):
            yield Point((view.handler, outcome), count)


def _failed(look: Look) -> Iterator[Point]:
    for view in look.handlers:
        for reason, count in view.failed.items():
            yield Point((view.handler, reason), count)


def _full(look: Look) -> Iterator[Point]:
    for view in look.handlers:
        for how, count in view.full.items():
            yield Point((view.handler, how), count)


def _waits(look: Look) -> Iterator[Distribution]:
    for view in look.handlers:
        yield _distribution(view.handler, view.wait, view.waited_s)


def _works(look: Look) -> Iterator[Distribution]:
    for view in look.handlers:
        yield _distribution(view.handler, view.work, view.busy_s)


def _queued(look: Look) -> Iterator[Point]:
    for label, its in look.waiting.items():
        yield Point((label,), its.requests)
    if _is_server(look) and not look.waiting:
        yield Point((OTHER,), look.figures["queued"])


def _oldest(look: Look) -> Iterator[Point]:
    for label, its in look.waiting.items():
        if its.lag_s is not None or not its.requests:
            yield Point((label,), its.lag_s or 0.0)


def _letters(look: Look) -> Iterator[Point]:
    for label, count in look.letters.items():
        yield Point((label,), count)
    if _is_server(look) and not look.letters:
        yield Point((OTHER,), look.figures["dead"])


def _paused(look: Look) -> Iterator[Point]:
    for label, is_paused in look.paused.items():
        yield Point((label,), int(is_paused))


def _workers(look: Look) -> Iterator[Point]:
    if not look.figures:
        return
    counts = Counter(dict.fromkeys(("busy", "idle", "stopped", "dead"), 0))
    counts.update(member.state for member in look.crew)
    for state, count in counts.items():
        yield Point((state,), count)


def _by_key(figure: str) -> Callable[[Look], Iterator[Point]]:
    """The values of a figure that has several, each by its name."""

    def read(look: Look) -> Iterator[Point]:
        values: Mapping[str, float] = look.figures.get(figure, {})
        for name, value in values.items():
            yield Point((name,), value)

    return read


def _figure(figure: str, per: float = 1) -> Callable[[Look], Iterator[Point]]:
    """A figure of the storage as a whole."""

    def read(look: Look) -> Iterator[Point]:
        value = look.figures.get(figure)
        if value is not None:
            yield Point((), value if per == 1 else value / per)

    return read


def _supervised(look: Look) -> Iterator[Point]:
    families: Iterable[Mapping[str, Any]] = look.figures.get("families", ())
    serving = any(family["state"] == "serving" and family["supervisor_pid"] for family in families)
    yield Point((), int(serving or bool(look.figures.get("supervisor_pid"))))


def _build(look: Look) -> Iterator[Point]:
    yield Point((__version__, str(look.figures.get("layout", ""))), 1)


def _is_server(look: Look) -> bool:
    return "families" in look.figures


def _distribution(label: str, times: Times, total: float) -> Distribution:
    """Whole powers of two only: half as many series, and still within a factor of two."""
    buckets, below = list[tuple[float, int]](), 0
    for place, (bound, count) in enumerate(zip(BOUNDS_S, times.buckets, strict=True)):
        below += count
        if place % 2 == 0 or place == len(BOUNDS_S) - 1:
            buckets.append((bound, below))
    return Distribution((label,), tuple(buckets), total)


_BY_HANDLER = ("handler",)

FAMILIES: tuple[Family, ...] = (
    Family(
        "shardq_requests_accepted_total",
        "counter",
        _BY_HANDLER,
        "Requests that came into their tubes.",
        _handlers(lambda view: view.accepted),
    ),
    Family(
        "shardq_requests_done_total",
        "counter",
        ("handler", "outcome"),
        "Requests that left: handled (done), made dead letters (dead), or taken out (cancelled).",
        _done,
    ),
    Family(
        "shardq_attempts_failed_total",
        "counter",
        ("handler", "reason"),
        "Attempts that failed: the handler raised, its worker died, it took too long, or it was no request.",
        _failed,
    ),
    Family(
        "shardq_batches_total",
        "counter",
        _BY_HANDLER,
        "Batches that ended, whatever became of them.",
        _handlers(lambda view: view.batches),
    ),
    Family(
        "shardq_busy_seconds_total",
        "counter",
        _BY_HANDLER,
        "For how long workers had batches in hand.",
        _handlers(lambda view: view.busy_s),
    ),
    Family(
        "shardq_queue_wait_seconds",
        "histogram",
        _BY_HANDLER,
        "For how long the oldest request of a batch had waited when it was handed out.",
        _waits,
    ),
    Family(
        "shardq_batch_duration_seconds",
        "histogram",
        _BY_HANDLER,
        "For how long a batch was in hand.",
        _works,
    ),
    Family(
        "shardq_register_full_total",
        "counter",
        ("handler", "how"),
        "Calls that found no room: they waited for it, or raised QueueFull.",
        _full,
    ),
    Family("shardq_queued_requests", "gauge", _BY_HANDLER, "Requests that wait, those in hand included.", _queued),
    Family(
        "shardq_oldest_request_age_seconds",
        "gauge",
        _BY_HANDLER,
        "How long ago the oldest request that waits, or is in hand, was accepted; 0: there is none, missing: not said.",
        _oldest,
    ),
    Family("shardq_dead_letters", "gauge", _BY_HANDLER, "Dead letters there are.", _letters),
    Family("shardq_handler_paused", "gauge", _BY_HANDLER, "1 where an operator paused the handler, else 0.", _paused),
    Family(
        "shardq_threads",
        "gauge",
        ("state",),
        "Threads that are ready for a worker, bound to one, resting after a failure, or idle.",
        _by_key("threads"),
    ),
    Family("shardq_deferred_requests", "gauge", (), "Requests that wait for their time.", _figure("deferred")),
    Family("shardq_recurrent_requests", "gauge", (), "Requests that come again and again.", _figure("recurrent")),
    Family(
        "shardq_next_due_timestamp_seconds",
        "gauge",
        (),
        "When the first of both is due, Unix time; missing where there is none.",
        _figure("next_due_us", 1e6),
    ),
    Family(
        "shardq_workers",
        "gauge",
        ("state",),
        "Workers that are busy with a batch, idle, stopped by a signal, or dead and not replaced yet.",
        _workers,
    ),
    Family(
        "shardq_worker_deaths_total",
        "counter",
        ("how",),
        "Workers that died: killed by KILL, by another signal, exited by themselves, hung and killed, or unknown.",
        _by_key("deaths"),
    ),
    Family("shardq_memory_used_bytes", "gauge", (), "Memory that the storage has in use.", _figure("used_bytes")),
    Family("shardq_memory_capacity_bytes", "gauge", (), "Memory it may use.", _figure("capacity_bytes")),
    Family("shardq_slots_used", "gauge", (), "Processes that are attached to the segment.", _figure("slots_used")),
    Family("shardq_supervisor_up", "gauge", (), "1 where a supervisor lives, else 0.", _supervised),
    Family(
        "shardq_build_info",
        "gauge",
        ("version", "layout"),
        "Always 1: versions of shardq and of the segment's layout.",
        _build,
    ),
)
