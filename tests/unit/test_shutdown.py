"""The end of a family: its first reason stays, and no later wish leaves more time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from shardq.supervisor.exits import Exit
from shardq.supervisor.output.service import Service
from shardq.supervisor.shutdown import Shutdown
from shardq.supervisor.watch import Watch
from shardq.supervisor.workers.member import Member
from shardq.supervisor.workers.roster import Roster
from tests.support.programs import wait_out_one_wish

LONG_S = 3600.0


class Excusing:
    """What a roster asks of a storage as it kills."""

    def __init__(self) -> None:
        self.excused = list[int]()

    def excuse(self, pid: int) -> None:
        self.excused.append(pid)


@pytest.fixture
def storage() -> Excusing:
    return Excusing()


@pytest.fixture
def roster(storage: Any) -> Iterator[Roster]:
    """With a worker that ends at no signal but KILL."""
    reader, writer = os.pipe()
    watch = Watch(reader, lambda: None, lambda: None)
    roster = Roster(storage, watch, lambda member, death, how: None)
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(writer, b".")
        while True:
            signal.pause()
    os.read(reader, 1)
    roster.add(Member.of_child(pid, 1))
    yield roster
    roster.kill_all()
    watch.close()
    os.close(reader)
    os.close(writer)


@pytest.fixture
def shutdown(roster: Roster) -> Shutdown:
    return Shutdown(roster, Service(), LONG_S, roster.kill_all)


def left_s(shutdown: Shutdown) -> float:
    assert shutdown.kill_at is not None
    return shutdown.kill_at - time.monotonic()


def test_the_first_reason_stays_and_no_later_one_leaves_more_time(shutdown: Shutdown) -> None:
    assert not shutdown.begun
    shutdown.begin(Exit.OK, 60.0)
    shutdown.begin(Exit.UNSERVED)
    assert shutdown.how is Exit.OK
    assert left_s(shutdown) <= 60

    shutdown.begin(Exit.UNSERVED, 5.0)
    assert left_s(shutdown) <= 5
    assert shutdown.how is Exit.OK


@pytest.mark.parametrize("received", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_does_not_put_off_an_end_that_has_begun(received: signal.Signals, shutdown: Shutdown) -> None:
    shutdown.begin(Exit.UNSERVED, 1.0)
    shutdown.on_signal(received)
    assert left_s(shutdown) <= 1
    assert shutdown.how is Exit.UNSERVED


def test_the_signal_of_ctrl_c_leaves_less_time_than_term(shutdown: Shutdown) -> None:
    shutdown.on_signal(signal.SIGTERM)
    assert left_s(shutdown) > 5
    shutdown.on_signal(signal.SIGINT)
    assert left_s(shutdown) <= 5


def test_at_the_deadline_the_workers_are_killed_and_not_to_blame(
    shutdown: Shutdown, roster: Roster, storage: Excusing
) -> None:
    [pid] = roster.members
    shutdown.begin(Exit.OK, 60.0)
    assert shutdown.kill_at is not None
    shutdown.on_time(shutdown.kill_at - 0.1)
    assert not roster.empty

    shutdown.on_time(shutdown.kill_at)
    assert roster.empty
    assert (shutdown.how, storage.excused) == (Exit.KILLED, [pid])


def test_a_second_wish_kills_them_at_once(shutdown: Shutdown, roster: Roster) -> None:
    shutdown.on_signal(signal.SIGTERM)
    wait_out_one_wish()
    shutdown.on_signal(signal.SIGTERM)
    assert roster.empty
    assert shutdown.how is Exit.KILLED
