"""The table of how processes ended: what is found in it, and for how long."""

from __future__ import annotations

from signal import SIGKILL, SIGSEGV

import pytest

from shardq.model import Ending
from shardq.shm import words as at
from shardq.shm.processes.exit_log import ExitLog
from shardq.shm.segment import Segment


def owner(number: int) -> int:
    """The owner word of some process."""
    return number << 16 | 1


@pytest.fixture
def deaths(segment: Segment) -> ExitLog:
    return ExitLog(segment)


@pytest.mark.parametrize(
    "ending",
    [Ending(signal=SIGSEGV), Ending(exit_code=0), Ending(exit_code=255), Ending(signal=SIGKILL, timed_out=True)],
    ids=str,
)
def test_an_ending_is_read_as_it_was_written(deaths: ExitLog, ending: Ending) -> None:
    deaths.note(owner(7), ending)
    assert deaths.of(owner(7)) == ending
    assert not deaths.excused(owner(7))


def test_nothing_is_known_of_who_was_not_noted(deaths: ExitLog) -> None:
    deaths.note(owner(7), Ending(signal=SIGKILL))
    assert deaths.of(owner(8)) is None
    assert not deaths.excused(owner(8))


def test_the_next_incarnation_of_a_slot_is_another_process(deaths: ExitLog) -> None:
    deaths.note(owner(7), Ending(signal=SIGKILL), excused=True)
    assert not deaths.excused(owner(7) + (1 << 16))


def test_a_death_that_was_planned_is_excused(deaths: ExitLog) -> None:
    deaths.note(owner(7), Ending(signal=SIGKILL), excused=True)
    assert deaths.excused(owner(7))
    assert deaths.of(owner(7)) == Ending(signal=SIGKILL)


@pytest.mark.parametrize("excused", [True, False])
def test_the_first_note_stays(deaths: ExitLog, excused: bool) -> None:
    deaths.note(owner(7), Ending(signal=SIGKILL, timed_out=True), excused=excused)
    deaths.note(owner(7), Ending(exit_code=3), excused=not excused)
    assert deaths.of(owner(7)) == Ending(signal=SIGKILL, timed_out=True)
    assert deaths.excused(owner(7)) == excused


def test_the_oldest_of_more_than_64_is_forgotten(deaths: ExitLog) -> None:
    for number in range(1, at.DEATH_ENTRIES + 2):
        deaths.note(owner(number), Ending(exit_code=number))
    assert deaths.of(owner(1)) is None
    assert [deaths.of(owner(number)) for number in range(2, at.DEATH_ENTRIES + 2)] == [
        Ending(exit_code=number) for number in range(2, at.DEATH_ENTRIES + 2)
    ]


def test_the_table_goes_round_again_and_again(deaths: ExitLog) -> None:
    last = 3 * at.DEATH_ENTRIES + 5
    for number in range(1, last + 1):
        deaths.note(owner(number), Ending(exit_code=number & 0xFF))
    known = [number for number in range(1, last + 1) if deaths.of(owner(number))]
    assert known == list(range(last - at.DEATH_ENTRIES + 1, last + 1))


def test_the_table_lies_between_the_header_words_and_the_slots(segment: Segment) -> None:
    last_header_word = at.DEATHS_CURSOR
    assert last_header_word < at.DEATHS
    assert (at.DEATHS + at.DEATH_ENTRIES * at.DEATH_WORDS) * at.WORD <= at.HEADER_BYTES
    assert segment.layout.slots_word * at.WORD >= at.HEADER_BYTES


def test_a_note_cut_off_is_not_found(deaths: ExitLog, segment: Segment) -> None:
    """The owner word is written last: until then the entry says nothing, not even of the one before."""
    for number in range(1, at.DEATH_ENTRIES + 1):
        deaths.note(owner(number), Ending(exit_code=1))
    segment.words[at.DEATHS] = 0  # the first entry, about to be written anew
    assert deaths.of(owner(1)) is None
    deaths.note(owner(999), Ending(exit_code=9))
    assert deaths.of(owner(999)) == Ending(exit_code=9)
