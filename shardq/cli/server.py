"""What the commands of `python -m shardq` do for a storage on a server that they do otherwise for a segment."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from shardq.cli.handlers import handlers_text
from shardq.cli.opened import PATIENCE_S, run
from shardq.cli.pausing import pause_lines
from shardq.cli.render import age, as_json, columns, size, tell_wrongs, went
from shardq.cli.standing import standing_lines
from shardq.cli.status import Rates, figures, later_lines, speed
from shardq.connect import without_secrets
from shardq.drivers.redis.check import wrongs
from shardq.drivers.redis.connecting import storage_of
from shardq.drivers.redis.families import FamilyView
from shardq.drivers.redis.observing import RedisObserver
from shardq.drivers.redis.overview import Overview, overview_of
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.shared.contents import in_words
from shardq.errors import StorageInUse
from shardq.model import KEPT_PIPE, HandlerView
from shardq.text.wording import counted, how_far

#: Seconds after which a command gives up a server that says nothing. It may have to read a large storage first.
_SILENT_S = 10.0

_FAMILY_TITLES = ("host", "supervisor", "workers", "state", "heard", "for")
_WORKER_TITLES = ("host", "supervisor", "worker", "thread", "batch", "for", "progress")


@contextmanager
def opened(url: str) -> Iterator[RedisStorage]:
    """The storage, connected to when it is first asked."""
    storage = _storage(url)
    try:
        yield storage
    finally:
        storage.server.close()


def observer_of(url: str) -> RedisObserver:
    """What looks at the storage, until it is closed."""
    return RedisObserver(_storage(url))


@contextmanager
def observed(url: str) -> Iterator[RedisObserver]:
    """What looks at the storage."""
    with opened(url) as storage:
        yield RedisObserver(storage)


def status(options: argparse.Namespace) -> None:
    """Print the storage as a whole."""
    with observed(options.url) as observer:
        view, rates, handlers = run(figures(observer, options.sample))
    assert isinstance(view, Overview)
    if options.json:
        print(as_json(view.as_dict() | {"rates": rates, "handlers": handlers}))
    else:
        print(status_text(options.url, view, rates, handlers), end="")


def status_text(url: str, view: Overview, rates: Rates, handlers: Iterable[HandlerView]) -> str:
    """A storage on a server in lines of text."""
    served = f"{counted(len(view.families), 'family', 'families')}, {counted(len(view.workers), 'worker')}"
    lines = [
        f"{without_secrets(url)}: {served}, {view.sleepers:,} waiting",
        f"requests: {view.queued:,} queued, {view.handled:,} of {view.accepted:,} handled{speed(rates)}",
        *standing_lines(view),
    ]
    if view.dead or view.buried:
        gone = f"; {went(view.evicted)}" if view.evicted else ""
        lines.append(f"dead:     {counted(view.dead, 'dead letter')}; {view.buried:,} failed for good so far{gone}")
    lines += later_lines(view.counts, view.next_due_us)
    lines += pause_lines(view.paused)
    lines.append(f"messages: {size(view.used_bytes)}")
    families = columns(_FAMILY_TITLES, list(map(_row, view.families)), none="no family serves it")
    workers = columns(_WORKER_TITLES, list(_workers(view.families))) if view.workers else ""
    return "\n".join(lines) + f"\n{families}{workers}{handlers_text(handlers)}"


def _row(family: FamilyView) -> tuple[str, ...]:
    heard, there = _span(family.heard_s), _span(family.age_s)
    return family.host, _supervisor(family), str(len(family.workers)), family.state, heard, there


def _workers(families: Iterable[FamilyView]) -> Iterator[tuple[str, ...]]:
    """A row for each worker that is not gone, and for each thread of one that has several."""
    for family in families:
        for worker in family.workers if family.state != "gone" else ():
            who = family.host, _supervisor(family), str(worker.pid)
            for its in worker.threads:
                far = "" if its.done is None else how_far(its.done, its.total, its.note)
                yield (*who, its.thread, str(its.in_hand or ""), _span(its.age_s), far)
            if not worker.threads:
                yield (*who, "", "", "", "")


def _supervisor(family: FamilyView) -> str:
    return "none" if family.supervisor_pid is None else str(family.supervisor_pid)


def _span(seconds: float | None) -> str:
    return "" if seconds is None else age(seconds)


def destroy(options: argparse.Namespace) -> None:
    """Remove a storage that no family serves, with all in it. Raises `StorageInUse`."""
    run(_destroyed(options))
    if options.json:
        print(as_json({"destroyed": without_secrets(options.url)}))


def check(options: argparse.Namespace) -> None:
    """Print what is wrong with the storage. Raises `StorageDamaged` where something is."""
    tell_wrongs(run(_wrongs(options)), without_secrets(options.url), json=options.json)


def _storage(url: str) -> RedisStorage:
    storage = storage_of(url, silent_s=_SILENT_S)
    storage.server.most_patience_s = PATIENCE_S
    return storage


async def _destroyed(options: argparse.Namespace) -> None:
    with opened(options.url) as storage:
        view, url = await overview_of(storage), without_secrets(options.url)
        if view.in_use:
            raise StorageInUse(f"{url} is in use by {_users(view.families)}: end them first")
        left = in_words(view.counts)
        if await storage.length(KEPT_PIPE):
            left.append("results that are kept")
        if left and not options.with_requests:
            raise StorageInUse(f"{url} has {', '.join(left)} left: add --with-requests to lose them")
        await storage.server.destroy()


def _users(families: Iterable[FamilyView]) -> str:
    return ", ".join(
        f"supervisor {family.supervisor_pid} on {family.host}"
        if family.supervisor_pid
        else f"process {family.workers[0].pid} on {family.host}"
        for family in families
        if family.state == "serving"
    )


async def _wrongs(options: argparse.Namespace) -> list[str]:
    with opened(options.url) as storage:
        return await wrongs(storage.server)
