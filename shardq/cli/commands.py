"""What each command of `python -m shardq` does."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager

from shardq.cli.render import age, as_json, columns, readable, size
from shardq.connect import segment_name
from shardq.drivers.shared import SharedStorage
from shardq.errors import SegmentError
from shardq.shm import attachments
from shardq.shm.inspection import Overview, TubeView
from shardq.shm.store import Store


def status(options: argparse.Namespace) -> None:
    """Print the segment as a whole."""
    with _segment(options.url) as store:
        view = store.inspection.overview()
        rates = _rates(store, view, options.sample) if options.sample > 0 else None
    if options.json:
        workers = [worker._asdict() for worker in view.workers]
        print(as_json(view._asdict() | {"workers": workers, "rates": rates}))
        return
    supervisor = f"supervisor {view.supervisor_pid}" if view.supervisor_pid else "no supervisor"
    print(f"{options.url}: {supervisor}, {len(view.workers)} workers")
    speed = f"  ({rates['accepted']:,.0f}/s in, {rates['handled']:,.0f}/s out)" if rates else ""
    print(f"requests: {view.queued:,} queued, {view.handled:,} of {view.accepted:,} handled{speed}")
    if view.dead or view.buried:
        print(f"dead:     {view.dead:,} dead letters; {view.buried:,} requests failed for good so far")
    if view.deferred or view.recurrent:
        due_s = (view.next_due_us or 0) / 1e6 - time.time()
        when = f"; the next is due in {age(due_s)}" if due_s > 0 else "; the next is due"
        print(f"later:    {view.deferred:,} deferred, {view.recurrent:,} recurrent{when}")
    print(f"memory:   {size(view.used_bytes)} of {size(view.capacity_bytes)}")
    rows = [
        (
            str(w.number),
            str(w.pid),
            w.state,
            size(w.rss_bytes),
            w.thread or "",
            str(w.batch_count or ""),
            age(w.batch_age_s),
        )
        for w in view.workers
    ]
    print(columns(("worker", "pid", "state", "memory", "thread", "batch", "for"), rows), end="")


def tubes(options: argparse.Namespace) -> None:
    """Print the tubes that are not empty, the longest first."""
    with _segment(options.url) as store:
        views = sorted(store.inspection.tubes(), key=lambda view: -view.queued)
    shown = views[: options.limit]
    if options.json:
        print(as_json([view._asdict() for view in shown]))
        return
    rows = [
        (view.pipe, f"{view.queued:,}", age(view.oldest_age_s), _worker(view), str(view.attempts or ""))
        for view in shown
    ]
    print(columns(("tube", "queued", "oldest", "worker pid", "failed"), rows), end="")
    if len(views) > len(shown):
        print(f"and {len(views) - len(shown):,} more")


def peek(options: argparse.Namespace) -> None:
    """Print requests at the head of a tube."""
    with _segment(options.url) as store:
        batch = store.read(options.pipe, options.limit)
    requests = [readable(message) for message in batch.messages]
    if options.json:
        print(as_json(requests))
        return
    for request in requests:
        print(as_json(request))


def destroy(options: argparse.Namespace) -> None:
    """Remove a segment that nobody is attached to."""
    name = segment_name(options.url)
    try:
        with _segment(options.url) as store:
            if not store.supervision.close_if_unused(lose_requests=options.with_requests):
                raise _in_use(store, options.url)
    except SegmentError as error:
        if not attachments.is_unusable(error):
            raise
    attachments.destroy(name)


def _worker(view: TubeView) -> str:
    return "unserved" if view.unserved else str(view.worker_pid or "")


def _in_use(store: Store, url: str) -> SegmentError:
    others = len(store.supervision.others())
    if others:
        return SegmentError(f"{url} is in use by {others} processes: end them first")
    view = store.inspection.overview()
    kinds = {"deferred requests": view.deferred, "recurrent requests": view.recurrent, "dead letters": view.dead}
    others_left = [f"{number} {name}" for name, number in kinds.items() if number]
    left = " and ".join((f"{view.queued} requests", *others_left))
    return SegmentError(f"{url} has {left} left: add --with-requests to lose them")


@contextmanager
def _segment(url: str) -> Iterator[Store]:
    storage = SharedStorage.attach(segment_name(url))
    try:
        yield storage.store
    finally:
        attachments.close_store(storage.store)


def _rates(store: Store, before: Overview, seconds: float) -> dict[str, float]:
    started = time.monotonic()
    time.sleep(seconds)
    after, elapsed = store.inspection.overview(), time.monotonic() - started
    return {
        "accepted": (after.accepted - before.accepted) / elapsed,
        "handled": (after.handled - before.handled) / elapsed,
    }
