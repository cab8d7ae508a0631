"""Signals that reach a supervisor more than once for one wish, and more workers than can be."""

from __future__ import annotations

import os
import secrets
import signal

import pytest

from shardq.supervisor.exits import Exit
from tests.support.jobs import Folder, Gated
from tests.support.programs import ROOT, Supervise, until, wait_out_one_wish
from tests.support.segments import files_of
from tests.support.supervised import Start, client, left_in
from tests.support.tasks import LIMIT_S

JOBS = Gated.__module__
ONE_BY_ONE = {"QUEUE_WORKER_BATCH_SIZE": "1"}
TERM, INT, QUIT, STOP, CONT = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGSTOP, signal.SIGCONT


def busy(program: Supervise, url: str, folder: Folder) -> None:
    with client(url) as queue:
        queue.register_sync(Gated, *folder.notes(range(2)))
    folder.until("begin", 0)


@pytest.mark.parametrize("numbers", [(INT, TERM), (TERM, INT), (TERM, QUIT, INT)])
def test_what_arrives_together_is_one_wish(
    numbers: tuple[signal.Signals, ...], start: Start, url: str, folder: Folder
) -> None:
    program = start(JOBS, "--url", url, "--workers", 1, environment=ONE_BY_ONE).serving()
    busy(program, url, folder)

    program.signal(STOP)  # so that it finds them all at once, however slow this machine is
    for number in numbers:
        program.signal(number)
    program.signal(CONT)
    program.hear("stopping signal=")
    folder.permit(1)

    assert program.end() == Exit.OK
    assert "second signal" not in program.heard
    assert folder.done() == [0]
    assert left_in(url) == 1


def test_under_timeout_the_batch_in_hand_is_finished(start: Start, url: str, folder: Folder) -> None:
    """`timeout` passes a TERM on to its child, and then to the whole group."""
    by = ("timeout", str(int(LIMIT_S) * 10))
    program = start(JOBS, "--url", url, "--workers", 1, environment=ONE_BY_ONE, by=by).serving()
    busy(program, url, folder)

    os.kill(program.pid, TERM)
    program.hear("stopping signal=SIGTERM")
    folder.permit(1)

    program.end()
    assert "second signal" not in program.heard
    assert folder.done() == [0]
    assert left_in(url) == 1


def test_the_same_signal_later_on_is_another_wish(start: Start, url: str, folder: Folder) -> None:
    program = start(JOBS, "--url", url, "--workers", 1, environment=ONE_BY_ONE).serving()
    busy(program, url, folder)

    program.signal(TERM)
    program.hear("stopping signal=SIGTERM")
    wait_out_one_wish()
    program.signal(TERM)

    assert program.end() == Exit.KILLED
    assert "second signal, killing workers signal=SIGTERM" in program.heard
    assert left_in(url) == 2


BOUNDED = f"""
from shardq.supervisor import family
family.MOST_WORKERS = 3
from {JOBS} import Gated
"""


def test_there_are_no_more_workers_than_can_be(start: Start, url: str, name: str, folder: Folder) -> None:
    module = f"jobs_{secrets.token_hex(6)}"
    (folder.path / f"{module}.py").write_text(BOUNDED)
    environment = {"PYTHONPATH": f"{folder.path}:{ROOT}"}
    program = start(module, "--url", url, "--workers", 2, environment=environment).serving()

    for times in range(1, 4):
        program.signal(signal.SIGTTIN)
        if times == 1:
            program.workers(3)
        else:
            program.hear_times("the segment has places for no more workers workers=3", times - 1)
    program.signal(signal.SIGTTOU)

    until(lambda: len(program.workers(2)) == 2, "one less than can be is left")
    assert program.stop() == Exit.OK
    assert files_of(name) == set()
