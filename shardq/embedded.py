"""A supervisor inside an application: `async with Supervisor("app.jobs", workers=4) as supervisor`.

The application is never forked. A clean process is executed (`python -m shardq.supervise`), which imports the handlers
and forks the workers; a socket between the two says when it serves and ends it when the application does:

    application                         supervisor process                      workers
    Supervisor, its queue  --socket-->  selectors loop  --fork, pidfd-->        uvloop, handlers
           \\___________________________ shared memory ___________________________/
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from shardq.connect import segment_name
from shardq.drivers.shared import Overview, SharedStorage
from shardq.errors import ConfigurationError, HandlerError, SegmentError, SupervisorError, SupervisorRunning
from shardq.handler import Handler
from shardq.model import MAIN_SCRIPT, MAIN_SCRIPT_IN_WORKER, handler_name
from shardq.queue import Queue
from shardq.settings import SupervisorSettings, check_capacity, check_timeout
from shardq.shm.attachments import PRIVATE_PREFIX
from shardq.supervisor import handlers
from shardq.supervisor.control import Control
from shardq.supervisor.endings import ended, readable, workers_ended
from shardq.supervisor.exits import Exit
from shardq.supervisor.standard import above_standard

log = logging.getLogger("shardq.embedded")

#: How long the supervisor may take to end after its workers' deadline, before it is killed.
_EXTRA_S = 10.0
#: Pause before a supervisor that died unasked is started again, doubled for each time up to the last.
_FIRST_RESTART_S, _LAST_RESTART_S = 0.1, 30.0
#: A supervisor that lived so long was healthy: the pauses begin anew.
_HEALTHY_S = 60.0


_STARTED_BY_IMPORT = (
    "this script starts a Supervisor while a supervisor imports it: put that part of the script under "
    '`if __name__ == "__main__":`'
)


class Supervisor:
    """Workers for handlers, as long as the application wants them.

    `targets`: modules (`"app.jobs"`), single handlers (`"app.jobs:Resize"`) or handler classes. `workers`: how many
    processes, by default one per usable core. `url`: `shm://NAME` for a segment with a name, which others can connect
    to and which stays while there is something in it; without it the segment is private and ends with this object.
    `capacity_bytes` bounds a segment created here. `if_running` says what to do where another supervisor serves the
    name: "error", or "attach", for several web workers that embed the same: use what it serves, and take its place when
    it ends.
    """

    def __init__(
        self,
        *targets: str | type[Handler[Any]],
        workers: int | None = None,
        url: str | None = None,
        capacity_bytes: int | None = None,
        if_running: Literal["error", "attach"] = "error",
        settings: SupervisorSettings | None = None,
    ) -> None:
        if MAIN_SCRIPT_IN_WORKER in sys.modules:
            raise SupervisorError(_STARTED_BY_IMPORT)
        if not targets:
            raise ConfigurationError("a Supervisor needs something to serve: a module name or a handler class")
        if if_running not in ("error", "attach"):
            raise ConfigurationError(f"if_running is {if_running!r}: use 'error' or 'attach'")
        self.settings = (settings or SupervisorSettings()).model_copy()
        if workers is not None:
            self.settings.workers = workers
        self._private = url is None and self.settings.url is None
        self.url = url or self.settings.url or f"shm://{PRIVATE_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        segment_name(self.url)
        self._targets = [_target(target, private=self._private) for target in targets]
        self._needs_main = any(target.startswith("__main__:") for target in self._targets)
        if capacity_bytes is not None:
            check_capacity(capacity_bytes)
        self._capacity_bytes = capacity_bytes
        self._if_running = if_running
        self._process: subprocess.Popen[bytes] | None = None
        self._control: Control | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._queue: Queue | None = None
        self._serves = False
        self._wanted: int | None = None
        """How many workers `scale` asked for last."""

    @property
    def queue(self) -> Queue:
        """The queue the workers serve. Raises `SupervisorError` before `start` and after `stop`."""
        if self._queue is None:
            raise SupervisorError("the supervisor is not started: use `async with Supervisor(...)`, or await start()")
        return self._queue

    async def start(self) -> None:
        """Start the supervisor process and wait until it serves.

        Raises `SupervisorRunning`, and `SupervisorError` with the reason where it cannot boot.
        """
        if handlers.importing:
            raise SupervisorError(_STARTED_BY_IMPORT)
        if self._process is not None or self._keeper is not None:
            raise SupervisorError("the supervisor is started already")
        try:
            await self._launch()
            storage = SharedStorage.attach(segment_name(self.url))
        except BaseException:
            await self._end_family()
            raise
        storage.importable_only = not self._needs_main
        self._queue = Queue(storage)
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Finish the batches in hand and end all processes. Stopping twice is fine."""
        try:
            await self._end_keeper()
        finally:
            try:
                # Before the supervisor ends, which removes a segment that nobody uses.
                await self._close_queue()
            finally:
                await self._end_family()

    async def drain(self, timeout_s: float | None = None, *, deferred: bool = False) -> bool:
        """Wait until nothing is queued or in hand at one instant, with `deferred` nor waits for its time; recurrent
        requests do not count. False: not so after `timeout_s` seconds; None: no end. Raises `ConfigurationError` for
        other timeouts.
        """
        check_timeout(timeout_s)
        return await self.queue.storage.wait_for_quiet(timeout_s, deferred=deferred)

    def stats(self) -> Overview:
        """Figures of the segment and its workers, read without disturbing them."""
        storage = self.queue.storage
        assert isinstance(storage, SharedStorage)
        return storage.overview()

    def scale(self, workers: int) -> None:
        """Have so many workers from now on. Those too many finish the batch in hand first. While this one stands by for
        another (`if_running="attach"`) the number counts from when it takes over.
        """
        if type(workers) is not int or workers < 0:
            raise ConfigurationError(f"{workers!r} workers cannot be: give 0 or more")
        if self._keeper is None:
            raise SupervisorError("the supervisor is not started")
        self.settings.workers = max(1, workers)
        self._wanted = workers
        self._tell_wanted()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _launch(self) -> None:
        """Execute the supervisor and wait for its first word."""
        ours, theirs = map(above_standard, socket.socketpair())
        with ours, theirs:
            self._process = _execute(self._command(theirs.fileno()), theirs.fileno())
            self._control = Control(ours.detach())
        self._tell_wanted()
        word = await self._first_word(self._control)
        if "error" in word:
            kind = SupervisorRunning if word["code"] == Exit.RUNNING else SupervisorError
            raise kind(word["error"])
        self._serves = True

    async def _first_word(self, control: Control) -> dict[str, Any]:
        while True:
            await readable(control.descriptor)
            for message in control.heard():
                return message
            if control.ended:
                raise SupervisorError("the supervisor ended before it served: its reason is on standard error")

    def _tell_wanted(self) -> None:
        """In the pause before a restart there is nobody to tell: the next one is told before it serves."""
        if self._control and self._wanted is not None:
            self._control.tell(workers=self._wanted)

    def _command(self, control: int) -> list[str]:
        command = [sys.executable, "-P", "-m", "shardq.supervise", *self._targets, "--url", self.url]
        command += ["--control", str(control), "--log-level", self._log_level]
        command += self.settings.options(skip=("url", "capacity", "drain", "log_level"))
        capacity = self.settings.capacity_bytes if self._capacity_bytes is None else self._capacity_bytes
        command += [] if capacity is None else ["--capacity", str(capacity)]
        command += ["--private"] if self._private else []
        command += ["--standby"] if self._if_running == "attach" else []
        command += ["--main", sys.modules["__main__"].__file__ or ""] if self._needs_main else []
        return command

    @property
    def _log_level(self) -> str:
        """An application is told what goes wrong; what the family does otherwise, only if it asked to know."""
        return self.settings.log_level if "log_level" in self.settings.model_fields_set else "warning"

    async def _keep(self) -> None:
        """Start the supervisor again whenever it ends unasked: the segment and its content are still there."""
        pause_s = 0.0
        while True:
            began_s = time.monotonic()
            await self._until_death()
            pause_s = restart_pause_s(pause_s, time.monotonic() - began_s)
            await asyncio.sleep(pause_s)
            try:
                await self._launch()
            except (SupervisorError, OSError) as error:
                log.error("supervisor cannot start", extra={"url": self.url, "reason": str(error)})

    async def _until_death(self) -> None:
        if self._process is None:
            return  # it could not even be executed
        await ended(self._process)
        log.error("supervisor ended, starting it again", extra={"url": self.url, "code": self._process.poll()})
        self._forget_process()

    async def _end_keeper(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper:
            keeper.cancel()
            await asyncio.wait((keeper,))  # awaiting it would take a cancellation of the caller for the keeper's

    async def _close_queue(self) -> None:
        queue, self._queue = self._queue, None
        if queue:
            await queue.close()

    async def _end_family(self) -> None:
        await self._end_process()
        if self._private:
            await self._clear_away()

    async def _clear_away(self) -> None:
        """Remove a private segment whose supervisor died before it could do so, once its workers are gone."""
        try:
            storage = SharedStorage.attach(segment_name(self.url))
        except SegmentError:
            return  # as a rule it went with its supervisor
        try:
            await workers_ended(storage.store.supervision.workers, self.settings.shutdown_timeout)
        finally:
            storage.destroy()

    async def _end_process(self) -> None:
        if self._process is None:
            return
        if not self._serves:
            self._process.terminate()  # it may be importing, and would not look at its end of the line
        self._forget_control()  # end of file means: stop
        try:
            async with asyncio.timeout(self.settings.shutdown_timeout + _EXTRA_S):
                await ended(self._process)
        except TimeoutError:
            self._process.kill()
            await ended(self._process)
        self._forget_process()

    def _forget_process(self) -> None:
        assert self._process
        self._process.wait()
        self._process = None
        self._serves = False
        self._forget_control()

    def _forget_control(self) -> None:
        if self._control:
            self._control.close()
            self._control = None


def restart_pause_s(former_s: float, lived_s: float) -> float:
    """How many seconds to wait before a supervisor that died unasked is started again: after the pause before its own
    start, and a life of `lived_s` seconds.
    """
    if lived_s >= _HEALTHY_S:
        return _FIRST_RESTART_S
    return min(max(2 * former_s, _FIRST_RESTART_S), _LAST_RESTART_S)


def _target(target: str | type[Handler[Any]], *, private: bool) -> str:
    """What the supervisor process is told to serve."""
    if isinstance(target, str):
        return target
    if not (isinstance(target, type) and issubclass(target, Handler)):
        raise ConfigurationError(f"{target!r} is neither a module name nor a handler class")
    module, _, name = handler_name(target).rpartition("/")
    if module == MAIN_SCRIPT:
        _check_main_script(name, private=private)
    return f"{module}:{name}"


def _check_main_script(name: str, *, private: bool) -> None:
    main = vars(sys.modules[MAIN_SCRIPT])
    if not Path(main.get("__file__") or "").is_file() or name.partition(".")[0] not in main:
        raise HandlerError(
            f"{name} is defined in an interactive session, which worker processes cannot import: put it into a file"
        )
    if not private:
        raise HandlerError(
            f"{name} is defined in the script that was started, whose name others cannot import: move it to a module, "
            f"start the script as a module (python -m package.module), or leave out url for a private segment"
        )


def _execute(command: list[str], control: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        pass_fds=(control,),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)},
        stdin=subprocess.DEVNULL,
        process_group=0,  # Ctrl-C in a terminal reaches the application alone, which then stops this one in order
    )
