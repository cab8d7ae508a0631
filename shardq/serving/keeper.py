"""The thread of an application that starts its supervisor process, watches it, starts it again, and ends it.

It is a thread, and no task of an event loop, because loops come and go: an application may start a supervisor in one,
stop it in another, and run none in between.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from shardq.errors import StorageMoved, SupervisorError, SupervisorRunning
from shardq.supervisor.code import launch
from shardq.supervisor.exits import Exit
from shardq.supervisor.output.standard import above_standard
from shardq.supervisor.wishes.control import Control
from shardq.system.refusals import advice

log = logging.getLogger("shardq.embedded")

#: How long the supervisor may take to end after its workers' deadline, before it is killed.
_EXTRA_S = 10.0
#: Pause before a supervisor that ended without being asked to is started again: the first, doubled up to the last.
_FIRST_RESTART_S, _LAST_RESTART_S = 0.1, 30.0
#: A supervisor that lived so long was healthy: the pauses begin anew.
_HEALTHY_S = 60.0
#: What a supervisor is told that takes the place of one that served: what it finds was not left over from before.
_IN_ITS_PLACE = ("--stale", "adopt")
#: How long to wait at a time: `poll` takes no more than 24 days.
_LONGEST_WAIT_S = 86400.0


class Keeper:
    """Keeps one supervisor process running. `arguments` is called at each start and returns its arguments; `workers` is
    the number that the application asked for beside those; `deadline_s` returns how many seconds the workers may take
    for their end. `environment`: variables for the supervisor beside those of this process; `url` is for the log.
    """

    def __init__(
        self,
        url: str,
        arguments: Callable[[], list[str]],
        workers: int | None,
        deadline_s: Callable[[], float],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._url = url
        self._arguments = arguments
        self._environment = environment or {}
        self._workers = workers
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._wish = -1
        """Readable once the application asked for the end."""
        self._stopping = False
        self._supervisor: _Supervisor | None = None
        self._served = False
        """Whether a supervisor served."""
        self._serving = _future()
        self._ended = _future()

    def start(self) -> Future[None]:
        """The future is done when the supervisor serves. It fails with `SupervisorError`, `SupervisorRunning` or
        `StorageMoved` if the supervisor cannot serve; then no process is left to end.
        """
        try:
            self._wish = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            threading.Thread(target=self._run, name="shardq-keeper", daemon=True).start()
        except (OSError, RuntimeError) as error:
            self._close()
            self._ended.set_result(None)
            raise SupervisorError(f"no supervisor can be started now: {advice(error) or error}") from error
        return self._serving

    def stop(self) -> Future[None]:
        """End the supervisor after its workers finished their batches; the future is done when its process is gone. A
        second call is fine.
        """
        with self._lock:
            self._stopping = True
            if self._wish >= 0:
                os.eventfd_write(self._wish, 1)
        return self._ended

    def scale(self, workers: int) -> None:
        """Have so many workers. While no supervisor runs, the number is kept, and the next one is told at its start."""
        with self._lock:
            self._workers = workers
            if self._supervisor:
                self._supervisor.control.tell(workers=workers)

    def _run(self) -> None:
        try:
            if self._start_first():
                self._keep()
        except BaseException:
            log.exception("supervisor is not watched any more", extra={"url": self._url})
        finally:
            try:
                self._end()
            finally:
                self._close()
                self._ended.set_result(None)

    def _start_first(self) -> bool:
        try:
            self._launch()
        except BaseException as error:
            self._end()
            self._serving.set_exception(error)
            return False
        self._serving.set_result(None)
        return True

    def _keep(self) -> None:
        """Start the supervisor again whenever it ends unasked: the segment is still there, with its content."""
        pause_s, began_s = 0.0, time.monotonic()
        while not self._stopping:
            self._until_death()
            if self._stopping:
                return
            pause_s = restart_pause_s(pause_s, time.monotonic() - began_s)
            _ready(pause_s, self._wish)
            began_s = time.monotonic()
            try:
                self._launch()
            except StorageMoved as moved:
                log.error(
                    "supervisor is not started again: its storage moved", extra={"url": self._url, "to": moved.to}
                )
                return
            except Exception as error:
                if not self._stopping:
                    log.error("supervisor cannot start: %s", error, extra={"url": self._url, "reason": str(error)})

    def _launch(self) -> None:
        """Execute the supervisor and wait until it serves."""
        if self._stopping:
            raise SupervisorError("the supervisor was stopped before it was started: start it again")
        try:
            arguments = [*self._arguments(), *(_IN_ITS_PLACE if self._served else ())]
            supervisor = _Supervisor.started(arguments, self._environment)
        except (OSError, subprocess.SubprocessError) as error:
            raise SupervisorError(f"the supervisor process cannot be started now: {advice(error) or error}") from error
        with self._lock:
            self._supervisor = supervisor
            if self._workers is not None:
                supervisor.control.tell(workers=self._workers)
        word = self._first_word(supervisor)
        if word.get("code") == Exit.MOVED:
            raise StorageMoved(word["to"])
        if "error" in word:
            kind = SupervisorRunning if word["code"] == Exit.RUNNING else SupervisorError
            raise kind(word["error"])
        supervisor.serves = self._served = True

    def _first_word(self, supervisor: _Supervisor) -> dict[str, Any]:
        while True:
            ready = _ready(None, self._wish, supervisor.control.descriptor, supervisor.death)
            for message in supervisor.control.heard():
                return message
            if self._stopping:
                raise SupervisorError("the supervisor was stopped before it served: start it again")
            if supervisor.death in ready or supervisor.control.ended:
                raise SupervisorError("the supervisor ended before it served: its reason is on standard error")

    def _until_death(self) -> None:
        supervisor = self._supervisor
        if supervisor is None:
            return  # the last one could not be executed
        if supervisor.death in _ready(None, self._wish, supervisor.death):
            code = supervisor.process.wait()
            if not self._stopping:
                log.error("supervisor ended, starting it again", extra={"url": self._url, "code": code})
            self._forget()

    def _end(self) -> None:
        supervisor = self._supervisor
        if supervisor is None:
            return
        if not supervisor.serves:
            supervisor.process.terminate()  # while it imports it does not read messages from the line
        supervisor.control.tell(stop=True)
        if not _ready(self._deadline_s() + _EXTRA_S, supervisor.death):
            supervisor.process.kill()
        supervisor.process.wait()
        self._forget()

    def _forget(self) -> None:
        with self._lock:
            supervisor, self._supervisor = self._supervisor, None
        if supervisor:
            supervisor.close()

    def _close(self) -> None:
        with self._lock:
            if self._wish >= 0:
                os.close(self._wish)
            self._wish = -1


class _Supervisor:
    """A supervisor process, and this application's end of the line to it."""

    def __init__(self, process: subprocess.Popen[bytes], control: Control, death: int) -> None:
        self.process = process
        self.control = control
        self.death = death
        """Its pidfd, readable once the process has ended. End of file would not do: a child of it may keep the line."""
        self.serves = False

    @classmethod
    def started(cls, arguments: list[str], environment: Mapping[str, str]) -> _Supervisor:
        """Raises `OSError`, and `SupervisorError` where there is no interpreter; then no process is left running."""
        ours, theirs = map(above_standard, socket.socketpair())
        with ours, theirs:
            words = ["--control", str(theirs.fileno()), "--application", str(os.getpid())]
            process = _execute(launch.command([*arguments, *words]), theirs.fileno(), environment)
            try:
                death = os.pidfd_open(process.pid)
            except BaseException:
                process.kill()
                process.wait()
                raise
            return cls(process, Control.open(ours.detach()), death)

    def close(self) -> None:
        self.control.close()
        os.close(self.death)


def restart_pause_s(former_s: float, lived_s: float) -> float:
    """How many seconds to wait before a supervisor is started again that lived `lived_s` seconds. `former_s` is the
    pause before its own start.
    """
    if lived_s >= _HEALTHY_S:
        return _FIRST_RESTART_S
    return min(max(2 * former_s, _FIRST_RESTART_S), _LAST_RESTART_S)


def _execute(command: list[str], control: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        pass_fds=(control,),
        env={**os.environ, **environment, launch.MARK: "1"},
        stdin=subprocess.DEVNULL,
        process_group=0,  # Ctrl-C in a terminal reaches only the application, which then stops its supervisor in order
    )


def _ready(timeout_s: float | None, *descriptors: int) -> set[int]:
    """Which of the descriptors are readable. Waits until one is, at most `timeout_s` seconds; None: without end."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        left_s = _LONGEST_WAIT_S if deadline is None else max(0.0, deadline - time.monotonic())
        found = poll.poll(min(left_s, _LONGEST_WAIT_S) * 1000)
        if found or not left_s:
            return {descriptor for descriptor, _ in found}


def _future() -> Future[None]:
    """A future that the code that waits for it cannot cancel."""
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()
    return future
