"""`python -m shardq.supervise`: serve handlers with worker processes, over a shared-memory segment or a server."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from signal import SIGTERM
from typing import Any, NamedTuple, NoReturn

from shardq.connect import is_redis, without_secrets
from shardq.errors import (
    ConfigurationError,
    HandlerError,
    SegmentError,
    ShardqError,
    StorageMoved,
    StorageRefused,
    StorageUnavailable,
    SupervisorError,
    SupervisorRunning,
)
from shardq.functions import proofs
from shardq.functions.apply import Apply
from shardq.handler import Handler
from shardq.model import handler_name
from shardq.serving import command_line, lifecycle
from shardq.serving.beside import PAGE_TOKEN, companions
from shardq.serving.workers import Assignment, init_of, runner, work, worker_of_segment
from shardq.settings import SupervisorSettings, check_environment, misspelt_variables
from shardq.supervisor.code.handlers import load_handlers
from shardq.supervisor.code.init import module_of
from shardq.supervisor.code.launch import APPLICATION_ARGV, FUNCTIONS_KEY, MARK, SERVER_URL
from shardq.supervisor.code.program import Program
from shardq.supervisor.code.script import shown_alone
from shardq.supervisor.code.threads import ThreadWatch
from shardq.supervisor.exits import Exit
from shardq.supervisor.family import ExecuteAgain, Family
from shardq.supervisor.output import live, logs, standard
from shardq.supervisor.output.telling import tell
from shardq.supervisor.wishes.control import Control
from shardq.supervisor.wishes.reload import RESUME, Resumption, execute_again
from shardq.supervisor.wishes.retrying import resume_later
from shardq.supervisor.wishes.signals import Signals, end_when_told, ends_at_start, note_wishes
from shardq.supervisor.wishes.terminal import Terminal
from shardq.supervisor.workers import interpreter
from shardq.supervisor.workers.child import OPENED_IN_ALL
from shardq.supervisor.workers.forked import give_defaults_to_children, keep_from_children
from shardq.system.descriptors import check_left
from shardq.system.refusals import advice
from shardq.working.worker import Worker

log = logging.getLogger("shardq.supervisor")

#: Which exit code an error that ends the command has.
_EXITS: dict[type[Exception], Exit] = {
    ConfigurationError: Exit.USAGE,
    StorageRefused: Exit.SEGMENT,
    StorageUnavailable: Exit.SEGMENT,
    HandlerError: Exit.BOOT,
    SupervisorRunning: Exit.RUNNING,
    SupervisorError: Exit.BOOT,
    SegmentError: Exit.SEGMENT,
}
#: How many seconds a supervisor, and a probe of new code, wait at their ends for threads and `atexit` functions of
#: modules. None of those does any work there.
_END_WITHIN_S = 5.0


class Origin(NamedTuple):
    """What this process was started as, before imported modules can change anything."""

    program: Program
    terminal: Terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code. Without arguments, those of this process count, which ends then: no
    thread that an imported module started keeps it long from that.
    """
    if arguments is not None:
        return _run(arguments)
    code = 1  # as after an exception
    try:
        code = _run(None)
        return code
    finally:
        interpreter.limit_end("supervisor", code, _END_WITHIN_S)


def _run(arguments: Sequence[str] | None) -> int:
    gc.freeze()  # what is imported by now stays, in the workers as well, so no collection has to look at it again
    gc.enable()  # `launch` disabled it
    standard.open_missing()
    os.environ.pop(MARK, None)  # before any process is started that would inherit it
    server_url = os.environ.pop(SERVER_URL, None)
    options = command_line.parser().parse_args(arguments)
    options.url = options.url or server_url
    options.application_argv = os.environ.pop(APPLICATION_ARGV, None)
    proofs.key = os.environ.pop(FUNCTIONS_KEY, None)
    given = ((SERVER_URL, server_url), (FUNCTIONS_KEY, proofs.key), (APPLICATION_ARGV, options.application_argv))
    secrets = [(name, value) for name, value in given if value]
    secrets.append((PAGE_TOKEN, os.environ.pop(PAGE_TOKEN, "") or os.urandom(18).hex()))
    program = Program.of_this_process(RESUME)._replace(variables=secrets)
    origin = Origin(program, Terminal.of_this_process())
    _listen(options)
    give_defaults_to_children()
    # A probe has not inherited the descriptor: the line is its supervisor's.
    control = None if options.control is None or options.probe else Control.open(options.control, options.application)
    try:
        return _supervise(options, command_line.settings_of(options), control, origin)
    except StorageMoved as moved:
        return _told(str(moved), Exit.MOVED, control, to=moved.to)
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


def _listen(options: argparse.Namespace) -> None:
    """Set what signals do to this process while it imports."""
    if options.as_worker is not None:
        end_when_told()
        for descriptor in (options.life, *([] if options.news is None else [options.news])):
            os.set_inheritable(descriptor, False)
    elif options.resume:
        note_wishes()  # it has workers
    else:
        note_wishes((SIGTERM,) if options.probe else ends_at_start())


def _told(reason: str, code: Exit, control: Control | None, **more: str) -> Exit:
    """Say why nothing is served: to the application that embeds this supervisor, else on standard error."""
    if control:
        control.tell(error=reason, code=code, **more)
    else:
        tell(f"shardq.supervise: {reason}", sys.stderr)
    return code


