"""The workers of a supervisor: how a forked child becomes one, and how a process that was executed for it does."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from shardq.connect import is_redis, segment_name
from shardq.drivers.shared.membership import ask_renewal, join, progress_of, take_worker_slot
from shardq.drivers.shared.storage import SharedLock, SharedStorage
from shardq.functions import proofs
from shardq.handler import Handler
from shardq.queue import Queue
from shardq.serving import lifecycle
from shardq.settings import SupervisorSettings
from shardq.supervisor.code.init import Init
from shardq.supervisor.code.launch import APPLICATION_ARGV, FUNCTIONS_KEY, SERVER_URL
from shardq.supervisor.code.sharing import unshareable
from shardq.supervisor.code.threads import ThreadWatch, threads
from shardq.supervisor.workers.child import OPENED_TO_SERVE, RunWorker, execute_worker, run_worker
from shardq.supervisor.workers.renewal import Wear
from shardq.system.descriptors import check_left
from shardq.working.hooks import Hooks
from shardq.working.worker import Worker

if TYPE_CHECKING:
    from shardq.drivers.redis.supervised import SupervisedServer

log = logging.getLogger("shardq.supervisor")


class Assignment(NamedTuple):
    """What a supervisor has its workers do."""

    options: argparse.Namespace
    settings: SupervisorSettings
    url: str
    handlers: dict[str, type[Handler[Any]]]
    watch: ThreadWatch
    """Which imported modules started threads."""


def init_of(settings: SupervisorSettings) -> Init | None:
    """What a worker calls before it serves."""
    return Init(settings.init) if settings.init else None


#: Settings that a worker does not have.
_OF_SUPERVISOR = ("workers", "drain", "stale", "capacity", "metrics", "web")


def runner(
    assignment: Assignment,
    worker_of: Callable[[int], Callable[[], Worker]],
    server: SupervisedServer | None = None,
) -> RunWorker:
    """The function that makes a forked child a worker: as it is, or by executing Python where a fork is not safe."""
    options, settings, url, handlers, watch = assignment
    init = init_of(settings)

    def become(number: int, life: int, close: Sequence[int]) -> NoReturn:
        make = init.before(worker_of(number)) if init else worker_of(number)
        run_worker(make, handlers, life, close, settings.shutdown_timeout)

    def execute(number: int, life: int, close: Sequence[int]) -> NoReturn:
        extra = ["--as-worker", str(number), "--life", str(life)]
        if server:
            from shardq.serving import remote

            extra += remote.arguments_of(server)
            os.environ[SERVER_URL] = url
        else:
            extra += ["--url", url]
        if proofs.key:
            os.environ[FUNCTIONS_KEY] = proofs.key
        extra += settings.options(skip=("url", *_OF_SUPERVISOR))
        for name in SupervisorSettings.variables_of(*_OF_SUPERVISOR):
            del os.environ[name]  # the command line went before it, and it may be unusable
        if options.application_argv:
            os.environ[APPLICATION_ARGV] = options.application_argv
        extra += ["--main", options.main] if options.main else []
        execute_worker([*options.targets, *extra], life, close)

    shared = unshareable((options.control,))
    if shared:
        log.info(
            "imports made what workers cannot share: workers are executed, not forked",
            extra={"what": ", ".join(shared)},
        )
        return execute
    if (running := threads()) == 1:
        return become
    log.info(
        "imports started threads: workers are executed, not forked",
        extra={"threads": running, "modules": ", ".join(watch.modules)},
    )
    return execute


def work(assignment: Assignment) -> NoReturn:
    """Be a worker, as the process that the supervisor executed for it."""
    options, settings, _, handlers, _ = assignment
    make, init = _executed_worker(assignment), init_of(settings)
    make = init.before(make) if init else make
    run_worker(make, handlers, options.life, (), settings.shutdown_timeout, forked=False)


def _executed_worker(assignment: Assignment) -> Callable[[], Worker]:
    """What makes the worker of this process, which its supervisor executed."""
    options, settings, url, *_ = assignment
    if not is_redis(url):
        return worker_of_segment(lifecycle.adopt(segment_name(url), None, options), settings, options.as_worker)
    from shardq.serving import remote

    return remote.executed_worker_of(url, settings, options)


def worker_of_segment(storage: SharedStorage, settings: SupervisorSettings, number: int) -> Callable[[], Worker]:
    """What makes the worker of this process, which has this number in its family."""

    def make() -> Worker:
        storage.limit_waits(None)
        take_worker_slot(storage)  # it closes descriptors that were inherited from the supervisor
        check_left(OPENED_TO_SERVE, "start a worker")
        join(storage, number)
        hooks = Hooks(progress=progress_of(storage))
        if settings.max_requests or settings.max_rss:
            wear = Wear(settings.max_requests, settings.max_rss_bytes, partial(ask_renewal, storage))
            hooks = hooks._replace(after_batch=wear.after_batch)
        return Worker(SharedLock(storage), Queue(storage), hooks=hooks)

    return make
