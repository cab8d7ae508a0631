"""Waking another process by its FIFO."""

from __future__ import annotations

import os
import resource
import select
import stat
from collections.abc import Iterator

import pytest

from shardq.shm.processes.doorbell import Doorbell
from shardq.shm.segment import Segment
from tests.support.segments import files_of


@pytest.fixture
def mine(segment: Segment) -> Iterator[Doorbell]:
    bell = Doorbell(segment, 0)
    yield bell
    bell.close()


@pytest.fixture
def theirs(segment: Segment) -> Iterator[Doorbell]:
    bell = Doorbell(segment, 1)
    yield bell
    bell.close()


def rung(bell: Doorbell) -> bool:
    return bool(select.select([bell.open()], [], [], 0)[0])


def test_a_ring_is_heard_by_its_slot_alone(mine: Doorbell, theirs: Doorbell) -> None:
    mine.open()
    theirs.open()

    mine.ring(1)

    assert rung(theirs)
    assert not rung(mine)


def test_silence_takes_in_all_rings_so_far(mine: Doorbell, theirs: Doorbell) -> None:
    theirs.open()
    for _ in range(5000):
        mine.ring(1)

    theirs.silence()
    assert not rung(theirs)

    mine.ring(1)
    assert rung(theirs)


def test_silence_without_a_ring_does_not_block(mine: Doorbell) -> None:
    mine.open()
    mine.silence()


def test_ringing_a_bell_that_no_process_reads_never_blocks(mine: Doorbell, theirs: Doorbell) -> None:
    theirs.open()

    for _ in range(70_000):  # more than a pipe holds
        mine.ring(1)

    assert rung(theirs)


def test_ringing_where_no_process_is_does_nothing(mine: Doorbell, segment: Segment) -> None:
    mine.ring(1)
    mine.ring(200)

    assert not [file for file in files_of(segment.name) if ":bell." in file]


def test_a_bell_left_by_the_dead_is_that_of_no_process(mine: Doorbell, theirs: Doorbell) -> None:
    theirs.open()
    mine.ring(1)
    theirs.forget()

    mine.ring(1)
    mine.ring(1)


def test_who_opens_it_again_is_heard(mine: Doorbell, segment: Segment) -> None:
    for _ in range(3):
        later = Doorbell(segment, 1)
        later.open()
        mine.ring(1)
        assert rung(later)
        later.close()


def test_a_bell_of_the_dead_is_taken_over_by_the_next_in_its_slot(mine: Doorbell, segment: Segment) -> None:
    dead, later = Doorbell(segment, 1), Doorbell(segment, 1)
    dead.open()
    mine.ring(1)
    dead.forget()

    later.open()
    later.silence()
    mine.ring(1)

    assert rung(later)
    later.close()


def test_one_may_ring_oneself(mine: Doorbell) -> None:
    mine.ring(0)

    assert rung(mine)


def test_closing_removes_the_file_and_forgetting_does_not(mine: Doorbell, segment: Segment) -> None:
    def bells() -> list[str]:
        return [file for file in files_of(segment.name) if ":bell." in file]

    assert bells() == []
    mine.open()
    assert len(bells()) == 1

    mine.forget()
    assert len(bells()) == 1

    mine.open()
    mine.close()
    mine.close()
    assert bells() == []


def test_the_file_is_private(mine: Doorbell) -> None:
    mode = os.fstat(mine.open()).st_mode

    assert stat.S_ISFIFO(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_no_descriptor_is_left(mine: Doorbell, theirs: Doorbell) -> None:
    before = set(os.listdir("/proc/self/fd"))
    theirs.open()
    mine.open()
    mine.ring(1)
    theirs.ring(0)

    mine.close()
    theirs.close()

    assert set(os.listdir("/proc/self/fd")) == before


def test_a_bell_out_of_reach_is_no_error(mine: Doorbell, theirs: Doorbell) -> None:
    """What it rings for is stored by then, and must not look refused."""
    theirs.open()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        mine.ring(1)
        mine.ring(0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    mine.ring(1)
    assert rung(theirs)
