"""How soon workers that died are replaced, in a family whose vacancies rest for long."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from shardq.supervisor.exits import Exit
from tests.support.crashing import Ask, Fragile, environment
from tests.support.jobs import Folder, Gated
from tests.support.programs import Supervise, until
from tests.support.segments import files_of
from tests.support.supervised import Start, attached, client, dead_letters, forget_dead, until_dead

JOBS = Gated.__module__
ONE_BY_ONE = {"QUEUE_WORKER_BATCH_SIZE": "1"}
#: Seconds that no test waits: what happens in spite of them did not wait for them.
FOR_LONG = 3600


def kill(program: Supervise, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    program.hear(rf"worker ended pid={pid} how=SIGKILL")


def test_a_batch_does_not_wait_for_the_place_of_another(start: Start, url: str, name: str, folder: Folder) -> None:
    options = ("--workers", 3, "--respawn-delay", FOR_LONG)
    program = start(JOBS, "--url", url, *options, environment=ONE_BY_ONE).serving()
    with client(url) as queue:
        queue.register_sync(Gated, *folder.notes(range(2)))
        [line] = folder.until("begin", 0)
        for _ in range(2):  # the first is replaced at once, the place of the second rests
            idle = attached(program, name, 3) - {line.pid}
            kill(program, idle.pop())
        program.hear("workers keep dying next_start_s=30.0")
        [idle_one] = program.workers(2) - {line.pid}

        kill(program, line.pid)
        again = folder.until_again(line)
        assert {idle_one, again.pid} <= attached(program, name, 2), "the other place still rests"
        folder.permit(2)
        folder.until("done", 0, 1)

    assert program.stop() == Exit.OK
    assert files_of(name) == set()


@pytest.mark.parametrize("counts", [(1, 1, 1, 1, 1), (2, 2, 1, 1, 1)], ids=["one", "two"])
def test_there_is_never_a_family_of_none(
    counts: tuple[int, ...], start: Start, url: str, name: str, folder: Folder
) -> None:
    """`counts`: how many there are before each kill. The place of the second that dies rests, but for the last one."""
    program = start(JOBS, "--url", url, "--workers", counts[0], "--respawn-delay", FOR_LONG).serving()
    for count in counts:
        kill(program, attached(program, name, count).pop())
    folder.permit(1)
    with client(url) as queue:
        queue.register_sync(Gated, *folder.notes([0]))
        folder.until("done", 0)

    assert program.stop() == Exit.OK
    assert program.heard.count("workers keep dying") == (1 if counts[0] > 1 else 0)
    assert files_of(name) == set()


def test_more_workers_that_are_asked_for_start_at_once(start: Start, url: str, name: str) -> None:
    program = start(JOBS, "--url", url, "--workers", 2, "--respawn-delay", FOR_LONG).serving()
    for _ in range(2):
        kill(program, attached(program, name, 2).pop())
    program.hear("workers keep dying")
    program.workers(1)

    program.signal(signal.SIGTTIN)

    program.workers(2)
    assert program.stop() == Exit.OK
    assert files_of(name) == set()


def test_what_kills_its_workers_in_start_keeps_no_worker_from_other_handlers(
    start: Start, url: str, name: str, tmp_path: Path, folder: Folder
) -> None:
    (tmp_path / "plan").write_text("start kill")
    options = ("--workers", 1, "--respawn-delay", FOR_LONG)
    program = start(Fragile.__module__, JOBS, "--url", url, *options, environment=environment(tmp_path)).serving()
    with client(url) as queue:
        queue.register_sync(Fragile, Ask(0))
        program.hear_times("worker ended", 2)

        folder.permit(1)
        queue.register_sync(Gated, *folder.notes([0]))
        folder.until("done", 0)

        (tmp_path / "mended").touch()
        until(lambda: (tmp_path / "done").exists(), "it is done once it is mended")
        assert dead_letters(queue) == []

    assert program.stop() == Exit.OK
    assert "workers keep dying" not in program.heard
    assert files_of(name) == set()


def test_what_kills_its_workers_with_a_batch_in_hand_delays_no_other_handler(
    start: Start, url: str, name: str, tmp_path: Path, folder: Folder
) -> None:
    options = ("--workers", 1, "--respawn-delay", FOR_LONG)
    program = start(Fragile.__module__, JOBS, "--url", url, *options, environment=environment(tmp_path)).serving()
    kill(program, attached(program, name, 1).pop())
    kill(program, attached(program, name, 1).pop())
    with client(url) as queue:
        queue.register_sync(Fragile, Ask(0, "segfault"))
        folder.permit(1)
        queue.register_sync(Gated, *folder.notes([0]))
        until_dead(queue, 1)
        folder.until("done", 0)
        forget_dead(queue)

    assert program.stop() == Exit.OK
    assert "workers keep dying" not in program.heard
    assert files_of(name) == set()
