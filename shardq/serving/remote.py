"""A storage on a server, and its workers: what a supervisor opens, hands to its workers and leaves."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Collection, Sequence
from functools import partial

from shardq.connect import signpost
from shardq.drivers.redis.connecting import storage_of
from shardq.drivers.redis.news import News
from shardq.drivers.redis.progress import Teller, WorkTeller
from shardq.drivers.redis.supervised import SupervisedServer, ask_renewal, join
from shardq.drivers.redis.verbs.owners import Family
from shardq.drivers.shared import contents
from shardq.handler import drive
from shardq.queue import Queue
from shardq.serving import lifecycle
from shardq.settings import SupervisorSettings
from shardq.supervisor.output.telling import tell
from shardq.supervisor.wishes.reload import Resumption
from shardq.supervisor.workers.renewal import Wear
from shardq.working.hooks import Hooks
from shardq.working.worker import Worker

#: Seconds for which a supervisor tries to reach the server when it starts.
_PATIENCE_S = 5.0
#: Seconds after which it gives up a server that says nothing: meanwhile it hears nothing else.
_SILENT_S = 3.0


def opened(
    url: str,
    settings: SupervisorSettings,
    options: argparse.Namespace,
    handlers: Collection[str],
    resumption: Resumption | None,
) -> SupervisedServer:
    """The storage, as its supervisor sees it. At a start it raises `StorageUnavailable`, `StorageRefused` and
    `StorageMoved`. After a reload there are workers, and the supervisor waits for the server as they do.
    """
    news = News(resumption.lock, resumption.slot) if resumption else News()
    if resumption:
        os.set_inheritable(news.reader, False)
        os.set_inheritable(news.writer, False)
    news.open()
    storage = storage_of(url, silent_s=_SILENT_S)
    storage.importable_only = not options.main
    storage.server.most_patience_s = _PATIENCE_S
    if not resumption:
        drive(storage.server.layout())
        drive(storage.check_stays())
    supervised = SupervisedServer(
        storage,
        handlers,
        deferred=settings.deferred,
        drains=settings.drain,
        news=news,
        workers=resumption.members if resumption else None,
        family=Family.named(resumption.family) if resumption else None,
    )
    if not resumption:
        supervised.announce()  # else a family that ends meanwhile says that no family goes on with what it leaves
        storage.server.hang_up()  # with a connection open workers could not be forked
    return supervised


def leave(supervised: SupervisedServer, url: str, targets: Sequence[str]) -> None:
    """Part from the storage, and say how to go on with what is left in it, where no other family serves it."""
    left = supervised.leave()
    supervised.close()
    if left and contents.in_words(left):
        tell(f"shardq.supervise: {lifecycle.what_stays(signpost(url), targets, left, ())}", sys.stderr)


def executed_worker_of(url: str, settings: SupervisorSettings, options: argparse.Namespace) -> Callable[[], Worker]:
    """What makes the worker of this process, which its supervisor executed: see `arguments_of`."""
    return _worker_of(
        url, settings, options, News(writer=options.news), Family.named(options.family), options.as_worker
    )


def forked_worker_of(
    url: str, settings: SupervisorSettings, options: argparse.Namespace, supervised: SupervisedServer, number: int
) -> Callable[[], Worker]:
    """What makes the worker of this process, which its supervisor forked."""
    make = _worker_of(url, settings, options, supervised.news, supervised.family, number)

    def make_apart() -> Worker:
        supervised.part()
        return make()

    return make_apart


def arguments_of(supervised: SupervisedServer) -> list[str]:
    """What a supervisor gives to a worker that it is about to execute in this forked child."""
    os.set_inheritable(supervised.news.writer, True)
    return ["--news", str(supervised.news.writer), "--family", str(supervised.family)]


def _worker_of(
    url: str, settings: SupervisorSettings, options: argparse.Namespace, news: News, family: Family, number: int
) -> Callable[[], Worker]:
    def make() -> Worker:
        storage = storage_of(url)
        storage.importable_only = not options.main
        lock = join(storage, news, family, number)
        if settings.progress and not settings.drain:
            storage.turning.note_work = WorkTeller(news).note
        hooks = Hooks(renews=False, progress=Teller(news).note)
        if settings.max_requests or settings.max_rss:
            wear = Wear(settings.max_requests, settings.max_rss_bytes, partial(ask_renewal, news))
            hooks = hooks._replace(after_batch=wear.after_batch)
        return Worker(lock, Queue(storage), hooks=hooks)

    return make
