"""Handlers that take longer than they may, in the eyes of the supervisor."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from shardq.model import Counts, Ending
from shardq.supervised import LastSeen
from shardq.supervisor.exits import Exit
from shardq.supervisor.workers.hung import GRACE_S, HungWorkers
from shardq.supervisor.workers.member import Member
from tests.support.crashing import TIMEOUT_S, Ask, AsyncDozing, Dozing, Fragile, environment
from tests.support.homes import Home, cases_on_homes, on_each_home
from tests.support.programs import until
from tests.support.supervised import Start, client, dead_letters, forget_dead, until_dead

MODULE = Fragile.__module__


class FakeStorage:
    """What workers noted, given by the test; and which of them were condemned."""

    def __init__(self) -> None:
        self.noted: dict[int, int] = {}
        self.condemned: list[int] = []

    def deadlines(self) -> dict[int, int]:
        return self.noted

    def condemn(self, pid: int) -> None:
        self.condemned.append(pid)

    def bell(self) -> int:
        raise NotImplementedError

    def silence(self) -> None:
        raise NotImplementedError

    def quiet(self) -> bool:
        raise NotImplementedError

    def promote(self) -> int | None:
        raise NotImplementedError

    def counts(self) -> Counts:
        raise NotImplementedError

    def only_unserved(self) -> list[str]:
        raise NotImplementedError

    def wake_workers(self) -> None:
        raise NotImplementedError

    def note_death(self, pid: int, ending: Ending) -> LastSeen:
        raise NotImplementedError

    def excuse(self, pid: int) -> None:
        raise NotImplementedError

    def renewals(self) -> list[int]:
        raise NotImplementedError

    def strangers(self) -> list[int]:
        raise NotImplementedError


def done_in(folder: Path) -> list[str]:
    path = folder / "done"
    return path.read_text().split() if path.exists() else []


def now_ns() -> int:
    return time.monotonic_ns()


ME = {os.getpid(): Member(os.getpid(), -1, 1)}


def test_without_a_deadline_no_worker_is_looked_at() -> None:
    hung = HungWorkers(FakeStorage())
    assert hung.overdue(ME) == []
    assert hung.look_at is None


def test_the_next_look_is_when_the_first_one_is_overdue() -> None:
    storage = FakeStorage()
    soon, later = now_ns() + 10**9, now_ns() + 5 * 10**9
    storage.noted = {os.getpid(): later, 2: soon}
    hung = HungWorkers(storage)
    assert hung.overdue({**ME, 2: Member(2, -1, 2)}) == []
    assert hung.look_at == soon / 1e9 + GRACE_S


def test_who_is_overdue_is_condemned_before_it_is_killed() -> None:
    storage = FakeStorage()
    storage.noted = {os.getpid(): now_ns() - int((GRACE_S + 1) * 1e9)}
    hung = HungWorkers(storage)
    assert hung.overdue(ME) == [ME[os.getpid()]]
    assert storage.condemned == [os.getpid()]


def test_others_than_the_own_workers_are_left_alone_and_looked_at_again() -> None:
    """While one of them is late no bell rings."""
    storage = FakeStorage()
    storage.noted = {1: 1}
    hung = HungWorkers(storage)
    assert hung.overdue(ME) == []
    assert storage.condemned == []
    assert hung.look_at is not None
    assert hung.look_at > time.monotonic()


def test_who_comes_to_its_end_at_the_last_moment_is_spared() -> None:
    late = now_ns() - int((GRACE_S + 1) * 1e9)
    next_ = now_ns() + 10**9

    class Finishing(FakeStorage):
        """Its worker is done and begins another batch as soon as the supervisor has seen that it is late."""

        def deadlines(self) -> dict[int, int]:
            noted, self.noted = self.noted, {os.getpid(): next_}
            return noted

    storage = Finishing()
    storage.noted = {os.getpid(): late}
    hung = HungWorkers(storage)

    assert hung.overdue(ME) == []
    assert storage.condemned == []
    assert hung.look_at is not None
    assert hung.look_at <= time.monotonic(), "what it has in hand now is looked at at once"

    assert hung.overdue(ME) == []
    assert hung.look_at == next_ / 1e9 + GRACE_S


@on_each_home
def test_a_stopped_worker_is_reported_and_its_batch_goes_on_when_it_does(
    start: Start, home: Home, tmp_path: Path
) -> None:
    how = "stop-in-native-code"
    program = start(MODULE, "--url", home.url, "--workers", 1, environment=environment(tmp_path, how)).serving()
    [worker] = program.workers(1)
    with client(home.url) as queue:
        queue.register_sync(Fragile, Ask(0, how))
        program.hear(rf"worker is stopped, its batch waits pid={worker}")
        os.kill(worker, signal.SIGCONT)
        until((tmp_path / "done").exists, "its batch is done")
        assert dead_letters(queue) == []
    assert program.workers(1) == {worker}
    assert program.stop() == Exit.OK
    assert home.left() == []


@cases_on_homes("how", {"doze": ("doze",), "doze-awaiting": ("doze-awaiting",)}, ["doze-awaiting"])
def test_a_timeout_that_ran_out_while_the_worker_was_stopped_begins_anew(
    how: str, start: Start, home: Home, tmp_path: Path
) -> None:
    hanging = environment(tmp_path, "hang")
    program = start(MODULE, "--url", home.url, "--workers", 1, environment=hanging).serving()
    [worker] = program.workers(1)
    handler = Dozing if how == "doze" else AsyncDozing
    with client(home.url) as queue:
        queue.register_sync(handler, Ask(0))
        program.hear(rf"worker is stopped, its batch waits pid={worker}")
        os.kill(worker, signal.SIGCONT)
        until(lambda: done_in(tmp_path) == ["0"], "its batch is done")
        assert dead_letters(queue) == []
    assert "failed" not in program.heard
    assert program.stop() == Exit.OK
    assert home.left() == []


@on_each_home
def test_a_worker_that_hangs_keeps_no_other_from_its_work(start: Start, home: Home, tmp_path: Path) -> None:
    """The supervisor is rung for each first deadline anew, and sleeps between."""
    program = start(MODULE, "--url", home.url, "--workers", 2, environment=environment(tmp_path, "hang")).serving()
    with client(home.url) as queue:
        for round_ in range(2):
            queue.register_sync(Fragile, Ask(round_, "hang"))
            buried = until_dead(queue, 1)
            assert [b.letter.signal for b in buried] == ["SIGKILL"]
            assert buried[0].letter.last_failed_us - buried[0].letter.first_failed_us >= (TIMEOUT_S + GRACE_S) * 1e6
            queue.register_sync(Fragile, Ask(10 + round_))
            until(lambda: str(10 + round_) in done_in(tmp_path), "the next is done")  # noqa: B023
            forget_dead(queue)
    assert program.hear("handler hangs beyond its timeout, killing its worker pid=")
    assert program.stop() == Exit.OK
    assert home.left() == []
