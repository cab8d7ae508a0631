"""The supervisor's loop: it converges to the wanted number of workers until it is to stop, or all is done.

News arrives through descriptors only: signals by a pipe, deaths by one pidfd each, all else by the storage's doorbell.
With no news and no timer due the loop sleeps in `select` for ever.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from shardq.settings import SupervisorSettings
from shardq.supervisor.arrivals import Arrivals
from shardq.supervisor.board import Board
from shardq.supervisor.control import Control
from shardq.supervisor.drain import Drain
from shardq.supervisor.exits import Exit
from shardq.supervisor.hung import HungWorkers
from shardq.supervisor.member import Member
from shardq.supervisor.pace import Pace
from shardq.supervisor.reload import Resumption, start_probe
from shardq.supervisor.renewal import Renewals
from shardq.supervisor.signals import Signals, fork
from shardq.supervisor.timer import Timer

log = logging.getLogger("shardq.supervisor")

#: When to try again to fork where the system refuses to.
_FORK_AGAIN_S = 1.0
#: How long a worker may take for its batch after INT or QUIT.
_FAST_STOP_S = 5.0

#: How long to wait at a time: `select` takes no more than 24 days.
_LONGEST_WAIT_S = 86400.0

_ON_PURPOSE, _HUNG = "killed at the deadline, which is no failure", "killed because its handler hung"

_READ = selectors.EVENT_READ

#: Runs a worker process: (number of the worker, its end of the life pipe, descriptors to close).
RunWorker = Callable[[int, int, Sequence[int]], NoReturn]
#: Executes the supervisor anew: (what it leaves to itself but for the lock, descriptors to keep).
ExecuteAgain = Callable[[Resumption, Sequence[int]], NoReturn]


class Family:
    """The workers of one supervisor."""

    def __init__(
        self,
        board: Board,
        run_worker: RunWorker,
        execute_again: ExecuteAgain,
        settings: SupervisorSettings,
        control: Control | None = None,
        resumption: Resumption | None = None,
    ) -> None:
        self._board = board
        self._run_worker = run_worker
        self._execute_again = execute_again
        self._settings = settings
        self._control = control
        self._resumption = resumption
        self._wanted = settings.workers
        self._members: dict[int, Member] = {}
        """Workers by pid."""
        self._strangers: dict[int, Member] = {}
        """Workers of a supervisor that died, on their way out."""
        self._killed: dict[int, str] = {}
        """Why workers were killed by this very process."""
        self._probe: Member | None = None
        self._renewals = Renewals()
        self._hung = HungWorkers(board)
        self._arrivals = Arrivals(board, control)
        self._timer = Timer()
        self._drain: Drain | None = None
        self._pace = Pace(settings.respawn_delay)
        self._respawn_at: float | None = None
        self._kill_at: float | None = None
        self._exit: Exit | None = None
        self._asked = False
        """Whether somebody asked for the end: asking again means at once."""
        self._numbered = 0

    def run(self, signals: Signals) -> Exit:
        """Serve until stopped or drained, and return how it ended. No worker is left then."""
        self._signals = signals
        self._selector = selectors.DefaultSelector()
        with self._selector:
            self._selector.register(self._signals.descriptor, _READ, self._on_signals)
            self._selector.register(self._board.bell(), _READ, self._on_bell)
            self._selector.register(self._timer.open(), _READ, self._on_timer)
            if self._control:
                self._selector.register(self._control.descriptor, _READ, self._on_control)
            if self._settings.drain:
                begun = self._resumption.drain if self._resumption else None
                self._drain = Drain(self._board, as_json=self._settings.json_output, begun=begun)
            if self._resumption:
                self._resume(self._resumption)
            else:
                self._life, self._life_writer = os.pipe2(os.O_CLOEXEC)
            self._send_strangers_away()
            try:
                if self._control:
                    self._on_control()  # how many workers the application asked for before this one served
                self._on_bell()
                self._converge()
                while self._members or self._strangers or self._exit is None:
                    for key, _ in self._selector.select(self._timeout_s()):
                        key.data()
                    self._on_time()
                    self._converge()
            finally:
                self._kill_all()
                self._timer.close()
                os.close(self._life)
                os.close(self._life_writer)
        how = self._exit or Exit.OK
        return self._drain.ended(how) if self._drain else how

    def _resume(self, left: Resumption) -> None:
        """Go on with what this process left to itself: the workers run the former code and are replaced in turn."""
        self._life, self._life_writer = left.life, left.life_writer
        os.set_inheritable(self._life, False)
        os.set_inheritable(self._life_writer, False)
        self._wanted, self._numbered = left.workers, left.numbered
        for pid, number in left.members.items():
            self._add(self._members, Member.of(pid, number))
        self._renewals.add(left.members)
        log.info("reloaded", extra={"workers": len(left.members)})

    def _send_strangers_away(self) -> None:
        """End the workers of a supervisor that died. They leave by themselves; who hangs is killed in time."""
        for pid in set(self._board.strangers()) - self._members.keys():
            try:
                stranger = Member.of(pid, 0, child=False)
            except ProcessLookupError:
                continue
            if pid not in self._board.strangers():
                stranger.close()  # a later process has its number
                continue
            self._add(self._strangers, stranger)
            log.warning("worker of a supervisor that died", extra={"pid": pid})
            stranger.signal(signal.SIGTERM)
            self._kill_at = time.monotonic() + self._settings.shutdown_timeout

    def _converge(self) -> None:
        """Fork what is missing, send away what is too much or worn."""
        if self._exit is not None:
            return
        due = self._respawn_at is None or time.monotonic() >= self._respawn_at
        while due and len(self._members) < self._wanted:
            self._fork()
            due = self._respawn_at is None or time.monotonic() >= self._respawn_at
        self._arrivals.look(self._members)
        if len(self._members) >= self._wanted:
            self._respawn_at = None
        for pid in list(self._members)[self._wanted :]:
            self._members[pid].signal(signal.SIGTERM)
        leaving = self._renewals.next(self._settings.shutdown_timeout)
        if leaving is not None:
            self._members[leaving].signal(signal.SIGTERM)
            self._say(logging.INFO, "replacing worker", pid=leaving)

    def _fork(self) -> None:
        number = self._numbered = self._numbered + 1
        try:
            pid = fork()
        except OSError as error:
            self._say(logging.ERROR, "cannot fork a worker now", error=str(error))
            self._respawn_at = time.monotonic() + _FORK_AGAIN_S
            return
        if pid == 0:
            self._become_worker(number)
        self._add(self._members, Member.of(pid, number))

    def _become_worker(self, number: int) -> NoReturn:
        """In a forked child, which must not come back: the supervisor's own cleanup stands further down this stack."""
        try:
            self._run_worker(number, self._life, [*self._own_descriptors(), self._life_writer])
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(Exit.WORKER_FAILED)

    def _own_descriptors(self) -> list[int]:
        """What no child may keep, beside the line to the application, which closes itself in a fork."""
        members = [*self._members.values(), *self._strangers.values(), *([self._probe] if self._probe else [])]
        return [
            self._signals.descriptor,
            self._selector.fileno(),
            self._timer.descriptor,
            *(member.descriptor for member in members),
        ]

    def _add(self, group: dict[int, Member], member: Member) -> None:
        group[member.pid] = member
        self._selector.register(member.descriptor, _READ, lambda: self._on_death(group, member))

    def _discard(self, member: Member) -> None:
        self._selector.unregister(member.descriptor)
        member.close()

    def _on_death(self, group: dict[int, Member], member: Member) -> None:
        # Somebody earlier in this round may have killed and discarded it.
        death = member.reap() if group.get(member.pid) is member else None
        if death is None:
            return
        del group[member.pid]
        self._discard(member)
        # Of what is not a child of this process nobody here saw how it ended.
        seen = self._board.note_death(member.pid, death.ending) if member.child else None
        self._board.wake_workers()
        self._end_hung()  # with this one gone there may be no deadline left to look at: then the next must ring
        planned, how = self._renewals.ended(member.pid), self._killed.pop(member.pid, "")
        if seen is None or self._exit is not None:
            return
        if death.clean and (planned or len(self._members) >= self._wanted):
            return
        level = logging.INFO if death.clean or how == _ON_PURPOSE else logging.ERROR
        self._say(level, "worker ended", pid=death.pid, how=how or death.how)
        if death.at_boot and not seen.attached:  # later it is any handler's exit code
            self._stop(Exit.BOOT, self._settings.shutdown_timeout)
        elif not planned and not seen.had_batch:
            # Those that a batch took down are replaced at once: it is the batch that is put off, and put away in time.
            self._put_off_replacement()

    def _put_off_replacement(self) -> None:
        now = time.monotonic()
        delay_s = self._pace.delay_s(now)
        self._respawn_at = now + delay_s
        if delay_s >= 1:
            self._say(logging.WARNING, "workers keep dying", next_start_s=round(delay_s, 1))

    def _on_signals(self) -> None:
        for received in self._signals.received():
            if received is signal.SIGTTIN:
                self._wanted += 1
            elif received is signal.SIGTTOU:
                self._wanted = max(1, self._wanted - 1)
            elif received is signal.SIGUSR2:
                for member in self._members.values():
                    member.signal(signal.SIGUSR2)
            elif received is signal.SIGHUP:
                self._reload()
            elif received is not signal.SIGUSR1:
                self._on_stop_signal(received)

    def _on_stop_signal(self, received: signal.Signals) -> None:
        if self._asked:
            self._say(logging.WARNING, "second signal, killing workers", signal=received.name)
            self._kill_all()
            self._exit = Exit.KILLED
            return
        self._asked = True
        timeout_s = self._settings.shutdown_timeout
        self._say(logging.INFO, "stopping", signal=received.name, workers=len(self._members))
        fast = received is not signal.SIGTERM
        self._stop(Exit.OK, min(_FAST_STOP_S, timeout_s) if fast else timeout_s)

    def _reload(self) -> None:
        """See first whether the new code can be imported at all. A probe under way may have read the code before: it
        makes place for another.
        """
        if self._exit is not None:
            return
        self._end_probe()
        pid = start_probe([*self._own_descriptors(), self._life, self._life_writer])
        self._say(logging.INFO, "trying the new code", pid=pid)
        self._probe = Member.of(pid, 0)
        self._selector.register(self._probe.descriptor, _READ, self._on_probe)

    def _end_probe(self) -> None:
        if self._probe:
            self._probe.signal(signal.SIGKILL)
            self._probe.wait()
            self._discard(self._probe)
            self._probe = None

    def _on_probe(self) -> None:
        probe = self._probe
        death = probe.reap() if probe else None
        if probe is None or death is None:
            return
        self._probe = None
        self._discard(probe)
        if not death.clean:
            self._say(logging.ERROR, "reload refused: the new code does not import", how=death.how)
            return
        self._on_signals()  # one of them may be to stop, or to try still newer code
        if self._exit is None and self._probe is None:
            self._begin_anew()

    def _begin_anew(self) -> None:
        members = {pid: member.number for pid, member in self._members.items()}
        begun = self._drain.begun if self._drain else None
        left = Resumption(-1, -1, self._life, self._life_writer, self._wanted, self._numbered, members, begun)
        self._say(logging.INFO, "reloading", workers=len(members))
        self._signals.hold_back()
        self._execute_again(left, [self._control.line] if self._control else [])

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
        self._renewals.add(pid for pid in self._board.renewals() if pid in self._members)
        self._end_hung()
        self._timer.set(self._board.promote())
        if self._drain and self._exit is None and self._board.quiet():
            self._stop(Exit.OK, self._settings.shutdown_timeout)

    def _on_timer(self) -> None:
        self._timer.heard()
        self._timer.set(self._board.promote())

    def _end_hung(self) -> None:
        for member in self._hung.overdue(self._members):
            self._say(logging.ERROR, "handler hangs beyond its timeout, killing its worker", pid=member.pid)
            self._killed[member.pid] = _HUNG
            member.signal(signal.SIGKILL)

    def _on_time(self) -> None:
        now = time.monotonic()
        if self._kill_at is not None and now >= self._kill_at and (self._members or self._strangers):
            self._on_deadline()
        if self._renewals.kill_at is not None and now >= self._renewals.kill_at:
            self._renewals.kill_at = None
            if self._renewals.pid in self._members:
                self._end_on_purpose(self._members[self._renewals.pid])
        if self._hung.look_at is not None and now >= self._hung.look_at:
            self._end_hung()
        self._timer.set(self._board.promote())
        if self._drain and self._exit is None and now >= self._drain.look_at:
            verdict = self._drain.look(now)
            if verdict is not None:
                self._stop(verdict, self._settings.shutdown_timeout)

    def _on_deadline(self) -> None:
        self._kill_at = None
        if self._exit is None:
            for stranger in self._strangers.values():
                self._end_on_purpose(stranger)
            return
        self._say(logging.WARNING, "deadline over, killing workers", workers=len(self._members))
        self._kill_all()
        self._exit = Exit.KILLED

    def _end_on_purpose(self, member: Member) -> None:
        """Kill a worker whose batch is not to blame."""
        self._board.excuse(member.pid)
        self._killed[member.pid] = _ON_PURPOSE
        member.signal(signal.SIGKILL)

    def _stop(self, how: Exit, timeout_s: float) -> None:
        self._exit = how if self._exit is None else self._exit
        self._kill_at = time.monotonic() + timeout_s
        for member in self._members.values():
            member.signal(signal.SIGTERM)

    def _kill_all(self) -> None:
        self._end_probe()
        for group in (self._members, self._strangers):
            for member in group.values():
                self._end_on_purpose(member)
                member.wait()
                self._discard(member)
            group.clear()

    def _timeout_s(self) -> float | None:
        """Until the next thing that is due without news, or until it is time to reckon anew. None: nothing is due."""
        due = [self._kill_at] if self._members or self._strangers else []
        due += [self._renewals.kill_at, self._hung.look_at]
        if self._exit is None:
            due.append(self._respawn_at if len(self._members) < self._wanted else None)
            due.append(self._drain.look_at if self._drain else None)
        times = [when for when in due if when is not None]
        return min(max(0.0, min(times) - time.monotonic()), _LONGEST_WAIT_S) if times else None

    def _say(self, level: int, event: str, **fields: object) -> None:
        if self._drain:
            self._drain.clear()
        log.log(level, event, extra=fields)