def _supervise(
    options: argparse.Namespace, settings: SupervisorSettings, control: Control | None, origin: Origin
) -> Exit:
    supervises = options.as_worker is None and not options.probe
    if options.control is not None:
        settings.drain = False  # an application waits by itself, and its environment may be that of another family
    settings.progress = live.is_wanted(settings, embedded=options.control is not None)
    erases = settings.progress and standard.knows_codes(sys.stderr)
    logs.configure(settings.log_level, as_json=settings.json_output, waits=not supervises, erases=erases)
    check_environment()
    url = settings.url or lifecycle.default_url(options.targets[0])
    watch, resumption = ThreadWatch(), Resumption.decoded(options.resume) if options.resume else None
    if supervises and not resumption:
        for name, meant in misspelt_variables().items():
            log.warning("a variable of the environment has no effect", extra={"variable": name, "meant": meant})
    if resumption:
        resumption.inherit(False)
        keep_from_children(resumption.life_writer)
    else:  # after a reload there are workers that serve, and the probe was checked
        check_left(OPENED_IN_ALL, "serve")  # else an import may fail first, with an error that misleads
    if options.application_argv:
        sys.argv[:] = json.loads(options.application_argv)
    try_later = partial(_try_later, options, settings, url, control, origin, resumption) if resumption else None
    handlers = _handlers(options, settings, watch, try_later)
    if not resumption:
        check_left(OPENED_IN_ALL, "serve")
    if options.probe:
        return Exit.OK
    assignment = Assignment(options, settings, url, handlers, watch)
    if options.as_worker is not None:
        work(assignment)
    with Signals() as signals:
        if is_redis(url):
            return _serve_server(assignment, control, origin, resumption, signals)
        if resumption:
            segment = lifecycle.resumed(url, settings, options, handlers, resumption)
        else:
            claimed = lifecycle.claimed(url, settings, options, handlers, control, signals)
            if claimed is None:
                return Exit.OK
            segment = lifecycle.without_leftovers(claimed, settings, options, handlers)
            log.info("serving", extra={"url": url, "workers": settings.workers, "handlers": ", ".join(handlers)})
        run = runner(assignment, partial(worker_of_segment, segment.storage, settings))
        try:
            terminal = resumption.terminal if resumption else origin.terminal
            again = _again(lambda: segment.hold, origin.program)
            with companions(settings, url, origin.program, again=resumption is not None) as beside:
                family = Family(segment, run, again, settings, origin.program, control, resumption, terminal, beside)
                return family.run(signals)
        finally:
            lifecycle.leave(segment, url, options.targets)


def _handlers(
    options: argparse.Namespace,
    settings: SupervisorSettings,
    watch: ThreadWatch,
    try_later: Callable[[], None] | None,
) -> dict[str, type[Handler[Any]]]:
    """What the targets name. `try_later` is called where they do not import, before that is raised."""
    try:
        found = load_handlers(options.targets, options.main, settings.preloaded + module_of(settings.init), watch)
        init_of(settings)  # raises where there is none of this name
        return found | {handler_name(Apply): Apply} if proofs.key else found  # last, as it is in the log
    except (SupervisorError, HandlerError) as error:
        if try_later:
            log.error("the new code does not import any more, trying again", extra={"error": str(error)})
            try_later()
        elif isinstance(error, SupervisorError) and error.__cause__:
            # Not where a handler cannot be used: that is said without the code which found it out.
            log.error("code does not import", exc_info=shown_alone(error.__cause__))
        raise
    finally:
        standard.open_closed()


def _try_later(
    options: argparse.Namespace,
    settings: SupervisorSettings,
    url: str,
    control: Control | None,
    origin: Origin,
    resumption: Resumption,
) -> None:
    """Run this program anew until that works, or the end is asked for: then no worker is left, and no segment that is
    empty.
    """
    resume_later(origin.program, resumption, settings.shutdown_timeout, control)
    with suppress(ShardqError):  # why the code does not import is what has to be said
        if is_redis(url):
            from shardq.serving import remote

            remote.leave(remote.opened(url, settings, options, {}, resumption), url, options.targets)
        else:
            lifecycle.leave(lifecycle.resumed(url, settings, options, (), resumption), url, options.targets)


def _again(
    hold: Callable[[], tuple[int, int]], program: Program, others: Sequence[int] = (), family: str = ""
) -> ExecuteAgain:
    """The function by which this process executes itself anew and stays the supervisor of its storage, with these
    descriptors open as well.
    """

    def again(left: Resumption) -> NoReturn:
        lock, slot = hold()
        left = left._replace(lock=lock, slot=slot, family=family, others=[*left.others, *others])
        execute_again(program, left)

    return again


def _serve_server(
    assignment: Assignment, control: Control | None, origin: Origin, resumption: Resumption | None, signals: Signals
) -> Exit:
    """Serve a storage on a server, which other supervisors may serve as well."""
    from shardq.serving import remote

    options, settings, url, handlers, _ = assignment
    storage = remote.opened(url, settings, options, handlers, resumption)
    if not resumption:
        shown = without_secrets(url)
        log.info("serving", extra={"url": shown, "workers": settings.workers, "handlers": ", ".join(handlers)})

    def worker_of(number: int) -> Callable[[], Worker]:
        return remote.forked_worker_of(url, settings, options, storage, number)

    run = runner(assignment, worker_of, storage)
    try:
        terminal = resumption.terminal if resumption else origin.terminal
        again = _again(lambda: storage.hold, origin.program, (storage.news.writer,), str(storage.family))
        with companions(settings, url, origin.program, again=resumption is not None) as beside:
            family = Family(storage, run, again, settings, origin.program, control, resumption, terminal, beside)
            return family.run(signals)
    finally:
        remote.leave(storage, url, options.targets)


if __name__ == "__main__":
    sys.exit(main())
