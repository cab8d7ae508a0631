"""What a worker says of its batch: whole, of this batch only, and nothing where there is none."""

from __future__ import annotations

import os
from typing import Any

import pytest

from shardq import Handler
from shardq.errors import HandlerError
from shardq.model import Progress
from shardq.shm import words as at
from shardq.shm.processes.progress import OwnProgress, progress_in
from shardq.shm.processes.slots import Slots
from shardq.shm.store import Store
from shardq.text.wording import how_far
from tests.faults.kit.points import Child
from tests.support import hands

PIPE, KEY = "m/H/0/0", "m/H/0"


@pytest.fixture
def token(store: Store) -> int:
    """A claim on a thread with ten messages, of a process that is a worker."""
    store.membership.join(7)
    assert store.appending.append([(PIPE, [b"%d" % n for n in range(10)])])
    return store.delivering.claim(KEY)


def said(store: Store) -> tuple[Any, ...]:
    [worker] = store.inspection.workers()
    return worker.done, worker.total, worker.note


def test_what_a_worker_says_is_seen(store: Store, token: int) -> None:
    hands.take(store.delivering, [PIPE], 3, token)
    store.membership.note_progress(2, 3, "b.png")

    [worker] = store.inspection.workers()
    assert (worker.number, worker.pid) == (7, os.getpid())
    assert (worker.handler, worker.thread, worker.requests) == ("m/H", "0", 3)
    assert (worker.done, worker.total, worker.note) == (2, 3, "b.png")
    assert worker.age_s >= 0
    [view] = store.inspection.overview().workers
    assert (view.thread, view.done, view.total, view.note) == (KEY, 2, 3, "b.png")


def test_a_worker_that_says_nothing_is_seen_with_its_batch(store: Store, token: int) -> None:
    hands.take(store.delivering, [PIPE], 3, token)
    [worker] = store.inspection.workers()
    assert (worker.requests, worker.done, worker.total, worker.note) == (3, None, None, "")


def test_a_worker_without_a_batch_is_at_nothing(store: Store, token: int) -> None:
    store.membership.note_progress(1, 2, "stray")
    [worker] = store.inspection.workers()
    assert (worker.handler, worker.thread, worker.requests, worker.done, worker.note) == (None, None, 0, None, "")


def test_a_process_that_is_no_worker_is_not_listed(store: Store) -> None:
    assert store.inspection.workers() == []


def test_a_new_batch_begins_empty(store: Store, token: int) -> None:
    batch = hands.take(store.delivering, [PIPE], 1, token)
    store.membership.note_progress(1, 1, "first")
    hands.pop(store.delivering, PIPE, batch.through, token)
    assert said(store) == (None, None, "")
    hands.take(store.delivering, [PIPE], 1, token)
    assert said(store) == (None, None, "")


def test_a_batch_keeps_what_was_said_when_a_part_is_acknowledged(store: Store, token: int) -> None:
    hands.take(store.delivering, [PIPE], 3, token)
    store.membership.note_progress(1, 3, "first")
    hands.pop(store.delivering, PIPE, 1, token)
    assert said(store) == (1, 3, "first")


@pytest.mark.parametrize(
    ("note", "kept"),
    [
        ("", ""),
        ("a" * 64, "a" * 64),
        ("a" * 65, "a" * 64),
        ("é" * 40, "é" * 32),
        ("a" + "漢" * 40, "a" + "漢" * 21),
        ("aa" + "🦊" * 40, "aa" + "🦊" * 15),
        ("x" * 10_000_000, "x" * 64),
        ("\ud800", "\\ud800"),
        ("\x1b[31m red", "\x1b[31m red"),
    ],
)
def test_a_note_is_cut_at_a_character(note: str, kept: str, store: Store, token: int) -> None:
    hands.take(store.delivering, [PIPE], 1, token)
    store.membership.note_progress(0, 1, "something longer that stood there before, up to the very last byte")
    store.membership.note_progress(0, 1, note)
    assert said(store) == (0, 1, kept)


@pytest.mark.parametrize("done", [0, 0.25, 1 << 53])
@pytest.mark.parametrize("total", [None, 0, 0.5, 1 << 53])
def test_numbers_stay_as_they_are(done: float, total: float | None, store: Store, token: int) -> None:
    hands.take(store.delivering, [PIPE], 1, token)
    store.membership.note_progress(done, total, "")
    assert said(store) == (done, total, "")


def test_the_record_fits_the_slot() -> None:
    assert at.SLOT_PROGRESS + at.PROGRESS_WORDS == at.SLOT_WORDS


