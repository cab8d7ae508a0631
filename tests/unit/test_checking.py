"""A segment is read as a whole, and what is wrong in it is said, whatever another program wrote into it."""

from __future__ import annotations

import os
import random
import resource
import time
from collections.abc import Callable, Iterator

import pytest

from shardq.errors import SegmentError
from shardq.shm import words as at
from shardq.shm.checking.image import image_of
from shardq.shm.checking.look import Moment
from shardq.shm.checking.whole import wrongs
from shardq.shm.memory import record
from shardq.shm.segment import Segment
from shardq.shm.store import Store
from shardq.shm.words import WORD
from tests.faults.kit.damage import limited
from tests.faults.kit.points import Child, die_at, lines_of, one_of_each_line
from tests.support import hands
from tests.support.chance import EVERYTHING, SEED
from tests.support.lean import LeanProcess
from tests.support.segments import stores

PIPES = [f"m/H/{thread}/{priority}" for thread in range(3) for priority in (-1, 0)]
PIPE, KEY, GRAVE = PIPES[1], "m/H/0", "m/H/dead/0"
FAR_US = 1 << 52
#: How many words are overwritten, one at a time.
TRIES = 400
#: One line in so many is died at.
LINES_APART = 5 if EVERYTHING else 15


@pytest.fixture
def full(store: Store) -> Store:
    return filled(store)


def filled(store: Store) -> Store:
    """With some of all that a segment can hold."""
    assert store.appending.append([(pipe, [b"%d" % n for n in range(20)]) for pipe in PIPES])
    assert store.appending.append([(PIPES[3], [bytes(70_000), b"behind"])])
    assert store.appending.append_absent([(PIPES[4], [b"alone", b"alone"])]) == 1
    assert store.deferring.defer([(PIPES[2], [b"later", bytes(3000)])], FAR_US)
    assert store.deferring.repeat([(PIPES[5], [b"again"])], "every 3600", FAR_US)
    token = store.delivering.claim(KEY)
    assert hands.bury(store.burying, PIPES[0], 0, token, GRAVE, b"letter", 10).buried
    hands.take(store.delivering, [PIPE], 5, token)
    store.recording.record(1, b"what an operator did")
    return store


@pytest.fixture
def image(full: Store) -> Iterator[Segment]:
    """A copy in which words can be overwritten."""
    image = image_of(full.segment)
    yield image
    image.close()


def found(segment: Segment) -> list[str]:
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return wrongs(segment, Moment(now_ns, now_ns, lambda pid: True))


def test_nothing_is_wrong_with_what_the_verbs_leave(full: Store, image: Segment) -> None:
    assert full.checking.wrongs() == found(image) == []


def test_the_segment_goes_on_after_it_was_read(full: Store) -> None:
    before = full.segment.taken_bytes
    assert full.checking.wrongs() == []
    assert full.segment.taken_bytes == before
    assert full.appending.append([(PIPE, [b"more"])])


def test_without_memory_for_the_copy_an_error_says_so_and_others_go_on(full: Store) -> None:
    def look() -> str:
        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (1 << 20, most))
        with pytest.raises(SegmentError, match="cannot copy segment") as refused:
            full.checking.wrongs()
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        return type(refused.value).__name__

    assert Child(look).result() in ("SegmentNoRoom", "SegmentUnavailable")
    assert full.checking.wrongs() == []


def test_who_is_killed_at_any_line_of_a_look_leaves_the_segment_whole(lean: LeanProcess) -> None:
    lean.call(die_looking, os.environ[SEED])


def die_looking(seed: str) -> None:
    chosen = random.Random(seed)
    with stores() as new_store:
        full = filled(new_store())
        number = len(lines_of(lambda: full.checking, full.checking.wrongs))
        for place in range(chosen.randrange(LINES_APART), number, LINES_APART):
            # Once more, since a look goes through as many ranges as there are, and a death and an append change that.
            lines = lines_of(lambda: full.checking, full.checking.wrongs)
            [step] = one_of_each_line(lines[place : place + 1], chosen)
            assert die_at(step, lambda: full.checking, full.checking.wrongs).reached, step
            assert full.checking.wrongs() == [], step
            assert full.appending.append([(PIPE, [b"more"])]), step


def test_a_thread_whose_pause_is_over_is_as_it_should_be(store: Store) -> None:
    assert store.appending.append([(PIPE, [b"message"])])
    store.delivering.unclaim(KEY, store.delivering.claim(KEY), 1e-6)
    assert store.checking.wrongs() == []


def _tube(segment: Segment, word: int) -> int:
    return segment.layout.tube_word(0) + word


def one_too_many(segment: Segment) -> None:
    segment.words[at.ACCEPTED] += 1


def letter_too_few(segment: Segment) -> None:
    segment.words[at.BURIED] -= 1


def intent_left(segment: Segment) -> None:
    segment.words[at.INTENT_THREAD] = 1


