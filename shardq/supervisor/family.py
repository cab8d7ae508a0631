"""The supervisor's loop: it keeps the wanted number of workers, until it is to stop or its drain is done.

News arrives through descriptors only: signals through a pipe, the end of each worker through its pidfd, messages of an
application through a socket, due times through a timerfd, all else through the storage's doorbell. With no news and no
timer due the loop sleeps in `select` for ever. What the system refuses is tried again.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from typing import NoReturn

from shardq.errors import StorageMoved
from shardq.settings import MOST_WORKERS, SupervisorSettings
from shardq.supervised import Supervised
from shardq.supervisor.code.program import Program
from shardq.supervisor.companions import Companions
from shardq.supervisor.exits import Exit
from shardq.supervisor.output.live import Live
from shardq.supervisor.output.service import Service
from shardq.supervisor.shutdown import Shutdown
from shardq.supervisor.timer import Timer
from shardq.supervisor.watch import Watch
from shardq.supervisor.wishes.control import Control
from shardq.supervisor.wishes.drain import Drain
from shardq.supervisor.wishes.reload import Resumption
from shardq.supervisor.wishes.reloading import Reloading
from shardq.supervisor.wishes.signals import Signals, fork
from shardq.supervisor.wishes.terminal import Terminal
from shardq.supervisor.workers.arrivals import Arrivals
from shardq.supervisor.workers.child import RunWorker, become_worker
from shardq.supervisor.workers.deaths import Death
from shardq.supervisor.workers.forked import keep_from_children
from shardq.supervisor.workers.hung import HungWorkers
from shardq.supervisor.workers.member import Member
from shardq.supervisor.workers.orphans import bury
from shardq.supervisor.workers.pace import Vacancies
from shardq.supervisor.workers.renewal import Renewals
from shardq.supervisor.workers.roster import HUNG, ON_PURPOSE, Roster

log = logging.getLogger("shardq.supervisor")

#: When to try again where the system refuses a fork, or to execute this program anew.
_AGAIN_S = 1.0

#: Executes this program anew, with what the supervisor leaves to itself, but for the lock.
ExecuteAgain = Callable[[Resumption], NoReturn]


class Family:
    """The workers of one supervisor."""

    def __init__(
        self,
        storage: Supervised,
        run_worker: RunWorker,
        execute_again: ExecuteAgain,
        settings: SupervisorSettings,
        program: Program,
        control: Control | None = None,
        resumption: Resumption | None = None,
        terminal: Terminal | None = None,
        companions: Companions | None = None,
    ) -> None:
        self._storage = storage
        self._run_worker = run_worker
        self._execute_again = execute_again
        self._settings = settings
        self._control = control
        self._resumption = resumption
        self._reloading = Reloading(program, self._say)
        self._terminal = terminal or Terminal()
        self._companions = companions or Companions()
        self._wanted = settings.workers
        self._renewals = Renewals()
        self._hung = HungWorkers(storage)
        self._arrivals = Arrivals(storage, self._tell_serving, served=resumption is not None)
        # That of an embedded family waits for the application.
        self._service = Service() if control else Service.of_environment()
        self._timer = Timer()
        self._drain: Drain | None = None
        self._live: Live | None = None
        self._vacancies = Vacancies(settings.respawn_delay)
        self._numbered = 0

    def run(self, signals: Signals) -> Exit:
        """Serve until stopped or drained. Returns how it ended; then no worker is left."""
        self._signals = signals
        self._watch = Watch(signals.descriptor, self._on_signals, self._look_again)
        self._roster = Roster(self._storage, self._watch, self._on_death)
        self._shutdown = Shutdown(self._roster, self._service, self._settings.shutdown_timeout, self._kill_all)
        try:
            self._watch.add(self._storage.bell(), self._on_bell)
            self._watch.add(self._timer.open(), self._on_timer)
            if self._control:
                self._watch.add(self._control.descriptor, self._on_control)
            if self._settings.drain:
                begun = self._resumption.drain if self._resumption else None
                shows = self._settings.progress is not False
                self._drain = Drain(self._storage, as_json=self._settings.json_output, shows=shows, begun=begun)
            elif self._settings.progress:
                self._live = Live(self._storage, time.monotonic())
            if self._resumption:
                self._resume(self._resumption)
            else:
                self._life, self._life_writer = os.pipe2(os.O_CLOEXEC)
                keep_from_children(self._life_writer)
            try:
                self._serve()
            finally:
                self._kill_all()
                self._companions.end(self._watch)
                if self._live:
                    self._live.clear()
                os.close(self._life)
                os.close(self._life_writer)
        finally:
            self._timer.close()
            self._watch.close()
        how = self._shutdown.how or Exit.OK
        return self._drain.ended(how) if self._drain else how

    def _serve(self) -> None:
        """The loop."""
        if self._control:
            self._watch.step(self._on_control)  # the application may have asked for a number of workers already
        self._look_again()
        self._watch.step(self._converge)
        while not (self._roster.empty and self._shutdown.begun):
            self._watch.wait(self._timeout_s())
            self._watch.step(self._on_time)
            self._watch.step(self._converge)

    def _look_again(self) -> None:
        """Called at the beginning, and again after the system refused a step, which may have been left half done."""
        self._watch.step(self._shutdown.send_strangers_away)
        self._watch.step(self._on_bell)

    def _resume(self, left: Resumption) -> None:
        """Go on after this process executed itself anew: the workers run the former code and are replaced in turn."""
        self._life, self._life_writer = left.life, left.life_writer
        self._wanted, self._numbered = left.workers, left.numbered
        for pid, number in left.members.items():
            self._roster.add(Member.of_child(pid, number))
        self._renewals.add(left.members)
        log.info("reloaded", extra={"workers": len(left.members)})

    def _converge(self) -> None:
        """Fork the workers that are missing; send away those that are too many, and one that asked to be replaced."""
        if self._shutdown.begun:
            return
        for _ in range(self._vacancies.to_start(time.monotonic(), len(self._roster.members), self._wanted)):
            if not self._fork():
                break
        self._companions.start(self._watch, self._life, [*self._own_descriptors(), self._life_writer])
        self._arrivals.look(self._roster.members)
        for pid in list(self._roster.members)[self._wanted :]:
            self._roster.members[pid].signal(signal.SIGTERM)
        leaving = self._renewals.next(self._settings.shutdown_timeout)
        if leaving is not None:
            self._roster.members[leaving].signal(signal.SIGTERM)
            self._say(logging.INFO, "replacing worker", pid=leaving)

    def _fork(self) -> bool:
        """Start a worker. False: the system refuses the fork."""
        number = self._numbered = self._numbered + 1
        try:
            pid = fork()
        except OSError as error:
            self._say(logging.ERROR, "cannot fork a worker now", error=str(error))
            self._vacancies.put_off(time.monotonic() + _AGAIN_S)
            return False
        if pid == 0:
            become_worker(self._run_worker, number, self._life, [*self._own_descriptors(), self._life_writer])
        self._roster.add(Member.of_child(pid, number))
        self._vacancies.filled(len(self._roster.members), self._wanted)
        return True

    def _own_descriptors(self) -> list[int]:
        """What no child may keep, without the line to the application, which closes itself in a forked child."""
        return [
            *self._reloading.descriptors,
            *self._signals.descriptors,
            self._watch.descriptor,
            self._timer.descriptor,
            *self._roster.descriptors,
            *self._companions.descriptors,
        ]

    def _on_death(self, member: Member, death: Death, how: str) -> None:
        planned = self._renewals.ended(member.pid)
        if member.child:
            self._watch.step(lambda: self._on_own_death(death, how, planned=planned))
        self._storage.wake_workers()
        # It may have had the only deadline: this look then asks the next one to ring. And with its last words, those of
        # others were heard.
        self._watch.step(self._on_bell)

    def _on_own_death(self, death: Death, how: str, *, planned: bool) -> None:
        """A child of this process ended. How a stranger ended is not known here: only its parent can see that."""
        seen = self._storage.note_death(death.pid, death.ending)
        if not death.clean and how != ON_PURPOSE:
            self._storage.count_death("hung" if how == HUNG else death.kind)
        if self._shutdown.begun:
            return
        if (death.clean or not death.known) and (planned or len(self._roster.members) >= self._wanted):
            return
        level = logging.INFO if death.clean or how == ON_PURPOSE else logging.ERROR
        self._say(level, "worker ended", pid=death.pid, how=how or death.how)
        verdict = self._arrivals.verdict(death, seen, self._roster.members)
        if verdict is not None:
            self._shutdown.begin(verdict)
        elif not planned and not seen.had_batch:
            delay_s = self._vacancies.add(time.monotonic(), attached=seen.attached, alone=not self._roster.members)
            if delay_s >= 1:
                self._say(logging.WARNING, "workers keep dying", next_start_s=round(delay_s, 1))

    def _on_signals(self) -> None:
        for received in self._signals.received():
            self._watch.step(lambda: self._on_signal(received))  # noqa: B023 - it runs at once

    def _on_signal(self, received: signal.Signals) -> None:
        if received is signal.SIGTTIN:
            self._want(self._wanted + 1)
        elif received is signal.SIGTTOU:
            self._want(max(min(1, self._wanted), self._wanted - 1))
        elif received is signal.SIGUSR2:
            self._roster.signal(signal.SIGUSR2)
        elif received is signal.SIGHUP and not self._terminal.gone:
            self._reload()
        elif received is signal.SIGCHLD:
            bury({*self._roster.members, *self._reloading.pids, *self._companions.pids})
        elif received is not signal.SIGUSR1:
            self._shutdown.on_signal(received)

    def _want(self, workers: int) -> None:
        """Have so many workers from now on, at most as many as a segment has room for."""
        self._wanted = min(workers, MOST_WORKERS)
        if workers > MOST_WORKERS:
            self._say(logging.WARNING, "the segment has places for no more workers", workers=MOST_WORKERS)

    def _reload(self) -> None:
        self._reloading.end(self._watch)
        if not self._shutdown.begun:
            close = [*self._own_descriptors(), self._life, self._life_writer]
            self._reloading.begin(self._watch, close, self._on_good_code)

    def _on_good_code(self) -> None:
        self._on_signals()  # one of them may be to stop, or to try still newer code
        if self._terminal.gone:
            self._shutdown.on_signal(signal.SIGHUP)
        if not self._shutdown.begun and not self._reloading.probing:
            self._begin_anew()

    def _begin_anew(self) -> None:
        members = {pid: member.number for pid, member in self._roster.members.items()}
        begun = self._drain.begun if self._drain else None
        left = Resumption(-1, -1, self._life, self._life_writer, self._wanted, self._numbered, members, begun)
        left = left._replace(terminal=self._terminal, others=[self._control.line] if self._control else [])
        self._say(logging.INFO, "reloading", workers=len(members))
        self._companions.end(self._watch)
        self._service.reloading()
        self._signals.hold_back()
        try:
            self._execute_again(left)
        except OSError as error:
            self._service.serving()
            self._signals.go_on()
            self._reloading.put_off(error)

    def _on_control(self) -> None:
        assert self._control
        self._control.heard()
        if self._control.workers is not None:
            self._want(self._control.workers)
        if self._control.ended:
            self._watch.remove(self._control.descriptor)
            if not self._shutdown.begun:
                self._shutdown.begin(Exit.OK)

    def _on_bell(self) -> None:
        self._storage.silence()
        self._renewals.add(pid for pid in self._storage.renewals() if pid in self._roster.members)
        self._end_hung()
        self._promote()
        if self._live:
            self._live.on_bell(time.monotonic())
        if self._drain and not self._shutdown.begun and self._storage.quiet():
            self._shutdown.begin(Exit.OK)

    def _on_timer(self) -> None:
        self._timer.heard()
        self._promote()

    def _promote(self) -> None:
        try:
            self._timer.set(self._storage.promote())
        except StorageMoved as moved:
            self._timer.set(None)
            if not self._shutdown.begun:
                self._shutdown.begin(Exit.MOVED)
                self._say(logging.WARNING, "storage moved", to=moved.to)

    def _end_hung(self) -> None:
        for member in self._hung.overdue(self._roster.members):
            self._say(logging.ERROR, "handler hangs beyond its timeout, killing its worker", pid=member.pid)
            self._roster.kill(member, HUNG)

    def _on_time(self) -> None:
        now = time.monotonic()
        if self._reloading.again_at is not None and now >= self._reloading.again_at:
            self._reload()
        self._shutdown.on_time(now)
        if self._renewals.kill_at is not None and now >= self._renewals.kill_at:
            self._renewals.kill_at = None
            if self._renewals.pid in self._roster.members:
                self._roster.kill(self._roster.members[self._renewals.pid], ON_PURPOSE)
        if self._hung.look_at is not None and now >= self._hung.look_at:
            self._end_hung()
        self._promote()
        if self._live and self._live.look_at is not None and now >= self._live.look_at:
            self._live.look(now)
        if self._drain and not self._shutdown.begun and now >= self._drain.look_at:
            verdict = self._drain.look(now)
            if verdict is not None:
                self._shutdown.begin(verdict)

    def _tell_serving(self) -> None:
        if self._control:
            self._control.tell(serving=True)
        self._service.serving()

    def _kill_all(self) -> None:
        self._reloading.end(self._watch)
        self._roster.kill_all()

    def _timeout_s(self) -> float | None:
        """Seconds until the next step that is due without news. None: none is due."""
        due = [] if self._roster.empty else [self._shutdown.kill_at]
        due += [self._renewals.kill_at, self._hung.look_at]
        if not self._shutdown.begun:
            due += [self._vacancies.next_at(len(self._roster.members), self._wanted), self._reloading.again_at]
            due.append(self._companions.start_at)
            due.append(self._drain.look_at if self._drain else None)
        due.append(self._live.look_at if self._live else None)
        times = [when for when in due if when is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _say(self, level: int, event: str, **fields: object) -> None:
        log.log(level, event, extra=fields)