class Cut:
    """A mapping whose reader is interrupted in the middle of a copy, while `between` runs."""

    def __init__(self, real: Any, between: Any) -> None:
        self._real = real
        self._between = between

    def __getitem__(self, place: Any) -> Any:
        before = self._real[place]
        between, self._between = self._between, lambda: None
        between()
        after = self._real[place]
        return before[: len(before) // 2] + after[len(after) // 2 :]


class Torn:
    """A segment as such a reader sees it."""

    def __init__(self, segment: Any, between: Any) -> None:
        self.words, self.layout = segment.words, segment.layout
        self.bytes = Cut(segment.bytes, between)


def test_a_copy_that_was_overtaken_is_not_taken(store: Store, token: int) -> None:
    hands.take(store.delivering, [PIPE], 1, token)
    store.membership.note_progress(1, 2, "a" * 64)
    torn: Any = Torn(store.segment, lambda: store.membership.note_progress(2, 2, "b" * 64))
    slot = store.hold[1]

    assert progress_in(torn, Slots(store.segment), slot) == Progress(2, 2, "b" * 64)


def test_what_is_half_written_is_not_shown(store: Store, token: int) -> None:
    """As a worker leaves it that is killed while it writes."""
    hands.take(store.delivering, [PIPE], 1, token)
    store.membership.note_progress(1, 2, "a")
    version = Slots(store.segment).word(store.hold[1]) + at.SLOT_PROGRESS_VERSION
    store.segment.words[version] += 1
    assert said(store) == (None, None, "")

    store.membership.note_progress(2, 2, "b")
    assert said(store) == (2, 2, "b")


def test_versions_of_a_slot_do_not_come_back(store: Store, token: int) -> None:
    """Else a reader that slept between two workers of a slot could take a half of each."""
    hands.take(store.delivering, [PIPE], 1, token)
    version, seen = Slots(store.segment).word(store.hold[1]) + at.SLOT_PROGRESS_VERSION, []
    for _ in range(3):
        own = Slots(store.segment)
        own.mine = store.hold[1]
        writer = OwnProgress(store.segment, own)
        for number in range(3):
            writer.note(number, None, "")
            seen.append(store.segment.words[version])
    assert seen == sorted(set(seen))
    assert all(one % 2 == 0 for one in seen)


def test_no_reader_sees_a_part_of_two_notes(store: Store) -> None:
    assert store.appending.append([(PIPE, [b"0"])])

    def write() -> None:
        store.membership.join(1)
        hands.take(store.delivering, [PIPE], 1, store.delivering.claim(KEY))
        number = 0
        while True:
            number += 1
            store.membership.note_progress(number, number, chr(ord("a") + number % 26) * 64)

    writer, seen = Child(write), set()
    try:
        while len(seen) < 300:
            for worker in store.inspection.workers():
                if worker.done is not None:
                    seen.add(worker.done)
                    assert worker.total == worker.done
                    assert worker.note == chr(ord("a") + int(worker.done) % 26) * 64
    finally:
        writer.kill()
    assert store.inspection.workers() == []


def test_a_forked_child_does_not_speak_for_its_parent(store: Store, token: int) -> None:
    hands.take(store.delivering, [PIPE], 1, token)
    say = store.membership.note_progress
    say(1, 2, "parent")
    Child(lambda: say(2, 2, "child")).end()
    assert said(store) == (1, 2, "parent")


@pytest.mark.parametrize("spoilt", [float("nan"), float("inf"), float("-inf")])
def test_a_spoilt_number_is_not_shown(spoilt: float, store: Store, token: int) -> None:
    hands.take(store.delivering, [PIPE], 1, token)
    store.membership.note_progress(1, spoilt, "")
    assert said(store)[0] is None


# In a handler


class Steps(Handler[int]):
    def perform(self, *numbers: int) -> None:
        for _ in self.track(numbers):
            self.progress(1)


def test_without_a_worker_nothing_happens() -> None:
    handler = Steps()
    handler.progress(1, 2, "three")
    assert list(handler.track([1, 2, 3])) == [1, 2, 3]
    assert list(handler.track(iter("ab"))) == ["a", "b"]
    handler.perform(1, 2, 3)


@pytest.mark.parametrize(
    "said",
    [
        (-1,),
        (float("nan"),),
        (float("inf"),),
        ("1",),
        (None,),
        (1, -1),
        (1, "2"),
        (1, 2, None),
        (1, 2, b"n"),
        (1 << 60,),
    ],
    ids=repr,
)
def test_what_cannot_be_said_is_refused(said: tuple[Any, ...]) -> None:
    with pytest.raises(HandlerError, match=r"progress\(.*\) cannot be: give two numbers from 0 up"):
        Steps().progress(*said)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ((3, 12, "b.png"), "3/12 25% b.png"),
        ((3, 12, ""), "3/12 25%"),
        ((3, None, "b.png"), "3 b.png"),
        ((0, 0, ""), "0/0"),
        ((1_234_567, 2_000_000, ""), "1,234,567/2,000,000 62%"),
        ((0.5, 1, ""), "0.50/1 50%"),
    ],
)
def test_progress_in_words(said: tuple[float, float | None, str], text: str) -> None:
    assert how_far(*said) == text
