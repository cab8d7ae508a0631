"""The end of a family: how it ends, and when the workers are killed that are still there."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable

from shardq.supervisor.exits import Exit
from shardq.supervisor.output.service import Service
from shardq.supervisor.wishes.stopping import StopWishes, Wish, time_after
from shardq.supervisor.workers.roster import ON_PURPOSE, Roster

log = logging.getLogger("shardq.supervisor")


class Shutdown:
    """Begins once: with a signal, or with `begin`. `kill_all` kills all workers on purpose, and waits for their ends.

    The workers of a supervisor that died are ended within the same time, whether or not the family ends, too.
    """

    def __init__(self, roster: Roster, service: Service, timeout_s: float, kill_all: Callable[[], None]) -> None:
        self._roster = roster
        self._service = service
        self._timeout_s = timeout_s
        self._kill_all = kill_all
        self._wishes = StopWishes()
        self.how: Exit | None = None
        """How the family ends; None: it goes on."""
        self.kill_at: float | None = None
        """When workers are killed that are still there, monotonic; None: no worker was told to end."""

    @property
    def begun(self) -> bool:
        return self.how is not None

    def begin(self, how: Exit, timeout_s: float | None = None) -> None:
        """Have the workers finish their batches in hand within so many seconds, by default those of the settings. Where
        it has begun already, another call leaves no more time and changes nothing about how it ends.
        """
        kill_at = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        if self.how is not None and self.kill_at is not None:
            kill_at = min(kill_at, self.kill_at)
        self.how, self.kill_at = how if self.how is None else self.how, kill_at
        self._roster.signal(signal.SIGTERM)
        self._service.stopping()

    def on_signal(self, received: signal.Signals) -> None:
        """One that asks for the end."""
        if received is signal.SIGHUP and self._wishes.begun:
            return  # a terminal that closes may send HUP more than once, and so may its shell
        now = time.monotonic()
        wish, timeout_s = self._wishes.heard(received, now), time_after(received, self._timeout_s)
        if wish is Wish.STOP:
            # First the workers, then the log: else a worker may begin another batch after a reader saw the line.
            self.begin(Exit.OK, timeout_s)
            log.info("stopping", extra={"signal": received.name, "workers": len(self._roster.members)})
        elif wish is Wish.HASTEN:
            self.kill_at = now + timeout_s if self.kill_at is None else min(self.kill_at, now + timeout_s)
        elif wish is Wish.KILL:
            log.warning("second signal, killing workers", extra={"signal": received.name})
            self._kill()

    def send_strangers_away(self) -> None:
        """End the workers of a supervisor that died: with TERM, and those that hang with KILL at the deadline."""
        for stranger in self._roster.new_strangers():
            log.warning("worker of a supervisor that died", extra={"pid": stranger.pid})
            stranger.signal(signal.SIGTERM)
            if not self.begun or self.kill_at is None:
                self.kill_at = time.monotonic() + self._timeout_s

    def on_time(self, now: float) -> None:
        """Kill those that are still there, where their time is over."""
        if self.kill_at is None or now < self.kill_at or self._roster.empty:
            return
        self.kill_at = None
        if self.begun:
            log.warning("deadline over, killing workers", extra={"workers": len(self._roster.members)})
            self._kill()
            return
        for stranger in self._roster.strangers.values():
            self._roster.kill(stranger, ON_PURPOSE)

    def _kill(self) -> None:
        self._kill_all()
        self.how = Exit.KILLED