def head_beyond(segment: Segment) -> None:
    segment.words[_tube(segment, at.TUBE_HEAD_SEQUENCE)] += 1000


def no_record(segment: Segment) -> None:
    segment.words[segment.words[_tube(segment, at.TUBE_HEAD_RECORD)] // WORD] = 0


def jump_to_itself(segment: Segment) -> None:
    head = segment.words[_tube(segment, at.TUBE_HEAD_RECORD)]
    record.write_jump(segment, head, head)


def extent_without_owner(segment: Segment) -> None:
    segment.bytes[segment.layout.extent_map + segment.layout.extents - 1] = 1


def another_owner(segment: Segment) -> None:
    segment.words[segment.layout.extent_owners_word] += 1


def thread_nowhere(segment: Segment) -> None:
    for bucket in range(segment.layout.buckets):
        if segment.words[segment.layout.index_word + bucket]:
            segment.words[segment.layout.index_word + bucket] = 0
            return


def thread_in_a_circle(segment: Segment) -> None:
    segment.words[segment.layout.thread_word(0) + at.THREAD_NEXT] = 1


def other_name(segment: Segment) -> None:
    segment.bytes[segment.layout.thread_name(0)] ^= 1


def work_at_rest(segment: Segment) -> None:
    threads = segment.layout.thread_map
    place = segment.bytes.find(bytes((at.THREAD_READY,)), threads, threads + segment.layout.threads)
    segment.bytes[place] = at.THREAD_IDLE


def attempts_at_no_time(segment: Segment) -> None:
    segment.words[_tube(segment, at.TUBE_ATTEMPTS)] = 3


def heap_beyond_its_memory(segment: Segment) -> None:
    segment.words[at.HEAP_COUNT] = 1 << 60


def due_twice(segment: Segment) -> None:
    segment.words[at.DEFERRED] += 1


def never_promoted(segment: Segment) -> None:
    segment.words[at.NEXT_DUE_US] = FAR_US + 1


def table_beyond_its_memory(segment: Segment) -> None:
    segment.words[at.EQUALITY_STATE] = 60 << 1


def equal_ones_forgotten(segment: Segment) -> None:
    for side in (0, 1):
        start = segment.layout.equality_table(side)
        segment.bytes[start : start + at.EQUAL_STEP_BYTES] = bytes(at.EQUAL_STEP_BYTES)


def action_never_recorded(segment: Segment) -> None:
    segment.words[at.ACTIONS] += 1


DAMAGE: list[tuple[Callable[[Segment], None], str]] = [
    (one_too_many, "accepted"),
    (letter_too_few, "buried"),
    (intent_left, "intent on a thread"),
    (head_beyond, "not in its first record"),
    (no_record, "tube 0"),
    (jump_to_itself, "goes round"),
    (extent_without_owner, "lent True"),
    (another_owner, "lent to tube"),
    (thread_nowhere, "not both"),
    (thread_in_a_circle, "linked twice"),
    (other_name, "hash"),
    (work_at_rest, "queued: state"),
    (attempts_at_no_time, "failed first at"),
    (heap_beyond_its_memory, "heap 0"),
    (due_twice, "are counted"),
    (never_promoted, "first due at"),
    (table_beyond_its_memory, "the table of equal messages"),
    (equal_ones_forgotten, "not among the equal ones"),
    (action_never_recorded, "the actions of operators"),
]


@pytest.mark.parametrize(("damage", "said"), DAMAGE, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_wrong_is_said(image: Segment, damage: Callable[[Segment], None], said: str) -> None:
    damage(image)

    assert any(said in line for line in found(image)), found(image)


def test_what_was_taken_out_stands_for_no_message_before_it(store: Store) -> None:
    """Among the equal ones an entry that names it hides the living message."""
    assert store.appending.append([(PIPE, [b"same", b"same"])])
    assert store.appending.append_absent([(PIPE, [b"same"])]) == 0
    assert store.checking.wrongs() == []
    first = record.read(store.segment, store.segment.words[_tube(store.segment, at.TUBE_HEAD_RECORD)])

    word, value = record.cancelled_with(store.segment, first, 1)
    store.segment.words[word] = value

    assert any("message 0 of" in line for line in store.checking.wrongs())


def test_no_word_ends_the_look_or_leads_it_in_circles(image: Segment) -> None:
    """Whatever stands in one word of the fixed part, the tables, or a record."""
    chance = random.Random(os.environ[SEED])
    layout = image.layout
    ends = (layout.fixed_bytes, layout.heaps, layout.extents_base + 4 * at.PAGE)
    for _ in range(TRIES):
        word = chance.randrange(chance.choice(ends) // WORD)
        before = image.words[word]
        image.words[word] = chance.choice((0, 1, before + 1, before ^ 1 << chance.randrange(64), (1 << 64) - 1)) % 2**64
        with limited(f"a look at word {word}"):
            found(image)
        image.words[word] = before
    assert found(image) == []
