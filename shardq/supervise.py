"""`python -m shardq.supervise`: serve handlers with worker processes, over a shared-memory segment."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, NoReturn

from shardq.connect import segment_name
from shardq.drivers.shared import SharedLock, SharedStorage
from shardq.errors import (
    ConfigurationError,
    HandlerError,
    SegmentBusy,
    SegmentError,
    SegmentExists,
    SegmentMissing,
    SegmentNotReady,
    SupervisorError,
    SupervisorRunning,
)
from shardq.handler import Handler
from shardq.leftovers import leftovers, what_stays
from shardq.printable import printable
from shardq.queue import Queue
from shardq.segment_board import PATIENCE_S, SegmentBoard
from shardq.settings import SupervisorSettings, check_environment
from shardq.shm.attachments import destroy_abandoned
from shardq.shm.names import LONGEST_NAME
from shardq.shm.refusals import advice
from shardq.shm.shares import Share
from shardq.supervisor import logs, standard
from shardq.supervisor.child import execute_worker, run_worker
from shardq.supervisor.control import Control
from shardq.supervisor.exits import Exit
from shardq.supervisor.family import ExecuteAgain, Family, RunWorker
from shardq.supervisor.forked import give_defaults_to_children
from shardq.supervisor.handlers import load_handlers
from shardq.supervisor.launch import MARK
from shardq.supervisor.output import tell
from shardq.supervisor.program import Program
from shardq.supervisor.reload import PROBE, RESUME, Resumption, execute_again, resume_later
from shardq.supervisor.renewal import Wear
from shardq.supervisor.sharing import unshareable
from shardq.supervisor.signals import Signals, end_when_told, hold_back_wishes
from shardq.supervisor.standby import await_succession
from shardq.supervisor.terminal import Terminal
from shardq.supervisor.threads import ThreadWatch, threads
from shardq.version import __version__
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


class Origin(NamedTuple):
    """What this process was started as, before imported modules can change anything."""

    program: Program
    terminal: Terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    standard.open_missing()
    os.environ.pop(MARK, None)  # before anything runs that would inherit it
    options = _parser().parse_args(arguments)
    hold_back_wishes()
    give_defaults_to_children()
    origin = Origin(Program.of_this_process(RESUME), Terminal.of_this_process())
    # A probe has not inherited it: the line is its supervisor's.
    control = None if options.control is None or options.probe else Control.open(options.control, options.application)
    try:
        return _supervise(options, _settings(options), control, origin)
    except tuple(_EXITS) as error:
        return _told(str(error), next(code for kind, code in _EXITS.items() if isinstance(error, kind)), control)
    except OSError as error:
        if (what_to_do := advice(error)) is None:
            raise
        return _told(f"cannot serve: {what_to_do}", Exit.SEGMENT, control)
    finally:
        standard.let_go()
        if control:
            control.close()


def _told(reason: str, code: Exit, control: Control | None) -> Exit:
    """Say why nothing is served: to the application that embeds this supervisor, or to who reads its output."""
    if control:
        control.tell(error=reason, code=code)
    else:
        tell("shardq.supervise: " + printable(reason, keep="\n\t"), sys.stderr)
    return code


def _supervise(
    options: argparse.Namespace, settings: SupervisorSettings, control: Control | None, origin: Origin
) -> Exit:
    logs.configure(settings.log_level, as_json=settings.json_output)
    check_environment()
    url = settings.url or _default_url(options.targets[0])
    if options.as_worker is not None:
        end_when_told()
    watch, resumption = ThreadWatch(), Resumption.decoded(options.resume) if options.resume else None
    handlers = _handlers(options, settings, origin.program, resumption, watch)
    if options.probe:
        return Exit.OK
    if options.as_worker is not None:
        return _work(options, settings, _adopt(segment_name(url), None, options), handlers)
    with Signals() as signals:
        if resumption:
            storage = _resume(segment_name(url), resumption, options)
        else:
            claimed = _claimed(url, settings, options, handlers, control, signals)
            if claimed is None:
                return Exit.OK
            storage = _without_leftovers(claimed, settings, options)
            log.info("serving", extra={"url": url, "workers": settings.workers, "handlers": ", ".join(handlers)})
        board = SegmentBoard(storage, handlers, deferred=settings.deferred)
        run = _runner(options, settings, url, storage, handlers, watch)
        try:
            terminal = resumption.terminal if resumption else origin.terminal
            again = _again(storage, origin.program)
            return Family(board, run, again, settings, origin.program, control, resumption, terminal).run(signals)
        finally:
            _leave(storage, url, options.targets)


def _handlers(
    options: argparse.Namespace,
    settings: SupervisorSettings,
    program: Program,
    resumption: Resumption | None,
    watch: ThreadWatch,
) -> dict[str, type[Handler[Any]]]:
    try:
        return load_handlers(options.targets, options.main, settings.preloaded, watch)
    except (SupervisorError, HandlerError) as error:
        if resumption:
            log.error("the new code does not import any more, trying again", extra={"error": str(error)})
            resume_later(program, resumption, settings.shutdown_timeout)
        raise


def _claimed(
    url: str,
    settings: SupervisorSettings,
    options: argparse.Namespace,
    handlers: dict[str, type[Handler[Any]]],
    control: Control | None,
    signals: Signals,
) -> SharedStorage | None:
    """The segment, with this process as its supervisor. None: nobody wants it to be that any more. Raises
    `SupervisorRunning`.
    """
    name = segment_name(url)
    while True:
        storage = _open(name, settings, options)
        mine = storage.store.supervision.become_supervisor()
        if not mine and options.standby and control:
            mine = await_succession(SegmentBoard(storage, handlers), control, signals, url)
        if mine and not storage.store.segment.removed:
            return storage
        storage.detach()
        if mine:
            continue  # who served it removed it in the moment in which this process attached
        if not options.standby:
            raise SupervisorRunning(f"another supervisor serves {url}: stop it first, or choose another --url")
        _remove_if_unused(name)
        return None


def _remove_if_unused(name: str) -> bool:
    """For who has let go of the segment, and left it because of others: they may have done the same at that moment,
    each of them because of this one. Returns whether it is gone.
    """
    try:
        storage = SharedStorage.attach(name, share=Share.FAMILY)
    except SegmentMissing:
        return True
    except SegmentError:
        return False
    storage.limit_waits(PATIENCE_S)
    try:
        last = storage.store.supervision.last_to_leave()
    except SegmentBusy:
        last = False
    if last:
        storage.destroy()
    else:
        storage.detach()
    return last


def _resume(name: str, resumption: Resumption, options: argparse.Namespace) -> SharedStorage:
    storage = SharedStorage.resume(name, resumption.lock, resumption.slot)
    storage.store.supervision.become_supervisor()
    return _for_handlers(storage, options)


def _again(storage: SharedStorage, program: Program) -> ExecuteAgain:
    """How this process executes itself anew without giving up its place."""

    def again(left: Resumption, keep: Sequence[int]) -> NoReturn:
        lock, slot = storage.store.hold
        execute_again(program, left._replace(lock=lock, slot=slot), keep)

    return again


def _without_leftovers(
    storage: SharedStorage, settings: SupervisorSettings, options: argparse.Namespace
) -> SharedStorage:
    """The storage, or with `--stale sweep` a new one in its place. Says what it found."""
    left, name = leftovers(storage.store), storage.name
    found: dict[str, object] = {"segment": name, **left._asdict()}
    if not any(left):
        return storage
    if settings.stale == "adopt":
        log.info("segment adopted", extra=found)
        return storage
    if not storage.store.supervision.close_if_unused(lose_requests=True):
        pids = ", ".join(map(str, storage.store.supervision.other_pids()))
        raise SegmentError(
            f"segment {name!r} cannot be swept while processes {pids} are attached to it: end them first"
        )
    capacity_bytes = storage.store.segment.layout.capacity_bytes
    storage.destroy()
    log.warning("segment swept", extra=found)
    storage = _for_handlers(
        SharedStorage.create(
            name, settings.capacity_bytes or capacity_bytes, private=options.private, share=Share.FAMILY
        ),
        options,
    )
    if not storage.store.supervision.become_supervisor():
        raise SupervisorRunning(f"another supervisor took segment {name!r} while this one swept it")
    return storage


def _settings(options: argparse.Namespace) -> SupervisorSettings:
    """What was given on the command line, over what the environment says."""
    given = {name: getattr(options, name) for name in SupervisorSettings.model_fields}
    given["preload"] = ",".join(options.preload) if options.preload else None
    return SupervisorSettings(**{name: value for name, value in given.items() if value is not None})


def _default_url(target: str) -> str:
    """`shm://` and the module's name. One that cannot name a segment, or is too long to, is named by its end and a
    digest: no two modules may come to share a segment by that.
    """
    module = target.partition(":")[0]
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", module)
    if name != module or len(name) > LONGEST_NAME:
        digest = blake2b(module.encode(), digest_size=4).hexdigest()
        name = f"{name[len(digest) + 1 - LONGEST_NAME :]}-{digest}"
    return f"shm://{name}"


def _open(name: str, settings: SupervisorSettings, options: argparse.Namespace) -> SharedStorage:
    """Adopt the segment with everything in it, or create it."""
    capacity_bytes = settings.capacity_bytes
    if options.private:
        for abandoned in destroy_abandoned():
            log.info("abandoned segment removed", extra={"segment": abandoned})
    try:
        return _adopt(name, capacity_bytes, options)
    except (SegmentMissing, SegmentNotReady):
        pass
    try:
        storage = SharedStorage.create(name, capacity_bytes, private=options.private, share=Share.FAMILY)
        return _for_handlers(storage, options)
    except SegmentExists:
        return _adopt(name, capacity_bytes, options)  # somebody was faster


def _adopt(name: str, capacity_bytes: int | None, options: argparse.Namespace) -> SharedStorage:
    storage = SharedStorage.attach(name, share=Share.FAMILY)
    has = storage.store.segment.layout.capacity_bytes
    if capacity_bytes not in (None, has):
        log.warning("segment keeps the capacity it has", extra={"segment": name, "capacity_bytes": has})
    return _for_handlers(storage, options)


def _for_handlers(storage: SharedStorage, options: argparse.Namespace) -> SharedStorage:
    """With handlers of a script, let them register follow-ups for one another: all who serve know the script. And wait
    for nobody without an end: a supervisor has to hear signals.
    """
    storage.importable_only = not options.main
    storage.limit_waits(PATIENCE_S)
    return storage


def _runner(
    options: argparse.Namespace,
    settings: SupervisorSettings,
    url: str,
    storage: SharedStorage,
    handlers: dict[str, type[Handler[Any]]],
    watch: ThreadWatch,
) -> RunWorker:
    """How a forked child becomes a worker: as it is, or by executing Python anew where a fork would not be safe."""

    def become(number: int, life: int, close: Sequence[int]) -> NoReturn:
        run_worker(_worker_of(storage, number, settings), handlers, life, close, settings.shutdown_timeout)

    def execute(number: int, life: int, close: Sequence[int]) -> NoReturn:
        extra = ["--as-worker", str(number), "--life", str(life), "--url", url]
        extra += settings.options(skip=("url", "workers", "drain", "stale", "capacity"))
        execute_worker([*options.targets, *(["--main", options.main] if options.main else []), *extra], life, close)

    shared = unshareable((options.control,))
    if shared:
        log.info("imports made what workers cannot share: they are executed", extra={"what": ", ".join(shared)})
        return execute
    if (running := threads()) == 1:
        return become
    log.info(
        "imports started threads: workers are executed, not forked",
        extra={"threads": running, "modules": ", ".join(watch.modules)},
    )
    return execute


def _work(
    options: argparse.Namespace,
    settings: SupervisorSettings,
    storage: SharedStorage,
    handlers: dict[str, type[Handler[Any]]],
) -> NoReturn:
    make = _worker_of(storage, options.as_worker, settings)
    run_worker(make, handlers, options.life, (), settings.shutdown_timeout, forked=False)


def _worker_of(storage: SharedStorage, number: int, settings: SupervisorSettings) -> Callable[[], Worker]:
    def make() -> Worker:
        storage.limit_waits(None)
        storage.store.mark_worker(number)
        worker = Worker(SharedLock(storage), Queue(storage))
        if settings.max_requests or settings.max_rss:
            wear = Wear(settings.max_requests, settings.max_rss_bytes, storage.store.ask_renewal)
            worker.after_batch = wear.after_batch
        return worker

    return make


def _leave(storage: SharedStorage, url: str, targets: Sequence[str]) -> None:
    """Remove the segment if nothing is left in it and nobody uses it; otherwise say how to go on."""
    store = storage.store
    try:
        unused = store.supervision.close_if_unused()
    except SegmentBusy as busy:
        unused = False
        print(f"shardq.supervise: {busy}", file=sys.stderr)
    if unused or store.supervision.private:
        storage.destroy()
        return
    pids, left = store.supervision.other_pids(), leftovers(store)
    storage.detach()
    if left.words or not _remove_if_unused(storage.name):
        tell(f"shardq.supervise: {what_stays(url, targets, left, pids)}", sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m shardq.supervise",
        description="Serve handlers with worker processes over a shared-memory segment.",
        epilog="Exit codes: " + ", ".join(f"{code.value} {code.name.lower().replace('_', ' ')}" for code in Exit),
    )
    parser.add_argument("--version", action="version", version=f"shardq {__version__}")
    parser.add_argument("targets", nargs="+", metavar="MODULE[:Handler]", help="whose handlers to serve")
    prefix = SupervisorSettings.model_config.get("env_prefix")
    for name, option in SupervisorSettings.option_names().items():
        field = SupervisorSettings.model_fields[name]
        text = f"{' '.join((field.description or '').split())} Environment: {prefix}{option.upper()}"
        flag: dict[str, Any] = {"metavar": option.upper()}
        if field.annotation is bool:
            flag = {"action": "store_const", "const": True}
        elif name == "preload":
            flag = {"metavar": "MODULE", "action": "append"}
        parser.add_argument(f"--{option.replace('_', '-')}", dest=name, help=text.replace("%", "%%"), **flag)
    # What an application that embeds a supervisor says to it.
    parser.add_argument("--control", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--application", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--private", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--standby", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--main", help=argparse.SUPPRESS)
    # What a supervisor says to a worker that it executes.
    parser.add_argument("--as-worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--life", type=int, help=argparse.SUPPRESS)
    # What a supervisor says to the one that tries out new code, and to itself when it executes itself anew.
    parser.add_argument(PROBE, action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(RESUME, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
