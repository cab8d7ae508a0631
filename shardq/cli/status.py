"""What `shardq status` does: it shows a storage as a whole, once or again and again."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterable, Mapping
from importlib import import_module

from shardq.cli.handlers import handlers_text
from shardq.cli.opened import observed_segment, run
from shardq.cli.pausing import pause_lines
from shardq.cli.render import age, as_json, columns, size, went
from shardq.cli.standing import standing_lines
from shardq.connect import is_redis
from shardq.drivers.shared.engine import engine_name
from shardq.drivers.shared.observing import Overview, WorkerView
from shardq.model import Counts, HandlerView
from shardq.protocols import Observer, Overviewed
from shardq.text.wording import counted, how_far

#: Requests in a second: `accepted` and `handled`. None: they were not measured.
Rates = Mapping[str, float] | None


def status(options: argparse.Namespace) -> None:
    """Print the storage as a whole."""
    if options.watch is not None:
        import_module("shardq.cli.watch").watch(options)
    elif is_redis(options.url):
        import_module("shardq.cli.server").status(options)
    else:
        _status(options)


def segment_text(url: str, view: Overview, rates: Rates, handlers: Iterable[HandlerView]) -> str:
    """A segment in lines of text."""
    supervisor = f"supervisor {view.supervisor_pid}" if view.supervisor_pid else "no supervisor"
    lines = [
        f"{url}: {supervisor}, {counted(len(view.workers), 'worker')}",
        f"requests: {view.queued:,} queued, {view.handled:,} of {view.accepted:,} handled{speed(rates)}",
        *standing_lines(view),
    ]
    if view.dead or view.buried:
        gone = f"; {went(view.evicted)}" if view.evicted else ""
        letters = counted(view.dead, "dead letter")
        lines.append(f"dead:     {letters}; {counted(view.buried, 'request')} failed for good so far{gone}")
    lines += later_lines(view.counts, view.next_due_us)
    lines += pause_lines(view.paused)
    reserve = f"{size(view.reserved_bytes)} in reserve"
    lines.append(f"memory:   {size(view.used_bytes)} of {size(view.capacity_bytes)}, {reserve}")
    lines.append(f"core:     {engine_name()} (of this command)")
    if view.guard:
        lines.append(f"guard:    {view.guard}: no other process can change the segment")
    titles = ("worker", "pid", "state", "memory", "thread", "batch", "for", "progress")
    workers = columns(titles, [_row(worker) for worker in view.workers], none="no workers")
    return "\n".join(lines) + f"\n{workers}{handlers_text(handlers)}"


def later_lines(counts: Counts, next_due_us: int | None) -> list[str]:
    """What is said of requests that wait for their time: a line, or none where there are none."""
    if not counts.deferred and not counts.recurrent:
        return []
    due_s = (next_due_us or 0) / 1e6 - time.time()
    when = f"in {age(due_s)}" if due_s > 0 else "now"
    said = f"; the next is due {when}" if next_due_us is not None else ""
    return [f"later:    {counts.deferred:,} deferred, {counts.recurrent:,} recurrent{said}"]


def speed(rates: Rates) -> str:
    """`  (120/s in, 118/s out)`."""
    return f"  ({rates['accepted']:,.0f}/s in, {rates['handled']:,.0f}/s out)" if rates else ""


def rates_of(handlers: Iterable[HandlerView]) -> Mapping[str, float]:
    """The rates of the last seconds, of all these together."""
    pairs = [(its.accepted_per_s, its.done_per_s) for its in handlers]
    return {"accepted": sum(accepted for accepted, _ in pairs), "handled": sum(done for _, done in pairs)}


def _row(worker: WorkerView) -> tuple[str, ...]:
    return (
        str(worker.number),
        str(worker.pid),
        worker.state,
        size(worker.rss_bytes),
        worker.thread or "",
        str(worker.batch_count or ""),
        age(worker.batch_age_s),
        "" if worker.done is None else how_far(worker.done, worker.total, worker.note),
    )


def _status(options: argparse.Namespace) -> None:
    with observed_segment(options.url) as observer:
        view, rates, handlers = run(figures(observer, options.sample))
    assert isinstance(view, Overview)
    if options.json:
        print(as_json(view.as_dict() | {"rates": rates, "handlers": handlers, "core": engine_name()}))
    else:
        print(segment_text(options.url, view, rates, handlers), end="")


async def figures(observer: Observer, sample_s: float | None) -> tuple[Overviewed, Rates, list[HandlerView]]:
    """The storage as it is, rates of the last seconds or measured for so long (0: none), and its handlers."""
    before, handlers = await observer.overview(), await observer.handlers()
    if sample_s is None:
        return before, rates_of(handlers), handlers
    if not sample_s:
        return before, None, handlers
    started = time.monotonic()
    await asyncio.sleep(sample_s)
    after, elapsed, former = (await observer.overview()).counts, time.monotonic() - started, before.counts
    rates = {
        "accepted": (after.accepted - former.accepted) / elapsed,
        "handled": (after.handled - former.handled) / elapsed,
    }
    return before, rates, handlers
