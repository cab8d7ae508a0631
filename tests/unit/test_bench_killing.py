"""What a journal says of requests whose workers were killed, and how many are killed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench.load.jobs import NOTE, THREADS
from bench.load.killing import Journal, kill_workers


def journal_of(folder: Path, *numbers: int, pid: int = 7) -> Journal:
    """One with these requests, in the order in which they were done."""
    journal = Journal(str(folder))
    Path(journal.path).write_bytes(b"".join(NOTE.pack(number, pid) for number in numbers))
    return journal


@pytest.mark.parametrize(
    ("done", "lost", "late", "again"),
    [
        ((1, 0, 2, THREADS), 0, 0, 0),
        ((1, 0, 2), 1, 0, 0),
        ((1, THREADS, 0, 2), 0, 1, 0),
        ((1, 0, 2, THREADS, 0, THREADS), 0, 0, 2),
        ((), THREADS + 1, 0, 0),
    ],
)
def test_an_outcome_tells_the_lost_from_the_late_and_from_those_done_again(
    tmp_path: Path, done: tuple[int, ...], lost: int, late: int, again: int
) -> None:
    some = {0, 1, 2, THREADS}
    journal = journal_of(tmp_path, *done, *(set(range(THREADS + 1)) - some if done else ()))
    assert journal.outcome(THREADS + 1, kills=3) == {"kills": 3, "lost": lost, "late": late, "again": again}


def test_a_worker_is_killed_once_and_what_stands_still_is_given_up(tmp_path: Path) -> None:
    with subprocess.Popen(("sleep", "3600")) as worker:
        journal = journal_of(tmp_path, 0, 1, pid=worker.pid)
        assert kill_workers(journal, 1, 2, lambda: True, still_s=0.1) == 1
        assert worker.wait() == -9


def test_no_worker_is_killed_before_the_first_entry(tmp_path: Path) -> None:
    assert kill_workers(Journal(str(tmp_path)), 1, 1, lambda: False, still_s=60.0) == 0
