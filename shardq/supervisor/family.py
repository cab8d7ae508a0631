"""The supervisor's loop: it converges to the wanted number of workers until it is to stop, or all is done.

News arrives through descriptors only: signals by a pipe, deaths by one pidfd each, quiet by the storage's doorbell.
With no news and no timer due the loop sleeps in `select` for ever.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

from shardq.settings import SupervisorSettings
from shardq.supervisor.control import Control
from shardq.supervisor.deaths import Death, reap
from shardq.supervisor.exits import Exit
from shardq.supervisor.progress import Progress
from shardq.supervisor.signals import Signals, fork

log = logging.getLogger("shardq.supervisor")

#: A worker that lived so long is healthy: deaths before it do not slow down its replacement.
_HEALTHY_S = 60.0
_LONGEST_RESPAWN_DELAY_S = 30.0
#: How long a worker may take for its batch after INT or QUIT.
_FAST_STOP_S = 5.0

_READ = selectors.EVENT_READ

#: Runs a worker process: (number of the worker, its end of the life pipe, descriptors to close).
RunWorker = Callable[[int, int, Sequence[int]], NoReturn]


class Board(Protocol):
    """What the supervisor sees of the storage."""

    def bell(self) -> int:
        """Descriptor that becomes readable when something it asked for happened."""
        ...

    def silence(self) -> None: ...

    def quiet(self) -> bool:
        """Whether nothing is queued or in hand; if not, the bell will ring once that is so."""
        ...

    def totals(self) -> tuple[int, int]:
        """Messages ever accepted, and ever handled."""
        ...

    def only_unserved(self) -> list[str]:
        """Tubes that nobody here serves, where nothing else is left; else an empty list."""
        ...

    def wake_workers(self) -> None:
        """Make sleeping workers look for themselves, as after a death."""
        ...


class Family:
    """The workers of one supervisor."""

    def __init__(
        self,
        board: Board,
        run_worker: RunWorker,
        settings: SupervisorSettings,
        control: Control | None = None,
    ) -> None:
        self._board = board
        self._run_worker = run_worker
        self._settings = settings
        self._drain = settings.drain
        self._control = control
        self._wanted = settings.workers
        if control and control.workers is not None:
            self._wanted = control.workers  # asked for while another supervisor still served
        self._members: dict[int, int] = {}
        """Worker pids and their pidfds."""
        self._deaths: list[float] = []
        self._respawn_at: float | None = None
        self._kill_at: float | None = None
        self._exit: Exit | None = None
        self._asked = False
        """Whether somebody asked for the end: asking again means at once."""
        self._numbered = 0

    def run(self, signals: Signals) -> Exit:
        """Serve until stopped or drained, and return how it ended. No worker is left then."""
        self._signals = signals
        self._started_s = started_s = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._life, self._life_writer = os.pipe2(os.O_CLOEXEC)
        self._progress = Progress(started_s) if self._drain else None
        self._before = self._board.totals()
        self._look_at, self._last_handled = started_s, -1
        with self._selector:
            self._selector.register(self._signals.descriptor, _READ, self._on_signals)
            if self._control:
                self._selector.register(self._control.descriptor, _READ, self._on_control)
            if self._drain:
                self._selector.register(self._board.bell(), _READ, self._on_bell)
                self._on_bell()
            try:
                self._converge()
                while self._members or self._exit is None:
                    for key, _ in self._selector.select(self._timeout_s()):
                        key.data()
                    self._on_time()
                    self._converge()
            finally:
                self._kill_all()
                os.close(self._life)
                os.close(self._life_writer)
        self._summarize()
        return self._exit or Exit.OK

    def _converge(self) -> None:
        """Fork what is missing, send away what is too much."""
        due = self._respawn_at is None or time.monotonic() >= self._respawn_at
        while self._exit is None and due and len(self._members) < self._wanted:
            self._fork()
        if len(self._members) >= self._wanted:
            self._respawn_at = None
        for pid in list(self._members)[self._wanted :] if self._exit is None else ():
            self._signal(pid, signal.SIGTERM)

    def _fork(self) -> None:
        number = self._numbered = self._numbered + 1
        close = [
            *([self._control.descriptor] if self._control else []),
            self._life_writer,
            self._signals.descriptor,
            self._selector.fileno(),
            *self._members.values(),
        ]
        pid = fork()
        if pid == 0:
            self._run_worker(number, self._life, close)
        descriptor = os.pidfd_open(pid)
        self._members[pid] = descriptor
        self._selector.register(descriptor, _READ, lambda: self._on_death(pid))

    def _on_death(self, pid: int) -> None:
        death = reap(pid, self._members[pid])
        if death is None:
            return
        descriptor = self._members.pop(pid)
        self._selector.unregister(descriptor)
        os.close(descriptor)
        self._board.wake_workers()
        if self._exit is not None or (death.clean and len(self._members) >= self._wanted):
            return
        self._say(logging.INFO if death.clean else logging.ERROR, "worker ended", pid=pid, how=death.how)
        if death.at_boot:
            self._stop(Exit.BOOT, self._settings.shutdown_timeout)
            return
        self._plan_replacement(death)

    def _plan_replacement(self, death: Death) -> None:
        now = time.monotonic()
        self._deaths = [when for when in self._deaths if now - when < _HEALTHY_S]
        delay = 0.0
        if self._deaths:
            delay = min(self._settings.respawn_delay * 2 ** (len(self._deaths) - 1), _LONGEST_RESPAWN_DELAY_S)
        self._deaths.append(now)
        self._respawn_at = now + delay
        if delay >= 1:
            self._say(logging.WARNING, "workers keep dying", next_start_s=round(delay, 1))

    def _on_signals(self) -> None:
        for received in self._signals.received():
            if received is signal.SIGTTIN:
                self._wanted += 1
            elif received is signal.SIGTTOU:
                self._wanted = max(1, self._wanted - 1)
            elif received is signal.SIGUSR2:
                for pid in self._members:
                    self._signal(pid, signal.SIGUSR2)
            elif self._asked:
                self._say(logging.WARNING, "second signal, killing workers", signal=received.name)
                self._kill_all()
                self._exit = Exit.KILLED
            else:
                self._asked = True
                timeout_s = self._settings.shutdown_timeout
                fast = received is not signal.SIGTERM
                self._stop(Exit.OK, min(_FAST_STOP_S, timeout_s) if fast else timeout_s)

    def _on_control(self) -> None:
        assert self._control
        self._control.heard()
        self._wanted = self._wanted if self._control.workers is None else self._control.workers
        if self._control.ended:
            self._selector.unregister(self._control.descriptor)
            if self._exit is None:
                self._stop(Exit.OK, self._settings.shutdown_timeout)

    def _on_bell(self) -> None:
        self._board.silence()
        if self._exit is None and self._board.quiet():
            self._stop(Exit.OK, self._settings.shutdown_timeout)

    def _on_time(self) -> None:
        now = time.monotonic()
        if self._kill_at is not None and now >= self._kill_at and self._members:
            self._say(logging.WARNING, "deadline over, killing workers", workers=len(self._members))
            self._kill_all()
            self._exit = Exit.KILLED
        if self._progress and self._exit is None and now >= self._look_at:
            self._look_at = now + self._progress.interval_s
            self._look_after_drain(self._progress, now)

    def _look_after_drain(self, progress: Progress, now: float) -> None:
        accepted, handled = self._board.totals()
        progress.show(now, handled - self._before[1], accepted - self._before[1])
        stalled, self._last_handled = handled == self._last_handled, handled
        if stalled and (unserved := self._board.only_unserved()):
            self._say(logging.ERROR, "nobody here serves what is left", tubes=", ".join(unserved[:10]))
            self._stop(Exit.UNSERVED, self._settings.shutdown_timeout)
        elif stalled:
            self._on_bell()  # the safety net: whoever was to ring may have been killed

    def _stop(self, how: Exit, timeout_s: float) -> None:
        self._exit = how
        self._kill_at = time.monotonic() + timeout_s
        for pid in self._members:
            self._signal(pid, signal.SIGTERM)

    def _kill_all(self) -> None:
        for pid, descriptor in list(self._members.items()):
            self._signal(pid, signal.SIGKILL)
            os.waitid(os.P_PIDFD, descriptor, os.WEXITED)
            self._selector.unregister(descriptor)
            os.close(descriptor)
            del self._members[pid]

    def _signal(self, pid: int, number: signal.Signals) -> None:
        signal.pidfd_send_signal(self._members[pid], number)

    def _timeout_s(self) -> float | None:
        """Until the next thing that is due without news, None: nothing is."""
        due = [self._kill_at] if self._members else []
        if self._exit is None:
            due.append(self._respawn_at if len(self._members) < self._wanted else None)
            due.append(self._look_at if self._progress else None)
        times = [when for when in due if when is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _say(self, level: int, event: str, **fields: object) -> None:
        if self._progress:
            self._progress.clear()
        log.log(level, event, extra=fields)

    def _summarize(self) -> None:
        if not self._progress:
            return
        accepted, handled = self._board.totals()
        self._progress.clear()
        done, left = handled - self._before[1], accepted - handled
        elapsed_s = time.monotonic() - self._started_s
        if self._settings.json_output:
            print(json.dumps({"done": done, "left": left, "elapsed_s": elapsed_s}), flush=True)
            return
        print(self._progress.summary(elapsed_s, done, left), flush=True)
