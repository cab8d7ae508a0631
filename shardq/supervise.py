"""`python -m shardq.supervise`: serve handlers with worker processes, over a shared-memory segment."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from shardq.connect import segment_name
from shardq.drivers.shared import SharedLock, SharedStorage
from shardq.errors import (
    ConfigurationError,
    HandlerError,
    SegmentError,
    SegmentExists,
    SegmentMissing,
    SegmentNotReady,
    SupervisorError,
    SupervisorRunning,
)
from shardq.handler import Handler
from shardq.model import key_of, split_key
from shardq.queue import Queue
from shardq.settings import SupervisorSettings
from shardq.supervisor import logs
from shardq.supervisor.child import execute_worker, run_worker
from shardq.supervisor.control import Control
from shardq.supervisor.exits import Exit
from shardq.supervisor.family import Family, RunWorker
from shardq.supervisor.handlers import load_handlers
from shardq.supervisor.signals import Signals
from shardq.supervisor.standby import await_succession
from shardq.worker import Worker

log = logging.getLogger("shardq.supervisor")

#: Which exit code an error that ends the command has.
_EXITS: dict[type[Exception], Exit] = {
    ConfigurationError: Exit.USAGE,
    HandlerError: Exit.BOOT,
    SupervisorRunning: Exit.RUNNING,
    SupervisorError: Exit.BOOT,
    SegmentError: Exit.SEGMENT,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    control = None if options.control is None else Control(options.control)
    try:
        return _supervise(options, _settings(options), control)
    except tuple(_EXITS) as error:
        code = next(code for kind, code in _EXITS.items() if isinstance(error, kind))
        if control:
            control.tell(error=str(error), code=code)
        else:
            print(f"shardq.supervise: {error}", file=sys.stderr)
        return code


def _supervise(options: argparse.Namespace, settings: SupervisorSettings, control: Control | None) -> Exit:
    logs.configure(settings.log_level, as_json=settings.json_output)
    url = settings.url or _default_url(options.targets[0])
    handlers = load_handlers(options.targets, options.main)
    if options.as_worker is not None:
        return _work(options, _adopt(segment_name(url), None, options), handlers)
    with Signals() as signals:
        storage = _open(segment_name(url), settings.capacity_bytes, options)
        if not storage.store.supervision.become_supervisor() and not (
            options.standby and control and await_succession(_SegmentBoard(storage, handlers), control, signals, url)
        ):
            storage.store.leave()
            if options.standby:
                return Exit.OK
            raise SupervisorRunning(f"another supervisor serves {url}: stop it first, or choose another --url")
        log.info("serving", extra={"url": url, "workers": settings.workers, "handlers": ", ".join(handlers)})
        if control:
            control.tell(serving=url)
        board, run = _SegmentBoard(storage, handlers), _runner(options, url, storage, handlers)
        how = Family(board, run, settings, control=control).run(signals)
        _leave(storage, url, options.targets)
    return how


def _settings(options: argparse.Namespace) -> SupervisorSettings:
    """What was given on the command line, over what the environment says."""
    given = {name: getattr(options, name) for name in SupervisorSettings.model_fields}
    return SupervisorSettings(**{name: value for name, value in given.items() if value is not None})


def _default_url(target: str) -> str:
    module = target.partition(":")[0]
    return f"shm://{re.sub(r'[^A-Za-z0-9_.-]', '-', module)[-30:]}"


def _open(name: str, capacity_bytes: int | None, options: argparse.Namespace) -> SharedStorage:
    """Adopt the segment with everything in it, or create it."""
    try:
        return _adopt(name, capacity_bytes, options)
    except (SegmentMissing, SegmentNotReady):
        pass
    try:
        return _for_handlers(SharedStorage.create(name, capacity_bytes, private=options.private), options)
    except SegmentExists:
        return _adopt(name, capacity_bytes, options)  # somebody was faster


def _adopt(name: str, capacity_bytes: int | None, options: argparse.Namespace) -> SharedStorage:
    storage = SharedStorage.attach(name)
    has = storage.store.segment.layout.capacity_bytes
    if capacity_bytes not in (None, has):
        log.warning("segment keeps the capacity it has", extra={"segment": name, "capacity_bytes": has})
    return _for_handlers(storage, options)


def _for_handlers(storage: SharedStorage, options: argparse.Namespace) -> SharedStorage:
    """With handlers of a script, let them register follow-ups for one another: all who serve know the script."""
    storage.importable_only = not options.main
    return storage


def _runner(
    options: argparse.Namespace, url: str, storage: SharedStorage, handlers: dict[str, type[Handler[Any]]]
) -> RunWorker:
    """How a forked child becomes a worker: as it is, or by executing Python anew where a fork would not be safe."""

    def become(number: int, life: int, close: Sequence[int]) -> NoReturn:
        run_worker(_worker_of(storage, number), handlers, life, close)

    def execute(number: int, life: int, close: Sequence[int]) -> NoReturn:
        extra = ["--as-worker", str(number), "--life", str(life), "--url", url]
        execute_worker([*options.targets, *(["--main", options.main] if options.main else []), *extra], life, close)

    if threading.active_count() == 1 and len(os.listdir("/proc/self/task")) == 1:
        return become
    log.info("imports started threads: workers are executed, not forked", extra={"threads": threading.active_count()})
    return execute


def _work(options: argparse.Namespace, storage: SharedStorage, handlers: dict[str, type[Handler[Any]]]) -> NoReturn:
    run_worker(_worker_of(storage, options.as_worker), handlers, options.life, ())


def _worker_of(storage: SharedStorage, number: int) -> Callable[[], Worker]:
    def make() -> Worker:
        storage.store.mark_worker(number)
        return Worker(SharedLock(storage), Queue(storage))

    return make


def _leave(storage: SharedStorage, url: str, targets: Sequence[str]) -> None:
    """Remove the segment if nothing is left in it and nobody uses it; otherwise say how to go on."""
    store = storage.store
    if store.supervision.close_if_unused() or store.supervision.private:
        storage.destroy()
        return
    counts = store.counts()
    parts = {
        "requests": counts.accepted - counts.handled,
        "dead letters": counts.dead,
        "processes": len(store.supervision.others()),
    }
    what = ", ".join(f"{number} {name}" for name, number in parts.items() if number) + " stay"
    print(
        f"shardq.supervise: {what} in {url}: "
        f"`python -m shardq.supervise {' '.join(targets)} --url {url}` goes on with it",
        file=sys.stderr,
    )
    store.leave()


class _SegmentBoard:
    """A segment as the supervisor sees it."""

    def __init__(self, storage: SharedStorage, handlers: dict[str, type[Handler[Any]]]) -> None:
        self._store = storage.store
        self._handlers = handlers

    def become_supervisor(self) -> bool:
        return self._store.supervision.become_supervisor()

    def supervisor_pid(self) -> int:
        return self._store.supervision.supervisor_pid()

    def bell(self) -> int:
        return self._store.doorbell.open()

    def silence(self) -> None:
        self._store.doorbell.silence()

    def quiet(self) -> bool:
        return self._store.waiting.quiet()

    def totals(self) -> tuple[int, int]:
        counts = self._store.counts()
        return counts.accepted, counts.handled

    def only_unserved(self) -> list[str]:
        pipes = self._store.pipes()
        return [] if any(split_key(key_of(pipe))[0] in self._handlers for pipe in pipes) else pipes

    def wake_workers(self) -> None:
        self._store.supervision.ring_sleepers()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m shardq.supervise",
        description="Serve handlers with worker processes over a shared-memory segment.",
        epilog="Exit codes: " + ", ".join(f"{code.value} {code.name.lower().replace('_', ' ')}" for code in Exit),
    )
    parser.add_argument("targets", nargs="+", metavar="MODULE[:Handler]", help="whose handlers to serve")
    prefix = SupervisorSettings.model_config.get("env_prefix")
    for name, option in SupervisorSettings.option_names().items():
        field = SupervisorSettings.model_fields[name]
        text = f"{' '.join((field.description or '').split())} Environment: {prefix}{option.upper()}"
        flag = {"action": "store_const", "const": True} if field.annotation is bool else {"metavar": option.upper()}
        parser.add_argument(f"--{option.replace('_', '-')}", dest=name, help=text.replace("%", "%%"), **flag)
    # What an application that embeds a supervisor says to it.
    parser.add_argument("--control", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--private", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--standby", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--main", help=argparse.SUPPRESS)
    # What a supervisor says to a worker that it executes.
    parser.add_argument("--as-worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--life", type=int, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
